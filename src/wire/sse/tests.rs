use super::*;

fn only(frames: &[u8]) -> Event<'_> {
    let mut events = events(frames);
    let event = events.next().expect("one event");
    assert_eq!(events.next(), None);
    event
}

#[test]
fn fields_of_one_event() {
    let event = only(b"event: delta\nid: 7\nretry: 1500\ndata: {\"a\": 1}\nother: x\n\n");
    assert_eq!(event.name, Some(&b"delta"[..]));
    assert_eq!(event.id, Some(&b"7"[..]));
    assert_eq!(event.retry_ms, Some(1500));
    assert!(matches!(event.data, Cow::Borrowed(b"{\"a\": 1}")));
    assert!(!event.is_comment && event.complete);
}

#[test]
fn data_lines_are_joined() {
    assert_eq!(&*only(b"data: a\ndata\ndata:b\n\n").data, b"a\n\nb");
    assert_eq!(&*only(b"data: a\r\ndata:  b\r\n\r\n").data, b"a\n b");
    assert_eq!(&*only(b"data: a\rdata: b\r\r").data, b"a\nb");
}

#[test]
fn an_empty_data_field_is_not_a_comment() {
    let event = only(b"data:\n\n");
    assert!(!event.is_comment && event.data.is_empty());
    for comment in [&b": ping\n\n"[..], b"event: ping\n\n", b"\n\n\n", b"\r\n", b"id\n\n"] {
        let event = only(comment);
        assert!(event.is_comment && event.complete, "{comment:?}");
        assert_eq!(event.span, 0..comment.len());
    }
}

#[test]
fn spans_cover_the_run() {
    let frames = b"\n\ndata: 1\n\n\r\n: c\n\ndata: 2\r\n\r\n";
    let spans: Vec<_> = events(frames).map(|event| event.span).collect();
    assert_eq!(spans, [0..13, 13..18, 18..frames.len()]);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert_eq!(&*only(b"\xEF\xBB\xBFdata: a\n\n").data, b"a");
}

#[test]
fn values_that_do_not_count() {
    let event = only(b"id: a\0b\nretry: 1s\nretry:\ndata: x\n\n");
    assert_eq!((event.id, event.retry_ms), (None, None));
    assert_eq!(only(b"retry: 99999999999999999999999\ndata:\n\n").retry_ms, None);
}

#[test]
fn the_rest_of_a_stream_is_reported_as_incomplete() {
    let event = only(b"data: [DONE]\n");
    assert!(!event.complete);
    assert_eq!(&*event.data, b"[DONE]");
    let event = only(b"data: [DO");
    assert!(!event.complete);
    assert_eq!(&*event.data, b"[DO");
}
