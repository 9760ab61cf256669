use proptest::prelude::*;

use super::*;

fn unescaped(pieces: &[&str]) -> (String, Option<u16>) {
    let mut carry = None;
    let mut out = String::new();
    for piece in pieces {
        unescape(piece.as_bytes(), &mut carry, &mut out);
    }
    (out, carry)
}

#[test]
fn escapes_become_characters() {
    assert_eq!(unescaped(&[r#"a\"\\\/\b\f\n\r\t\u00e4\u20AC"#]).0, "a\"\\/\u{8}\u{c}\n\r\tä€");
}

#[test]
fn a_pair_may_be_cut_between_two_deltas() {
    assert_eq!(unescaped(&[r"\ud83d\ude00"]), ("😀".to_owned(), None));
    assert_eq!(unescaped(&[r"a\ud83d", "", r"\ude00b"]), ("a😀b".to_owned(), None));
    assert_eq!(unescaped(&[r"a\ud83d"]), ("a".to_owned(), Some(0xD83D)));
}

#[test]
fn half_a_pair_is_replaced() {
    assert_eq!(unescaped(&[r"\ud83d", "x"]).0, "\u{fffd}x");
    assert_eq!(unescaped(&[r"\ud83d", r"\n"]).0, "\u{fffd}\n");
    assert_eq!(unescaped(&[r"\ud83d\ud83d\ude00"]).0, "\u{fffd}😀");
    assert_eq!(unescaped(&[r"\ude00"]).0, "\u{fffd}");
    assert_eq!(decode(br"x\ud83d"), "x\u{fffd}");
}

#[test]
fn garbage_is_replaced() {
    assert_eq!(unescaped(&[r"\x\u12"]).0, "\u{fffd}\u{fffd}12");
    assert_eq!(unescaped(&["\\"]).0, "\u{fffd}");
    assert_eq!(unescaped(&[r"\uzzzz"]).0, "\u{fffd}");
    assert_eq!(decode(b"\xff\\n"), "\u{fffd}\n");
    assert_eq!(decode(b"\xff"), "\u{fffd}");
}

proptest! {
    #[test]
    fn what_is_quoted_is_read_back(text in any::<String>()) {
        let mut quoted = Vec::new();
        quote(&text, &mut quoted);
        prop_assert_eq!(&serde_json::from_slice::<String>(&quoted).unwrap(), &text);
        prop_assert_eq!(decode(&quoted[1..quoted.len() - 1]), text);
    }

    /// Deltas are cut between the tokens of a model, and so between the halves of a pair at worst.
    #[test]
    fn any_cutting_between_units_gives_the_same_text(
        text in any::<String>(), ascii in any::<bool>(), cuts in prop::collection::vec(0_usize..80, 0..8),
    ) {
        let units: Vec<String> = if ascii {
            text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
        } else {
            text.chars().map(|char| {
                let quoted = serde_json::json!(char).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }).collect()
        };
        let mut carry = None;
        let mut out = String::new();
        let mut piece = String::new();
        for (at, unit) in units.iter().enumerate() {
            piece.push_str(unit);
            if cuts.contains(&at) {
                unescape(piece.as_bytes(), &mut carry, &mut out);
                piece.clear();
            }
        }
        unescape(piece.as_bytes(), &mut carry, &mut out);
        prop_assert_eq!(carry, None);
        prop_assert_eq!(out, text);
    }

    #[test]
    fn agrees_with_serde_json(contents in "(\\\\u[0-9a-f]{4}|\\\\[nrtbf/\"\\\\]|[a-zäé ]){0,30}") {
        let quoted = format!("\"{contents}\"");
        if let Ok(text) = serde_json::from_str::<String>(&quoted) {
            prop_assert_eq!(decode(contents.as_bytes()), text);
        }
    }
}
