//! One toxic a file. Each is a machine of a few fields; what they share is the queue in `machine`.

pub(crate) mod bandwidth;
pub(crate) mod corrupt;
pub(crate) mod cut;
pub(crate) mod latency;
pub(crate) mod limit_data;
pub(crate) mod packet_loss;
pub(crate) mod reset_peer;
pub(crate) mod slicer;
pub(crate) mod slow_close;
pub(crate) mod stall;
pub(crate) mod timeout;

use crate::item::{MILLISECOND, Nanos};

/// A time in milliseconds as people give it; negative is none.
pub(crate) fn milliseconds(value: i64) -> Nanos {
    // A century, so that adding it to a time never overflows.
    const LONGEST: u64 = 3_155_760_000_000;
    u64::try_from(value).unwrap_or(0).min(LONGEST) * MILLISECOND
}
