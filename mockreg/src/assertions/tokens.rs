//! Assertions about the token service: a token is there to be used again.

use mockreg_proto::journal::{Kind, Record};

use super::failure::fail;
use super::{Journal, repeated};

/// All requests to the token service.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    pub(super) journal: &'a Journal,
}

impl<'a> Tokens<'a> {
    /// The lines of tokens that were given out.
    pub fn issues(self) -> Vec<&'a Record> {
        self.journal.iter().filter(|record| record.kind == Kind::Token && record.is_served()).collect()
    }

    /// No token was asked for twice: one for each scope is enough.
    ///
    /// # Panics
    /// One was.
    #[track_caller]
    pub fn none_asked_twice(self) -> Self {
        self.journal.complete();
        let about = |record: &'a Record| (&record.repository, &record.reference);
        if let Some(((repository, reference), records)) = repeated(self.issues(), about) {
            let scope = format!("{repository} {reference}");
            fail(&format!("a token for `{}` was asked for {} times", scope.trim(), records.len()), &records);
        }
        self
    }

    /// So many tokens were given out.
    ///
    /// # Panics
    /// More or fewer were.
    #[track_caller]
    pub fn issued(self, tokens: usize) -> Self {
        self.journal.complete();
        let issues = self.issues();
        if issues.len() != tokens {
            fail(&format!("{} tokens were given out, not {tokens}", issues.len()), &issues);
        }
        self
    }
}
