//! What one thread's ring is doing: its sockets, its listeners, what they wait for.
//!
//! An entry outlives its stream until the kernel has completed all that was asked for it, since the
//! kernel reads and writes its memory until then.

mod accepting;
mod connecting;
mod receiving;
mod sending;

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

use io_uring::types::{CancelBuilder, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use slab::Slab;
use socket2::SockAddr;

pub(super) use receiving::Incoming;

use super::blocks::{Received, Ring};
use crate::clock::{Duration, Instant};
use crate::transport::spare::Spare;
use crate::transport::{CALLERS_PER_LOOK, GATHERED_BYTES_MAX};

/// Entries of the submission queue; what is more goes to the kernel in between.
const SUBMISSIONS: u32 = 1024;
/// Entries of the completion queue. The kernel keeps what is more.
const COMPLETIONS: u32 = 8 * 1024;
/// Bytes that were received and not read, from which the ring receives no more for a socket: its
/// reader takes the rest from the socket itself, until that is empty. So a reader that does not come
/// holds the peer back, and one that reads a large body has it copied once. One wake-up of the kernel
/// may bring some more.
pub(super) const UNREAD_BYTES_MAX: usize = 64 * 1024;
/// Sockets with something unread from which the worker does not keep up: what comes for more of them,
/// and is little, is put into less memory until it is read.
const UNREAD_SOCKETS_MAX: usize = 256;
/// Pieces after which each of so many leaves the rest in the socket, where it costs the least, and from
/// where it is taken together.
const UNREAD_PIECES_MAX: u32 = 2;
/// How long the end of a thread waits for the kernel to let go of its memory.
const END_WITHIN: Duration = Duration::from_secs(1);

/// What a completion is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Accept = 0,
    Receive = 1,
    Send = 2,
    Connect = 3,
    /// Nobody waits for it.
    Cancel = 4,
}

/// An operation's name towards the kernel.
fn tag(operation: Operation, index: usize) -> u64 {
    (index as u64) << 3 | operation as u64
}

/// Whether a multishot operation goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shot {
    #[default]
    Idle,
    Armed,
    /// Its cancellation was asked for.
    Stopping,
    /// It was stopped: the reader asks the socket itself.
    Direct,
}

impl Shot {
    /// Whether the kernel has it.
    fn is_in_kernel(self) -> bool {
        matches!(self, Shot::Armed | Shot::Stopping)
    }
}

/// How a socket's incoming side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Failed(i32),
}

/// One TCP connection.
struct Socket {
    tcp: TcpStream,
    /// It was accepted, not connected.
    accepted: bool,
    receiving: Shot,
    received: VecDeque<Received>,
    unread_bytes: usize,
    /// Arrivals since it was read last.
    unread_pieces: u32,
    end: Option<End>,
    reader: Option<Waker>,
    /// Gathered since the last send.
    out: Vec<u8>,
    /// With the kernel, and how much of it has gone out.
    sending: Option<(Vec<u8>, usize)>,
    /// It is in the list of those that have something to send.
    queued: bool,
    /// The error of an earlier write, as the system numbers it.
    failed: Option<i32>,
    writer: Option<Waker>,
    /// The outgoing side ends when all is sent.
    ending: bool,
    /// The address that is being connected to, which the kernel reads.
    connecting: Option<Box<SockAddr>>,
    /// The stream was dropped, and until when it may send its last bytes.
    dropped: Option<Instant>,
}

impl Socket {
    fn new(tcp: TcpStream, accepted: bool) -> Self {
        Self {
            tcp,
            accepted,
            receiving: Shot::Idle,
            received: VecDeque::new(),
            unread_bytes: 0,
            unread_pieces: 0,
            end: None,
            reader: None,
            out: Vec::new(),
            sending: None,
            queued: false,
            failed: None,
            writer: None,
            ending: false,
            connecting: None,
            dropped: None,
        }
    }

    fn result(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }

    /// How much more of what is written is kept to be sent at the end of the turn.
    fn room(&self) -> usize {
        GATHERED_BYTES_MAX.saturating_sub(self.out.len())
    }

    fn has_unsent(&self) -> bool {
        self.failed.is_none() && (self.sending.is_some() || !self.out.is_empty())
    }
}

/// One listening socket.
struct Listening {
    tcp: TcpListener,
    accepting: Shot,
    accepted: VecDeque<io::Result<TcpStream>>,
    /// It accepts no more.
    over: bool,
    waker: Option<Waker>,
    dropped: bool,
}

/// A thread's ring with everything that it is doing.
pub(super) struct Driver {
    // Dropped first: then the kernel has forgotten the memory of the rest.
    uring: IoUring,
    blocks: Ring,
    sockets: Slab<Socket>,
    listeners: Slab<Listening>,
    /// Sockets that have something to send.
    unsent: Vec<usize>,
    /// Sockets that received nothing for want of blocks.
    starved: Vec<usize>,
    /// Entries that found no room in the submission queue.
    backlog: VecDeque<squeue::Entry>,
    /// Send buffers for whoever is next.
    spare: Spare,
    /// Whom the last completions concern.
    wakers: Vec<Waker>,
    /// Readers of accepted sockets to which something has come: they are woken after the others, so
    /// many at a time.
    callers: VecDeque<Waker>,
    /// How many were woken since the thread had nothing to do.
    woken: usize,
    /// How many sockets have something unread.
    unread: usize,
    reads: u32,
    id: u32,
}

impl Driver {
    pub(super) fn new() -> io::Result<Self> {
        static ID: AtomicU32 = AtomicU32::new(0);
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let blocks = Ring::new(&uring)?;
        Ok(Self {
            uring,
            blocks,
            sockets: Slab::new(),
            listeners: Slab::new(),
            unsent: Vec::new(),
            starved: Vec::new(),
            backlog: VecDeque::new(),
            spare: Spare::default(),
            wakers: Vec::new(),
            callers: VecDeque::new(),
            woken: 0,
            unread: 0,
            reads: 0,
            id: ID.fetch_add(1, Ordering::Relaxed),
        })
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.uring.as_raw_fd()
    }

    /// Tells this ring from those of other threads.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// The last turn before the thread waits, unless somebody is woken in it.
    pub(super) fn rest(&mut self) {
        self.woken = 0;
        self.turn();
    }

    /// Looks at what was done, and has the kernel do what is wanted.
    pub(super) fn turn(&mut self) {
        self.reads = 0;
        self.reap();
        loop {
            if !self.starved.is_empty() {
                self.blocks.grow();
            }
            self.blocks.refill();
            for index in std::mem::take(&mut self.starved) {
                self.receive(index);
            }
            self.start_sends();
            if self.uring.submission().is_empty() && self.backlog.is_empty() {
                return;
            }
            if !self.submit() {
                // The kernel has no room now: the next turn tries again.
                return;
            }
            self.reap();
        }
    }

    /// Puts an entry where the next submission takes it along. Memory that it names belongs to an
    /// entry of `sockets` or `listeners`, which lives until the kernel has completed it.
    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: as the function demands; descriptors are open for as long as their entry lives.
        let pushed =
            self.backlog.is_empty() && unsafe { self.uring.submission().push(&entry) }.is_ok();
        if !pushed {
            self.backlog.push_back(entry);
        }
    }

    /// Hands everything to the kernel. False when it takes nothing for now.
    fn submit(&mut self) -> bool {
        loop {
            match self.uring.submit() {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => continue,
                Err(_) => return false,
            }
            if self.backlog.is_empty() {
                return true;
            }
            let mut queue = self.uring.submission();
            while let Some(entry) = self.backlog.pop_front() {
                // SAFETY: as in `push`.
                if unsafe { queue.push(&entry) }.is_err() {
                    self.backlog.push_front(entry);
                    break;
                }
            }
        }
    }

    /// Takes what the kernel has completed.
    pub(super) fn reap(&mut self) {
        // Completions are copied out, since handling them needs the rest of the driver.
        loop {
            let Some(done) = self.uring.completion().next() else { return };
            self.complete(&done);
        }
    }

    fn complete(&mut self, done: &cqueue::Entry) {
        let index = (done.user_data() >> 3) as usize;
        let result = match done.result() {
            code if code < 0 => Err(-code),
            count => Ok(count),
        };
        let more = cqueue::more(done.flags());
        match done.user_data() & 7 {
            op if op == Operation::Receive as u64 => {
                self.received(index, result, more, cqueue::buffer_select(done.flags()));
            }
            op if op == Operation::Send as u64 => self.sent(index, result),
            op if op == Operation::Accept as u64 => self.accepted(index, result, more),
            op if op == Operation::Connect as u64 => self.connected(index, result),
            _ => {}
        }
    }

    /// Has the kernel give up an operation, if it still is at it.
    fn cancel(&mut self, operation: Operation, index: usize) {
        let entry = opcode::AsyncCancel::new(tag(operation, index)).build();
        self.push(entry.user_data(tag(Operation::Cancel, 0)));
    }

    fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Whom to wake now. While callers are left out somebody is woken, so that the thread does not
    /// wait.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        let mut wakers = std::mem::take(&mut self.wakers);
        let callers = self.callers.len().min(CALLERS_PER_LOOK);
        wakers.extend(self.callers.drain(..callers));
        self.woken += wakers.len();
        wakers
    }

    /// Whether at most one was woken since the thread had nothing to do.
    pub(super) fn has_woken_one(&self) -> bool {
        self.woken <= 1
    }

    /// Gives the memory of a list back that [`Driver::take_wakers`] gave out.
    pub(super) fn keep_list(&mut self, list: Vec<Waker>) {
        if self.wakers.is_empty() {
            self.wakers = list;
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Everything that the kernel still does for this ring ends before its memory does.
        let within = Timespec::from(END_WITHIN);
        let ended = self.uring.submitter().register_sync_cancel(Some(within), CancelBuilder::any());
        let nothing_left = |error: &io::Error| error.raw_os_error() == Some(libc::ENOENT);
        if ended.as_ref().is_err_and(|error| !nothing_left(error)) {
            // It may write on: the memory stays.
            let sockets = std::mem::take(&mut self.sockets);
            std::mem::forget(sockets);
            self.blocks.leak();
        }
    }
}
