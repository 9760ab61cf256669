//! HTTP/1.1, written out by hand: a test needs every byte under its control.

mod body;
mod out;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use tokio::io::Interest;
use tokio::net::TcpStream;

use self::body::{Body, ReadError};
pub(super) use self::out::{Out, write_head};
use super::exchange;
use super::outbound::Outbound;
use super::replay::Known;
use super::request::{Fields, Request};
use super::shared::Shared;

/// The largest request head.
const HEAD_BYTES_MAX: usize = 1 << 20;
/// The most header fields.
const FIELDS_MAX: usize = 256;
/// What one read takes.
const READ_BYTES: usize = 16 << 10;

/// The client's preface of HTTP/2 with prior knowledge (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A request head.
#[derive(Debug)]
struct Head {
    method: Method,
    path: String,
    query: Option<String>,
    fields: Fields,
    body: Body,
    expects_continue: bool,
    keep_alive: bool,
    http_10: bool,
    /// Every field as it arrived; only when the request is to be recorded.
    recorded: Vec<(String, String)>,
    /// All of it as it arrived.
    wire: Bytes,
}

/// Serves one connection until it ends.
pub(super) async fn serve(io: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut inbox = BytesMut::with_capacity(READ_BYTES);
    let mut held = Vec::new();
    let idle = shared.settings.idle_timeout_ms;
    loop {
        let head = next_head(&io, &mut inbox, &shared);
        let head = if idle == 0 {
            head.await
        } else {
            tokio::time::timeout(Duration::from_millis(idle), head).await.unwrap_or(Ok(Next::End))
        };
        let head = match head? {
            Next::Head(head) => head,
            Next::Known(known, request_id) => {
                let out = Out::new(&io, &mut inbox, &mut held, true, false);
                if exchange::replay(&shared, &known, request_id, out).await {
                    continue;
                }
                return Ok(());
            }
            Next::Preface => return super::h2::serve(io, inbox.freeze(), shared).await,
            Next::End => return Ok(()),
            Next::Invalid(why) => return refuse(&io, why).await,
        };
        if !one(&io, &mut inbox, &mut held, *head, &shared).await? {
            return Ok(());
        }
    }
}

/// Answers one request; whether another may follow.
async fn one(
    io: &TcpStream,
    inbox: &mut BytesMut,
    held: &mut Vec<u8>,
    head: Head,
    shared: &Arc<Shared>,
) -> io::Result<bool> {
    let Head { method, path, query, fields, body, expects_continue, keep_alive, http_10, .. } =
        head;
    let mut request = Request { method, path, query, fields, body: Bytes::new() };
    if let Some(status) = shared.early_response(&request) {
        let mut out = Outbound::H1(Out::new(io, inbox, held, false, http_10));
        exchange::early(shared, &request, status, &mut out).await;
        return Ok(false);
    }
    if expects_continue && body != Body::None {
        write_all(io, b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    match body.read(io, inbox, shared.settings.body_bytes_max).await {
        Ok(bytes) => request.body = bytes,
        Err(ReadError::Gone) => {
            exchange::lost(shared, &request, "http/1.1");
            return Ok(false);
        }
        Err(ReadError::TooLarge) => {
            let mut out = Outbound::H1(Out::new(io, inbox, held, false, http_10));
            exchange::early(shared, &request, 413, &mut out).await;
            return Ok(false);
        }
        Err(ReadError::Invalid(why)) => {
            refuse(io, why).await?;
            return Ok(false);
        }
    }
    let mut out = Outbound::H1(Out::new(io, inbox, held, keep_alive, http_10));
    let given = exchange::run(shared, &request, head.recorded, &mut out).await;
    if let Some(given) = given
        && matches!(body, Body::Length(_))
        && keep_alive
        && !http_10
        && !expects_continue
    {
        shared.world.replays.keep(&head.wire, &request.body, given);
    }
    Ok(matches!(out, Outbound::H1(out) if out.may_follow()))
}

enum Next {
    Head(Box<Head>),
    /// A request that was answered before, body and all, and its `x-request-id`.
    Known(Arc<Known>, Option<String>),
    Preface,
    End,
    Invalid(&'static str),
}

async fn next_head(io: &TcpStream, inbox: &mut BytesMut, shared: &Shared) -> io::Result<Next> {
    loop {
        if !inbox.is_empty() {
            if shared.is_plain()
                && let Some((known, request_id)) = shared.world.replays.take(inbox)
            {
                return Ok(Next::Known(known, request_id));
            }
            if inbox.starts_with(PREFACE) {
                return Ok(Next::Preface);
            }
            match parse(inbox) {
                Ok(Some(head)) => return Ok(Next::Head(Box::new(head))),
                Ok(None) if inbox.len() > HEAD_BYTES_MAX => {
                    return Ok(Next::Invalid("431 Request Header Fields Too Large"));
                }
                Ok(None) => {}
                // The preface is no valid HTTP/1.1 head; it may be incomplete.
                Err(_) if PREFACE.starts_with(inbox) => {}
                Err(why) => return Ok(Next::Invalid(why)),
            }
        }
        if read_some(io, inbox).await? == 0 {
            return Ok(Next::End);
        }
    }
}

/// Reads what is there; zero at the end.
async fn read_some(io: &TcpStream, inbox: &mut BytesMut) -> io::Result<usize> {
    loop {
        poll_fn(|cx| io.poll_read_ready(cx)).await?;
        match take(io, inbox) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

/// Reads once, without waiting.
fn take(io: &TcpStream, inbox: &mut BytesMut) -> io::Result<usize> {
    if inbox.capacity() - inbox.len() < READ_BYTES / 4 {
        inbox.reserve(READ_BYTES);
    }
    let room = inbox.capacity() - inbox.len();
    let taken = io.try_read_buf(inbox)?;
    if (1..room).contains(&taken) {
        // Room was left, so that was all. Saying so spares the system call that would find nothing;
        // what comes later is a new edge, and the end of the connection stays known.
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = io.try_io(Interest::READABLE, nothing);
    }
    Ok(taken)
}

async fn write_all(io: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match io.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => io.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Answers what is no HTTP request, and ends the connection.
async fn refuse(io: &TcpStream, status: &str) -> io::Result<()> {
    let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    write_all(io, answer.as_bytes()).await
}

const BAD_REQUEST: &str = "400 Bad Request";

/// Takes a head from the front of the inbox. `Ok(None)` when it is not complete.
fn parse(inbox: &mut BytesMut) -> Result<Option<Head>, &'static str> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(inbox, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(BAD_REQUEST),
    };
    let method = parsed.method.unwrap_or_default();
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let http_10 = parsed.version == Some(0);
    let mut head = Head {
        method: Method::from_bytes(method.as_bytes()).map_err(|_| BAD_REQUEST)?,
        path: path.to_owned(),
        query: query.map(str::to_owned),
        fields: Fields::default(),
        body: Body::None,
        expects_continue: false,
        keep_alive: !http_10,
        http_10,
        recorded: Vec::new(),
        wire: Bytes::new(),
    };
    head.fields.note_query(query);
    for field in parsed.headers.iter() {
        note(&mut head, field)?;
    }
    head.fields.finish();
    if head.fields.knobs.record {
        head.recorded = parsed
            .headers
            .iter()
            .map(|field| (field.name.to_owned(), String::from_utf8_lossy(field.value).into_owned()))
            .collect();
    }
    head.wire = inbox.split_to(length).freeze();
    Ok(Some(head))
}

fn note(head: &mut Head, field: &httparse::Header<'_>) -> Result<(), &'static str> {
    let is = |name: &str| field.name.eq_ignore_ascii_case(name);
    let has = |token: &str| {
        String::from_utf8_lossy(field.value)
            .split(',')
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    if is("content-length") {
        let text = std::str::from_utf8(field.value).map_err(|_| BAD_REQUEST)?.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BAD_REQUEST);
        }
        let length = text.parse().map_err(|_| BAD_REQUEST)?;
        // Two lengths, or a length and chunks, are how requests are smuggled.
        match head.body {
            Body::None => head.body = Body::Length(length),
            _ => return Err(BAD_REQUEST),
        }
    } else if is("transfer-encoding") {
        if head.body != Body::None || !has("chunked") {
            return Err(BAD_REQUEST);
        }
        head.body = Body::Chunked;
    } else if is("connection") {
        if has("close") {
            head.keep_alive = false;
        } else if has("keep-alive") {
            head.keep_alive = true;
        }
    } else if is("expect") {
        head.expects_continue = has("100-continue");
    } else {
        head.fields.note(field.name, field.value);
    }
    Ok(())
}
