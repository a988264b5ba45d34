//! What the images of a replica were found to be, and the sum of it.

use crate::result::{Replica, Sampled};

/// What one image was found to be.
#[derive(Debug)]
pub(super) enum Finding {
    /// Read whole, and equal.
    Exact,
    /// `read` of its `size` bytes read, and equal.
    Sampled { read: u64, size: u64 },
    /// Different, or not shown to be equal; in what way.
    Mismatched(Vec<String>),
    /// Not there.
    Missing(String),
    /// One of the sides could not be read.
    Unreadable(String),
}

/// Adds the findings of `expected` images up.
pub(super) fn summary(expected: u64, findings: impl IntoIterator<Item = Finding>) -> Replica {
    let mut replica = Replica { expected, ..Replica::default() };
    let (mut read_bytes, mut all_bytes) = (0u64, 0u64);
    let mut problems = Vec::new();
    for finding in findings {
        match finding {
            Finding::Exact => replica.exact += 1,
            Finding::Sampled { read, size } => {
                replica.exact_sampled.count += 1;
                read_bytes += read;
                all_bytes += size;
            }
            Finding::Mismatched(found) => {
                replica.mismatched += 1;
                problems.extend(found);
            }
            Finding::Missing(problem) => {
                replica.missing += 1;
                problems.push(problem);
            }
            Finding::Unreadable(problem) => {
                replica.unreadable += 1;
                problems.push(problem);
            }
        }
    }
    let share = if all_bytes == 0 { 0.0 } else { read_bytes as f64 / all_bytes as f64 };
    replica.exact_sampled = Sampled { share, ..replica.exact_sampled };
    problems.truncate(PROBLEMS);
    replica.problems = problems;
    replica
}

/// Problems told in words; more of them say nothing new.
const PROBLEMS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_add_up() {
        let findings = [
            Finding::Exact,
            Finding::Sampled { read: 10, size: 100 },
            Finding::Sampled { read: 30, size: 100 },
            Finding::Missing("a:1: not at the destination".into()),
            Finding::Unreadable("a:3: connection refused".into()),
            Finding::Mismatched((0..30).map(|n| format!("a:2: {n}")).collect()),
        ];
        let replica = summary(6, findings);
        assert_eq!(
            (replica.expected, replica.exact, replica.mismatched, replica.missing, replica.unreadable),
            (6, 1, 1, 1, 1)
        );
        assert_eq!((replica.exact_sampled.count, replica.exact_sampled.share), (2, 0.2));
        assert_eq!(replica.problems.len(), PROBLEMS);
    }
}
