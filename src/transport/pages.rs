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

    #[test]
    fn code_comes_back_when_it_is_used() {
        let mapped = || {
            let smaps = fs::read_to_string("/proc/self/smaps").expect("this process's mappings");
            let mut of_code = false;
            let mut kilobytes = 0;
            for line in smaps.lines() {
                if line.split_ascii_whitespace().next().is_some_and(|word| word.contains('-')) {
                    of_code = code(line).is_some();
                } else if of_code && let Some(size) = line.strip_prefix("Rss:") {
                    let size: u64 = size.trim_end_matches("kB").trim().parse().expect("a size");
                    kilobytes += size;
                }
            }
            kilobytes
        };
        let before = mapped();
        release_code();
        let after = mapped();
        assert!(after < before, "{before} kB of code before, {after} after");
    }
}
