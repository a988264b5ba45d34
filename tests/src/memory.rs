//! Resident memory of other processes.

/// Highest resident memory of a process since its start, bytes.
///
/// # Panics
/// There is no such process.
pub fn peak_resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel tells the peak");
    let kib: u64 =
        line["VmHWM:".len()..].trim().trim_end_matches("kB").trim().parse().expect("a number of kB");
    kib * 1024
}
