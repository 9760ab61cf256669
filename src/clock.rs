//! Time as the rest of weir sees it: a monotonic instant for durations and deadlines, and a wall
//! clock for records.

use std::future::poll_fn;
use std::ops::{Add, AddAssign, Sub};
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(target_os = "linux")]
use nix::time::{ClockId, clock_gettime};

pub use std::time::Duration;

/// A moment on the clock that never jumps. One number, where the standard library's has two: a request
/// takes the time between two of them a dozen times. What would be beyond its 292 years is as far as they
/// go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Nanoseconds since a moment that is the same for all of the process.
    ns: i64,
}

impl Instant {
    /// The present.
    #[cfg(target_os = "linux")]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC);
        Self { ns: time.map_or(0, |time| time.tv_sec() * NS_PER_S + time.tv_nsec()) }
    }

    /// The present.
    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Self {
        Self { ns: nanoseconds(EPOCH.elapsed()) }
    }

    /// The time that has passed since then.
    pub fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }

    /// The time from an earlier moment to this one; none if it is a later one.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.checked_duration_since(earlier).unwrap_or_default()
    }

    /// The same; `None` if it is a later one.
    // What divides is not repeated wherever time is taken: a request does so a dozen times.
    #[inline(never)]
    pub fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        u64::try_from(self.ns.saturating_sub(earlier.ns)).ok().map(Duration::from_nanos)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self { ns: self.ns.saturating_add(nanoseconds(time)) }
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        Self { ns: self.ns.saturating_sub(nanoseconds(time)) }
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// One moment on this clock and on the standard library's, which cannot be asked for its number. They
/// are read one after the other, and so some ten nanoseconds apart.
static SAME: LazyLock<(Instant, std::time::Instant)> =
    LazyLock::new(|| (Instant::now(), std::time::Instant::now()));

#[cfg(not(target_os = "linux"))]
static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

impl From<Instant> for tokio::time::Instant {
    fn from(at: Instant) -> Self {
        let (same, theirs) = *SAME;
        let theirs = match at.checked_duration_since(same) {
            Some(later) => theirs + later,
            // The beginning of the standard library's clock may be later than that.
            None => theirs.checked_sub(same - at).unwrap_or(theirs),
        };
        theirs.into()
    }
}

#[cfg(test)]
impl From<std::time::Instant> for Instant {
    fn from(at: std::time::Instant) -> Self {
        let (same, theirs) = *SAME;
        match at.checked_duration_since(theirs) {
            Some(later) => same + later,
            None => same - theirs.duration_since(at),
        }
    }
}

const NS_PER_S: i64 = 1_000_000_000;

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Milliseconds since the Unix epoch. Used in records only; durations are taken from [`Instant`].
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Seconds since the Unix epoch, up to a tick of the kernel behind (4 ms at most): read at a fifth of the
/// cost of the exact time.
#[cfg(target_os = "linux")]
pub fn unix_s() -> u64 {
    clock_gettime(ClockId::CLOCK_REALTIME_COARSE).map_or(0, |time| time.tv_sec().max(0) as u64)
}

/// Seconds since the Unix epoch.
#[cfg(not(target_os = "linux"))]
pub fn unix_s() -> u64 {
    unix_ms() / 1000
}

/// Nanoseconds from the beginning of the clock that never jumps to a moment. Only differences mean
/// something.
pub fn running_ns(at: Instant) -> u64 {
    at.ns.max(0).unsigned_abs()
}

/// The wall clock as far as what cannot be taken back may rely on it: one that jumps forward is followed
/// only after it has stayed where it is for a day, which leaves time to notice. One that goes back is
/// followed at once.
#[derive(Debug)]
pub struct Cautious {
    /// The wall clock's reading at `origin`.
    unix_ms: u64,
    origin: Instant,
    /// Since when it has been ahead.
    ahead: Option<Instant>,
}

/// What the wall clock may gain without having jumped.
const GAIN_MS_MAX: u64 = 3_600_000;
/// After so long a clock that has jumped is right.
const JUMP_HOLDS: Duration = Duration::from_secs(24 * 3600);

impl Cautious {
    /// Relies on what the wall clock shows now.
    pub fn new() -> Self {
        Self::at(unix_ms(), Instant::now())
    }

    fn at(unix_ms: u64, origin: Instant) -> Self {
        Self { unix_ms, origin, ahead: None }
    }

    /// Milliseconds since the Unix epoch, never ahead by a jump.
    pub fn unix_ms(&mut self) -> u64 {
        self.read(unix_ms(), Instant::now())
    }

    fn read(&mut self, shown_ms: u64, at: Instant) -> u64 {
        let passed = at.saturating_duration_since(self.origin).as_millis() as u64;
        let reckoned_ms = self.unix_ms.saturating_add(passed);
        if shown_ms <= reckoned_ms.saturating_add(GAIN_MS_MAX) {
            *self = Self::at(shown_ms, at);
            return shown_ms;
        }
        let ahead = *self.ahead.get_or_insert_with(|| {
            let hours = (shown_ms - reckoned_ms) / 3_600_000;
            log::warn!(
                "the clock has jumped ahead by {hours} hours: nothing grows old by it for a day"
            );
            at
        });
        if at.saturating_duration_since(ahead) >= JUMP_HOLDS {
            *self = Self::at(shown_ms, at);
            return shown_ms;
        }
        reckoned_ms
    }
}

impl Default for Cautious {
    fn default() -> Self {
        Self::new()
    }
}

/// The present.
#[cfg(not(test))]
pub fn now() -> Instant {
    Instant::now()
}

/// The present. Follows tokio's clock, so that a test which pauses that clock pauses this one too.
#[cfg(test)]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std().into()
}

/// The outcome of a future that may take so long; `None` when it took longer. No clock is read for one
/// that is ready at once.
pub async fn within<T>(
    limit: Duration,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let at_once = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    });
    match at_once.await {
        Some(value) => Some(value),
        None => tokio::time::timeout(limit, future).await.ok(),
    }
}

/// How long something may be waited for that hardly ever takes so long: one timer, which is set once and
/// moved on when it fires. To make one for each wait costs more than all else that waiting does.
#[derive(Debug, Default)]
pub struct Patience(Option<(Pin<Box<tokio::time::Sleep>>, Instant)>);

impl Patience {
    /// Ready once it is as late as that; until then the task is woken for it.
    pub fn poll(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let set = || (Box::pin(tokio::time::sleep_until(until.into())), until);
        let (timer, fires_at) = self.0.get_or_insert_with(set);
        loop {
            if *fires_at > until {
                timer.as_mut().reset(until.into());
                *fires_at = until;
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if *fires_at == until {
                return Poll::Ready(());
            }
            // It was for an earlier wait.
            timer.as_mut().reset(until.into());
            *fires_at = until;
        }
    }

    /// The outcome of a future; `None` when it is as late as that before.
    pub async fn until<T>(
        &mut self,
        until: Instant,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => self.poll(until, cx).map(|()| None),
        })
        .await
    }
}

/// An instant, or none, that many threads read and write without a lock.
#[derive(Debug)]
pub struct AtomicInstant(AtomicI64);

/// Stands for no instant.
const NEVER: i64 = i64::MIN;

impl AtomicInstant {
    /// No instant.
    pub const fn none() -> Self {
        Self(AtomicI64::new(NEVER))
    }

    /// This instant.
    pub fn new(at: Instant) -> Self {
        Self(AtomicI64::new(at.ns))
    }

    /// The instant, if there is one.
    pub fn get(&self) -> Option<Instant> {
        known(self.0.load(Ordering::SeqCst))
    }

    /// Sets or clears it.
    pub fn set(&self, at: Option<Instant>) {
        self.0.store(at.map_or(NEVER, |at| at.ns), Ordering::SeqCst);
    }

    /// Sets it to the later of what it holds and `at`.
    pub fn extend(&self, at: Instant) {
        self.0.fetch_max(at.ns, Ordering::SeqCst);
    }

    /// The instant, if it lies after `now`.
    pub fn after(&self, now: Instant) -> Option<Instant> {
        self.get().filter(|at| *at > now)
    }
}

fn known(ns: i64) -> Option<Instant> {
    (ns != NEVER).then_some(Instant { ns })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn a_jump_ahead_is_followed_after_a_day() {
        const HOUR: u64 = 3_600_000;
        let begun = Instant::now();
        let hours = |hours: u64| begun + Duration::from_secs(hours * 3600);
        let mut clock = Cautious::at(1000 * HOUR, begun);
        assert_eq!(clock.read(1002 * HOUR, hours(2)), 1002 * HOUR);
        // It gains a little, and goes back: both are followed.
        assert_eq!(clock.read(1004 * HOUR, hours(3)), 1004 * HOUR);
        assert_eq!(clock.read(1003 * HOUR, hours(3)), 1003 * HOUR);
        // Years ahead: time passes as before.
        assert_eq!(clock.read(90_000 * HOUR, hours(4)), 1004 * HOUR);
        assert_eq!(clock.read(90_023 * HOUR, hours(27)), 1027 * HOUR);
        assert_eq!(clock.read(90_024 * HOUR, hours(28)), 90_024 * HOUR);
        assert_eq!(clock.read(90_025 * HOUR, hours(29)), 90_025 * HOUR);
        // One that comes back was never believed.
        assert_eq!(clock.read(190_000 * HOUR, hours(30)), 90_026 * HOUR);
        assert_eq!(clock.read(90_027 * HOUR, hours(31)), 90_027 * HOUR);
        assert_eq!(clock.ahead, None);
    }

    #[test]
    fn a_moment_is_the_same_on_both_clocks() {
        let close = |one: tokio::time::Instant, other: tokio::time::Instant| {
            let apart = one.saturating_duration_since(other) + other.saturating_duration_since(one);
            apart < Duration::from_millis(1)
        };
        let (now, theirs) = (Instant::now(), std::time::Instant::now());
        for ahead in [0, 1, 1_000_000_007, 86_400_000_000_000] {
            let ahead = Duration::from_nanos(ahead);
            assert!(close((now + ahead).into(), (theirs + ahead).into()));
            let back: Instant = tokio::time::Instant::from(now + ahead).into_std().into();
            assert_eq!(back, now + ahead);
        }
        // Far out of reach of the other.
        let _ = tokio::time::Instant::from(now - Duration::MAX);
        let past: Instant = theirs.checked_sub(Duration::from_secs(1)).unwrap_or(theirs).into();
        assert!(past <= now && now - past < Duration::from_secs(2));
    }

    #[test]
    fn time_saturates_at_both_ends() {
        let now = Instant::now();
        let (first, last) = (now - Duration::MAX, now + Duration::MAX);
        assert!(first < now && now < last);
        assert_eq!(first.saturating_duration_since(now), Duration::ZERO);
        assert_eq!(first.checked_duration_since(last), None);
        assert_eq!((last + Duration::from_secs(1), now - now), (last, Duration::ZERO));
        assert_eq!((now + Duration::from_nanos(5)) - now, Duration::from_nanos(5));
        assert!(now.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_lasts_as_long_as_each_wait_says() {
        let mut patience = Patience::default();
        let begun = now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let at = || now().saturating_duration_since(begun).as_secs();
        let never = std::future::pending::<()>;
        let soon = tokio::time::sleep(Duration::from_secs(3));
        assert_eq!((patience.until(after(10), pin!(soon)).await, at()), (Some(()), 3));
        // The timer that is set fires at ten.
        assert_eq!((patience.until(after(12), pin!(never())).await, at()), (None, 12));
        // It has fired.
        assert_eq!((patience.until(after(20), pin!(never())).await, at()), (None, 20));
        let later = tokio::time::sleep(Duration::from_secs(5));
        assert_eq!((patience.until(after(60), pin!(later)).await, at()), (Some(()), 25));
        // One that is earlier than what it is set for, one that has passed, and one that is there at once.
        assert_eq!((patience.until(after(30), pin!(never())).await, at()), (None, 30));
        assert_eq!((patience.until(after(29), pin!(never())).await, at()), (None, 30));
        let ready = std::future::ready(());
        assert_eq!((patience.until(after(29), pin!(ready)).await, at()), (Some(()), 30));
        assert_eq!((patience.until(after(31), pin!(never())).await, at()), (None, 31));
    }

    #[test]
    fn an_atomic_instant_holds_what_it_was_given() {
        let now = Instant::now();
        let cell = AtomicInstant::none();
        assert_eq!((cell.get(), cell.after(now)), (None, None));
        let later = now + Duration::from_secs(5);
        cell.set(Some(later));
        assert_eq!(cell.get(), Some(later));
        assert_eq!(cell.after(now), Some(later));
        assert_eq!(cell.after(later), None);
        cell.extend(now);
        assert_eq!(cell.get(), Some(later));
        cell.extend(later + Duration::from_secs(1));
        assert_eq!(cell.get(), Some(later + Duration::from_secs(1)));
        let earlier = now - Duration::from_nanos(7);
        cell.set(Some(earlier));
        assert_eq!(cell.get(), Some(earlier));
        cell.set(None);
        assert_eq!(cell.get(), None);
    }
}
