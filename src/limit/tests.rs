//! Reservations against a model that remembers everything, and under every order of threads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use smallvec::smallvec;

use super::rules::{Kind, Rules, Set, Span, Unit};
use super::scope::{Claim, Lock};
use super::*;
use crate::error;

const S: u64 = 1_000_000_000;
/// 22 November 2026, noon.
const NOON_S: i64 = 1_795_348_800;

fn at(ns: u64) -> Moment {
    Moment { ns, unix_s: NOON_S + (ns / S).cast_signed() }
}

fn sets(kind: &'static str, id: &str, yaml: &str) -> Sets {
    let settings: Vec<Settings> = serde_saphyr::from_str(yaml).expect("settings");
    Sets::compile(Owner { kind, id, tenant: "acme" }, &TimeZone::UTC, &settings).expect("limits")
}

fn applicable(yaml: &str) -> Applicable {
    sets("key", "acme/ci", yaml).with(&Sets::default()).expect("a limit")
}

fn limits() -> Limits {
    Limits::new(Metrics::new())
}

fn tokens(tokens: u64) -> Estimate {
    Estimate { tokens, cost_nano_usd: 0 }
}

fn rules(yaml: &str) -> Arc<Set> {
    Arc::clone(&applicable(yaml).sets[0])
}

/// What one admitted request did in a scope, as the model remembers it.
#[derive(Clone, Debug)]
struct Event {
    at: Moment,
    tokens: u64,
    requests: u64,
    open: bool,
}

/// A reservation, the tokens it holds, and its events: scope and place.
type Open = (Reservation, u64, Vec<(usize, usize)>);

#[derive(Clone, Debug)]
enum Step {
    /// Waits, then asks for tokens in the scopes of these bits.
    Ask { after_ms: u64, scopes: u8, tokens: u64 },
    /// The request that was admitted last asks for more.
    Extend { after_ms: u64, tokens: u64 },
    /// Ends the request that has been open for longest: settled with this share of what it held, in
    /// percent, or dropped.
    End { used: Option<u64> },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u64..8_000, 1u8..8, 0u64..60).prop_map(|(after_ms, scopes, tokens)| Step::Ask { after_ms, scopes, tokens }),
        2 => (0u64..4_000, 1u64..30).prop_map(|(after_ms, tokens)| Step::Extend { after_ms, tokens }),
        2 => prop::option::of(0u64..=100).prop_map(|used| Step::End { used }),
    ]
}

const MODEL_RULES: [&str; 3] = [
    "[{ requests: { minute: 9 }, tokens: { second: 80, minute: 200 } }]",
    "[{ concurrent: 3, tokens: { minute: 150 } }]",
    "[{ tokens: { hour: 1000 }, budgets: [{ period: day, tokens: 900 }] }]",
];

/// What the model finds in a scope: within exactly the window, or with one slot more.
fn used(events: &[Event], kind: Kind, now: Moment, slots_more: u64) -> u64 {
    let amount = |event: &Event| match kind.unit {
        Unit::Requests => event.requests,
        _ => event.tokens,
    };
    let counts = |event: &&Event| match kind.span {
        Span::Last(length) => {
            let length = length.ns();
            event.at.ns + length + slots_more * length / 128 > now.ns
        }
        Span::Calendar(_) => event.at.unix_s / 86_400 == now.unix_s / 86_400,
    };
    events.iter().filter(counts).map(amount).sum()
}

/// Whether a request fits by the model.
fn fits(rules: &Rules, events: &[Event], asked: u64, now: Moment, slots_more: u64) -> bool {
    let open = events.iter().filter(|event| event.open).count() as u64;
    let slot_free = rules.concurrent.is_none_or(|most| open < most.into());
    slot_free
        && rules.each.iter().all(|rule| {
            let asked = if rule.kind.unit == Unit::Requests { 1 } else { asked };
            let used = used(events, rule.kind, now, slots_more);
            used + asked <= rule.most && used < rule.most
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Admitted is only what fits by exact windows in every scope; refused only what does not fit
    /// with a slot's tolerance; and nothing that was refused leaves a trace.
    #[test]
    fn reservations_are_what_a_model_allows(steps in prop::collection::vec(step(), 1..120)) {
        let rules = MODEL_RULES.map(rules);
        let scopes: [Arc<Scope>; 3] = std::array::from_fn(|_| Arc::default());
        let mut model: [Vec<Event>; 3] = Default::default();
        let mut open: Vec<Open> = Vec::new();
        let mut now = at(0);
        for step in steps {
            match step {
                Step::Ask { after_ms, scopes: bits, tokens } => {
                    now = at(now.ns + after_ms * 1_000_000);
                    let chosen: Vec<usize> = (0..3).filter(|n| bits & (1 << n) != 0).collect();
                    let claims = chosen.iter().map(|n| Claim::of(Arc::clone(&scopes[*n]), &rules[*n]));
                    let ask = Ask { requests: 1, tokens, nano_usd: 0 };
                    let all_fit = |slots| chosen.iter().all(|n| fits(&rules[*n], &model[*n], tokens, now, slots));
                    match Reservation::new(claims.collect(), ask, now, |_, _| ()) {
                        Ok(reservation) => {
                            prop_assert!(all_fit(0), "over a limit");
                            let mut places = Vec::new();
                            for n in chosen {
                                places.push((n, model[n].len()));
                                model[n].push(Event { at: now, tokens, requests: 1, open: true });
                            }
                            open.push((reservation, tokens, places));
                        }
                        Err(refused) => {
                            prop_assert!(!all_fit(1), "refused what fits");
                            if let Some(wait) = refused.full.wait_ns {
                                // True: by then this rule has room.
                                let kind = refused.full.kind.expect("a rule");
                                let then = at(now.ns + wait);
                                let n = chosen.into_iter().find(|n| Arc::ptr_eq(&rules[*n], &refused.rules)).expect("the scope");
                                let asked = if kind.unit == Unit::Requests { 1 } else { tokens };
                                prop_assert!(used(&model[n], kind, then, 0) + asked <= refused.full.most);
                            }
                        }
                    }
                }
                Step::Extend { after_ms, tokens } if !open.is_empty() => {
                    now = at(now.ns + after_ms * 1_000_000);
                    let (reservation, held, places) = open.last_mut().expect("one is open");
                    let more = Ask { requests: 0, tokens, nano_usd: 0 };
                    let all_fit = |slots| places.iter().all(|(n, _)| {
                        let tokens_fit = |rule: &rules::Rule| rule.kind.unit == Unit::Requests
                            || used(&model[*n], rule.kind, now, slots) + tokens <= rule.most;
                        rules[*n].each.iter().all(tokens_fit)
                    });
                    if reservation.extend(more, now).is_ok() {
                        prop_assert!(all_fit(0), "an extension over a limit");
                        *held += tokens;
                        // Each scope that the request is in, once.
                        let scopes: std::collections::BTreeSet<usize> =
                            places.iter().map(|(n, _)| *n).collect();
                        for n in scopes {
                            places.push((n, model[n].len()));
                            model[n].push(Event { at: now, tokens, requests: 0, open: false });
                        }
                    } else {
                        prop_assert!(!all_fit(1), "an extension that fits was refused");
                    }
                }
                Step::End { used } if !open.is_empty() => {
                    let (reservation, held, places) = open.remove(0);
                    let spent = used.map(|percent| held * percent / 100);
                    match spent {
                        Some(tokens) => reservation.settle(Ask { requests: 1, tokens, nano_usd: 0 }, now),
                        None => drop(reservation),
                    }
                    // What was held first was used first, in each scope.
                    let mut left = [spent.unwrap_or(0); 3];
                    for (n, place) in places {
                        let event = &mut model[n][place];
                        event.open = false;
                        event.tokens = event.tokens.min(left[n]);
                        left[n] -= event.tokens;
                        event.requests = event.requests.min(u64::from(spent.is_some()));
                    }
                }
                Step::Extend { .. } | Step::End { .. } => {}
            }
        }
        drop(open);
        for scope in &scopes {
            prop_assert_eq!(scope.book.lock().in_flight(), 0);
        }
    }

    /// Whatever requests hold and however they end, nothing stays in flight.
    #[test]
    fn gauges_always_return_to_zero(
        requests in prop::collection::vec((any::<u64>(), 0u8..3, any::<u64>()), 0..20),
        limited in any::<bool>(),
    ) {
        let metrics = Metrics::new();
        let limits = Limits::new(Arc::clone(&metrics));
        let sets = limited.then(|| applicable("[{ concurrent: 4, budgets: [{ period: total, tokens: 5, when_spent: warn }] }]"));
        for (tokens, end, used) in requests {
            let run = || {
                let estimate = Estimate { tokens, cost_nano_usd: tokens };
                let hold = limits.reserve(sets.as_ref(), &Subject::default(), estimate).expect("admitted");
                assert_eq!(metrics.admitted_in_flight(), 1);
                match end {
                    0 => hold.settle(Actual { tokens: used, cost_nano_usd: 1 }),
                    1 => drop(hold),
                    // Without the panic hook's message, which would flood the test's output.
                    _ => std::panic::resume_unwind(Box::new("a defect")),
                }
            };
            let _ = catch_unwind(AssertUnwindSafe(run));
            prop_assert_eq!(metrics.admitted_in_flight(), 0);
            prop_assert_eq!(metrics.tokens_in_flight(), 0);
            prop_assert_eq!(metrics.cost_in_flight(), 0);
        }
    }
}

impl Lock for shuttle::sync::Mutex<Book> {
    type Guard<'a> = shuttle::sync::MutexGuard<'a, Book>;

    fn lock(&self) -> Self::Guard<'_> {
        shuttle::sync::Mutex::lock(self).expect("no thread panics with a book in its hands")
    }
}

type Explored = shuttle::sync::Mutex<Book>;

/// Runs it in the orders that a scheduler chooses.
fn explore(scheduler: impl Scheduler + 'static, run: impl Fn() + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    // What is not optimised needs more than the 32 KiB that a thread gets otherwise.
    config.stack_size = 512 << 10;
    shuttle::Runner::new(scheduler, config).run(run);
}

/// Three threads, each in two of three scopes with one slot each: at most one thread is in a scope at
/// a time, no order of theirs waits for ever, and in the end everything is given back.
fn threads_in_overlapping_scopes() {
    let rules = rules("[{ concurrent: 1, tokens: { minute: 100 } }]");
    let scope = || {
        Arc::new(Scope::<Explored> {
            book: shuttle::sync::Mutex::new(Book::default()),
            name: "".into(),
        })
    };
    let scopes = [scope(), scope(), scope()];
    let inside: Arc<[shuttle::sync::atomic::AtomicU32; 3]> = Arc::default();
    let threads: Vec<_> = (0..3usize)
        .map(|n| {
            let (rules, inside) = (Arc::clone(&rules), Arc::clone(&inside));
            let mine = [n, (n + 1) % 3];
            let claimed = mine.map(|n| Arc::clone(&scopes[n]));
            shuttle::thread::spawn(move || {
                use shuttle::sync::atomic::Ordering::SeqCst;
                let claims: Claims<Explored> =
                    claimed.into_iter().map(|scope| Claim::of(scope, &rules)).collect();
                let ask = Ask { requests: 1, tokens: 60, nano_usd: 0 };
                let Ok(held) = Reservation::new(claims, ask, at(0), |_, _| ()) else { return 0 };
                for n in mine {
                    assert_eq!(inside[n].fetch_add(1, SeqCst), 0, "two at a time");
                }
                shuttle::thread::yield_now();
                for n in mine {
                    inside[n].fetch_sub(1, SeqCst);
                }
                if n == 0 {
                    drop(held);
                    0
                } else {
                    held.settle(Ask { tokens: 30, ..ask }, at(0));
                    30
                }
            })
        })
        .collect();
    let used: Vec<u64> =
        threads.into_iter().map(|thread| thread.join().expect("it ends")).collect();
    let kind = rules.each[0].kind;
    for (n, scope) in scopes.iter().enumerate() {
        let book = scope.book.lock().expect("no thread is left");
        // Scope n is that of thread n and of the one before it.
        assert_eq!(book.used(kind), used[n] + used[(n + 2) % 3]);
        assert_eq!(book.in_flight(), 0);
    }
}

#[test]
fn every_order_of_threads_holds_the_limit() {
    explore(RandomScheduler::new(2_000), threads_in_overlapping_scopes);
    explore(PctScheduler::new(3, 2_000), threads_in_overlapping_scopes);
}

/// A budget that two threads want more of than there is: one of them gets it, in every order.
#[test]
fn in_every_order_the_last_of_a_budget_goes_to_one() {
    let run = || {
        let rules = rules("[{ budgets: [{ period: total, tokens: 100 }] }]");
        let scope = Arc::new(Scope::<Explored> {
            book: shuttle::sync::Mutex::new(Book::default()),
            name: "".into(),
        });
        let ask = Ask { requests: 1, tokens: 60, nano_usd: 0 };
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let claim: Claim<Explored> = Claim::of(Arc::clone(&scope), &rules);
                shuttle::thread::spawn(move || {
                    let held = Reservation::new(smallvec![claim], ask, at(0), |_, _| ());
                    held.map(|held| held.settle(ask, at(0))).is_ok()
                })
            })
            .collect();
        let admitted = threads.into_iter().map(shuttle::thread::JoinHandle::join);
        assert_eq!(admitted.filter(|admitted| matches!(admitted, Ok(true))).count(), 1);
        assert_eq!(scope.book.lock().expect("free").used(rules.each[0].kind), 60);
    };
    explore(DfsScheduler::new(None, false), run);
}

/// Two streams that hold more as they go on: together they never hold more than there is, and both
/// give back what they did not use.
#[test]
fn in_every_order_extensions_stay_within_a_budget() {
    let run = || {
        let rules = rules("[{ budgets: [{ period: total, tokens: 100 }] }]");
        let book = shuttle::sync::Mutex::new(Book::default());
        let scope = Arc::new(Scope::<Explored> { book, name: "".into() });
        let threads: Vec<_> = (0..2u64)
            .map(|_| {
                let claim: Claim<Explored> = Claim::of(Arc::clone(&scope), &rules);
                shuttle::thread::spawn(move || {
                    let ask = Ask { requests: 1, tokens: 40, nano_usd: 0 };
                    let Ok(mut held) = Reservation::new(smallvec![claim], ask, at(0), |_, _| ())
                    else {
                        return 0;
                    };
                    let more = Ask { requests: 0, tokens: 30, nano_usd: 0 };
                    let used = if held.extend(more, at(1)).is_ok() { 55 } else { 40 };
                    held.settle(Ask { tokens: used, ..ask }, at(2));
                    used
                })
            })
            .collect();
        let used: u64 = threads.into_iter().map(|thread| thread.join().expect("it ends")).sum();
        // One is refused, or both are admitted and one of them at most has more.
        assert!(matches!(used, 55 | 80 | 95), "{used}");
        let book = scope.book.lock().expect("free");
        assert_eq!((book.used(rules.each[0].kind), book.in_flight()), (used, 0));
    };
    explore(DfsScheduler::new(None, false), run);
}

#[test]
fn a_hold_is_visible_while_it_lasts() {
    let metrics = Metrics::new();
    let limits = Limits::new(Arc::clone(&metrics));
    let free = Subject::default();
    let first = limits.reserve(None, &free, tokens(100)).expect("admitted");
    let second = limits.reserve(None, &free, tokens(10)).expect("admitted");
    assert_eq!((metrics.admitted_in_flight(), metrics.tokens_in_flight()), (2, 110));
    assert!(first.standing().is_none());
    first.settle(Actual { tokens: 120, cost_nano_usd: 0 });
    drop(second);
    assert_eq!((metrics.admitted_in_flight(), metrics.tokens_in_flight()), (0, 0));
}

#[test]
fn a_tenants_limit_is_shared_and_a_keys_is_its_own() {
    let limits = limits();
    let tenant = sets("tenant", "acme", "[{ requests: { hour: 3 } }]");
    let key = |id| sets("key", id, "[{ requests: { hour: 2 } }]");
    let one = tenant.with(&key("acme/one")).expect("limits");
    let two = tenant.with(&key("acme/two")).expect("limits");
    let ask = |limited: &Applicable| {
        let asked = limits.reserve(Some(limited), &Subject::default(), tokens(1));
        asked.map(|hold| hold.settle(Actual::default()))
    };
    assert!(ask(&one).is_ok() && ask(&one).is_ok());
    let refusal = ask(&one).expect_err("the key's limit");
    assert_eq!(refusal.error.kind, error::Kind::RateLimited);
    assert_eq!(refusal.error.public, "Rate limit reached for key acme/one: 2 requests in an hour.");
    assert!(ask(&two).is_ok());
    let refusal = ask(&two).expect_err("the tenant's limit");
    assert_eq!(refusal.error.public, "Rate limit reached for tenant acme: 3 requests in an hour.");
    let wait = refusal.error.retry_after.expect("it says when").as_secs();
    assert!((3600 - 2..=3600 + 30).contains(&wait), "{wait} s");
}

#[test]
fn counters_go_on_after_a_reload_with_other_rules() {
    let limits = limits();
    let ask = |yaml: &str| {
        let asked = limits.reserve(Some(&applicable(yaml)), &Subject::default(), tokens(40));
        asked.map(|hold| hold.settle(Actual { tokens: 40, cost_nano_usd: 0 })).is_ok()
    };
    assert!(ask("[{ tokens: { hour: 100 } }]"));
    assert!(ask("[{ tokens: { hour: 100 } }]"));
    assert!(!ask("[{ tokens: { hour: 100 } }]"));
    assert!(ask("[{ tokens: { hour: 120 }, concurrent: 9 }]"));
    assert!(!ask("[{ tokens: { hour: 120 } }]"));
}

#[test]
fn users_and_models_are_counted_apart_where_the_limit_says_so() {
    let limits = limits();
    let limited = applicable("[{ per: [model, user], models: ['gpt-*'], requests: { day: 1 } }]");
    let ask = |model, user| {
        let asked = limits.reserve(
            Some(&limited),
            &Subject { model: Some(model), user, request: None },
            tokens(1),
        );
        asked.map(|hold| hold.settle(Actual::default())).is_ok()
    };
    assert!(ask("gpt-4o", Some("ann")) && !ask("gpt-4o", Some("ann")));
    assert!(ask("gpt-4o", Some("bob")) && ask("gpt-4.1", Some("ann")));
    assert!(ask("gpt-4o", None) && !ask("gpt-4o", None));
    assert!(ask("claude", Some("ann")) && ask("claude", Some("ann")), "the limit is on others");
}

#[test]
fn a_hard_budget_refuses_and_a_soft_one_warns() {
    let metrics = Metrics::new();
    let limits = Limits::new(Arc::clone(&metrics));
    let limited = applicable(
        "[{ budgets: [{ period: month, usd: 0.05, when_spent: warn }, { period: month, usd: 0.10 }] }]",
    );
    assert!(limited.counts_cost());
    let ask = |cost_nano_usd| {
        let estimate = Estimate { tokens: 0, cost_nano_usd };
        limits.enter(&limited, &Subject::default(), estimate, at(0))
    };
    let settle = |limited: Box<Limited>, nano_usd| {
        limited.reservation.settle(Ask { requests: 1, tokens: 0, nano_usd }, at(0));
    };
    let Ok(first) = ask(60_000_000) else { panic!("admitted") };
    assert_eq!(first.standing.warnings.len(), 1);
    assert_eq!(first.standing.warnings[0].text, "key acme/ci: dollars for the month used up");
    settle(first, 30_000_000);
    let Ok(second) = ask(10_000_000) else { panic!("admitted") };
    assert!(second.standing.warnings.is_empty());
    let Err(refusal) = ask(60_000_001) else { panic!("refused") };
    assert_eq!(refusal.error.kind, error::Kind::BudgetSpent);
    assert_eq!(
        refusal.error.public,
        "The budget of key acme/ci is used up: 0.10 dollars for the month."
    );
    // From noon of the 22nd to the end of the 30th.
    assert_eq!(refusal.error.retry_after.expect("when").as_secs(), 8 * 86_400 + 43_200);
    // An answer that costs more than was held is charged all the same; what comes after it waits.
    settle(second, 90_000_000);
    assert!(ask(0).is_err());
}

#[test]
fn what_can_never_fit_has_no_time_to_come_back_at() {
    let limited = applicable("[{ tokens: { minute: 100 }, concurrent: 1 }]");
    let limits = limits();
    let refusal = limits.reserve(Some(&limited), &Subject::default(), tokens(101)).err();
    let refusal = refusal.expect("refused");
    assert_eq!(refusal.error.retry_after, None);
    let left = refusal.standing.tokens.expect("a limit on tokens");
    assert_eq!((left.limit, left.remaining, left.reset_ns), (100, 100, 0));
    let hold = limits.reserve(Some(&limited), &Subject::default(), tokens(40)).expect("fits");
    let left = hold.standing().and_then(|standing| standing.tokens).expect("a limit on tokens");
    assert_eq!((left.limit, left.remaining), (100, 60));
    assert!(left.reset_ns >= 60 * S && left.reset_ns <= 60 * S + 60 * S / 128);
    let full = limits.reserve(Some(&limited), &Subject::default(), tokens(1)).err();
    assert_eq!(full.expect("one at a time").error.retry_after, None);
}

#[test]
fn idle_scopes_are_forgotten_and_used_ones_are_not() {
    let registry = Registry::new(64 * 16, false);
    let set: Arc<str> = "key acme/ci".into();
    let rules = rules("[{ requests: { minute: 5 } }]");
    let found = |user: &str, now| match registry
        .scope(&scope::ScopeId { set: &set, user, model: "", named: "" }, now)
    {
        Found::Known(scope) | Found::New { scope, .. } => Some(scope),
        Found::NoRoom => None,
    };
    let ask = Ask { requests: 1, tokens: 0, nano_usd: 0 };
    for n in 0..10_000 {
        if let Some(scope) = found(&n.to_string(), at(0)) {
            let held = Reservation::new(smallvec![Claim::of(scope, &rules)], ask, at(0), |_, _| ());
            held.map_err(|_| "refused").expect("admitted").settle(ask, at(0));
        }
    }
    assert_eq!(registry.len(), 64 * 16, "full, and nothing of it can be forgotten");
    assert!(found("one more", at(30 * S)).is_none());
    let busy = found("0", at(61 * S)).expect("it is known");
    let held = Reservation::new(smallvec![Claim::of(busy, &rules)], ask, at(61 * S), |_, _| ());
    for n in 0..20_000 {
        assert!(found(&format!("later {n}"), at(61 * S)).is_some(), "room was made");
        assert!(registry.len() <= 64 * 16);
    }
    drop(held);
    let again = found("0", at(61 * S)).expect("it was in use");
    assert_eq!(again.book.lock().used(rules.each[0].kind), 0, "given back");
}

#[test]
fn what_finds_no_room_is_counted_together() {
    let metrics = Metrics::new();
    let registry = Registry::new(1, false);
    let limits = Limits { registry, ..Limits::new(Arc::clone(&metrics)) };
    let limited = applicable("[{ per: [user], requests: { hour: 2 } }]");
    let admitted = (0..2_000).filter(|n| {
        let user = format!("user {n}");
        let subject = Subject { user: Some(&user), ..Subject::default() };
        limits
            .reserve(Some(&limited), &subject, tokens(0))
            .map(|hold| hold.settle(Actual::default()))
            .is_ok()
    });
    // One user for each shard has a scope of its own; all the others share two requests.
    assert_eq!(admitted.count(), 64 + 2);
}

#[test]
fn mistakes_are_named_with_their_place() {
    let yaml = "[{}, { per: [user], concurrent: 1 }, { per: [user, user], concurrent: 2 }, \
                { models: ['/(/'], concurrent: 1 }, { budgets: [{ period: day }] }]";
    let settings: Vec<Settings> = serde_saphyr::from_str(yaml).expect("settings");
    let owner = Owner { kind: "key", id: "acme/ci", tenant: "acme" };
    let found = Sets::compile(owner, &TimeZone::UTC, &settings).expect_err("mistakes");
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [".limits[0]", ".limits[2]", ".limits[3].models[0]", ".limits[4].budgets[0]"]
    );
}
