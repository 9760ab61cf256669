//! Limits that several processes share, through Redis or Valkey.
//!
//! Each process claims a part of every limit that it uses, and admits only within its claim; the store
//! ([`claim.lua`](https://redis.io/docs/latest/develop/programmability/)) grants claims as long as all
//! of them together stay within the limit. So limits hold whatever the processes do at the same time,
//! and a request within its process's claim waits for nobody. A claim is an absolute number that is
//! said again every [`REFRESH_MS`]: it can be said twice, and a store that lost everything learns it
//! anew. That of a process that ended without giving its claims back runs out with their window or
//! period.
//!
//! In mode `leased` a process claims a lease beyond what it has used and refills it ahead of need; in
//! mode `strict` it claims what each request holds, and nothing more. One task, on the control thread,
//! talks to the store, so that what it says of a counter is in order ([`service`]).
//!
//! Requests at a time, and soft budgets without a hard one of the same kind, are each process's own.
//!
//! # How much may be admitted beyond a limit
//!
//! Nothing, in either mode, as long as the store keeps what it is told. When it has lost that (a restart
//! without persistence, a fail-over), nobody who had claimed something is given more for
//! [`GRACE_MS`], in which everybody says their claims again; so the most that can be admitted beyond a
//! limit is what processes admit that use it for the first time in that while, and what those used that
//! cannot reach the store. In mode `leased`, up to the sum of the others' leases may be refused although
//! it is not used: (processes − 1) × limit × `lease_percent` / 100.

mod link;
mod service;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::book::Ask;
use super::moment::Moment;
use super::rules::{Kind, Set};
use super::scope::{Claims, Scope};
use crate::error::{Error, Kind as ErrorKind};
use crate::telemetry::Metrics;

pub use service::Service;
pub use settings::{SharedMode, SharedSettings, WhenAway};

/// How often claims are said again, in milliseconds.
pub(super) const REFRESH_MS: u64 = 1000;
/// How long nothing is given out after the store has lost a counter, in milliseconds.
pub(super) const GRACE_MS: u64 = 2 * REFRESH_MS;
/// Requests that wait for the store at a time.
const WAITING_MAX: usize = 4096;

/// What is to be claimed of one counter.
#[derive(Clone)]
pub(super) struct Want {
    pub(super) scope: Arc<Scope>,
    pub(super) rules: Arc<Set>,
    pub(super) kind: Kind,
    /// What the claim has to reach.
    pub(super) need: u64,
}

/// Requests that wait for a claim.
struct Waiting {
    wants: Vec<Want>,
    /// Whether all of it is claimed.
    answer: oneshot::Sender<bool>,
}

/// The shared half of the limits.
pub(super) struct Shared {
    waiting: mpsc::Sender<Waiting>,
    away: Arc<AtomicBool>,
    when_away: WhenAway,
    timeout: Duration,
}

impl Shared {
    /// With the service that is to be run for it. Fails where the address cannot be read.
    pub(super) fn new(
        settings: &SharedSettings,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Service), String> {
        let url = settings.url.resolve().map_err(|error| error.to_string())?;
        let url = url.ok_or("it is missing")?;
        let place = link::Place::parse(url.expose())?;
        let (waiting, requests) = mpsc::channel(WAITING_MAX);
        let away = Arc::new(AtomicBool::new(true));
        metrics.limit_store(false);
        let service = Service::new(place, settings.clone(), requests, Arc::clone(&away), metrics);
        let (when_away, timeout) = (settings.when_away, settings.timeout.0);
        Ok((Self { waiting, away, when_away, timeout }, service))
    }

    /// Whether the store is away, and requests are refused because of it.
    pub(super) fn standing(&self) -> (bool, bool) {
        let away = self.away.load(Ordering::Relaxed);
        (away, away && self.when_away == WhenAway::Refuse)
    }

    /// Claims what these scopes lack for a request. Whether they lack nothing then; an error where
    /// nothing may be admitted.
    pub(super) async fn ensure(&self, claims: &Claims, ask: &Ask) -> Result<bool, Error> {
        if claims.is_empty() {
            return Ok(true);
        }
        if self.standing().1 {
            return Err(away());
        }
        let wants = lacking(claims, ask);
        if wants.is_empty() {
            return Ok(true);
        }
        if self.away.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let (answer, answered) = oneshot::channel();
        let mut enough = false;
        if self.waiting.try_send(Waiting { wants, answer }).is_ok() {
            // Without an answer the request is judged by what is claimed.
            enough = matches!(tokio::time::timeout(self.timeout, answered).await, Ok(Ok(true)));
        }
        if self.standing().1 { Err(away()) } else { Ok(enough || lacking(claims, ask).is_empty()) }
    }

    /// The refusal of a request that needs a claim.
    pub(super) fn refusal(&self) -> Option<Error> {
        self.away.load(Ordering::Relaxed).then(away)
    }
}

fn away() -> Error {
    Error::new(ErrorKind::Overloaded, "Limits cannot be checked at the moment.")
        .retry_after(Some(Duration::from_secs(1)))
        .cause("the store of shared limits is away")
}

/// The counters of which less is claimed than a request needs.
fn lacking(claims: &Claims, ask: &Ask) -> Vec<Want> {
    let now = Moment::now();
    let mut wants = Vec::new();
    for claim in claims {
        let (scope, rules) = (claim.scope(), &claim.set);
        let mut book = scope.book.lock();
        book.roll(rules, now);
        for (kind, need) in book.lacking(rules, ask) {
            let (scope, rules) = (Arc::clone(scope), Arc::clone(rules));
            wants.push(Want { scope, rules, kind, need });
        }
    }
    wants
}
