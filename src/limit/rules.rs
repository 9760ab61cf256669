//! From settings to rules.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;
use smallvec::SmallVec;

use super::calendar::Period;
use super::scope::{Scope, ScopeId};
use super::settings::{BudgetSettings, Dimension, Rates, Settings, WhenSpent};
use crate::config::NamePattern;
use crate::expression::{Expression, Query};
use crate::hash;

/// The largest budget in dollars: its billionths still fit a counter.
const DOLLARS_MAX: f64 = 1e9;
const NANOS_PER_DOLLAR: f64 = 1e9;
/// Most expressions that a set is counted by.
const NAMED_MAX: usize = 4;
/// Stands between what several expressions name.
pub(super) const SEPARATOR: char = '\u{1f}';

/// Stands between what the expressions of several sets name, in the ledger.
const BETWEEN: char = '\u{1e}';
/// The most that is kept of what expressions name of one request.
pub const NAMED_BYTES_MAX: usize = 1024;
/// Hex digits of a set's key.
const KEY_DIGITS: usize = 16;

/// What the next rules are told from others by.
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Requests,
    Tokens,
    NanoUsd,
}

/// Over which time it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// The last while, at any moment.
    Last(Length),
    /// A period of the calendar.
    Calendar(Period),
}

/// How long a while is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Second,
    Minute,
    Hour,
    Day,
}

/// What a counter counts: a scope has at most one of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) unit: Unit,
    pub(super) span: Span,
}

/// The most of a kind.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    pub(super) most: u64,
    pub(super) when_spent: WhenSpent,
}

/// What the rules of one kind come to. Small and without a pointer: this is what every request reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) kind: Kind,
    most: u64,
    warn_at: u64,
}

/// Stands for no bound. A limit that is as high as a counter goes is none.
const UNBOUND: u64 = u64::MAX;

/// The rules of one set of limits. What every request reads stands first, as in [`Set`].
#[derive(Debug)]
#[repr(C)]
pub(super) struct Rules {
    /// Tells these from all others of the process.
    pub(super) serial: u64,
    /// The most requests at a time.
    pub(super) concurrent: Option<u32>,
    /// One of them refuses what does not fit of tokens or money.
    binds_use: bool,
    /// What they are about, for messages: `key acme/ci`.
    pub(super) owner: Arc<str>,
    /// The tenant, for metrics.
    pub(super) tenant: Arc<str>,
    pub(super) zone: TimeZone,
    /// Those of one kind stand together.
    pub(super) each: Box<[Rule]>,
    /// The same by kind, in their order.
    pub(super) by_kind: SmallVec<[Bounds; 2]>,
}

/// A set of limits, and to which requests it applies. What every request reads stands first, behind the
/// counts of references: of a hundred thousand sets few are in a cache, and each line of one that is
/// not costs as much as all else that is done with it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Set {
    /// Its scope, where it has only one; else the one of those beyond the bound on scopes.
    pub(super) own: OnceLock<Arc<Scope>>,
    /// One scope stands for all requests.
    one: bool,
    /// It applies whatever the model is.
    any_model: bool,
    pub(super) rules: Rules,
    /// What tells the set from others, also after a reload.
    pub(super) id: Arc<str>,
    per_user: bool,
    per_model: bool,
    /// What else it is counted by.
    per_named: Box<[Expression]>,
    models: Vec<NamePattern>,
}

/// What of a request decides which scopes it belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// The model that the client named.
    pub model: Option<&'a str>,
    /// The end user that it named.
    pub user: Option<&'a str>,
    /// The request, for what expressions name.
    pub request: Option<&'a Query<'a>>,
}

/// All sets of limits that a caller is under: its tenant's, its team's and its own; or an upstream's.
#[derive(Clone, Debug)]
pub struct Applicable {
    /// In place for the most: every request of the caller reads them.
    pub(super) sets: SmallVec<[Arc<Set>; 2]>,
    counts_cost: bool,
    diverts: bool,
    /// A budget is counted by what an expression names.
    names: bool,
}

/// Whose limits are compiled.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// `tenant`, `team`, `key` or `provider`.
    pub kind: &'static str,
    /// `acme`, or `acme/ci` of a team or key.
    pub id: &'a str,
    /// The tenant's name; a provider's own.
    pub tenant: &'a str,
}

/// The sets of one owner. Each error comes with the path of the setting that caused it, from the
/// owner's own on.
#[derive(Clone, Debug, Default)]
pub struct Sets(Vec<Arc<Set>>);

impl Sets {
    /// Compiles what an owner has.
    pub fn compile(
        owner: Owner<'_>,
        zone: &TimeZone,
        settings: &[Settings],
    ) -> Result<Self, Vec<(String, String)>> {
        let mut sets: Vec<Arc<Set>> = Vec::new();
        let mut errors = Vec::new();
        for (at, settings) in settings.iter().enumerate() {
            match Set::compile(owner, zone, settings) {
                Ok(set) if sets.iter().any(|other| other.id == set.id) => errors.push((
                    format!(".limits[{at}]"),
                    "an earlier item has the same `per` and `models`: write both as one".into(),
                )),
                Ok(set) => sets.push(Arc::new(set)),
                Err((path, error)) => errors.push((format!(".limits[{at}]{path}"), error)),
            }
        }
        if errors.is_empty() { Ok(Self(sets)) } else { Err(errors) }
    }

    /// Both, as one owner's.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Both together; `None` where there is no limit at all.
    pub fn with(&self, other: &Self) -> Option<Applicable> {
        let sets: SmallVec<[Arc<Set>; 2]> = self.0.iter().chain(&other.0).cloned().collect();
        let costs = |rule: &Rule| rule.kind.unit == Unit::NanoUsd;
        let counts_cost = sets.iter().any(|set| set.rules.each.iter().any(costs));
        let diverts = sets.iter().any(|set| set.rules.divert());
        let names = sets.iter().any(|set| set.names_budgets());
        (!sets.is_empty()).then_some(Applicable { sets, counts_cost, diverts, names })
    }
}

impl Applicable {
    /// Whether a budget that is used up leads requests to another pool.
    pub fn diverts(&self) -> bool {
        self.diverts
    }

    /// What expressions name of a request where budgets are counted by it, as the ledger keeps it: each
    /// behind the key of its set. `None` where nothing is.
    pub fn named(&self, subject: &Subject<'_>) -> Option<Box<str>> {
        if !self.names {
            return None;
        }
        let mut all = String::new();
        for set in self.sets.iter().filter(|set| set.names_budgets() && set.applies(subject)) {
            let name = set.named(subject);
            let fits = all.len() + KEY_DIGITS + name.len() < NAMED_BYTES_MAX;
            if !fits || name.contains(['\0', BETWEEN]) {
                continue;
            }
            if !all.is_empty() {
                all.push(BETWEEN);
            }
            all.push_str(&set.key());
            all.push_str(&name);
        }
        (!all.is_empty()).then(|| all.into())
    }

    /// Whether one of the limits refuses what does not fit of tokens or money.
    pub fn binds_use(&self) -> bool {
        self.sets.iter().any(|set| set.rules.binds_use())
    }

    /// Whether any of the limits is on money, so that an estimate has to have a price.
    pub fn counts_cost(&self) -> bool {
        self.counts_cost
    }
}

impl Unit {
    /// The word for operators.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Unit::Requests => "requests",
            Unit::Tokens => "tokens",
            Unit::NanoUsd => "nano_usd",
        }
    }
}

impl Rule {
    pub(super) fn refuses(&self) -> bool {
        self.when_spent == WhenSpent::Refuse
    }

    /// The pool that requests go to once it is used up.
    pub(super) fn pool(&self) -> Option<&str> {
        match &self.when_spent {
            WhenSpent::Use(pool) => Some(pool),
            WhenSpent::Refuse | WhenSpent::Warn => None,
        }
    }
}

impl Length {
    pub(super) const fn ns(self) -> u64 {
        const S: u64 = 1_000_000_000;
        match self {
            Length::Second => S,
            Length::Minute => 60 * S,
            Length::Hour => 3600 * S,
            Length::Day => 86_400 * S,
        }
    }
}

impl Bounds {
    fn of(kind: Kind, rules: &[Rule]) -> Self {
        let least = |refuses| {
            let rules = rules.iter().filter(|rule| rule.kind == kind);
            let most = rules.filter(|rule| rule.refuses() == refuses).map(|rule| rule.most).min();
            most.unwrap_or(UNBOUND)
        };
        Self { kind, most: least(true), warn_at: least(false) }
    }

    /// The least at which a rule refuses.
    pub(super) fn most(&self) -> Option<u64> {
        (self.most != UNBOUND).then_some(self.most)
    }

    /// The least at which one warns.
    pub(super) fn warn_at(&self) -> Option<u64> {
        (self.warn_at != UNBOUND).then_some(self.warn_at)
    }
}

impl Rules {
    /// Whether requests go to another pool once a budget is used up.
    pub(super) fn divert(&self) -> bool {
        self.each.iter().any(|rule| rule.pool().is_some())
    }

    /// The least at which a rule of this kind refuses.
    pub(super) fn most(&self, kind: Kind) -> Option<u64> {
        self.by_kind.iter().find(|bounds| bounds.kind == kind).and_then(Bounds::most)
    }

    /// Whether one of them refuses what does not fit of tokens or money.
    pub(super) fn binds_use(&self) -> bool {
        self.binds_use
    }
}

type FieldError = (String, String);

impl Deref for Set {
    type Target = Rules;

    fn deref(&self) -> &Rules {
        &self.rules
    }
}

impl Set {
    fn compile(owner: Owner<'_>, zone: &TimeZone, settings: &Settings) -> Result<Self, FieldError> {
        let mut each = Vec::new();
        rates(Unit::Requests, &settings.requests, &mut each);
        rates(Unit::Tokens, &settings.tokens, &mut each);
        for (at, settings) in settings.budgets.iter().enumerate() {
            let rule = budget(settings).map_err(|error| (format!(".budgets[{at}]"), error))?;
            let kind = |other: &Rule| other.kind == rule.kind;
            let end = each.iter().rposition(kind).map_or(each.len(), |at| at + 1);
            each.insert(end, rule);
        }
        if each.is_empty() && settings.concurrent.is_none() {
            return Err((
                String::new(),
                "it limits nothing: give `requests`, `tokens`, `concurrent` or `budgets`".into(),
            ));
        }
        let pattern = |(at, pattern): (usize, &String)| {
            NamePattern::compile(pattern).map_err(|error| (format!(".models[{at}]"), error))
        };
        let models: Vec<NamePattern> =
            settings.models.iter().enumerate().map(pattern).collect::<Result<_, _>>()?;
        let mut per = settings.per.clone();
        per.sort_unstable();
        per.dedup();
        let per_named = named(&per)?;
        let mut by_kind: SmallVec<[Bounds; 2]> = SmallVec::new();
        for rule in &each {
            if by_kind.last().is_none_or(|last| last.kind != rule.kind) {
                by_kind.push(Bounds::of(rule.kind, &each));
            }
        }
        let binds = |bounds: &Bounds| bounds.kind.unit != Unit::Requests && bounds.most().is_some();
        let rules = Rules {
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
            concurrent: settings.concurrent,
            binds_use: by_kind.iter().any(binds),
            owner: format!("{} {}", owner.kind, owner.id).into(),
            tenant: owner.tenant.into(),
            zone: zone.clone(),
            each: each.into(),
            by_kind,
        };
        Ok(Self {
            own: OnceLock::new(),
            one: per.is_empty(),
            any_model: models.is_empty(),
            id: format!("{} {per:?} {:?}", rules.owner, settings.models).into(),
            rules,
            per_user: per.contains(&Dimension::User),
            per_model: per.contains(&Dimension::Model),
            per_named,
            models,
        })
    }

    /// Whether the request is under these limits.
    pub(super) fn applies(&self, subject: &Subject<'_>) -> bool {
        let matches = |model| self.models.iter().any(|pattern| pattern.matches(model));
        self.any_model || subject.model.is_some_and(matches)
    }

    /// Whether these limits are an upstream's.
    pub(super) fn is_upstreams(&self) -> bool {
        self.rules.owner.starts_with("provider ")
    }

    /// Whether it matters which model a request names.
    pub(super) fn by_model(&self) -> bool {
        self.per_model || !self.any_model
    }

    /// Whether each user is counted separately.
    pub(super) fn by_user(&self) -> bool {
        self.per_user
    }

    /// Whether it is counted by what an expression names.
    pub(super) fn is_named(&self) -> bool {
        !self.per_named.is_empty()
    }

    /// Whether a budget is counted by what an expression names, so that the ledger has to know it.
    pub(super) fn names_budgets(&self) -> bool {
        let calendar = |bounds: &Bounds| matches!(bounds.kind.span, Span::Calendar(_));
        self.is_named() && self.rules.by_kind.iter().any(calendar)
    }

    /// What stands for the set in the ledger. The same after a restart, as long as the set is.
    pub(super) fn key(&self) -> String {
        format!("{:0KEY_DIGITS$x}", hash::stable(&[self.id.as_bytes()]))
    }

    /// Whether one scope stands for all requests.
    pub(super) fn is_one(&self) -> bool {
        self.one
    }

    /// What its expressions make of the request, one after the other.
    pub(super) fn named(&self, subject: &Subject<'_>) -> String {
        let mut all = String::new();
        for (at, expression) in self.per_named.iter().enumerate() {
            if at > 0 {
                all.push(SEPARATOR);
            }
            let name = subject.request.map(|request| expression.named(request));
            // What would look like several is none.
            all.push_str(&name.filter(|name| !name.contains(SEPARATOR)).unwrap_or_default());
        }
        all
    }

    /// The scope that the request belongs to.
    pub(super) fn scope_id<'a>(&'a self, subject: &Subject<'a>, named: &'a str) -> ScopeId<'a> {
        ScopeId {
            set: &self.id,
            named,
            user: subject.user.filter(|_| self.per_user).unwrap_or_default(),
            model: subject.model.filter(|_| self.per_model).unwrap_or_default(),
        }
    }
}

/// The keys of sets and what their expressions named of a request, of what the ledger has kept.
pub(super) fn kept(named: &str) -> impl Iterator<Item = (&str, &str)> {
    named.split(BETWEEN).filter_map(|one| one.split_at_checked(KEY_DIGITS))
}

/// The expressions among what a set is counted by.
fn named(per: &[Dimension]) -> Result<Box<[Expression]>, FieldError> {
    let sources = per.iter().filter_map(|dimension| match dimension {
        Dimension::Named(named) => Some(&named.cel),
        Dimension::User | Dimension::Model => None,
    });
    let compile = |source: &String| {
        Expression::name(source)
            .map_err(|error| (".per".to_owned(), format!("`{source}`: {error}")))
    };
    let expressions: Box<[_]> = sources.map(compile).collect::<Result<_, _>>()?;
    if expressions.len() > NAMED_MAX {
        return Err((".per".into(), format!("more than {NAMED_MAX} expressions")));
    }
    Ok(expressions)
}

fn rates(unit: Unit, rates: &Rates, into: &mut Vec<Rule>) {
    let each = [
        (Length::Second, rates.second),
        (Length::Minute, rates.minute),
        (Length::Hour, rates.hour),
        (Length::Day, rates.day),
    ];
    for (length, most) in each {
        let Some(most) = most else { continue };
        let kind = Kind { unit, span: Span::Last(length) };
        into.push(Rule { kind, most, when_spent: WhenSpent::Refuse });
    }
}

fn budget(settings: &BudgetSettings) -> Result<Rule, String> {
    let (unit, most) = match (settings.usd, settings.tokens) {
        (Some(usd), None) if (0.0..=DOLLARS_MAX).contains(&usd) => {
            (Unit::NanoUsd, (usd * NANOS_PER_DOLLAR).round() as u64)
        }
        (Some(usd), None) => {
            return Err(format!("`usd: {usd}` is not a budget: write from 0 to {DOLLARS_MAX}"));
        }
        (None, Some(tokens)) => (Unit::Tokens, tokens),
        _ => return Err("a budget has exactly one of `usd` and `tokens`".into()),
    };
    let kind = Kind { unit, span: Span::Calendar(settings.period) };
    Ok(Rule { kind, most, when_spent: settings.when_spent.clone() })
}

impl Kind {
    /// The label in metrics.
    pub(super) const fn label(self) -> &'static str {
        match (self.unit, self.span) {
            (Unit::Requests, Span::Last(..)) => "requests",
            (Unit::Tokens, Span::Last(..)) => "tokens",
            (Unit::Tokens, Span::Calendar(_)) => "token_budget",
            (_, Span::Calendar(_)) => "budget",
            (Unit::NanoUsd, Span::Last(..)) => "cost",
        }
    }

    /// The words in messages: `tokens in a minute`, `dollars for the month`.
    pub(super) fn words(self) -> String {
        let unit = match self.unit {
            Unit::Requests => "requests",
            Unit::Tokens => "tokens",
            Unit::NanoUsd => "dollars",
        };
        match self.span {
            Span::Last(Length::Second) => format!("{unit} in a second"),
            Span::Last(Length::Minute) => format!("{unit} in a minute"),
            Span::Last(Length::Hour) => format!("{unit} in an hour"),
            Span::Last(Length::Day) => format!("{unit} in 24 hours"),
            Span::Calendar(Period::Total) => format!("{unit} in total"),
            Span::Calendar(period) => format!("{unit} for the {}", period.as_str()),
        }
    }
}
