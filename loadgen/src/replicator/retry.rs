//! Retrying one request or one transfer: counts, decides by the policy, waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mockreg_proto::seed::Seed;
use tokio::time::Instant;

use super::backoff::RetryPolicy;
use super::error::{CopyError, Subject};
use crate::client::{Reason, RequestError, Traffic};

/// What the retriers of one image share.
#[derive(Clone, Debug)]
pub(crate) struct RetryContext {
    pub(crate) policy: RetryPolicy,
    pub(crate) seed: Seed,
    pub(crate) traffic: Arc<Traffic>,
    /// Further attempts made for this image.
    pub(crate) retries: Arc<AtomicU64>,
}

/// The retries of one request or one transfer.
#[derive(Debug)]
pub(crate) struct Retrier {
    context: RetryContext,
    subject: Subject,
    identity: Seed,
    failures: u32,
    /// Of these, how many since there was progress.
    in_a_row: u32,
    wrong_content: u32,
    /// First failure since there was progress.
    trouble: Option<Instant>,
}

impl RetryContext {
    pub(crate) fn retrier(&self, subject: Subject) -> Retrier {
        let identity = self.seed.child(["back-off".to_owned(), subject.identity()]);
        Retrier {
            context: self.clone(),
            subject,
            identity,
            failures: 0,
            in_a_row: 0,
            wrong_content: 0,
            trouble: None,
        }
    }
}

impl Retrier {
    /// There are new bytes: back-off and the time to give up begin anew with the next failure. The number of
    /// attempts goes on.
    pub(crate) fn progress(&mut self) {
        self.trouble = None;
        self.in_a_row = 0;
    }

    /// Waits until another attempt may be made.
    ///
    /// # Errors
    /// Another attempt is pointless, or there have been enough.
    pub(crate) async fn failed(&mut self, cause: RequestError) -> Result<(), CopyError> {
        let Some(reason) = cause.retry_reason() else {
            return Err(CopyError::Refused { subject: self.subject.clone(), cause: Arc::new(cause) });
        };
        if self.subject.step.is_transfer() && is_break(reason) {
            self.context.traffic.transfer_broke();
        }
        match self.next_delay(reason, cause.retry_after()) {
            Some(delay) => {
                self.context.traffic.retried(reason);
                self.context.retries.fetch_add(1, Relaxed);
                tracing::debug!(subject = %self.subject, reason = reason.as_str(), ?delay, %cause, "retry");
                tokio::time::sleep(delay).await;
                Ok(())
            }
            None => Err(CopyError::GaveUp {
                subject: self.subject.clone(),
                attempts: self.failures,
                cause: Arc::new(cause),
            }),
        }
    }

    /// A refusal that ends it, whatever the cause.
    pub(crate) fn refuse(&self, cause: RequestError) -> CopyError {
        CopyError::Refused { subject: self.subject.clone(), cause: Arc::new(cause) }
    }

    fn next_delay(&mut self, reason: Reason, retry_after: Option<Duration>) -> Option<Duration> {
        let now = Instant::now();
        self.failures = self.failures.saturating_add(1);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.wrong_content += u32::from(matches!(reason, Reason::DigestMismatch | Reason::BadLength));
        if self.wrong_content > WRONG_CONTENT_LIMIT {
            return None;
        }
        let in_trouble = now.duration_since(*self.trouble.get_or_insert(now));
        self.context.policy.delay(&self.identity, [self.failures, self.in_a_row], in_trouble, retry_after)
    }
}

/// Whether the transfer had begun and was cut off.
fn is_break(reason: Reason) -> bool {
    matches!(reason, Reason::Reset | Reason::Eof | Reason::IdleTimeout | Reason::Transport)
}

/// A registry that serves wrong content does so for everybody and always: a few further attempts are for bytes that
/// were damaged on the way, which TCP's checksum makes rare.
const WRONG_CONTENT_LIMIT: u32 = 3;

#[cfg(test)]
mod tests {
    use super::super::error::Step;
    use super::*;
    use crate::client::Side;

    fn retrier(policy: RetryPolicy) -> Retrier {
        let context =
            RetryContext { policy, seed: Seed::root(1), traffic: Arc::default(), retries: Arc::default() };
        context.retrier(Subject {
            side: Side::Source,
            repository: "a".into(),
            tag: "v1".into(),
            digest: None,
            step: Step::PullBlob,
        })
    }

    fn reset() -> RequestError {
        RequestError::Transport { reason: Reason::Reset, source: None }
    }

    fn quick() -> RetryPolicy {
        let base = Duration::from_micros(1);
        RetryPolicy { attempts: 5, base, cap: base, give_up: Duration::from_millis(80) }
    }

    #[tokio::test]
    async fn attempts_are_counted_across_progress() {
        let mut retrier = retrier(quick());
        for _ in 0..4 {
            retrier.failed(reset()).await.unwrap();
            retrier.progress();
        }
        let error = retrier.failed(reset()).await.unwrap_err();
        assert!(matches!(error, CopyError::GaveUp { attempts: 5, .. }), "{error}");
        assert_eq!(retrier.context.traffic.totals().broken_transfers, 5);
        assert_eq!(retrier.context.retries.load(Relaxed), 4);
    }

    /// Nine failures in a row would wait up to 100 * 2^8 = 25.6 s; after progress the first waits 100 ms at most.
    #[tokio::test(start_paused = true)]
    async fn back_off_begins_anew_after_progress() {
        let base = Duration::from_millis(100);
        let cap = Duration::from_secs(60);
        let mut retrier =
            retrier(RetryPolicy { attempts: 100, base, cap, give_up: Duration::from_secs(3600) });
        for _ in 0..9 {
            retrier.failed(reset()).await.unwrap();
        }
        retrier.progress();
        let before = Instant::now();
        retrier.failed(reset()).await.unwrap();
        assert!(before.elapsed() <= base + Duration::from_millis(1), "{:?}", before.elapsed());
    }

    #[tokio::test]
    async fn progress_puts_giving_up_off() {
        let mut retrier = retrier(RetryPolicy { attempts: 100, ..quick() });
        for _ in 0..3 {
            retrier.failed(reset()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            retrier.progress();
        }
        retrier.failed(reset()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(90)).await;
        assert!(matches!(retrier.failed(reset()).await, Err(CopyError::GaveUp { attempts: 5, .. })));
    }

    #[tokio::test]
    async fn wrong_content_is_fetched_again_three_times() {
        let mut retrier = retrier(RetryPolicy { attempts: 100, ..quick() });
        let wrong = || RequestError::wrong(Reason::DigestMismatch, "other bytes");
        for _ in 0..3 {
            retrier.failed(wrong()).await.unwrap();
        }
        assert!(retrier.failed(wrong()).await.is_err());
    }
}
