use std::collections::BTreeMap;

use super::*;

fn ask(source: &str) -> Answer {
    let environment = Arc::new(Env::stdlib());
    let mut headers = HeaderMap::new();
    headers.insert("x-tier", "gold".parse().expect("a value"));
    let labels = BTreeMap::from([("team".to_owned(), "research".to_owned())]);
    let query = Query {
        model: Some("gpt-4o"),
        endpoint: Endpoint::ChatCompletions,
        dialect: Dialect::OpenAi,
        headers: &headers,
        caller: Some(Caller { id: "acme/ci", labels: &labels }),
        user: None,
        metadata: Some(br#"{"team":"research","n":3,"deep":{}}"#),
        stream: true,
        max_tokens: Some(2000),
        body_bytes: 615,
    };
    Expression::compile(source, &environment).expect(source).answer(&query)
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
    ] {
        assert_eq!(ask(source), Answer::Yes, "{source}");
    }
}

#[test]
fn what_is_not_there_does_not_match_and_is_no_failure() {
    for source in [
        r#"request.headers["x-other"] == "gold""#,
        r#"request.labels.other == "x""#,
        r#"request.metadata.other == "x""#,
        r#"request.metadata.deep == "x""#,
        r#"request.model == "other""#,
    ] {
        assert_eq!(ask(source), Answer::No, "{source}");
    }
    assert_eq!(ask("request.body_bytes / (request.max_tokens - 2000) == 1"), Answer::Failed);
}

#[test]
fn mistakes_are_found_when_compiling() {
    let environment = Arc::new(Env::stdlib());
    for (source, says) in [
        ("request.model ==", "not a CEL expression"),
        ("request.modle == 'x'", "`request.modle` does not exist; there are: model, "),
        ("model == 'x'", "write `request.model`"),
        ("req.model == 'x'", "everything is a field of `request`"),
        ("request.model", "must be true or false"),
        ("request.max_tokens + 1", "must be true or false"),
        ("lower(request.model) == 'x'", "no function `lower`"),
        ("request.max_tokens > '5'", "overload"),
        ("['a'].exists(x, y == 'a')", "`y` is not known"),
        ("", "not a CEL expression"),
    ] {
        let error = Expression::compile(source, &environment).expect_err(source);
        assert!(error.contains(says), "{source}: {error}");
    }
    let long = format!("request.model == '{}'", "x".repeat(5000));
    assert!(Expression::compile(&long, &environment).is_err());
}
