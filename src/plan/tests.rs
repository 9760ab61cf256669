//! Compiling and reloading.

use std::sync::Arc;

use super::{Environment, Plan, Source, compile};
use crate::config::{Diagnostic, Position};

const FILE: &str = r#"
listeners: [{ address: "127.0.0.1:0" }]
access: open
providers:
  here: { dialect: openai, base_url: "http://127.0.0.1:1/v1" }
  there:
    dialect: openai
    base_url: https://example.com/v1
    keys: [{ env: WEIR_TEST_NO_SUCH_VARIABLE, optional: true }]
  sim: { dialect: anthropic, simulated: {} }
pools:
  main: { targets: [{ provider: here, model: small }, { provider: here, model: large }] }
  away: { targets: [{ provider: there, model: far }] }
  covered: { targets: [{ provider: there }], fallback: [sim] }
  sim: { targets: [{ provider: sim }] }
routes:
  - { match: { model: far }, pool: away }
  - { name: split, match: { model: [alias, "s*"] }, split: [{ pool: away, weight: 9 }, { pool: main, weight: 1 }] }
  - { match: { model: x }, split: [{ pool: away, weight: 1 }, { pool: main, weight: 0 }] }
  - { match: { model: y }, pool: covered }
  - { pool: sim }
"#;

fn plan(text: &str, previous: Option<&Plan>) -> Result<Plan, Vec<Diagnostic>> {
    compile(&Source::parse("test.yaml", text)?, &Environment::default(), previous)
}

fn valid(text: &str, previous: Option<&Plan>) -> Plan {
    plan(text, previous).unwrap_or_else(|found| panic!("{}", crate::config::render(&found)))
}

#[test]
fn routes_without_a_usable_target_are_left_out_and_say_why() {
    let plan = valid(FILE, None);
    let skipped: Vec<(&str, &str)> =
        plan.skipped.iter().map(|one| (&*one.route, one.reason.as_str())).collect();
    let reason = "no credential (WEIR_TEST_NO_SUCH_VARIABLE)";
    assert_eq!(skipped, [("route-0", reason), ("route-2", reason)]);
    assert_eq!(plan.routes.len(), 3);
    assert!(plan.pool("away").is_some_and(|pool| pool.targets.is_empty()));
}

#[test]
fn models_are_those_that_the_file_spells_out() {
    let plan = valid(FILE, None);
    let models: Vec<&str> = plan.models.iter().map(|model| &**model).collect();
    assert_eq!(models, ["alias", "small", "y"]);
}

#[test]
fn a_reload_keeps_the_state_of_targets_that_did_not_change() {
    let first = valid(FILE, None);
    let second = valid(&FILE.replace("model: large", "model: larger"), Some(&first));
    assert_eq!((first.version, second.version), (1, 2));
    let states = |plan: &Plan| -> Vec<_> {
        let pool = plan.pool("main").expect("the pool");
        pool.targets.iter().map(|target| Arc::clone(&target.state)).collect()
    };
    let (before, after) = (states(&first), states(&second));
    assert!(Arc::ptr_eq(&before[0], &after[0]), "`small` did not change");
    assert!(!Arc::ptr_eq(&before[1], &after[1]), "`larger` is a new target");
}

#[test]
fn a_reload_with_errors_reports_all_of_them_and_yields_nothing() {
    let first = valid(FILE, None);
    let text = FILE
        .replace("model: small }", "model: small, weight: 0 }")
        .replace("model: large }", "model: large, weight: 0 }")
        .replace("http://127.0.0.1:1/v1", "127.0.0.1:1")
        .replace("pool: covered }", "pool: coverd }");
    let found = plan(&text, Some(&first)).expect_err("three errors");
    let lines: Vec<u32> = found.iter().map(|diagnostic| diagnostic.at.line).collect();
    assert_eq!(lines, [5, 12, 20], "{}", crate::config::render(&found));
}

#[test]
fn diagnostics_are_data_too() {
    let found = plan("listeners: 1\n", None).expect_err("wrong");
    let json = serde_json::to_value(&found[0]).expect("serialises");
    assert_eq!(json["file"], "test.yaml");
    assert!(json["line"].is_u64() && json["column"].is_u64() && json["message"].is_string());
}

#[test]
fn places_are_found_through_keys_with_dots_and_beyond_what_there_is() {
    let source = Source::parse(
        "test.yaml",
        &FILE.replace("access: open", "access: open\nprices: { gpt-4.1: { input: 1, output: 2 } }"),
    )
    .expect("valid");
    assert_eq!(source.at("prices.gpt-4.1.output"), Position::new(4, 40));
    assert_eq!(source.at("prices.gpt-4.1"), Position::new(4, 11));
    assert_eq!(source.at("prices.gpt-4.1.nothing.here[3]"), Position::new(4, 11));
    assert_eq!(source.at("access"), Position::new(3, 9));
    assert_eq!(source.key_at("access"), Position::new(3, 1));
    assert_eq!(source.at("nowhere"), Position::new(1, 1));
}
