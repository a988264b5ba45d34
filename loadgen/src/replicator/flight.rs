//! One digest is brought to one destination repository once: whoever needs it first flies, the others wait for the
//! landing. What has landed is remembered, so that the set of requests is the same whoever comes first and however
//! many come at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use mockreg_proto::digest::Digest;
use tokio::sync::watch;

use super::error::CopyError;

/// A destination repository and a digest.
pub(crate) type Destination = (String, Digest);

type Landing = Result<(), CopyError>;

/// All flights of a replicator.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    flying: HashMap<Destination, watch::Receiver<Option<Landing>>>,
    landed: HashSet<Destination>,
    /// `landed` in order, for forgetting the oldest.
    order: VecDeque<Destination>,
}

/// What boarding a flight comes to.
#[derive(Debug)]
pub(crate) enum Boarding {
    /// Nobody has brought it: fly.
    Fly(Pilot),
    /// Somebody has, or has failed to.
    Landed(Landing),
}

/// The one who flies. Dropped without a landing (a cancelled copy), the next one who waits takes over.
#[derive(Debug)]
pub(crate) struct Pilot {
    flights: Arc<Flights>,
    destination: Destination,
    landing: watch::Sender<Option<Landing>>,
}

impl Flights {
    /// Takes off for `destination`, or waits for whoever has.
    pub(crate) async fn board(self: &Arc<Self>, destination: &Destination) -> Boarding {
        loop {
            let mut landing = match self.look(destination) {
                Ok(boarding) => return boarding,
                Err(landing) => landing,
            };
            if let Ok(landed) = landing.wait_for(Option::is_some).await
                && let Some(landed) = landed.as_ref()
            {
                return Boarding::Landed(landed.clone());
            }
        }
    }

    /// Forgets what has landed: the registry has lost it.
    pub(crate) fn forget(&self, destinations: impl IntoIterator<Item = Destination>) {
        let mut state = self.lock();
        for destination in destinations {
            // Its place in `order` stays and does no harm: forgetting twice is forgetting.
            state.landed.remove(&destination);
        }
    }

    fn look(
        self: &Arc<Self>,
        destination: &Destination,
    ) -> Result<Boarding, watch::Receiver<Option<Landing>>> {
        let mut state = self.lock();
        if state.landed.contains(destination) {
            return Ok(Boarding::Landed(Ok(())));
        }
        if let Some(landing) = state.flying.get(destination) {
            return Err(landing.clone());
        }
        let landing = watch::Sender::new(None);
        state.flying.insert(destination.clone(), landing.subscribe());
        Ok(Boarding::Fly(Pilot { flights: self.clone(), destination: destination.clone(), landing }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the flights")
    }
}

impl Pilot {
    /// Tells everybody how it went. A failure is shared with those who wait now; those who come later try again.
    pub(crate) fn land(self, landing: Landing) {
        if landing.is_ok() {
            let mut state = self.flights.lock();
            if state.landed.insert(self.destination.clone()) {
                state.order.push_back(self.destination.clone());
            }
            if state.order.len() > REMEMBERED
                && let Some(oldest) = state.order.pop_front()
            {
                state.landed.remove(&oldest);
            }
        }
        self.landing.send_replace(Some(landing));
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.flights.lock().flying.remove(&self.destination);
    }
}

/// Landings remembered: some 10 MB at the most, and more blobs than a run of an hour copies. What is forgotten costs
/// one more request to find that it is there.
const REMEMBERED: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn destination() -> Destination {
        ("a".into(), Digest::of(b"x"))
    }

    async fn pilot(flights: &Arc<Flights>) -> Pilot {
        match flights.board(&destination()).await {
            Boarding::Fly(pilot) => pilot,
            Boarding::Landed(_) => panic!("somebody flew before"),
        }
    }

    async fn landed(flights: &Arc<Flights>) -> bool {
        matches!(flights.board(&destination()).await, Boarding::Landed(Ok(())))
    }

    #[tokio::test]
    async fn the_others_wait_for_the_first_and_later_ones_need_not() {
        let flights = Arc::new(Flights::default());
        let first = pilot(&flights).await;
        let others: Vec<_> = (0..3)
            .map(|_| {
                let flights = flights.clone();
                tokio::spawn(async move { landed(&flights).await })
            })
            .collect();
        tokio::task::yield_now().await;
        first.land(Ok(()));
        for other in others {
            assert!(other.await.unwrap());
        }
        assert!(landed(&flights).await);
        assert!(matches!(flights.board(&("b".into(), Digest::of(b"x"))).await, Boarding::Fly(_)));
    }

    #[tokio::test]
    async fn a_lost_pilot_is_replaced_and_a_failure_is_shared() {
        let flights = Arc::new(Flights::default());
        let first = pilot(&flights).await;
        let second = tokio::spawn({
            let flights = flights.clone();
            async move { pilot(&flights).await }
        });
        tokio::task::yield_now().await;
        drop(first);
        let second = second.await.unwrap();
        let waiting = tokio::spawn({
            let flights = flights.clone();
            async move { flights.board(&destination()).await }
        });
        tokio::task::yield_now().await;
        second.land(Err(CopyError::Cancelled));
        assert!(matches!(waiting.await.unwrap(), Boarding::Landed(Err(CopyError::Cancelled))));
        pilot(&flights).await.land(Ok(()));
        flights.forget([destination()]);
        pilot(&flights).await;
    }
}
