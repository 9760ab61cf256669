//! One batch of entries as it stands in a journal.
//!
//! A frame is a head of 32 bytes and the entries. After the last frame of a segment stands a word of
//! zeros, written in one piece with the frame, so that what an earlier use of the segment left
//! behind is not taken for one that was torn.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Bytes of a frame's head.
pub(super) const HEAD_BYTES: usize = 32;
/// Bytes of the mark after the last frame.
pub(super) const END_BYTES: usize = 4;
/// The largest frame that is read.
pub(super) const FRAME_BYTES_MAX: u64 = 64 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"WLJ1");

/// What the head of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Number of the first record; the records of a journal count from 0.
    pub(super) first: u64,
    /// Number of records.
    pub(super) count: u64,
    /// Bytes of the entries.
    pub(super) bytes: u32,
    crc: u32,
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame; its entries are in the buffer.
    Frame(Head),
    /// Nothing more.
    End,
    /// A frame that was not written to its end, of so many records as its head says.
    Torn(u64),
}

/// Bytes that [`write`] appends for so many bytes of entries.
pub(super) fn length(entries: usize) -> usize {
    HEAD_BYTES + entries + END_BYTES
}

/// Appends a frame, and the mark that it is the last one.
pub(super) fn write(first: u64, count: u64, entries: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    let crc = checksum(&out[begin + 4..begin + 24], entries);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(entries);
    end(out);
}

/// Appends nothing but the mark.
pub(super) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; END_BYTES]);
}

/// Reads what stands at `at`, where a frame that begins with record `expected` may be.
pub(super) fn read(
    file: &File,
    at: u64,
    expected: u64,
    entries: &mut Vec<u8>,
) -> io::Result<Found> {
    let mut bytes = [0; HEAD_BYTES];
    let length = file.metadata()?.len();
    if at + HEAD_BYTES as u64 > length {
        return Ok(Found::End);
    }
    file.read_exact_at(&mut bytes, at)?;
    let Some(head) = Head::of(&bytes) else {
        let end = bytes[..END_BYTES] == [0; END_BYTES];
        return Ok(if end { Found::End } else { Found::Torn(0) });
    };
    let whole = at + HEAD_BYTES as u64 + u64::from(head.bytes) <= length
        && u64::from(head.bytes) <= FRAME_BYTES_MAX;
    if whole {
        entries.resize(head.bytes as usize, 0);
        file.read_exact_at(entries, at + HEAD_BYTES as u64)?;
    }
    if whole && checksum(&bytes[4..24], entries) == head.crc {
        // A whole frame out of turn was left behind by an earlier use of the segment.
        return Ok(if head.first == expected { Found::Frame(head) } else { Found::End });
    }
    Ok(Found::Torn(if head.first == expected { head.count } else { 0 }))
}

impl Head {
    fn of(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let u32_at = |at: usize| {
            bytes[at..].first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        let u64_at = |at: usize| {
            bytes[at..].first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        (u32_at(0) == MAGIC).then(|| Self {
            bytes: u32_at(4),
            first: u64_at(8),
            count: u64_at(16),
            crc: u32_at(24),
        })
    }

    /// Where the next frame begins, after one that begins at `at`.
    pub(super) fn end(&self, at: u64) -> u64 {
        at + HEAD_BYTES as u64 + u64::from(self.bytes)
    }
}

fn checksum(head: &[u8], entries: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(entries);
    hasher.finalize()
}
