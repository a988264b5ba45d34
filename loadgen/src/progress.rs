//! Progress on standard error while a run goes on: a live line on a terminal, a plain line every few seconds
//! elsewhere, nothing if asked.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::board::{Board, Phase, View};
use crate::replicator::Telemetry;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProgressMode {
    /// A live line on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// A plain line every few seconds.
    Plain,
    /// Nothing.
    None,
}

/// Progress being shown; stops when it is dropped.
#[derive(Debug)]
pub struct Progress {
    task: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts showing. `images` and `bytes` are the plan's; a plan that repeats has no end to count towards.
    pub fn start(mode: ProgressMode, board: Arc<Board>, telemetry: Arc<Telemetry>, goal: Goal) -> Self {
        let live = mode == ProgressMode::Auto && std::io::stderr().is_terminal();
        match mode {
            ProgressMode::None => Self { task: None, bar: None },
            _ if live => {
                let bar = live_bar(goal);
                let task = tokio::spawn(show_live(bar.clone(), board, telemetry, goal));
                Self { task: Some(task), bar: Some(bar) }
            }
            _ => Self { task: Some(tokio::spawn(show_plain(board, telemetry, goal))), bar: None },
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What a run wants to reach.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Images; `None` where the plan repeats.
    pub images: Option<u64>,
    /// Bytes; `None` where the plan repeats.
    pub bytes: Option<u64>,
}

fn live_bar(goal: Goal) -> ProgressBar {
    let bar = match goal.bytes {
        Some(bytes) => ProgressBar::new(bytes),
        None => ProgressBar::no_length(),
    };
    // `wide_msg` is cut at the terminal's width: a line that wraps cannot be drawn over.
    let template = "{spinner} {bar:16} {wide_msg}";
    bar.set_style(
        ProgressStyle::with_template(template).expect("the template is a constant that indicatif reads"),
    );
    bar
}

async fn show_live(bar: ProgressBar, board: Arc<Board>, telemetry: Arc<Telemetry>, goal: Goal) {
    loop {
        tokio::time::sleep(LIVE_EVERY).await;
        let view = board.view();
        bar.set_position(telemetry.payload_bytes());
        bar.set_message(line(&view, &telemetry, goal));
        bar.tick();
    }
}

async fn show_plain(board: Arc<Board>, telemetry: Arc<Telemetry>, goal: Goal) {
    let mut shown = None;
    let mut quiet_for = Duration::ZERO;
    loop {
        tokio::time::sleep(LIVE_EVERY).await;
        quiet_for += LIVE_EVERY;
        let view = board.view();
        if shown != Some(view.phase) || quiet_for >= PLAIN_EVERY {
            eprintln!("{}", line(&view, &telemetry, goal));
            shown = Some(view.phase);
            quiet_for = Duration::ZERO;
        }
    }
}

/// One line: phase, images, bytes, rate, retries, faults, what is going wrong right now.
fn line(view: &View, telemetry: &Telemetry, goal: Goal) -> String {
    match view.phase {
        Phase::Starting => return "starting registries and proxy".to_owned(),
        Phase::Preparing => return "the source prepares the digests of the corpus".to_owned(),
        Phase::Gathering => return "reading journals and counters".to_owned(),
        Phase::Verifying => return "reading the destination back".to_owned(),
        Phase::Done => return "done".to_owned(),
        Phase::Copying => {}
    }
    let of = |total: Option<String>| total.map_or(String::new(), |total| format!("/{total}"));
    let payload = telemetry.payload_bytes();
    let seconds = view.elapsed.as_secs_f64().max(0.001);
    let mut line = format!(
        "{seconds:5.1} s  {}{} images  {}{} MB  {:.1} MB/s  {} retries",
        view.counts.ok,
        of(goal.images.map(|n| n.to_string())),
        payload / 1_000_000,
        of(goal.bytes.map(|n| (n / 1_000_000).to_string())),
        payload as f64 / 1e6 / seconds,
        telemetry.retries(),
    );
    let faults: u64 = view.weather.faults.values().sum();
    if faults > 0 {
        line += &format!("  {faults} faults");
    }
    if view.counts.failed > 0 {
        line += &format!("  {} failed", view.counts.failed);
    }
    if !view.weather.active.is_empty() {
        line += &format!("  [{}]", view.weather.active.join(", "));
    }
    line
}

/// Smooth enough for the eye.
const LIVE_EVERY: Duration = Duration::from_millis(200);
/// A minute's run gives about a dozen lines in a log.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
