//! `/v1/realtime`: a WebSocket session that answers every `response.create` with a script of text,
//! and ends each with `response.done` and its usage.

mod session;
mod websocket;

use std::future::poll_fn;
use std::io;
use std::time::Instant;

use bytes::BytesMut;
use tokio::net::TcpStream;

use self::session::Session;
use self::websocket::{Decoder, Message};
use super::deliver::{Delivery, Fate};
use super::fault::{Fault, Point};
use super::outbound::{Gone, Outbound};
use super::problem::Problem;
use super::reply::Whole;
use super::request::Fields;

/// What one read takes.
const READ_BYTES: usize = 16 << 10;

/// The answer when a request to `/v1/realtime` is no WebSocket handshake.
pub(super) fn check(fields: &Fields) -> Result<(), Problem> {
    if fields.upgrade_websocket && fields.websocket_key.is_some() {
        return Ok(());
    }
    Err(Problem {
        message: "This endpoint speaks the WebSocket protocol.".into(),
        ..Problem::status(426)
    })
}

impl Delivery<'_> {
    /// Makes the handshake and serves the session until one side ends it.
    pub(super) async fn realtime(
        &mut self,
        model: &str,
        fields: &Fields,
        out: &mut Outbound<'_>,
    ) -> Fate {
        let key = fields.websocket_key.as_deref().unwrap_or_default();
        let mut head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: {}\r\nx-request-id: {}\r\n",
            websocket::accept_key(key),
            self.request_id
        );
        let protocols = fields.websocket_protocols.as_deref().unwrap_or_default();
        if protocols.split(',').any(|protocol| protocol.trim() == "realtime") {
            head.push_str("sec-websocket-protocol: realtime\r\n");
        }
        head.push_str("\r\n");
        let Outbound::H1(out) = out else {
            let whole = Whole { status: 501, ..Whole::json("{}") };
            return self.whole(whole, out).await;
        };
        out.raw(head.as_bytes()).await?;
        self.entry.edit(|record| {
            record.status = 101;
            record.stream = true;
        });
        if self.fault == Some(Fault::Reset(Point::AfterHead)) {
            out.reset();
            return Ok(());
        }
        let (io, received) = out.take_over();
        let mut socket = Socket { io, received, decoder: Decoder::default(), buffer: Vec::new() };
        let ending = Session::new(self, model).serve(&mut socket).await;
        if ending == Ok(Ending::Reset) {
            out.reset();
        }
        ending.map(drop)
    }
}

/// How a session ended, unless the client went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Closed,
    Cut,
    Reset,
}

/// A connection that speaks WebSocket.
struct Socket<'a> {
    io: &'a TcpStream,
    received: &'a mut BytesMut,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Socket<'_> {
    async fn write(&mut self) -> Result<(), Gone> {
        let mut bytes = self.buffer.as_slice();
        while !bytes.is_empty() {
            match self.io.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.io.writable().await.map_err(|_| Gone)?;
                }
                Err(_) => return Err(Gone),
            }
        }
        self.buffer.clear();
        Ok(())
    }

    async fn send(&mut self, text: &str) -> Result<(), Gone> {
        websocket::text(text, &mut self.buffer);
        self.write().await
    }

    async fn close(&mut self, code: u16) -> Result<(), Gone> {
        websocket::close(code, &mut self.buffer);
        self.write().await
    }

    /// The next text. `None` when the client closed the session in good order.
    async fn receive(&mut self) -> Result<Option<Vec<u8>>, Gone> {
        loop {
            match self.decoder.next(self.received) {
                Ok(Some(Message::Text(text))) => return Ok(Some(text)),
                Ok(Some(Message::Ping(payload))) => {
                    websocket::pong(&payload, &mut self.buffer);
                    self.write().await?;
                }
                Ok(Some(Message::Close(code))) => {
                    self.close(code.unwrap_or(1000)).await?;
                    return Ok(None);
                }
                Ok(Some(Message::Binary(_) | Message::Pong)) => {}
                Ok(None) => self.fill().await?,
                Err(code) => {
                    self.close(code).await?;
                    return Ok(None);
                }
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Gone> {
        loop {
            poll_fn(|cx| self.io.poll_read_ready(cx)).await.map_err(|_| Gone)?;
            self.received.reserve(READ_BYTES);
            match self.io.try_read_buf(self.received) {
                Ok(0) => return Err(Gone),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Gone),
            }
        }
    }

    /// The next text, if it comes before this moment.
    async fn receive_until(&mut self, until: Instant) -> Result<Option<Option<Vec<u8>>>, Gone> {
        match tokio::time::timeout_at(until.into(), self.receive()).await {
            Ok(received) => received.map(Some),
            Err(_) => Ok(None),
        }
    }
}
