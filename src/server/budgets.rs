//! Budgets go on after a restart from what the ledger says.
//!
//! Before requests are served, if the database answers soon and has what an earlier process left in
//! its journal; else as soon as it does. Only what was recorded before this process began is asked
//! for, so that it does not matter when.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{self, Instant};
use crate::database::{Connection, Database, Error};
use crate::ledger::books::Books;
use crate::ledger::spent::{By, Spent, spent};
use crate::limit::{self, Applicable, Limits, Missing, Told, Used};
use crate::plan::Plan;

/// How long the start waits for the database.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How often it looks whether records of an earlier process are in the database.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Until the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What is needed to have budgets go on.
pub(super) struct Budgets {
    limits: Arc<Limits>,
    books: Arc<Books>,
    database: Database,
    began_ms: u64,
}

impl Budgets {
    pub(super) fn new(limits: Arc<Limits>, books: Arc<Books>, database: Database) -> Self {
        Self { limits, books, database, began_ms: clock::unix_ms() }
    }

    /// Has them go on, if that takes no longer than a start may. `None` once they do; otherwise what
    /// is to be tried again, beside the requests.
    pub(super) fn start(self, plan: &Plan) -> Option<Self> {
        let missing = missing(plan);
        if missing.is_empty() {
            return None;
        }
        let give_up = Instant::now() + PATIENCE;
        while !self.books.has_recovered() && Instant::now() < give_up {
            thread::sleep(LOOK_EVERY);
        }
        let (sender, answer) = std::sync::mpsc::channel();
        let work = reading(missing, None);
        let asked = self.books.has_recovered()
            && self
                .database
                .submit(move |connection| {
                    // Late answers are no use: it is asked again.
                    let _ = sender.send(connection.and_then(work));
                })
                .is_ok();
        let left = give_up.saturating_duration_since(Instant::now()).max(LOOK_EVERY);
        match asked.then(|| answer.recv_timeout(left)) {
            Some(Ok(Ok(read))) => {
                self.open(&read);
                None
            }
            failed => {
                let why = match failed {
                    Some(Ok(Err(error))) => error.to_string(),
                    _ => "the database has not answered yet".to_owned(),
                };
                log::error!("budgets begin at nothing until the ledger can be read: {why}");
                Some(self)
            }
        }
    }

    /// Tries until the ledger can be read.
    pub(super) async fn follow(self, plan: Arc<ArcSwap<Plan>>) {
        loop {
            tokio::time::sleep(RETRY_AFTER).await;
            let missing = missing(&plan.load());
            if !self.books.has_recovered() {
                continue;
            }
            match self.database.call(reading(missing, Some(self.began_ms))).await {
                Ok(read) => {
                    self.open(&read);
                    log::info!("budgets go on from what the ledger says");
                    return;
                }
                Err(error) => log::debug!("budgets: the ledger cannot be read: {error}"),
            }
        }
    }

    fn open(&self, read: &[(Missing, Vec<Used>)]) {
        for (missing, rows) in read {
            for used in rows {
                self.limits.open(missing, used);
            }
        }
    }
}

/// Reads everything before anything is entered, so that nothing is entered twice if it fails on the
/// way. At the start there is nothing of this process in the ledger that would have to be left out.
fn reading(
    missing: Vec<Missing>,
    to_ms: Option<u64>,
) -> impl FnOnce(&mut Connection) -> Result<Vec<(Missing, Vec<Used>)>, Error> + Send + 'static {
    move |connection| {
        let mut read = Vec::new();
        for missing in missing {
            let by = match missing.told {
                Told::ByCaller => By::Caller,
                Told::ByCallerAndModel => By::CallerAndModel,
                Told::ByProvider => By::Provider,
                Told::ByName => By::Name,
            };
            let from_ms = missing.begin_s.map(|begin| begin.max(0).cast_unsigned() * 1000);
            let mut rows = Vec::new();
            let each = &mut |row| rows.push(used(row));
            spent(connection, (by, missing.by_user), (from_ms, to_ms), each)?;
            read.push((missing, rows));
        }
        Ok(read)
    }
}

/// What has to be known for the budgets of a plan.
fn missing(plan: &Plan) -> Vec<Missing> {
    let upstreams = plan.upstream_limits.values().cloned();
    let all: Box<dyn Iterator<Item = Applicable>> =
        Box::new(plan.callers.limits().chain(upstreams));
    limit::missing(all, clock::unix_s().cast_signed())
}

fn used(spent: Spent) -> Used {
    let Spent { tenant, team, key, user, model, provider, named, tokens, cost_nano_usd } = spent;
    Used { tenant, team, key, user, model, provider, named, tokens, cost_nano_usd }
}
