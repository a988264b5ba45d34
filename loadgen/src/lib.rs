//! Drives a container-image replicator through a scenario of real transfers and faults, gathers the evidence and
//! judges it. A library with a thin binary: [`run`] is one run from plan to verdict, everything else its parts.

pub mod board;
pub mod cancel;
pub mod cli;
pub mod client;
pub mod control;
pub mod drive;
pub mod evidence;
pub mod faults;
pub mod plan;
pub mod progress;
pub mod replicator;
pub mod report;
pub mod result;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod serve;
pub mod single;
pub mod testbed;
pub mod verdict;

/// `println!` for programs whose reader may leave early (`loadgen plan … | head`): a closed pipe ends nothing and is
/// no panic.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($argument)*);
    }};
}

/// An error and its causes on one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
