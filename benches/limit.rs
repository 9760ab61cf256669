//! Admission under limits: a reservation and its settling in three scopes, with 100,000 scopes live.
//!
//! `cargo bench --bench limit`. Goal: under 1 µs at the median for a reservation in three scopes.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use weir::limit::{
    Actual, Applicable, Estimate, Hold, Limits, Owner, Sets, Settings, Subject, TimeZone,
};
use weir::telemetry::Metrics;

const KEYS: usize = 98_000;
const TENANTS: usize = 1_000;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn settings(yaml: &str) -> Vec<Settings> {
    serde_saphyr::from_str(yaml).expect("settings")
}

/// 100,000 keys' worth of callers: each under a limit of its own and of its tenant's, and under one
/// that is counted by model.
struct Stand {
    limits: Limits,
    callers: Vec<Applicable>,
}

impl Stand {
    fn new() -> Self {
        let yaml = "[{ requests: { minute: 1000000000 }, tokens: { minute: 1000000000000 } }]";
        let own = settings(yaml);
        let shared = settings(
            "[{ requests: { minute: 1000000000 }, tokens: { minute: 1000000000000 } }, \
             { per: [model], requests: { minute: 1000000000 } }]",
        );
        let sets = |kind, id: &str, settings: &[Settings]| {
            let owner = Owner { kind, id, tenant: id };
            Sets::compile(owner, &TimeZone::UTC, settings).expect("limits")
        };
        let tenants: Vec<Sets> =
            (0..TENANTS).map(|n| sets("tenant", &format!("t{n}"), &shared)).collect();
        let callers = (0..KEYS)
            .filter_map(|n| tenants[n % TENANTS].with(&sets("key", &format!("k{n}"), &own)))
            .collect();
        let stand = Self { limits: Limits::new(Metrics::new()), callers };
        // Every key, every tenant and its model are live: 100,000 scopes.
        for n in 0..KEYS {
            stand.reserve(n).settle(Actual::default());
        }
        stand
    }

    fn reserve(&self, caller: usize) -> Hold {
        let subject = Subject { model: Some("gpt-4o"), ..Subject::default() };
        let estimate = Estimate { tokens: 1200, cost_nano_usd: 0 };
        let limits = &self.callers[caller % self.callers.len()];
        self.limits.reserve(Some(limits), &subject, estimate).unwrap_or_else(|_| unreachable!())
    }
}

/// Callers in no order, as they come.
fn next(seed: &mut usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[divan::bench(sample_size = 100, sample_count = 1000)]
fn reserve_in_three_scopes(bencher: Bencher<'_, '_>) {
    let stand = Stand::new();
    let mut seed = 1;
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        // Settled by divan's drop, outside of what is measured.
        stand.reserve(next(&mut seed))
    });
}

#[divan::bench(sample_size = 100, sample_count = 1000)]
fn reserve_and_settle(bencher: Bencher<'_, '_>) {
    let stand = Stand::new();
    let mut seed = 1;
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        stand.reserve(next(&mut seed)).settle(Actual { tokens: 900, cost_nano_usd: 0 });
    });
}

/// All threads in the scopes of one caller.
#[divan::bench(threads = [1, 2], sample_size = 100, sample_count = 1000)]
fn one_caller_from_all_threads(bencher: Bencher<'_, '_>) {
    let stand = Arc::new(Stand::new());
    bencher.counter(ItemsCount::new(1u32)).bench(|| {
        stand.reserve(7).settle(Actual { tokens: 900, cost_nano_usd: 0 });
    });
}

#[divan::bench(sample_size = 100, sample_count = 1000)]
fn without_limits(bencher: Bencher<'_, '_>) {
    let limits = Limits::new(Metrics::new());
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        let estimate = Estimate { tokens: 1200, cost_nano_usd: 0 };
        let held = limits.reserve(None, &Subject::default(), estimate);
        held.map(|hold| hold.settle(Actual::default())).is_ok()
    });
}
