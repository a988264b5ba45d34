//! The toxics that the two chains of a connection or flow have, and how they follow those of the proxy.

use std::sync::Arc;

use chaosproxy_path::{Chain, Nanos, Stream};

use crate::live::Entry;

/// What has been attached, in order.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    id: u64,
    revision: u64,
    stream: Stream,
    name: Arc<str>,
    is_timeout: bool,
}

impl Attached {
    /// Edits the chains, upstream and downstream, until they have exactly these toxics. Whether a `timeout` is among
    /// those that went.
    pub(crate) fn follow(&mut self, toxics: &[Entry], mut chains: [&mut Chain; 2], now: Nanos) -> bool {
        let mut lost_timeout = false;
        self.known.retain(|known| {
            let stays = toxics.iter().any(|entry| entry.id == known.id);
            if !stays {
                lost_timeout |= known.is_timeout;
                chains[known.stream as usize].detach(&known.name, now);
            }
            stays
        });
        for entry in toxics {
            let stream = entry.toxic.stream();
            let chain = &mut chains[stream as usize];
            match self.known.iter_mut().find(|known| known.id == entry.id) {
                Some(known) if known.revision == entry.revision => {}
                Some(known) => {
                    known.revision = entry.revision;
                    chain.update(&entry.toxic, now);
                }
                None => {
                    let name = Arc::clone(entry.toxic.name());
                    let is_timeout = entry.toxic.attributes().kind() == "timeout";
                    self.known.push(Known {
                        id: entry.id,
                        revision: entry.revision,
                        stream,
                        name,
                        is_timeout,
                    });
                    chain.attach(&entry.toxic, now);
                }
            }
        }
        lost_timeout
    }
}
