//! Writes at the end of a file, in whole blocks and past the page cache (`O_DIRECT`).
//!
//! What a journal gets is on the disk a moment later and mostly never read. Through the page cache each
//! write would look for pages, copy into them and have them written back: three times the work of
//! the system. The block that the last write ended in is written again with the next one, so the
//! file looks the same as without.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What a device and a file system want of place, length and memory alike: a page.
pub(super) const BLOCK: usize = 4096;

/// A file that grows within space which it has.
#[derive(Debug)]
pub(super) struct Direct {
    /// With the page cache.
    file: File,
    /// Without, where the file system can.
    uncached: Option<File>,
    /// Where the next write goes.
    at: u64,
    /// What stands before that in the same block.
    tail: Vec<u8>,
}

/// What is on its way to a file. One for all files, because it grows to the size of a batch.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// Where in it the blocks begin: at a multiple of [`BLOCK`] in memory.
    start: usize,
}

impl Direct {
    /// A file that is there, to be written from its beginning on.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, uncached: uncached(path), at: 0, tail: Vec::new() })
    }

    /// What is written next goes there.
    pub(super) fn seek(&mut self, at: u64) -> io::Result<()> {
        let within = at % BLOCK as u64;
        self.tail.resize(within as usize, 0);
        self.file.read_exact_at(&mut self.tail, at - within)?;
        self.at = at;
        Ok(())
    }

    /// Where the next write goes.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The file, to be read.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes what `add` appends to a buffer that has room for `bytes`. The last `mark` of them are
    /// what the next write goes over.
    pub(super) fn write(
        &mut self,
        outgoing: &mut Outgoing,
        bytes: usize,
        mark: usize,
        add: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        let begin = self.at - self.tail.len() as u64;
        let out = outgoing.begin(&self.tail, bytes);
        add(out);
        let end = out.len() - mark;
        let blocks = outgoing.blocks();
        self.write_blocks(blocks, begin)?;
        let start = outgoing.start;
        self.at = begin + (end - start) as u64;
        self.tail.clear();
        self.tail.extend_from_slice(&outgoing.bytes[end - (end - start) % BLOCK..end]);
        Ok(())
    }

    fn write_blocks(&mut self, blocks: &[u8], begin: u64) -> io::Result<()> {
        if let Some(uncached) = &self.uncached {
            match uncached.write_all_at(blocks, begin) {
                // It wants something else of them.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.uncached = None,
                result => return result,
            }
        }
        self.file.write_all_at(blocks, begin)
    }
}

impl Outgoing {
    /// A buffer that begins with a block's tail and has room for so many bytes behind it.
    fn begin(&mut self, tail: &[u8], bytes: usize) -> &mut Vec<u8> {
        self.bytes.clear();
        // Appending does not move it then, and with it the alignment.
        self.bytes.reserve(tail.len() + bytes + 2 * BLOCK);
        self.start = self.bytes.as_ptr().align_offset(BLOCK).min(BLOCK);
        self.bytes.resize(self.start, 0);
        self.bytes.extend_from_slice(tail);
        &mut self.bytes
    }

    /// All of it, with zeros up to a whole block.
    fn blocks(&mut self) -> &[u8] {
        let blocks = (self.bytes.len() - self.start).next_multiple_of(BLOCK);
        self.bytes.resize(self.start + blocks, 0);
        &self.bytes[self.start..]
    }
}

#[cfg(target_os = "linux")]
fn uncached(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = nix::fcntl::OFlag::O_DIRECT.bits();
    OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn uncached(_: &Path) -> Option<File> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_of_any_length_follow_one_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 10 * BLOCK]).expect("written");
        for cached in [false, true] {
            let mut file = Direct::open(&path).expect("opened");
            if cached {
                file.uncached = None;
            }
            let (mut outgoing, mut expected) = (Outgoing::default(), Vec::new());
            for (number, length) in [1, 4092, 1, 1, 1, 8192, 5000, 100].into_iter().enumerate() {
                let part = vec![number as u8 + 1; length];
                let add = |out: &mut Vec<u8>| {
                    out.extend_from_slice(&part);
                    out.extend_from_slice(b"mark");
                };
                file.write(&mut outgoing, length + 4, 4, add).expect("written");
                expected.extend_from_slice(&part);
                let found = std::fs::read(&path).expect("read");
                assert_eq!(found.len(), 10 * BLOCK);
                assert_eq!(found[..expected.len()], expected);
                assert_eq!(found[expected.len()..][..4], *b"mark");
                assert_eq!(file.at(), expected.len() as u64);
                if number == 4 {
                    file = Direct::open(&path).expect("opened");
                    file.seek(expected.len() as u64).expect("read");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_written_directly_goes_through_the_cache() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, [0; BLOCK]).expect("written");
        let mut file = Direct::open(&path).expect("opened");
        let mut outgoing = Outgoing::default();
        // With more than was said the buffer moves, and is mostly no longer aligned.
        let add = |out: &mut Vec<u8>| out.resize(out.len() + 1_000_003, 1);
        file.write(&mut outgoing, 1, 0, add).expect("written");
        let found = std::fs::read(&path).expect("read");
        assert!(found[..1_000_003].iter().all(|byte| *byte == 1));
    }
}
