//! Pages of the program that only starting needed.
//!
//! Reading a configuration, compiling it and opening everything runs through megabytes of code that
//! serving never sees again, and the system maps code in pieces of 64 KB around what is touched. Once
//! the process serves, its mappings of code are emptied: what is needed comes back from the page cache
//! at its first use (about 100 short faults in all), and the rest belongs to nobody.

use std::fs;

/// Empties this process's mappings of code, until they are used again. Where the system does not say
/// what is mapped, nothing happens.
pub fn release_code() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for (start, end) in maps.lines().filter_map(code) {
        // SAFETY: the range is a mapping of this process, of a file, private, executable and not
        // writable: its pages are those of the file, and the system brings them back when they are
        // touched (`madvise`, `MADV_DONTNEED`). Code is not unmapped while the process runs.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
        }
    }
}

/// The range of a line of `/proc/self/maps` (`proc_pid_maps`, section 5), if it is code of a file.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    if fields.next() != Some("r-xp") || !fields.nth(3)?.starts_with('/') {
        return None;
    }
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn only_code_of_files_is_released() {
        let line = "55c0fad25000-55c0fba58000 r-xp 006cb000 fe:00 101  /usr/bin/weir";
        assert_eq!(code(line), Some((0x55c0_fad2_5000, 0x55c0_fba5_8000)));
        for other in [
            "55c0fa659000-55c0fad25000 r--p 00000000 fe:00 101  /usr/bin/weir",
            "55c0fba58000-55c0fbaca000 rwxp 013fd000 fe:00 101  /usr/bin/weir",
            "20000000000-20040000000 r-xp 00000000 00:00 0 ",
            "7ffe5e1eb000-7ffe5e20c000 r-xp 00000000 00:00 0  [vdso]",
            "",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
    }

    /// What of the mapping at `start` is in memory, in kB (`proc_pid_smaps`, section 5).
    fn resident(start: usize) -> u64 {
        let smaps = fs::read_to_string("/proc/self/smaps").expect("this process's mappings");
        let mapping = smaps
            .lines()
            .skip_while(|line| code(line).is_none_or(|range| range.0 != start))
            .find_map(|line| line.strip_prefix("Rss:"));
        let size = mapping.expect("the mapping").trim_end_matches("kB").trim();
        size.parse().expect("a size")
    }

    #[test]
    fn code_comes_back_when_it_is_used() {
        // A mapping of its own, in one go in memory and called by nobody: what is resident of the
        // program's changes with every call.
        let path = std::env::current_exe().expect("this program");
        let bytes = fs::read(&path).expect("this program");
        let file = fs::File::open(&path).expect("this program");
        // SAFETY: a new private mapping of a whole file that nobody writes; the result is checked.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes.len(),
                libc::PROT_READ | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_POPULATE,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        assert!(resident(start as usize) >= bytes.len() as u64 / 1024);
        release_code();
        assert_eq!(resident(start as usize), 0);
        // SAFETY: the mapping made above, as long as the file, and still there.
        let mapped = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), bytes.len()) };
        assert!(mapped == bytes, "what comes back is the file");
        // SAFETY: the mapping made above; nothing refers to it any more.
        unsafe { libc::munmap(start, bytes.len()) };
    }
}
