//! What long work says on standard error while it lasts: a line that is written over where a person watches, a line
//! every few seconds elsewhere. Work that is done sooner says nothing.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mockreg_synth::Tables;

/// Between two lines on a terminal: as often as a person can follow.
const REWRITTEN: Duration = Duration::from_millis(250);
/// Between two lines in a log.
const LINES: Duration = Duration::from_secs(5);

/// Says how far some work is, until it is dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Says what `line` gives for the time that has passed. `alone` says that nothing is written to standard output
    /// meanwhile, which would be written into the line.
    pub(super) fn start(alone: bool, line: impl Fn(Duration) -> Option<String> + Send + 'static) -> Self {
        let rewritten = io::stderr().is_terminal() && (alone || !io::stdout().is_terminal());
        Self::every(if rewritten { REWRITTEN } else { LINES }, rewritten, line)
    }

    fn every(
        interval: Duration,
        rewritten: bool,
        line: impl Fn(Duration) -> Option<String> + Send + 'static,
    ) -> Self {
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let started = Instant::now();
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if let Some(line) = line(started.elapsed()) {
                    say(rewritten, &line);
                }
            }
            if rewritten {
                let _ = write!(io::stderr(), "\r\x1b[K");
            }
        });
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.end.take());
        // Joined, so that nothing is said after the result.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Nobody may be reading; the work goes on all the same.
fn say(rewritten: bool, line: &str) {
    let _ = if rewritten {
        write!(io::stderr(), "\r\x1b[Kmockreg: {line}")
    } else {
        writeln!(io::stderr(), "mockreg: {line}")
    };
}

/// A part of some bytes, with the time it took and may take.
pub(super) fn share(done: u64, total: u64, passed: Duration) -> String {
    let seconds = passed.as_secs_f64();
    let [part, whole] = [done.min(total), total].map(|bytes| bytes as f64 / 1e9);
    let left = seconds * (total.saturating_sub(done)) as f64 / done.max(1) as f64;
    let left = if done == 0 { String::new() } else { format!(", about {left:.0} s to go") };
    format!("{part:.1} of {whole:.1} GB in {seconds:.0} s{left}")
}

/// Counts the bytes that these tables hash from now on.
pub(super) fn hashed(tables: &Tables) -> Arc<AtomicU64> {
    let hashed = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&hashed);
    tables.watch(move |bytes| {
        counter.fetch_add(bytes, Ordering::Relaxed);
    });
    hashed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_says_what_is_done_and_what_is_left() {
        let seconds = Duration::from_secs(10);
        assert_eq!(share(1_000_000_000, 4_000_000_000, seconds), "1.0 of 4.0 GB in 10 s, about 30 s to go");
        assert_eq!(share(0, 4_000_000_000, seconds), "0.0 of 4.0 GB in 10 s");
        assert_eq!(share(5_000_000_000, 4_000_000_000, seconds), "4.0 of 4.0 GB in 10 s, about 0 s to go");
    }

    #[test]
    fn it_is_said_again_and_again_until_the_work_is_done() {
        let (told, heard) = mpsc::channel();
        let ticker = Ticker::every(Duration::from_millis(1), false, move |passed| {
            // The test may have heard enough.
            let _ = told.send(passed);
            None
        });
        let three: Vec<Duration> = (0..3).map(|_| heard.recv().unwrap()).collect();
        assert!(three.is_sorted() && three[0] < three[2], "{three:?}");
        drop(ticker);
        while heard.try_recv().is_ok() {}
        assert_eq!(heard.try_recv(), Err(mpsc::TryRecvError::Disconnected), "the thread is gone");
    }
}
