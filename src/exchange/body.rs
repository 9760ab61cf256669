//! Reading the request's body, once and bounded. It is kept whole so that it can be sent to as many
//! candidates as it takes.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use pingora_core::ErrorType;

use crate::clock::within;
use crate::error::{Error, Kind};
use crate::plan::Bounds;
use crate::transport::downstream::Session;
use crate::wire::fields::{Fields, Name};
use crate::wire::http1;

/// Memory reserved ahead for a body whose length the client announced: an announcement alone must
/// not cost more.
const RESERVE_BYTES_MAX: usize = 1 << 20;
/// Bytes taken in before the worker's other requests get a turn.
const TURN_BYTES_MAX: usize = 256 * 1024;

/// Reads the whole body.
pub(super) async fn read(
    session: &mut Session<'_>,
    headers: &Fields,
    bounds: &Bounds,
) -> Result<Bytes, Error> {
    let announced = announced(headers)?;
    if announced.is_some_and(|bytes| bytes > bounds.body.0) {
        return Err(too_large(bounds));
    }
    if session.is_body_empty() {
        return Ok(Bytes::new());
    }
    if expects_continue(headers) {
        session.write_continue().await.map_err(|error| gone(&error))?;
    }
    session.set_read_timeout(bounds.read.0);
    match within(bounds.body_time.0, pin!(collect(session, announced, bounds))).await {
        Some(result) => result,
        None => Err(Error::new(
            Kind::RequestTimeout,
            format!("The request body did not arrive within {}.", bounds.body_time),
        )),
    }
}

async fn collect(
    session: &mut Session<'_>,
    announced: Option<u64>,
    bounds: &Bounds,
) -> Result<Bytes, Error> {
    let Some(first) = next(session, bounds).await? else { return Ok(Bytes::new()) };
    let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
    if announced == Some(first.len()) {
        // The usual case: one read, no copy.
        if session.is_body_done() || next(session, bounds).await?.is_none() {
            return Ok(first);
        }
        return Err(Error::new(Kind::BadRequest, "The request body is longer than announced."));
    }
    let reserve =
        announced.unwrap_or(2 * first.len()).clamp(first.len(), RESERVE_BYTES_MAX.max(first.len()));
    let mut body = BytesMut::with_capacity(reserve);
    body.extend_from_slice(&first);
    let mut turn_bytes = 0;
    while let Some(part) = next(session, bounds).await? {
        if body.len() + part.len() > bounds.body.as_usize() {
            return Err(too_large(bounds));
        }
        if body.len() + part.len() > body.capacity() {
            // It does come: the rest of what was announced, so that it is copied only this once.
            body.reserve(announced.unwrap_or(0).saturating_sub(body.len()).max(part.len()));
        }
        body.extend_from_slice(&part);
        turn_bytes += part.len();
        if turn_bytes > TURN_BYTES_MAX {
            turn_bytes = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(body.freeze())
}

async fn next(session: &mut Session<'_>, bounds: &Bounds) -> Result<Option<Bytes>, Error> {
    // A session of HTTP/1 bounds each read by itself, also where one part is a whole body.
    let limit = if session.bounds_reads() { bounds.body_time.0 } else { bounds.read.0 };
    let stalled = || {
        let text = format!("No part of the request body arrived for {}.", bounds.read);
        Error::new(Kind::RequestTimeout, text)
    };
    match within(limit, pin!(session.read_body())).await {
        Some(Ok(part)) => Ok(part),
        Some(Err(error)) if *error.etype() == ErrorType::ReadTimedout => Err(stalled()),
        Some(Err(error)) => Err(gone(&error)),
        None => Err(stalled()),
    }
}

fn announced(headers: &Fields) -> Result<Option<u64>, Error> {
    http1::content_length(headers).map_err(|_| {
        Error::new(Kind::BadRequest, "The Content-Length header is not a number.")
            .param("content-length")
    })
}

fn expects_continue(headers: &Fields) -> bool {
    headers.get(Name::Expect).is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

fn too_large(bounds: &Bounds) -> Error {
    Error::new(
        Kind::BodyTooLarge,
        format!("The request body is larger than the {} that are accepted.", bounds.body),
    )
}

/// A failed read: broken framing is the client's mistake and can still be answered; everything
/// else means that nobody is there.
fn gone(error: &pingora_core::Error) -> Error {
    match error.etype() {
        ErrorType::Custom("InvalidChunk" | "InvalidTrailerEnd") => {
            Error::new(Kind::BadRequest, "The request body's chunked encoding is malformed.")
                .cause(error)
        }
        _ => Error::new(Kind::ClientGone, "The client went away.").cause(error),
    }
}
