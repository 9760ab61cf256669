//! A timer that wakes within microseconds of its time.
//!
//! tokio's own timers round up to milliseconds, which is more than a proxy adds to a request.

use std::time::Instant;

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
