//! Budgets that go on after a restart, from what the ledger says was used in their periods before.
//!
//! What is asked of it is as little as the configured budgets need: sums for each beginning of a
//! period, told apart by key and user, by model too where a budget is on some models, and by provider
//! where upstreams have budgets. What a row has used is entered wherever a request like it would have
//! been counted. Where budgets are counted by what an expression names, the records say what it named
//! ([`Applicable::named`]); those of upstreams alone cannot go on, because that depends on the attempt.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use hashbrown::HashMap;

use super::book::Ask;
use super::moment::Moment;
use super::rules::{Applicable, Set, Span, Subject, kept};
use super::scope::Scope;
use super::{Limits, short};

/// By what the amounts used are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// By tenant, team and key.
    ByCaller,
    /// By the same and the model that was asked for.
    ByCallerAndModel,
    /// By provider and the model that was asked for there.
    ByProvider,
    /// By what expressions named, and the user and the model that was asked for.
    ByName,
}

/// What has to be known of a period.
#[derive(Debug)]
pub struct Missing {
    /// When the period began, in seconds of Unix time; `None` for all that was ever used.
    pub begin_s: Option<i64>,
    /// By what it is told apart.
    pub told: Told,
    /// Whether by end user, too.
    pub by_user: bool,
    begin: i64,
    sets: HashMap<Arc<str>, Vec<Arc<Set>>>,
}

/// What somebody has used in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The tenant.
    pub tenant: String,
    /// The team; may be empty.
    pub team: String,
    /// The key.
    pub key: String,
    /// The end user; may be empty.
    pub user: String,
    /// The model; may be empty.
    pub model: String,
    /// The provider.
    pub provider: String,
    /// What expressions named of its requests, as the records have it.
    pub named: String,
    /// Tokens of prompts and answers.
    pub tokens: u64,
    /// What they cost.
    pub cost_nano_usd: u64,
}

/// What has to be known for the budgets among these limits, as they stand at a moment (in seconds of
/// Unix time).
pub fn missing(all: impl Iterator<Item = Applicable>, now_s: i64) -> Vec<Missing> {
    let mut seen = HashSet::new();
    let mut missing: BTreeMap<(i64, Told), Missing> = BTreeMap::new();
    for applicable in all {
        for set in applicable.sets.iter().filter(|set| !(set.is_named() && set.is_upstreams())) {
            if !seen.insert(Arc::as_ptr(set)) {
                continue;
            }
            let told = match (set.is_upstreams(), set.by_model()) {
                _ if set.is_named() => Told::ByName,
                (true, _) => Told::ByProvider,
                (false, true) => Told::ByCallerAndModel,
                (false, false) => Told::ByCaller,
            };
            let mut begins: Vec<i64> = set
                .rules
                .each
                .iter()
                .filter_map(|rule| {
                    let Span::Calendar(period) = rule.kind.span else { return None };
                    Some(period.around(now_s, &set.rules.zone).0)
                })
                .collect();
            begins.sort_unstable();
            begins.dedup();
            for begin in begins {
                let entry = missing.entry((begin, told)).or_insert_with(|| Missing {
                    begin_s: (begin > i64::MIN).then_some(begin),
                    told,
                    by_user: false,
                    begin,
                    sets: HashMap::new(),
                });
                entry.by_user |= set.by_user();
                let by = match told {
                    Told::ByName => set.key().into(),
                    _ => Arc::clone(&set.rules.owner),
                };
                entry.sets.entry(by).or_default().push(Arc::clone(set));
            }
        }
    }
    missing.into_values().collect()
}

impl Limits {
    /// Enters what was used before the process began.
    pub fn open(&self, missing: &Missing, used: &Used) {
        let now = Moment::now();
        let subject = short(&Subject {
            model: Some(used.model.as_str()).filter(|name| !name.is_empty()),
            user: Some(used.user.as_str()).filter(|name| !name.is_empty()),
            request: None,
        });
        let enter = |set: &Set, scope: &Scope| {
            let amount = Ask { requests: 0, tokens: used.tokens, nano_usd: used.cost_nano_usd };
            scope.book.lock().open(&set.rules, now, missing.begin, &amount);
        };
        if missing.told == Told::ByName {
            for (key, name) in kept(&used.named) {
                for set in missing.sets.get(key).into_iter().flatten() {
                    enter(set, &self.scope_of(set, &subject, name, now));
                }
            }
            return;
        }
        let Used { tenant, team, key, provider, .. } = used;
        let owners = match missing.told {
            Told::ByProvider => vec![format!("provider {provider}")],
            _ => vec![
                format!("tenant {tenant}"),
                format!("team {tenant}/{team}"),
                format!("key {tenant}/{key}"),
            ],
        };
        let sets = owners.iter().filter_map(|owner| missing.sets.get(owner.as_str())).flatten();
        for set in sets.filter(|set| set.applies(&subject)) {
            enter(set, &self.scope(set, &subject, now));
        }
    }
}
