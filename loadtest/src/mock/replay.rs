//! Answers that were given before.
//!
//! Under load the same request comes again and again, and working out what a model would say to it
//! costs more than a small proxy spends on it: the proxy would wait for its upstream, and be measured
//! half asleep. So a few whole answers are kept with the bytes that they were given to, and a request
//! of the same bytes gets the same answer, but for identifiers and the time.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, BytesMut};

use super::books::{Entry, Record};
use super::h1::write_head;
use super::outbound::Head;
use super::reply::{Varying, Whole};
use super::route::Endpoint;

/// The most answers that are kept.
const KEPT_MAX: usize = 16;
/// The longest request, and the longest answer, that is kept.
const BYTES_MAX: usize = 64 << 10;
/// The longest `x-request-id` that a repeated request may have.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// An answer, and what it was given to.
#[derive(Debug)]
pub(super) struct Known {
    asked: Wire,
    pub(super) endpoint: Endpoint,
    /// What the books say of it before it is answered.
    pub(super) record: Record,
    /// The answer up to the value of its request id, and from there on.
    before: Vec<u8>,
    after: Vec<u8>,
    /// Where the body begins in `after`.
    body: usize,
    varying: Varying,
    tokens: u64,
}

impl Known {
    /// Of an answer that was given; none when it depends on more than the request's bytes.
    fn of(asked: Wire, given: Given) -> Option<Self> {
        let Given { mut record, endpoint, whole } = given;
        // What the first answer came to is not what the next one begins with.
        record.done = false;
        record.duration_ms = None;
        (record.bytes_out, record.completion_tokens) = (0, 0);
        let mut headers = whole.headers;
        headers.push((endpoint.dialect().request_id_header(), MARK.to_owned()));
        let head = Head {
            status: whole.status,
            content_type: whole.content_type,
            headers: &headers,
            length: Some(whole.body.len()),
        };
        let mut before = Vec::new();
        write_head(&mut before, &head, false, false);
        let at = memchr::memmem::find(&before, MARK.as_bytes())?;
        let mut after = before.split_off(at).split_off(MARK.len());
        let body = after.len();
        after.extend_from_slice(&whole.body);
        let tokens = whole.usage.map_or(0, |usage| usage.completion);
        Some(Self { asked, endpoint, record, before, after, body, varying: whole.varying?, tokens })
    }

    /// Appends the answer as it goes over the wire.
    pub(super) fn write(&self, wire: &mut Vec<u8>, request_id: &str, id: u64, created: u64) {
        wire.extend_from_slice(&self.before);
        wire.extend_from_slice(request_id.as_bytes());
        let body = wire.len() + self.body;
        wire.extend_from_slice(&self.after);
        self.varying.write(&mut wire[body..], id, created);
    }

    /// Books what was sent.
    pub(super) fn book(&self, entry: &Entry) {
        entry.sent_bytes(&self.after[self.body..], false);
        entry.sent_tokens(self.tokens);
    }
}

/// Stands where the request id goes, until it is known where that is.
const MARK: &str = "<request id>";

/// The bytes of a request around the value of its `x-request-id`, which differs each time.
#[derive(Debug, PartialEq, Eq)]
struct Wire {
    before: Vec<u8>,
    /// Nothing, when there is no such field: `before` is all then.
    after: Option<Vec<u8>>,
}

impl Wire {
    fn of(head: &[u8], body: &[u8], request_id: Option<&str>) -> Option<Self> {
        let Some(value) = request_id else {
            return Some(Self { before: [head, body].concat(), after: None });
        };
        let at = memchr::memmem::find(head, value.as_bytes())?;
        let (before, after) = (&head[..at], &head[at + value.len()..]);
        // The value must be all of its line, and nothing that stands elsewhere too.
        let alone = before.ends_with(b": ") && after.starts_with(b"\r\n");
        let once = memchr::memmem::find(after, value.as_bytes()).is_none();
        let named = before.len() >= FIELD.len()
            && before[before.len() - FIELD.len()..].eq_ignore_ascii_case(FIELD);
        (alone && once && named)
            .then(|| Self { before: before.to_vec(), after: Some([after, body].concat()) })
    }

    /// The length of a request that these bytes begin with, and where in it the value is; none when
    /// it is another, or not complete.
    fn matches(&self, bytes: &[u8]) -> Option<(usize, std::ops::Range<usize>)> {
        let rest = bytes.strip_prefix(self.before.as_slice())?;
        let start = self.before.len();
        let Some(after) = &self.after else { return Some((start, start..start)) };
        let value = memchr::memchr(b'\r', &rest[..rest.len().min(REQUEST_ID_BYTES_MAX)])?;
        let visible = rest[..value].iter().all(u8::is_ascii_graphic) && value > 0;
        (visible && rest[value..].starts_with(after))
            .then(|| (start + value + after.len(), start..start + value))
    }
}

/// How the line of the field begins that may differ.
const FIELD: &[u8] = b"\r\nx-request-id: ";

/// Answers that were given, and what they were given to.
#[derive(Debug, Default)]
pub(super) struct Replays(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    answers: Vec<Arc<Known>>,
    /// Where the next one goes.
    next: usize,
}

impl Replays {
    /// Takes a request that was answered before from the front of the inbox: the answer, and the
    /// request's `x-request-id`.
    pub(super) fn take(&self, inbox: &mut BytesMut) -> Option<(Arc<Known>, Option<String>)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, (length, value)) = kept
            .answers
            .iter()
            .find_map(|known| Some(known).zip(known.asked.matches(inbox)))
            .map(|(known, place)| (Arc::clone(known), place))?;
        drop(kept);
        let request_id = std::str::from_utf8(&inbox[value]).ok().filter(|value| !value.is_empty());
        let request_id = request_id.map(str::to_owned);
        inbox.advance(length);
        Some((known, request_id))
    }

    /// Keeps an answer, when it depends on nothing but the bytes of the request.
    pub(super) fn keep(&self, head: &[u8], body: &[u8], given: Given) {
        if (head.len() + body.len()).max(given.whole.body.len()) > BYTES_MAX {
            return;
        }
        let asked = Wire::of(head, body, given.record.request_id.as_deref());
        let Some(known) = asked.and_then(|asked| Known::of(asked, given)) else { return };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { answers, next } = &mut *kept;
        // Two connections may ask the same for the first time at once.
        if answers.iter().any(|other| other.asked == known.asked) {
            return;
        }
        if answers.len() < KEPT_MAX {
            answers.push(Arc::new(known));
        } else {
            answers[*next] = Arc::new(known);
            *next = (*next + 1) % KEPT_MAX;
        }
    }
}

/// A whole answer without any fault, and what the books say of it.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) record: Record,
    pub(super) endpoint: Endpoint,
    pub(super) whole: Whole,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"{\"model\":\"m\"}";

    fn head(id: Option<&str>) -> Vec<u8> {
        let id = id.map(|id| format!("X-Request-Id: {id}\r\n")).unwrap_or_default();
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{id}content-length: 13\r\n\r\n")
            .into_bytes()
    }

    fn matched(wire: &Wire, id: Option<&str>, body: &[u8]) -> Option<String> {
        let bytes = [&head(id), body, b"POST /v1/next"].concat();
        let (length, value) = wire.matches(&bytes)?;
        assert_eq!(&bytes[length..], b"POST /v1/next");
        Some(String::from_utf8_lossy(&bytes[value]).into_owned())
    }

    #[test]
    fn only_the_request_id_may_differ() {
        let wire = Wire::of(&head(Some("one")), BODY, Some("one")).expect("it can be kept");
        assert_eq!(matched(&wire, Some("another-1"), BODY).as_deref(), Some("another-1"));
        assert_eq!(matched(&wire, None, BODY), None);
        assert_eq!(matched(&wire, Some(""), BODY), None);
        assert_eq!(matched(&wire, Some(&"x".repeat(REQUEST_ID_BYTES_MAX)), BODY), None);
        assert_eq!(matched(&wire, Some("two"), b"{\"model\":\"n\"}"), None);
        let plain = Wire::of(&head(None), BODY, None).expect("it can be kept");
        assert_eq!(matched(&plain, None, BODY).as_deref(), Some(""));
        assert_eq!(matched(&plain, Some("one"), BODY), None);
    }

    #[test]
    fn a_request_that_is_not_complete_is_not_matched() {
        let wire = Wire::of(&head(Some("one")), BODY, Some("one")).expect("it can be kept");
        let whole = [&head(Some("two")), BODY].concat();
        for length in 0..whole.len() {
            assert_eq!(wire.matches(&whole[..length]), None, "{length}");
        }
        assert!(wire.matches(&whole).is_some());
    }

    #[test]
    fn a_request_id_that_cannot_be_told_apart_is_not_kept() {
        assert_eq!(Wire::of(&head(Some("13")), BODY, Some("13")), None);
        assert_eq!(Wire::of(&head(Some("a")), BODY, Some("a")), None);
        assert_eq!(Wire::of(&head(None), BODY, Some("one")), None);
    }
}
