//! Memory that a thread's streams read into, one after the other, where the ring does not provide it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

/// Size of one block, and the room that a read should have in it.
const BLOCK_BYTES: usize = 16 * 1024;
const READ_BYTES_MIN: usize = 4 * 1024;

thread_local! {
    static BLOCK: RefCell<BytesMut> = RefCell::default();
}

/// The next bytes of a stream, in memory of the thread's; none at the end. Cancel safe.
pub fn poll_read_bytes(
    mut stream: Pin<&mut (impl AsyncRead + ?Sized)>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    read_bytes(|room| stream.as_mut().poll_read(cx, room))
}

/// Has something read into the thread's block, and takes what it has read.
pub(super) fn read_bytes(
    read: impl FnOnce(&mut ReadBuf<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<Bytes>> {
    BLOCK.with_borrow_mut(|block| {
        if block.capacity() < READ_BYTES_MIN {
            *block = BytesMut::with_capacity(BLOCK_BYTES);
        }
        let mut room = ReadBuf::uninit(block.spare_capacity_mut());
        ready!(read(&mut room))?;
        let count = room.filled().len();
        // SAFETY: the read has filled the first `count` bytes after the block's length, zero.
        unsafe { block.set_len(count) };
        Poll::Ready(Ok(block.split().freeze()))
    })
}
