//! Assertions about blobs: downloads of all or of one, and the pushes of one.

use std::collections::BTreeMap;

use mockreg_proto::digest::Digest;
use mockreg_proto::journal::{Kind, Record};

use super::Journal;
use super::failure::fail;
use crate::coverage::Coverage;

/// Downloads of all blobs.
#[derive(Clone, Copy, Debug)]
pub struct Blobs<'a> {
    pub(super) journal: &'a Journal,
}

/// What was done with one blob, in whichever repository.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    journal: &'a Journal,
    digest: Digest,
}

/// A download that began at the first byte and got through. A blob that is fetched in ranges, or resumed after a
/// break, has one of these at most, if its client wastes nothing.
fn is_fetched_whole(record: &Record) -> bool {
    let from_start = record.range.is_none_or(|[first, _]| first == 0);
    is_download(record) && record.is_served() && from_start
}

fn is_download(record: &Record) -> bool {
    record.kind == Kind::Blob && record.method == "GET"
}

/// Bytes that were sent more than once, by these downloads of one blob.
fn duplicates(records: &[&Record]) -> u64 {
    let mut coverage = Coverage::new(usize::MAX);
    records.iter().filter_map(|record| record.sent_bytes()).map(|(first, end)| coverage.add(first, end)).sum()
}

impl<'a> Blobs<'a> {
    /// One blob.
    pub fn of(self, digest: &Digest) -> Blob<'a> {
        Blob { journal: self.journal, digest: *digest }
    }

    /// Different blobs that were asked for.
    pub fn fetched(self) -> usize {
        self.downloads().len()
    }

    fn downloads(self) -> BTreeMap<&'a str, Vec<&'a Record>> {
        let mut downloads: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in self.journal.iter().filter(|record| is_download(record)) {
            downloads.entry(record.reference.as_str()).or_default().push(record);
        }
        downloads
    }

    /// No blob was fetched to the end, from its first byte, more than once. A break and a new start are allowed; see
    /// [`Blobs::no_byte_sent_twice`].
    ///
    /// # Panics
    /// One was.
    #[track_caller]
    pub fn none_fetched_twice(self) -> Self {
        self.journal.complete();
        for (digest, records) in self.downloads() {
            let whole = records.iter().filter(|record| is_fetched_whole(record)).count();
            if whole > 1 {
                fail(&format!("blob {digest} was fetched {whole} times, not once"), &records);
            }
        }
        self
    }

    /// No byte of any blob was sent twice: whoever broke off resumed by `Range`. Answers with several ranges are not
    /// looked at.
    ///
    /// # Panics
    /// One was.
    #[track_caller]
    pub fn no_byte_sent_twice(self) -> Self {
        self.journal.complete();
        for (digest, records) in self.downloads() {
            let twice = duplicates(&records);
            if twice > 0 {
                fail(&format!("{twice} bytes of blob {digest} were sent more than once"), &records);
            }
        }
        self
    }
}

impl<'a> Blob<'a> {
    /// The lines about its downloads.
    pub fn downloads(self) -> Vec<&'a Record> {
        self.records(is_download)
    }

    /// The lines of uploads that stored it; mounts, which move nothing, are not among them.
    pub fn pushes(self) -> Vec<&'a Record> {
        let digest = Some(self.digest);
        let uploads = self.journal.iter().filter(|record| record.commits_blob() && !record.is_mount());
        uploads.filter(|record| record.stored == digest).collect()
    }

    fn records(self, wanted: impl Fn(&Record) -> bool) -> Vec<&'a Record> {
        let digest = self.digest.to_string();
        self.journal.iter().filter(|record| record.reference == digest && wanted(record)).collect()
    }

    #[track_caller]
    fn check(self, holds: bool, what: &str, records: &[&Record]) -> Self {
        self.journal.complete();
        if !holds {
            fail(&format!("blob {} {what}", self.digest), records);
        }
        self
    }

    /// It was fetched to the end exactly once, in one piece, in ranges, or with breaks between.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn fetched_once(self) -> Self {
        self.fetched(1)
    }

    /// It was fetched from its first byte, to the end of what was asked for, so many times.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn fetched(self, times: usize) -> Self {
        let downloads = self.downloads();
        let whole = downloads.iter().filter(|record| is_fetched_whole(record)).count();
        // A download that broke at its start and was resumed has no line that is both whole and from the start.
        let resumed = downloads.iter().any(|record| record.is_served() && record.is_resumed());
        let begun = whole.max(usize::from(resumed));
        self.check(begun == times, &format!("was fetched {begun} times, not {times}"), &downloads)
    }

    /// Nobody asked for its content; a HEAD is no such question.
    ///
    /// # Panics
    /// Somebody did.
    #[track_caller]
    pub fn never_fetched(self) -> Self {
        let downloads = self.downloads();
        self.check(downloads.is_empty(), "should never have been fetched", &downloads)
    }

    /// So many of its bytes were handed to sockets in all: its size, if it moved exactly once.
    ///
    /// # Panics
    /// More or fewer were.
    #[track_caller]
    pub fn sent(self, bytes: u64) -> Self {
        let downloads = self.downloads();
        let sent: u64 = downloads.iter().map(|record| record.bytes_out).sum();
        self.check(sent == bytes, &format!("was sent with {sent} bytes, not {bytes}"), &downloads)
    }

    /// Each of its bytes, of which it has `size`, was sent exactly once, in whatever ranges.
    ///
    /// # Panics
    /// Some were not.
    #[track_caller]
    pub fn every_byte_sent_once(self, size: u64) -> Self {
        let downloads = self.downloads();
        let twice = duplicates(&downloads);
        self.check(twice == 0, &format!("has {twice} bytes that were sent more than once"), &downloads);
        self.sent(size)
    }

    /// A download of it broke, and the next one went on past the first byte instead of starting again.
    ///
    /// # Panics
    /// None broke, or one began anew after a break that had sent something.
    #[track_caller]
    pub fn resumed(self) -> Self {
        let downloads = self.downloads();
        let first = downloads.iter().position(|record| record.bytes_out > 0 && !record.is_complete());
        let rest = first.map_or(&[][..], |first| &downloads[first + 1..]);
        let anew = rest.iter().any(|record| record.range.is_none_or(|[first, _]| first == 0));
        self.check(first.is_some(), "should have been resumed, but no download of it broke", &downloads);
        self.check(!rest.is_empty() && !anew, "was not resumed where it broke", &downloads)
    }

    /// It was uploaded exactly once, over all repositories.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn pushed_once(self) -> Self {
        self.pushed(1)
    }

    /// It was uploaded so many times, over all repositories.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn pushed(self, times: usize) -> Self {
        let pushes = self.pushes();
        self.check(pushes.len() == times, &format!("was pushed {} times, not {times}", pushes.len()), &pushes)
    }

    /// It got into `repository` without an upload.
    ///
    /// # Panics
    /// It did not.
    #[track_caller]
    pub fn mounted(self, repository: &str) -> Self {
        let stored: Vec<&Record> = self
            .journal
            .iter()
            .filter(|record| record.stored == Some(self.digest) && record.repository == repository)
            .collect();
        let mounted = !stored.is_empty() && stored.iter().all(|record| record.is_mount());
        self.check(mounted, &format!("should have been mounted into {repository}"), &stored)
    }
}
