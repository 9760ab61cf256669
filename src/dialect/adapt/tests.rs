use proptest::prelude::*;

use super::*;

fn rule(models: &[&str], drop: &[&str], rename: &[(&str, &str)]) -> Rule {
    Rule {
        models: models.iter().map(|text| NamePattern::compile(text).expect("a pattern")).collect(),
        drop: drop.iter().map(|name| (*name).into()).collect(),
        rename: rename.iter().map(|(old, new)| ((*old).into(), (*new).into())).collect(),
        ..Rule::default()
    }
}

fn adapted(by: &Adaptation, model: &str, body: &str) -> (String, String) {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    let Some(mut adapted) = by.of(Endpoint::ChatCompletions, model, &bytes) else {
        return (body.to_owned(), String::new());
    };
    let dropped = adapted.dropped(LossPolicy::Lenient, "p").expect("lenient").header_value();
    let body = splice(&bytes, &mut adapted.edits).into_bytes();
    (String::from_utf8(body.to_vec()).expect("text"), dropped)
}

#[test]
fn members_are_cut_and_renamed_and_all_else_stays() {
    let by = Adaptation {
        rules: vec![rule(
            &[],
            &["seed", "a.b", "last"],
            &[("max_completion_tokens", "max_tokens")],
        )],
        ..Adaptation::default()
    };
    for (body, want, dropped) in [
        (r#"{"model" : "m" }"#, r#"{"model" : "m" }"#, ""),
        (r#"{ "seed": 1 , "model":"m" }"#, r#"{ "model":"m" }"#, "seed"),
        (r#"{"model":"m" , "seed":1}"#, r#"{"model":"m"}"#, "seed"),
        (r#"{"model":"m", "seed":1, "last":[{}] }"#, r#"{"model":"m" }"#, "seed, last"),
        (r#"{"seed":1,"last":2}"#, "{}", "seed, last"),
        (r#"{"a":{"b":1,"c":2},"b":3}"#, r#"{"a":{"c":2},"b":3}"#, "a.b"),
        (r#"{"\u0061":{"b":1,"c":2}}"#, r#"{"\u0061":{"c":2}}"#, "a.b"),
        (r#"{"a":{"b":1},"x":{"seed":1}}"#, r#"{"a":{},"x":{"seed":1}}"#, "a.b"),
        (r#"{"s\u0065ed":1,"k":2}"#, r#"{"k":2}"#, "seed"),
        (r#"{"max_completion_tokens" : 5}"#, r#"{"max_tokens" : 5}"#, ""),
        (
            r#"{"max_completion_tokens":5,"max_tokens":6}"#,
            r#"{"max_tokens":6}"#,
            "max_completion_tokens",
        ),
    ] {
        assert_eq!(adapted(&by, "m", body), (want.to_owned(), dropped.to_owned()), "{body}");
    }
}

#[test]
fn the_first_rule_that_matches_the_model_counts() {
    let by = Adaptation {
        rules: vec![rule(&["gpt-5-chat*"], &[], &[]), rule(&["gpt-5*", "o1*"], &["top_p"], &[])],
        ..Adaptation::default()
    };
    let body = r#"{"top_p":1,"n":1}"#;
    assert_eq!(adapted(&by, "gpt-5-mini", body).0, r#"{"n":1}"#);
    assert_eq!(adapted(&by, "gpt-5-chat-latest", body).0, body);
    assert_eq!(adapted(&by, "gpt-4o", body).0, body);
}

#[test]
fn members_are_added_and_the_model_is_taken_out() {
    let by = Adaptation {
        add: vec![("v".into(), r#""x""#.into()), ("w".into(), "1".into())],
        model_in_path_only: true,
        ..Adaptation::default()
    };
    assert_eq!(adapted(&by, "m", r#"{"model":"m"}"#).0, r#"{"v":"x","w":1}"#);
    assert_eq!(adapted(&by, "m", r#"{"model":"m","k":2}"#).0, r#"{"v":"x","w":1,"k":2}"#);
    assert_eq!(adapted(&by, "m", r#"{"v":0,"model":"m"}"#).0, r#"{"w":1,"v":0}"#);
}

#[test]
fn a_strict_route_refuses_and_names_the_member() {
    let by = Adaptation { rules: vec![rule(&[], &["seed"], &[])], ..Adaptation::default() };
    let mut adapted = by.of(Endpoint::ChatCompletions, "m", br#"{"seed":1}"#).expect("edits");
    let error = adapted.dropped(LossPolicy::Strict, "groq").expect_err("refused");
    assert_eq!((error.kind, error.param.as_deref()), (Kind::NotExpressible, Some("seed")));
    assert!(error.public.contains("`seed`") && error.public.contains("groq"));
    assert!(by.of(Endpoint::Embeddings, "m", br#"{"seed":1}"#).is_none(), "only chats");
}

proptest! {
    /// Whatever is cut, what is left is the object without those members.
    #[test]
    fn what_is_left_is_the_object_without_what_was_cut(
        names in prop::collection::vec("[a-e]", 0..8),
        cut in prop::collection::vec("[a-e]", 0..5),
        space in "[ \n]{0,2}",
    ) {
        let mut seen = std::collections::BTreeSet::new();
        let names: Vec<_> = names.into_iter().filter(|name| seen.insert(name.clone())).collect();
        let member = |(n, name): (usize, &String)| format!("{space}\"{name}\"{space}:{space}{n}{space}");
        let members: Vec<String> = names.iter().enumerate().map(member).collect();
        let body = format!("{{{}}}", members.join(","));
        let cuts: Vec<&str> = cut.iter().map(String::as_str).collect();
        let by = Adaptation { rules: vec![rule(&[], &cuts, &[])], ..Adaptation::default() };
        let mut want: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        want.as_object_mut().expect("an object").retain(|name, _| !cut.contains(name));
        let left: serde_json::Value =
            serde_json::from_str(&adapted(&by, "m", &body).0).expect("still JSON");
        prop_assert_eq!(left, want);
    }
}
