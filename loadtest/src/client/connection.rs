//! One connection: a socket and a decoder.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{Decoder, Failure, Head, Step};

/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 64 * 1024;

/// Watches an answer arrive.
pub trait Observer {
    /// The head.
    fn head(&mut self, head: &Head);
    /// A part of the body, and when it was read.
    fn data(&mut self, data: &Bytes, at: Instant);
}

/// A keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    decoder: Decoder,
    /// Answers received on it.
    answers: u64,
}

impl Connection {
    /// Connects. Dropping the connection later sends a reset only if unread bytes are left.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::new(), decoder: Decoder::default(), answers: 0 })
    }

    /// Whether the peer closed it while it was idle, or sent something unasked.
    pub fn closed_while_idle(&self) -> bool {
        let mut byte = [0];
        !matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether it may carry another request.
    pub fn reusable(&self) -> bool {
        self.decoder.keep_alive() && self.buffer.is_empty()
    }

    /// Sends a request.
    pub async fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.decoder.reset();
        self.stream.write_all(request).await.map_err(|_| self.silent())
    }

    /// Reads the answer to its end.
    pub async fn receive(&mut self, observer: &mut impl Observer) -> Result<(), Failure> {
        let mut started = false;
        let mut at = Instant::now();
        loop {
            match self.decoder.step(&mut self.buffer) {
                Err(_) => return Err(Failure::Protocol),
                Ok(Step::Head(head)) => observer.head(&head),
                Ok(Step::Data(data)) => observer.data(&data, at),
                Ok(Step::End) => {
                    self.answers += 1;
                    return Ok(());
                }
                Ok(Step::More) => {
                    self.buffer.reserve(READ_BYTES);
                    let read = self.stream.read_buf(&mut self.buffer).await;
                    at = Instant::now();
                    match read {
                        Ok(0) if self.decoder.ends_with_connection() => {
                            self.answers += 1;
                            return Ok(());
                        }
                        Ok(0) | Err(_) if !started => return Err(self.silent()),
                        Ok(0) | Err(_) => return Err(Failure::Cut),
                        Ok(_) => started = true,
                    }
                }
            }
        }
    }

    fn silent(&self) -> Failure {
        if self.answers > 0 { Failure::Stale } else { Failure::NoAnswer }
    }
}
