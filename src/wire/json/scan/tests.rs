use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;
use crate::wire::json::{MEMBERS_MAX, object};

const LIMITS: Limits = Limits { depth_max: DEPTH_MAX };

/// What a second implementation says of the grammar (it does not evaluate numbers and surrogates).
fn accepted_by_serde_json(document: &[u8]) -> bool {
    std::str::from_utf8(document).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn reason(document: &[u8]) -> (usize, &'static str) {
    let error = validate(document, LIMITS).expect_err("invalid");
    (error.offset, error.reason)
}

#[test]
fn accepts_what_the_grammar_accepts() {
    for document in [
        "null",
        " true ",
        "false",
        "0",
        "-0",
        "1.5e+300",
        "1e999999",
        "-12E-3",
        "\"\"",
        "[]",
        "{}",
        "[ ]",
        "{ }",
        "[1,[],{}]",
        r#"{"a":{"b":[null]},"a":1}"#,
        r#""\ud800""#,
        r#""\uDC00\u0000""#,
        "\"\u{7f}\u{80}\u{10ffff}\"",
        "\t\r\n{}\n",
        "123456789012345678901234567890123456789012345678901234567890",
    ] {
        assert!(validate(document.as_bytes(), LIMITS).is_ok(), "{document}");
        assert!(accepted_by_serde_json(document.as_bytes()), "{document}");
    }
}

#[test]
fn refuses_the_rest_and_says_why() {
    for (document, offset, expected) in [
        (&b""[..], 0, "the document is empty"),
        (b" \n", 2, "the document is empty"),
        (b"{", 1, "the document ends too early"),
        (b"[1,", 3, "the document ends too early"),
        (b"{\"a\"", 4, "the document ends too early"),
        (b"\"abc", 4, "the document ends too early"),
        (b"{,}", 1, "expected a key in double quotes"),
        (b"{'a':1}", 1, "expected a key in double quotes"),
        (b"{\"a\":1,}", 7, "expected a key in double quotes"),
        (b"{\"a\" 1}", 5, "expected ':' after the key"),
        (b"{\"a\":1]", 6, "expected ',' or '}'"),
        (b"[1}", 2, "expected ',' or ']'"),
        (b"[1,]", 3, "expected a value"),
        (b"nul", 0, "expected a value"),
        (b"NaN", 0, "expected a value"),
        (b"+1", 0, "expected a value"),
        (b"\xEF\xBB\xBF{}", 0, "expected a value"),
        (b"01", 1, "a number must not start with 0"),
        (b"1. ", 2, "invalid number"),
        (b"-x", 1, "invalid number"),
        (b"1e+ ", 3, "invalid number"),
        (b"\"\\x\"", 1, "invalid escape in a string"),
        (b"\"\\u12g4\"", 1, "invalid escape in a string"),
        (b"\"a\nb\"", 2, "control character in a string; it must be escaped"),
        (b"\"a\0\"", 2, "control character in a string; it must be escaped"),
        (b"{} {}", 3, "text after the end of the document"),
        (b"1 1", 2, "text after the end of the document"),
        (b"\"\xff\"", 1, "invalid UTF-8"),
        (b"\"\xed\xa0\x80\"", 1, "invalid UTF-8"),
        (b"\"\xc0\xaf\"", 1, "invalid UTF-8"),
    ] {
        assert_eq!(reason(document), (offset, expected), "{document:?}");
        assert!(!accepted_by_serde_json(document));
    }
}

#[test]
fn a_place_is_a_line_and_a_column_of_characters() {
    let error = validate("{\n  \"ä\": \u{1F600}".as_bytes(), LIMITS).unwrap_err();
    assert_eq!((error.line, error.column, error.offset), (2, 8, 10));
    assert_eq!(error.to_string(), "line 2, column 8: expected a value");
}

#[test]
fn depth_is_bounded() {
    for depth in [1, 2, 63, 64, 65, 128, 1024] {
        let limits = Limits { depth_max: depth };
        let depth = depth as usize;
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| {
                let inner = if open == "[" { "" } else { "1" };
                [&open.repeat(depth), inner, &close.repeat(depth)].concat()
            };
            assert!(validate(nested(depth).as_bytes(), limits).is_ok(), "{depth}");
            let deeper = nested(depth + 1);
            let error = validate(deeper.as_bytes(), limits).unwrap_err();
            assert_eq!(error.reason, "nested too deep");
        }
    }
    let limits = Limits { depth_max: u32::MAX };
    assert!(validate("[".repeat(100_000).as_bytes(), limits).is_err());
    assert!(validate(b"1", Limits { depth_max: 0 }).is_ok());
    assert!(validate(b"[]", Limits { depth_max: 0 }).is_err());
}

#[test]
fn the_number_of_indexed_members_is_bounded() {
    let members = |count: usize| format!("{{{}}}", vec!["\"\":1"; count].join(","));
    assert!(object(members(MEMBERS_MAX).as_bytes(), LIMITS).is_ok());
    let error = object(members(MEMBERS_MAX + 1).as_bytes(), LIMITS).unwrap_err();
    assert_eq!(error.reason, "too many members");
    assert!(validate(members(MEMBERS_MAX + 1).as_bytes(), LIMITS).is_ok());
}

fn document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-0.5e+7".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| serde_json::json!(n).to_string()),
        ".{0,40}".prop_map(|text: String| serde_json::json!(text).to_string()),
        "(\\\\u[0-9a-fA-F]{4}|\\\\n|\\\\\\\\|[a-z]){0,40}".prop_map(|text| format!("\"{text}\"")),
    ];
    let space = "[ \n]{0,2}";
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let items = prop::collection::vec(inner.clone(), 0..6);
        let members = prop::collection::vec(("[a-c]{0,2}", inner), 0..6);
        prop_oneof![
            (items, space).prop_map(|(items, space)| {
                format!("[{space}{}]", items.join(&format!("{space},{space}")))
            }),
            (members, space).prop_map(|(members, space)| {
                let members: Vec<String> = members
                    .into_iter()
                    .map(|(key, value)| format!("\"{key}\"{space}:{space}{value}"))
                    .collect();
                format!("{{{space}{}{space}}}", members.join(","))
            }),
        ]
    })
}

fn depth(document: &str) -> u32 {
    let (mut depth, mut deepest) = (0, 0);
    let mut bytes = document.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => drop(bytes.next()),
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn agrees_with_serde_json_on_documents(document in document()) {
        prop_assert!(accepted_by_serde_json(document.as_bytes()));
        let limits = Limits { depth_max: depth(&document) };
        let value = validate(document.as_bytes(), limits);
        prop_assert_eq!(value.map(|value| value.raw()), Ok(document.trim_matches([' ', '\n']).as_bytes()));
        if let Some(shallower) = limits.depth_max.checked_sub(1) {
            let limits = Limits { depth_max: shallower };
            prop_assert!(validate(document.as_bytes(), limits).is_err());
        }
    }

    #[test]
    fn agrees_with_serde_json_on_damaged_documents(
        document in document(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = document.into_bytes();
        for (index, byte, how) in damage {
            let at = index.index(bytes.len().max(1)).min(bytes.len());
            let ascii = *b"\"\\{}[]:,0-e.nu \n\x1f".get(usize::from(byte) % 20).unwrap_or(&byte);
            match how {
                0 => bytes.insert(at, ascii),
                1 => bytes.truncate(at),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] = ascii,
                _ => {}
            }
        }
        prop_assert_eq!(validate(&bytes, LIMITS).is_ok(), accepted_by_serde_json(&bytes));
    }

    #[test]
    fn plain_bytes_are_those_before_the_first_special_one(bytes in prop::collection::vec(
        prop_oneof![60 => 0x5d..=0xff_u8, 1 => any::<u8>()], 0..300,
    )) {
        let special = |&byte: &u8| byte < 0x20 || matches!(byte, b'"' | b'\\');
        let expected = bytes.iter().position(special).unwrap_or(bytes.len());
        prop_assert_eq!(plain_bytes(&bytes), expected);
    }

    #[test]
    fn agrees_with_serde_json_on_noise(text in "[\\[\\]{}:,\"\\\\0-9a-ftruelsn.eE+\\- \n]{0,12}") {
        prop_assert_eq!(validate(text.as_bytes(), LIMITS).is_ok(), accepted_by_serde_json(text.as_bytes()));
    }

    #[test]
    fn long_strings_are_scanned_like_short_ones(
        length in 0_usize..200, at in 0_usize..200, byte in any::<u8>(),
    ) {
        let mut bytes = vec![b'x'; length + 2];
        bytes[0] = b'"';
        bytes[length + 1] = b'"';
        let at = 1 + at % (length + 1);
        bytes[at] = byte;
        prop_assert_eq!(validate(&bytes, LIMITS).is_ok(), accepted_by_serde_json(&bytes));
    }
}
