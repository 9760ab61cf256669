//! The memory that the kernel receives into: a ring of provided blocks (`IORING_REGISTER_PBUF_RING`).
//!
//! A receive names no memory of its own; the kernel takes the next block of the ring when bytes have
//! come, so a connection that waits holds none. What was received is handed on in its block, which
//! comes back when it is dropped. Blocks that are still out are replaced by new ones at the next turn:
//! a reader that keeps what it got can exhaust the ring for one turn at most. The ring grows when that
//! happens, and shrinks when it has not happened for a while.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use socket2::SockRef;

/// Size of one block.
pub(super) const BLOCK_BYTES: usize = 8 * 1024;
/// Blocks that the kernel has to choose from at first.
const PROVIDED_MIN: u16 = 64;
/// The most that it is ever given. A power of two.
const PROVIDED_MAX: u16 = 256;
/// Blocks that a thread keeps for later.
const SPARE_MAX: usize = 64;
/// Size of a block for little, where much is waiting to be read.
const SMALL_BYTES: usize = 1024;
/// Up to this length a copy is cheaper than lending the block.
const COPIED_BYTES_MAX: usize = 1024;
/// The kernel wants the ring on a page of its own.
const PAGE_BYTES: usize = 4096;

thread_local! {
    /// Blocks that came back. Apart from the driver, since one may be dropped while it works.
    static SPARE: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Memory that is not initialised: a page that nothing was received into is never touched. Behind a
/// pointer, since the kernel may write to it while it is provided.
struct Block(NonNull<[MaybeUninit<u8>]>);

// SAFETY: the block owns its memory alone, as a `Box` would.
unsafe impl Send for Block {}
// SAFETY: shared, it is only read.
unsafe impl Sync for Block {}

impl Block {
    /// One that came back, or a new one.
    fn any() -> Self {
        SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Self::new(BLOCK_BYTES))
    }

    fn new(bytes: usize) -> Self {
        Self(NonNull::from(Box::leak(Box::new_uninit_slice(bytes))))
    }

    fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Keeps the block for another receive, where there are not enough of them yet.
    fn give_back(self) {
        if self.bytes() != BLOCK_BYTES {
            return;
        }
        // Without the thread's list, which ends with the thread, the memory is freed.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(self);
            }
        });
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: `new` has leaked it from a box, and nobody else has the pointer: the kernel's blocks
        // are in `Ring::provided` and are only dropped once it has forgotten them.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// What one receive has brought.
pub(crate) struct Received {
    /// `None` at the end, and once it was given back. Initialised up to `to`.
    block: Option<Block>,
    from: usize,
    to: usize,
}

impl Received {
    /// Nothing: the end.
    pub(super) const fn none() -> Self {
        Self { block: None, from: 0, to: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.to - self.from
    }

    /// Reads a socket into a block that the kernel does not have.
    pub(super) fn from_socket(tcp: &TcpStream) -> io::Result<Self> {
        let block = Block::any();
        // SAFETY: the block is ours alone.
        let memory: &mut [MaybeUninit<u8>] = unsafe { &mut *block.0.as_ptr() };
        let count = retried(|| SockRef::from(tcp).recv(memory))?;
        Ok(Self { block: Some(block), from: 0, to: count })
    }

    /// Takes in what came next, if there is room behind it: pieces that nobody has read yet share a
    /// block. False when there is none.
    pub(super) fn append(&mut self, next: &Received) -> bool {
        let bytes = next.as_ref();
        let Some(block) = &self.block else { return false };
        if bytes.len() > block.bytes() - self.to {
            return false;
        }
        // SAFETY: there is room for so many bytes behind `to`, and the two blocks are not the same. This
        // one is ours alone: what was lent or read to its end is no `Received` any more.
        unsafe {
            let room = block.0.as_ptr().cast::<u8>().add(self.to);
            room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        self.to += bytes.len();
        true
    }

    /// The same in less memory, where it is little.
    pub(super) fn small(self) -> Self {
        if self.len() > SMALL_BYTES {
            return self;
        }
        let mut small = Self { block: Some(Block::new(SMALL_BYTES)), from: 0, to: 0 };
        if small.append(&self) { small } else { self }
    }

    /// Copies as much as there is room for, and says how much that was.
    pub(super) fn read(&mut self, room: &mut tokio::io::ReadBuf<'_>) -> usize {
        let bytes = self.as_ref();
        let count = bytes.len().min(room.remaining());
        room.put_slice(&bytes[..count]);
        self.from += count;
        count
    }

    /// Takes some away from the front.
    pub(crate) fn skip(&mut self, count: usize) {
        self.from += count.min(self.len());
    }

    /// The bytes: lent, or copied where there are few.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.len() <= COPIED_BYTES_MAX {
            return Bytes::copy_from_slice(self.as_ref());
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        let Some(block) = &self.block else { return &[] };
        let start: *const u8 = block.0.as_ptr().cast();
        // SAFETY: the block is ours since the kernel has completed the receive, which has initialised
        // `to` of its bytes, and nobody writes to them before it is given back. `from <= to`.
        unsafe { std::slice::from_raw_parts(start.add(self.from), self.to - self.from) }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            block.give_back();
        }
    }
}

/// Does it again for as long as signals interrupt it.
pub(super) fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The ring of blocks of one `io_uring`.
pub(super) struct Ring {
    entries: NonNull<BufRingEntry>,
    /// The kernel may write to these; by their id.
    provided: Vec<Option<Block>>,
    /// Ids without a block.
    vacant: Vec<u16>,
    /// How many blocks the kernel should have.
    wanted: usize,
    /// It ran out of them since this was asked last.
    starved: bool,
    tail: u16,
    /// The kernel may not have forgotten the memory.
    leaked: bool,
}

impl Ring {
    /// The group that receives name.
    pub(super) const GROUP: u16 = 0;

    const LAYOUT: Layout = {
        let bytes = PROVIDED_MAX as usize * size_of::<BufRingEntry>();
        match Layout::from_size_align(bytes, PAGE_BYTES) {
            Ok(layout) => layout,
            Err(_) => panic!("the ring's size is a valid layout"),
        }
    };

    /// Registers a ring and fills it.
    ///
    /// # Errors
    ///
    /// What the kernel says to the registration.
    pub(super) fn new(uring: &IoUring) -> io::Result<Self> {
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc_zeroed(Self::LAYOUT) };
        let entries: NonNull<BufRingEntry> =
            NonNull::new(memory.cast()).unwrap_or_else(|| handle_alloc_error(Self::LAYOUT));
        let mut ring = Self {
            entries,
            provided: (0..PROVIDED_MAX).map(|_| None).collect(),
            vacant: (0..PROVIDED_MAX).rev().collect(),
            wanted: usize::from(PROVIDED_MIN),
            starved: false,
            tail: 0,
            leaked: false,
        };
        // SAFETY: the memory has `PROVIDED_MAX` entries and lives as long as `ring`, which the driver
        // drops after the `IoUring`.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                PROVIDED_MAX,
                Self::GROUP,
                0,
            )
        }?;
        ring.refill();
        Ok(ring)
    }

    /// Gives the kernel as many blocks as it should have.
    pub(super) fn refill(&mut self) {
        let has = self.provided.len() - self.vacant.len();
        if has >= self.wanted {
            return;
        }
        for _ in has..self.wanted {
            let Some(id) = self.vacant.pop() else { break };
            self.provide(id, Block::any());
        }
        let tail = self.tail;
        // SAFETY: the ring's tail lies in its first entry, is as aligned as an `AtomicU16`, and
        // after the registration both sides only access it atomically.
        let shared = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        // What was written to the entries is seen before the tail is.
        shared.store(tail, Ordering::Release);
    }

    fn provide(&mut self, id: u16, block: Block) {
        let at = usize::from(self.tail % PROVIDED_MAX);
        // SAFETY: `at` is one of the ring's entries, and the kernel does not read it before the
        // tail says that it may. The fields that are set are not those of the tail.
        let entry = unsafe { self.entries.add(at).as_mut() };
        entry.set_addr(block.0.as_ptr().cast::<u8>() as u64);
        entry.set_len(BLOCK_BYTES as u32);
        entry.set_bid(id);
        self.provided[usize::from(id)] = Some(block);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Takes what the kernel has received into a block.
    pub(super) fn take(&mut self, id: u16, length: usize) -> Option<Received> {
        let block = self.provided.get_mut(usize::from(id))?.take()?;
        self.vacant.push(id);
        Some(Received { block: Some(block), from: 0, to: length.min(BLOCK_BYTES) })
    }

    /// Leaves the memory to a kernel that may still write to it.
    pub(super) fn leak(&mut self) {
        self.leaked = true;
        self.provided.drain(..).for_each(std::mem::forget);
    }

    /// Receives found no block in the last turn: more of them from now on.
    pub(super) fn grow(&mut self) {
        self.starved = true;
        self.wanted = (self.wanted * 2).min(usize::from(PROVIDED_MAX));
    }

    /// Wants fewer blocks if there were enough since the last call. Those that the kernel has are not
    /// replaced then.
    pub(super) fn shrink(&mut self) {
        if !std::mem::take(&mut self.starved) {
            self.wanted = (self.wanted / 2).max(usize::from(PROVIDED_MIN));
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        // SAFETY: allocated by `new` with this layout; the kernel's registration ended with the
        // `IoUring`, which the driver drops first.
        unsafe { dealloc(self.entries.as_ptr().cast(), Self::LAYOUT) }
    }
}
