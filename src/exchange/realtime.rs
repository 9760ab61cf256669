//! Upgraded connections: a WebSocket to an upstream (`OpenAI`'s realtime API), carried byte for byte
//! in both directions while the meter reads the messages that come back.
//!
//! Compression is not offered to the upstream (RFC 7692 is an extension and may be declined), since
//! the meter could not read a compressed message.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::admit::{self, Admitted};
use super::attempt::{self, Order};
use super::head::Head;
use super::settle::{AttemptEnd, Settlement};
use super::{End, Gateway, race, relay, respond, upstream_limit};
use crate::clock::Instant;
use crate::dialect::{self, StreamObserver};
use crate::error::{Error, Kind};
use crate::meter::{self, Counters};
use crate::pool::{Lease, Outcome, Pick, Pool};
use crate::transport::downstream::Session;
use crate::transport::upstream;
use crate::wire::fields::{Fields, Name};
use crate::wire::frame::Framing;
use crate::wire::websocket::{self, Message};

/// The longest payload of a control frame (RFC 6455, section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// An upstream that has switched protocols.
struct Open {
    pool: Arc<Pool>,
    lease: Lease,
    upstream: upstream::Session,
}

/// Opens the upstream's side, then carries both directions until one of them ends.
pub(super) async fn run(
    gateway: &Gateway,
    session: &mut Session<'_>,
    head: &Head,
    admitted: &Admitted<'_>,
    settlement: &mut Settlement<'_>,
) -> Result<End, Error> {
    let open = tokio::select! {
        biased;
        open = open(gateway, head, admitted, settlement) => open?,
        () = relay::client_gone(session) => {
            return Err(Error::new(Kind::ClientGone, "The client went away before the answer began."));
        }
    };
    let Open { pool, lease, mut upstream } = open;
    settlement.answering(&pool, &lease, admitted.peeked.model.clone(), Instant::now());
    let Some(response) = upstream.response() else {
        return Err(Error::new(Kind::Internal, "An upgraded connection has no response."));
    };
    let headers = switching(response, head);
    settlement.status(101);
    if session.write_head(StatusCode::SWITCHING_PROTOCOLS, &headers).await.is_err() {
        return Ok(settlement.gone());
    }
    let mut tap = Tap::new(head, admitted, lease.target().provider.dialect);
    let end = carry(session, &mut upstream, &mut tap, admitted, settlement).await;
    settlement.observed(&tap.observer);
    settlement.counted(tap.counters);
    lease.finish(match &end {
        Ok(()) => Outcome::Success,
        Err(error) if error.kind == Kind::ClientGone => Outcome::Cancelled,
        Err(error) => Outcome::Failure(error.kind),
    });
    match end {
        Ok(()) => {}
        Err(error) if error.kind == Kind::ClientGone => return Ok(settlement.gone()),
        Err(error) => settlement.broken(&error),
    }
    // A WebSocket's connection is never used again.
    let _ = respond::finish(session).await;
    Ok(End::Aborted)
}

/// Tries targets until one switches protocols.
async fn open(
    gateway: &Gateway,
    head: &Head,
    admitted: &Admitted<'_>,
    settlement: &mut Settlement<'_>,
) -> Result<Open, Error> {
    let order = Order { upstreams: &gateway.upstreams, store: &gateway.store, head, admitted };
    let mut last = None;
    let mut full = None;
    for pool in &admitted.pools {
        pool.note_request();
        let mut pick = Pick::new(admit::hash(pool, head, admitted)).of_class(admitted.caller.class);
        if !race::skip_other_dialects(pool, head, &mut pick) {
            continue;
        }
        let mut attempts = 0;
        while attempts < pool.retry.attempts.max(1) {
            if (attempts > 0 || last.is_some()) && !pool.retry_allowed() {
                break;
            }
            let lease = match pool.select(&mut pick, admitted.deadline).await {
                Ok(lease) => lease,
                Err(error) => {
                    last = last.or_else(|| Some(race::not_selected(pool, error)));
                    break;
                }
            };
            let (limits, target) = (&gateway.limits, lease.target());
            let held = match upstream_limit::enter(limits, head, admitted, target, settlement).await
            {
                Ok(held) => held,
                Err(error) => {
                    full = Some(upstream_limit::sooner(full, error));
                    continue;
                }
            };
            attempts += 1;
            let started = settlement.attempt_started(pool, &lease, false);
            match switch(order, pool, &lease).await {
                Ok(upstream) => {
                    settlement.attempt_ended(started, AttemptEnd::Ok(Instant::now()));
                    settlement.hold_upstream(held);
                    return Ok(Open { pool: Arc::clone(pool), lease, upstream });
                }
                Err(error) => {
                    settlement.attempt_ended(started, AttemptEnd::Failed(error.kind, None));
                    lease.finish(Outcome::Failure(error.kind));
                    if !error.kind.retryable() {
                        return Err(error);
                    }
                    last = Some(error);
                }
            }
        }
    }
    Err(last.or(full).unwrap_or_else(|| Error::new(Kind::NoTarget, "No upstream is available.")))
}

async fn switch(order: Order<'_>, pool: &Pool, lease: &Lease) -> Result<upstream::Session, Error> {
    let target = lease.target();
    let model = target.model.as_deref().or(order.admitted.alias.as_deref());
    let now = lease.since();
    let mut request = attempt::build(order, target, model, &mut None, now, None)?.request;
    request.headers.remove(Name::SecWebsocketExtensions);
    if let Some(offered) = order.head.headers.text(Name::SecWebsocketProtocol) {
        request.headers.remove(Name::SecWebsocketProtocol);
        if let Some(kept) = dialect::websocket_protocols(offered) {
            request.headers.set(Name::SecWebsocketProtocol, &kept);
        }
    }
    let connect = pool.timeouts.connect.0.min(super::left(order.admitted.deadline, now)?);
    let address = &target.provider.address;
    let mut upstream = order.upstreams.connect_http1(address, connect, now).await?;
    let opening = async {
        upstream.send_head(&request).await?;
        upstream.head().await.map(|head| head.status.as_u16())
    };
    let status = match tokio::time::timeout(pool.timeouts.first_token.0, opening).await {
        Ok(status) => status?,
        Err(_) => {
            return Err(Error::new(
                Kind::FirstTokenTimeout,
                "The upstream did not open the WebSocket in time.",
            ));
        }
    };
    let kind = match status {
        101 => return Ok(upstream),
        401 | 403 => Kind::UpstreamAuth,
        429 => Kind::UpstreamRateLimited,
        500.. => Kind::UpstreamStatus,
        400.. => Kind::UpstreamRejected,
        _ => Kind::UpstreamProtocol,
    };
    Err(Error::new(kind, format!("The upstream answered the WebSocket handshake with {status}.")))
}

/// What the client is told with the switch.
fn switching(response: &upstream::Head, head: &Head) -> Fields {
    let mut headers = response.headers.clone();
    headers.retain(|field| field.begins_with(b"sec-websocket-") || field.begins_with(b"openai-"));
    headers.set(Name::Upgrade, "websocket");
    headers.set(Name::XRequestId, head.request_id.as_str());
    headers
}

async fn carry(
    session: &mut Session<'_>,
    upstream: &mut upstream::Session,
    tap: &mut Tap,
    admitted: &Admitted<'_>,
    settlement: &mut Settlement<'_>,
) -> Result<(), Error> {
    enum Step {
        FromClient(pingora_core::Result<Option<Bytes>>),
        FromUpstream(Result<Option<Bytes>, Error>),
    }
    let deadline = tokio::time::sleep_until(admitted.deadline.into());
    tokio::pin!(deadline);
    let mut closing = Closing::new();
    loop {
        let step = tokio::select! {
            biased;
            data = upstream.body() => Step::FromUpstream(data),
            data = session.read_body() => Step::FromClient(data),
            () = &mut deadline => {
                return Err(Error::new(Kind::TotalTimeout, "The session took longer than its total timeout."));
            }
        };
        match step {
            Step::FromUpstream(data) => {
                let Some(data) = data? else { return Ok(()) };
                tap.observe(&data);
                settlement.body_out(data.len());
                let written = session.write_body(data, false).await;
                written.map_err(|error| {
                    Error::new(Kind::ClientGone, "The client went away.").cause(error)
                })?;
            }
            Step::FromClient(Ok(Some(data))) => {
                closing.observe(&data);
                upstream.send_upgraded(data).await?;
            }
            Step::FromClient(Ok(None)) if closing.said || tap.closed => return Ok(()),
            Step::FromClient(Ok(None)) => {
                return Err(Error::new(Kind::ClientGone, "The client went away without a close."));
            }
            Step::FromClient(Err(error)) => {
                return Err(Error::new(Kind::ClientGone, "The client went away.").cause(error));
            }
        }
    }
}

/// Watches whether the client says that it is about to close (RFC 6455, section 5.5.1): one that
/// goes without a word was lost.
struct Closing {
    reader: websocket::Reader,
    said: bool,
}

impl Closing {
    fn new() -> Self {
        // Longer messages than a control frame's are not kept.
        Self { reader: websocket::Reader::new(CONTROL_BYTES_MAX), said: false }
    }

    fn observe(&mut self, data: &[u8]) {
        let said = &mut self.said;
        // A client that breaks the protocol is for the upstream to judge.
        let _ = self.reader.push(data, |message| *said |= matches!(message, Message::Close { .. }));
    }
}

/// Reads the upstream's messages as they pass.
struct Tap {
    reader: Option<websocket::Reader>,
    observer: StreamObserver,
    counters: Counters,
    /// The upstream has said that it closes.
    closed: bool,
}

impl Tap {
    fn new(head: &Head, admitted: &Admitted<'_>, dialect: dialect::Dialect) -> Self {
        let model = admitted.model().unwrap_or_default();
        Self {
            reader: Some(websocket::Reader::new(admitted.plan.bounds.frame.as_usize())),
            observer: StreamObserver::new(head.endpoint, dialect, Framing::Opaque, false),
            counters: Counters::new(meter::tokenizer_for(model).vocabulary),
            closed: false,
        }
    }

    /// What cannot be read (a frame too large, a broken one) ends the reading, not the session.
    fn observe(&mut self, data: &Bytes) {
        let Some(reader) = &mut self.reader else { return };
        let (observer, counters, closed) =
            (&mut self.observer, &mut self.counters, &mut self.closed);
        let read = reader.push(data, |message| match message {
            Message::Text(text) => {
                observer.observe_message(text, counters);
            }
            Message::Close { .. } => *closed = true,
            _ => {}
        });
        if read.is_err() {
            self.reader = None;
        }
    }
}
