//! Accepts: armed once for a listener, completed for every connection.

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::{Poll, Waker};

use io_uring::opcode;
use io_uring::types::Fd;

use super::{Driver, Listening, Operation, Shot, tag};

impl Driver {
    pub(in crate::transport::ring) fn listen(&mut self, tcp: TcpListener) -> usize {
        let index = self.listeners.insert(Listening {
            tcp,
            accepting: Shot::Idle,
            accepted: VecDeque::new(),
            over: false,
            waker: None,
            dropped: false,
        });
        self.accept(index);
        index
    }

    fn accept(&mut self, index: usize) {
        let listener = &mut self.listeners[index];
        if listener.accepting != Shot::Idle || listener.over {
            return;
        }
        listener.accepting = Shot::Armed;
        let entry = opcode::AcceptMulti::new(Fd(listener.tcp.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build();
        self.push(entry.user_data(tag(Operation::Accept, index)));
    }

    pub(super) fn accepted(&mut self, index: usize, result: Result<i32, i32>, more: bool) {
        let result = result.map(|descriptor| {
            // SAFETY: the kernel has opened it for this completion alone.
            TcpStream::from(unsafe { OwnedFd::from_raw_fd(descriptor) })
        });
        let Some(listener) = self.listeners.get_mut(index) else { return };
        match result {
            Err(libc::ECANCELED) => {}
            result => listener.accepted.push_back(result.map_err(io::Error::from_raw_os_error)),
        }
        if !more {
            listener.accepting = Shot::Idle;
        }
        let waker = listener.waker.take();
        if listener.dropped && listener.accepting == Shot::Idle {
            self.listeners.remove(index);
        }
        self.wake(waker);
    }

    /// The next connection. `None` once the listener has stopped and all that it had accepted was
    /// taken.
    pub(in crate::transport::ring) fn next_accepted(
        &mut self,
        index: usize,
        waker: &Waker,
    ) -> Poll<Option<io::Result<TcpStream>>> {
        let listener = &mut self.listeners[index];
        if let Some(accepted) = listener.accepted.pop_front() {
            return Poll::Ready(Some(accepted));
        }
        if listener.over && listener.accepting == Shot::Idle {
            return Poll::Ready(None);
        }
        listener.waker = Some(waker.clone());
        self.accept(index);
        Poll::Pending
    }

    /// Accepts no more.
    pub(in crate::transport::ring) fn stop_accepting(&mut self, index: usize) {
        let listener = &mut self.listeners[index];
        listener.over = true;
        if listener.accepting == Shot::Armed {
            listener.accepting = Shot::Stopping;
            self.cancel(Operation::Accept, index);
        }
    }

    pub(in crate::transport::ring) fn drop_listener(&mut self, index: usize) {
        self.stop_accepting(index);
        let listener = &mut self.listeners[index];
        listener.dropped = true;
        if listener.accepting == Shot::Idle {
            self.listeners.remove(index);
        }
    }
}
