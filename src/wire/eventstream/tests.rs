use super::*;

#[test]
fn the_known_encoding_of_an_empty_message() {
    // From the test vectors of the format: no headers, no payload.
    let bytes = [0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
    assert_eq!(encode(&[], b""), bytes);
    let message = messages(&bytes).next().unwrap().unwrap();
    assert_eq!((message.span, message.payload), (0..16, &b""[..]));
}

#[test]
fn what_is_encoded_is_decoded() {
    let long = "ä".repeat(20_000);
    let headers =
        [(":message-type", "exception"), (":exception-type", "throttlingException"), ("x", &long)];
    let mut bytes = encode(&headers, b"{\"message\":\"slow down\"}");
    let first = bytes.len();
    bytes.extend(encode(&[(":event-type", "messageStop")], b""));
    let all: Vec<_> = messages(&bytes).map(Result::unwrap).collect();
    assert_eq!(all[0].span, 0..first);
    assert_eq!(all[0].message_type(), Some("exception"));
    assert_eq!(all[0].exception_type(), Some("throttlingException"));
    assert_eq!(all[0].header("x"), Some(&long[..32_766]));
    assert_eq!(all[0].payload, b"{\"message\":\"slow down\"}");
    assert_eq!(all[1].event_type(), Some("messageStop"));
    assert_eq!(all[1].span, first..bytes.len());
}

#[test]
fn every_type_of_header_is_stepped_over() {
    let mut headers = Vec::new();
    for (kind, value) in [
        (0, &b""[..]),
        (1, b""),
        (2, b"1"),
        (3, b"12"),
        (4, b"1234"),
        (5, b"12345678"),
        (6, b"\0\x03abc"),
        (8, b"12345678"),
        (9, b"0123456789abcdef"),
        (7, b"\0\x01z"),
    ] {
        headers.extend([1, b'h', kind]);
        headers.extend(value);
    }
    let found: Vec<_> = (Headers { rest: &headers }).map(Result::unwrap).collect();
    assert_eq!(found.len(), 10);
    assert_eq!(found[6].value, b"abc");
    assert_eq!(found[6].as_str(), None);
    assert_eq!(found[9].as_str(), Some("z"));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let good = encode(&[(":event-type", "x")], b"{\"a\":1}");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        bad.extend_from_slice(&good);
        let mut all = messages(&bad);
        assert!(all.next().unwrap().is_err(), "bit {bit}");
        // What follows is found unless the length is damaged, too.
        assert_eq!(all.next().is_some(), bit >= 12 * 8, "bit {bit}");
    }
    for length in 1..good.len() {
        assert!(messages(&good[..length]).next().unwrap().is_err());
    }
}
