//! Keeps the providers' issued credentials fresh, from the control thread.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::plan::Plan;
use crate::telemetry::Metrics;
use crate::transport::upstream::Upstreams;

/// Idle connections to issuers that are kept.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// The renewals of one plan. Dropping it stops them; the credentials stay with their providers.
pub(super) struct Renewals(#[expect(dead_code, reason = "held for its drop")] JoinSet<()>);

/// Starts the renewal of every credential that is issued.
pub(super) fn start(plan: &Plan, metrics: &Arc<Metrics>) -> Renewals {
    let mut renewals = JoinSet::new();
    let mut seen = HashSet::new();
    for provider in plan.providers.values() {
        let Some(issuer) = provider.issuer.clone() else { continue };
        if !seen.insert(Arc::as_ptr(&issuer)) {
            continue;
        }
        let (name, metrics) = (Arc::clone(&provider.name), Arc::clone(metrics));
        renewals.spawn(async move {
            let upstreams = Upstreams::new(IDLE_CONNECTIONS_MAX);
            let note = |result: Result<(), &str>| {
                metrics.credential_renewed(&name, result.is_ok());
                match result {
                    Ok(()) => log::debug!("provider {name}: the credential was renewed"),
                    Err(why) => log::warn!("provider {name}: no credential: {why}"),
                }
            };
            issuer.renew(&upstreams, note).await;
        });
    }
    Renewals(renewals)
}
