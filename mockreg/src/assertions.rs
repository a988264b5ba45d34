//! What a test asks of a registry's journal: a snapshot of its lines, and assertions that say in the field's words what
//! a client should have done. One that does not hold panics with the lines that matter, where the test called it.
//! Pure: lines in, verdict out.

mod blobs;
mod failure;
mod manifests;
#[cfg(test)]
mod tests;
mod tokens;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use mockreg_proto::journal::Record;

pub use self::blobs::{Blob, Blobs};
use self::failure::fail;
pub use self::manifests::{Manifest, Manifests};
pub use self::tokens::Tokens;
pub use self::uploads::Uploads;

/// The lines that a journal held at one moment, oldest first: a slice of [`Record`] with assertions.
///
/// Every assertion panics at the caller's line if it does not hold, and also if the journal has lost lines, for then
/// nobody knows. They return what they were called on, so they chain.
///
/// ```
/// # use std::io::{Read, Write};
/// # fn pull(address: std::net::SocketAddr, path: &str) {
/// #     let mut stream = std::net::TcpStream::connect(address).unwrap();
/// #     write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
/// #     stream.read_to_end(&mut Vec::new()).unwrap();
/// # }
/// let registry = mockreg::Registry::builder().start()?;
/// let image = registry.image("synth/1mb", "latest").expect("it is made from its name");
/// let layer = image.layers()[0];
/// # pull(registry.registry_addr(), &format!("/v2/synth/1mb/blobs/{layer}"));
/// // … the client under test pulls …
/// let journal = registry.journal();
/// journal.all_complete().none_rate_limited();
/// journal.blobs().none_fetched_twice().of(&layer).fetched_once().sent(1_000_000);
/// # Ok::<(), mockreg::StartError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    records: Vec<Record>,
    lost: u64,
}

impl Journal {
    /// A journal from lines in the order of `seq`: what `GET /journal` or a journal file has. A gap in the numbers
    /// counts as lost lines.
    pub fn of(records: Vec<Record>) -> Self {
        let gap = |pair: &[Record]| pair[1].seq.saturating_sub(pair[0].seq + 1);
        let lost = records.windows(2).map(gap).sum();
        Self { records, lost }
    }

    /// As [`Journal::of`], where `lost` lines are missing before the first.
    pub(crate) fn with_lost(records: Vec<Record>, lost: u64) -> Self {
        let journal = Self::of(records);
        Self { lost: journal.lost + lost, ..journal }
    }

    /// Lines that the journal has lost to its bound.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The lines that `wanted` picks.
    #[must_use]
    pub fn matching(&self, mut wanted: impl FnMut(&Record) -> bool) -> Self {
        let records = self.records.iter().filter(|record| wanted(record)).cloned().collect();
        Self { records, lost: self.lost }
    }

    /// The lines about one repository.
    #[must_use]
    pub fn of_repository(&self, name: &str) -> Self {
        self.matching(|record| record.repository == name)
    }

    /// The lines after the one numbered `seq`, which [`Record::seq`] of an earlier snapshot's last line says.
    #[must_use]
    pub fn since(&self, seq: u64) -> Self {
        self.matching(|record| record.seq > seq)
    }

    /// Questions about blob downloads, and about the pushes of one blob.
    pub fn blobs(&self) -> Blobs<'_> {
        Blobs { journal: self }
    }

    /// Questions about manifests.
    pub fn manifests(&self) -> Manifests<'_> {
        Manifests { journal: self }
    }

    /// Questions about upload sessions.
    pub fn uploads(&self) -> Uploads<'_> {
        Uploads { journal: self }
    }

    /// Questions about the token service.
    pub fn tokens(&self) -> Tokens<'_> {
        Tokens { journal: self }
    }

    /// Connections that carried a request.
    pub fn connections(&self) -> usize {
        self.iter().map(|record| record.conn).collect::<BTreeSet<_>>().len()
    }

    /// Requests for content that repeat one which had broken or been refused. Asking again for what was served is
    /// none.
    pub fn retries(&self) -> u64 {
        let mut tries: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for record in self.iter().filter(|record| record.is_fetch()) {
            let (all, failed) = tries
                .entry((&record.method, record.kind, &record.repository, &record.reference))
                .or_default();
            *all += 1;
            *failed += u64::from(!record.is_served());
        }
        tries.values().map(|(all, failed)| (all - 1).min(*failed)).sum()
    }

    /// Transfers taken up where they broke: downloads from past the first byte, sessions asked where they stand.
    pub fn resumes(&self) -> usize {
        self.iter().filter(|record| record.is_resumed()).count()
    }

    /// Every request was answered to the end, and every body came whole.
    ///
    /// # Panics
    /// One was not.
    #[track_caller]
    pub fn all_complete(&self) -> &Self {
        self.none("ended early", |record| !record.is_complete())
    }

    /// No request was refused, apart from what clients ask to find out: HEAD of what is not there (404), and a request
    /// without a token (401).
    ///
    /// # Panics
    /// One was.
    #[track_caller]
    pub fn none_refused(&self) -> &Self {
        self.none("was refused", |record| {
            let question = record.status == 401 || record.status == 404 && record.method == "HEAD";
            record.status >= 400 && !question
        })
    }

    /// No request met a quota (429).
    ///
    /// # Panics
    /// One did.
    #[track_caller]
    pub fn none_rate_limited(&self) -> &Self {
        self.none("met a quota", |record| record.status == 429)
    }

    /// No request is one that `unwanted` picks; `what` says what it would have done.
    ///
    /// # Panics
    /// One is.
    #[track_caller]
    pub fn none(&self, what: &str, unwanted: impl Fn(&Record) -> bool) -> &Self {
        self.complete();
        let found: Vec<&Record> = self.iter().filter(|record| unwanted(record)).collect();
        if !found.is_empty() {
            let (count, verb) = (found.len(), if found.len() == 1 { "request" } else { "requests" });
            fail(&format!("{count} {verb} {what}, and none should have"), &found);
        }
        self
    }

    /// # Panics
    /// Lines are missing.
    #[track_caller]
    fn complete(&self) {
        assert!(
            self.lost == 0,
            "the journal has lost {} lines to its bound, so nobody knows; clear it between the steps of a long test",
            self.lost
        );
    }
}

/// The first thing, by what `about` calls it, that more than one of `records` is about, with those records.
fn repeated<'a, K: Ord>(
    records: impl IntoIterator<Item = &'a Record>,
    about: impl Fn(&'a Record) -> K,
) -> Option<(K, Vec<&'a Record>)> {
    let mut groups: BTreeMap<K, Vec<&Record>> = BTreeMap::new();
    for record in records {
        groups.entry(about(record)).or_default().push(record);
    }
    groups.into_iter().find(|(_, group)| group.len() > 1)
}

impl Deref for Journal {
    type Target = [Record];

    fn deref(&self) -> &[Record] {
        &self.records
    }
}

impl IntoIterator for Journal {
    type Item = Record;
    type IntoIter = std::vec::IntoIter<Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

impl<'a> IntoIterator for &'a Journal {
    type Item = &'a Record;
    type IntoIter = std::slice::Iter<'a, Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.iter()
    }
}

impl From<Journal> for Vec<Record> {
    fn from(journal: Journal) -> Self {
        journal.records
    }
}

impl PartialEq<Journal> for Vec<Record> {
    fn eq(&self, other: &Journal) -> bool {
        *self == other.records
    }
}
