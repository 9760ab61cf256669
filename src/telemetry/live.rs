//! What is read at the moment of a scrape, because it lives elsewhere: the plan, pools, targets.

use std::sync::Arc;

use serde::Serialize;

/// The state of the live plan.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Version of the plan that serves.
    pub plan_version: u64,
    /// Whether weir is draining.
    pub draining: bool,
    /// CEL conditions that failed to evaluate, since the start.
    pub route_condition_errors: u64,
    /// Whether the store of shared limits is away.
    pub limit_store_away: bool,
    /// Whether requests under limits are refused because of that.
    pub limits_refuse: bool,
    /// Every pool of the plan.
    pub pools: Vec<LivePool>,
    /// The database, where one is configured.
    pub storage: Option<LiveStorage>,
    /// The ledger of record, where there is one.
    pub ledger: Option<LiveLedger>,
}

/// Where records of the ledger are on their way; the number is the metric's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerState {
    /// The database takes them.
    #[default]
    Ok,
    /// The journal holds them until the database takes them.
    Behind,
    /// The journal cannot be written: memory holds them, and a process that is killed loses them.
    Memory,
    /// Memory is full: they are lost.
    Losing,
}

/// How the ledger of record stands. Requests flow whatever it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LiveLedger {
    /// In one word.
    pub state: LedgerState,
    /// Why it is not well; empty when it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when it is as it is; 0: since the start.
    pub since_unix_ms: u64,
    /// Records that the database has taken since the start.
    pub entered: u64,
    /// Records that wait for it.
    pub waiting: u64,
    /// Bytes of memory that they take.
    pub memory_bytes: u64,
    /// Bytes of the journal's segments that they take.
    pub journal_bytes: u64,
    /// Records of an earlier process that were found in its journal.
    pub recovered: u64,
    /// Batches that an earlier process had not written to their end.
    pub torn: u64,
    /// Records lost because journal and memory were full.
    pub lost: u64,
}

/// How the database is doing. Requests flow whatever it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveStorage {
    /// `ok`, `slow` or `away`.
    pub state: &'static str,
    /// Why it is not well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when it is as it is.
    pub since_unix_ms: u64,
}

impl LiveStorage {
    /// The number in `weir_storage_state`.
    pub fn number(&self) -> i64 {
        match self.state {
            "ok" => 0,
            "slow" => 1,
            _ => 2,
        }
    }
}

impl Live {
    /// Why no request should be sent here; empty when weir is ready: it does not drain and at least
    /// one pool is usable.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.draining {
            reasons.push("draining".to_owned());
        }
        if !self.pools.iter().any(|pool| pool.usable) {
            let names: Vec<&str> = self.pools.iter().map(|pool| &*pool.name).collect();
            reasons.push(format!("no pool is usable ({})", names.join(", ")));
        }
        if self.limits_refuse {
            reasons.push("the store of shared limits is away".to_owned());
        }
        reasons
    }

    /// What is not as it should be, although requests are answered.
    pub fn degraded(&self) -> Vec<&'static str> {
        let away = self.limit_store_away && !self.limits_refuse;
        away.then_some("the store of shared limits is away").into_iter().collect()
    }
}

/// One pool.
#[derive(Clone, Debug)]
pub struct LivePool {
    /// Its name.
    pub name: Arc<str>,
    /// Requests waiting for a concurrency slot.
    pub queued: u64,
    /// Whether any target may be used now.
    pub usable: bool,
    /// Its targets.
    pub targets: Vec<LiveTarget>,
}

/// One target of a pool.
#[derive(Clone, Debug)]
pub struct LiveTarget {
    /// `provider/model`, or `provider`.
    pub id: Arc<str>,
    /// Attempts running on it.
    pub in_flight: u64,
    /// Its circuit breaker.
    pub breaker: Breaker,
    /// What its health check said last; true where there is none.
    pub healthy: bool,
    /// Whether it may be chosen now (healthy, breaker not open, not resting).
    pub usable: bool,
    /// Its decayed time to first token, in milliseconds, where one was measured.
    pub ttft_ms: Option<f64>,
}

/// State of a circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// Requests pass.
    #[default]
    Closed,
    /// Probes pass.
    HalfOpen,
    /// Nothing passes.
    Open,
}

impl Breaker {
    /// The number in `weir_target_breaker_state`.
    pub const fn number(self) -> i64 {
        match self {
            Breaker::Closed => 0,
            Breaker::HalfOpen => 1,
            Breaker::Open => 2,
        }
    }
}
