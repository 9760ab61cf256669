//! The books: what every request was, what it got, and whether its client stayed to the end.
//!
//! Tests compare them with what a proxy says of the same traffic, so the numbers here are the very
//! ones that went into the answers.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::route::Endpoint;

/// The most bytes of one answer, or of one request body, that are recorded.
const RECORDED_BYTES_MAX: usize = 64 << 20;

/// Bounded memory of requests, and totals of all.
#[derive(Debug)]
pub(super) struct Books {
    ring: Mutex<VecDeque<Arc<Entry>>>,
    records_max: usize,
    sequence: AtomicU64,
    totals: Vec<Totals>,
    leaks: Mutex<BTreeMap<String, u64>>,
    pub(super) connections: AtomicU64,
    pub(super) connections_open: AtomicI64,
    pub(super) streams_open: AtomicI64,
    pub(super) requests_open: AtomicI64,
}

#[derive(Debug, Default)]
struct Totals {
    requests: AtomicU64,
    errors: AtomicU64,
    faults: AtomicU64,
    cancelled: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// Totals of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointTotals {
    /// Requests that arrived.
    pub requests: u64,
    /// Answers of 400 and above.
    pub errors: u64,
    /// Requests that met a fault.
    pub faults: u64,
    /// Requests whose client went away before the end.
    pub cancelled: u64,
    /// Prompt tokens of answered requests.
    pub prompt_tokens: u64,
    /// Completion tokens that were sent.
    pub completion_tokens: u64,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of answers, without HTTP framing.
    pub bytes_out: u64,
}

/// A moment of the books.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// By endpoint; those never used are left out.
    pub endpoints: BTreeMap<String, EndpointTotals>,
    /// Requests that arrived.
    pub requests: u64,
    /// Requests whose client went away before the end.
    pub cancelled: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub connections_open: i64,
    /// Requests being answered now.
    pub requests_open: i64,
    /// Streams being sent now.
    pub streams_open: i64,
    /// What arrived and should never have, by name, with counts.
    pub leaks: BTreeMap<String, u64>,
}

/// One request in the books.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1.
    pub sequence: u64,
    /// Arrival, in microseconds since 1970.
    pub time_unix_us: u64,
    /// `x-request-id` as it arrived.
    pub request_id: Option<String>,
    /// The endpoint's name.
    pub endpoint: Cow<'static, str>,
    /// Path and query as they arrived, without a `key` in the query.
    pub path: String,
    /// What stood in the path before the version.
    pub prefix: String,
    /// `http/1.1` or `h2`.
    pub protocol: Cow<'static, str>,
    /// The model that was asked for.
    pub model: String,
    /// The status of the answer; 0 when none was sent.
    pub status: u16,
    /// Whether the answer was a stream.
    pub stream: bool,
    /// The fault it met.
    pub fault: Option<String>,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Part of them that came from the simulated prompt cache.
    pub cached_tokens: u64,
    /// Tokens of the completion that were sent so far.
    pub completion_tokens: u64,
    /// Tokens the completion has in all.
    pub completion_tokens_planned: u64,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the answer sent so far, without HTTP framing.
    pub bytes_out: u64,
    /// Whether it is over.
    pub done: bool,
    /// From its arrival to its end, in milliseconds.
    pub duration_ms: Option<f64>,
    /// Whether the client went away before the end.
    pub client_gone: bool,
    /// From the last write (or the arrival) to the moment the client was gone, in milliseconds.
    pub gone_after_ms: Option<f64>,
    /// When the client was gone, in microseconds since 1970.
    pub gone_unix_us: Option<u64>,
    /// What it carried that no proxy may forward.
    pub leaks: Vec<String>,
    /// With `x-mock-record: 1`: the request's header fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// With `x-mock-record: 1`: the request's body, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<String>,
    /// With `x-mock-record: 1`: the answer's body as far as it was sent, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
}

impl Record {
    /// The answer's body as far as it was sent, when it was recorded.
    pub fn sent_bytes(&self) -> Option<Vec<u8>> {
        self.sent.as_deref().and_then(|text| BASE64.decode(text).ok())
    }

    /// The request's body, when it was recorded.
    pub fn received_bytes(&self) -> Option<Vec<u8>> {
        self.received.as_deref().and_then(|text| BASE64.decode(text).ok())
    }
}

/// A request while it runs, and afterwards in the ring.
#[derive(Debug)]
pub(super) struct Entry {
    endpoint: Endpoint,
    started: Instant,
    completion_tokens: AtomicU64,
    bytes_out: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    record: Record,
    received: Option<bytes::Bytes>,
    sent: Option<Vec<u8>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl Books {
    pub(super) fn new(records_max: usize) -> Self {
        Self {
            ring: Mutex::default(),
            records_max,
            sequence: AtomicU64::new(0),
            totals: Endpoint::ALL.iter().map(|_| Totals::default()).collect(),
            leaks: Mutex::default(),
            connections: AtomicU64::new(0),
            connections_open: AtomicI64::new(0),
            streams_open: AtomicI64::new(0),
            requests_open: AtomicI64::new(0),
        }
    }

    /// Opens an entry. The oldest is forgotten when the ring is full.
    pub(super) fn open(&self, endpoint: Endpoint, mut record: Record) -> Arc<Entry> {
        record.sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        record.time_unix_us = unix_us();
        record.endpoint = Cow::Borrowed(endpoint.as_str());
        for leak in &record.leaks {
            *lock(&self.leaks).entry(leak.clone()).or_default() += 1;
        }
        self.totals[endpoint as usize].requests.fetch_add(1, Ordering::Relaxed);
        self.requests_open.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry {
            endpoint,
            started: Instant::now(),
            completion_tokens: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            state: Mutex::new(State { record, received: None, sent: None }),
        });
        let mut ring = lock(&self.ring);
        if ring.len() >= self.records_max {
            ring.pop_front();
        }
        if self.records_max > 0 {
            ring.push_back(Arc::clone(&entry));
        }
        entry
    }

    /// Closes an entry and adds it to the totals. `gone_after` is the time from the last write to
    /// the moment its client was found gone.
    pub(super) fn close(&self, entry: &Entry, gone_after: Option<std::time::Duration>) {
        let totals = &self.totals[entry.endpoint as usize];
        let mut state = lock(&entry.state);
        let record = &mut state.record;
        record.done = true;
        record.duration_ms = Some(entry.started.elapsed().as_secs_f64() * 1e3);
        if let Some(after) = gone_after {
            record.client_gone = true;
            record.gone_after_ms = Some(after.as_secs_f64() * 1e3);
            record.gone_unix_us = Some(unix_us());
            totals.cancelled.fetch_add(1, Ordering::Relaxed);
        }
        let add = |total: &AtomicU64, number: u64| total.fetch_add(number, Ordering::Relaxed);
        add(&totals.errors, u64::from(record.status >= 400));
        add(&totals.faults, u64::from(record.fault.is_some()));
        add(&totals.prompt_tokens, record.prompt_tokens);
        add(&totals.completion_tokens, entry.completion_tokens.load(Ordering::Relaxed));
        add(&totals.bytes_in, record.bytes_in);
        add(&totals.bytes_out, entry.bytes_out.load(Ordering::Relaxed));
        self.requests_open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let mut stats = Stats {
            connections: read(&self.connections),
            connections_open: self.connections_open.load(Ordering::Relaxed),
            requests_open: self.requests_open.load(Ordering::Relaxed),
            streams_open: self.streams_open.load(Ordering::Relaxed),
            leaks: lock(&self.leaks).clone(),
            ..Stats::default()
        };
        for (endpoint, totals) in Endpoint::ALL.iter().zip(&self.totals) {
            if read(&totals.requests) == 0 {
                continue;
            }
            let totals = EndpointTotals {
                requests: read(&totals.requests),
                errors: read(&totals.errors),
                faults: read(&totals.faults),
                cancelled: read(&totals.cancelled),
                prompt_tokens: read(&totals.prompt_tokens),
                completion_tokens: read(&totals.completion_tokens),
                bytes_in: read(&totals.bytes_in),
                bytes_out: read(&totals.bytes_out),
            };
            stats.requests += totals.requests;
            stats.cancelled += totals.cancelled;
            stats.endpoints.insert(endpoint.as_str().to_owned(), totals);
        }
        stats
    }

    /// The last `limit` requests, oldest first.
    pub(super) fn records(&self, limit: usize) -> Vec<Record> {
        let entries: Vec<Arc<Entry>> = {
            let ring = lock(&self.ring);
            ring.iter().skip(ring.len().saturating_sub(limit)).cloned().collect()
        };
        entries.iter().map(|entry| entry.record()).collect()
    }

    /// At most `limit` requests that came after this one, oldest first.
    pub(super) fn records_after(&self, sequence: u64, limit: usize) -> Vec<Record> {
        let entries: Vec<Arc<Entry>> = {
            let ring = lock(&self.ring);
            let entries = ring.iter().skip_while(|entry| entry.sequence() <= sequence);
            entries.take(limit).cloned().collect()
        };
        entries.iter().map(|entry| entry.record()).collect()
    }

    /// The last request with this id.
    pub(super) fn by_request_id(&self, id: &str) -> Option<Record> {
        let ring = lock(&self.ring);
        ring.iter().rev().find(|entry| entry.has_request_id(id)).map(|entry| entry.record())
    }

    /// Forgets every request and sets the totals to zero. What is open stays counted as open.
    pub(super) fn clear(&self) {
        lock(&self.ring).clear();
        lock(&self.leaks).clear();
        for totals in &self.totals {
            for number in [
                &totals.requests,
                &totals.errors,
                &totals.faults,
                &totals.cancelled,
                &totals.prompt_tokens,
                &totals.completion_tokens,
                &totals.bytes_in,
                &totals.bytes_out,
            ] {
                number.store(0, Ordering::Relaxed);
            }
        }
    }
}

impl Entry {
    fn sequence(&self) -> u64 {
        lock(&self.state).record.sequence
    }

    /// Changes the record while the request runs.
    pub(super) fn edit(&self, change: impl FnOnce(&mut Record)) {
        change(&mut lock(&self.state).record);
    }

    pub(super) fn sent_tokens(&self, tokens: u64) {
        self.completion_tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// Books bytes that went out, and keeps them when they are recorded.
    pub(super) fn sent_bytes(&self, bytes: &[u8], recorded: bool) {
        self.bytes_out.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if recorded {
            let mut state = lock(&self.state);
            let sent = state.sent.get_or_insert_default();
            let room = RECORDED_BYTES_MAX.saturating_sub(sent.len());
            sent.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    pub(super) fn keep_request(&self, headers: Vec<(String, String)>, body: &bytes::Bytes) {
        let mut state = lock(&self.state);
        state.record.headers = headers;
        state.received = Some(body.slice(..body.len().min(RECORDED_BYTES_MAX)));
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    fn has_request_id(&self, id: &str) -> bool {
        lock(&self.state).record.request_id.as_deref() == Some(id)
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    pub(super) fn record(&self) -> Record {
        let state = lock(&self.state);
        let mut record = state.record.clone();
        record.completion_tokens = self.completion_tokens.load(Ordering::Relaxed);
        record.bytes_out = self.bytes_out.load(Ordering::Relaxed);
        record.received = state.received.as_ref().map(|bytes| BASE64.encode(bytes));
        record.sent = state.sent.as_ref().map(|bytes| BASE64.encode(bytes));
        record
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn remembers_the_last_and_counts_all() {
        let books = Books::new(2);
        for n in 1..=3_u64 {
            let entry =
                books.open(Endpoint::Messages, Record { prompt_tokens: n, ..Record::default() });
            entry.sent_tokens(10 * n);
            entry.sent_bytes(b"abc", n == 3);
            books.close(&entry, (n == 2).then(|| Duration::from_millis(5)));
        }
        let records = books.records(10);
        assert_eq!(records.iter().map(|r| r.sequence).collect::<Vec<_>>(), [2, 3]);
        assert!(records[0].client_gone && !records[1].client_gone);
        assert_eq!(records[1].sent_bytes().unwrap(), b"abc");
        let stats = books.stats();
        assert_eq!((stats.requests, stats.cancelled, stats.requests_open), (3, 1, 0));
        assert_eq!(stats.endpoints["messages"].completion_tokens, 60);
        books.clear();
        assert_eq!(books.stats().requests, 0);
    }

    #[test]
    fn counts_leaks_by_name() {
        let books = Books::new(2);
        let record = Record { leaks: vec!["x-weir-route".into()], ..Record::default() };
        books.open(Endpoint::Messages, record);
        assert_eq!(books.stats().leaks["x-weir-route"], 1);
    }
}
