//! Timers for load: one that wakes within microseconds of its time, and one that hardly ever fires.
//!
//! tokio's own timers round up to milliseconds, which is more than a proxy adds to a request, and
//! setting one up for every request is a tenth of what the load costs.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// The latest end of one work after the other: a single timer, which is moved on when it fires
/// before its time.
#[derive(Debug, Default)]
pub struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// No timer yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the work came to; none when it was not done by `due`.
    pub async fn within<T>(&mut self, due: Instant, work: impl Future<Output = T>) -> Option<T> {
        let due = tokio::time::Instant::from(due);
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due || sleep.is_elapsed() {
            sleep.as_mut().reset(due);
        }
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            loop {
                ready!(sleep.as_mut().poll(cx));
                if sleep.deadline() >= due {
                    return Poll::Ready(None);
                }
                sleep.as_mut().reset(due);
            }
        })
        .await
    }
}

/// Wakes at instants.
#[derive(Debug)]
pub struct Timer(#[cfg(target_os = "linux")] Option<linux::TimerFd>);

impl Timer {
    /// A timer of the kernel where there is one, tokio's otherwise. Needs a running runtime.
    pub fn new() -> Self {
        Self(
            #[cfg(target_os = "linux")]
            linux::TimerFd::new().ok(),
        )
    }

    /// Returns at `due`, or at once when that has passed.
    pub async fn until(&mut self, due: Instant) {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Overdue requests must not keep the answers of others from being read.
            return tokio::task::yield_now().await;
        }
        #[cfg(target_os = "linux")]
        if let Some(timer) = &mut self.0
            && timer.sleep(left).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::AsyncReadExt;
    use tokio::net::unix::pipe;

    /// `timerfd_create(2)`. tokio reads it as a pipe: both are polled and read in the same way.
    #[derive(Debug)]
    pub struct TimerFd(pipe::Receiver);

    impl TimerFd {
        pub fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Self(pipe::Receiver::from_owned_fd_unchecked(fd)?))
        }

        pub async fn sleep(&mut self, left: Duration) -> io::Result<()> {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let value = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos().max(1)),
            };
            let spec = Itimerspec { it_interval: zero, it_value: value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec)?;
            // Eight bytes come; room for more tells tokio that nothing is left to read.
            self.0.read(&mut [0; 16]).await.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_ends_at_its_own_deadline_and_not_at_an_earlier_one() {
        let mut deadline = Deadline::new();
        let began = tokio::time::Instant::now();
        let at = |seconds| (began + Duration::from_secs(seconds)).into_std();
        let sleep = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        assert_eq!(deadline.within(at(10), async { 7 }).await, Some(7));
        // The timer still stands at 10 and fires in the middle of this.
        assert_eq!(deadline.within(at(30), sleep(20)).await, Some(()));
        // An earlier one than the timer stands at.
        assert_eq!(deadline.within(at(25), sleep(60)).await, None);
        assert_eq!(began.elapsed(), Duration::from_secs(25));
        // It has fired, and serves again.
        assert_eq!(deadline.within(at(40), sleep(5)).await, Some(()));
        assert_eq!(deadline.within(at(40), sleep(60)).await, None);
        assert_eq!(began.elapsed(), Duration::from_secs(40));
    }

    #[tokio::test]
    async fn wakes_at_its_time_and_never_before() {
        let mut timer = Timer::new();
        for _ in 0..5 {
            let due = Instant::now() + Duration::from_micros(700);
            timer.until(due).await;
            assert!(Instant::now() >= due);
        }
        timer.until(Instant::now()).await;
    }
}
