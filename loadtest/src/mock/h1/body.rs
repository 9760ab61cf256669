//! Request bodies: by length, or in chunks.

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;

use super::read_some;

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    Gone,
    TooLarge,
    Invalid(&'static str),
}

/// The longest line of a chunk size or trailer.
const LINE_BYTES_MAX: usize = 8 << 10;
/// The most trailer lines.
const TRAILERS_MAX: usize = 64;
/// What is reserved at once for a body that declares its length.
const RESERVE_BYTES_MAX: usize = 64 << 20;

const INVALID: ReadError = ReadError::Invalid("400 Bad Request");

impl Body {
    /// Reads the body; what follows it stays in the inbox.
    pub(super) async fn read(
        self,
        io: &TcpStream,
        inbox: &mut BytesMut,
        bytes_max: usize,
    ) -> Result<Bytes, ReadError> {
        match self {
            Body::None => Ok(Bytes::new()),
            Body::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length > bytes_max {
                    return Err(ReadError::TooLarge);
                }
                inbox.reserve(length.saturating_sub(inbox.len()).min(RESERVE_BYTES_MAX));
                fill(io, inbox, length).await?;
                Ok(inbox.split_to(length).freeze())
            }
            Body::Chunked => chunked(io, inbox, bytes_max).await,
        }
    }
}

/// Reads until the inbox holds this many bytes.
async fn fill(io: &TcpStream, inbox: &mut BytesMut, length: usize) -> Result<(), ReadError> {
    while inbox.len() < length {
        match read_some(io, inbox).await {
            Ok(0) | Err(_) => return Err(ReadError::Gone),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Takes a line, without its CRLF.
async fn line(io: &TcpStream, inbox: &mut BytesMut) -> Result<BytesMut, ReadError> {
    let mut searched = 0;
    loop {
        if let Some(at) = memchr::memchr(b'\n', &inbox[searched..]) {
            let mut line = inbox.split_to(searched + at + 1);
            if !line.ends_with(b"\r\n") {
                return Err(INVALID);
            }
            line.truncate(line.len() - 2);
            return Ok(line);
        }
        searched = inbox.len();
        if searched > LINE_BYTES_MAX {
            return Err(INVALID);
        }
        fill(io, inbox, searched + 1).await?;
    }
}

async fn chunked(
    io: &TcpStream,
    inbox: &mut BytesMut,
    bytes_max: usize,
) -> Result<Bytes, ReadError> {
    let mut body = BytesMut::new();
    loop {
        let line = line(io, inbox).await?;
        let size = chunk_size(&line).ok_or(INVALID)?;
        if size == 0 {
            break;
        }
        if size > bytes_max - body.len() {
            return Err(ReadError::TooLarge);
        }
        fill(io, inbox, size + 2).await?;
        body.extend_from_slice(&inbox[..size]);
        if inbox[size..size + 2] != *b"\r\n" {
            return Err(INVALID);
        }
        let _ = inbox.split_to(size + 2);
    }
    for _ in 0..TRAILERS_MAX {
        if line(io, inbox).await?.is_empty() {
            return Ok(body.freeze());
        }
    }
    Err(INVALID)
}

/// The size in a chunk's first line; extensions are ignored.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii_end();
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chunk_sizes() {
        for (line, size) in
            [("0", Some(0)), ("1F", Some(31)), ("a;name=value", Some(10)), ("5 ", Some(5))]
        {
            assert_eq!(chunk_size(line.as_bytes()), size, "{line}");
        }
        for line in ["", " ", "+1", "-1", "0x10", "g", "1 2", "ffffffffffffffff"] {
            assert_eq!(chunk_size(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_handled(line in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = chunk_size(&line);
        }
    }
}
