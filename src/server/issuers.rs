//! Keeps the keys of issuers of tokens fresh, from the control thread.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::plan::Plan;
use crate::telemetry::Metrics;
use crate::transport::upstream::Upstreams;

/// Idle connections to one issuer that are kept.
const IDLE_CONNECTIONS_MAX: usize = 2;

/// The readings of one plan. Dropping it stops them; the keys stay with their plans.
pub(super) struct Readings(#[expect(dead_code, reason = "held for its drop")] JoinSet<()>);

/// Starts the readings of every issuer's keys.
pub(super) fn start(plan: &Plan, metrics: &Arc<Metrics>) -> Readings {
    let mut readings = JoinSet::new();
    for source in plan.callers.key_sources() {
        let (source, metrics) = (Arc::clone(source), Arc::clone(metrics));
        readings.spawn(async move {
            let upstreams = Upstreams::new(IDLE_CONNECTIONS_MAX);
            let name = Arc::clone(&source.name);
            let note = |result: Result<usize, &str>| {
                metrics.issuer_read(&name, result.is_ok());
                match result {
                    Ok(count) => log::debug!("issuer {name}: {count} keys"),
                    Err(why) => log::warn!("issuer {name}: its keys cannot be read: {why}"),
                }
            };
            source.keep_fresh(&upstreams, note).await;
        });
    }
    Readings(readings)
}
