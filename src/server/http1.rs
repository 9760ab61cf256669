//! A client's HTTP/1 connection: its requests, one after the other, each answered by [`Answer`].
//!
//! Pingora's `HttpProxy` would do the same, and does it for HTTP/2. But for every request it makes a
//! future that holds its own upstream half, which weir never enters (the exchange answers in
//! `request_filter`): 13 KB that are copied for each request and held by each connection, also one
//! that only waits. Here a request has a small state, and a connection none between two of them.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::Method;
use pingora_core::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use crate::boxed::boxed;
use crate::clock::{self, Duration, within};
use crate::error::{Error, Kind};
use crate::exchange::{self, Gateway};
use crate::transport::downstream;
use crate::transport::downstream::http1::{Connection, Io, Session, write_head};
use crate::wire::http1::{Malformed, Request, append};

/// How long a client may take to send a head, once it has begun.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// How long a client may take to read why its request was refused.
const REFUSAL_TIME: Duration = Duration::from_secs(2);
/// How long an idle connection may be used once more after draining began. A client that sends a
/// request in this time is answered, and told that the connection closes.
pub(super) const IDLE_GRACE: Duration = Duration::from_secs(5);

/// Answers requests.
pub(super) trait Answer {
    /// Answers one. False when its connection is of no more use.
    fn answer(&self, session: downstream::Session<'_>) -> impl Future<Output = bool> + Send;
}

impl Answer for Gateway {
    fn answer(&self, session: downstream::Session<'_>) -> impl Future<Output = bool> + Send {
        self.answer(session)
    }
}

/// Serves HTTP/1 connections.
pub(super) struct Http1<A>(A);

impl<A: Answer> Http1<A> {
    pub(super) fn new(answers: A) -> Self {
        Self(answers)
    }

    /// Serves a connection until it ends, has waited for so long, or the worker drains.
    pub(super) async fn serve(&self, io: Io, idle: Duration, shutdown: &ShutdownWatch) {
        let mut connection = Connection::new(io);
        let mut patience = pin!(sleep(idle));
        let mut draining = pin!(drained(shutdown));
        // Whether both of them know whom to wake.
        let mut told = false;
        loop {
            let until = clock::now() + idle;
            let mut woken = false;
            while connection.read.is_empty() {
                let next = poll_fn(|cx| {
                    if let Poll::Ready(came) = poll_fill(&mut connection, cx) {
                        return Poll::Ready(Next::Came(came));
                    }
                    // As nearly always: they were told before an earlier request, and nothing has
                    // come of it, neither now nor while that was answered.
                    let silent = told && !woken && !patience.is_elapsed();
                    (told, woken) = (true, true);
                    if silent && shutdown.has_changed().is_ok_and(|changed| !changed) {
                        return Poll::Pending;
                    }
                    ready_of(patience.as_mut(), cx, Next::Impatient)
                        .or_else(|| ready_of(draining.as_mut(), cx, Next::Drained))
                        .map_or(Poll::Pending, Poll::Ready)
                });
                match next.await {
                    Next::Came(Ok(true)) => {}
                    Next::Came(_) | Next::Drained => return,
                    // Set once and moved on when it fires: requests come more often than it does.
                    Next::Impatient => {
                        if clock::now() >= until {
                            return;
                        }
                        patience.as_mut().reset(until.into());
                        told = false;
                    }
                }
            }
            // Boxed: an idle connection does not hold what a request needs.
            let answered = boxed(|| self.request(connection, shutdown)).await;
            let Some(kept) = answered else { return };
            connection = kept;
        }
    }

    /// Reads and answers one request. The connection, if it can carry another.
    async fn request(
        &self,
        mut connection: Connection,
        shutdown: &ShutdownWatch,
    ) -> Option<Connection> {
        let request = match read_head(&mut connection).await {
            Ok(request) => request?,
            Err(error) => {
                // One of a few: kept out of every request's own state.
                Box::pin(refuse(connection, &error)).await;
                return None;
            }
        };
        let mut session = Session::new(connection, request);
        // As long as nothing has changed, that is known without a lock.
        if shutdown.has_changed().unwrap_or(true) && *shutdown.borrow() {
            session.close_after();
        }
        if !self.0.answer(downstream::Session::Http1(&mut session)).await {
            return None;
        }
        if !session.finish().await {
            return None;
        }
        Some(session.into_connection())
    }
}

/// Resolves a short grace after draining has begun.
pub(super) async fn drained(shutdown: &ShutdownWatch) {
    let mut shutdown = shutdown.clone();
    // The channel ends with the worker.
    let _ = shutdown.wait_for(|stopping| *stopping).await;
    sleep(IDLE_GRACE).await;
}

/// What an idle connection has waited for.
enum Next {
    /// Bytes; false at the end.
    Came(io::Result<bool>),
    /// It may wait no longer, unless it was used since.
    Impatient,
    Drained,
}

fn ready_of(
    waiting: Pin<&mut impl Future<Output = ()>>,
    cx: &mut Context<'_>,
    next: Next,
) -> Option<Next> {
    waiting.poll(cx).is_ready().then_some(next)
}

/// Reads more; false at the end. Cancel safe.
async fn fill(connection: &mut Connection) -> io::Result<bool> {
    poll_fn(|cx| poll_fill(connection, cx)).await
}

fn poll_fill(connection: &mut Connection, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
    connection.io.poll_read_bytes(cx).map_ok(|more| {
        let came = !more.is_empty();
        append(&mut connection.read, more);
        came
    })
}

/// Reads a request's head. None when the client left instead.
async fn read_head(connection: &mut Connection) -> Result<Option<Request>, Error> {
    let reading = async {
        loop {
            if let Some(request) = Request::take(&mut connection.read).map_err(malformed)? {
                return Ok(Some(request));
            }
            // A head is not read again for every byte that comes: it ends with a line.
            let mut seen = connection.read.len();
            loop {
                match fill(connection).await {
                    Ok(true) => {}
                    Ok(false) | Err(_) => return Ok(None),
                }
                if memchr::memchr(b'\n', &connection.read[seen..]).is_some() {
                    break;
                }
                if Request::is_too_long(&connection.read) {
                    return Err(malformed(Malformed::HeadTooLong));
                }
                seen = connection.read.len();
            }
        }
    };
    match within(HEAD_TIME, pin!(reading)).await {
        // A tunnel is nothing that an API is asked for.
        Some(Ok(Some(request))) if request.method == Method::CONNECT => {
            Err(Error::new(Kind::MethodNotAllowed, "Not allowed: CONNECT."))
        }
        Some(read) => read,
        None => Err(Error::new(
            Kind::RequestTimeout,
            format!("The request head did not arrive within {}s.", HEAD_TIME.as_secs()),
        )),
    }
}

fn malformed(malformed: Malformed) -> Error {
    let (kind, public) = match malformed {
        Malformed::Head => (Kind::BadRequest, "The request is not valid HTTP/1.1."),
        Malformed::HeadTooLong => (Kind::HeadTooLarge, "The request head is too long."),
        Malformed::Length => (Kind::BadRequest, "The Content-Length header is not one number."),
        Malformed::TransferEncoding => {
            (Kind::BadRequest, "The only Transfer-Encoding that is accepted is `chunked`.")
        }
        Malformed::Ambiguous => {
            (Kind::BadRequest, "The request's host or length can be read in more than one way.")
        }
        Malformed::Chunk => (Kind::BadRequest, "The request body's chunked encoding is malformed."),
    };
    Error::new(kind, public).cause(malformed)
}

/// Says why a request cannot be read, and closes the connection: where the next one would begin is not
/// known.
async fn refuse(connection: Connection, error: &Error) {
    log::debug!("a client's head was refused: {error}");
    let (status, headers, body) = exchange::unread(error);
    let mut answer = Vec::with_capacity(512);
    write_head(&mut answer, (status, &headers), Some("close"), false);
    answer.extend_from_slice(&body);
    let mut io = connection.io;
    let farewell = async {
        // A client that is gone does not miss it.
        if io.write_all(&answer).await.is_ok() && io.flush().await.is_ok() {
            io.shutdown().await;
            // Closing with something unread would reset the connection before the client has read.
            while poll_fn(|cx| io.poll_read_bytes(cx)).await.is_ok_and(|more| !more.is_empty()) {}
        }
    };
    let _ = within(REFUSAL_TIME, pin!(farewell)).await;
}

#[cfg(test)]
mod tests;
