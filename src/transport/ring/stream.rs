//! Streams and listeners of a ring: names of what the thread's driver keeps for them.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll};

use bytes::Bytes;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::ReadBuf;

use super::blocks::{Received, retried};
use super::driver::{Driver, Incoming, UNREAD_BYTES_MAX};
use crate::transport::{first, spare_congestion_control};

/// A connection that the thread's ring serves. Used on another thread it fails.
#[derive(Debug)]
pub(in crate::transport) struct Stream {
    index: usize,
    ring: u32,
    descriptor: RawFd,
}

impl Stream {
    /// Takes over an accepted socket that does not block.
    pub(in crate::transport) fn new(tcp: TcpStream) -> io::Result<Self> {
        let descriptor = tcp.as_raw_fd();
        super::with(|driver| Self { index: driver.adopt(tcp), ring: driver.id(), descriptor })
    }

    /// Connects.
    pub(in crate::transport) async fn connect(to: SocketAddr) -> io::Result<Self> {
        let socket =
            Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        spare_congestion_control(&SockRef::from(&socket), to.ip());
        let descriptor = socket.as_raw_fd();
        let stream = super::with(|driver| {
            let index = driver.connect(socket.into(), to.into());
            Self { index, ring: driver.id(), descriptor }
        })?;
        poll_fn(|cx| stream.with(|driver, index| driver.is_connected(index, cx.waker()))).await?;
        Ok(stream)
    }

    pub(in crate::transport) fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    pub(in crate::transport) fn peer(&self) -> io::Result<SocketAddr> {
        self.on_driver(|driver, index| driver.peer(index))?
    }

    /// One operation on the driver. Pending where it says that it is not done.
    fn with(
        &self,
        operation: impl FnOnce(&mut Driver, usize) -> io::Result<bool>,
    ) -> Poll<io::Result<()>> {
        match self.on_driver(operation) {
            Ok(Ok(true)) => Poll::Ready(Ok(())),
            Ok(Ok(false)) => Poll::Pending,
            Ok(Err(error)) | Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn on_driver<R>(&self, operation: impl FnOnce(&mut Driver, usize) -> R) -> io::Result<R> {
        super::with(|driver| {
            if driver.id() != self.ring {
                return Err(io::Error::other("the stream belongs to another thread's ring"));
            }
            Ok(operation(driver, self.index))
        })?
    }

    pub(in crate::transport) fn is_silent(&self) -> bool {
        self.on_driver(Driver::is_silent).unwrap_or(false)
    }

    pub(in crate::transport) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut over = false;
        let read = self.with(|driver, index| {
            let mut count = 0;
            match driver.incoming(index)? {
                Incoming::Nothing => return Ok(driver.wait_to_read(index, cx.waker())),
                Incoming::End => return Ok(true),
                Incoming::Bytes(received) => {
                    while buf.remaining() > 0
                        && let Some(first) = received.front_mut()
                    {
                        count += first.read(buf);
                        if first.len() == 0 {
                            received.pop_front();
                        }
                    }
                    if buf.remaining() >= UNREAD_BYTES_MAX {
                        driver.leave_to_reader(index);
                    }
                }
                Incoming::Socket(tcp) => {
                    let result = read_socket(tcp, buf);
                    driver.has_asked(index, &result);
                    if is_empty(&result) {
                        return Ok(driver.wait_to_read(index, cx.waker()));
                    }
                    result?;
                }
            }
            over = driver.has_read(index, count);
            Ok(true)
        });
        if over {
            super::turn();
        }
        read
    }

    /// The next bytes in memory that can be shared; none at the end.
    pub(in crate::transport) fn poll_read_bytes(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        self.poll_receive(cx).map_ok(Received::into_bytes)
    }

    /// The next bytes as they came; none at the end.
    pub(in crate::transport) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Received>> {
        let (mut over, mut next) = (false, Received::none());
        let read = self.with(|driver, index| {
            let mut count = 0;
            match driver.incoming(index)? {
                Incoming::Nothing => return Ok(driver.wait_to_read(index, cx.waker())),
                Incoming::End => return Ok(true),
                Incoming::Bytes(received) => {
                    if let Some(first) = received.pop_front() {
                        count = first.len();
                        next = first;
                    }
                }
                Incoming::Socket(tcp) => {
                    let read = Received::from_socket(tcp).map(|read| next = read);
                    let result = read.map(|()| next.len());
                    driver.has_asked(index, &result);
                    if is_empty(&result) {
                        return Ok(driver.wait_to_read(index, cx.waker()));
                    }
                    result?;
                }
            }
            over = driver.has_read(index, count);
            Ok(true)
        });
        if over {
            super::turn();
        }
        read.map_ok(|()| next)
    }

    pub(in crate::transport) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        let written = self.with(|driver, index| {
            let count = driver.write(index, bytes, cx.waker())?;
            taken = count.unwrap_or(0);
            Ok(count.is_some())
        });
        written.map_ok(|()| taken)
    }

    pub(in crate::transport) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.on_driver(|driver, index| driver.write_small(index, parts)) {
            Ok(Ok(0)) => self.poll_write(cx, first(parts)),
            Ok(written) => Poll::Ready(written),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// What is kept is on its way; there is nothing to wait for.
    pub(in crate::transport) fn poll_flush(&self) -> Poll<io::Result<()>> {
        self.with(|driver, index| driver.written(index).map(|()| true))
    }

    pub(in crate::transport) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|driver, index| driver.end(index, cx.waker()))
    }
}

/// Reads a socket past the ring.
fn read_socket(tcp: &TcpStream, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
    // SAFETY: `recv` only writes initialised bytes, and no more than the count it returns is declared
    // initialised and filled.
    let unfilled = unsafe { buf.unfilled_mut() };
    let count = retried(|| SockRef::from(tcp).recv(unfilled))?;
    // SAFETY: `recv` has initialised the first `count` bytes of the unfilled part.
    unsafe { buf.assume_init(count) };
    buf.advance(count);
    Ok(count)
}

/// Whether a socket had nothing.
fn is_empty<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Without the ring its sockets are closed already.
        let _ = self.on_driver(Driver::drop_stream);
    }
}

/// A listener whose connections the ring accepts.
#[derive(Debug)]
pub(in crate::transport) struct Accepting {
    index: usize,
}

impl Accepting {
    pub(in crate::transport) fn new(tcp: TcpListener) -> io::Result<Self> {
        Ok(Self { index: super::with(|driver| driver.listen(tcp))? })
    }

    /// The next connection. `None` once the listener has stopped and all that was accepted before
    /// is taken. Cancel safe.
    pub(in crate::transport) async fn accept(&mut self) -> Option<io::Result<TcpStream>> {
        poll_fn(|cx| {
            let next = super::with(|driver| driver.next_accepted(self.index, cx.waker()));
            next.unwrap_or(Poll::Ready(None))
        })
        .await
    }

    /// Accepts no more.
    pub(in crate::transport) fn stop(&mut self) {
        // Without the ring nothing is accepted any more.
        let _ = super::with(|driver| driver.stop_accepting(self.index));
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        let _ = super::with(|driver| driver.drop_listener(self.index));
    }
}
