//! Finds the frames of a stream in any chunking and says what each one is.

use bytes::Bytes;
use memchr::memmem;

use super::Endpoint;

/// Longest incomplete frame that is held.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// Prelude and checksum of a message of the AWS event stream: two lengths and a CRC before it, a
/// CRC behind it.
const EVENT_STREAM_OVERHEAD: usize = 16;

/// How a stream is cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events: a blank line ends a frame.
    Sse,
    /// The AWS event stream: length-prefixed messages.
    EventStream,
    /// Not a stream: the whole body is one answer.
    Whole,
}

impl Framing {
    /// From the answer's content type.
    pub fn of(content_type: &str) -> Self {
        if content_type.starts_with("text/event-stream") {
            Framing::Sse
        } else if content_type.starts_with("application/vnd.amazon.eventstream") {
            Framing::EventStream
        } else {
            Framing::Whole
        }
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It carries content.
    Content,
    /// It carries something else.
    Other,
    /// A comment (heartbeat).
    Comment,
    /// The last frame of a stream that went well.
    Terminal,
    /// An error, in the way of the endpoint's dialect.
    Error,
}

/// Cuts the bytes of one answer into frames.
#[derive(Debug)]
pub struct Scanner {
    framing: Framing,
    endpoint: Endpoint,
    pending: Vec<u8>,
    search: Search,
}

/// How far an incomplete SSE frame was searched, so that a long one is searched only once.
#[derive(Clone, Copy, Debug, Default)]
struct Search {
    line_start: usize,
    searched: usize,
}

impl Scanner {
    /// A scanner for one answer of `endpoint`.
    pub fn new(endpoint: Endpoint, framing: Framing) -> Self {
        Self { framing, endpoint, pending: Vec::new(), search: Search::default() }
    }

    /// Bytes of an incomplete frame; anything at the end of a stream means that it was cut.
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Takes a part of the body and shows every frame that is complete now. False when a frame is
    /// too long or its length makes no sense.
    pub fn push(&mut self, data: &Bytes, mut frame: impl FnMut(Mark, &[u8])) -> bool {
        if self.framing == Framing::Whole {
            return true;
        }
        let mut held = std::mem::take(&mut self.pending);
        let joined = !held.is_empty();
        if joined {
            held.extend_from_slice(data);
        }
        let bytes: &[u8] = if joined { &held } else { data };
        let mut start = 0;
        loop {
            let rest = &bytes[start..];
            let length = match self.framing {
                Framing::EventStream => event_stream_frame(rest),
                _ => Ok(sse_frame(rest, &mut self.search)),
            };
            match length {
                Err(()) => return false,
                Ok(None) => break,
                Ok(Some(length)) => {
                    let complete = &rest[..length];
                    frame(mark(self.endpoint, self.framing, complete), complete);
                    start += length;
                }
            }
        }
        if joined {
            held.drain(..start);
        } else {
            held.extend_from_slice(&data[start..]);
        }
        self.pending = held;
        self.pending.len() <= FRAME_BYTES_MAX
    }
}

/// Length of the first complete frame of an SSE stream, its blank line included.
fn sse_frame(bytes: &[u8], search: &mut Search) -> Option<usize> {
    let from = search.searched;
    for end in memchr::memchr_iter(b'\n', &bytes[from..]) {
        let end = from + end;
        let line = &bytes[search.line_start..end];
        if line.is_empty() || line == b"\r" {
            *search = Search::default();
            return Some(end + 1);
        }
        search.line_start = end + 1;
    }
    search.searched = bytes.len();
    None
}

fn event_stream_frame(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let Some(prefix) = bytes.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*prefix) as usize;
    if !(EVENT_STREAM_OVERHEAD..=FRAME_BYTES_MAX).contains(&length) {
        return Err(());
    }
    Ok((bytes.len() >= length).then_some(length))
}

fn mark(endpoint: Endpoint, framing: Framing, frame: &[u8]) -> Mark {
    let has = |needle: &str| memmem::find(frame, needle.as_bytes()).is_some();
    if framing == Framing::EventStream {
        return match () {
            () if has("exception") => Mark::Error,
            () if has("contentBlockDelta") => Mark::Content,
            () if has("messageStop") => Mark::Terminal,
            () => Mark::Other,
        };
    }
    if frame.first() == Some(&b':') {
        return Mark::Comment;
    }
    if frame.starts_with(b"event: error") || frame.starts_with(b"data: {\"error\"") {
        return Mark::Error;
    }
    match endpoint {
        Endpoint::Responses => match () {
            () if has("response.output_text.delta") => Mark::Content,
            () if has("event: response.failed") => Mark::Error,
            () if has("event: response.completed") || has("event: response.incomplete") => {
                Mark::Terminal
            }
            () => Mark::Other,
        },
        Endpoint::Messages => match () {
            () if has("event: content_block_delta") => Mark::Content,
            () if has("event: message_stop") => Mark::Terminal,
            () => Mark::Other,
        },
        Endpoint::Generate => match () {
            () if has("\"finishReason\"") => Mark::Terminal,
            () if has("\"text\"") => Mark::Content,
            () => Mark::Other,
        },
        Endpoint::CohereChat => match () {
            () if has("\"finish_reason\":\"ERROR\"") => Mark::Error,
            () if has("content-delta") => Mark::Content,
            () if has("message-end") => Mark::Terminal,
            () => Mark::Other,
        },
        _ => match () {
            () if frame.starts_with(b"data: [DONE]") => Mark::Terminal,
            () if filled(frame, b"\"content\":\"") || filled(frame, b"\"text\":\"") => {
                Mark::Content
            }
            () => Mark::Other,
        },
    }
}

/// Whether `key`, which ends with an opening quote, is followed by a text that is not empty.
fn filled(frame: &[u8], key: &[u8]) -> bool {
    memmem::find(frame, key).is_some_and(|at| frame.get(at + key.len()) != Some(&b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(endpoint: Endpoint, framing: Framing, wire: &[u8], cut: usize) -> Vec<Mark> {
        let mut scanner = Scanner::new(endpoint, framing);
        let mut marks = Vec::new();
        for piece in wire.chunks(cut) {
            assert!(scanner.push(&Bytes::copy_from_slice(piece), |mark, _| marks.push(mark)));
        }
        assert!(scanner.pending().is_empty());
        marks
    }

    #[test]
    fn chat_streams_are_marked_for_any_cutting() {
        let wire =
            b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\r\n\r\n: ping\n\n\
            data: {\"error\":{\"message\":\"no\"}}\n\ndata: [DONE]\n\n";
        for cut in 1..wire.len() {
            assert_eq!(
                marks(Endpoint::Chat, Framing::Sse, wire, cut),
                [Mark::Other, Mark::Content, Mark::Comment, Mark::Error, Mark::Terminal],
                "cut {cut}"
            );
        }
    }

    #[test]
    fn a_body_that_is_no_stream_is_not_held() {
        let mut scanner = Scanner::new(Endpoint::Chat, Framing::Whole);
        assert!(scanner.push(&Bytes::from_static(b"{\"a\":\n\n1}"), |_, _| panic!("no frame")));
        assert!(scanner.pending().is_empty());
    }

    #[test]
    fn named_events_are_marked() {
        let wire = b"event: message_start\ndata: {}\n\nevent: content_block_delta\ndata: {}\n\n\
            event: message_stop\ndata: {}\n\n";
        assert_eq!(
            marks(Endpoint::Messages, Framing::Sse, wire, 9),
            [Mark::Other, Mark::Content, Mark::Terminal]
        );
    }

    #[test]
    fn event_stream_messages_are_cut_by_their_length() {
        let mut wire = Vec::new();
        for payload in [&b"contentBlockDelta"[..], b"messageStop"] {
            wire.extend_from_slice(&(payload.len() as u32 + 16).to_be_bytes());
            wire.extend_from_slice(&[0; 8]);
            wire.extend_from_slice(payload);
            wire.extend_from_slice(&[0; 4]);
        }
        for cut in 1..wire.len() {
            assert_eq!(
                marks(Endpoint::Converse, Framing::EventStream, &wire, cut),
                [Mark::Content, Mark::Terminal]
            );
        }
        let mut scanner = Scanner::new(Endpoint::Converse, Framing::EventStream);
        assert!(!scanner.push(&Bytes::from_static(&[0, 0, 0, 1, 9]), |_, _| ()));
    }
}
