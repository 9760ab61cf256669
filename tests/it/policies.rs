//! Policies refuse what they say, for every kind of caller, and limits of upstreams pass over what is
//! full.

use serde_json::{Value, json};
use weir::tenant::hash_form;

use crate::identity::issuer::{Publisher, Signer, now_s};
use crate::stand::Weir;

const UPSTREAM: &str = "
runtime: { threads: 1 }
providers:
  sim: { dialect: openai, simulated: { ttft: 0ms, inter_token: 0ms, tokens: 5 } }
pools:
  sim: { targets: [{ provider: sim }] }
routes: [{ pool: sim }]
";

fn post(path: &str, key: &str, headers: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {key}\r\n{headers}\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn chat(key: &str, model: &str, more: &Value) -> Vec<u8> {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "hello" }] });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    post("/v1/chat/completions", key, "", &body)
}

fn ask(weir: &Weir, request: &[u8]) -> (u16, String) {
    let answer = String::from_utf8(weir.send(request)).expect("text");
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.unwrap_or_default(), answer)
}

fn key(name: &str) -> String {
    format!("{name}-{name}-{name}")
}

fn written(name: &str, more: &str) -> String {
    format!("{{ name: {name}, hash: '{}', {more} }}", hash_form(&key(name)))
}

#[test]
fn tenants_teams_and_keys_have_policies() {
    let weir = Weir::start(&format!(
        r#"
access: keys
region: eu
tenants:
  acme:
    policies:
      - {{ name: short, when: 'request.max_tokens > 100', deny: 'At most 100 tokens.' }}
    teams:
      research:
        policies: [{{ when: 'request.model.startsWith("o") && request.region == "eu"', deny: 'Not here.' }}]
      sales: {{}}
    keys:
      - {}
      - {}
      - {}
{UPSTREAM}"#,
        written("lab", "team: research"),
        written("desk", "team: sales"),
        written(
            "batch",
            "labels: { env: prod }, policies: [{ name: env, when: 'request.labels.env != \"prod\" || \
             request.labels.cost == \"\"', deny: 'No.' }]"
        ),
    ));
    let status =
        |name: &str, model: &str, more: Value| ask(&weir, &chat(&key(name), model, &more)).0;
    assert_eq!(status("lab", "gpt-4o", json!({})), 200);
    let (refused, answer) = ask(&weir, &chat(&key("lab"), "gpt-4o", &json!({"max_tokens": 101})));
    assert_eq!(refused, 403, "{answer}");
    assert!(answer.contains("At most 100 tokens."), "{answer}");
    assert_eq!(status("lab", "o3", json!({})), 403);
    assert_eq!(status("desk", "o3", json!({})), 200);
    assert_eq!(status("desk", "o3", json!({"max_tokens": 101})), 403, "the tenant's holds for all");
    assert_eq!(status("batch", "gpt-4o", json!({})), 403, "what cannot be worked out is refused");
    let log = weir.access_log_of(6);
    assert!(log.contains("policy short of tenant acme"), "{log}");
    assert!(log.contains("policy 0 of team acme/research"), "{log}");
    assert!(log.contains("policy env of key acme/batch could not be worked out"), "{log}");
    let page = weir.metrics();
    for policy in ["short", "0", "env"] {
        let count = if policy == "short" { 2 } else { 1 };
        let line =
            format!("weir_policy_refusals_total{{tenant=\"acme\",policy=\"{policy}\"}} {count}");
        assert!(page.contains(&line), "{line} in {page}");
    }
}

#[test]
fn a_refusal_has_the_shape_of_the_format() {
    let weir = Weir::start(&format!(
        "
access: keys
tenants:
  acme: {{ policies: [{{ when: 'true', deny: 'Closed.' }}], keys: [{}] }}
{UPSTREAM}",
        written("k", "")
    ));
    let body =
        json!({ "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "x" }] });
    let version = "anthropic-version: 2023-06-01\r\n";
    for (path, headers, mark) in [
        ("/v1/chat/completions", "", "\"error\""),
        ("/v1/messages", version, "\"permission_error\""),
        ("/v1beta/models/m:generateContent", "", "\"PERMISSION_DENIED\""),
        ("/passthrough/sim/chat/completions", "", "\"error\""),
    ] {
        let (status, answer) = ask(&weir, &post(path, &key("k"), headers, &body));
        assert_eq!(status, 403, "{path}: {answer}");
        assert!(answer.contains(mark) && answer.contains("Closed."), "{path}: {answer}");
    }
    // A body that cannot be read does not get past a policy either.
    let broken = format!(
        "POST /passthrough/sim/anything HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {}\r\n\
         connection: close\r\ncontent-length: 3\r\n\r\n{{{{{{",
        key("k")
    );
    let (status, answer) = ask(&weir, broken.as_bytes());
    assert!((400..500).contains(&status), "{answer}");
    let get = format!(
        "GET /v1/responses/resp_1 HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {}\r\n\
         connection: close\r\n\r\n",
        key("k")
    );
    assert_eq!(ask(&weir, get.as_bytes()).0, 403);
}

#[test]
fn policies_see_claims_of_tokens() {
    let signer = Signer::new();
    let issuer = Publisher::start(json!([signer.jwk("one")]));
    let weir = Weir::start(&format!(
        r#"
access: keys
tenants:
  acme:
    policies:
      - {{ name: staff, when: '!("staff" in request.claims.groups)', deny: 'Staff only.' }}
      - {{ name: hours, when: 'request.time.hour > 23 || request.time.weekday > 7', deny: 'Never.' }}
issuers:
  corp: {{ issuer: '{}', audience: [weir], algorithms: [ES256], refresh: 1h, tenant: acme }}
{UPSTREAM}"#,
        issuer.url
    ));
    let ask_as = |groups: Value| {
        let mut claims = json!({
            "iss": issuer.url, "aud": "weir", "sub": "alice", "exp": now_s() + 600,
        });
        if !groups.is_null() {
            claims["groups"] = groups;
        }
        let token = signer.sign(&json!({ "alg": "ES256", "kid": "one" }), &claims);
        ask(&weir, &chat(&token, "gpt-4o", &json!({}))).0
    };
    assert_eq!(ask_as(json!(["staff", "ml"])), 200);
    assert_eq!(ask_as(json!(["ml"])), 403);
    assert_eq!(ask_as(Value::Null), 403, "without the claim it cannot be worked out");
    assert_eq!(ask_as(json!(vec!["staff"; 300])), 403, "a list that is too long is not looked at");
}

const TWO_UPSTREAMS: &str = "
runtime: { threads: 1 }
providers:
  small: { dialect: openai, simulated: { ttft: 0ms, inter_token: 0ms, tokens: 5 }, limits: LIMITS }
  large: { dialect: openai, simulated: { ttft: 0ms, inter_token: 0ms, tokens: 5 }, limits: [{ requests: { hour: 2 } }] }
pools:
  chat:
    targets: [{ provider: small, model: m1 }, { provider: small, model: m2, priority: 1 }, { provider: large, priority: 2 }]
routes: [{ pool: chat }]
access: open
";

fn served_by(answer: &str) -> String {
    let header = |name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    format!("{}/{}", header("x-weir-provider:"), header("x-weir-model:"))
}

#[test]
fn an_upstream_without_room_is_passed_over() {
    let limits = "[{ models: [m1], requests: { hour: 1 } }, { tokens: { hour: 60 } }]";
    let weir = Weir::start(&TWO_UPSTREAMS.replace("LIMITS", limits));
    let request = chat("none", "gpt-4o", &json!({ "max_tokens": 20 }));
    let mut seen = Vec::new();
    let refused = loop {
        let (status, answer) = ask(&weir, &request);
        if status != 200 {
            break (status, answer);
        }
        assert!(answer.contains("x-weir-attempts: 1"), "nothing is sent to what is full: {answer}");
        seen.push(served_by(&answer));
        assert!(seen.len() < 20, "there is no limit");
    };
    assert_eq!(seen[0], "small/m1");
    assert_eq!(seen[1], "small/m2", "one request an hour for m1");
    assert!(seen.ends_with(&["large/gpt-4o".to_owned(), "large/gpt-4o".to_owned()]), "{seen:?}");
    assert_eq!(refused.0, 429, "{}", refused.1);
    let after = refused.1.lines().find_map(|line| line.strip_prefix("retry-after: "));
    let after: u64 = after.expect("when to come back").trim().parse().expect("seconds");
    assert!((3000..=3660).contains(&after), "{after}");
    let page = weir.metrics();
    for limit in ["requests", "tokens"] {
        let label = format!("provider=\"small\",limit=\"{limit}\"");
        assert!(
            page.lines().any(|line| line.starts_with("weir_upstream_limit_passed_over_total")
                && line.contains(&label)),
            "{page}"
        );
    }
    assert!(!page.lines().any(|line| line.starts_with("weir_limit_refusals_total{")), "{page}");
    let shown = weir.ask_admin(
        b"GET /admin/v1/limits?owner=provider%20large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    );
    assert!(shown.contains("\"used\":2") || shown.contains("\"used\": 2"), "{shown}");
}

/// What is used of the limit of a provider.
fn used_at(weir: &Weir, provider: &str) -> u64 {
    let request = format!(
        "GET /admin/v1/limits?owner=provider%20{provider} HTTP/1.1\r\nhost: localhost\r\n\
         connection: close\r\n\r\n"
    );
    let shown = weir.ask_admin(request.as_bytes());
    let shown: Value =
        serde_json::from_str(shown.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    shown["scopes"][0]["counters"][0]["used"].as_u64().unwrap_or_default()
}

#[test]
fn a_stream_is_counted_at_its_provider_as_it_goes_on_and_never_cut_for_it() {
    let slow = "simulated: { ttft: 0ms, inter_token: 10ms, tokens: 300 }, limits: LIMITS";
    let config = TWO_UPSTREAMS
        .replacen("simulated: { ttft: 0ms, inter_token: 0ms, tokens: 5 }, limits: LIMITS", slow, 1)
        .replace("LIMITS", "[{ tokens: { hour: 100 } }]");
    let weir = Weir::start(&format!("{config}admission: {{ stream: 16, step: 16 }}\n"));
    let mut stream = std::net::TcpStream::connect(weir.address).expect("connected");
    let request = chat("none", "gpt-4o", &json!({ "stream": true }));
    std::io::Write::write_all(&mut stream, &request).expect("sent");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // Long before it ends others know of it.
    while used_at(&weir, "small") < 100 {
        assert!(std::time::Instant::now() < deadline, "it is not counted");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let (status, answer) = ask(&weir, &chat("none", "gpt-4o", &json!({ "max_tokens": 5 })));
    assert_eq!((status, served_by(&answer).as_str()), (200, "large/gpt-4o"), "{answer}");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stream, &mut rest).expect("read to its end");
    assert!(rest.contains(r#""finish_reason":"stop""#) && rest.contains("[DONE]"), "{rest}");
    let line = weir.access_log_of(2);
    let line = line.lines().find(|line| line.contains(r#""stream":true"#)).expect("its line");
    assert!(!line.contains("cut_off") && line.contains(r#""output_tokens":300"#), "{line}");
    let used = used_at(&weir, "small");
    assert!((300..340).contains(&used), "what it used, once: {used}");
}

#[test]
fn limits_count_by_what_an_expression_names() {
    let weir = Weir::start(&format!(
        "
access: keys
tenants:
  acme:
    limits: [{{ per: [{{ cel: 'request.metadata.project' }}, user], requests: {{ hour: 2 }} }}]
    keys: [{}]
{UPSTREAM}",
        written("k", "")
    ));
    let ask = |project: &str, user: &str| {
        let more = json!({ "metadata": { "project": project }, "user": user });
        ask(&weir, &chat(&key("k"), "gpt-4o", &more)).0
    };
    assert_eq!([ask("a", "u"), ask("a", "u"), ask("a", "u")], [200, 200, 429]);
    assert_eq!([ask("b", "u"), ask("a", "v")], [200, 200]);
    // What is too long is one, whatever it is.
    let long = |last: &str| format!("{}{last}", "x".repeat(200));
    assert_eq!([ask(&long("1"), "u"), ask(&long("2"), "u"), ask(&long("3"), "u")], [200, 200, 429]);
    let shown = weir.ask_admin(
        b"GET /admin/v1/limits?owner=tenant%20acme HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    );
    let shown: Value =
        serde_json::from_str(shown.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    let scopes = shown["scopes"].as_array().expect("scopes");
    assert!(scopes.iter().any(|scope| scope["named"] == json!(["a"]) && scope["user"] == "v"));
}
