//! This process as the kernel sees it: memory, threads, processor time.

use std::time::Duration;

/// Resident memory now, bytes; `None` where the system has no `/proc`.
pub fn resident_bytes() -> Option<u64> {
    status("VmRSS:").map(|kib| kib * 1024)
}

/// Highest resident memory since the start of the process, bytes.
pub fn peak_resident_bytes() -> Option<u64> {
    status("VmHWM:").map(|kib| kib * 1024)
}

/// Virtual memory now, bytes; `None` where the system has no `/proc`.
pub fn virtual_bytes() -> Option<u64> {
    status("VmSize:").map(|kib| kib * 1024)
}

/// Threads now; `None` where the system has no `/proc`.
pub fn threads() -> Option<u64> {
    status("Threads:")
}

/// Processor time of all threads, user and system.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A number of the kernel's; of memory, in KiB.
fn status(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    line[key.len()..].trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_are_plausible() {
        let (now, peak) = (resident_bytes().unwrap(), peak_resident_bytes().unwrap());
        assert!(now > 100_000 && peak >= now / 2, "{now} {peak}");
        assert!(cpu_time() > Duration::ZERO);
    }
}
