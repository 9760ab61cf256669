//! epoll: sockets that tokio watches, which send what was gathered with one system call each.
//!
//! A write is never refused for what became of an earlier one but once: what the socket does not take
//! is kept, up to a bound, and sent by a task of its own as the peer makes room; a failure is
//! reported by the next write. A stream that is dropped sends what it has kept first.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, ReadBuf};

use super::spare::Spare;
use super::{
    CALLERS_PER_LOOK, GATHERED_BYTES_MAX, LINGER, READS_PER_TURN_MAX, block, first,
    spare_congestion_control,
};

/// What one worker has gathered since it last waited.
#[derive(Default)]
struct Turn {
    /// Whether anybody calls [`turn`] on this thread.
    gathers: bool,
    streams: Vec<Arc<Socket>>,
    spare: Spare,
    reads: u32,
    /// Accepted sockets that were read in this turn, or may be.
    heard: usize,
    /// Those that have something to read and wait for a later turn.
    callers: VecDeque<(Arc<Socket>, Waker)>,
}

impl Turn {
    /// Whether an accepted socket that has something to read is read in this turn. If not, its reader
    /// is woken in a later one, before those that come after it.
    fn hears(&mut self, socket: &Arc<Socket>, reader: &Waker) -> bool {
        match socket.place.load(Ordering::Relaxed) {
            Socket::CALLED => {
                socket.place.store(Socket::NO_PLACE, Ordering::Relaxed);
                return true;
            }
            Socket::NO_PLACE if self.callers.is_empty() && self.heard < CALLERS_PER_LOOK => {
                self.heard += 1;
                return true;
            }
            Socket::NO_PLACE => {
                socket.place.store(Socket::WAITS, Ordering::Relaxed);
                self.callers.push_back((Arc::clone(socket), reader.clone()));
            }
            _ => {
                let mut callers = self.callers.iter_mut();
                if let Some((_, known)) = callers.find(|(known, _)| Arc::ptr_eq(known, socket)) {
                    known.clone_from(reader);
                }
            }
        }
        false
    }

    /// Begins the next turn, and calls those who have waited longest.
    fn begin(&mut self) -> Vec<Waker> {
        self.reads = 0;
        self.heard = self.callers.len().min(CALLERS_PER_LOOK);
        let called = self.callers.drain(..self.heard).map(|(socket, reader)| {
            socket.place.store(Socket::CALLED, Ordering::Relaxed);
            reader
        });
        called.collect()
    }
}

thread_local! {
    static TURN: RefCell<Turn> = RefCell::default();
}

/// Lets streams of this thread gather their writes. Whoever says so calls [`turn`] each time before
/// the thread waits.
pub(super) fn gather_on_this_thread() {
    TURN.with_borrow_mut(|turn| turn.gathers = true);
}

/// Ends a turn: sends what this thread's streams have gathered.
pub(super) fn turn() {
    let (streams, called) =
        TURN.with_borrow_mut(|turn| (std::mem::take(&mut turn.streams), turn.begin()));
    send(streams);
    // While anybody waits somebody is woken, so that the thread does not.
    called.into_iter().for_each(Waker::wake);
}

/// Sends what was gathered where at most one socket was read in this turn, which goes on.
pub(super) fn send_ahead() {
    let streams = TURN.with_borrow_mut(|turn| {
        if turn.reads <= 1 { std::mem::take(&mut turn.streams) } else { Vec::new() }
    });
    send(streams);
}

fn send(mut streams: Vec<Arc<Socket>>) {
    for socket in streams.drain(..) {
        socket.send();
    }
    // The list's memory serves the next turn, unless something was gathered meanwhile.
    TURN.with_borrow_mut(|turn| {
        if turn.streams.is_empty() && turn.streams.capacity() < streams.capacity() {
            turn.streams = streams;
        }
    });
}

/// Counts a read, and ends the turn of a worker that is never idle.
fn count_read() {
    let over = TURN.with_borrow_mut(|turn| {
        turn.reads += 1;
        turn.reads >= READS_PER_TURN_MAX && !turn.streams.is_empty()
    });
    if over {
        turn();
    }
}

/// The socket with what is to be sent on it.
#[derive(Debug)]
struct Socket {
    io: AsyncFd<TcpStream>,
    /// It was accepted, not connected.
    accepted: bool,
    /// Where it stands in the line of those that have something to read.
    place: AtomicU8,
    out: Mutex<Out>,
}

#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
    /// It is in the turn's list.
    queued: bool,
    /// A task sends as the peer makes room; nobody else does meanwhile.
    draining: bool,
    /// Waits for room.
    writer: Option<Waker>,
    /// The error of an earlier write, as the system numbers it.
    failed: Option<i32>,
    /// The stream was dropped.
    orphaned: bool,
}

impl Out {
    fn result(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }

    fn fail(&mut self, error: &io::Error) {
        self.failed = Some(error.raw_os_error().unwrap_or(libc::EIO));
        self.bytes = Vec::new();
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn sent(&mut self, count: usize) {
        if count == self.bytes.len() {
            // A stream with nothing to send holds on to no memory.
            let bytes = std::mem::take(&mut self.bytes);
            TURN.with_borrow_mut(|turn| turn.spare.keep(bytes));
        } else {
            self.bytes.drain(..count);
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

impl Socket {
    const NO_PLACE: u8 = 0;
    /// In the turn's line.
    const WAITS: u8 = 1;
    /// Out of it: the next read goes through.
    const CALLED: u8 = 2;

    fn new(tcp: TcpStream, accepted: bool) -> io::Result<Arc<Self>> {
        // SAFETY: a `TcpStream` keeps its one descriptor open until it is dropped, which the
        // `AsyncFd` does after its registration.
        let io = unsafe { AsyncFd::register(tcp) }?;
        let place = AtomicU8::new(Self::NO_PLACE);
        Ok(Arc::new(Self { io, accepted, place, out: Mutex::default() }))
    }

    /// Sends what is kept; what the socket does not take goes to a task.
    fn send(self: &Arc<Self>) {
        let mut out = self.out.lock();
        out.queued = false;
        if out.draining || out.bytes.is_empty() {
            return;
        }
        match write(self.io.get_ref(), &[IoSlice::new(&out.bytes)]) {
            Ok(count) => out.sent(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => out.fail(&error),
        }
        if !out.bytes.is_empty() {
            self.drain(&mut out);
        }
    }

    /// Hands what is kept to a task that sends it as the peer makes room.
    fn drain(self: &Arc<Self>, out: &mut Out) {
        out.draining = true;
        let socket = Arc::clone(self);
        tokio::spawn(async move {
            let result = socket.drained().await;
            let mut out = socket.out.lock();
            out.draining = false;
            if let Err(error) = result {
                out.fail(&error);
            }
        });
    }

    async fn drained(&self) -> io::Result<()> {
        loop {
            let mut ready = match tokio::time::timeout(LINGER, self.io.writable()).await {
                Ok(ready) => ready?,
                Err(_) if self.out.lock().orphaned => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => continue,
            };
            let mut out = self.out.lock();
            match ready.try_io(|io| write(io.get_ref(), &[IoSlice::new(&out.bytes)])) {
                Ok(result) => out.sent(result?),
                Err(_would_block) => continue,
            }
            if out.bytes.is_empty() {
                return Ok(());
            }
        }
    }
}

fn write(mut tcp: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        match tcp.write_vectored(slices) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Stream(Arc<Socket>);

impl Stream {
    /// Takes over an accepted socket that does not block.
    pub(super) fn new(tcp: TcpStream) -> io::Result<Self> {
        Socket::new(tcp, true).map(Self)
    }

    /// Connects.
    pub(super) async fn connect(to: SocketAddr) -> io::Result<Self> {
        let tcp = tokio::net::TcpStream::connect(to).await?.into_std()?;
        tcp.set_nodelay(true)?;
        spare_congestion_control(&SockRef::from(&tcp), to.ip());
        Socket::new(tcp, false).map(Self)
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.0.io.as_raw_fd()
    }

    pub(super) fn peer(&self) -> io::Result<SocketAddr> {
        self.0.io.get_ref().peer_addr()
    }

    pub(super) fn is_silent(&self) -> bool {
        // Whoever waits to read is still woken: nobody else is put in their place.
        self.0.io.try_io(Interest::READABLE, |_| Ok(())).is_err()
    }

    fn gather(&self, out: &mut Out, bytes: &[u8]) {
        if out.bytes.capacity() == 0 {
            out.bytes = TURN.with_borrow_mut(|turn| turn.spare.take());
        }
        out.bytes.extend_from_slice(bytes);
        if !out.queued && !out.draining {
            out.queued = TURN.with_borrow_mut(|turn| {
                if turn.gathers {
                    turn.streams.push(Arc::clone(&self.0));
                }
                turn.gathers
            });
        }
    }

    /// Writes past what is kept, together with it.
    fn write_through(&self, out: &mut Out, bytes: &[u8]) -> io::Result<usize> {
        let kept = out.bytes.len();
        let slices = [IoSlice::new(&out.bytes), IoSlice::new(bytes)];
        let slices = if kept == 0 { &slices[1..] } else { &slices[..] };
        let count = write(self.0.io.get_ref(), slices)?;
        out.sent(count.min(kept));
        Ok(count.saturating_sub(kept))
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.io.poll_read_ready(cx))?;
            let hears = |turn: &mut Turn| !turn.gathers || turn.hears(&self.0, cx.waker());
            if self.0.accepted && !TURN.with_borrow_mut(hears) {
                return Poll::Pending;
            }
            // SAFETY: `recv` only writes initialised bytes, and no more than the count it returns
            // is declared initialised and filled.
            let unfilled = unsafe { buf.unfilled_mut() };
            let room = unfilled.len();
            match SockRef::from(self.0.io.get_ref()).recv(unfilled) {
                Ok(count) => {
                    if 0 < count && count < room {
                        // The socket is empty: the next event says when it is not. A half-closed
                        // peer stays readable, which clearing does not touch.
                        ready.clear_ready();
                    }
                    // SAFETY: `recv` has initialised the first `count` bytes of the unfilled part.
                    unsafe { buf.assume_init(count) };
                    buf.advance(count);
                    count_read();
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The next bytes in memory of their own; none at the end.
    pub(super) fn poll_read_bytes(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        block::read_bytes(|room| self.poll_read(cx, room))
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut out = self.0.out.lock();
        out.result()?;
        let room = GATHERED_BYTES_MAX.saturating_sub(out.bytes.len());
        let gathers = TURN.with_borrow(|turn| turn.gathers);
        if buf.len() <= room && (gathers || out.draining) {
            self.gather(&mut out, buf);
            return Poll::Ready(Ok(buf.len()));
        }
        if !out.draining {
            match self.write_through(&mut out, buf) {
                Ok(count) if count > 0 || buf.is_empty() => return Poll::Ready(Ok(count)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            // The socket is full. What there is room for is kept, and a task sends it.
            let taken = buf.len().min(GATHERED_BYTES_MAX.saturating_sub(out.bytes.len()));
            out.bytes.extend_from_slice(&buf[..taken]);
            self.0.drain(&mut out);
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
        } else if room > 0 {
            out.bytes.extend_from_slice(&buf[..room]);
            return Poll::Ready(Ok(room));
        }
        out.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes those of several parts, from the first, that are small enough to be sent together.
    pub(super) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut out = self.0.out.lock();
        out.result()?;
        let mut taken = 0;
        if out.draining || TURN.with_borrow(|turn| turn.gathers) {
            for part in parts.iter().filter(|part| !part.is_empty()) {
                if part.len() > GATHERED_BYTES_MAX.saturating_sub(out.bytes.len()) {
                    break;
                }
                self.gather(&mut out, part);
                taken += part.len();
            }
        }
        drop(out);
        if taken > 0 { Poll::Ready(Ok(taken)) } else { self.poll_write(cx, first(parts)) }
    }

    /// What is kept is on its way; there is nothing to wait for.
    pub(super) fn poll_flush(&self) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.out.lock().result())
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.send();
        let mut out = self.0.out.lock();
        out.result()?;
        if out.draining {
            out.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(self.0.io.get_ref().shutdown(std::net::Shutdown::Write))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // In the turn's list or with a task it is sent before the socket closes.
        self.0.out.lock().orphaned = true;
    }
}

/// A listener that tokio watches.
#[derive(Debug)]
pub(super) struct Accepting {
    io: AsyncFd<TcpListener>,
    over: bool,
}

impl Accepting {
    pub(super) fn new(tcp: TcpListener) -> io::Result<Self> {
        // SAFETY: as for `Stream::new`.
        let io = unsafe { AsyncFd::register_with_interest(tcp, Interest::READABLE) }?;
        Ok(Self { io, over: false })
    }

    /// The next connection. `None` once the listener has stopped. Cancel safe.
    pub(super) async fn accept(&mut self) -> Option<io::Result<TcpStream>> {
        if self.over {
            return None;
        }
        Some(self.io.async_io(Interest::READABLE, accept).await)
    }

    /// Accepts no more.
    pub(super) fn stop(&mut self) {
        self.over = true;
    }
}

/// Accepts a connection that does not block.
fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (tcp, _) = listener.accept()?;
    tcp.set_nonblocking(true)?;
    Ok(tcp)
}
