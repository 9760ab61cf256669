use proptest::prelude::*;

use super::super::{Kind, lazy};
use super::*;

/// The leaves that a test reads: where they are, for all whose keys begin with `n`.
fn what(leaf: &Leaf<'_>) -> Option<(u8, u8)> {
    let last = |text: &[u8]| text.last().copied().unwrap_or_default();
    leaf.key.starts_with(b"n").then(|| (last(leaf.within), last(leaf.key)))
}

fn key() -> LastKey {
    LastKey::new("usage")
}

fn learned(document: &str) -> Forms<(u8, u8)> {
    let mut forms = Forms::none();
    forms.learn(lazy(document.as_bytes()), &key(), what);
    forms
}

fn read(forms: &mut Forms<(u8, u8)>, document: &str) -> Option<Vec<u64>> {
    let numbers = forms.read(lazy(document.as_bytes()))?;
    Some(numbers.iter().map(|(_, number)| *number).collect())
}

const PLAIN: &str =
    r#"{"text":"x","usage":{"n1":5,"other":7,"details":{"n2":0}},"tier":"default"}"#;

#[test]
fn numbers_of_the_same_form() {
    let mut forms = learned(PLAIN);
    for (document, numbers) in [
        (PLAIN, Some(vec![5, 0])),
        (
            r#" {"usage":{"n1":9999999999999999999,"other":1234,"details":{"n2":10}},"tier":"default"} "#,
            None,
        ),
        (
            r#"{"a":{"usage":2},"usage":{"n1":123456,"other":1,"details":{"n2":10}},"tier":"default"}"#,
            Some(vec![123_456, 10]),
        ),
        (r#"{"x":1,"usage":{"n1":,"other":7,"details":{"n2":0}},"tier":"default"}"#, None),
        (r#"{"x":1,"usage":{"n1":-5,"other":7,"details":{"n2":0}},"tier":"default"}"#, None),
        (r#"{"x":1,"usage":{"n1":5.5,"other":7,"details":{"n2":0}},"tier":"default"}"#, None),
        (r#"{"x":1,"usage":{"n1":5,"other":7,"details":{"n2":0}},"tier":"priority"}"#, None),
        (r#"{"x":1,"usage":{"n1":5,"other":7,"details":{"n2":0}},"tier":"default"}}"#, None),
        (r#"{"x":1,"sage":{"n1":5,"other":7,"details":{"n2":0}},"tier":"default"}"#, None),
        (r#"["x","usage":{"n1":5,"other":7,"details":{"n2":0}},"tier":"default"}"#, None),
        (r#"sage":{"n1":5,"other":7,"details":{"n2":0}},"tier":"default"}"#, None),
        ("", None),
        ("{}", None),
    ] {
        assert_eq!(read(&mut forms, document), numbers, "{document}");
    }
    let most = PLAIN.replace(":5,", ":9223372036854775807,");
    assert_eq!(read(&mut forms, &most), Some(vec![i64::MAX as u64, 0]));
    let long = PLAIN.replace(":5,", ":00000000000000000005,");
    assert_eq!(read(&mut forms, &long), None);
}

#[test]
fn what_no_form_is_made_of() {
    for document in [
        "",
        "{}",
        "[]",
        r#"{"usage":null}"#,
        r#"{"usage":5}"#,
        r#"{"usage":{}}"#,
        r#"{"usage":{"n1":5.0}}"#,
        r#"{"usage":{"n1":null,"n2":5}}"#,
        r#"{"usage":{"n1":5}"#,
        r#"{"usage":{"n1":5}} x"#,
        r#"{"x":{"usage":{"n1":5}}}"#,
    ] {
        assert!(Form::of(lazy(document.as_bytes()), &key(), what).is_none(), "{document}");
    }
}

/// A document with a member that is looked for, and what may look like it.
fn document() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("0".to_owned()),
        any::<u16>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        Just("1.5".to_owned()),
        Just("-1".to_owned()),
        Just("null".to_owned()),
    ];
    let before = prop::sample::select(vec![
        "{",
        r#"{"a":1,"#,
        r#"{"a":"\"usage\":{\"n1\":1","#,
        r#"{"usage":{"n1":8},"#,
        r#"{"x":{"usage":{"n1":8}},"#,
    ]);
    let behind = prop::sample::select(vec!["}", r#","b":"c"}"#, r#","b":{"usage":1}}"#, "}}", ""]);
    let space = prop::sample::select(vec!["", " ", "\n  "]);
    (before, prop::collection::vec(number, 3), behind, space).prop_map(
        |(before, numbers, behind, space)| {
            let [one, two, three] = [&numbers[0], &numbers[1], &numbers[2]];
            format!(
                r#"{before}{space}"usage":{space}{{"n1":{one},{space}"d":{{"n2":{two}}},"x":{three}{space}}}{behind}"#
            )
        },
    )
}

proptest! {
    /// Whatever was seen before, the numbers are those that are found by the keys.
    #[test]
    fn as_the_keys_say(documents in prop::collection::vec(document(), 1..12)) {
        let (mut forms, key) = (Forms::none(), key());
        for document in documents {
            let object = lazy(document.as_bytes());
            if let Some(numbers) = forms.read(object) {
                let member = object.get_last(&key);
                prop_assert_eq!(member.and_then(|member| member.kind()), Some(Kind::Object));
                let leaves = member.iter().flat_map(Value::leaves);
                let known: Vec<_> = leaves
                    .filter_map(|leaf| Some((what(&leaf)?, leaf.value.as_u64()?)))
                    .collect();
                prop_assert_eq!(&numbers[..], &known[..]);
            }
            forms.learn(object, &key, what);
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(
        prop::sample::select(b"{}[]\":,n1 5usage".to_vec()), 0..64,
    )) {
        let mut forms = learned(PLAIN);
        let _ = forms.read(lazy(&bytes));
        forms.learn(lazy(&bytes), &key(), what);
    }
}
