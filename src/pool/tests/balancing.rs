use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn with(strategy: &str, targets: &str) -> Pool {
    pool(&format!("{{strategy: {strategy}, targets: [{targets}]}}"))
}

#[test]
fn weights_are_shares() {
    let targets = "{provider: p0, weight: 1}, {provider: p1, weight: 3}, {provider: p2, weight: 6}";
    let now = clock::now();
    for strategy in ["weighted", "round_robin", "hash"] {
        let shares = shares(&with(strategy, targets), 20_000, now);
        for (share, weight) in shares.iter().zip([1.0, 3.0, 6.0]) {
            assert!(near(*share, weight * 2000.0, 0.1), "{strategy}: {shares:?}");
        }
    }
}

#[test]
fn weight_zero_takes_nothing() {
    let pool = with("weighted", "{provider: p0, weight: 0}, {provider: p1}");
    assert_eq!(shares(&pool, 100, clock::now()), [0, 100]);
    let only = with("weighted", "{provider: p0, weight: 0}");
    assert!(!only.usable(clock::now()));
}

#[test]
fn round_robin_with_equal_weights_is_strict() {
    let pool = with("round_robin", "{provider: p0}, {provider: p1}, {provider: p2}");
    let now = clock::now();
    let order: Vec<usize> =
        (0..9).map(|seed| lease(&pool, seed, now).expect("a target").index()).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

#[test]
fn one_that_was_away_does_not_catch_up_in_round_robin() {
    let pool = with("round_robin", "{provider: p0}, {provider: p1}");
    let now = clock::now();
    pool.targets[1].state.rest(Some(SECOND), now);
    assert_eq!(shares(&pool, 1000, now), [1000, 0]);
    let back = shares(&pool, 100, now + 2 * SECOND);
    assert!((49..=52).contains(&back[1]), "{back:?}");
}

#[test]
fn least_busy_evens_out_requests_under_way_by_weight() {
    let pool = with("least_busy", "{provider: p0}, {provider: p1}, {provider: p2, weight: 2}");
    let now = clock::now();
    let leases: Vec<Lease> = (0..400).map(|seed| lease(&pool, seed, now).expect("one")).collect();
    let busy = in_flight(&pool);
    assert!((90..=110).contains(&busy[0]) && (90..=110).contains(&busy[1]), "{busy:?}");
    assert!((185..=215).contains(&busy[2]), "{busy:?}");
    drop(leases);
    assert_eq!(in_flight(&pool), [0, 0, 0]);
}

#[test]
fn least_latency_explores_what_it_does_not_know_and_then_prefers_the_fastest() {
    let pool = with("least_latency", "{provider: p0}, {provider: p1}, {provider: p2}");
    let mut now = clock::now();
    // Cold: each unknown target gets one request at a time.
    let first: Vec<Lease> = (0..3).map(|seed| lease(&pool, seed, now).expect("one")).collect();
    let mut order: Vec<usize> = first.iter().map(Lease::index).collect();
    order.sort_unstable();
    assert_eq!(order, [0, 1, 2]);
    for lease in first {
        let ttft = [300 * MS, 100 * MS, 500 * MS][lease.index()];
        lease.first_token(ttft, now);
        lease.finish_at(Outcome::Success, now);
    }
    assert_eq!(shares(&pool, 200, now), [0, 200, 0]);
    // The fast one becomes slow; within seconds the next best takes over.
    for _ in 0..30 {
        now += SECOND / 4;
        let lease = lease(&pool, 1, now).expect("one");
        let ttft = [300 * MS, 2000 * MS, 500 * MS][lease.index()];
        lease.first_token(ttft, now);
        lease.finish_at(Outcome::Success, now);
    }
    assert_eq!(shares(&pool, 200, now), [200, 0, 0]);
}

#[test]
fn a_target_that_was_slow_once_is_tried_again_when_its_value_has_faded() {
    let pool = with("least_latency", "{provider: p0}, {provider: p1}");
    let start = clock::now();
    for (target, ttft) in [(0, 100 * MS), (1, 800 * MS)] {
        pool.targets[target].state.ttft.record(ttft, start);
    }
    let mut tried_after = None;
    for second in 0..300 {
        let now = start + SECOND * second;
        let lease = lease(&pool, 3, now).expect("one");
        if lease.index() == 1 {
            tried_after = Some(second);
            break;
        }
        lease.first_token(100 * MS, now);
        lease.finish_at(Outcome::Success, now);
    }
    assert!(tried_after.is_some_and(|second| (30..200).contains(&second)), "{tried_after:?}");
}

#[test]
fn least_cost_takes_the_cheapest_and_shares_among_equals() {
    let pool = with(
        "least_cost",
        "{provider: p0, model: m9}, {provider: p1, model: m2}, {provider: p2, model: m2}, {provider: p3}",
    );
    let now = clock::now();
    let shares = shares(&pool, 1000, now);
    assert_eq!((shares[0], shares[3]), (0, 0));
    assert!(near(shares[1], 500.0, 0.2), "{shares:?}");
    // Without the cheap ones the next dearer takes over; what has no price comes last.
    let mut pick = Pick::seeded(None, 1);
    pick.tried.extend([1, 2]);
    assert_eq!(pool.try_select(&mut pick, now).expect("one").index(), 0);
    assert_eq!(pool.try_select(&mut pick, now).expect("one").index(), 3);
}

#[test]
fn a_hash_keeps_requests_together_and_moves_only_what_must_move() {
    let now = clock::now();
    let owner = |pool: &Pool, key: u64, seed: u64| {
        let hash = crate::hash::stable(&[&key.to_le_bytes()]);
        pool.try_select(&mut Pick::seeded(Some(hash), seed), now).expect("one").target().id.clone()
    };
    let three = with("hash", "{provider: p0}, {provider: p1}, {provider: p2}");
    let four = with("hash", "{provider: p3}, {provider: p0}, {provider: p1}, {provider: p2}");
    let mut moved = 0;
    for key in 0..2000 {
        let before = owner(&three, key, 1);
        assert_eq!(before, owner(&three, key, 2), "not kept together");
        let after = owner(&four, key, 1);
        if before != after {
            assert_eq!(&*after, "p3");
            moved += 1;
        }
    }
    assert!((300..700).contains(&moved), "{moved}");
    // While one is away its keys go elsewhere, the others stay; then they come back.
    three.targets[0].state.rest(Some(SECOND), now);
    for key in 0..500 {
        assert_ne!(&*owner(&three, key, 1), "p0");
    }
}

#[test]
fn a_later_priority_is_used_when_none_is_ready_before_it() {
    let pool = pool(
        "targets: [{provider: p0, max_concurrent: 1}, {provider: p1, priority: 1}, {provider: p2, priority: 2}]",
    );
    let now = clock::now();
    assert_eq!(shares(&pool, 10, now), [10, 0, 0]);
    let first = lease(&pool, 1, now).expect("one");
    assert_eq!(first.index(), 0);
    assert_eq!(lease(&pool, 2, now).expect("one").index(), 1, "full, so the next priority");
    let mut pick = Pick::seeded(None, 1);
    pick.tried.extend([0, 1]);
    assert_eq!(pool.try_select(&mut pick, now).expect("one").index(), 2);
    assert!(pool.try_select(&mut pick, now).is_none());
    assert_eq!(pick.tried.as_slice(), [0, 1, 2]);
}

#[test]
fn slow_start_gives_a_returning_target_its_share_little_by_little() {
    for strategy in ["weighted", "round_robin", "hash"] {
        let start = clock::now();
        let yaml =
            |targets| format!("{{strategy: {strategy}, slow_start: 100s, targets: [{targets}]}}");
        let before = compile(&yaml("{provider: p0}"), None, start).expect("compiles");
        assert!(before.targets[0].warmth(start) >= 1.0, "at the start all are equal");
        let pool = reload(&yaml("{provider: p0}, {provider: p1}"), &before, start);
        for (after_s, share) in [(0, 0.1 / 1.1), (50, 0.5 / 1.5), (100, 0.5), (1000, 0.5)] {
            let now = start + SECOND * after_s;
            let mut to_new = 0;
            for key in 0..4000u64 {
                let hash = crate::hash::stable(&[&key.to_le_bytes()]);
                let lease = pool.try_select(&mut Pick::seeded(Some(hash), key), now).expect("one");
                to_new += lease.index() as u64;
                lease.finish_at(Outcome::Success, now);
            }
            // A hash passes on each key of the new target with the same chance, so its share is
            // that of its keys.
            let share = if strategy == "hash" { 0.5 * pool.targets[1].warmth(now) } else { share };
            assert!(near(to_new, share * 4000.0, 0.25), "{strategy} {after_s}s: {to_new}");
        }
    }
}

proptest! {
    /// Whatever the strategy, weights and what is away: a choice is among those that are ready,
    /// of the first priority that has one.
    #[test]
    fn a_choice_is_always_a_ready_target_of_the_first_priority(
        strategy in proptest::sample::select(
            &["weighted", "round_robin", "least_busy", "least_latency", "least_cost", "hash"][..]
        ),
        targets in proptest::collection::vec((0u32..4, 0u32..3, any::<bool>(), any::<bool>()), 1..8),
        seed: u64,
    ) {
        let written: Vec<String> = targets
            .iter()
            .enumerate()
            .map(|(at, (weight, priority, ..))| {
                format!("{{provider: p{at}, weight: {weight}, priority: {priority}}}")
            })
            .collect();
        let pool = with(strategy, &written.join(", "));
        let now = clock::now();
        for (at, (_, _, resting, _)) in targets.iter().enumerate() {
            if *resting {
                pool.targets[at].state.rest(Some(SECOND), now);
            }
        }
        let mut pick = Pick::seeded(Some(seed), seed);
        pick.tried.extend((0..targets.len() as u16).filter(|at| targets[usize::from(*at)].3));
        let ready = |(weight, _, resting, tried): &(u32, u32, bool, bool)| {
            *weight > 0 && !resting && !tried
        };
        let first = targets.iter().filter(|target| ready(target)).map(|target| target.1).min();
        let lease = pool.try_select(&mut pick, now);
        prop_assert_eq!(lease.is_some(), first.is_some());
        if let Some(lease) = lease {
            let chosen = &targets[lease.index()];
            prop_assert!(ready(chosen) && Some(chosen.1) == first);
            prop_assert_eq!(pick.tried.last().copied(), Some(lease.index() as u16));
        }
        prop_assert!(in_flight(&pool).iter().all(|busy| *busy == 0));
    }
}
