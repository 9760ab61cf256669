//! The AWS event stream encoding (`application/vnd.amazon.eventstream`), which Bedrock streams
//! with.
//!
//! A message is: total length and length of the headers (both 32 bits, big endian), CRC-32 of those
//! eight bytes, headers, payload, CRC-32 of everything before it. A header is: length of the name
//! (8 bits), name, type (8 bits), value.

use std::fmt;
use std::ops::Range;

use super::frame::FrameError;

const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
/// The shortest message: no headers, no payload.
const MESSAGE_BYTES_MIN: usize = PRELUDE_BYTES + CHECKSUM_BYTES;
const HEADER_NAME_BYTES_MAX: usize = u8::MAX as usize;
const HEADER_VALUE_BYTES_MAX: usize = i16::MAX as usize;
const TYPE_STRING: u8 = 7;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageError {
    /// Where the message starts in the run.
    pub offset: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event stream message at byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for MessageError {}

/// The lengths that a message opens with.
struct Prelude {
    total: usize,
    headers: usize,
}

impl Prelude {
    fn parse(bytes: &[u8; PRELUDE_BYTES]) -> Result<Self, &'static str> {
        let number = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if crc32fast::hash(&bytes[..PRELUDE_BYTES - CHECKSUM_BYTES]) != number(8) {
            return Err("the prelude does not match its checksum");
        }
        let (total, headers) = (number(0) as usize, number(4) as usize);
        if total < MESSAGE_BYTES_MIN || headers > total - MESSAGE_BYTES_MIN {
            return Err("the lengths in the prelude contradict each other");
        }
        Ok(Self { total, headers })
    }
}

/// Finds the ends of messages across chunks. Trusts a length only after its checksum.
#[derive(Debug)]
pub(super) struct Boundaries {
    frame_bytes_max: usize,
    prelude: [u8; PRELUDE_BYTES],
    prelude_bytes: usize,
    /// What is still to come of the message whose prelude is known.
    missing: usize,
}

impl Boundaries {
    pub(super) fn new(frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max, prelude: [0; PRELUDE_BYTES], prelude_bytes: 0, missing: 0 }
    }

    /// The offset behind the last complete message of `chunk`.
    pub(super) fn last(&mut self, chunk: &[u8]) -> (Option<usize>, Option<FrameError>) {
        let mut end = None;
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.missing > 0 {
                let taken = self.missing.min(rest.len());
                rest = &rest[taken..];
                self.missing -= taken;
                if self.missing == 0 {
                    end = Some(chunk.len() - rest.len());
                }
                continue;
            }
            let taken = (PRELUDE_BYTES - self.prelude_bytes).min(rest.len());
            self.prelude[self.prelude_bytes..][..taken].copy_from_slice(&rest[..taken]);
            self.prelude_bytes += taken;
            rest = &rest[taken..];
            if self.prelude_bytes < PRELUDE_BYTES {
                break;
            }
            self.prelude_bytes = 0;
            let frame_bytes_max = self.frame_bytes_max;
            match Prelude::parse(&self.prelude) {
                Ok(prelude) if prelude.total > frame_bytes_max => {
                    return (end, Some(FrameError::TooLarge { frame_bytes_max }));
                }
                Ok(prelude) => self.missing = prelude.total - PRELUDE_BYTES,
                Err(reason) => return (end, Some(FrameError::Malformed { reason })),
            }
        }
        (end, None)
    }
}

/// One message of a run of frames. Both checksums match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where its bytes are in the run.
    pub span: Range<usize>,
    /// What it carries.
    pub payload: &'a [u8],
    headers: &'a [u8],
}

impl<'a> Message<'a> {
    /// Its headers, in order.
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.headers }
    }

    /// The value of a header that is a string.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers().flatten().find(|header| header.name == name)?.as_str()
    }

    /// `:message-type`: `event`, `exception` or `error`.
    pub fn message_type(&self) -> Option<&'a str> {
        self.header(":message-type")
    }

    /// `:event-type`, such as `contentBlockDelta`.
    pub fn event_type(&self) -> Option<&'a str> {
        self.header(":event-type")
    }

    /// `:exception-type`, such as `throttlingException`.
    pub fn exception_type(&self) -> Option<&'a str> {
        self.header(":exception-type")
    }
}

/// One header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a str,
    /// The type of its value, as on the wire (7 is a string).
    pub kind: u8,
    /// Its value, as on the wire.
    pub value: &'a [u8],
}

impl<'a> Header<'a> {
    /// Its value, if that is a string.
    pub fn as_str(&self) -> Option<&'a str> {
        if self.kind == TYPE_STRING { std::str::from_utf8(self.value).ok() } else { None }
    }
}

/// Iterator over the [`Header`]s of a message. Ends after an error.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    fn parse(&mut self) -> Option<Header<'a>> {
        let (&name_bytes, rest) = self.rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(name_bytes))?;
        let (&kind, rest) = rest.split_first()?;
        let (value_bytes, rest) = match kind {
            // true, false
            0 | 1 => (0, rest),
            // 8, 16, 32 and 64 bits
            2 => (1, rest),
            3 => (2, rest),
            4 => (4, rest),
            // a time is 64 bits of milliseconds
            5 | 8 => (8, rest),
            // bytes and string
            6 | TYPE_STRING => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            // UUID
            9 => (16, rest),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(value_bytes)?;
        self.rest = rest;
        Some(Header { name: std::str::from_utf8(name).ok()?, kind, value })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let header = self.parse().ok_or("malformed header");
        if header.is_err() {
            self.rest = &[];
        }
        Some(header)
    }
}

/// The messages of a run of frames.
pub fn messages(frames: &[u8]) -> Messages<'_> {
    Messages { frames, at: 0 }
}

/// Iterator over the [`Message`]s of a run of frames. Goes on behind a damaged message as long as
/// its length is known.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    frames: &'a [u8],
    at: usize,
}

impl<'a> Messages<'a> {
    /// The next message; moves behind it, or to the end if it is not known where that is.
    fn parse(&mut self) -> Result<Message<'a>, &'static str> {
        let incomplete = "it is incomplete";
        let start = std::mem::replace(&mut self.at, self.frames.len());
        let rest = &self.frames[start..];
        let prelude = Prelude::parse(rest.first_chunk().ok_or(incomplete)?)?;
        let message = rest.get(..prelude.total).ok_or(incomplete)?;
        self.at = start + prelude.total;
        let (body, crc) = message.split_last_chunk::<CHECKSUM_BYTES>().ok_or(incomplete)?;
        if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return Err("it does not match its checksum");
        }
        let (headers, payload) = body[PRELUDE_BYTES..].split_at(prelude.headers);
        if let Some(reason) = (Headers { rest: headers }).find_map(Result::err) {
            return Err(reason);
        }
        Ok(Message { span: start..self.at, payload, headers })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.at;
        let more = offset < self.frames.len();
        more.then(|| self.parse().map_err(|reason| MessageError { offset, reason }))
    }
}

/// Writes one message with string headers. Names and values are cut at what the format can hold
/// (255 and 32,767 bytes).
pub fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    append(headers, payload, &mut message);
    message
}

/// The same, behind what is there already.
pub fn append(headers: &[(&str, &str)], payload: &[u8], out: &mut Vec<u8>) {
    let header_bytes: usize = headers
        .iter()
        .map(|(name, value)| {
            4 + cut(name, HEADER_NAME_BYTES_MAX).len() + cut(value, HEADER_VALUE_BYTES_MAX).len()
        })
        .sum();
    let total = MESSAGE_BYTES_MIN + header_bytes + payload.len();
    let start = out.len();
    out.reserve(total);
    out.extend_from_slice(&(total as u32).to_be_bytes());
    out.extend_from_slice(&(header_bytes as u32).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&out[start..]).to_be_bytes());
    for (name, value) in headers {
        let name = cut(name, HEADER_NAME_BYTES_MAX);
        let value = cut(value, HEADER_VALUE_BYTES_MAX);
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
        out.push(TYPE_STRING);
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32fast::hash(&out[start..]).to_be_bytes());
}

/// The longest prefix of whole characters in `bytes_max` bytes.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
