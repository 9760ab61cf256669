//! The task that talks to the store: claims what requests wait for, refills leases ahead of need, gives
//! back what is not used, and says every claim again now and then.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Script;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::link::{Link, Place};
use super::settings::{SharedMode, SharedSettings};
use super::{REFRESH_MS, Waiting, Want};
use crate::limit::book::Share;
use crate::limit::moment::Moment;
use crate::limit::rules::{Kind, Set};
use crate::limit::scope::Scope;
use crate::telemetry::Metrics;

/// How often leases are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often the store is looked for while it is away.
const LOOK_FOR: Duration = Duration::from_millis(250);
/// Calls that are under way at a time.
const CALLS_MAX: usize = 256;
/// How long what is not used may take to be given back at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// One question to the store.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) key: String,
    pub(super) most: u64,
    pub(super) used: u64,
    pub(super) need: u64,
    pub(super) want: u64,
    pub(super) ttl_ms: u64,
    pub(super) known: bool,
    begin_s: i64,
}

/// A counter of which something is claimed.
struct Tracked {
    scope: Arc<Scope>,
    rules: Arc<Set>,
    kind: Kind,
    /// What the store was told last.
    claim: u64,
    said: Option<Instant>,
}

/// Runs on the control thread.
pub struct Service {
    place: Place,
    settings: SharedSettings,
    requests: mpsc::Receiver<Waiting>,
    away: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    process: String,
    script: Script,
    link: Option<Link>,
    looked_for: Option<Instant>,
    heard: Instant,
    tracked: HashMap<String, Tracked>,
}

impl Service {
    pub(super) fn new(
        place: Place,
        settings: SharedSettings,
        requests: mpsc::Receiver<Waiting>,
        away: Arc<AtomicBool>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let process = format!("{:016x}", rand::random::<u64>());
        let script = Script::new(include_str!("claim.lua"));
        let (link, looked_for, heard, tracked) = (None, None, Instant::now(), HashMap::new());
        Self {
            place,
            settings,
            requests,
            away,
            metrics,
            process,
            script,
            link,
            looked_for,
            heard,
            tracked,
        }
    }

    /// Serves until `stop` resolves; then gives back what is claimed and not used.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.reach().await;
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => break,
                _ = look.tick() => {
                    self.reach().await;
                    self.look().await;
                }
                waiting = self.requests.recv() => {
                    let Some(waiting) = waiting else { break };
                    self.serve(waiting).await;
                }
            }
        }
        self.settings.mode = SharedMode::Strict;
        let _ = tokio::time::timeout(FAREWELL, self.look()).await;
    }

    /// Connects, unless it is connected or has just tried.
    async fn reach(&mut self) {
        let tried = self.looked_for.is_some_and(|at| at.elapsed() < LOOK_FOR);
        if self.link.is_some() || tried {
            return;
        }
        self.looked_for = Some(Instant::now());
        match Link::connect(&self.place, self.settings.timeout.0).await {
            Ok(link) => {
                self.link = Some(link);
                // It may have lost what it was told.
                self.tracked.values_mut().for_each(|tracked| tracked.said = None);
                if self.away.swap(false, Ordering::Relaxed) {
                    log::info!("the store of shared limits is there");
                }
                self.metrics.limit_store(true);
            }
            Err(error) => self.lost(&error),
        }
    }

    fn lost(&mut self, error: &redis::RedisError) {
        if !self.away.swap(true, Ordering::Relaxed) || self.link.is_some() {
            log::error!("the store of shared limits is away: {}", error.category());
        }
        self.metrics.limit_store(false);
        self.link = None;
        self.looked_for = Some(Instant::now());
    }

    /// Claims for this request and for those that wait behind it.
    async fn serve(&mut self, first: Waiting) {
        let mut waiting = vec![first];
        while waiting.len() < CALLS_MAX
            && let Ok(next) = self.requests.try_recv()
        {
            waiting.push(next);
        }
        let now = Moment::now();
        let mut needs: HashMap<String, u64> = HashMap::new();
        for want in waiting.iter().flat_map(|waiting| &waiting.wants) {
            let key = self.track(want, now);
            // Those that want of the same counter are all to be served.
            let share = self.share(&key, now);
            let used = share.map_or(0, |share| share.used);
            let need = needs.entry(key).or_insert(used);
            *need = need.saturating_add(want.need.saturating_sub(used));
        }
        let calls: Vec<Call> =
            needs.into_iter().filter_map(|(key, need)| self.call(&key, need, now)).collect();
        let all = self.claim(calls).await;
        for Waiting { wants, answer } in waiting {
            let mut enough = all;
            for want in &wants {
                let key = self.track(want, now);
                let lacks = |share: Option<Share>| share.is_some_and(|it| it.allowed < want.need);
                // Together they may want more than there is, where each alone would get its own.
                if all
                    && lacks(self.share(&key, now))
                    && let Some(call) = self.call(&key, want.need, now)
                {
                    self.claim(vec![call]).await;
                }
                enough &= !lacks(self.share(&key, now));
            }
            // Whoever waited may be gone.
            let _ = answer.send(enough);
        }
    }

    /// The key of a counter, which is looked after from now on.
    fn track(&mut self, want: &Want, now: Moment) -> String {
        let begin = want.scope.book.lock().share(want.kind, now).map_or(0, |share| share.begin_s);
        let name = &want.scope.name;
        let key = format!("{}:{name}:{}:{begin}", self.settings.prefix, want.kind.words());
        let tracked = self.tracked.entry(key.clone()).or_insert_with(|| Tracked {
            scope: Arc::clone(&want.scope),
            rules: Arc::clone(&want.rules),
            kind: want.kind,
            claim: 0,
            said: None,
        });
        tracked.rules = Arc::clone(&want.rules);
        key
    }

    fn share(&self, key: &str, now: Moment) -> Option<Share> {
        let tracked = self.tracked.get(key)?;
        tracked.scope.book.lock().share(tracked.kind, now)
    }

    /// What is to be claimed so that a claim reaches `need`, with a lease beyond it.
    fn call(&self, key: &str, need: u64, now: Moment) -> Option<Call> {
        let tracked = self.tracked.get(key)?;
        let (most, share) = (tracked.rules.most(tracked.kind)?, self.share(key, now)?);
        let need = need.max(share.used);
        Some(Call {
            key: key.to_owned(),
            most,
            used: share.used,
            need,
            want: need.saturating_add(self.lease(most)).min(most).max(need),
            ttl_ms: share.ttl_ms,
            known: tracked.claim > 0,
            begin_s: share.begin_s,
        })
    }

    fn lease(&self, most: u64) -> u64 {
        match self.settings.mode {
            SharedMode::Strict => 0,
            SharedMode::Leased => (most / 100 * u64::from(self.settings.lease_percent)).max(1),
        }
    }

    /// Refills, gives back and says again.
    async fn look(&mut self) {
        if self.link.is_none() {
            return;
        }
        let now = Moment::now();
        let mut calls = Vec::new();
        let mut over = Vec::new();
        for (key, tracked) in &self.tracked {
            let Some(share) = self.share(key, now) else {
                over.push(key.clone());
                continue;
            };
            // The counter of a period that is over is another one now.
            if !key.ends_with(&format!(":{}", share.begin_s))
                || (share.used, tracked.claim) == (0, 0)
            {
                over.push(key.clone());
                continue;
            }
            let Some(mut call) = self.call(key, share.used, now) else { continue };
            let lease = call.want.saturating_sub(share.used);
            let late = share.used > tracked.claim;
            let due = late
                || tracked.said.is_none_or(|at| at.elapsed().as_millis() >= u128::from(REFRESH_MS));
            let short = share.allowed.saturating_sub(share.used) < lease / 2;
            let much = share.allowed > share.used.saturating_add(2 * lease);
            if share.used == 0 && due {
                // Nothing was used for a while.
                call.want = 0;
            }
            if due || short && share.allowed < call.most || much {
                calls.push(call);
            }
        }
        for key in over {
            self.tracked.remove(&key);
        }
        if calls.is_empty() && self.heard.elapsed().as_millis() >= u128::from(REFRESH_MS) {
            return self.greet().await;
        }
        self.claim(calls).await;
    }

    /// Asks whether the store is there, when there is nothing else to say.
    async fn greet(&mut self) {
        self.heard = Instant::now();
        let Some(link) = &mut self.link else { return };
        if let Err(error) = link.greet(self.settings.timeout.0).await {
            self.lost(&error);
        }
    }

    /// Tells the store, and the scopes what it says. False if it is away.
    async fn claim(&mut self, mut calls: Vec<Call>) -> bool {
        while !calls.is_empty() {
            let mut some: Vec<Call> = calls.drain(..calls.len().min(CALLS_MAX)).collect();
            for call in &mut some {
                // A claim is lowered here before it is there.
                let Some(tracked) = self.tracked.get(&call.key) else { continue };
                let before = tracked.scope.book.lock().before_claim(tracked.kind, call.want);
                if let Some((used, want)) = before {
                    (call.used, call.want, call.need) = (used, want, call.need.max(used));
                }
            }
            let Some(link) = &self.link else { return false };
            let timeout = self.settings.timeout.0;
            let (script, process) = (&self.script, &*self.process);
            let asked = some.iter().map(|call| {
                let mut link = link.clone();
                async move { link.claim(script, call, process, timeout).await }
            });
            let answers = join_all(asked).await;
            self.heard = Instant::now();
            let mut lost = None;
            for (call, answer) in some.iter().zip(answers) {
                let Some(tracked) = self.tracked.get_mut(&call.key) else { continue };
                match answer {
                    Ok((claim, others)) => {
                        tracked.claim = claim;
                        tracked.said = Some(Instant::now());
                        let mut book = tracked.scope.book.lock();
                        book.claimed(tracked.kind, claim, others, call.begin_s);
                    }
                    Err(error) => lost = Some(error),
                }
            }
            if let Some(error) = lost {
                self.lost(&error);
                return false;
            }
        }
        true
    }
}
