//! A switch that ends every wait of a run at once. What it means on the wire: connections in use are closed, upload
//! sessions are left to the registry's own expiry, nothing is awaited.

use std::sync::Arc;

use tokio::sync::watch;

/// A switch that can be thrown once. Clones are the same switch.
#[derive(Clone, Debug)]
pub struct CancelToken(Arc<watch::Sender<bool>>);

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl CancelToken {
    /// A switch that has not been thrown.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Throws the switch; again is harmless.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has been thrown.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is thrown. Cancel safe.
    pub async fn cancelled(&self) {
        let mut thrown = self.0.subscribe();
        thrown.wait_for(|thrown| *thrown).await.expect("the sender lives in this token");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_and_every_waiter_is_woken() {
        let token = CancelToken::new();
        let waiting = tokio::spawn({
            let token = token.clone();
            async move { token.cancelled().await }
        });
        assert!(!token.is_cancelled());
        token.clone().cancel();
        waiting.await.unwrap();
        token.cancelled().await;
        assert!(token.is_cancelled());
    }
}
