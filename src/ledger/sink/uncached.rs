//! A file that is written and not read again, such as a log: its pages go to the disk at once and leave the
//! page cache then (`RWF_DONTCACHE`, Linux 6.14). The log does not push out what others read, and each
//! write finds pages that were just freed instead of new ones: half the time of the system for a line.

use std::fs;
use std::io::{self, IoSlice, Write};

use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use crate::clock::{Duration, Instant};

/// Behind the end of what was written last, or of the file where that is opened to append.
const CURRENT_POSITION: u64 = u64::MAX;
/// A write of this length shows a disk that does not keep up, whose writes the page cache had better
/// gather.
const SLOW: Duration = Duration::from_millis(50);

/// A file that is appended to.
#[derive(Debug)]
pub struct File {
    file: fs::File,
    /// Neither the system, the file nor the disk has shown that it will not do.
    uncached: bool,
}

impl From<fs::File> for File {
    fn from(file: fs::File) -> Self {
        Self { file, uncached: true }
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.uncached {
            let began = Instant::now();
            // Not yet among the flags of the library.
            let flag = ReadWriteFlags::from_bits_retain(0x80);
            match pwritev2(&self.file, &[IoSlice::new(bytes)], CURRENT_POSITION, flag) {
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
                    self.uncached = false;
                }
                result => {
                    self.uncached = began.elapsed() < SLOW;
                    return Ok(result?);
                }
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Read as _;

    use super::*;

    #[test]
    fn several_writers_append_to_one_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let open =
            || File::from(OpenOptions::new().append(true).create(true).open(&path).expect("opens"));
        let (mut first, mut second) = (open(), open());
        for line in 0..100 {
            writeln!(first, "a{line}").expect("is written");
            writeln!(second, "b{line}").expect("is written");
        }
        let text = fs::read_to_string(&path).expect("is read");
        let expected: Vec<String> =
            (0..100).flat_map(|n| [format!("a{n}"), format!("b{n}")]).collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_no_file_of_a_disk_is_written_as_ever() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let mut file = File::from(fs::File::from(std::os::fd::OwnedFd::from(writer)));
        file.write_all(b"line\n").expect("is written");
        assert!(!file.uncached);
        drop(file);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("is read");
        assert_eq!(text, "line\n");
    }
}
