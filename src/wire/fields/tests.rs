use http::header::{CONTENT_TYPE, HOST};
use proptest::prelude::*;

use super::*;

/// What a parser has found in a head of these lines.
fn parsed(lines: &[(String, Vec<u8>)]) -> Fields {
    let mut written = Vec::new();
    for (name, value) in lines {
        line(&mut written, name.as_bytes(), value);
    }
    read(&written)
}

fn read(lines: &[u8]) -> Fields {
    let head = Bytes::from([b"HTTP/1.1 200 OK\r\n", lines, b"\r\n"].concat());
    let mut slots = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut slots);
    response.parse(&head).expect("well-formed");
    Fields::parsed(head.clone(), response.headers).expect("short names")
}

fn written(fields: &Fields) -> String {
    let mut to = Vec::new();
    fields.write_without(Names::default(), &mut to);
    String::from_utf8(to).expect("text")
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

#[test]
fn every_name_is_known_in_any_case_and_nothing_else_is() {
    assert_eq!(Name::of(b"Content-Type"), Name::ContentType);
    assert_eq!(Name::of(b"TE"), Name::Te);
    for other in ["", "x", "content-typf", "content_type", "content\rtype", "x-weir-", "h\u{f6}st"]
    {
        assert_eq!(Name::of(other.as_bytes()), Name::Other, "{other:?}");
    }
}

#[test]
fn what_is_between_neighbours_is_removed() {
    let mut all = fields(&[
        ("Host", "a"),
        ("Connection", "close, X-One ,x-two"),
        ("X-ONE", "1"),
        ("x-two", "2"),
        ("x-three", "3"),
        ("connection", "x-three"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("X-Four", "4"),
        ("X-Five", "5"),
    ]);
    all.retain_end_to_end(Names::of(&[Name::Host]), &[b"x-fi"]);
    assert_eq!(written(&all), "X-Four: 4\r\n");
    assert!(!all.contains(Name::Connection) && !all.contains("x-one"));
}

#[test]
fn nothing_that_is_put_in_begins_another_line() {
    let mut all = Fields::default();
    for value in ["a\r\nb: c", "a\nb", "a\0", "\u{7f}", "\u{e9}"] {
        all.set(Name::XWeirModel, value);
        all.set_written(Name::XWeirModel, |out| out.extend_from_slice(value.as_bytes()));
        all.append("x-a", value);
    }
    for name in ["", "a b", "a:", "a\r\nb", "\u{e9}"] {
        all.append(name, "a");
    }
    assert!(all.is_empty(), "{all:?}");
}

#[test]
fn a_field_that_is_set_stands_behind_those_that_came_and_is_alone() {
    let pairs = [("a", "1"), ("date", "then"), ("b", "2"), ("date", "later")];
    for mut all in [fields(&pairs), read(b"a: 1\r\ndate: then\r\nb: 2\r\ndate: later\r\n")] {
        all.set(Name::Date, "now");
        assert_eq!(written(&all), "a: 1\r\nb: 2\r\ndate: now\r\n");
        all.set_first(Name::Host, &HeaderValue::from_static("weir"));
        all.set_number(Name::ContentLength, 7);
        let rest = "a: 1\r\nb: 2\r\ndate: now\r\ncontent-length: 7\r\n";
        assert_eq!(written(&all), format!("host: weir\r\n{rest}"));
        all.append("Host", "another");
        assert_eq!(written(&all), format!("host: weir\r\n{rest}host: another\r\n"));
        all.set_first(Name::Date, &HeaderValue::from_static("-"));
        assert!(written(&all).ends_with("host: another\r\nhost: weir\r\n"));
        all.set(Name::Host, "other");
        let said = "date: -\r\na: 1\r\nb: 2\r\ncontent-length: 7\r\nhost: other\r\n";
        assert_eq!(written(&all), said);
    }
    let mut empty = fields(&[("date", ""), ("date", ""), ("a", ""), ("date", "")]);
    empty.set(Name::Date, "now");
    assert_eq!(written(&empty), "a: \r\ndate: now\r\n");
}

#[test]
fn heads_that_are_alike_are_written_as_they_are_asked_for() {
    let names = |names: &[Name]| Names::of(names);
    let head = read(b"a: 1\r\ndate: then\r\nb: 2\r\nhost: weir\r\nc: 3\r\n");
    for _ in 0..2 {
        for (without, lines) in [
            (names(&[Name::Date]), "a: 1\r\nb: 2\r\nhost: weir\r\nc: 3\r\n"),
            (names(&[]), "a: 1\r\ndate: then\r\nb: 2\r\nhost: weir\r\nc: 3\r\n"),
            (names(&[Name::Date, Name::Host]), "a: 1\r\nb: 2\r\nc: 3\r\n"),
        ] {
            let mut to = Vec::new();
            head.write_without(without, &mut to);
            assert_eq!(String::from_utf8_lossy(&to), lines);
            let mut fields = head.clone();
            fields.retain_end_to_end(without, &[]);
            assert_eq!(written(&fields), lines);
            fields.set(Name::Date, "now");
            let rest = lines.replace("date: then\r\n", "");
            assert_eq!(written(&fields), rest + "date: now\r\n");
        }
    }
}

#[test]
fn a_renamed_field_is_alone_under_either_name() {
    let mut all = fields(&[
        ("x-weir-upstream-request-id", "old"),
        ("X-Request-Id", "1"),
        ("a", "b"),
        ("x-request-id", "2"),
    ]);
    all.rename(Name::XRequestId, Name::XWeirUpstreamRequestId);
    assert_eq!(written(&all), "a: b\r\nx-weir-upstream-request-id: 1\r\n");
    assert_eq!(all.get(Name::XRequestId), None);
    all.rename(Name::XRequestId, Name::Date);
    assert_eq!(all.len(), 2);
}

#[test]
fn secrets_are_marked_and_never_shown() {
    let all = fields(&[("Authorization", "Bearer sk-secret"), ("x-a", "b")]);
    let map = all.to_map();
    assert!(map["authorization"].is_sensitive() && !map["x-a"].is_sensitive());
    assert!(!format!("{all:?}").contains("sk-secret"), "{all:?}");
}

/// Few names in many spellings, so that they meet.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[hH][oO]st",
        "(content|Content)-Type",
        "[xX]-a",
        "x-[ab]",
        "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}",
        Just("connection".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ -~\t]{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(0x80_u8..=0xff, 1..4),
    ]
}

/// The same answers, by name and in order.
fn same(fields: &Fields, map: &HeaderMap) -> Result<(), TestCaseError> {
    prop_assert_eq!(fields.len(), map.len());
    for name in map.keys() {
        let text = name.as_str();
        let theirs: Vec<&[u8]> = map.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let ours: Vec<&[u8]> = fields.all(text).collect();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(fields.get(text), theirs.first().copied());
        prop_assert_eq!(fields.text(text), map[name].to_str().ok());
        prop_assert!(fields.contains(&*text.to_ascii_uppercase()));
    }
    for name in ["host", "content-type", "x-a", "x-b", "date"] {
        prop_assert_eq!(fields.contains(name), map.contains_key(name));
    }
    prop_assert_eq!(&fields.to_map(), map);
    let mut written = Vec::new();
    fields.write_without(Names::default(), &mut written);
    prop_assert_eq!(written.len(), fields.wire_bytes());
    let pair = |field: Field<'_>| (field.name.to_vec(), field.value.trim_ascii().to_vec());
    let (read, ours) = (read(&written), fields.iter().map(pair));
    prop_assert!(read.iter().map(pair).eq(ours), "{:?} {:?}", read, fields);
    Ok(())
}

/// The lines that go out are those of the fields, however they came in.
#[test]
fn lines_are_sent_as_they_came_unless_they_came_in_an_odd_way() {
    let head = Bytes::from_static(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-One:1\r\nX-Two:  2\r\nx-three: 3 \r\nX-Four: 4\r\n\
          X-Five:\t5\r\nX-Six: 6\nX-Seven:\r\nX-Eight: \r\nX-Nine: 9\r\n\r\n",
    );
    let mut slots = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut slots);
    request.parse(&head).expect("well-formed");
    let mut all = Fields::parsed(head.clone(), request.headers).expect("short names");
    let lines = "X-One: 1\r\nX-Two: 2\r\nx-three: 3\r\nX-Four: 4\r\nX-Five: 5\r\nX-Six: 6\r\n\
        X-Seven: \r\nX-Eight: \r\nX-Nine: 9\r\n";
    assert_eq!(written(&all), format!("Host: a\r\n{lines}"));
    assert_eq!(all.wire_bytes(), written(&all).len());
    all.set_number(Name::ContentLength, 10);
    all.set_first(Name::Host, &HeaderValue::from_static("b"));
    all.append("x-Ten", "10");
    let added = "content-length: 10\r\nx-Ten: 10\r\n";
    assert_eq!(written(&all), format!("host: b\r\n{lines}{added}"));
    assert_eq!(all.wire_bytes(), written(&all).len());
}

proptest! {
    #[test]
    fn text_is_what_each_byte_of_it_is(
        plain in "[ -~\t]{0,70}", at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut value = plain.into_bytes();
        prop_assert!(is_text(&value));
        if !value.is_empty() {
            let at = at.index(value.len());
            value[at] = byte;
            prop_assert_eq!(is_text(&value), matches!(byte, b' '..=b'~' | b'\t'));
        }
    }

    #[test]
    fn a_head_answers_as_a_map_does(
        lines in prop::collection::vec((name(), value()), 0..12),
        again in value(),
    ) {
        let mut fields = parsed(&lines);
        let mut map = HeaderMap::new();
        for (name, value) in &lines {
            let value = HeaderValue::from_bytes(value.trim_ascii()).expect("a value");
            map.append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), value);
        }
        same(&fields, &map)?;
        let mut again_flat = Fields::from(&map);
        same(&again_flat, &map)?;
        let value = HeaderValue::from_bytes(&again).expect("a value");
        let other = HeaderName::from_static("x-a");
        for name in [CONTENT_TYPE, other] {
            fields.set_field(&name, &value);
            again_flat.set_field(&name, &value);
            map.insert(&name, value.clone());
            same(&fields, &map)?;
            same(&again_flat, &map)?;
        }
        fields.remove(Name::Host);
        map.remove(HOST);
        same(&fields, &map)?;
        fields.retain(|field| field.name != b"x-b" || field.value.is_empty());
        let gone = lines.iter().any(|(name, value)| name == "x-b" && !value.trim_ascii().is_empty());
        prop_assert!(fields.len() == map.len() || gone);
        fields.remove("x-b");
        map.remove("x-b");
        same(&fields, &map)?;
    }
}
