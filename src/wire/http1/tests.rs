use proptest::prelude::*;

use super::body::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};
use super::known::Heads;
use super::response::HEADERS_MAX;
use super::*;

/// What came of a response that arrived in these pieces, whichever way its body is taken.
fn read(pieces: &[&[u8]]) -> Result<(u16, Vec<u8>, Decoder), Malformed> {
    let (by_part, by_run) = (read_by(pieces, Decoder::body), read_by(pieces, Decoder::body_run));
    let seen = |read: &Result<(u16, Vec<u8>, Decoder), Malformed>| {
        read.as_ref()
            .map(|(status, body, decoder)| (*status, body.clone(), decoder.is_done()))
            .map_err(|e| *e)
    };
    assert_eq!(seen(&by_part), seen(&by_run));
    by_run
}

fn read_by(
    pieces: &[&[u8]],
    take: impl Fn(&mut Decoder, &mut Bytes) -> Result<Part, Malformed>,
) -> Result<(u16, Vec<u8>, Decoder), Malformed> {
    let mut decoder = Decoder::default();
    let (mut buffer, mut head, mut body) = (Bytes::new(), None, Vec::new());
    for piece in pieces {
        append(&mut buffer, Bytes::copy_from_slice(piece));
        if head.is_none() {
            head = decoder.head(&mut buffer, false)?;
        }
        while head.is_some() {
            match take(&mut decoder, &mut buffer)? {
                Part::Data(data) => body.extend_from_slice(&data),
                Part::Incomplete | Part::End => break,
            }
        }
    }
    Ok((head.map_or(0, |head| head.status.as_u16()), body, decoder))
}

fn whole(response: &str) -> Result<(u16, Vec<u8>, Decoder), Malformed> {
    read(&[response.as_bytes()])
}

const SIZED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: b\r\n\r\nhello";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nhello\r\n1;a=b\r\n \r\n0A \r\n0123456789\r\n0\r\nx-trailer: 1\r\n\r\n";

#[test]
fn a_body_of_known_length() {
    let (status, body, decoder) = whole(SIZED).expect("well-formed");
    assert_eq!((status, &body[..]), (200, &b"hello"[..]));
    assert!(decoder.is_done() && decoder.keeps());
}

#[test]
fn a_body_in_chunks() {
    let (_, body, decoder) = whole(CHUNKED).expect("well-formed");
    assert_eq!(body, b"hello 0123456789");
    assert!(decoder.keeps());
}

#[test]
fn chunks_that_came_together_are_one_part() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let parts = |body: &str| {
        let mut buffer = Bytes::from(format!("{head}{body}"));
        let mut decoder = Decoder::default();
        decoder.head(&mut buffer, false).expect("well-formed").expect("complete");
        std::iter::from_fn(move || Some(decoder.body_run(&mut buffer))).take(3).collect::<Vec<_>>()
    };
    let data = |text: &str| Ok(Part::Data(Bytes::copy_from_slice(text.as_bytes())));
    let whole = parts("1\r\na\r\n2\r\nbc\r\n3;x=y\r\ndef\r\n0\r\n\r\n");
    assert_eq!(whole, [data("abcdef"), Ok(Part::End), Ok(Part::End)]);
    let begun = parts("1\r\na\r\n2\r\nbc\r\n4\r\nde");
    assert_eq!(begun, [data("abcde"), Ok(Part::Incomplete), Ok(Part::Incomplete)]);
    // What is in front of a fault is not lost.
    let broken = parts("1\r\na\r\n2\r\nbc\r\nx\r\nde");
    assert_eq!(broken, [data("abc"), Err(Malformed::Chunk), Err(Malformed::Chunk)]);
}

#[test]
fn chunks_that_are_whole_pass_as_they_are() {
    let passed = |wire: &str, most: usize| {
        let mut seen = Vec::new();
        let bytes = take_chunks(wire.as_bytes(), |data| {
            let taken = seen.len() < most;
            if taken {
                seen.push(String::from_utf8_lossy(data).into_owned());
            }
            taken
        });
        (seen, bytes)
    };
    let two = "5\r\nhello\r\n0A\r\n0123456789\r\n";
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(passed(two, 9), (words(&["hello", "0123456789"]), two.len()));
    assert_eq!(passed(two, 1), (words(&["hello"]), 10));
    assert_eq!(passed(two, 0), (vec![], 0));
    for cut in 10..two.len() {
        assert_eq!(passed(&two[..cut], 9), (words(&["hello"]), 10), "{cut}");
    }
    let others = [
        "",
        "\r\n",
        "0\r\n\r\n",
        "5",
        "5\r\nhello",
        "5\r\nhelloXX",
        "5;a=b\r\nhello\r\n",
        "5 \r\nhello\r\n",
    ]
    .into_iter()
    .chain(["g\r\nhello\r\n", "-5\r\nhello\r\n", "5\nhello\r\n", "fffffffffffffffff\r\nx\r\n"]);
    for other in others {
        assert_eq!(passed(other, 9), (vec![], 0), "{other:?}");
    }
}

#[test]
fn a_body_until_the_end() {
    let (_, body, mut decoder) = whole("HTTP/1.1 200 OK\r\n\r\nall of it").expect("well-formed");
    assert_eq!(body, b"all of it");
    assert!(!decoder.is_done());
    assert!(decoder.end() && decoder.is_done() && !decoder.keeps());
}

#[test]
fn a_cut_body_is_not_complete() {
    for response in [&SIZED[..SIZED.len() - 1], &CHUNKED[..CHUNKED.len() - 1]] {
        let (_, _, mut decoder) = whole(response).expect("well-formed so far");
        assert!(!decoder.end(), "{response}");
    }
}

#[test]
fn responses_without_a_body() {
    for response in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
    ] {
        assert!(whole(response).expect("well-formed").2.keeps(), "{response}");
    }
    let mut decoder = Decoder::default();
    let mut buffer = Bytes::copy_from_slice(&SIZED.as_bytes()[..SIZED.len() - 5]);
    assert!(decoder.head(&mut buffer, true).expect("well-formed").is_some());
    assert!(decoder.keeps());
}

#[test]
fn informational_heads_come_before_the_final_one() {
    let mut decoder = Decoder::default();
    let both = format!("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{SIZED}");
    let mut buffer = Bytes::from(both);
    let first = decoder.head(&mut buffer, false).expect("well-formed").expect("complete");
    assert_eq!(first.status, 103);
    let second = decoder.head(&mut buffer, false).expect("well-formed").expect("complete");
    assert_eq!((second.status.as_u16(), second.headers.text("x-a")), (200, Some("b")));
    assert_eq!(decoder.body(&mut buffer), Ok(Part::Data(Bytes::from_static(b"hello"))));
}

#[test]
fn an_upgrade_ends_with_the_connection() {
    let (status, body, decoder) =
        whole("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\nframes").expect("ok");
    assert_eq!((status, &body[..]), (101, &b"frames"[..]));
    assert!(!decoder.keeps());
}

#[test]
fn who_keeps_the_connection() {
    for (line, keeps) in [
        ("HTTP/1.1 200 OK\r\n", true),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n", false),
        ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\n", false),
        ("HTTP/1.0 200 OK\r\n", false),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\n", true),
    ] {
        let response = format!("{line}content-length: 0\r\n\r\n");
        assert_eq!(whole(&response).expect("well-formed").2.keeps(), keeps, "{line}");
    }
}

#[test]
fn what_is_malformed() {
    let head = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
    let chunks = |body: &str| format!("{}{body}", head("transfer-encoding: chunked\r\n"));
    for (response, wanted) in [
        ("nonsense\r\n\r\n".to_owned(), Malformed::Head),
        ("HTTP/1.1 099 x\r\n\r\n".to_owned(), Malformed::Head),
        (head("bad name: 1\r\n"), Malformed::Head),
        (head(&"a: b\r\n".repeat(HEADERS_MAX + 1)), Malformed::HeadTooLong),
        (head(&format!("a: {}", "x".repeat(HEAD_BYTES_MAX))), Malformed::HeadTooLong),
        (head("content-length: 5\r\ncontent-length: 6\r\n"), Malformed::Length),
        (head("content-length: 5, 6\r\n"), Malformed::Length),
        (head("content-length: -5\r\n"), Malformed::Length),
        (head("content-length: +5\r\n"), Malformed::Length),
        (head("content-length: 99999999999999999999\r\n"), Malformed::Length),
        (head("content-length: \r\n"), Malformed::Length),
        (head("transfer-encoding: gzip\r\n"), Malformed::TransferEncoding),
        (head("transfer-encoding: gzip, chunked\r\n"), Malformed::TransferEncoding),
        (
            head("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
            Malformed::TransferEncoding,
        ),
        (head("transfer-encoding: chunked\r\ncontent-length: 5\r\n"), Malformed::TransferEncoding),
        (chunks("x\r\n"), Malformed::Chunk),
        (chunks("\r\n"), Malformed::Chunk),
        (chunks("-1\r\n"), Malformed::Chunk),
        (chunks("5 5\r\nhello"), Malformed::Chunk),
        (chunks("5\nhello"), Malformed::Chunk),
        (chunks("5\r\nhelloX"), Malformed::Chunk),
        (chunks("5\r\nhello\rX"), Malformed::Chunk),
        (chunks("1000000000000000\r\n"), Malformed::Chunk),
        (chunks(&"0".repeat(CHUNK_LINE_BYTES_MAX + 1)), Malformed::Chunk),
        (chunks(&format!("0\r\na: {}", "x".repeat(TRAILER_BYTES_MAX))), Malformed::Chunk),
    ] {
        assert_eq!(whole(&response).map(drop), Err(wanted), "{response:.80}");
    }
    let twice = head("content-length: 0\r\ncontent-length: 0\r\n");
    assert!(whole(&twice).is_ok(), "the same length twice is one length");
}

/// Such heads, one after the other, some with one byte that is another.
pub(super) fn heads(like: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let bytes = prop::sample::select(b"\r\n \t:,+0199ax/\x7f\x80\0".to_vec());
    let change = prop::option::weighted(0.4, (any::<prop::sample::Index>(), bytes));
    let changed = (like, change).prop_map(|(head, change)| {
        let mut head = head.into_bytes();
        if let Some((at, byte)) = change {
            let at = at.index(head.len());
            head[at] = byte;
        }
        head
    });
    prop::collection::vec(changed, 1..20)
}

/// Heads as servers send them.
fn answers() -> impl Strategy<Value = String> {
    let answers = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\ndate: Mon, 30 Nov 2026 01:02:03 GMT\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ndate: Mon, 30 Nov 2026 01:02:04 GMT\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-request-id: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204 \r\nX-Request-Id: b\r\n\r\n",
        "HTTP/1.1 429 No\r\ncontent-length: 12\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ]);
    answers.prop_map(str::to_owned)
}

proptest! {
    /// Whatever came before, a head is read as if it were the first.
    #[test]
    fn a_known_head_is_read_as_a_new_one(heads in heads(answers()), for_head: bool) {
        let mut known = Heads::new();
        for head in heads {
            let (mut read, mut read_new) = (Bytes::from(head.clone()), Bytes::from(head));
            let (mut decoder, mut new) = (Decoder::default(), Decoder::default());
            let as_known = decoder.head_knowing(&mut known, &mut read, for_head);
            let as_new = new.head_knowing(&mut Heads::new(), &mut read_new, for_head);
            prop_assert_eq!(format!("{as_known:?}"), format!("{as_new:?}"));
            if let (Ok(Some(known)), Ok(Some(new))) = (as_known, as_new) {
                prop_assert_eq!(known.headers, new.headers);
            }
            prop_assert_eq!((read, decoder.keeps()), (read_new, new.keeps()));
        }
    }

    #[test]
    fn any_cutting_gives_the_same_body(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        for response in [SIZED, CHUNKED, "HTTP/1.1 200 OK\r\n\r\nall of it"] {
            let bytes = response.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (status, body, decoder) = read(&pieces).expect("well-formed");
            let (wanted_status, wanted_body, wanted) = whole(response).expect("well-formed");
            prop_assert_eq!((status, body), (wanted_status, wanted_body));
            prop_assert_eq!(decoder.is_done(), wanted.is_done());
        }
    }

    #[test]
    fn what_passes_is_what_is_read(
        parts in prop::collection::vec("[a-z\r\n]{1,30}", 1..8),
        cut in any::<prop::sample::Index>(),
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut wire: Vec<u8> =
            parts.iter().flat_map(|part| format!("{:x}\r\n{part}\r\n", part.len()).into_bytes()).collect();
        wire.truncate(cut.index(wire.len() + 1));
        if let Some((at, byte)) = damage
            && !wire.is_empty()
        {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let mut passed = Vec::new();
        let bytes = take_chunks(&wire, |data| {
            passed.extend_from_slice(data);
            true
        });
        let (mut body, mut left) = (Body::ChunkSize, Bytes::copy_from_slice(&wire[..bytes]));
        let mut read = Vec::new();
        while let Part::Data(data) = body.next(&mut left).expect("what passes is well-formed") {
            read.extend_from_slice(&data);
        }
        prop_assert_eq!(read, passed);
        prop_assert!(left.is_empty() && body == Body::ChunkSize);
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200), chunked in any::<bool>()) {
        let head: &[u8] = if chunked { b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" } else { b"" };
        let _ = read(&[head, &noise]);
    }
}
