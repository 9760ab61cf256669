use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::*;
use crate::error::Kind;

#[test]
fn live_state_of_unchanged_targets_survives_a_reload() {
    let before = pool("{targets: [{provider: p0, model: m1}, {provider: p1}, {provider: p2}]}");
    let now = clock::now();
    before.targets[1].state.rest(Some(60 * SECOND), now);
    let open = lease(&before, 1, now).expect("one");
    // Another order, weight, strategy; one target gone, one with another model, one new.
    let after = reload(
        "{strategy: least_busy, targets: [{provider: p3}, {provider: p1, weight: 5}, {provider: p0, model: m2}]}",
        &before,
        now,
    );
    assert!(Arc::ptr_eq(&after.targets[1].state, &before.targets[1].state));
    assert!(!Arc::ptr_eq(&after.targets[2].state, &before.targets[0].state));
    assert!(after.targets[1].state.resting_until(now).is_some());
    open.finish_at(Outcome::Success, now);
    assert_eq!((in_flight(&before), in_flight(&after)), (vec![0; 3], vec![0; 3]));
}

#[test]
fn health_is_forgotten_when_checks_are_taken_away() {
    let before = pool("{targets: [{provider: p0}], health: {unhealthy_after: 1}}");
    let now = clock::now();
    before.record_check(0, Err("refused".into()), now);
    assert!(!before.usable(now));
    assert!(reload("{targets: [{provider: p0}]}", &before, now).usable(now));
}

#[test]
fn targets_without_a_usable_key_are_left_out() {
    let settings: Settings =
        serde_saphyr::from_str("targets: [{provider: absent}, {provider: p1}]").expect("settings");
    let mut providers = providers();
    let optional = "{dialect: openai, base_url: 'http://h', \
        keys: [{env: WEIR_TEST_NO_SUCH_VARIABLE, optional: true}]}";
    let absent = serde_saphyr::from_str(optional).expect("settings");
    let absent =
        Provider::compile("absent", &absent, Catalogue::builtin(), None, None).expect("compiles");
    providers.insert("absent".into(), absent);
    let environment = Environment {
        providers: &providers,
        pool_index: &|_| None,
        price: &|_, _| None,
        previous: None,
        now: clock::now(),
    };
    let pool = Pool::compile("chat", &settings, &environment).expect("compiles");
    assert_eq!(pool.targets.iter().map(|target| &*target.id).collect::<Vec<_>>(), ["p1"]);
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let mistakes = compile(
        "{targets: [{provider: p0}, {provider: p0}, {provider: nobody}, {provider: p1, max_concurrent: 0}], \
          timeouts: {connect: 0}, retry: {attempts: 0}, \
          breaker: {error_percent: 101, half_open: 0, close_after: 0, cooldown: 2m}, \
          health: {kind: http, interval: 0, unhealthy_after: 0}, \
          hedge: {quantile: 1.5}, fallback: [chat, other, nowhere, other]}",
        None,
        clock::now(),
    )
    .expect_err("mistakes");
    let paths: Vec<&str> = mistakes.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "pools.chat.timeouts.connect",
            "pools.chat.retry.attempts",
            "pools.chat.breaker.error_percent",
            "pools.chat.breaker.half_open",
            "pools.chat.breaker.close_after",
            "pools.chat.breaker.cooldown_max",
            "pools.chat.health.interval",
            "pools.chat.health.unhealthy_after",
            "pools.chat.health.path",
            "pools.chat.hedge.quantile",
            "pools.chat.fallback[0]",
            "pools.chat.fallback[2]",
            "pools.chat.fallback[3]",
            "pools.chat.targets[1]",
            "pools.chat.targets[2].provider",
            "pools.chat.targets[3].max_concurrent",
        ]
    );
    assert!(compile("{targets: []}", None, clock::now()).is_err());
    assert_eq!(pool("{targets: [{provider: p0}], fallback: [other]}").fallback, [7]);
}

#[test]
fn the_snapshot_shows_what_an_operator_asks_for() {
    let pool = pool("{targets: [{provider: p0, model: m1, max_concurrent: 4}]}");
    let now = clock::now();
    let open = lease(&pool, 0, now).expect("one");
    open.first_token(Duration::from_millis(120), now);
    let snapshot = serde_json::to_value(pool.snapshot(now)).expect("JSON");
    assert_eq!(snapshot["name"], "chat");
    assert_eq!(snapshot["strategy"], "weighted");
    let target = &snapshot["targets"][0];
    assert_eq!(target["id"], "p0/m1");
    assert_eq!(target["in_flight"], 1);
    assert_eq!(target["max_concurrent"], 4);
    assert_eq!(target["breaker"], "closed");
    assert_eq!(target["ttft_ms"], 120.0);
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u64),
    End(usize, Outcome),
    Drop(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        Just(Outcome::Success),
        Just(Outcome::Failure(Kind::UpstreamStatus)),
        Just(Outcome::Failure(Kind::UpstreamRejected)),
        Just(Outcome::RateLimited { retry_after: None }),
        Just(Outcome::RateLimited { retry_after: Some(SECOND) }),
        Just(Outcome::Cancelled),
    ];
    let step = prop_oneof![
        any::<u64>().prop_map(Step::Begin),
        any::<u64>().prop_map(Step::Begin),
        (0usize..16, outcome).prop_map(|(which, outcome)| Step::End(which, outcome)),
        (0usize..16).prop_map(Step::Drop),
        (0u64..3000).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn requests_under_way_stay_under_their_cap_and_return_to_zero(steps in steps()) {
        let pool = pool(
            "{strategy: least_busy, targets: [{provider: p0, max_concurrent: 2}, \
              {provider: p1, max_concurrent: 3}, {provider: p2, priority: 1}], \
              breaker: {consecutive_failures: 2, cooldown: 1s, half_open: 2}}",
        );
        let mut now = clock::now();
        let mut open: Vec<Lease> = Vec::new();
        for step in steps {
            match step {
                Step::Begin(seed) => open.extend(lease(&pool, seed, now)),
                Step::End(which, outcome) if !open.is_empty() => {
                    open.swap_remove(which % open.len()).finish_at(outcome, now);
                }
                Step::Drop(which) if !open.is_empty() => {
                    drop(open.swap_remove(which % open.len()));
                }
                Step::End(..) | Step::Drop(..) => {}
                Step::Wait(ms) => now += Duration::from_millis(ms),
            }
            let busy = in_flight(&pool);
            prop_assert!(busy[0] <= 2 && busy[1] <= 3, "{:?}", busy);
            let held = (0..3).map(|at| open.iter().filter(|lease| lease.index() == at).count());
            prop_assert!(held.eq(busy.iter().map(|busy| *busy as usize)));
        }
        open.clear();
        prop_assert_eq!(in_flight(&pool), [0, 0, 0]);
        // Whatever happened, it comes back: no probe's place is lost.
        now += 120 * SECOND;
        prop_assert!(pool.usable(now));
        prop_assert!(lease(&pool, 1, now).is_some());
    }
}
