use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;

fn ask(source: &str) -> Answer {
    let headers = Fields::from_iter([("x-tier", "gold")]);
    let labels = BTreeMap::from([("team".to_owned(), "research".to_owned())]).into();
    let claims = serde_json::json!({"groups": ["ml", "ops"], "age": 7, "org": {"unit": "x"},
        "long": vec![0; 300]});
    let claims = claims.as_object().expect("an object").clone();
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let query = Query {
        model: Some("gpt-4o"),
        endpoint: Endpoint::ChatCompletions,
        dialect: Dialect::OpenAi,
        headers: &headers,
        caller: Some(Caller {
            team: Some("research"),
            claims: Some(&claims),
            zone: Some(&zone),
            ..Caller::of("acme/ci", &labels)
        }),
        user: None,
        metadata: Some(br#"{"team":"research","n":3,"deep":{}}"#),
        stream: true,
        max_tokens: Some(2000),
        body_bytes: 615,
        // A Sunday.
        unix_s: "2026-11-22T23:30:00Z".parse::<Timestamp>().expect("a time").as_second(),
        region: "eu",
    };
    Expression::condition(source).expect(source).answer(&query)
}

#[test]
fn every_field_can_be_asked_for() {
    for source in [
        r#"request.model == "gpt-4o""#,
        r#"request.model.startsWith("gpt-") && request.model.matches("^gpt-[45]")"#,
        r#"request.endpoint == "chat_completions" && request.dialect == "openai""#,
        "request.stream",
        r#"request.headers["x-tier"] == "gold""#,
        r#"request.headers["X-Tier"] == "gold""#,
        r#""x-tier" in request.headers"#,
        r#"!("x-other" in request.headers)"#,
        r#"request.caller == "acme/ci""#,
        r#"request.labels.team == "research""#,
        "has(request.labels.team) && !has(request.labels.other)",
        r#"request.user == """#,
        r#"request.metadata.team == "research" && request.metadata.n == 3"#,
        "request.max_tokens > 1000 && request.max_tokens <= 2000",
        "request.body_bytes == 615",
        r#"request.model in ["gpt-4o", "gpt-4"]"#,
        r#"["gpt-", "o1"].exists(prefix, request.model.startsWith(prefix))"#,
        r#"request["model"] == "gpt-4o""#,
        "size(request.model) == 6",
        r#"request.tenant == "acme" && request.team == "research" && request.key == "ci""#,
        r#"request.region == "eu""#,
        r#""ml" in request.claims.groups && request.claims.groups.exists(g, g.startsWith("o"))"#,
        r#"request.claims.age == 7 && request.claims.org.unit == "x""#,
        r#"has(request.claims.groups) && !("other" in request.claims)"#,
        "request.time.hour == 0 && request.time.minute == 30 && request.time.weekday == 1",
        "request.time.year == 2026 && request.time.month == 11 && request.time.day == 23",
    ] {
        assert_eq!(ask(source), Answer::Yes, "{source}");
    }
}

#[test]
fn what_is_not_there_is_told_from_failures() {
    for source in [
        r#"request.headers["x-other"] == "gold""#,
        r#"request.labels.other == "x""#,
        r#"request.metadata.other == "x""#,
        r#"request.metadata.deep == "x""#,
        r#"request.claims.other == "x""#,
        "request.claims.long == []",
    ] {
        assert_eq!(ask(source), Answer::Absent, "{source}");
    }
    assert_eq!(ask(r#"request.model == "other""#), Answer::No);
    assert_eq!(ask("request.body_bytes / (request.max_tokens - 2000) == 1"), Answer::Failed);
}

#[test]
fn mistakes_are_found_when_compiling() {
    for (source, says) in [
        ("request.model ==", "not a CEL expression"),
        ("request.modle == 'x'", "`request.modle` does not exist; there are: model, "),
        ("model == 'x'", "write `request.model`"),
        ("req.model == 'x'", "everything is a field of `request`"),
        ("request.model", "must be true or false"),
        ("request.max_tokens + 1", "must be true or false"),
        ("request.labels", "a whole part of the request"),
        ("lower(request.model) == 'x'", "no function `lower`"),
        ("request.max_tokens > '5'", "overload"),
        ("['a'].exists(x, y == 'a')", "`y` is not known"),
        ("", "not a CEL expression"),
        ("[1].all(a, [2].all(b, [3].all(c, a == b)))", "more than 2 macros"),
    ] {
        let error = Expression::condition(source).expect_err(source);
        assert!(error.contains(says), "{source}: {error}");
    }
    let long = format!("request.model == '{}'", "x".repeat(5000));
    assert!(Expression::condition(&long).is_err());
}

#[test]
fn names_are_texts_and_whole_numbers() {
    let headers = Fields::default();
    let labels = BTreeMap::from([("project".to_owned(), "x".repeat(128))]).into();
    let other = BTreeMap::from([("project".to_owned(), "x".repeat(129))]).into();
    let query = |labels| Query {
        model: None,
        endpoint: Endpoint::ChatCompletions,
        dialect: Dialect::OpenAi,
        headers: &headers,
        caller: Some(Caller::of("acme/ci", labels)),
        user: None,
        metadata: None,
        stream: false,
        max_tokens: Some(7),
        body_bytes: 2,
        unix_s: 0,
        region: "",
    };
    let named =
        |source: &str, labels| Expression::name(source).expect(source).named(&query(labels));
    assert_eq!(named("request.labels.project", &labels), "x".repeat(128));
    assert_eq!(named("request.labels.project", &other), "", "too long");
    assert_eq!(named("request.labels.other", &labels), "", "not there");
    assert_eq!(named("request.max_tokens % 4", &labels), "3");
    assert_eq!(named("request.max_tokens > 4", &labels), "true");
    for wrong in ["request.labels", "[1]", "1.5"] {
        assert!(Expression::name(wrong).is_err(), "{wrong}");
    }
}
