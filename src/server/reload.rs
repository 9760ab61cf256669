//! From a configuration file to a plan.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::Diagnostic;
use crate::plan::{self, Environment, Plan, Source};

/// Compiles the file. Live state of what did not change is taken over from `previous`.
pub(super) fn compile(
    source: &Source,
    simulated: BTreeMap<String, SocketAddr>,
    previous: Option<&Plan>,
) -> Result<Plan, Vec<Diagnostic>> {
    plan::compile(source, &Environment { simulated }, previous)
}

/// What the new file changes that only a new process can: said once, at reload.
pub(super) fn needs_upgrade(old: &Plan, new: &Plan) -> Vec<&'static str> {
    let (old, new) = (&old.file, &new.file);
    let mut changed = Vec::new();
    let addresses = |file: &plan::File| {
        let listeners = file.listeners.iter();
        listeners.map(|listener| (listener.address, listener.tls.is_some())).collect::<Vec<_>>()
    };
    if addresses(old) != addresses(new) {
        changed.push("listeners");
    }
    if old.admin.address != new.admin.address {
        changed.push("admin.address");
    }
    if old.runtime != new.runtime {
        changed.push("runtime");
    }
    if old.budget_events != new.budget_events {
        changed.push("budget_events");
    }
    if old.shared_limits != new.shared_limits {
        changed.push("shared_limits");
    }
    if old.admin != new.admin && old.admin.address == new.admin.address {
        changed.push("admin");
    }
    if old.identity != new.identity {
        changed.push("identity");
    }
    if old.storage != new.storage {
        changed.push("storage");
    }
    if old.ledger != new.ledger {
        changed.push("ledger");
    }
    changed
}
