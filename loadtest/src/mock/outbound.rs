//! The way back to the client: one interface over both HTTP versions.
//!
//! Everything that waits here also watches for the client going away, so that a simulated upstream
//! notices a cancelled request at once, even while it sleeps between two tokens.

use std::time::{Duration, Instant};

use ::h2::Reason;

use super::{h1, h2};

/// The client went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// A response head.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) status: u16,
    pub(super) content_type: &'a str,
    pub(super) headers: &'a [(&'static str, String)],
    /// The body's length; a stream has none.
    pub(super) length: Option<usize>,
}

/// The way back.
pub(super) enum Outbound<'a> {
    H1(h1::Out<'a>),
    H2(h2::Out),
}

impl Outbound<'_> {
    /// Begins the answer. Over HTTP/1.1 the head goes out with the first data, or with
    /// [`Self::flush`].
    pub(super) async fn head(&mut self, head: &Head<'_>) -> Result<(), Gone> {
        match self {
            Self::H1(out) => {
                out.head(head);
                Ok(())
            }
            Self::H2(out) => out.head(head).await,
        }
    }

    /// Sends what is held back.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        match self {
            Self::H1(out) => out.flush().await,
            Self::H2(out) => {
                out.settle().await;
                Ok(())
            }
        }
    }

    /// Sends data in one write.
    pub(super) async fn data(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        match self {
            Self::H1(out) => out.data(bytes).await,
            Self::H2(out) => out.data(bytes).await,
        }
    }

    /// Ends the answer.
    pub(super) async fn finish(&mut self) -> Result<(), Gone> {
        match self {
            Self::H1(out) => out.finish().await,
            Self::H2(out) => out.finish(),
        }
    }

    /// Sends bytes that are no part of a well-formed answer. HTTP/2 cannot, and resets the stream.
    pub(super) async fn raw(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        match self {
            Self::H1(out) => out.raw(bytes).await,
            Self::H2(out) => {
                out.settle().await;
                out.reset(Reason::PROTOCOL_ERROR);
                Ok(())
            }
        }
    }

    /// Waits until a moment.
    pub(super) async fn wait(&mut self, until: Instant) -> Result<(), Gone> {
        match self {
            Self::H1(out) => out.wait(until).await,
            Self::H2(out) => out.wait(until).await,
        }
    }

    /// Waits until the client goes away.
    pub(super) async fn wait_for_client(&mut self) -> Gone {
        match self {
            Self::H1(out) => out.gone().await,
            Self::H2(out) => out.gone().await,
        }
    }

    /// Breaks the connection (`RST`), or the HTTP/2 stream. What was not flushed may be lost.
    pub(super) fn reset(&mut self) {
        match self {
            Self::H1(out) => out.reset(),
            Self::H2(out) => out.reset(Reason::REFUSED_STREAM),
        }
    }

    /// Closes the connection where it is, or ends the HTTP/2 stream with an error. What was not
    /// flushed may be lost.
    pub(super) fn cut(&mut self) {
        match self {
            Self::H1(out) => out.cut(),
            Self::H2(out) => out.reset(Reason::INTERNAL_ERROR),
        }
    }

    /// No further request on this connection. With `say`, an HTTP/1.1 head tells the client; HTTP/2
    /// always does.
    pub(super) fn close_after(&mut self, say: bool) {
        match self {
            Self::H1(out) => out.close_after(say),
            Self::H2(out) => out.close_after(),
        }
    }

    /// From here on, one byte a write, this long apart.
    pub(super) fn drip(&mut self, pause: Duration) {
        match self {
            Self::H1(out) => out.drip = Some(pause),
            Self::H2(out) => out.drip = Some(pause),
        }
    }

    /// Sends the status line, waits, and lets the rest of the head follow.
    pub(super) fn slow_head(&mut self, pause: Duration) {
        match self {
            Self::H1(out) => out.slow_head = Some(pause),
            Self::H2(out) => out.slow_head = Some(pause),
        }
    }

    /// An interim response before the real one. HTTP/2 goes without.
    pub(super) async fn interim(&mut self) -> Result<(), Gone> {
        match self {
            Self::H1(out) => {
                out.raw(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n").await
            }
            Self::H2(_) => Ok(()),
        }
    }

    /// When the last bytes went out.
    pub(super) fn last_write(&self) -> Option<Instant> {
        match self {
            Self::H1(out) => out.last_write,
            Self::H2(out) => out.last_write,
        }
    }

    /// The protocol's name in the books.
    pub(super) fn protocol(&self) -> &'static str {
        match self {
            Self::H1(_) => "http/1.1",
            Self::H2(_) => "h2",
        }
    }
}
