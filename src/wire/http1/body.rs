//! A message's body as it arrives (RFC 9112, sections 6 and 7): delimited by its length, by chunks or by
//! the end of the connection. Its bytes are handed on as slices of what was read.

use bytes::{Buf, Bytes, BytesMut};

use super::{Fields, Malformed, Name};
use crate::wire::fields::number;

/// Length of a line with a chunk's size and extensions.
pub(super) const CHUNK_LINE_BYTES_MAX: usize = 4096;
/// Length of all trailers.
pub(super) const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// Hexadecimal digits of a chunk's size: 2^60 is more than anybody sends.
const CHUNK_DIGITS_MAX: usize = 15;
/// Chunks that have come together are taken as one part until it is so long.
const RUN_BYTES_MAX: usize = 16 * 1024;

/// What a body turned out to be next.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Some of it.
    Data(Bytes),
    /// More has to be read first.
    Incomplete,
    /// It is complete.
    End,
}

/// How a body is delimited, and how much of it is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// The head is not read yet.
    #[default]
    Unknown,
    /// So many bytes are left.
    Length(u64),
    /// The size of a chunk comes next.
    ChunkSize,
    /// So many bytes of a chunk are left.
    Chunk(u64),
    /// The line break after a chunk comes next.
    ChunkEnd,
    /// Trailers, of which so many bytes were seen.
    Trailers(usize),
    /// Everything until the connection ends.
    UntilEnd,
    /// There is no more.
    Done,
}

impl Body {
    /// Takes the next part of the body out of what was read.
    ///
    /// # Errors
    ///
    /// [`Malformed::Chunk`]; nothing after it can be trusted.
    pub fn next(&mut self, read: &mut Bytes) -> Result<Part, Malformed> {
        loop {
            match *self {
                Body::Done => return Ok(Part::End),
                Body::Unknown => return Ok(Part::Incomplete),
                _ if read.is_empty() => return Ok(Part::Incomplete),
                Body::UntilEnd => return Ok(Part::Data(std::mem::take(read))),
                Body::Length(left) => {
                    let (data, left) = take(read, left);
                    *self = if left == 0 { Body::Done } else { Body::Length(left) };
                    return Ok(Part::Data(data));
                }
                Body::Chunk(left) => {
                    let (data, left) = take(read, left);
                    *self = if left == 0 { Body::ChunkEnd } else { Body::Chunk(left) };
                    return Ok(Part::Data(data));
                }
                Body::ChunkSize => {
                    let Some(line) = line(read, CHUNK_LINE_BYTES_MAX)? else {
                        return Ok(Part::Incomplete);
                    };
                    let size = chunk_size(&read[..line])?;
                    read.advance(line + 2);
                    *self = if size == 0 { Body::Trailers(0) } else { Body::Chunk(size) };
                }
                Body::ChunkEnd => {
                    if read[0] != b'\r' || read.get(1).is_some_and(|byte| *byte != b'\n') {
                        return Err(Malformed::Chunk);
                    }
                    if read.len() < 2 {
                        return Ok(Part::Incomplete);
                    }
                    read.advance(2);
                    *self = Body::ChunkSize;
                }
                Body::Trailers(seen) => {
                    let Some(line) = line(read, TRAILER_BYTES_MAX - seen)? else {
                        return Ok(Part::Incomplete);
                    };
                    read.advance(line + 2);
                    *self = if line == 0 { Body::Done } else { Body::Trailers(seen + line + 2) };
                }
            }
        }
    }

    /// As [`Self::next`]; but what several chunks carry that have come together is one part, copied. A
    /// stream that is ahead of its reader is in chunks of a frame each, and to go around for every one
    /// of them costs more than to copy them.
    ///
    /// # Errors
    ///
    /// [`Malformed::Chunk`], once everything in front of it was taken.
    pub fn run(&mut self, read: &mut Bytes) -> Result<Part, Malformed> {
        let first = match self.next(read)? {
            Part::Data(first) => first,
            other => return Ok(other),
        };
        let mut run = BytesMut::new();
        while *self == Body::ChunkEnd && first.len().max(run.len()) < RUN_BYTES_MAX {
            // Whatever else there is, also an error, is there at the next call as well.
            let Ok(Part::Data(more)) = self.next(read) else { break };
            if run.is_empty() {
                run.reserve(first.len() + more.len() + read.len());
                run.extend_from_slice(&first);
            }
            run.extend_from_slice(&more);
        }
        Ok(Part::Data(if run.is_empty() { first } else { run.freeze() }))
    }

    /// So many bytes of a body of known length were read past it.
    pub fn skip(&mut self, count: usize) {
        if let Body::Length(left) = self {
            *left = left.saturating_sub(count as u64);
            if *left == 0 {
                *self = Body::Done;
            }
        }
    }

    /// The connection has ended. True when that completes the body.
    pub fn end(&mut self) -> bool {
        if *self == Body::UntilEnd {
            *self = Body::Done;
        }
        *self == Body::Done
    }

    /// Whether it was read to its end.
    pub fn is_done(&self) -> bool {
        *self == Body::Done
    }
}

/// Goes through the chunks that a piece of a body begins with, for as long as each is whole, has no
/// extensions and is `taken`. How many bytes that is: what may be passed on as it is.
pub fn take_chunks(wire: &[u8], mut taken: impl FnMut(&[u8]) -> bool) -> usize {
    let mut at = 0;
    while let Some((data, bytes)) = whole_chunk(&wire[at..])
        && taken(data)
    {
        at += bytes;
    }
    at
}

/// The data of the chunk that comes first, if all of it is there, and how long it is over the wire. Not
/// of the last one, behind which there may be trailers.
fn whole_chunk(wire: &[u8]) -> Option<(&[u8], usize)> {
    let (size, digits) = hexadecimal(wire);
    let size = usize::try_from(size).ok().filter(|size| *size > 0)?;
    let rest = wire[digits..].strip_prefix(b"\r\n")?;
    let (data, rest) = rest.split_at_checked(size)?;
    rest.starts_with(b"\r\n").then_some((data, digits + 2 + size + 2))
}

fn take(read: &mut Bytes, left: u64) -> (Bytes, u64) {
    let count = usize::try_from(left).map_or(read.len(), |left| left.min(read.len()));
    (read.split_to(count), left - count as u64)
}

/// The length of the line that is read first, without its line break.
fn line(read: &[u8], bytes_max: usize) -> Result<Option<usize>, Malformed> {
    match memchr::memchr(b'\n', read) {
        Some(end) if end > bytes_max => Err(Malformed::Chunk),
        Some(end) if end > 0 && read[end - 1] == b'\r' => Ok(Some(end - 1)),
        Some(_) => Err(Malformed::Chunk),
        None if read.len() > bytes_max => Err(Malformed::Chunk),
        None => Ok(None),
    }
}

/// The size at the beginning of a chunk's line; extensions after it are ignored (RFC 9112, section
/// 7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let (size, digits) = hexadecimal(line);
    let rest = line[digits..].trim_ascii_start();
    if digits == 0 || !(rest.is_empty() || rest[0] == b';') {
        return Err(Malformed::Chunk);
    }
    Ok(size)
}

/// The number that this begins with, and how many digits it has: as many as count, so that a longer one is
/// followed by what cannot follow a size.
fn hexadecimal(text: &[u8]) -> (u64, usize) {
    let digits = text.iter().map_while(|byte| char::from(*byte).to_digit(16));
    digits
        .take(CHUNK_DIGITS_MAX)
        .fold((0, 0), |(size, digits), digit| (size << 4 | u64::from(digit), digits + 1))
}

/// The length that a message announces (RFC 9110, section 8.6); `None` without one. The same length may
/// be said more than once.
///
/// # Errors
///
/// [`Malformed::Length`], where it is no number or several.
pub fn content_length(headers: &Fields) -> Result<Option<u64>, Malformed> {
    if !headers.is_repeated(Name::ContentLength) {
        let Some(value) = headers.get(Name::ContentLength) else { return Ok(None) };
        if let Some(length) = number(value) {
            return Ok(Some(length));
        }
    }
    let mut length = None;
    for value in headers.all(Name::ContentLength) {
        for text in value.split(|byte| *byte == b',') {
            let number = number(text.trim_ascii());
            if number.is_none() || length.is_some_and(|length| Some(length) != number) {
                return Err(Malformed::Length);
            }
            length = number;
        }
    }
    Ok(length)
}
