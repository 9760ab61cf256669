use super::*;
use crate::error::Kind;

const TWO: &str = "{targets: [{provider: p0}, {provider: p1}], \
    breaker: {consecutive_failures: 3, cooldown: 5s, close_after: 2}}";
const ONE: &str = "{targets: [{provider: p0}], \
    breaker: {consecutive_failures: 3, cooldown: 5s, close_after: 2}}";

fn fail(pool: &Pool, times: usize, kind: Kind, now: Instant) {
    for seed in 0..times {
        if let Some(lease) = lease(pool, seed as u64, now) {
            lease.finish_at(Outcome::Failure(kind), now);
        }
    }
}

#[test]
fn a_failing_target_is_taken_out_probed_and_brought_back() {
    let pool = pool(ONE);
    let mut now = clock::now();
    fail(&pool, 3, Kind::UpstreamConnect, now);
    assert!(lease(&pool, 0, now).is_none());
    assert!(!pool.usable(now));
    assert_eq!(pool.snapshot(now).targets[0].breaker, BreakerState::Open);
    now += 6 * SECOND;
    assert!(pool.usable(now));
    let probe = lease(&pool, 0, now).expect("a probe");
    assert!(probe.is_probe());
    assert!(lease(&pool, 0, now).is_none(), "one probe at a time");
    probe.finish_at(Outcome::Success, now);
    lease(&pool, 0, now).expect("a second probe").finish_at(Outcome::Success, now);
    assert!(!lease(&pool, 0, now).expect("closed").is_probe());
}

#[test]
fn what_a_client_causes_never_counts() {
    let pool = pool(ONE);
    let now = clock::now();
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.blames_target()) {
        fail(&pool, 50, kind, now);
    }
    for _ in 0..50 {
        drop(lease(&pool, 0, now).expect("a target"));
        lease(&pool, 0, now).expect("a target").finish_at(Outcome::Cancelled, now);
    }
    assert_eq!(pool.targets[0].state.breaker(now), BreakerState::Closed);
    assert_eq!(in_flight(&pool), [0]);
}

#[test]
fn a_dropped_probe_leaves_room_for_another() {
    let pool = pool(ONE);
    let mut now = clock::now();
    fail(&pool, 3, Kind::UpstreamCut, now);
    now += 6 * SECOND;
    for _ in 0..10 {
        // `drop` reads the real clock, which has not reached the end of the cooldown; the probe's
        // place must come back all the same.
        drop(lease(&pool, 0, now).expect("a probe"));
    }
    assert!(lease(&pool, 0, now).is_some_and(|lease| lease.is_probe()));
}

#[test]
fn a_first_attempt_probes_and_a_second_one_prefers_what_works() {
    let pool = pool(TWO);
    let mut now = clock::now();
    while pool.targets[0].state.breaker(now) == BreakerState::Closed {
        let lease = lease(&pool, rand::random(), now).expect("one");
        let outcome = match lease.index() {
            0 => Outcome::Failure(Kind::UpstreamStatus),
            _ => Outcome::Success,
        };
        lease.finish_at(outcome, now);
    }
    now += 6 * SECOND;
    let probe = lease(&pool, 0, now).expect("a probe");
    assert_eq!((probe.index(), probe.is_probe()), (0, true));
    drop(probe);
    let mut second = Pick::seeded(None, 0);
    second.chosen(1);
    assert!(pool.try_select(&mut second, now).is_some_and(|lease| lease.is_probe()));
}

/// A caller may exclude targets from the start; its first choice is still a first choice.
#[test]
fn excluded_targets_do_not_keep_others_from_being_probed() {
    let pool = pool(
        "{targets: [{provider: p0}, {provider: p1}, {provider: p2}], \
          breaker: {consecutive_failures: 1, cooldown: 5s}}",
    );
    let mut now = clock::now();
    let mut only_first = Pick::seeded(None, 1);
    only_first.tried.extend([1, 2]);
    let failed = pool.try_select(&mut only_first, now).expect("the first");
    failed.finish_at(Outcome::Failure(Kind::UpstreamStatus), now);
    now += 6 * SECOND;
    let mut without_last = Pick::seeded(None, 1);
    without_last.tried.push(2);
    assert!(pool.try_select(&mut without_last, now).is_some_and(|lease| lease.is_probe()));
}

#[test]
fn a_limited_target_rests_for_as_long_as_it_said() {
    let pool = pool(TWO);
    let now = clock::now();
    let first = lease(&pool, 0, now).expect("one");
    let index = first.index();
    first.finish_at(Outcome::RateLimited { retry_after: Some(7 * SECOND) }, now);
    for seed in 0..50 {
        assert_ne!(lease(&pool, seed, now + 6 * SECOND).expect("the other").index(), index);
    }
    let back = (0..50).filter_map(|seed| lease(&pool, seed, now + 8 * SECOND));
    assert!(back.map(|lease| lease.index()).any(|at| at == index));
    assert_eq!(pool.targets[index].state.breaker(now), BreakerState::Closed);
}

#[test]
fn without_a_retry_after_rests_double_until_it_answers_again() {
    let pool = pool(ONE);
    let mut now = clock::now();
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let lease = lease(&pool, 0, now).expect("back");
        lease.finish_at(Outcome::RateLimited { retry_after: None }, now);
        assert_eq!(pool.targets[0].state.resting_until(now), Some(now + SECOND * seconds));
        now += SECOND * seconds;
    }
    lease(&pool, 0, now).expect("back").finish_at(Outcome::Success, now);
    lease(&pool, 0, now).expect("back").finish_at(Outcome::RateLimited { retry_after: None }, now);
    assert_eq!(pool.targets[0].state.resting_until(now), Some(now + SECOND));
}

#[tokio::test(start_paused = true)]
async fn exhaustion_says_when_to_come_back() {
    let pool = pool(TWO);
    let now = clock::now();
    pool.targets[0].state.rest(Some(9 * SECOND), now);
    pool.targets[1].state.rest(Some(4 * SECOND), now);
    let error = pool.select(&mut Pick::seeded(None, 1), now + SECOND).await.expect_err("none left");
    assert_eq!(error, SelectError::Exhausted { retry_after: Some(4 * SECOND) });
    let mut all_tried = Pick::seeded(None, 1);
    all_tried.tried.extend([0, 1]);
    let error = pool.select(&mut all_tried, now + SECOND).await.expect_err("none left");
    assert_eq!(error, SelectError::Exhausted { retry_after: None });
}

#[test]
fn unhealthy_targets_are_left_out_until_checks_pass_again() {
    let pool = pool(
        "{targets: [{provider: p0}, {provider: p1}], \
          health: {path: /models, unhealthy_after: 2, healthy_after: 2}}",
    );
    let now = clock::now();
    assert_eq!(pool.check().expect("a check").kind, HealthKind::Http);
    let fails = || Err("refused".to_owned());
    pool.record_check(0, fails(), now);
    assert!(pool.targets[0].state.healthy());
    pool.record_check(0, fails(), now);
    assert_eq!(shares(&pool, 20, now), [0, 20]);
    pool.record_check(0, Ok(()), now);
    pool.record_check(0, Ok(()), now);
    assert!(shares(&pool, 100, now)[0] > 20);
}

struct Scripted(parking_lot::Mutex<Vec<(Duration, String)>>, Instant);

#[async_trait::async_trait]
impl Prober for Scripted {
    async fn probe(&self, target: &Target, check: &Check) -> Result<(), String> {
        self.0.lock().push((clock::now() - self.1, target.id.to_string()));
        match &*target.id {
            "p0" => Ok(()),
            "p1" => Err("connection refused".into()),
            _ => {
                tokio::time::sleep(check.timeout * 10).await;
                Ok(())
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_target_is_checked_once_an_interval_and_a_slow_check_fails() {
    let pool = Arc::new(pool(
        "{targets: [{provider: p0}, {provider: p1}, {provider: p2}], \
          health: {kind: tcp, interval: 5s, timeout: 1s, unhealthy_after: 3}}",
    ));
    let start = clock::now();
    let prober = Arc::new(Scripted(parking_lot::Mutex::new(Vec::new()), start));
    let watched = watch(Arc::clone(&pool), Arc::clone(&prober) as Arc<dyn Prober>);
    let ended = tokio::time::timeout(SECOND * 50, watched).await;
    assert!(ended.is_err(), "it goes on for as long as it is polled");
    let healthy: Vec<bool> = pool.targets.iter().map(|target| target.state.healthy()).collect();
    assert_eq!(healthy, [true, false, false]);
    for id in ["p0", "p1", "p2"] {
        let checks = prober.0.lock().iter().filter(|(_, checked)| checked == id).count();
        assert!((8..=10).contains(&checks), "{id}: {checks}");
    }
}

#[test]
fn retries_have_a_budget() {
    let pool =
        pool("{targets: [{provider: p0}], retry: {budget_percent: 10, budget_min_per_second: 1}}");
    for _ in 0..100 {
        pool.note_request();
    }
    let allowed = (0..100).filter(|_| pool.retry_allowed()).count();
    assert_eq!(allowed, 10 + 10, "a tenth of the requests, and one a second over ten seconds");
}

#[test]
fn hedges_wait_for_the_quantile_and_have_a_percentage() {
    let yaml =
        "{targets: [{provider: p0}], hedge: {quantile: 0.9, min_delay: 50ms, max_percent: 5}}";
    let pool = pool(yaml);
    let now = clock::now();
    assert_eq!(pool.hedge_delay(), None, "nothing is known yet");
    for sample in 1..=100 {
        let lease = lease(&pool, sample, now).expect("one");
        lease.first_token(Duration::from_millis(sample * 10), now);
        pool.note_request();
    }
    let delay = pool.hedge_delay().expect("known").as_millis();
    assert!((850..1050).contains(&delay), "{delay}");
    assert_eq!((0..100).filter(|_| pool.hedge_allowed()).count(), 5);
    assert!(!super::pool("targets: [{provider: p0}]").hedge_allowed());
}

#[test]
fn a_hedge_never_starts_before_its_least_delay() {
    let pool = pool("{targets: [{provider: p0}], hedge: {min_delay: 700ms}}");
    let now = clock::now();
    for seed in 0..64 {
        let lease = lease(&pool, seed, now).expect("one");
        lease.first_token(Duration::from_millis(5), now);
    }
    assert_eq!(pool.hedge_delay(), Some(Duration::from_millis(700)));
}
