//! Large pages for a file in memory: one of 2 MiB is found and counted once, where 512 of 4 KiB are one by one, and
//! a packet holds a run of it as one piece.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr;

/// The size of a large page, to which its place in a file and in memory is aligned.
const LARGE: usize = 2 << 20;

/// Moves the first `len` bytes of a file in memory into large pages, as far as they fill them. This asks for no setting
/// of the host, except that its kernel has such pages: `MADV_COLLAPSE`, madvise(2), is for those who know what they
/// want (Linux 6.1).
///
/// # Errors
/// An older kernel, or no memory in pieces of that size. The file is as it was, or partly moved.
#[expect(unsafe_code, reason = "rustix has mappings only behind unsafe calls, and not this advice")]
pub(super) fn gather(file: &File, len: usize) -> io::Result<()> {
    let len = len / LARGE * LARGE;
    if len == 0 {
        return Ok(());
    }
    // SAFETY: the first mapping is at a place that the kernel chooses, and nobody else knows of. The second replaces a
    // part of it: `aligned` is below `LARGE` bytes from its start, and it is `LARGE` longer than `len`. Nothing is read
    // or written through either, advice changes no content, and both are gone at the end.
    unsafe {
        let room = libc::mmap(
            ptr::null_mut(),
            len + LARGE,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if room == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let aligned = room.byte_add(room.align_offset(LARGE));
        let shared = libc::MAP_SHARED | libc::MAP_FIXED;
        let mapped = libc::mmap(aligned, len, libc::PROT_READ, shared, file.as_raw_fd(), 0);
        let gathered = if mapped != libc::MAP_FAILED && libc::madvise(mapped, len, libc::MADV_COLLAPSE) == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        };
        libc::munmap(room, len + LARGE);
        gathered
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    #[test]
    fn a_file_keeps_its_bytes_when_its_pages_are_gathered() {
        let bytes: Vec<u8> = (0..2 * LARGE + 5).map(|at| (at % 251) as u8).collect();
        let mut file = File::from(memfd_create("gathered", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(&bytes).unwrap();
        match gather(&file, bytes.len()) {
            Ok(()) => assert!(large_pages() >= 2 * LARGE, "nothing was moved"),
            // An older kernel, or no memory in one piece.
            Err(error) => {
                let expected = [libc::EINVAL, libc::ENOMEM, libc::EBUSY, libc::EAGAIN].map(Some);
                assert!(expected.contains(&error.raw_os_error()), "{error}");
            }
        }
        let mut after = vec![0; bytes.len()];
        file.read_exact_at(&mut after, 0).unwrap();
        assert!(after == bytes);
    }

    #[test]
    fn a_file_smaller_than_a_large_page_stays_as_it_is() {
        let file = File::from(memfd_create("small", MemfdFlags::CLOEXEC).unwrap());
        gather(&file, LARGE - 1).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    /// Bytes of files in memory that are in large pages, on the whole machine.
    fn large_pages() -> usize {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
        let line = meminfo.lines().find_map(|line| line.strip_prefix("ShmemHugePages:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }
}
