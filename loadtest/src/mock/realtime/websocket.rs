//! WebSocket framing for a server (RFC 6455), without a socket.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, BytesMut};
use sha1::{Digest, Sha1};

/// The largest message.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// What the accept key is made with (RFC 6455, section 1.3).
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// `Sec-WebSocket-Accept` for a client's key.
pub(super) fn accept_key(key: &str) -> String {
    BASE64.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize())
}

/// A message from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// Finds messages in what a client sends.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Opcode and bytes of a message that came in fragments and is not complete.
    fragments: Option<(u8, Vec<u8>)>,
}

impl Decoder {
    /// Takes the next message from the front of what was received. An error is a close code.
    pub(super) fn next(&mut self, received: &mut BytesMut) -> Result<Option<Message>, u16> {
        while let Some((is_final, opcode, payload)) = frame(received)? {
            match opcode {
                CLOSE => {
                    let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                    return Ok(Some(Message::Close(code)));
                }
                PING => return Ok(Some(Message::Ping(payload))),
                PONG => return Ok(Some(Message::Pong)),
                0 => {
                    let (_, whole) = self.fragments.as_mut().ok_or(1002_u16)?;
                    if whole.len() + payload.len() > MESSAGE_BYTES_MAX {
                        return Err(1009);
                    }
                    whole.extend_from_slice(&payload);
                }
                TEXT | BINARY if self.fragments.is_none() => {
                    self.fragments = Some((opcode, payload));
                }
                _ => return Err(1002),
            }
            if is_final && let Some((opcode, whole)) = self.fragments.take() {
                let is_text = opcode == TEXT;
                return Ok(Some(if is_text {
                    Message::Text(whole)
                } else {
                    Message::Binary(whole)
                }));
            }
        }
        Ok(None)
    }
}

/// Takes one frame: whether it is the last of its message, its opcode, its payload.
fn frame(received: &mut BytesMut) -> Result<Option<(bool, u8, Vec<u8>)>, u16> {
    let [first, second, ..] = received[..] else { return Ok(None) };
    let (opcode, short) = (first & 15, second & 127);
    // Reserved bits are for extensions that nobody negotiated; a client must mask.
    if first & 0x70 != 0 || second & 128 == 0 {
        return Err(1002);
    }
    if opcode >= 8 && (short > 125 || first & 128 == 0) {
        return Err(1002);
    }
    let (length, head) = match short {
        126 => match received.get(2..4) {
            Some(bytes) => (usize::from(u16::from_be_bytes([bytes[0], bytes[1]])), 4),
            None => return Ok(None),
        },
        127 => match received.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => (usize::try_from(u64::from_be_bytes(bytes)).unwrap_or(usize::MAX), 10),
            None => return Ok(None),
        },
        short => (usize::from(short), 2),
    };
    if length > MESSAGE_BYTES_MAX {
        return Err(1009);
    }
    let whole = head + 4 + length;
    if received.len() < whole {
        received.reserve(whole - received.len());
        return Ok(None);
    }
    received.advance(head);
    let mask = [received[0], received[1], received[2], received[3]];
    received.advance(4);
    let mut payload = received.split_to(length).to_vec();
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Some((first & 128 != 0, opcode, payload)))
}

fn encode(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(128 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=65_535 => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Appends a text message.
pub(super) fn text(payload: &str, out: &mut Vec<u8>) {
    encode(TEXT, payload.as_bytes(), out);
}

/// Appends the answer to a ping.
pub(super) fn pong(payload: &[u8], out: &mut Vec<u8>) {
    encode(PONG, payload, out);
}

/// Appends a close.
pub(super) fn close(code: u16, out: &mut Vec<u8>) {
    encode(CLOSE, &code.to_be_bytes(), out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A masked frame as a client sends it.
    fn client(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(first & 15, payload, &mut out);
        out[0] = first;
        out[1] |= 128;
        let head = out.len() - payload.len();
        let mask = [1, 2, 3, 4];
        for (index, byte) in out[head..].iter_mut().enumerate() {
            *byte ^= mask[index % 4];
        }
        out.splice(head..head, mask);
        out
    }

    #[test]
    fn the_accept_key_of_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    proptest! {
        /// Whatever the sizes and wherever the bytes are cut, the same messages come out.
        #[test]
        fn reads_messages_in_any_cutting(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..5),
            fragment in 1_usize..200, cut in 1_usize..50,
        ) {
            let mut bytes = Vec::new();
            for message in &messages {
                let count = message.chunks(fragment).count().max(1);
                for index in 0..count {
                    let piece = message.chunks(fragment).nth(index).unwrap_or_default();
                    let opcode = if index == 0 { TEXT } else { 0 };
                    let last = if index + 1 == count { 128 } else { 0 };
                    bytes.extend(client(last | opcode, piece));
                    if last == 0 {
                        bytes.extend(client(128 | PING, b"p"));
                    }
                }
            }
            let (mut decoder, mut received, mut read) = (Decoder::default(), BytesMut::new(), Vec::new());
            for piece in bytes.chunks(cut) {
                received.extend_from_slice(piece);
                while let Some(message) = decoder.next(&mut received).unwrap() {
                    if let Message::Text(text) = message {
                        read.push(text);
                    }
                }
            }
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn any_bytes_are_handled(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut received = BytesMut::from(bytes.as_slice());
            let mut decoder = Decoder::default();
            while let Ok(Some(_)) = decoder.next(&mut received) {}
        }
    }

    #[test]
    fn breaches_of_the_protocol_have_their_code() {
        let code = |bytes: &[u8]| Decoder::default().next(&mut BytesMut::from(bytes)).unwrap_err();
        assert_eq!(code(&[0x81, 0x00]), 1002);
        assert_eq!(code(&client(0x80, b"x")), 1002);
        assert_eq!(code(&client(0xf1, b"x")), 1002);
        assert_eq!(code(&[0x81, 0xff, 0, 0, 0, 0, 0xff, 0, 0, 0]), 1009);
    }
}
