//! Messages of HTTP/1.1 as they arrive (RFC 9112): a head, then a body that is delimited by its length,
//! by chunks or by the end of the connection. Push bytes, get parts; header values and the body are
//! handed on as slices of what was pushed ([`Fields`]).

mod body;
mod known;
mod request;
mod response;

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::fields::{Fields, Name};
pub use body::{Body, Part, content_length, take_chunks};
pub use request::Request;
pub use response::{Decoder, Head};

/// Length of a message's head.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The head is not what RFC 9112 says.
    Head,
    /// The head is longer, or has more headers, than is accepted.
    HeadTooLong,
    /// Its length is given twice, differently, or is not a number.
    Length,
    /// It is encoded in a way other than chunked.
    TransferEncoding,
    /// It can be read in more than one way: two hosts, or two ways to find its end.
    Ambiguous,
    /// A chunk's size, its end or the trailers are not what RFC 9112 says.
    Chunk,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Head => "the head is malformed",
            Malformed::HeadTooLong => "the head is too long",
            Malformed::Length => "the length is ambiguous",
            Malformed::TransferEncoding => "the transfer encoding is unknown",
            Malformed::Ambiguous => "the message can be read in more than one way",
            Malformed::Chunk => "the chunked encoding is malformed",
        })
    }
}

impl std::error::Error for Malformed {}

/// Puts more behind what was read: without a copy where nothing was left.
pub fn append(read: &mut Bytes, more: Bytes) {
    if read.is_empty() {
        *read = more;
        return;
    }
    let mut whole = std::mem::take(read).try_into_mut().unwrap_or_else(|shared| {
        let mut own = BytesMut::with_capacity(shared.len() + more.len());
        own.extend_from_slice(&shared);
        own
    });
    whole.extend_from_slice(&more);
    *read = whole.freeze();
}

/// Whether the connection outlives the response (RFC 9112, section 9.3).
fn keeps(version: u8, headers: &Fields) -> bool {
    let says = |word: &[u8]| {
        headers
            .all(Name::Connection)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(word))
    };
    if version == 1 { !says(b"close") } else { says(b"keep-alive") && !says(b"close") }
}

#[cfg(test)]
mod tests;
