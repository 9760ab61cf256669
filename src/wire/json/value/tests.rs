use proptest::prelude::*;
use serde_json::{Value as Tree, json};

use super::*;
use crate::wire::json::{Limits, Repeated, object};

const LIMITS: Limits = Limits { depth_max: 64 };

/// Rebuilds a tree through the accessors.
fn tree(value: Value<'_>) -> Tree {
    match value.kind().unwrap() {
        Kind::Null => Tree::Null,
        Kind::Bool => Tree::Bool(value.as_bool().unwrap()),
        Kind::Number => serde_json::from_slice(value.raw()).unwrap(),
        Kind::String => Tree::String(value.as_str().unwrap().into_owned()),
        Kind::Array => Tree::Array(value.items().map(tree).collect()),
        Kind::Object => Tree::Object(
            value.members().map(|m| (text::decode(m.key).into_owned(), tree(m.value))).collect(),
        ),
    }
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        ".{0,30}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::from),
            prop::collection::btree_map(".{0,5}", inner, 0..5)
                .prop_map(|members| Tree::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn the_members_of_a_request() {
    let body = br#" {"model": "gpt-4o", "stream" :true,"n":2,"temperature":0.5,"messages":[{"role":"user","content":"h\u00e4 \"x\""}],"a":null} "#;
    let object = object(body, LIMITS).unwrap();
    let model = object.get("model").unwrap();
    assert_eq!(&body[model.span()], b"\"gpt-4o\"");
    assert!(matches!(model.as_str(), Some(Cow::Borrowed("gpt-4o"))));
    assert_eq!(object.get("stream").unwrap().as_bool(), Some(true));
    assert_eq!(object.get("n").unwrap().as_u64(), Some(2));
    assert_eq!(object.get("temperature").unwrap().as_f64(), Some(0.5));
    assert_eq!(object.get("temperature").unwrap().as_u64(), None);
    assert!(object.get("a").unwrap().is_null());
    assert_eq!(object.get("b"), None);
    let content = object.find(&["messages", "0", "content"]).unwrap();
    assert_eq!(content.as_str().unwrap(), "hä \"x\"");
    assert_eq!(&body[content.span()], content.raw());
    assert_eq!(body[object.insert_at()], b'}');
    let keys: Vec<_> = object.members().map(|member| member.key).collect();
    assert_eq!(keys, [&b"model"[..], b"stream", b"n", b"temperature", b"messages", b"a"]);
    for member in object.members() {
        assert!(
            serde_json::from_str::<Tree>(&format!(
                "{{{}}}",
                std::str::from_utf8(&body[member.span()]).unwrap()
            ))
            .is_ok()
        );
    }
}

#[test]
fn duplicates_are_noticed_in_any_spelling() {
    let object = object(br#"{"model":1,"mod\u0065l":2,"x":{"x":1}}"#, LIMITS).unwrap();
    assert_eq!(object.single("model"), Err(Repeated));
    assert_eq!(object.single("x").unwrap().unwrap().raw(), br#"{"x":1}"#);
    assert_eq!(object.single("y"), Ok(None));
    assert_eq!(object.get("model").unwrap().as_u64(), Some(2));
}

#[test]
fn a_document_that_is_not_an_object_is_refused() {
    assert_eq!(object(b" [1]", LIMITS).unwrap_err().reason, "expected an object");
}

#[test]
fn numbers_that_do_not_fit() {
    for (raw, whole, float) in [
        ("18446744073709551615", Some(u64::MAX), Some(18_446_744_073_709_551_615.0)),
        ("18446744073709551616", None, Some(18_446_744_073_709_551_616.0)),
        ("1e400", None, None),
        ("-1", None, Some(-1.0)),
        ("\"1\"", None, None),
        ("true", None, None),
    ] {
        let value = lazy(raw.as_bytes());
        assert_eq!((value.as_u64(), value.as_f64()), (whole, float), "{raw}");
    }
}

#[test]
fn a_path_into_a_frame() {
    let frame = br#"{"choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}"#;
    let text = find(frame, &["choices", "0", "delta", "content"]).unwrap();
    assert_eq!(text.as_str().unwrap(), "Hi");
    assert!(find(frame, &["usage"]).unwrap().is_null());
    assert_eq!(find(frame, &["choices", "1"]), None);
    assert_eq!(find(frame, &["choices", "x"]), None);
    assert_eq!(find(frame, &["usage", "x"]), None);
    assert_eq!(find(frame, &[]).unwrap().raw(), frame);
}

proptest! {
    #[test]
    fn the_accessors_see_what_a_tree_holds(expected in any_tree(), pretty in any::<bool>()) {
        let text = if pretty {
            serde_json::to_string_pretty(&expected).unwrap()
        } else {
            expected.to_string()
        };
        prop_assert_eq!(tree(lazy(text.as_bytes())), expected.clone());
        if let Ok(object) = object(text.as_bytes(), LIMITS) {
            prop_assert_eq!(tree(object.value()), expected.clone());
            for (key, value) in expected.as_object().unwrap() {
                prop_assert_eq!(&tree(object.get(key).unwrap()), value);
                prop_assert_eq!(&tree(object.value().get(key).unwrap()), value);
            }
        }
    }

    #[test]
    fn garbage_ends_quietly(bytes in prop::collection::vec(prop_oneof![
        any::<u8>(), prop::sample::select(b"{}[]\":,\\ u1".to_vec()),
    ], 0..60)) {
        fn walk(value: Value<'_>, depth: u32) {
            let _ = (value.kind(), value.as_str(), value.as_u64(), value.as_f64(), value.as_bool());
            assert!(value.contents().is_none_or(|contents| contents.len() + 2 == value.raw().len()));
            if depth < 100 {
                value.items().for_each(|item| walk(item, depth + 1));
                value.members().for_each(|member| walk(member.value, depth + 1));
                value.leaves().for_each(|leaf| walk(leaf.value, depth + 1));
            }
        }
        walk(lazy(&bytes), 0);
        let _ = find(&bytes, &["a", "0", "b"]);
    }
}

#[test]
fn nothing_in_it() {
    for raw in ["[]", "{}", "[ \n]", "{\t}"] {
        assert!(lazy(raw.as_bytes()).is_empty(), "{raw}");
    }
    for raw in ["[0]", "[ {}]", r#"{"a":1}"#, "[", "", "null", r#""""#, "0"] {
        assert!(!lazy(raw.as_bytes()).is_empty(), "{raw}");
    }
}

proptest! {
    #[test]
    fn leaves_are_the_members_of_two_levels(
        inner in prop::collection::vec(prop_oneof![
            Just(json!(null)), Just(json!({})), Just(json!([{"a": 1}])), Just(json!({"b": {"c": 2}, "d": 3})),
        ], 0..6),
        pretty in any::<bool>(),
    ) {
        let members = inner.iter().enumerate().map(|(n, value)| (format!("k{n}"), value.clone()));
        let whole = serde_json::Value::Object(members.collect());
        let text = if pretty { serde_json::to_string_pretty(&whole).unwrap() } else { whole.to_string() };
        let mut expected = Vec::new();
        for (outer, value) in whole.as_object().unwrap() {
            match value.as_object() {
                Some(inner) => expected.extend(inner.iter().map(|(key, value)| (&outer[..], &key[..], value.clone()))),
                None => expected.push(("", &outer[..], value.clone())),
            }
        }
        let document = lazy(text.as_bytes());
        let found = document.leaves().map(|leaf| {
            let text = |bytes| std::str::from_utf8(bytes).unwrap();
            (text(leaf.within), text(leaf.key), tree(leaf.value))
        });
        prop_assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}

/// Where a string ends, byte by byte.
fn string_end_by_bytes(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

proptest! {
    #[test]
    fn a_string_ends_at_its_first_quote_without_a_backslash(bytes in prop::collection::vec(
        prop_oneof![8 => Just(b'a'), 2 => Just(b'\\'), 1 => Just(b'"'), 1 => any::<u8>()], 0..80,
    )) {
        let bytes = [b"\"", bytes.as_slice()].concat();
        prop_assert_eq!(string_end(&bytes, 0), string_end_by_bytes(&bytes));
    }

    #[test]
    fn a_usual_key_is_what_any_key_is(pieces in prop::collection::vec(
        prop::sample::select(vec![
            ",", "\"", ":", " ", "\n", "\\", "\\\"", "}", "1", "a", "prompt_tokens", "\"a\":1", ",\"b\":2",
        ]),
        0..12,
    )) {
        let document = format!("{{{}", pieces.concat());
        for at in 1..=document.len() {
            let mut usual = Cursor::over(lazy(document.as_bytes()), at);
            let mut any = usual.clone();
            prop_assert_eq!(usual.key(), any.any_key());
            prop_assert_eq!(usual.at, any.at);
        }
    }

    #[test]
    fn members_by_key_are_those_of_a_walk(members in prop::collection::vec(
        (prop::sample::select(vec!["", "a", "b", "n", "\\u0061", "\\n", "model", "mode\\u006c"]), 0..9_u8),
        0..12,
    )) {
        let members: Vec<_> =
            members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let document = format!("{{{}}}", members.join(","));
        let object = object(document.as_bytes(), LIMITS).unwrap();
        for key in ["", "a", "b", "n", "\n", "x", "model"] {
            let named: Vec<_> = object.members().filter(|member| member.is(key)).collect();
            prop_assert_eq!(object.get(key), named.last().map(|member| member.value));
            let single = match named[..] {
                [] => Ok(None),
                [member] => Ok(Some(member.value)),
                _ => Err(Repeated),
            };
            prop_assert_eq!(object.single(key), single);
        }
    }
}
