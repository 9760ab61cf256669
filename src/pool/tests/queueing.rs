use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::*;
use crate::error::Kind;

const MS: Duration = Duration::from_millis(1);

fn far() -> Instant {
    clock::now() + 3600 * SECOND
}

/// A request in the background that reports the order in which it was served.
fn wait(
    pool: &Arc<Pool>,
    tried: &[u16],
    deadline: Instant,
) -> tokio::task::JoinHandle<Result<Lease, SelectError>> {
    let pool = Arc::clone(pool);
    let mut pick = Pick::seeded(None, 1);
    pick.tried.extend_from_slice(tried);
    tokio::spawn(async move { pool.select(&mut pick, deadline).await })
}

async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_order() {
    let pool = Arc::new(pool("{targets: [{provider: p0, max_concurrent: 1}]}"));
    let mut held = pool.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    let mut waiters = Vec::new();
    for _ in 0..5 {
        waiters.push(wait(&pool, &[], far()));
        settle().await;
    }
    assert_eq!(pool.waiting(), 5);
    for at in 0..5 {
        held.finish(Outcome::Success);
        settle().await;
        let served: Vec<bool> = waiters.iter().map(tokio::task::JoinHandle::is_finished).collect();
        assert_eq!(served, [true, false, false, false, false].map(|first| first)[..5 - at]);
        held = waiters.remove(0).await.expect("no panic").expect("served");
    }
    drop(held);
    assert_eq!((pool.waiting(), in_flight(&pool)), (0, vec![0]));
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_those_who_wait() {
    let pool = Arc::new(pool("{targets: [{provider: p0, max_concurrent: 1}]}"));
    let held = pool.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    let waiter = wait(&pool, &[], far());
    settle().await;
    held.finish(Outcome::Success);
    // The slot is the waiter's already, though it has not run yet.
    assert!(pool.try_select(&mut Pick::seeded(None, 2), clock::now()).is_none());
    assert!(waiter.await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_takes_only_what_it_has_not_tried() {
    let pool = Arc::new(pool(
        "{targets: [{provider: p0, max_concurrent: 1}, {provider: p1, max_concurrent: 1}]}",
    ));
    let mut pick = Pick::seeded(None, 1);
    let first = pool.select(&mut pick, far()).await.expect("free");
    let second = pool.select(&mut pick, far()).await.expect("free");
    let (zero, one) = if first.index() == 0 { (first, second) } else { (second, first) };
    let picky = wait(&pool, &[0], far());
    settle().await;
    let easy = wait(&pool, &[], far());
    settle().await;
    zero.finish(Outcome::Success);
    assert_eq!(easy.await.expect("no panic").expect("served").index(), 0);
    assert!(!picky.is_finished());
    one.finish(Outcome::Success);
    assert_eq!(picky.await.expect("no panic").expect("served").index(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded() {
    let pool = Arc::new(pool("{targets: [{provider: p0, max_concurrent: 1}], queue: {max: 2}}"));
    let held = pool.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    let waiters = [wait(&pool, &[], far()), wait(&pool, &[], far())];
    settle().await;
    let error = pool.select(&mut Pick::seeded(None, 1), far()).await.expect_err("full");
    assert_eq!(error, SelectError::QueueFull);
    assert_eq!(pool.waiting(), 2);
    drop(held);
    for waiter in waiters {
        waiter.await.expect("no panic").expect("served").finish(Outcome::Success);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_length_zero_refuses_at_once() {
    let pool = pool("{targets: [{provider: p0, max_concurrent: 1}], queue: {max: 0}}");
    let _held = pool.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    let error = pool.select(&mut Pick::seeded(None, 1), far()).await.expect_err("full");
    assert_eq!(error, SelectError::QueueFull);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_the_deadline_or_the_queues_own_bound() {
    let pool = pool("{targets: [{provider: p0, max_concurrent: 1}], queue: {wait: 5s}}");
    let _held = pool.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    for (deadline, waited) in [(2 * SECOND, 2 * SECOND), (60 * SECOND, 5 * SECOND)] {
        let start = clock::now();
        let error = pool.select(&mut Pick::seeded(None, 1), start + deadline).await;
        assert_eq!(error.expect_err("no slot"), SelectError::QueueTimeout);
        let took = clock::now() - start;
        assert!(took >= waited && took < waited + 5 * MS, "{took:?}");
    }
    assert_eq!(pool.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_gives_its_place_and_its_slot_back() {
    let pool = Arc::new(pool("{targets: [{provider: p0, max_concurrent: 1}]}"));
    let held = pool.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    let leaves = wait(&pool, &[], far());
    settle().await;
    let stays = wait(&pool, &[], far());
    settle().await;
    // Served and given up before it ran: the slot goes to the next.
    held.finish(Outcome::Success);
    leaves.abort();
    let lease = stays.await.expect("no panic").expect("served");
    lease.finish(Outcome::Success);
    settle().await;
    assert_eq!((pool.waiting(), in_flight(&pool)), (0, vec![0]));
}

#[tokio::test(start_paused = true)]
async fn waiters_learn_at_once_that_nothing_is_left() {
    let pool = Arc::new(pool(
        "{targets: [{provider: p0, max_concurrent: 1}], breaker: {consecutive_failures: 1, cooldown: 30s, cooldown_max: 30s}}",
    ));
    let held = pool.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    let waiters = [wait(&pool, &[], far()), wait(&pool, &[], far())];
    settle().await;
    let start = clock::now();
    held.finish(Outcome::Failure(Kind::UpstreamConnect));
    for waiter in waiters {
        let error = waiter.await.expect("no panic").expect_err("taken out");
        assert!(matches!(error, SelectError::Exhausted { retry_after: Some(_) }), "{error:?}");
    }
    assert_eq!(clock::now(), start);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_targets_are_all_tried_does_not_wait_behind_others() {
    let pool = Arc::new(pool("{targets: [{provider: p0, max_concurrent: 1}]}"));
    let _held = pool.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    let _waiter = wait(&pool, &[], far());
    settle().await;
    let start = clock::now();
    let error = wait(&pool, &[0], far()).await.expect("no panic").expect_err("all tried");
    assert_eq!(error, SelectError::Exhausted { retry_after: None });
    assert_eq!(clock::now(), start);
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_ends_is_noticed() {
    let pool = Arc::new(pool(
        "{targets: [{provider: p0, max_concurrent: 1}, {provider: p1}], queue: {wait: 60s}}",
    ));
    pool.targets[1].state.rest(Some(3 * SECOND), clock::now());
    let _held = pool.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    let start = clock::now();
    let lease = wait(&pool, &[], far()).await.expect("no panic").expect("served");
    assert_eq!(lease.index(), 1);
    let took = clock::now() - start;
    assert!(took >= 3 * SECOND && took <= 3 * SECOND + 150 * MS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_queue_outlives_a_reload() {
    let yaml = "{targets: [{provider: p0, max_concurrent: 1}]}";
    let before = Arc::new(pool(yaml));
    let held = before.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    let old = wait(&before, &[], far());
    settle().await;
    let after = Arc::new(reload(yaml, &before, clock::now()));
    let new = wait(&after, &[], far());
    settle().await;
    assert_eq!(after.waiting(), 2);
    held.finish(Outcome::Success);
    old.await.expect("no panic").expect("served first").finish(Outcome::Success);
    new.await.expect("no panic").expect("served second").finish(Outcome::Success);
    assert_eq!(in_flight(&after), [0]);
}

/// Many tasks on several runtimes, as weir runs them, with real time: every one is served, no cap
/// is passed, nothing is left behind.
#[test]
fn no_wake_up_is_lost_between_runtimes() {
    const THREADS: usize = 4;
    const TASKS: usize = 40;
    const ROUNDS: usize = 50;
    let pool = Arc::new(pool(
        "{strategy: least_busy, targets: [{provider: p0, max_concurrent: 2}, \
          {provider: p1, max_concurrent: 3}], queue: {max: 1000, wait: 60s}}",
    ));
    let busy: Arc<[AtomicU32; 2]> = Arc::default();
    let served = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (pool, busy, served) = (Arc::clone(&pool), Arc::clone(&busy), Arc::clone(&served));
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .expect("a runtime");
                let tasks = (0..TASKS).map(|task| {
                    let (pool, busy, served) = (&pool, &busy, &served);
                    async move {
                        for round in 0..ROUNDS {
                            let seed = (thread * TASKS + task) * ROUNDS + round;
                            let mut pick = Pick::seeded(None, seed as u64);
                            let select = pool.select(&mut pick, far());
                            // Now and then a client leaves while it waits.
                            let patience =
                                if seed.is_multiple_of(7) { MS / 10 } else { 60 * SECOND };
                            let Ok(lease) = tokio::time::timeout(patience, select).await else {
                                continue;
                            };
                            let lease = lease.expect("served");
                            let (cap, now) = ([2, 3], &busy[lease.index()]);
                            assert!(now.fetch_add(1, Ordering::SeqCst) < cap[lease.index()]);
                            tokio::task::yield_now().await;
                            busy[lease.index()].fetch_sub(1, Ordering::SeqCst);
                            served.fetch_add(1, Ordering::Relaxed);
                            if seed.is_multiple_of(3) {
                                drop(lease);
                            } else {
                                lease.finish(Outcome::Success);
                            }
                        }
                    }
                });
                runtime.block_on(futures_util::future::join_all(tasks));
            });
        }
    });
    let rounds = THREADS * TASKS * ROUNDS;
    assert!(served.load(Ordering::Relaxed) > rounds * 6 / 7 - 1);
    assert_eq!((pool.waiting(), in_flight(&pool)), (0, vec![0, 0]));
}

/// The same while targets fail, rest and come back all the time: some are told that nothing is
/// left, nobody waits in vain, and the state adds up in the end.
#[test]
fn nobody_is_forgotten_while_targets_come_and_go() {
    const THREADS: u64 = 4;
    const TASKS: u64 = 30;
    const ROUNDS: u64 = 40;
    let pool = Arc::new(pool(
        "{strategy: least_busy, targets: [{provider: p0, max_concurrent: 2}, \
          {provider: p1, max_concurrent: 2}], queue: {max: 1000, wait: 30s}, \
          breaker: {consecutive_failures: 3, cooldown: 1ms, cooldown_max: 4ms}}",
    ));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let pool = Arc::clone(&pool);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .expect("a runtime");
                let tasks = (0..TASKS).map(|task| {
                    let pool = &pool;
                    async move {
                        for round in 0..ROUNDS {
                            let seed = (thread * TASKS + task) * ROUNDS + round;
                            let mut pick = Pick::seeded(None, seed);
                            let lease = match pool.select(&mut pick, far()).await {
                                Ok(lease) => lease,
                                Err(SelectError::Exhausted { .. }) => {
                                    tokio::time::sleep(MS).await;
                                    continue;
                                }
                                Err(error) => panic!("waited in vain: {error:?}"),
                            };
                            tokio::task::yield_now().await;
                            lease.finish(match crate::hash::stable(&[&seed.to_le_bytes()]) % 10 {
                                0..4 => Outcome::Failure(Kind::UpstreamStatus),
                                4 => Outcome::RateLimited { retry_after: Some(MS) },
                                5 => Outcome::Cancelled,
                                _ => Outcome::Success,
                            });
                        }
                    }
                });
                runtime.block_on(futures_util::future::join_all(tasks));
            });
        }
    });
    assert!(start.elapsed() < 25 * SECOND, "somebody waited for the bound of the queue");
    assert_eq!((pool.waiting(), in_flight(&pool)), (0, vec![0, 0]));
}

#[tokio::test(start_paused = true)]
async fn the_high_class_goes_first_and_the_low_one_is_turned_away() {
    use crate::config::Class::{self, High, Low, Normal};
    let pool =
        Arc::new(pool("{targets: [{provider: p0, max_concurrent: 1}], queue: {max: 2, wait: 5s}}"));
    let held = pool.select(&mut Pick::seeded(None, 1), far()).await.expect("free");
    let order: Arc<parking_lot::Mutex<Vec<Class>>> = Arc::default();
    let wait = |class: Class| {
        let (pool, order) = (Arc::clone(&pool), Arc::clone(&order));
        tokio::spawn(async move {
            let mut pick = Pick::seeded(None, 1).of_class(class);
            let lease = pool.select(&mut pick, far()).await;
            if lease.is_ok() {
                order.lock().push(class);
            }
            lease.map(drop)
        })
    };
    let low = wait(Low);
    tokio::task::yield_now().await;
    let normal = wait(Normal);
    tokio::task::yield_now().await;
    // The queue is full: for the high class the low one makes room.
    let high = wait(High);
    assert_eq!(low.await.expect("it ends"), Err(SelectError::QueueFull));
    held.finish(Outcome::Success);
    assert_eq!(high.await.expect("it ends"), Ok(()));
    assert_eq!(normal.await.expect("it ends"), Ok(()));
    assert_eq!(*order.lock(), [High, Normal]);
}

#[tokio::test(start_paused = true)]
async fn when_a_target_slows_down_the_low_class_waits_first() {
    use crate::config::Class::{High, Low};
    let pool = pool("{targets: [{provider: p0}], adaptive: {initial: 10, min: 2, max: 100}}");
    let now = clock::now();
    let mut held: Vec<Lease> = Vec::new();
    let take = |class, held: &mut Vec<Lease>| {
        let mut pick = Pick::seeded(None, 1).of_class(class);
        pool.try_select(&mut pick, now).map(|lease| held.push(lease)).is_some()
    };
    while take(Low, &mut held) {}
    assert_eq!(held.len(), 6, "six tenths of the bound");
    while take(High, &mut held) {}
    assert_eq!(held.len(), 10);
    // All are as slow as never before.
    let all_take = |held: &[Lease], ttft| {
        for lease in held {
            lease.first_token(ttft, now);
        }
    };
    all_take(&held, Duration::from_millis(100));
    for _ in 0..5 {
        all_take(&held, Duration::from_secs(2));
    }
    let bound = pool.targets[0].snapshot(now).adaptive_concurrent.expect("a bound");
    assert!(bound < 10, "{bound}");
    held.truncate(bound as usize - 1);
    assert!(!take(Low, &mut held), "it waits");
    assert!(take(High, &mut held), "it does not");
}
