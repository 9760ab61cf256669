//! Keeps the live plan's virtual keys as `storage` has them, from the control thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::clock::{self, Instant};
use crate::database::Database;
use crate::manage::{Error, Office};
use crate::plan::Plan;
use crate::tenant::{KeyHasher, Record};

/// From one look at what has changed to the next: replicas know of a change well within a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Refused requests that are entered in the audit log in one go, and how fast there is room again.
const REFUSALS_MAX: u32 = 60;
const REFUSAL_EVERY: Duration = Duration::from_secs(1);

/// The way to virtual keys, where there are any.
pub(super) struct Keys {
    pub(super) office: Office,
    known: AtomicU64,
    refusals: Mutex<(u32, Instant)>,
    /// Refused requests that there was no room for, and that the audit log does not tell of yet.
    unrecorded: AtomicU64,
}

impl Keys {
    pub(super) fn new(database: &Database, hasher: KeyHasher) -> Self {
        Self {
            office: Office::new(database.clone(), hasher),
            known: AtomicU64::new(0),
            refusals: Mutex::new((REFUSALS_MAX, clock::now())),
            unrecorded: AtomicU64::new(0),
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

    /// Whether one more refused request may be entered in the audit log. One that may not is counted.
    pub(super) fn may_enter_refusal(&self) -> bool {
        let room = self.has_room();
        if !room {
            self.unrecorded.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    /// Enters how many refused requests were not recorded, when there is room again.
    async fn enter_unrecorded(&self) {
        if self.unrecorded.load(Ordering::Relaxed) == 0 || !self.has_room() {
            return;
        }
        let requests = self.unrecorded.swap(0, Ordering::Relaxed);
        if let Err(error) = self.office.unrecorded(requests).await {
            self.unrecorded.fetch_add(requests, Ordering::Relaxed);
            log::debug!("{requests} refused requests are not in the audit log yet: {error}");
        }
    }

    fn has_room(&self) -> bool {
        let mut refusals = self.refusals.lock();
        let (room, since) = &mut *refusals;
        let now = clock::now();
        let regained = now.saturating_duration_since(*since).as_secs() / REFUSAL_EVERY.as_secs();
        if regained > 0 {
            *room = room.saturating_add(regained.min(u64::from(REFUSALS_MAX)) as u32);
            *room = (*room).min(REFUSALS_MAX);
            *since = now;
        }
        let some = *room > 0;
        *room = room.saturating_sub(1);
        some
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
                    keys.enter_unrecorded().await;
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
