//! Resident memory of other processes.

/// Highest resident memory of a process since its start, bytes.
///
/// # Panics
/// There is no such process.
pub fn peak_resident(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// Resident memory of a process now, bytes.
///
/// # Panics
/// There is no such process.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

fn status(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with(key)).expect("the kernel tells it");
    let kib: u64 = line[key.len()..].trim().trim_end_matches("kB").trim().parse().expect("a number of kB");
    kib * 1024
}
