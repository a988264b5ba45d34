//! Assertions about upload sessions: each has an end, none moves what is there already.

use std::collections::BTreeMap;

use mockreg_proto::journal::{Kind, Record};

use super::failure::fail;
use super::{Journal, repeated};

/// All uploads.
#[derive(Clone, Copy, Debug)]
pub struct Uploads<'a> {
    pub(super) journal: &'a Journal,
}

/// Whether this line is the last of its session: the blob is stored, the bytes were of no use, or the client gave up.
fn ends_session(record: &Record) -> bool {
    match record.method.as_str() {
        "PUT" => matches!(record.status, 201 | 400 | 404 | 413),
        "DELETE" => record.status == 204,
        _ => false,
    }
}

impl<'a> Uploads<'a> {
    /// The lines of uploads that stored a blob; mounts are not among them.
    pub fn commits(self) -> Vec<&'a Record> {
        self.journal.iter().filter(|record| record.commits_blob() && !record.is_mount()).collect()
    }

    /// Every session that was opened was ended: by a PUT or by a DELETE.
    ///
    /// # Panics
    /// One was not.
    #[track_caller]
    pub fn all_ended(self) -> Self {
        self.journal.complete();
        let mut sessions: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in self.journal.iter().filter(|record| record.kind == Kind::Upload) {
            sessions.entry(record.reference.as_str()).or_default().push(record);
        }
        for (id, records) in sessions {
            let opened = records.iter().any(|record| record.begins_session());
            if opened && !records.iter().any(|record| ends_session(record)) {
                fail(&format!("upload {id} was opened and never ended"), &records);
            }
        }
        self
    }

    /// No blob was uploaded twice to the same repository.
    ///
    /// # Panics
    /// One was.
    #[track_caller]
    pub fn none_repeated(self) -> Self {
        self.journal.complete();
        let about = |record: &'a Record| (&record.repository, record.stored);
        if let Some(((repository, digest), records)) = repeated(self.commits(), about) {
            let digest = digest.map_or_else(String::new, |digest| digest.to_string());
            fail(
                &format!("blob {digest} was pushed to {repository} {} times, not once", records.len()),
                &records,
            );
        }
        self
    }

    /// So many blobs were stored by uploads.
    ///
    /// # Panics
    /// More or fewer were.
    #[track_caller]
    pub fn committed(self, blobs: usize) -> Self {
        self.journal.complete();
        let commits = self.commits();
        if commits.len() != blobs {
            fail(&format!("{} blobs were pushed, not {blobs}", commits.len()), &commits);
        }
        self
    }
}
