//! Receives: armed once, completed for every arrival, left to the reader where much comes at once.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::task::Waker;

use io_uring::opcode;
use io_uring::types::Fd;

use super::{
    Driver, End, Operation, Shot, Socket, UNREAD_BYTES_MAX, UNREAD_PIECES_MAX, UNREAD_SOCKETS_MAX,
    tag,
};
use crate::transport::READS_PER_TURN_MAX;
use crate::transport::ring::blocks::{Received, Ring};

impl Driver {
    /// Takes over a socket that was accepted.
    pub(in crate::transport::ring) fn adopt(&mut self, tcp: TcpStream) -> usize {
        let index = self.sockets.insert(Socket::new(tcp, true));
        self.receive(index);
        index
    }

    /// Arms the receive of a socket that takes more.
    pub(super) fn receive(&mut self, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        let wants = socket.end.is_none() && socket.dropped.is_none();
        if !wants || socket.receiving != Shot::Idle {
            return;
        }
        socket.receiving = Shot::Armed;
        let fd = Fd(socket.tcp.as_raw_fd());
        let entry = opcode::RecvMulti::new(fd, Ring::GROUP).build();
        self.push(entry.user_data(tag(Operation::Receive, index)));
    }

    pub(super) fn received(
        &mut self,
        index: usize,
        result: Result<i32, i32>,
        more: bool,
        block: Option<u16>,
    ) {
        let bytes = match (result, block) {
            (Ok(count @ 1..), Some(id)) => self.blocks.take(id, count as usize),
            // A block that came with nothing in it is replaced like any other.
            (_, Some(id)) => self.blocks.take(id, 0).and(None),
            _ => None,
        };
        let Some(socket) = self.sockets.get_mut(index) else { return };
        let mut starved = false;
        match result {
            Ok(0) => socket.end = Some(End::Closed),
            Ok(_) | Err(libc::ECANCELED | libc::EINTR) => {}
            Err(libc::ENOBUFS) => starved = true,
            Err(code) => socket.end = Some(End::Failed(code)),
        }
        if !more {
            let stopped = socket.receiving == Shot::Stopping;
            socket.receiving = if stopped { Shot::Direct } else { Shot::Idle };
        }
        if socket.dropped.is_some() {
            self.finish(index);
            return;
        }
        if let Some(bytes) = bytes {
            self.unread += usize::from(socket.unread_bytes == 0);
            socket.unread_bytes += bytes.len();
            socket.unread_pieces += 1;
            // Of many streams whose frames pile up each holds a block, and not one for every frame.
            if !socket.received.back_mut().is_some_and(|last| last.append(&bytes)) {
                socket.received.push_back(if self.unread > UNREAD_SOCKETS_MAX {
                    bytes.small()
                } else {
                    bytes
                });
            }
        }
        let full = socket.unread_bytes >= UNREAD_BYTES_MAX
            || self.unread > UNREAD_SOCKETS_MAX && socket.unread_pieces >= UNREAD_PIECES_MAX;
        let direct = socket.receiving == Shot::Direct;
        let waker = if socket.received.is_empty() && socket.end.is_none() && !direct {
            None
        } else {
            socket.reader.take()
        };
        let armed = socket.receiving == Shot::Armed;
        if socket.accepted {
            self.callers.extend(waker);
        } else {
            self.wake(waker);
        }
        if starved {
            self.starved.push(index);
        } else if full && armed {
            self.stop_receiving(index);
        } else if !more {
            self.receive(index);
        }
    }

    /// The reader has room for as much as the ring keeps: what comes next, it takes from the socket itself.
    pub(in crate::transport::ring) fn leave_to_reader(&mut self, index: usize) {
        if self.sockets[index].receiving == Shot::Armed {
            self.stop_receiving(index);
        }
    }

    pub(super) fn stop_receiving(&mut self, index: usize) {
        self.sockets[index].receiving = Shot::Stopping;
        self.cancel(Operation::Receive, index);
    }

    /// What there is to read. The caller reads it and says so with [`Driver::has_read`] or
    /// [`Driver::has_asked`].
    pub(in crate::transport::ring) fn incoming(
        &mut self,
        index: usize,
    ) -> io::Result<Incoming<'_>> {
        let socket = &mut self.sockets[index];
        if socket.received.is_empty() {
            return match socket.end {
                None if socket.receiving == Shot::Direct => Ok(Incoming::Socket(&socket.tcp)),
                None => Ok(Incoming::Nothing),
                Some(End::Closed) => Ok(Incoming::End),
                Some(End::Failed(code)) => Err(io::Error::from_raw_os_error(code)),
            };
        }
        Ok(Incoming::Bytes(&mut socket.received))
    }

    /// So many bytes were read: there may be room for more. True when the turn should end although
    /// there is more to do.
    pub(in crate::transport::ring) fn has_read(&mut self, index: usize, count: usize) -> bool {
        let socket = &mut self.sockets[index];
        socket.unread_bytes -= count;
        socket.unread_pieces = 0;
        if count > 0 && socket.unread_bytes == 0 {
            self.unread -= 1;
        }
        self.reads += 1;
        self.reads >= READS_PER_TURN_MAX
    }

    /// The reader has asked the socket itself, and this came of it: bytes, the end, or nothing, in
    /// which case the ring receives again.
    pub(in crate::transport::ring) fn has_asked(
        &mut self,
        index: usize,
        result: &io::Result<usize>,
    ) {
        let socket = &mut self.sockets[index];
        match result {
            Ok(0) => socket.end = Some(End::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.receiving = Shot::Idle;
                self.receive(index);
            }
            Err(error) => {
                socket.end = Some(End::Failed(error.raw_os_error().unwrap_or(libc::EIO)));
            }
        }
    }

    /// Wakes the reader when there is more. Always false: it has read nothing.
    pub(in crate::transport::ring) fn wait_to_read(&mut self, index: usize, waker: &Waker) -> bool {
        let socket = &mut self.sockets[index];
        match &mut socket.reader {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        false
    }

    /// Whether nothing has come that was not read: no byte, no end, no error.
    pub(in crate::transport::ring) fn is_silent(&mut self, index: usize) -> bool {
        if let Ok(Incoming::Socket(tcp)) = self.incoming(index) {
            let peeked = tcp.peek(&mut [0]);
            if peeked.is_ok() {
                return false;
            }
            self.has_asked(index, &peeked);
        }
        let socket = &self.sockets[index];
        socket.received.is_empty() && socket.end.is_none()
    }
}

/// What a socket has to read.
pub(in crate::transport::ring) enum Incoming<'a> {
    Nothing,
    /// Not empty.
    Bytes(&'a mut VecDeque<Received>),
    /// Whatever the socket has.
    Socket(&'a TcpStream),
    End,
}
