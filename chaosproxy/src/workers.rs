//! The threads that everything of a server runs on, apart from those of the program around it.

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long stopping waits for tasks that are in the middle of something.
const STOP_WAIT: Duration = Duration::from_secs(2);
const NAME: &str = "chaosproxy";

/// A runtime, and the thread that owns it: a runtime must not be dropped where another one runs.
#[derive(Debug)]
pub(crate) struct Workers {
    handle: Handle,
    stop: oneshot::Sender<()>,
    owner: JoinHandle<()>,
}

impl Workers {
    /// One thread for each processor, unless a number is given. A single one has nobody to share work with, and does
    /// without what sharing costs.
    pub(crate) fn start(threads: Option<usize>) -> io::Result<Self> {
        let mut builder = match threads {
            Some(0 | 1) => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        if let Some(threads @ 2..) = threads {
            builder.worker_threads(threads);
        }
        builder.thread_name(NAME).enable_all();
        let (stop, stopped) = oneshot::channel();
        let (started, start) = mpsc::sync_channel(1);
        let owner = thread::Builder::new().name(NAME.to_owned()).spawn(move || {
            let runtime = match builder.build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _it_waits_for_this = started.send(Ok(runtime.handle().clone()));
            // The sender is dropped, not used.
            let _stopped = runtime.block_on(stopped);
            runtime.shutdown_timeout(STOP_WAIT);
        })?;
        let handle = start.recv().map_err(io::Error::other)??;
        Ok(Self { handle, stop, owner })
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends what still runs.
    pub(crate) fn stop(self) {
        drop(self.stop);
        let _nothing_to_report = self.owner.join();
    }
}
