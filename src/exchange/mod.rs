//! One request's life.
//!
//! A request walks through the files of this room in one direction:
//!
//! [`head`] (endpoint, dialect, caller) → [`body`] (bounded) → [`admit`] (peek, reserve, route) →
//! [`race`] (candidates, failover, hedge) over [`attempt`] (send, probe until the first good event)
//! → [`relay`] (frames to meter and client) → [`settle`] (usage, cost, metrics, record).
//! [`upstream_limit`] passes over what has no room, [`respond`] writes what weir itself has to say, [`allowance`] what is left of limits, [`guard`] ends a
//! stream that may use no more, [`realtime`] carries upgraded connections.
//!
//! # Which seam of Pingora carries it
//!
//! Of HTTP/2, Pingora serves the connections, and the upstream call is made from `request_filter`,
//! which answers the client itself and returns `Ok(true)`; Pingora's own upstream half is not used.
//! Connections of HTTP/1 are served by weir, and their requests are answered without Pingora in
//! between ([`Gateway::answer`]): its session costs a heap allocation for the future of each read and
//! write, and wants the answer's headers as a map. The other candidates were the stock path and
//! a custom upstream session below it. Reasons, in this order:
//!
//! - Pingora's replay buffer is 64 KiB, and a retry of a larger body hangs until a timeout. Here the
//!   body is ours, read once, bounded, and sent to as many candidates as it takes.
//! - Choosing a candidate, probing a stream before committing to it and racing a hedge need several
//!   upstream sessions at a time under one downstream session. The stock path has one, chosen before
//!   the body filters run, and its `response_body_filter` cannot wait.
//! - It is the leanest. CPU time per request of a bare proxy, 615-byte requests and 1 KB answers, 64
//!   keep-alive connections, one core (AMD EPYC, Linux 6.18), medians of three interleaved rounds:
//!   stock 39.4 µs; the same write-coalescing transport with the proxy task 28.3 µs, with the call
//!   made from `request_filter` 25.3 µs.

mod adapt;
mod admit;
mod allowance;
mod attempt;
mod body;
mod gaps;
mod guard;
mod head;
mod kept;
mod local;
mod race;
mod realtime;
mod refused;
mod relay;
mod respond;
mod settle;
mod translate;
mod upstream_limit;

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{FailToProxy, ProxyHttp};

use crate::boxed::boxed;
use crate::clock::Instant;
use crate::dialect::Endpoint;
use crate::error::{Error, Kind};
use crate::ledger::Ledger;
use crate::limit::Limits;
use crate::manage::Refusals;
use crate::plan::Plan;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::transport::downstream::Session;
use crate::transport::upstream::Upstreams;

use head::Head;
pub(crate) use respond::unread;
use settle::Settlement;

/// What all exchanges of one worker share.
#[derive(Clone)]
pub struct Gateway {
    /// The live plan. Loaded once per request.
    pub plan: Arc<ArcSwap<Plan>>,
    /// This worker's upstream connections.
    pub upstreams: Arc<Upstreams>,
    /// Admission.
    pub limits: Arc<Limits>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// Where records go.
    pub ledger: Arc<Ledger>,
    /// Where responses are kept.
    pub store: Arc<Store>,
    /// What policies refuse, on its way into the audit log, where there is one.
    pub refusals: Option<Arc<Refusals>>,
}

/// How an exchange left the downstream connection.
enum End {
    /// A complete answer was written.
    Answered,
    /// The connection is of no more use: the client is gone, or the answer had to be broken off.
    Aborted,
}

impl Gateway {
    /// Answers a request. False when its connection is of no more use.
    pub(crate) async fn answer(&self, mut session: Session<'_>) -> bool {
        matches!(self.exchange(&mut session).await, End::Answered)
    }

    async fn exchange(&self, session: &mut Session<'_>) -> End {
        let plan = self.plan.load_full();
        let mut settlement = Settlement::open(self, &plan);
        settlement.client(session);
        let head = match Head::read(session, &plan) {
            Ok(head) => head,
            Err(refusal) => {
                settlement.refused(&refusal);
                let end = respond::refusal(session, &refusal, &mut settlement).await;
                settlement.close();
                return end;
            }
        };
        settlement.head(&head);
        let served = self.serve(session, &plan, &head, &mut settlement).await;
        // Boxed: what is waited with is part of every request's state.
        let end = match served.map_err(Box::new) {
            Ok(end) => end,
            Err(error) => {
                if let Some(refusals) = &self.refusals {
                    settlement.enter_denied(refusals);
                }
                respond::error(session, &head, &error, &mut settlement).await
            }
        };
        settlement.count(&head).await;
        settlement.close();
        end
    }

    /// Everything that can still be answered with an error in the client's dialect.
    async fn serve(
        &self,
        session: &mut Session<'_>,
        plan: &Arc<Plan>,
        head: &Head,
        settlement: &mut Settlement<'_>,
    ) -> Result<End, Error> {
        let caller = head.authenticate(plan).await?;
        settlement.caller(&caller);
        if let Some(answer) = local::answer(plan, head, &caller) {
            return Ok(respond::local(session, head, answer, settlement).await);
        }
        // These are asked of few: kept out of every request's own state.
        if head.endpoint == Endpoint::Responses
            && let Some(answer) =
                Box::pin(kept::answer(&self.store, plan, head, &caller, settlement)).await?
        {
            return Ok(respond::local(session, head, answer, settlement).await);
        }
        let body = body::read(session, &head.headers, &plan.bounds).await?;
        let (body, continued) = if head.endpoint == Endpoint::Responses {
            Box::pin(kept::continued(&self.store, plan, head, &caller, body)).await?
        } else {
            (body, None)
        };
        let mut admitted = admit::admit(plan, head, caller, body, &self.limits, settlement).await?;
        admitted.continued = continued;
        if head.upgrade() {
            // One of a few, and it lasts: kept out of every request's own state.
            return Box::pin(realtime::run(self, session, head, &admitted, settlement)).await;
        }
        if local::is_token_count(head)
            && let Some(answer) = Box::pin(local::token_count(head, &admitted)).await?
        {
            return Ok(respond::local(session, head, answer, settlement).await);
        }
        // A stream goes on for long after it, and does not hold what it needed.
        match boxed(|| race::run(self, session, head, &admitted, settlement)).await? {
            race::Won::Answer(ready) => {
                Ok(relay::run(&self.upstreams, session, (head, &admitted), ready, settlement).await)
            }
            race::Won::UpstreamError(answer) => {
                Ok(respond::upstream_error(session, head, *answer, settlement).await)
            }
        }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // None: an answer is forwarded as the upstream encoded it.
    }

    async fn request_filter(
        &self,
        session: &mut pingora_proxy::Session,
        _ctx: &mut (),
    ) -> pingora_core::Result<bool> {
        if self.answer(Session::Http2(session.as_downstream_mut())).await {
            return Ok(true);
        }
        pingora_core::Error::e_explain(
            pingora_core::ErrorType::ConnectionClosed,
            "the exchange was broken off",
        )
    }

    async fn upstream_peer(
        &self,
        _session: &mut pingora_proxy::Session,
        _ctx: &mut (),
    ) -> pingora_core::Result<Box<HttpPeer>> {
        // `request_filter` always answers or fails.
        Err(pingora_core::Error::new(pingora_core::ErrorType::InternalError))
    }

    async fn fail_to_proxy(
        &self,
        _session: &mut pingora_proxy::Session,
        _error: &pingora_core::Error,
        _ctx: &mut (),
    ) -> FailToProxy {
        // Whatever could be said to the client has been said.
        FailToProxy { error_code: 0, can_reuse_downstream: false }
    }

    fn suppress_error_log(
        &self,
        _session: &pingora_proxy::Session,
        _ctx: &(),
        _error: &pingora_core::Error,
    ) -> bool {
        // The record says it, with more to it.
        true
    }
}

/// Time left until the deadline, or the error that it has passed.
fn left(deadline: Instant, now: Instant) -> Result<std::time::Duration, Error> {
    deadline.checked_duration_since(now).filter(|left| !left.is_zero()).ok_or_else(|| {
        Error::new(Kind::TotalTimeout, "The request took longer than its total timeout.")
    })
}
