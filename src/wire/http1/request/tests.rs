use proptest::prelude::*;

use super::super::tests::heads;
use super::*;

fn take(text: &str) -> Result<Option<Request>, Malformed> {
    Request::take(&mut Bytes::copy_from_slice(text.as_bytes()))
}

fn post(rest: &str) -> String {
    format!("POST /v1/x?a=1 HTTP/1.1\r\nhost: weir\r\n{rest}\r\n")
}

#[test]
fn a_request_is_read_and_what_follows_is_left() {
    let mut read = Bytes::from(post("content-length: 2\r\nX-A: b c \r\n") + "{}GET");
    let request = Request::take(&mut read).expect("well-formed").expect("complete");
    assert_eq!(request.method, Method::POST);
    assert_eq!((request.target.path(), request.target.query()), ("/v1/x", Some("a=1")));
    assert_eq!(request.headers.text("x-a"), Some("b c"));
    assert_eq!((request.body, request.keeps), (Body::Length(2), true));
    assert_eq!(read, "{}GET");
}

#[test]
fn how_a_body_ends_is_certain_or_the_request_is_refused() {
    for (rest, body) in [
        ("", Ok(Body::Done)),
        ("content-length: 0\r\n", Ok(Body::Done)),
        ("content-length: 7, 7\r\ncontent-length: 7\r\n", Ok(Body::Length(7))),
        ("transfer-encoding: Chunked\r\n", Ok(Body::ChunkSize)),
        ("content-length: 7\r\ncontent-length: 8\r\n", Err(Malformed::Length)),
        ("content-length: +7\r\n", Err(Malformed::Length)),
        ("content-length: 0x7\r\n", Err(Malformed::Length)),
        ("content-length: \r\n", Err(Malformed::Length)),
        ("content-length: 99999999999999999999\r\n", Err(Malformed::Length)),
        ("transfer-encoding: gzip, chunked\r\n", Err(Malformed::TransferEncoding)),
        ("transfer-encoding: chunked, chunked\r\n", Err(Malformed::TransferEncoding)),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n",
            Err(Malformed::TransferEncoding),
        ),
        ("transfer-encoding: \x0bchunked\r\n", Err(Malformed::Head)),
        ("transfer-encoding: chunked\r\ncontent-length: 7\r\n", Err(Malformed::Ambiguous)),
        ("transfer-encoding : chunked\r\n", Err(Malformed::Head)),
        ("host: other\r\n", Err(Malformed::Ambiguous)),
    ] {
        let read = take(&post(rest)).map(|request| request.expect("complete").body);
        assert_eq!(read, body, "{rest:?}");
    }
    let old = take("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(old.map(|_| ()), Err(Malformed::Ambiguous));
}

#[test]
fn a_target_is_of_this_server() {
    for (target, read) in [
        ("/a", Ok("/a")),
        ("http://weir/a", Ok("/a")),
        ("https://weir", Ok("/")),
        ("http://other/a", Err(Malformed::Ambiguous)),
        ("http://me@weir/a", Err(Malformed::Ambiguous)),
        ("ftp://weir/a", Err(Malformed::Head)),
        ("weir:80", Err(Malformed::Head)),
        ("a", Err(Malformed::Head)),
    ] {
        let request = take(&format!("GET {target} HTTP/1.1\r\nhost: weir\r\n\r\n"));
        let path = request.map(|request| request.expect("complete").target.path().to_owned());
        assert_eq!(path, read.map(str::to_owned), "{target}");
    }
}

#[test]
fn a_target_that_is_known_is_the_same() {
    let mut known = Heads::new();
    for target in ["/", "//other/a", "/a?b=%20#c", "http://weir", "https://weir/a?b", "*"] {
        // An empty value is one of those that may be others.
        let head = format!("OPTIONS {target} HTTP/1.1\r\nhost: weir\r\ndate: \r\n\r\n");
        let targets = [(); 2].map(|()| {
            let mut read = Bytes::copy_from_slice(head.as_bytes());
            let request = Request::take_knowing(&mut known, &mut read);
            let target = request.expect("well-formed").expect("complete").target;
            (target.to_string(), target.path().to_owned(), target.query().map(str::to_owned))
        });
        assert_eq!(targets[0], targets[1], "{target}");
        assert!(known.take(&mut Bytes::copy_from_slice(head.as_bytes())).is_some(), "{target}");
    }
}

#[test]
fn a_connection_is_kept_as_its_version_says() {
    for (version, rest, keeps) in [
        ("1.1", "", true),
        ("1.1", "connection: x, Close\r\n", false),
        ("1.0", "", false),
        ("1.0", "connection: keep-alive\r\n", true),
    ] {
        let request = take(&format!("GET / HTTP/{version}\r\n{rest}\r\n"));
        assert_eq!(request.expect("well-formed").expect("complete").keeps, keeps);
    }
}

#[test]
fn a_head_is_bounded() {
    let many = post(&"a: b\r\n".repeat(HEADERS_MAX + 1));
    assert_eq!(take(&many).map(|_| ()), Err(Malformed::HeadTooLong));
    let long = "GET / HTTP/1.1\r\na: ".to_owned() + &"b".repeat(HEAD_BYTES_MAX);
    assert_eq!(take(&long).map(|_| ()), Err(Malformed::HeadTooLong));
}

/// Heads as clients send them.
fn questions() -> impl Strategy<Value = String> {
    let questions = prop::sample::select(vec![
        "content-length: 10\r\n",
        "content-length: 12\r\n",
        "content-length: 7\r\nx-request-id: a-b\r\n",
        "content-length: 7\r\nx-request-id: c d\r\n",
        "Content-Length:  7\r\ncontent-length: 7\r\n",
        "transfer-encoding: chunked\r\nconnection: close\r\n",
        "",
    ]);
    questions.prop_map(|rest| post(rest) + "{}")
}

proptest! {
    /// Whatever came before, a head is read as if it were the first.
    #[test]
    fn a_known_head_is_read_as_a_new_one(heads in heads(questions())) {
        let mut known = Heads::new();
        for head in heads {
            let mut reads = [Bytes::from(head.clone()), Bytes::from(head)];
            let [one, other] = &mut reads;
            let as_known = Request::take_knowing(&mut known, one);
            let as_new = Request::take_knowing(&mut Heads::new(), other);
            prop_assert_eq!(format!("{as_known:?}"), format!("{as_new:?}"));
            if let (Ok(Some(known)), Ok(Some(new))) = (as_known, as_new) {
                prop_assert_eq!(known.headers, new.headers);
            }
            prop_assert_eq!(&reads[0], &reads[1]);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::take(&mut Bytes::from(bytes));
    }

    #[test]
    fn a_beginning_is_not_a_request(cut in 0_usize..60) {
        let whole = post("content-length: 2\r\n");
        let request = take(&whole[..cut.min(whole.len() - 1)]);
        prop_assert!(matches!(request, Ok(None)));
    }
}
