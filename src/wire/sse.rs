//! Server-sent events, as the WHATWG HTML standard defines them ("Server-sent events",
//! "Interpreting an event stream").
//!
//! Lines end with LF, CRLF or CR; a blank line ends an event. Two deviations, both because a proxy
//! observes rather than consumes: a byte order mark is skipped in front of any event (a run of
//! frames does not say whether it is the first), and a last event without its blank line is still
//! reported, marked as not `complete`, since some servers leave the blank line out and the client
//! libraries read the event all the same.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr2, memrchr2_iter};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Finds blank lines across chunks. Remembers the two bytes before the chunk, which is all that
/// decides whether a line end is that of a blank line.
#[derive(Debug)]
pub(super) struct Boundaries {
    before: [u8; 2],
}

impl Default for Boundaries {
    /// The start of a stream is the start of a line.
    fn default() -> Self {
        Self { before: *b"\n\n" }
    }
}

impl Boundaries {
    /// The offset behind the last blank line of `chunk`.
    ///
    /// A CR ends its line at once, whether or not an LF follows: waiting for the next byte would
    /// delay every event of a server that writes CR alone. If an LF does follow, it is one more
    /// complete (blank) piece.
    pub(super) fn last(&mut self, chunk: &[u8]) -> Option<usize> {
        let before = self.before;
        let byte = |index: usize, back: usize| {
            index.checked_sub(back).map_or_else(|| before[2 + index - back], |at| chunk[at])
        };
        let found = memrchr2_iter(b'\n', b'\r', chunk)
            .find(|&at| match (chunk[at], byte(at, 1)) {
                (_, b'\n') | (b'\r', b'\r') => true,
                (_, b'\r') => matches!(byte(at, 2), b'\n' | b'\r'),
                _ => false,
            })
            .map(|at| at + 1);
        self.passed(chunk);
        found
    }

    /// Remembers how a chunk ends.
    pub(super) fn passed(&mut self, chunk: &[u8]) {
        self.before = match *chunk {
            [.., a, b] => [a, b],
            [b] => [self.before[1], b],
            [] => self.before,
        };
    }
}

/// One event of a run of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Where its bytes are in the run, blank lines included. The spans of all events of a run lie
    /// side by side and cover it.
    pub span: Range<usize>,
    /// The last `event` field.
    pub name: Option<&'a [u8]>,
    /// The `data` fields, joined with LF. Borrowed unless there are several.
    pub data: Cow<'a, [u8]>,
    /// The last `id` field without a NUL in it.
    pub id: Option<&'a [u8]>,
    /// The last `retry` field that is a number.
    pub retry_ms: Option<u64>,
    /// There is no `data` field: a comment, blank lines, or fields that dispatch nothing.
    pub is_comment: bool,
    /// It ends with a blank line. False only for the rest at the end of a stream.
    pub complete: bool,
}

/// The events of a run of frames, which starts at the beginning of a frame.
pub fn events(frames: &[u8]) -> Events<'_> {
    Events { frames, at: 0 }
}

/// Iterator over the [`Event`]s of a run of frames.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    frames: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let start = self.at;
        if start == self.frames.len() {
            return None;
        }
        let mut event = Event {
            span: start..start,
            name: None,
            data: Cow::Borrowed(b""),
            id: None,
            retry_ms: None,
            is_comment: true,
            complete: false,
        };
        // Blank lines in front (the LF of a CRLF that was cut, or a server that writes too many)
        // belong to the event that follows them.
        self.skip_blank_lines();
        if self.frames[self.at..].starts_with(BYTE_ORDER_MARK) {
            self.at += BYTE_ORDER_MARK.len();
        }
        loop {
            match self.line() {
                Some([]) => {
                    event.complete = true;
                    break;
                }
                Some(line) => event.field(line),
                None => {
                    // Nothing but blank lines is complete as it is.
                    event.complete = self.frames[start..].iter().all(|&b| is_line_end(b));
                    break;
                }
            }
        }
        self.skip_blank_lines();
        event.span = start..self.at;
        Some(event)
    }
}

impl<'a> Events<'a> {
    fn skip_blank_lines(&mut self) {
        let rest = &self.frames[self.at..];
        self.at += rest.iter().position(|&b| !is_line_end(b)).unwrap_or(rest.len());
    }

    /// The next line without its end. `None` at the end of the run.
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = &self.frames[self.at..];
        if rest.is_empty() {
            return None;
        }
        let Some(end) = memchr2(b'\n', b'\r', rest) else {
            self.at = self.frames.len();
            return Some(rest);
        };
        let crlf = rest[end..].starts_with(b"\r\n");
        self.at += end + if crlf { 2 } else { 1 };
        Some(&rest[..end])
    }
}

impl<'a> Event<'a> {
    fn field(&mut self, line: &'a [u8]) {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" if self.is_comment => {
                self.is_comment = false;
                self.data = Cow::Borrowed(value);
            }
            b"data" => {
                let data = self.data.to_mut();
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            b"event" => self.name = Some(value),
            b"id" if memchr::memchr(0, value).is_none() => self.id = Some(value),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.retry_ms = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            }
            _ => {}
        }
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
mod tests;
