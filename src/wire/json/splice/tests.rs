use proptest::prelude::*;

use super::*;
use crate::wire::json::{Limits, object};

fn edit(span: Range<usize>, with: &'static str) -> Edit {
    Edit { span, with: Bytes::from_static(with.as_bytes()) }
}

#[test]
fn the_rest_of_the_body_is_not_copied() {
    let body = Bytes::from_static(br#"{"model":"fast","messages":[]}"#);
    let parsed = object(&body, Limits { depth_max: 8 }).unwrap();
    let model = parsed.get("model").unwrap().span();
    let mut edits = vec![
        parsed.insert("stream_options", r#"{"include_usage":true}"#),
        edit(model, "\"gpt-4o\""),
    ];
    let segments = splice(&body, &mut edits);
    let expected = r#"{"model":"gpt-4o","messages":[],"stream_options":{"include_usage":true}}"#;
    assert_eq!(segments.len_bytes(), expected.len());
    assert_eq!(segments.clone().into_bytes(), expected);
    let pieces: Vec<_> = segments.iter().collect();
    assert_eq!(pieces.len(), 5);
    assert_eq!(pieces[2].as_ptr(), body[15..].as_ptr());
}

#[test]
fn a_member_of_an_empty_object_has_no_comma() {
    let body = Bytes::from_static(b" { }");
    let insertion = object(&body, Limits { depth_max: 8 }).unwrap().insert("a\"", "1");
    assert_eq!(splice(&body, &mut [insertion]).into_bytes(), r#" { "a\"":1}"#);
}

#[test]
fn a_body_without_edits_stays_one_piece() {
    let body = Bytes::from_static(b"{}");
    let whole = splice(&body, &mut []).into_bytes();
    assert_eq!(whole.as_ptr(), body.as_ptr());
    assert_eq!(Segments::from(body).len_bytes(), 2);
    assert_eq!(splice(&Bytes::new(), &mut []).into_bytes(), "");
}

#[test]
fn spans_that_overlap_or_reach_out_are_cut() {
    let body = Bytes::from_static(b"0123456789");
    let mut edits = vec![edit(4..8, "b"), edit(2..6, "a"), edit(9..99, "c"), edit(50..60, "d")];
    assert_eq!(splice(&body, &mut edits).into_bytes(), "01ab8cd");
    #[expect(clippy::reversed_empty_ranges, reason = "what a careless caller could pass")]
    let mut edits = vec![edit(5..2, "x")];
    assert_eq!(splice(&body, &mut edits).into_bytes(), "01234x56789");
}

proptest! {
    #[test]
    fn equals_replacing_from_the_back(
        body in ".{0,60}",
        replacements in prop::collection::vec((0_usize..9, 0_usize..9, "[A-Z]{0,5}"), 0..6),
        reverse in any::<bool>(),
    ) {
        let mut edits = Vec::new();
        let mut at = 0;
        for (gap, length, with) in replacements {
            let start = at + gap;
            at = start + length;
            if at <= body.len() {
                edits.push(Edit { span: start..at, with: Bytes::from(with) });
            }
            at += 1;
        }
        let mut expected = body.clone().into_bytes();
        for edit in edits.iter().rev() {
            expected.splice(edit.span.clone(), edit.with.iter().copied());
        }
        if reverse {
            edits.reverse();
        }
        let segments = splice(&Bytes::from(body), &mut edits);
        prop_assert_eq!(segments.len_bytes(), expected.len());
        prop_assert!(segments.iter().all(|piece| !piece.is_empty()));
        prop_assert_eq!(segments.into_bytes(), expected);
    }
}
