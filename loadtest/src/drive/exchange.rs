//! One answer as it arrives: when its frames came, what they were, how it ended.

use std::time::{Duration, Instant};

use bytes::Bytes;
use memchr::memmem::Finder;

use super::mix::Prepared;
use super::stats::Latencies;
use crate::client::{Endpoint, Failure, Framing, Head, Mark, Observer, Scanner};

/// Longest body that is kept to be looked at.
const BODY_BYTES_KEPT: usize = 256 * 1024;
/// Where the usage of a whole answer mostly is, from its end.
const TAIL_BYTES: usize = 512;
/// Most frame gaps of one answer that are kept.
const GAPS_KEPT: usize = 1_000_000;

/// What an answer came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer {
    /// Time of the first token: of the first frame that has content, or of the first byte of a body. Of
    /// the first frame of a stream that has no content at all.
    pub first: Option<Instant>,
    /// Frames.
    pub frames: u64,
    /// Tokens: frames with content, or the usage that the body states.
    pub tokens: u64,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// Whether the terminal event was seen.
    pub terminal: bool,
}

/// Reads one answer; used again for the next one, so that nothing is allocated per request.
#[derive(Debug)]
pub struct Reading {
    endpoint: Endpoint,
    scanner: Scanner,
    streaming: bool,
    status: u16,
    answer: Answer,
    last: Option<Instant>,
    gaps: Vec<Duration>,
    error_event: bool,
    misframed: bool,
    body: Vec<u8>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            endpoint: Endpoint::Chat,
            scanner: Scanner::new(Endpoint::Chat, Framing::Whole),
            streaming: false,
            status: 0,
            answer: Answer::default(),
            last: None,
            gaps: Vec::new(),
            error_event: false,
            misframed: false,
            body: Vec::new(),
        }
    }
}

impl Reading {
    /// Gets ready for the answer to a request of this kind.
    pub fn begin(&mut self, endpoint: Endpoint) {
        self.endpoint = endpoint;
        self.scanner = Scanner::new(endpoint, Framing::Whole);
        self.streaming = false;
        self.status = 0;
        self.answer = Answer::default();
        self.last = None;
        self.gaps.clear();
        self.error_event = false;
        self.misframed = false;
        self.body.clear();
    }

    /// Moves the frame gaps of this answer into `into`.
    pub fn take_gaps(&mut self, into: &mut Latencies) {
        for gap in self.gaps.drain(..) {
            into.record(gap);
        }
    }

    /// What was seen so far, also of an answer that failed.
    pub fn seen(&self) -> Answer {
        self.answer
    }

    /// Judges an answer that arrived in full.
    pub fn end(&mut self, kind: &Prepared, validate: bool) -> Result<Answer, Failure> {
        if !(200..300).contains(&self.status) {
            return Err(Failure::Status(self.status));
        }
        if self.error_event {
            return Err(Failure::ErrorEvent);
        }
        if self.misframed {
            return Err(Failure::Protocol);
        }
        if !self.streaming
            && let Some(tokens) = kind.token_key.as_ref().and_then(|key| number(&self.body, key))
        {
            self.answer.tokens = tokens;
        }
        if validate && !self.valid(kind) {
            return Err(Failure::Incomplete);
        }
        Ok(self.answer)
    }

    fn valid(&self, kind: &Prepared) -> bool {
        if kind.stream {
            let expected = kind.content_frames.is_none_or(|n| u64::from(n) == self.answer.tokens);
            return self.answer.terminal && self.scanner.pending().is_empty() && expected;
        }
        self.answer.body_bytes > BODY_BYTES_KEPT as u64
            || kind.endpoint == Endpoint::Speech
            || serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok()
    }
}

impl Observer for Reading {
    fn head(&mut self, head: &Head) {
        self.status = head.status;
        let framing = head.header("content-type").map_or(Framing::Whole, Framing::of);
        self.streaming = framing != Framing::Whole;
        self.scanner = Scanner::new(self.endpoint, framing);
    }

    fn data(&mut self, data: &Bytes, at: Instant) {
        self.answer.body_bytes += data.len() as u64;
        if !self.streaming {
            self.answer.first.get_or_insert(at);
            let room = BODY_BYTES_KEPT.saturating_sub(self.body.len());
            self.body.extend_from_slice(&data[..data.len().min(room)]);
            return;
        }
        let (answer, last, gaps) = (&mut self.answer, &mut self.last, &mut self.gaps);
        let error_event = &mut self.error_event;
        let framed = self.scanner.push(data, |mark, _| {
            match mark {
                Mark::Comment => return,
                Mark::Content => answer.tokens += 1,
                Mark::Terminal => answer.terminal = true,
                Mark::Error => *error_event = true,
                Mark::Other => {}
            }
            answer.frames += 1;
            // What comes before the first token (a role, an envelope) tells its reader nothing.
            if answer.first.is_none() || (mark == Mark::Content && answer.tokens == 1) {
                answer.first = Some(at);
            }
            if let Some(before) = last.replace(at)
                && gaps.len() < GAPS_KEPT
            {
                gaps.push(at.saturating_duration_since(before));
            }
        });
        self.misframed |= !framed;
    }
}

/// The number behind the last occurrence of `key`.
fn number(body: &[u8], key: &Finder<'_>) -> Option<u64> {
    // Forwards, which goes in steps of a vector, and not backwards, which does not. Most answers say it
    // at their end.
    let tail = body.len().saturating_sub(TAIL_BYTES);
    let last = |from: usize| key.find_iter(&body[from..]).last().map(|at| from + at);
    let at = last(tail).or_else(|| last(0))? + key.needle().len();
    let digits = body[at..].trim_ascii_start();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_is_the_first_frame_with_content() {
        let (begun, mut reading) = (Instant::now(), Reading::default());
        let at = |ms: u64| begun + Duration::from_millis(ms);
        reading.streaming = true;
        reading.scanner = Scanner::new(Endpoint::Chat, Framing::Sse);
        let frame = |content: &str| {
            let delta = format!(r#"{{"role":"assistant","content":"{content}"}}"#);
            Bytes::from(format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n"))
        };
        for (ms, content, first) in [(1, "", 1), (2, "", 1), (3, "a", 3), (4, "b", 3), (5, "", 3)] {
            reading.data(&frame(content), at(ms));
            assert_eq!(reading.answer.first, Some(at(first)), "{ms}");
        }
        assert_eq!((reading.answer.frames, reading.answer.tokens), (5, 2));
    }

    #[test]
    fn numbers_are_read_behind_their_key() {
        let body = br#"{"usage":{"prompt_tokens":7,"completion_tokens": 31}}"#;
        assert_eq!(number(body, &Finder::new("\"completion_tokens\":")), Some(31));
        assert_eq!(number(body, &Finder::new("\"output_tokens\":")), None);
    }
}
