//! The journal's file: lines go through a bounded queue to a thread of their own, so that a slow disk never holds
//! up a request. What the queue cannot take is left out, which shows as a gap in `seq`.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use mockreg_proto::journal::Record;

/// Lines that may wait for the disk: some 4 MB, a few seconds of a busy server.
const QUEUE: usize = 8192;

/// A journal file and the thread that writes it. Dropping it writes out what waits.
#[derive(Debug)]
pub(crate) struct JournalFile {
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
}

impl JournalFile {
    /// Creates the file, or empties the one that is there.
    ///
    /// # Errors
    /// The file cannot be created, or no thread can be started.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let (lines, waiting) = sync_channel(QUEUE);
        let name = path.display().to_string();
        let writer = std::thread::Builder::new().name("mockreg-journal".into()).spawn(move || {
            if let Err(error) = write_all(file, &waiting) {
                tracing::error!(file = name, %error, "the journal file cannot be written; no more lines go to it");
            }
        })?;
        Ok(Self { lines: Some(lines), writer: Some(writer) })
    }

    /// Queues a line.
    pub(crate) fn append(&self, record: &Record) {
        let text = serde_json::to_string(record).expect("a record always serialises");
        if let Some(lines) = &self.lines {
            // Full, or the writer gave up and said so: either way the file has a gap in `seq`.
            let _ = lines.try_send(text);
        }
    }
}

impl Drop for JournalFile {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to write.
            let _ = writer.join();
        }
    }
}

/// Writes lines as they come; flushes whenever none is waiting, so that a reader is never far behind.
fn write_all(file: File, waiting: &Receiver<String>) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    loop {
        let line = match waiting.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => return out.flush(),
            Err(TryRecvError::Empty) => {
                out.flush()?;
                let Ok(line) = waiting.recv() else { return Ok(()) };
                line
            }
        };
        writeln!(out, "{line}")?;
    }
}
