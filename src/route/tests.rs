//! Tests of a table as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::config::Labels;
use crate::dialect::{Dialect, Endpoint, LossPolicy};
use crate::expression::{Caller, Query};
use crate::wire::fields::Fields;

/// Pools are named by a letter: `a` is 0. `z` has no target, others do not exist.
fn pool(name: &str) -> PoolRef {
    match name.as_bytes() {
        [letter @ b'a'..=b'y'] => PoolRef::Index(usize::from(letter - b'a')),
        b"z" => PoolRef::Empty,
        _ => PoolRef::Unknown,
    }
}

fn compile(yaml: &str) -> Result<Table, Vec<(String, String)>> {
    let settings: Vec<Settings> = serde_saphyr::from_str(yaml).expect("settings");
    Table::compile(&settings, &pool)
}

fn table(yaml: &str) -> Table {
    compile(yaml).expect("compiles")
}

#[derive(Clone, Debug, Default)]
struct Asked {
    model: Option<String>,
    headers: Fields,
    labels: Labels,
    caller: Option<String>,
    user: Option<String>,
}

impl Asked {
    fn model(model: &str) -> Self {
        Self { model: Some(model.into()), ..Self::default() }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value);
        self
    }

    fn label(self, name: &str, value: &str) -> Self {
        let mut labels = BTreeMap::from(self.labels);
        labels.insert(name.into(), value.into());
        Self { labels: labels.into(), ..self }
    }

    fn caller(mut self, id: &str) -> Self {
        self.caller = Some(id.into());
        self
    }

    fn query(&self) -> Query<'_> {
        Query {
            model: self.model.as_deref(),
            endpoint: Endpoint::ChatCompletions,
            dialect: Dialect::OpenAi,
            headers: &self.headers,
            caller: Some(Caller::of(self.caller.as_deref().unwrap_or("acme/ci"), &self.labels)),
            user: self.user.as_deref(),
            metadata: None,
            stream: false,
            max_tokens: None,
            body_bytes: 2,
            unix_s: 0,
            region: "",
        }
    }
}

fn pool_for(table: &Table, asked: &Asked) -> Option<usize> {
    table.select(&asked.query()).map(|selected| selected.pool)
}

#[test]
fn the_first_match_wins_whatever_it_matches_by() {
    let table = table(
        "
        - { match: { model: gpt-4o, headers: { x-tier: gold } }, pool: a }
        - { match: { model: 'gpt-*', labels: { team: research } }, pool: b }
        - { match: { model: '/^gpt-4/' }, pool: c }
        - { match: { labels: { team: research } }, pool: d }
        - { match: { headers: { x-tier: gold } }, pool: e }
        - { match: { model: [gpt-4o, 'claude-*'] }, pool: f }
        - { match: { when: 'request.body_bytes == 2' }, pool: g }
        - { pool: h }
        ",
    );
    let gold = |asked: Asked| asked.header("x-tier", "gold");
    let research = |asked: Asked| asked.label("team", "research");
    for (asked, expected) in [
        (gold(Asked::model("gpt-4o")), 0),
        (research(gold(Asked::model("gpt-4o"))), 0),
        (research(Asked::model("gpt-4o")), 1),
        (Asked::model("gpt-4o"), 2),
        (Asked::model("gpt-3.5"), 6),
        (research(Asked::model("claude-3")), 3),
        (gold(Asked::model("claude-3")), 4),
        (Asked::model("claude-3"), 5),
        (Asked::default(), 6),
    ] {
        assert_eq!(pool_for(&table, &asked), Some(expected), "{asked:?}");
    }
    assert_eq!(table.models(), [Arc::from("gpt-4o")]);
}

#[test]
fn any_value_of_a_repeated_header_counts() {
    let table = table("[{ match: { headers: { x-tier: gold, x-zone: 'eu-*' } }, pool: a }]");
    let asked = Asked::model("m").header("x-tier", "lead").header("x-tier", "gold");
    assert_eq!(pool_for(&table, &asked), None);
    assert_eq!(pool_for(&table, &asked.header("x-zone", "eu-1")), Some(0));
}

#[test]
fn endpoints_select_by_name_and_pattern() {
    let table = table(
        "
        - { match: { endpoint: [embeddings, 'audio'] }, pool: a }
        - { match: { endpoint: '*converse*' }, pool: b }
        ",
    );
    let asked = Asked::default();
    let at =
        |endpoint| table.select(&Query { endpoint, ..asked.query() }).map(|selected| selected.pool);
    assert_eq!(at(Endpoint::Embeddings), Some(0));
    assert_eq!(at(Endpoint::Audio), Some(0));
    assert_eq!(at(Endpoint::ConverseStream), Some(1));
    assert_eq!(at(Endpoint::ChatCompletions), None);
}

#[test]
fn an_alias_replaces_the_model() {
    let table = table("[{ name: fast, match: { model: fast }, pool: a, model: gpt-4o-mini }]");
    let selected = table.select(&Asked::model("fast").query()).expect("a match");
    assert_eq!(&*selected.route, "fast");
    assert_eq!(selected.model.as_deref(), Some("gpt-4o-mini"));
}

#[test]
fn routes_to_a_pool_without_targets_are_skipped() {
    let table = table(
        "
        - { match: { model: one }, pool: z }
        - { match: { model: two }, split: [{ pool: z, weight: 9 }, { pool: b, weight: 1 }] }
        - { pool: c }
        ",
    );
    assert_eq!(pool_for(&table, &Asked::model("one")), Some(2));
    assert_eq!(pool_for(&table, &Asked::model("two")), Some(1));
    assert_eq!(table.models(), [Arc::from("two")]);
}

const SPLIT: &str =
    "[{ split: [{ pool: a, weight: 95 }, { pool: b, weight: 5 }], sticky: STICKY }]";

#[test]
fn a_split_follows_its_weights() {
    let table = table(&SPLIT.replace("STICKY", "false"));
    let mut rng = SmallRng::seed_from_u64(7);
    let asked = Asked::default();
    let to_b = (0..20_000)
        .filter(|_| table.select_with(&asked.query(), &mut rng).is_some_and(|to| to.pool == 1))
        .count();
    assert!((850..1150).contains(&to_b), "{to_b}");
}

#[test]
fn a_sticky_split_keeps_each_caller_and_moves_few_when_weights_change() {
    let before = table(&SPLIT.replace("STICKY", "true"));
    let after = table(&SPLIT.replace("STICKY", "true").replace("95", "90").replace("5 }", "10 }"));
    let (mut canary, mut moved) = (0, 0);
    for number in 0..10_000 {
        let asked = Asked::default().caller(&format!("acme/key-{number}"));
        let (old, again) = (pool_for(&before, &asked), pool_for(&before, &asked));
        assert_eq!(old, again);
        canary += usize::from(old == Some(1));
        let new = pool_for(&after, &asked);
        assert!(old == new || (old, new) == (Some(0), Some(1)), "moved back");
        moved += usize::from(old != new);
    }
    assert!((400..600).contains(&canary), "{canary}");
    assert!((350..650).contains(&moved), "{moved}");
}

#[test]
fn expressions_that_fail_are_counted_and_do_not_match() {
    let table = table("[{ match: { when: '1 / (request.body_bytes - 2) == 1' }, pool: a }]");
    assert_eq!(pool_for(&table, &Asked::default()), None);
    assert_eq!(table.expression_failures(), 1);
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let mistakes = compile(
        "
        - { name: x, pool: a }
        - { name: x, pool: nowhere }
        - { }
        - { pool: a, split: [{ pool: a, weight: 1 }] }
        - { split: [{ pool: a, weight: 0 }, { pool: nowhere, weight: 1 }] }
        - { split: [{ pool: a, weight: 0 }] }
        - { match: { model: ['gpt-*', '/(/'] }, pool: a }
        - { match: { model: [] }, pool: a }
        - { match: { endpoint: chat }, pool: a }
        - { match: { headers: { 'bad name': x, x-ok: '' } }, pool: a }
        - { match: { labels: { team: '/[/' } }, pool: a }
        - { match: { when: 'request.modle == 1' }, pool: a }
        - { pool: a, sticky: true }
        - { pool: a, model: '' }
        ",
    )
    .expect_err("mistakes");
    let paths: Vec<&str> = mistakes.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "routes[1].name",
            "routes[1].pool",
            "routes[2]",
            "routes[3]",
            "routes[4].split[1].pool",
            "routes[5].split",
            "routes[6].match.model[1]",
            "routes[7].match.model",
            "routes[8].match.endpoint",
            "routes[9].match.headers.bad name",
            "routes[9].match.headers.x-ok",
            "routes[10].match.labels.team",
            "routes[11].match.when",
            "routes[12].sticky",
            "routes[13].model",
        ]
    );
}

fn model_pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{1,3}",
        "[ab]{1,2}\\*",
        "\\*[ab]{1,2}",
        "[ab]\\?[ab]?",
        "/\\^[ab]{1,2}/",
        Just("*".to_owned()),
    ]
}

fn demands(names: &'static [&'static str]) -> impl Strategy<Value = BTreeMap<String, String>> {
    let value = prop_oneof!["[xy]", "[xy]\\*", Just("*".to_owned())];
    proptest::collection::btree_map(proptest::sample::select(names), value, 0..2)
        .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn any_route() -> impl Strategy<Value = Settings> {
    let models = proptest::collection::vec(model_pattern(), 0..3);
    (models, demands(&["h1", "h2"]), demands(&["l1", "l2"])).prop_map(
        |(models, headers, labels)| Settings {
            name: None,
            matches: MatchSettings {
                model: (!models.is_empty()).then_some(Pattern::Any(models)),
                endpoint: None,
                headers,
                labels,
                when: None,
            },
            pool: Some("a".into()),
            split: Vec::new(),
            sticky: false,
            model: None,
            loss: LossPolicy::default(),
        },
    )
}

fn any_request() -> impl Strategy<Value = Asked> {
    let values = || proptest::option::of("[xy]{1,2}");
    (proptest::option::of("[ab]{1,4}"), values(), values(), values(), values()).prop_map(
        |(model, h1, h2, l1, l2)| {
            let mut asked = Asked { model, ..Asked::default() };
            for (name, value) in [("h1", h1), ("h2", h2)] {
                if let Some(value) = value {
                    asked = asked.header(name, &value);
                }
            }
            for (name, value) in [("l1", l1), ("l2", l2)] {
                if let Some(value) = value {
                    asked = asked.label(name, &value);
                }
            }
            asked
        },
    )
}

proptest! {
    /// The index only saves time: looking at every route in turn gives the same.
    #[test]
    fn the_index_agrees_with_reading_from_top_to_bottom(
        routes in proptest::collection::vec(any_route(), 0..24),
        requests in proptest::collection::vec(any_request(), 1..8),
    ) {
        let table = Table::compile(&routes, &pool).expect("compiles");
        for asked in requests {
            let plain = table.rules.iter().find(|rule| rule.matches_plainly(&asked.query()));
            let selected = table.select(&asked.query());
            prop_assert_eq!(
                selected.map(|selected| selected.route),
                plain.map(|rule| Arc::clone(&rule.name))
            );
        }
    }
}
