//! Request heads.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

fn head(text: &str) -> Result<Option<Head>, &'static str> {
    parse(&mut BytesMut::from(text))
}

#[test]
fn smuggling_shapes_are_refused() {
    for fields in [
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 1\r\ncontent-length: 1",
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 1",
        "transfer-encoding: gzip",
        "content-length: +1",
        "content-length: 1 1",
        "content-length:",
        "content-length: 99999999999999999999999",
    ] {
        assert!(head(&format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n")).is_err(), "{fields}");
    }
}

#[test]
fn keep_alive_follows_version_and_header() {
    for (version, connection, keep_alive) in [
        ("1.1", "x", true),
        ("1.1", "close", false),
        ("1.0", "x", false),
        ("1.0", "Keep-Alive", true),
    ] {
        let text = format!("GET /a?b=c HTTP/{version}\r\nconnection: {connection}\r\n\r\n");
        let head = head(&text).unwrap().unwrap();
        assert_eq!(head.keep_alive, keep_alive);
        assert_eq!((head.path.as_str(), head.query.as_deref()), ("/a", Some("b=c")));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_handled(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&mut BytesMut::from(bytes.as_slice()));
    }

    /// A head that is cut anywhere is incomplete, never something else.
    #[test]
    fn a_head_may_arrive_in_pieces(cut in 0_usize..80) {
        let text = "POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
        let cut = cut.min(text.len() - 1);
        prop_assert!(head(&text[..cut]).unwrap().is_none());
        let whole = head(text).unwrap().unwrap();
        prop_assert!(whole.expects_continue && whole.body == Body::Length(5));
    }
}
