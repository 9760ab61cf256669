//! HTTP/2 towards an upstream (RFC 9113): connections that many requests share.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use ahash::AHashMap;
use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::Uri;
use parking_lot::Mutex;

use super::io::Io;
use super::{Address, Head, Request};
use crate::clock::{Duration, Instant};
use crate::error::{Error, Kind};
use crate::wire::fields::{Fields, Name, Names};

/// Concurrent requests on one connection; more of them open another.
const STREAMS_MAX: usize = 100;
/// Bytes that an upstream may send ahead of its reader, for a request and for all of a connection: a
/// request that is not read never holds up the others.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX as u32;
/// Length of a response's head.
const HEAD_BYTES_MAX: u32 = 256 * 1024;
/// Bytes of requests that wait in a connection for the socket.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Headers that belong to HTTP/1.1's connection (RFC 9113, section 8.2.2), or that `:authority` says.
const NOT_SENT: Names =
    Names::of(&[Name::Host, Name::Connection, Name::TransferEncoding, Name::Upgrade, Name::Te]);

/// One connection.
#[derive(Debug)]
pub(super) struct Shared {
    sender: SendRequest<Bytes>,
    streams: AtomicUsize,
    ended: AtomicBool,
    used: Mutex<Instant>,
}

impl Shared {
    /// Speaks HTTP/2 on a connection. A task of its own serves it, until nobody has it any more.
    pub(super) async fn open(io: Io) -> Result<Arc<Self>, Error> {
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .handshake(io)
            .await
            .map_err(|error| {
                Error::new(Kind::UpstreamProtocol, "The upstream does not speak HTTP/2.")
                    .cause(error)
            })?;
        let shared = Arc::new(Self {
            sender,
            streams: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            used: Mutex::new(Instant::now()),
        });
        let watched = Arc::downgrade(&shared);
        tokio::spawn(async move {
            // What went wrong is told by every request that is open.
            let _ = connection.await;
            if let Some(shared) = watched.upgrade() {
                shared.ended.store(true, Ordering::Release);
            }
        });
        Ok(shared)
    }

    fn has_room(&self) -> bool {
        let streams_max = self.sender.current_max_send_streams().min(STREAMS_MAX);
        !self.ended.load(Ordering::Acquire) && self.streams.load(Ordering::Acquire) < streams_max
    }

    /// Whether it may go: it has ended, or nobody has used it for this long.
    fn is_spent(&self, idle: Duration) -> bool {
        self.ended.load(Ordering::Acquire)
            || self.streams.load(Ordering::Acquire) == 0 && self.used.lock().elapsed() >= idle
    }
}

/// The connections of one worker, by upstream.
#[derive(Default)]
pub(super) struct Connections(Mutex<AHashMap<Arc<Address>, Vec<Arc<Shared>>>>);

impl Connections {
    /// A connection that takes one more request.
    pub(super) fn take(&self, to: &Arc<Address>) -> Option<Session> {
        let connections = self.0.lock();
        let shared = connections.get(to)?.iter().find(|shared| shared.has_room())?;
        Some(Session::new(Arc::clone(shared)))
    }

    pub(super) fn keep(&self, to: &Arc<Address>, shared: &Arc<Shared>) {
        let mut all = self.0.lock();
        let connections = all.entry(Arc::clone(to)).or_default();
        // Not everybody sweeps: what has ended goes at the latest when its successor comes.
        connections.retain(|known| !known.is_spent(to.idle));
        connections.push(Arc::clone(shared));
    }

    /// Lets go of connections that have ended or are idle.
    pub(super) fn sweep(&self) {
        self.0.lock().retain(|to, connections| {
            connections.retain(|shared| !shared.is_spent(to.idle));
            !connections.is_empty()
        });
    }
}

/// One request and its response. Dropped before its end, it resets the stream.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
    response: Response,
    body: Option<RecvStream>,
    sending: Option<SendStream<Bytes>>,
}

#[derive(Debug)]
enum Response {
    /// Nothing was asked, or the head was taken.
    None,
    Awaited(ResponseFuture),
    Came(Result<http::Response<RecvStream>, h2::Error>),
}

impl Response {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Response::Awaited(response) = self {
            *self = Response::Came(ready!(Pin::new(response).poll(cx)));
        }
        Poll::Ready(())
    }
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.streams.fetch_add(1, Ordering::AcqRel);
        Self { shared, response: Response::None, body: None, sending: None }
    }

    /// Sends a request: its head, then every part of its body. An upstream that answers before it
    /// has everything is not sent the rest.
    pub(super) async fn send(
        &mut self,
        request: &Request,
        body: &[Bytes],
        scheme: &str,
    ) -> Result<(), Error> {
        let head = head(request, scheme)?;
        let mut sender =
            self.shared.sender.clone().ready().await.map_err(|error| failed(&error))?;
        let last = body.iter().rposition(|part| !part.is_empty());
        let (response, sending) =
            sender.send_request(head, last.is_none()).map_err(|error| failed(&error))?;
        self.response = Response::Awaited(response);
        self.sending = Some(sending);
        for (index, part) in body.iter().enumerate() {
            let is_last = Some(index) == last;
            if !part.is_empty() && !self.send_part(part.clone(), is_last).await? {
                break;
            }
        }
        Ok(())
    }

    /// Sends a part as the upstream makes room for it. False when it wants no more.
    async fn send_part(&mut self, mut part: Bytes, is_last: bool) -> Result<bool, Error> {
        let Self { response, sending: Some(sending), .. } = self else { return Ok(false) };
        while !part.is_empty() {
            sending.reserve_capacity(part.len());
            let room = poll_fn(|cx| {
                if let Poll::Ready(room) = sending.poll_capacity(cx) {
                    return Poll::Ready(room.transpose());
                }
                response.poll(cx).map(|()| Ok(None))
            });
            match room.await {
                Ok(Some(0)) => {}
                Ok(Some(room)) => {
                    let now = part.split_to(room.min(part.len()));
                    let end = is_last && part.is_empty();
                    if sending.send_data(now, end).is_err() {
                        return Ok(false);
                    }
                }
                // It answers, or has reset the stream, which the response says as well.
                Ok(None) | Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    pub(super) async fn head(&mut self) -> Result<Head, Error> {
        poll_fn(|cx| self.response.poll(cx)).await;
        let Response::Came(response) = std::mem::replace(&mut self.response, Response::None) else {
            return Err(Error::new(Kind::UpstreamProtocol, "The upstream sent no response."));
        };
        let (head, body) = response.map_err(|error| failed(&error))?.into_parts();
        self.body = Some(body);
        Ok(Head { status: head.status, headers: Fields::from(&head.headers) })
    }

    /// The next piece of the body; `None` at its end. Cancel safe.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(None)) };
        Poll::Ready(match ready!(body.poll_data(cx)) {
            None => Ok(None),
            Some(Ok(data)) => {
                // The upstream may send as much again.
                let _ = body.flow_control().release_capacity(data.len());
                Ok(Some(data))
            }
            Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => Ok(None),
            Some(Err(error)) => Err(failed(&error)),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        *self.shared.used.lock() = Instant::now();
        self.shared.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

fn head(request: &Request, scheme: &str) -> Result<http::Request<()>, Error> {
    let malformed = |error: &dyn std::fmt::Display| {
        Error::new(Kind::Internal, "The upstream request is malformed.").cause(error)
    };
    let authority = request.headers.get(Name::Host).unwrap_or_default();
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(&request.target)
        .build()
        .map_err(|error| malformed(&error))?;
    let mut head = http::Request::new(());
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = uri;
    *head.version_mut() = http::Version::HTTP_2;
    let mut headers = request.headers.clone();
    headers.retain(|field| !NOT_SENT.has(field.known));
    *head.headers_mut() = headers.to_map();
    Ok(head)
}

fn failed(error: &h2::Error) -> Error {
    // What this side refuses is malformed; what the other side ends is cut.
    let (kind, public) = if error.is_library() && !error.is_io() {
        (Kind::UpstreamProtocol, "The upstream sent a malformed response.")
    } else {
        (Kind::UpstreamCut, "The connection to the upstream broke.")
    };
    Error::new(kind, public).cause(error)
}
