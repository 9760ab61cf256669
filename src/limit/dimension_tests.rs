//! What limits are counted by, limits of upstreams, and budgets that go on, against a model that
//! remembers everything.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::dialect::{Dialect, Endpoint};
use crate::expression::{Caller, Query};
use crate::wire::fields::Fields;

const PROJECTS: [Option<&str>; 4] = [None, Some("a"), Some("b"), Some("a\u{1f}b")];
const USERS: [Option<&str>; 3] = [None, Some("ann"), Some("bob")];
const MODELS: [&str; 3] = ["gpt-4o", "gpt-4.1", "claude"];

fn sets(owner: Owner<'_>, yaml: &str) -> Applicable {
    let settings: Vec<Settings> = serde_saphyr::from_str(yaml).expect("settings");
    let sets = Sets::compile(owner, &TimeZone::UTC, &settings).expect("limits");
    sets.with(&Sets::default()).expect("a limit")
}

fn of_tenant(yaml: &str) -> Applicable {
    sets(Owner { kind: "tenant", id: "acme", tenant: "acme" }, yaml)
}

/// Gives a subject with these to `f`.
fn with_subject<R>(
    project: Option<&str>,
    user: Option<&str>,
    model: &str,
    f: impl FnOnce(&Subject<'_>) -> R,
) -> R {
    let headers = Fields::default();
    let label = |project: &str| ("project".to_owned(), project.to_owned());
    let labels: BTreeMap<String, String> = project.map(label).into_iter().collect();
    let labels = labels.into();
    let query = Query {
        model: Some(model),
        endpoint: Endpoint::ChatCompletions,
        dialect: Dialect::OpenAi,
        headers: &headers,
        caller: Some(Caller::of("acme/ci", &labels)),
        user,
        metadata: None,
        stream: false,
        max_tokens: None,
        body_bytes: 2,
        unix_s: 0,
        region: "",
    };
    f(&Subject { model: Some(model), user, request: Some(&query) })
}

/// What stands for a project: several in one text are as none.
fn counted_as(project: Option<&str>) -> &str {
    project.filter(|name| !name.contains('\u{1f}')).unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A request is admitted exactly where every scope that it belongs to has room for it.
    #[test]
    fn each_combination_has_what_the_limit_says(
        requests in prop::collection::vec((0usize..4, 0usize..3, 0usize..3, 1u64..40), 1..100),
    ) {
        let limited = of_tenant(
            "[{ per: [{ cel: request.labels.project }, user], tokens: { day: 100 } },
              { per: [{ cel: 'request.model.startsWith(\"gpt\")' }, model], requests: { day: 9 } },
              { per: [{ cel: request.labels.project }], models: ['gpt-*'], budgets: [{ period: total, tokens: 150 }] }]",
        );
        let limits = Limits::new(Metrics::new());
        let mut by_project: HashMap<(String, usize), u64> = HashMap::new();
        let mut by_model: HashMap<usize, u64> = HashMap::new();
        let mut budgets: HashMap<String, u64> = HashMap::new();
        for (project, user, model, tokens) in requests {
            let estimate = Estimate { tokens, cost_nano_usd: 0 };
            let hold = with_subject(PROJECTS[project], USERS[user], MODELS[model], |subject| {
                limits.reserve(Some(&limited), subject, estimate)
            });
            let name = counted_as(PROJECTS[project]).to_owned();
            let used = by_project.entry((name.clone(), user)).or_default();
            let asked = by_model.entry(model).or_default();
            let budgeted = MODELS[model].starts_with("gpt-");
            let spent = budgets.entry(name).or_default();
            let fits = *used + tokens <= 100 && *asked < 9 && (!budgeted || *spent + tokens <= 150);
            prop_assert_eq!(hold.is_ok(), fits);
            if let Ok(hold) = hold {
                hold.settle(Actual { tokens, cost_nano_usd: 0 });
                *used += tokens;
                *asked += 1;
                *spent += if budgeted { tokens } else { 0 };
            }
        }
    }

    /// An upstream gets no more than its limits, and what did not get there does not count.
    #[test]
    fn an_upstream_gets_what_its_limits_say(
        requests in prop::collection::vec((0usize..3, 1u64..40, 0u8..4), 1..60),
    ) {
        let owner = Owner { kind: "provider", id: "up", tenant: "up" };
        let limited = sets(owner, "[{ requests: { day: 20 }, tokens: { day: 300 } }, { models: [claude], requests: { day: 3 } }]");
        let metrics = Metrics::new();
        let limits = Limits::new(Arc::clone(&metrics));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (mut sent, mut tokens_used, mut of_claude) = (0, 0, 0);
        for (model, tokens, end) in requests {
            let estimate = Estimate { tokens, cost_nano_usd: 0 };
            let subject = Subject { model: Some(MODELS[model]), ..Subject::default() };
            let hold = runtime.block_on(limits.admit_upstream(&limited, &subject, estimate));
            let is_claude = u64::from(MODELS[model] == "claude");
            let fits = sent < 20 && tokens_used + tokens <= 300 && (is_claude == 0 || of_claude < 3);
            prop_assert_eq!(hold.is_ok(), fits);
            let Ok(mut hold) = hold else { continue };
            match end {
                0 => {
                    hold.settle(Actual { tokens: tokens / 2, cost_nano_usd: 0 });
                    tokens_used += tokens / 2;
                }
                // It failed after it was sent.
                1 => drop(hold),
                // A stream that went on beyond what it held, room or not, and gave a part back.
                2 => {
                    hold.charge(50, 0);
                    let (state, most) = (limits.states("provider up", 9), tokens_used + tokens + 50);
                    let counters = state.scopes.iter().flat_map(|scope| &scope.counters);
                    prop_assert!(counters.into_iter().any(|counter| counter.used == most));
                    hold.settle(Actual { tokens: tokens + 40, cost_nano_usd: 0 });
                    tokens_used += tokens + 40;
                }
                _ => {
                    hold.give_back();
                    continue;
                }
            }
            sent += 1;
            of_claude += is_claude;
        }
        prop_assert_eq!(metrics.admitted_in_flight(), 0, "callers' gauges have nothing to do with it");
    }
}

#[test]
fn budgets_are_opened_where_a_request_would_have_counted() {
    let limited = of_tenant(
        "[{ budgets: [{ period: month, tokens: 100 }, { period: total, usd: 1 }], requests: { day: 5 } },
          { per: [user], models: ['gpt-*'], budgets: [{ period: month, tokens: 50, when_spent: warn }] },
          { per: [{ cel: request.user }], budgets: [{ period: month, tokens: 1000 }] }]",
    );
    let now_s = Moment::now().unix_s;
    let missing = missing([limited.clone(), limited.clone()].into_iter(), now_s);
    let asked: Vec<_> =
        missing.iter().map(|one| (one.begin_s.is_some(), one.told, one.by_user)).collect();
    let expected = [
        (false, Told::ByCaller, false),
        (true, Told::ByCaller, false),
        (true, Told::ByCallerAndModel, true),
        (true, Told::ByName, false),
    ];
    assert_eq!(asked, expected, "each once");
    let limits = Limits::new(Metrics::new());
    let used = |model: &str, user: &str, tokens| Used {
        tenant: "acme".into(),
        key: "ci".into(),
        model: model.into(),
        user: user.into(),
        tokens,
        cost_nano_usd: 10 * tokens,
        ..Used::default()
    };
    limits.open(&missing[0], &used("", "", 90));
    limits.open(&missing[1], &used("", "", 60));
    limits.open(&missing[2], &used("gpt-4o", "ann", 50));
    limits.open(&missing[2], &used("claude", "bob", 10));
    let set = limited.sets.iter().find(|set| set.is_named()).expect("a set");
    let named = |key: &str, tokens| {
        let named = format!("{key}ann\u{1e}0123456789abcdefann");
        limits.open(&missing[3], &Used { named, tokens, ..Used::default() });
    };
    named(&set.key(), 70);
    named("fedcba9876543210", 7);
    named("short", 7);
    limits.open(&missing[1], &Used { tenant: "other".into(), tokens: 60, ..Used::default() });
    let states = limits.states("tenant acme", 100);
    let mut amounts: Vec<(String, u64)> = Vec::new();
    for scope in &states.scopes {
        let counters = scope.counters.iter().filter(|counter| counter.used > 0);
        amounts.extend(counters.map(|one| (format!("{}{}", scope.user, one.limit), one.used)));
    }
    amounts.sort();
    let expected = [
        ("anntokens for the month".to_owned(), 50),
        ("dollars in total".to_owned(), 900),
        ("tokens for the month".to_owned(), 60),
        ("tokens for the month".to_owned(), 70),
    ];
    assert_eq!(amounts, expected);
    let admitted = |tokens| {
        let subject = Subject { model: Some("gpt-4o"), user: Some("ann"), request: None };
        let hold = limits.reserve(Some(&limited), &subject, Estimate { tokens, cost_nano_usd: 0 });
        hold.ok().map(|hold| hold.standing().map_or(0, |standing| standing.warnings.len()))
    };
    assert_eq!(admitted(41), None, "60 and 41 are more than 100");
    assert_eq!(admitted(40), Some(1), "Ann's soft budget is used up");
}
