//! WebSocket frames (RFC 6455), read while they pass.
//!
//! The realtime protocols speak JSON text messages over a socket whose bytes are forwarded as they
//! come. The [`Reader`] follows one direction of it: it keeps track of where frames begin and end,
//! and hands out each message, joined from its fragments and unmasked, without changing a byte of
//! what is forwarded. A message longer than the reader may hold is skipped over, not refused, since
//! forwarding does not depend on it.

use std::fmt;
use std::ops::ControlFlow;

/// The longest frame header: two bytes, a 64 bit length, a masking key.
const HEADER_BYTES_MAX: usize = 14;
/// The longest payload of a control frame (section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Lengths that say where the length is instead.
const LENGTH_OF_16_BITS: u8 = 0x7E;
const LENGTH_OF_64_BITS: u8 = 0x7F;

const OP_CONTINUATION: u8 = 0;
const OP_TEXT: u8 = 1;
const OP_BINARY: u8 = 2;
const OP_CLOSE: u8 = 8;
const OP_PING: u8 = 9;
const OP_PONG: u8 = 10;

/// What kind of frame [`encode`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// The end of the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// The answer to a ping.
    Pong,
}

/// One message that has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message. UTF-8 is not verified.
    Text(&'a [u8]),
    /// A binary message.
    Binary(&'a [u8]),
    /// A data message that was not kept: longer than the bound, or encoded by an extension.
    Skipped {
        /// The length of its payload.
        bytes: u64,
    },
    /// The peer closes the connection.
    Close {
        /// Why, as a number (section 7.4).
        code: Option<u16>,
        /// Why, in words.
        reason: &'a [u8],
    },
    /// A ping.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
}

/// The bytes break the protocol. Nothing can be read from this direction any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketError {
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSocket: {}", self.reason)
    }
}

impl std::error::Error for WebSocketError {}

/// Reads the messages of one direction of a connection.
#[derive(Debug)]
pub struct Reader {
    message_bytes_max: usize,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// The frame whose payload is passing.
    frame: Option<Frame>,
    /// The payload of the data message so far.
    message: Option<Partial>,
    /// The payload of the control frame so far; control frames come between fragments, too.
    control: Vec<u8>,
    failed: Option<WebSocketError>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    last: bool,
    mask: Option<[u8; 4]>,
    /// How much of the payload has passed, and how much is still to come.
    passed: u64,
    missing: u64,
}

/// A data message of which not all frames have passed.
#[derive(Debug)]
struct Partial {
    opcode: u8,
    payload: Vec<u8>,
    bytes: u64,
    skipped: bool,
}

impl Frame {
    fn is_control(&self) -> bool {
        self.opcode >= OP_CLOSE
    }

    /// The part of the payload in `chunk`, and what follows it.
    fn take<'a>(&mut self, chunk: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let taken = usize::try_from(self.missing).unwrap_or(usize::MAX).min(chunk.len());
        self.missing -= taken as u64;
        chunk.split_at(taken)
    }

    /// Appends a part of the payload, unmasked.
    fn append(&self, part: &[u8], to: &mut Vec<u8>) {
        match self.mask {
            None => to.extend_from_slice(part),
            Some(mask) => {
                let phase = (self.passed % 4) as usize;
                let key = mask.into_iter().cycle().skip(phase);
                to.extend(part.iter().zip(key).map(|(byte, key)| byte ^ key));
            }
        }
    }
}

impl Reader {
    /// A reader that holds messages of at most `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            frame: None,
            message: None,
            control: Vec::new(),
            failed: None,
        }
    }

    /// Whether the bytes so far end with a frame, so that another frame may be written after them.
    pub fn at_boundary(&self) -> bool {
        self.frame.is_none() && self.header_bytes == 0 && self.failed.is_none()
    }

    /// Takes the next bytes and calls `heard` for every message that is complete with them.
    pub fn push(
        &mut self,
        mut chunk: &[u8],
        mut heard: impl FnMut(Message<'_>),
    ) -> Result<(), WebSocketError> {
        self.failed.map_or(Ok(()), Err)?;
        loop {
            let frame = match self.frame.take() {
                Some(frame) if chunk.is_empty() => {
                    self.frame = Some(frame);
                    return Ok(());
                }
                Some(frame) => frame,
                None => match self.read_header(&mut chunk) {
                    Ok(ControlFlow::Continue(frame)) => frame,
                    Ok(ControlFlow::Break(())) => return Ok(()),
                    Err(reason) => {
                        let error = WebSocketError { reason };
                        self.failed = Some(error);
                        return Err(error);
                    }
                },
            };
            chunk = if frame.is_control() {
                self.pass_control(frame, chunk, &mut heard)
            } else {
                self.pass_data(frame, chunk, &mut heard)
            };
        }
    }

    /// Collects a header. Breaks when it is not complete yet.
    fn read_header(&mut self, chunk: &mut &[u8]) -> Result<ControlFlow<(), Frame>, &'static str> {
        loop {
            let known = &self.header[..self.header_bytes];
            let needed = header_bytes(known);
            if known.len() < needed {
                let Some((&byte, rest)) = chunk.split_first() else {
                    return Ok(ControlFlow::Break(()));
                };
                self.header[self.header_bytes] = byte;
                self.header_bytes += 1;
                *chunk = rest;
                continue;
            }
            let frame = parse_header(known, self.message.is_some())?;
            self.header_bytes = 0;
            if !frame.is_control() && frame.opcode != OP_CONTINUATION {
                // Reserved bits mean that an extension encoded the payload.
                let skipped = self.header[0] & 0x70 != 0;
                let opcode = frame.opcode;
                self.message = Some(Partial { opcode, payload: Vec::new(), bytes: 0, skipped });
            }
            return Ok(ControlFlow::Continue(frame));
        }
    }

    fn pass_control<'a>(
        &mut self,
        mut frame: Frame,
        chunk: &'a [u8],
        heard: &mut impl FnMut(Message<'_>),
    ) -> &'a [u8] {
        let (part, rest) = frame.take(chunk);
        frame.append(part, &mut self.control);
        frame.passed += part.len() as u64;
        if frame.missing > 0 {
            self.frame = Some(frame);
            return rest;
        }
        let payload = &self.control[..];
        heard(match (frame.opcode, payload) {
            (OP_PING, _) => Message::Ping(payload),
            (OP_PONG, _) => Message::Pong(payload),
            (_, [high, low, reason @ ..]) => {
                Message::Close { code: Some(u16::from_be_bytes([*high, *low])), reason }
            }
            (_, _) => Message::Close { code: None, reason: &[] },
        });
        self.control.clear();
        rest
    }

    fn pass_data<'a>(
        &mut self,
        mut frame: Frame,
        chunk: &'a [u8],
        heard: &mut impl FnMut(Message<'_>),
    ) -> &'a [u8] {
        let Some(mut message) = self.message.take() else { return chunk };
        let (part, rest) = frame.take(chunk);
        let complete = frame.missing == 0 && frame.last;
        message.bytes = message.bytes.saturating_add(part.len() as u64);
        message.skipped |=
            message.bytes.saturating_add(frame.missing) > self.message_bytes_max as u64;
        if message.skipped {
            message.payload = Vec::new();
        } else if !(complete && message.payload.is_empty() && frame.mask.is_none()) {
            frame.append(part, &mut message.payload);
        }
        frame.passed += part.len() as u64;
        if !complete {
            self.message = Some(message);
            if frame.missing > 0 {
                self.frame = Some(frame);
            }
            return rest;
        }
        // A message that is in one piece, as most are, was not copied.
        let payload = if message.payload.is_empty() { part } else { &message.payload };
        heard(match message {
            Partial { skipped: true, bytes, .. } => Message::Skipped { bytes },
            Partial { opcode: OP_TEXT, .. } => Message::Text(payload),
            Partial { .. } => Message::Binary(payload),
        });
        rest
    }
}

/// How long the header is that begins with `known`, as far as it can be told.
fn header_bytes(known: &[u8]) -> usize {
    let Some(second) = known.get(1) else { return 2 };
    let length = match second & 0x7F {
        LENGTH_OF_16_BITS => 2,
        LENGTH_OF_64_BITS => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

fn parse_header(header: &[u8], in_message: bool) -> Result<Frame, &'static str> {
    let (first, second) = (header[0], header[1]);
    let (opcode, last) = (first & 0x0F, first & 0x80 != 0);
    let masked = second & 0x80 != 0;
    let (length, mask) = header[2..].split_at(header.len() - 2 - if masked { 4 } else { 0 });
    let missing = match length {
        [] => u64::from(second & 0x7F),
        length => length.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    };
    match (opcode, in_message) {
        (OP_CONTINUATION, true) | (OP_TEXT | OP_BINARY, false) => {
            if missing >> 63 != 0 {
                return Err("a frame has an impossible length");
            }
        }
        (OP_CLOSE | OP_PING | OP_PONG, _) => {
            if !last || missing > CONTROL_BYTES_MAX as u64 {
                return Err("a control frame is fragmented or too long");
            }
        }
        (OP_CONTINUATION, false) => return Err("a continuation without a beginning"),
        (OP_TEXT | OP_BINARY, true) => return Err("a message begins inside another"),
        _ => return Err("a reserved opcode"),
    }
    let mask = <[u8; 4]>::try_from(mask).ok();
    Ok(Frame { opcode, last, mask, passed: 0, missing })
}

/// Writes one frame that is a whole message. A client must mask (section 5.3), a server must not.
///
/// The payload of a control frame is cut at what it can hold, 125 bytes.
pub fn encode(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let (code, payload) = match opcode {
        Opcode::Text => (OP_TEXT, payload),
        Opcode::Binary => (OP_BINARY, payload),
        Opcode::Close => (OP_CLOSE, &payload[..payload.len().min(CONTROL_BYTES_MAX)]),
        Opcode::Ping => (OP_PING, &payload[..payload.len().min(CONTROL_BYTES_MAX)]),
        Opcode::Pong => (OP_PONG, &payload[..payload.len().min(CONTROL_BYTES_MAX)]),
    };
    let mut out = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
    out.push(0x80 | code);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=0x7D => out.push(masked | length as u8),
        length @ 0x7E..=0xFFFF => {
            out.push(masked | LENGTH_OF_16_BITS);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(masked | LENGTH_OF_64_BITS);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    match mask {
        None => out.extend_from_slice(payload),
        Some(mask) => {
            out.extend_from_slice(&mask);
            out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
    }
    out
}

/// The payload of a close frame: why, as a number and in words.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    for char in reason.chars() {
        if payload.len() + char.len_utf8() > CONTROL_BYTES_MAX {
            break;
        }
        payload.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    payload
}

#[cfg(test)]
mod tests;
