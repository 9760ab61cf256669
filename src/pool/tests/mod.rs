//! Tests of a pool as a whole.

mod balancing;
mod lifecycle;
mod queueing;
mod resilience;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::provider::{Catalogue, Mistake, Provider};

const SECOND: Duration = Duration::from_secs(1);

/// Providers `p0` to `p9`, without keys.
fn providers() -> BTreeMap<Arc<str>, Arc<Provider>> {
    (0..10)
        .map(|number| {
            let yaml =
                format!("{{dialect: openai, base_url: 'http://127.0.0.1:{}/v1'}}", 9000 + number);
            let settings = serde_saphyr::from_str(&yaml).expect("settings");
            let name = format!("p{number}");
            let provider = Provider::compile(&name, &settings, Catalogue::builtin(), None, None)
                .expect("compiles");
            (name.into(), provider)
        })
        .collect()
}

fn compile(yaml: &str, previous: Option<&Pool>, now: Instant) -> Result<Pool, Vec<Mistake>> {
    let settings: Settings = serde_saphyr::from_str(yaml).expect("settings");
    let environment = Environment {
        providers: &providers(),
        pool_index: &|name| (name == "other").then_some(7),
        price: &|_, model| model.strip_prefix('m')?.parse().ok(),
        previous,
        now,
    };
    Pool::compile("chat", &settings, &environment)
}

fn pool(yaml: &str) -> Pool {
    compile(yaml, None, clock::now()).expect("compiles")
}

fn reload(yaml: &str, previous: &Pool, now: Instant) -> Pool {
    compile(yaml, Some(previous), now).expect("compiles")
}

/// A lease on whatever a fresh request gets.
fn lease(pool: &Pool, seed: u64, now: Instant) -> Option<Lease> {
    pool.try_select(&mut Pick::seeded(None, seed), now)
}

/// How often each target is chosen by `count` requests that end at once.
fn shares(pool: &Pool, count: u64, now: Instant) -> Vec<u64> {
    let mut shares = vec![0; pool.targets.len()];
    let mut pick = Pick::seeded(None, 42);
    for _ in 0..count {
        let lease = pool.try_select(&mut pick, now).expect("a target");
        shares[lease.index()] += 1;
        lease.finish_at(Outcome::Success, now);
        pick.forget_tried();
    }
    shares
}

fn in_flight(pool: &Pool) -> Vec<u32> {
    pool.targets.iter().map(|target| target.state.in_flight()).collect()
}

fn near(got: u64, expected: f64, tolerance: f64) -> bool {
    (got as f64 - expected).abs() <= expected * tolerance
}
