//! Assertions about manifests: how often they were asked for and pushed.

use mockreg_proto::journal::{Kind, Record};

use super::failure::fail;
use super::{Journal, repeated};

/// All manifests.
#[derive(Clone, Copy, Debug)]
pub struct Manifests<'a> {
    pub(super) journal: &'a Journal,
}

/// One manifest, by the repository and the reference (tag or digest) that requests named.
#[derive(Clone, Copy, Debug)]
pub struct Manifest<'a> {
    journal: &'a Journal,
    repository: &'a str,
    reference: &'a str,
}

fn is_served(record: &Record, method: &str) -> bool {
    record.kind == Kind::Manifest && record.method == method && record.is_served()
}

impl<'a> Manifests<'a> {
    /// One manifest.
    pub fn of(self, repository: &'a str, reference: &'a str) -> Manifest<'a> {
        Manifest { journal: self.journal, repository, reference }
    }

    /// No manifest was fetched twice by the same reference. One that is not modified (304) was not fetched.
    ///
    /// # Panics
    /// One was.
    #[track_caller]
    pub fn none_fetched_twice(self) -> Self {
        self.none_twice("GET", "fetched")
    }

    /// No manifest was pushed twice under the same reference.
    ///
    /// # Panics
    /// One was.
    #[track_caller]
    pub fn none_pushed_twice(self) -> Self {
        self.none_twice("PUT", "pushed")
    }

    #[track_caller]
    fn none_twice(self, method: &str, done: &str) -> Self {
        self.journal.complete();
        let served = self.journal.iter().filter(|record| is_served(record, method));
        if let Some(((repository, reference), records)) =
            repeated(served, |record| (&record.repository, &record.reference))
        {
            let count = records.len();
            fail(
                &format!("manifest {reference} of {repository} was {done} {count} times, not once"),
                &records,
            );
        }
        self
    }
}

impl Manifest<'_> {
    /// It was fetched exactly once.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn fetched_once(self) -> Self {
        self.done("GET", "fetched", 1)
    }

    /// It was fetched so many times.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn fetched(self, times: usize) -> Self {
        self.done("GET", "fetched", times)
    }

    /// It was pushed exactly once.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn pushed_once(self) -> Self {
        self.done("PUT", "pushed", 1)
    }

    #[track_caller]
    fn done(self, method: &str, done: &str, times: usize) -> Self {
        self.journal.complete();
        let about = |record: &&Record| {
            record.kind == Kind::Manifest
                && record.repository == self.repository
                && record.reference == self.reference
        };
        let records: Vec<&Record> = self.journal.iter().filter(about).collect();
        let count = records.iter().filter(|record| is_served(record, method)).count();
        if count != times {
            let (repository, reference) = (self.repository, self.reference);
            let what = format!("manifest {reference} of {repository} was {done} {count} times, not {times}");
            fail(&what, &records);
        }
        self
    }
}
