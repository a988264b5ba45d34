//! Processor time of other processes.

/// Seconds that the threads a process has now have run, to the nanosecond.
///
/// # Panics
/// There is no such process, or a kernel without scheduler statistics.
pub fn seconds(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let nanos = threads.map(|thread| {
        let path = thread.expect("a list of threads").path().join("schedstat");
        // A thread that ended since it was listed has no time any more.
        let text = std::fs::read_to_string(path).unwrap_or_else(|_| "0".into());
        text.split(' ')
            .next()
            .and_then(|nanos| nanos.trim().parse::<u64>().ok())
            .expect("nanoseconds come first")
    });
    nanos.sum::<u64>() as f64 / 1e9
}
