//! Finds complete frames in a stream that arrives in arbitrary pieces.
//!
//! A frame is the smallest piece of a stream that means something to the client: one SSE event, one
//! message of the AWS event stream, one element of a JSON array. Whole frames are forwarded as soon
//! as their last byte is here, as the bytes they arrived in; only an incomplete frame is held. Each
//! framing scans every byte once, and SSE from the back of a chunk, so that a chunk that ends with a
//! frame (nearly all do) costs a few comparisons.

use std::fmt;

use bytes::Bytes;

use super::{eventstream, jsonarray, sse};

/// A held frame up to this long is copied when it is complete, so that the buffer stays for the
/// next one; a longer one is handed out with its buffer.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// How a response body is cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Server-sent events: a frame ends with a blank line.
    Sse,
    /// `application/vnd.amazon.eventstream`: a frame states its length and carries checksums.
    AwsEventStream,
    /// A JSON array written element by element (Gemini without `alt=sse`).
    JsonArray,
    /// No frames: every byte can be forwarded when it arrives.
    Opaque,
}

/// Why a stream cannot be cut into frames any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// An incomplete frame is longer than may be held.
    TooLarge {
        /// The bound that was exceeded.
        frame_bytes_max: usize,
    },
    /// The bytes are not of the stated framing.
    Malformed {
        /// What is wrong with them.
        reason: &'static str,
    },
}

/// Cuts a run of complete frames into single ones. What stands between two goes with the second.
pub fn each(framing: Framing, run: &Bytes) -> Vec<Bytes> {
    let mut ends: Vec<usize> = match framing {
        Framing::Sse => sse::events(run).map(|event| event.span.end).collect(),
        Framing::AwsEventStream => {
            eventstream::messages(run).map_while(Result::ok).map(|it| it.span.end).collect()
        }
        Framing::JsonArray => jsonarray::elements(run).map(|element| element.span.end).collect(),
        Framing::Opaque => Vec::new(),
    };
    // What is behind the last one, or is not understood, stays with it.
    ends.pop();
    ends.push(run.len());
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(&ends).map(|(start, end)| run.slice(start..*end)).collect()
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { frame_bytes_max } => {
                write!(f, "a frame is longer than {frame_bytes_max} bytes")
            }
            Self::Malformed { reason } => write!(f, "malformed stream: {reason}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Cuts a stream into runs of complete frames.
///
/// Everything returned by [`push`](Self::push) and [`finish`](Self::finish), joined, is what was
/// pushed, byte for byte.
#[derive(Debug)]
pub struct Framer {
    scan: Scan,
    framing: Framing,
    frame_bytes_max: usize,
    pending: Vec<u8>,
    failed: Option<FrameError>,
}

#[derive(Debug)]
enum Scan {
    Sse(sse::Boundaries),
    AwsEventStream(eventstream::Boundaries),
    JsonArray(jsonarray::Boundaries),
    Opaque,
}

impl Framer {
    /// A framer that holds at most `frame_bytes_max` bytes of an incomplete frame.
    ///
    /// The bound is on memory: a longer frame that is whole in one chunk is passed on, except where
    /// the frame states its length (the event stream).
    pub fn new(framing: Framing, frame_bytes_max: usize) -> Self {
        let scan = match framing {
            Framing::Sse => Scan::Sse(sse::Boundaries::default()),
            Framing::AwsEventStream => {
                Scan::AwsEventStream(eventstream::Boundaries::new(frame_bytes_max))
            }
            Framing::JsonArray => Scan::JsonArray(jsonarray::Boundaries::default()),
            Framing::Opaque => Scan::Opaque,
        };
        Self { scan, framing, frame_bytes_max, pending: Vec::new(), failed: None }
    }

    /// How the stream is cut.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Takes a chunk and returns the longest run of complete frames that is now available.
    ///
    /// When nothing was pending, the run is a slice of the chunk and nothing is copied. `None` when
    /// no frame is complete yet. Whole frames in front of a malformed one are returned first; the
    /// error then comes with the next call, and from [`failed`](Self::failed) at once.
    pub fn push(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (end, error) = self.scan(&chunk);
        self.failed = error;
        let Some(end) = end else {
            self.hold(&chunk);
            return self.failed.map_or(Ok(None), Err);
        };
        let rest = chunk.split_off(end);
        let frames = if self.pending.is_empty() { chunk } else { self.complete(&chunk) };
        self.hold(&rest);
        Ok(Some(frames))
    }

    /// Whether the next chunk begins with a frame.
    pub fn is_between(&self) -> bool {
        self.pending.is_empty() && self.failed.is_none()
    }

    /// A chunk was a frame, as its reader knows, and is not pushed.
    pub fn passed(&mut self, chunk: &[u8]) {
        if let Scan::Sse(scan) = &mut self.scan {
            scan.passed(chunk);
        }
    }

    /// How many bytes of an incomplete frame are held. Zero between frames, which is the only place
    /// where something may be written into the stream.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Why no further frame will come, if that is so.
    pub fn failed(&self) -> Option<FrameError> {
        self.failed
    }

    /// The incomplete rest at the end of the stream.
    pub fn finish(&mut self) -> Option<Bytes> {
        (!self.pending.is_empty()).then(|| std::mem::take(&mut self.pending).into())
    }

    /// Where the last complete frame ends in `chunk`, and what is wrong behind it.
    fn scan(&mut self, chunk: &[u8]) -> (Option<usize>, Option<FrameError>) {
        match &mut self.scan {
            Scan::Sse(scan) => (scan.last(chunk), None),
            Scan::AwsEventStream(scan) => scan.last(chunk),
            Scan::JsonArray(scan) => scan.last(chunk),
            Scan::Opaque => ((!chunk.is_empty()).then_some(chunk.len()), None),
        }
    }

    /// What was held, and the end of it.
    fn complete(&mut self, end: &[u8]) -> Bytes {
        if self.pending.len() > COPIED_BYTES_MAX {
            let mut frames = std::mem::take(&mut self.pending);
            frames.extend_from_slice(end);
            return frames.into();
        }
        let frames = [&self.pending[..], end].concat();
        self.pending.clear();
        frames.into()
    }

    fn hold(&mut self, rest: &[u8]) {
        if self.failed.is_some() || rest.is_empty() {
            return;
        }
        if rest.len() > self.frame_bytes_max.saturating_sub(self.pending.len()) {
            self.failed = Some(FrameError::TooLarge { frame_bytes_max: self.frame_bytes_max });
            return;
        }
        self.pending.extend_from_slice(rest);
    }
}

#[cfg(test)]
mod tests;
