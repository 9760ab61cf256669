use proptest::prelude::*;

use super::*;

/// A message that owns what it says.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Skipped(u64),
    Close(Option<u16>, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

impl From<Message<'_>> for Heard {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(payload) => Self::Text(payload.to_vec()),
            Message::Binary(payload) => Self::Binary(payload.to_vec()),
            Message::Skipped { bytes } => Self::Skipped(bytes),
            Message::Close { code, reason } => Self::Close(code, reason.to_vec()),
            Message::Ping(payload) => Self::Ping(payload.to_vec()),
            Message::Pong(payload) => Self::Pong(payload.to_vec()),
        }
    }
}

fn read(
    reader: &mut Reader,
    stream: &[u8],
    chunk_bytes: usize,
) -> Result<Vec<Heard>, WebSocketError> {
    let mut all = Vec::new();
    for chunk in stream.chunks(chunk_bytes.max(1)) {
        reader.push(chunk, |message| all.push(message.into()))?;
    }
    Ok(all)
}

/// A frame with every bit of its first byte as given.
fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = encode(Opcode::Binary, payload, mask);
    bytes[0] = first;
    bytes
}

fn failure(stream: &[u8]) -> &'static str {
    let mut reader = Reader::new(100);
    let error = read(&mut reader, stream, 1).unwrap_err();
    assert_eq!(reader.push(b"", |_| {}), Err(error));
    assert!(!reader.at_boundary());
    error.reason
}

#[test]
fn the_examples_of_the_standard() {
    // Section 5.7.
    for (bytes, expected) in [
        (&b"\x81\x05Hello"[..], Heard::Text(b"Hello".to_vec())),
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Heard::Text(b"Hello".to_vec())),
        (b"\x01\x03Hel\x80\x02lo", Heard::Text(b"Hello".to_vec())),
        (b"\x89\x05Hello", Heard::Ping(b"Hello".to_vec())),
        (b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Heard::Pong(b"Hello".to_vec())),
    ] {
        for chunk_bytes in 1..=bytes.len() {
            let mut reader = Reader::new(100);
            assert_eq!(read(&mut reader, bytes, chunk_bytes), Ok(vec![expected.clone()]));
            assert!(reader.at_boundary());
        }
    }
}

#[test]
fn a_message_in_one_piece_is_not_copied() {
    let bytes = encode(Opcode::Text, b"{}", None);
    let mut place = None;
    Reader::new(10)
        .push(&bytes, |message| {
            if let Message::Text(payload) = message {
                place = Some(payload.as_ptr());
            }
        })
        .unwrap();
    assert_eq!(place, Some(bytes[2..].as_ptr()));
}

#[test]
fn a_message_that_is_too_long_is_skipped() {
    let mut stream = encode(Opcode::Text, &[b'x'; 101], Some([1, 2, 3, 4]));
    stream.extend(frame(0x01, &[b'x'; 60], None));
    stream.extend(encode(Opcode::Ping, b"", None));
    stream.extend(frame(0x80, &[b'x'; 41], None));
    stream.extend(encode(Opcode::Text, &[b'x'; 100], None));
    let mut reader = Reader::new(100);
    let expected = [
        Heard::Skipped(101),
        Heard::Ping(Vec::new()),
        Heard::Skipped(101),
        Heard::Text(vec![b'x'; 100]),
    ];
    assert_eq!(read(&mut reader, &stream, 7).unwrap(), expected);
}

#[test]
fn a_compressed_message_is_skipped() {
    let stream = frame(0xC1, b"\xf2\x48", None);
    assert_eq!(read(&mut Reader::new(100), &stream, 1), Ok(vec![Heard::Skipped(2)]));
}

#[test]
fn a_close_says_why() {
    let payload = close_payload(1011, &"ä".repeat(100));
    assert_eq!(payload.len(), 124);
    let stream = encode(Opcode::Close, &payload, None);
    let expected = Heard::Close(Some(1011), payload[2..].to_vec());
    assert_eq!(read(&mut Reader::new(100), &stream, 3), Ok(vec![expected]));
    let stream = encode(Opcode::Close, b"", None);
    assert_eq!(read(&mut Reader::new(100), &stream, 3), Ok(vec![Heard::Close(None, Vec::new())]));
}

#[test]
fn breaches_of_the_protocol() {
    assert_eq!(failure(b"\x80\x00"), "a continuation without a beginning");
    assert_eq!(failure(b"\x01\x00\x01\x00"), "a message begins inside another");
    assert_eq!(failure(b"\x83\x00"), "a reserved opcode");
    assert_eq!(failure(b"\x8b\x00"), "a reserved opcode");
    assert_eq!(failure(b"\x09\x00"), "a control frame is fragmented or too long");
    assert_eq!(failure(b"\x89\x7e\x00\x7e"), "a control frame is fragmented or too long");
    assert_eq!(
        failure(b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00"),
        "a frame has an impossible length"
    );
}

#[test]
fn a_length_beyond_the_bound_is_not_allocated() {
    let mut reader = Reader::new(100);
    let header = b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(read(&mut reader, header, 1), Ok(Vec::new()));
    assert_eq!(read(&mut reader, &[0; 10_000], 1000), Ok(Vec::new()));
    assert!(!reader.at_boundary());
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_messages(
        messages in prop::collection::vec(
            (0_usize..300, any::<Option<[u8; 4]>>(), 0..4_u8, any::<bool>()), 0..10,
        ),
        chunk_bytes in 1_usize..100,
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (length, mask, kind, text) in messages {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let first = if text { OP_TEXT } else { OP_BINARY };
            match kind {
                0 => {
                    let opcode = if text { Opcode::Text } else { Opcode::Binary };
                    stream.extend(encode(opcode, &payload, mask));
                }
                1 => {
                    let ping = &payload[..length.min(125)];
                    stream.extend(encode(Opcode::Ping, ping, mask));
                    expected.push(Heard::Ping(ping.to_vec()));
                    continue;
                }
                _ => {
                    let (head, tail) = payload.split_at(length / 2);
                    stream.extend(frame(first, head, mask));
                    stream.extend(encode(Opcode::Pong, b"", mask));
                    expected.push(Heard::Pong(Vec::new()));
                    stream.extend(frame(0x00, b"", None));
                    stream.extend(frame(0x80, tail, None));
                }
            }
            expected.push(if text { Heard::Text(payload) } else { Heard::Binary(payload) });
        }
        let mut reader = Reader::new(1000);
        prop_assert_eq!(read(&mut reader, &stream, chunk_bytes), Ok(expected));
        prop_assert!(reader.at_boundary());
    }

    #[test]
    fn noise_never_panics(stream in prop::collection::vec(any::<u8>(), 0..300), chunk_bytes in 1_usize..20) {
        let _ = read(&mut Reader::new(50), &stream, chunk_bytes);
    }
}
