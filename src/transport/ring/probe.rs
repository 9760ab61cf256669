//! Whether a ring can be used here, found out by using one.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::task::Waker;

use super::driver::{Driver, Incoming};
use crate::clock::{Duration, Instant};

/// A kernel that takes longer for a byte is of no use.
const WITHIN: Duration = Duration::from_secs(2);

/// Sends a byte through a ring and receives one, on a thread of its own.
///
/// # Errors
///
/// What is in the way, in words for the operator.
pub(in crate::transport) fn probe() -> Result<(), String> {
    let tried = std::thread::Builder::new().name("probe".into()).spawn(round_trip);
    match tried.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) | Err(error) => Err(explained(&error)),
        Ok(Err(_panic)) => Err("the ring's test panicked".into()),
    }
}

fn round_trip() -> io::Result<()> {
    let (near, mut far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let mut driver = Driver::new()?;
    let index = driver.adopt(OwnedFd::from(near).into());
    far.write_all(b"?")?;
    driver.write(index, b"!", Waker::noop())?;
    let (mut got, until) = ([0], Instant::now() + WITHIN);
    let (mut sent, mut received) = (false, false);
    while !(sent && received) {
        driver.turn();
        sent = sent || far.read(&mut got).is_ok_and(|count| count == 1);
        received = received || matches!(driver.incoming(index)?, Incoming::Bytes(_));
        if Instant::now() > until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    driver.drop_stream(index);
    driver.turn();
    Ok(())
}

fn explained(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "the kernel has no io_uring".into(),
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is not allowed here (kernel.io_uring_disabled, or the container's seccomp profile)"
                .into()
        }
        Some(libc::EINVAL) => {
            format!("the kernel's io_uring is too old, Linux 6.0 or newer is needed ({error})")
        }
        Some(libc::ENOMEM) => format!("too little locked memory is allowed, see ulimit -l ({error})"),
        _ => format!("io_uring does not work here: {error}"),
    }
}
