//! Sends: gathered in a turn, one for each socket at its end.

use std::io::{self, IoSlice, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::task::Waker;

use io_uring::opcode;
use io_uring::types::Fd;

use super::{Driver, Operation, Socket, tag};
use crate::clock::Instant;
use crate::transport::ring::blocks::retried;

impl Driver {
    /// Takes as much as there is room for: what is small is sent at the end of the turn, what is
    /// large at once. `Ok(None)` when there is no room; the waker is kept.
    pub(in crate::transport::ring) fn write(
        &mut self,
        index: usize,
        bytes: &[u8],
        waker: &Waker,
    ) -> io::Result<Option<usize>> {
        let socket = &mut self.sockets[index];
        socket.result()?;
        let mut taken = bytes.len();
        if bytes.len() > socket.room() {
            if socket.sending.is_none() {
                match write_through(socket, bytes) {
                    Ok(0) => {}
                    Ok(count) => return Ok(Some(count)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            // The kernel has bytes of this socket already, or takes none: some wait for it.
            taken = bytes.len().min(socket.room());
            if taken == 0 {
                socket.writer = Some(waker.clone());
                return Ok(None);
            }
        }
        self.gather(index, &bytes[..taken]);
        Ok(Some(taken))
    }

    /// Takes those of several parts, from the first, that are small enough to be sent together at the
    /// end of the turn: how many bytes that was.
    pub(in crate::transport::ring) fn write_small(
        &mut self,
        index: usize,
        parts: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.sockets[index].result()?;
        let mut taken = 0;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            if part.len() > self.sockets[index].room() {
                break;
            }
            self.gather(index, part);
            taken += part.len();
        }
        Ok(taken)
    }

    fn gather(&mut self, index: usize, bytes: &[u8]) {
        let Self { sockets, spare, unsent, .. } = self;
        let socket = &mut sockets[index];
        if socket.out.capacity() == 0 {
            socket.out = spare.take();
        }
        socket.out.extend_from_slice(bytes);
        if !socket.queued && socket.sending.is_none() {
            socket.queued = true;
            unsent.push(index);
        }
    }

    /// What came of earlier writes.
    pub(in crate::transport::ring) fn written(&mut self, index: usize) -> io::Result<()> {
        self.sockets[index].result()
    }

    /// Ends the outgoing side once all is sent. `Ok(false)` until then; the waker is kept.
    pub(in crate::transport::ring) fn end(
        &mut self,
        index: usize,
        waker: &Waker,
    ) -> io::Result<bool> {
        let socket = &mut self.sockets[index];
        socket.result()?;
        if socket.has_unsent() {
            socket.ending = true;
            socket.writer = Some(waker.clone());
            return Ok(false);
        }
        if !std::mem::take(&mut socket.ending) {
            socket.tcp.shutdown(Shutdown::Write)?;
        }
        Ok(true)
    }

    pub(super) fn start_sends(&mut self) {
        let mut unsent = std::mem::take(&mut self.unsent);
        for index in unsent.drain(..) {
            let Some(socket) = self.sockets.get_mut(index) else { continue };
            socket.queued = false;
            if socket.sending.is_none() && !socket.out.is_empty() {
                socket.sending = Some((std::mem::take(&mut socket.out), 0));
                self.send(index);
            }
        }
        self.unsent = unsent;
    }

    /// Sends what is left of a socket's bytes. All of them: the kernel waits for room itself.
    fn send(&mut self, index: usize) {
        let socket = &self.sockets[index];
        let Some((bytes, sent)) = &socket.sending else { return };
        let left = &bytes[*sent..];
        let entry = opcode::Send::new(Fd(socket.tcp.as_raw_fd()), left.as_ptr(), left.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        self.push(entry.user_data(tag(Operation::Send, index)));
    }

    pub(super) fn sent(&mut self, index: usize, result: Result<i32, i32>) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        let Some((bytes, sent)) = &mut socket.sending else { return };
        match result {
            Ok(count) => *sent += count as usize,
            Err(libc::EINTR) => {}
            Err(code) => {
                socket.failed = Some(code);
                socket.out = Vec::new();
                *sent = bytes.len();
            }
        }
        if *sent < bytes.len() && socket.dropped.is_none_or(|until| until > Instant::now()) {
            self.send(index);
            return;
        }
        if let Some((bytes, _)) = socket.sending.take() {
            self.spare.keep(bytes);
        }
        if !socket.out.is_empty() && !socket.queued {
            socket.queued = true;
            self.unsent.push(index);
        }
        if socket.ending && !socket.has_unsent() {
            // A peer that is gone needs no farewell.
            let _ = socket.tcp.shutdown(Shutdown::Write);
        }
        let waker = socket.writer.take();
        self.wake(waker);
        self.finish(index);
    }
}

/// Writes past what is gathered, together with it: the count of the new bytes that went out.
fn write_through(socket: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
    let kept = socket.out.len();
    let slices = [IoSlice::new(&socket.out), IoSlice::new(bytes)];
    let slices = if kept == 0 { &slices[1..] } else { &slices[..] };
    let count = retried(|| (&socket.tcp).write_vectored(slices))?;
    socket.out.drain(..count.min(kept));
    Ok(count.saturating_sub(kept))
}
