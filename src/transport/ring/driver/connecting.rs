//! The beginning of a connection that we make, and the end of any.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::task::Waker;

use io_uring::opcode;
use io_uring::types::Fd;
use socket2::SockAddr;

use super::{Driver, Operation, Shot, Socket, tag};
use crate::clock::Instant;
use crate::transport::LINGER;

impl Driver {
    /// Begins to connect a socket.
    pub(in crate::transport::ring) fn connect(&mut self, tcp: TcpStream, to: SockAddr) -> usize {
        let index = self.sockets.insert(Socket::new(tcp, false));
        let to = Box::new(to);
        let fd = Fd(self.sockets[index].tcp.as_raw_fd());
        let entry = opcode::Connect::new(fd, to.as_ptr().cast(), to.len()).build();
        self.sockets[index].connecting = Some(to);
        self.push(entry.user_data(tag(Operation::Connect, index)));
        index
    }

    pub(super) fn connected(&mut self, index: usize, result: Result<i32, i32>) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        socket.connecting = None;
        socket.failed = result.err();
        let waker = socket.writer.take();
        self.wake(waker);
        if result.is_ok() {
            self.receive(index);
        }
        self.finish(index);
    }

    /// Whether a connection is there. The waker is kept until it is.
    pub(in crate::transport::ring) fn is_connected(
        &mut self,
        index: usize,
        waker: &Waker,
    ) -> io::Result<bool> {
        let socket = &mut self.sockets[index];
        socket.result()?;
        if socket.connecting.is_some() {
            socket.writer = Some(waker.clone());
        }
        Ok(socket.connecting.is_none())
    }

    pub(in crate::transport::ring) fn peer(&self, index: usize) -> io::Result<SocketAddr> {
        self.sockets[index].tcp.peer_addr()
    }

    /// The stream is gone: what it has kept is sent, then the socket is closed.
    pub(in crate::transport::ring) fn drop_stream(&mut self, index: usize) {
        let socket = &mut self.sockets[index];
        socket.dropped = Some(Instant::now() + LINGER);
        socket.reader = None;
        socket.writer = None;
        socket.received = VecDeque::new();
        if std::mem::take(&mut socket.unread_bytes) > 0 {
            self.unread -= 1;
        }
        let connecting = socket.connecting.is_some();
        if socket.receiving == Shot::Armed {
            self.stop_receiving(index);
        }
        if connecting {
            self.cancel(Operation::Connect, index);
        }
        self.finish(index);
    }

    /// Closes the socket of a dropped stream once nothing is left to do and the kernel is done with it.
    pub(super) fn finish(&mut self, index: usize) {
        let socket = &self.sockets[index];
        let busy = socket.receiving.is_in_kernel()
            || socket.sending.is_some()
            || socket.connecting.is_some()
            || socket.has_unsent();
        if socket.dropped.is_some() && !busy {
            self.sockets.remove(index);
        }
    }

    /// Gives up on dropped streams whose peer does not take their last bytes, and gives memory back.
    pub(in crate::transport::ring) fn sweep(&mut self) {
        self.blocks.shrink();
        let now = Instant::now();
        let late: Vec<usize> = self
            .sockets
            .iter()
            .filter(|(_, socket)| {
                socket.sending.is_some() && socket.dropped.is_some_and(|until| until <= now)
            })
            .map(|(index, _)| index)
            .collect();
        for index in late {
            self.sockets[index].out = Vec::new();
            self.cancel(Operation::Send, index);
        }
    }
}
