//! Keeps the live plan's virtual keys as `storage` has them, from the control thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::AbortHandle;

use crate::database::Database;
use crate::manage::{Error, Office, Refusals};
use crate::plan::Plan;
use crate::tenant::{KeyHasher, Record};

/// From one look at what has changed to the next: replicas know of a change well within a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The way to virtual keys, where there are any.
pub(super) struct Keys {
    pub(super) office: Office,
    known: AtomicU64,
    /// Refused requests, on their way into the audit log.
    pub(super) refusals: Arc<Refusals>,
}

impl Keys {
    pub(super) fn new(database: &Database, hasher: KeyHasher) -> Self {
        Self {
            office: Office::new(database.clone(), hasher),
            known: AtomicU64::new(0),
            refusals: Arc::default(),
        }
    }

    /// Reads all keys before the first request. A database that is away is asked again later.
    pub(super) fn load(&self, plan: &Plan) {
        match self.office.changes_blocking(0) {
            Ok(changes) => self.take(plan, changes),
            Err(error) => log::error!("virtual keys cannot be read for now: {error}"),
        }
    }

    /// Takes over what has changed.
    pub(super) async fn sync(&self, plan: &ArcSwap<Plan>) -> Result<(), Error> {
        let changes = self.office.changes(self.known.load(Ordering::Relaxed)).await?;
        // Loaded after the wait: a reload may have come between.
        self.take(&plan.load(), changes);
        Ok(())
    }

    fn take(&self, plan: &Plan, (version, changed): (u64, Vec<Record>)) {
        plan.callers.apply(changed);
        self.known.fetch_max(version, Ordering::Relaxed);
    }

    /// Enters refused requests that wait for it in the audit log.
    pub(super) async fn enter_refusals(&self) {
        if let Err(error) = self.refusals.write(&self.office).await {
            log::debug!("refused requests are not in the audit log yet: {error}");
        }
    }
}

/// Looks for changes that others make. The task ends with its handle's abort.
pub(super) fn follow(keys: Arc<Keys>, plan: Arc<ArcSwap<Plan>>) -> AbortHandle {
    let following = async move {
        let mut away = false;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match keys.sync(&plan).await {
                Ok(()) => {
                    away = false;
                    keys.enter_refusals().await;
                }
                Err(error) if !away => {
                    away = true;
                    log::warn!("changes of virtual keys cannot be read for now: {error}");
                }
                Err(_) => {}
            }
        }
    };
    tokio::spawn(following).abort_handle()
}
