//! Copies the images of a plan with the built-in replicator: so many workers, so many tags of a repository at once,
//! until the plan is through, the time is over, somebody interrupts, or a registry is gone.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::board::{Board, Counts, Weather};
use crate::cancel::CancelToken;
use crate::plan::Plan;
use crate::replicator::{CopyError, ImageJob, Replicator};
use crate::result::Failure;
use crate::scenario::{ScenarioFile, Side};
use crate::schedule::{Next, Schedule, Turn};
use crate::testbed::Testbed;

/// How the transfers went.
#[derive(Debug)]
pub struct Driven {
    /// Time of the transfers.
    pub wall: Duration,
    /// Operations by state at the end.
    pub counts: Counts,
    /// Operations of a plan that does not repeat which were not begun.
    pub not_begun: u64,
    /// Images copied, as source repository, tag and destination repository.
    pub copied: Vec<ImageJob>,
}

/// Everything a worker needs.
struct Crew {
    plan: Arc<Plan>,
    run_id: String,
    replicator: Replicator,
    board: Arc<Board>,
    cancel: CancelToken,
    schedule: Mutex<Schedule>,
    turn_done: Notify,
    copied: Mutex<Vec<ImageJob>>,
}

/// Copies the plan. `cancel` is set from outside for an interruption, and from here at the end of the time or when a
/// registry is gone.
pub async fn drive(
    scenario: &ScenarioFile,
    plan: &Arc<Plan>,
    bed: &Testbed,
    run_id: &str,
    replicator: Replicator,
    board: &Arc<Board>,
    cancel: &CancelToken,
) -> Driven {
    let schedule = Schedule::new(&plan.operations, scenario.replicator.tags_in_parallel, scenario.repeat);
    let crew = Arc::new(Crew {
        plan: Arc::clone(plan),
        run_id: run_id.to_owned(),
        replicator,
        board: Arc::clone(board),
        cancel: cancel.clone(),
        schedule: Mutex::new(schedule),
        turn_done: Notify::new(),
        copied: Mutex::new(Vec::new()),
    });
    let started = Instant::now();
    let mut workers: JoinSet<()> = (0..scenario.workers).map(|_| work(Arc::clone(&crew))).collect();
    tokio::select! {
        () = all_done(&mut workers) => {}
        reason = over(scenario, bed, board) => {
            reason.into_iter().for_each(|reason| board.remark(reason));
            cancel.cancel();
            all_done(&mut workers).await;
        }
    }
    let not_begun = if scenario.repeat { 0 } else { crew.lock_schedule().left() };
    let copied = std::mem::take(&mut *crew.copied.lock().expect("pushing to a list does not panic"));
    Driven { wall: started.elapsed(), counts: board.view().counts, not_begun, copied }
}

/// Cancel safe: what it has not seen end it sees the next time.
async fn all_done(workers: &mut JoinSet<()>) {
    while workers.join_next().await.is_some() {}
}

/// Ends when the run must, and says why if that is not as planned.
async fn over(scenario: &ScenarioFile, bed: &Testbed, board: &Board) -> Option<String> {
    tokio::select! {
        () = tokio::time::sleep(scenario.duration.0) => {
            (!scenario.repeat).then(|| format!("the plan was not through after {}", scenario.duration))
        }
        side = registry_gone(bed) => {
            let address = &bed.party(side).direct;
            Some(format!("the {side} registry is gone: nothing accepts connections at {address}"))
        }
        never = watch_weather(bed, board) => match never {},
    }
}

async fn work(crew: Arc<Crew>) {
    while !crew.cancel.is_cancelled() {
        let turn_done = crew.turn_done.notified();
        let next = crew.lock_schedule().take();
        match next {
            Next::Copy(turn) => {
                crew.copy(turn).await;
                crew.lock_schedule().done(turn);
                crew.turn_done.notify_waiters();
            }
            Next::Wait => tokio::select! {
                () = turn_done => {}
                () = crew.cancel.cancelled() => {}
            },
            Next::Finished => return,
        }
    }
}

impl Crew {
    async fn copy(&self, turn: Turn) {
        let job = self.job(turn);
        self.board.image_started();
        let started = Instant::now();
        match self.replicator.copy(&job, &self.cancel).await {
            Ok(_) => {
                self.board.image_done(started.elapsed());
                self.copied.lock().expect("pushing to a list does not panic").push(job);
            }
            Err(error) if error.is_cancelled() => self.board.image_cut_off(),
            Err(error) => self.board.image_failed(failure(&job, &error)),
        }
    }

    /// Every round has a prefix of its own, so that its bytes move again.
    fn job(&self, turn: Turn) -> ImageJob {
        let operation = &self.plan.operations[turn.operation];
        let prefix = match turn.round {
            0 => format!("run-{}", self.run_id),
            round => format!("run-{}/round-{round}", self.run_id),
        };
        ImageJob {
            source_repository: operation.repository.clone(),
            source_tag: operation.tag.clone(),
            dest_repository: format!("{prefix}/{}", operation.repository),
            dest_tag: operation.tag.clone(),
        }
    }

    fn lock_schedule(&self) -> std::sync::MutexGuard<'_, Schedule> {
        self.schedule.lock().expect("the schedule does not panic")
    }
}

fn failure(job: &ImageJob, error: &CopyError) -> Failure {
    let image = format!("{}:{}", job.source_repository, job.source_tag);
    Failure { image, error: crate::causes(error) }
}

/// Ends when a registry, asked past the proxy, has refused connections for [`GONE_AFTER`] tries in a row.
async fn registry_gone(bed: &Testbed) -> Side {
    let mut refused = [0u32; 2];
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for side in Side::BOTH {
            let address = bed.party(side).direct.trim_start_matches("http://");
            let alive =
                tokio::time::timeout(LOOK_EVERY, TcpStream::connect(address)).await.is_ok_and(|c| c.is_ok());
            let count = &mut refused[side as usize];
            *count = if alive { 0 } else { *count + 1 };
            if *count >= GONE_AFTER {
                return side;
            }
        }
    }
}

/// Keeps the board's view of the proxy fresh.
async fn watch_weather(bed: &Testbed, board: &Board) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let mut weather = Weather::default();
        for side in Side::BOTH {
            if let Ok(Some(counters)) = bed.proxy_counters(side).await {
                let named =
                    counters.faults.into_iter().map(|(kind, n)| (format!("{} {kind}", side.as_str()), n));
                weather.faults.extend(named);
            }
        }
        if let Ok(events) = bed.events(&[]).await {
            let active = events.into_iter().filter(|event| event.started.is_some() && event.ended.is_none());
            weather.active = active.map(|event| event.what).collect();
        }
        board.set_weather(weather);
    }
}

/// Often enough for a person to see an outage of a second come and go.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Five seconds without a listener: a registry that restarts in less is not gone.
const GONE_AFTER: u32 = 10;
