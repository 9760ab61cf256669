//! Tokens of an issuer identify their callers, through rotations of its keys.

use serde_json::{Value, json};

use super::issuer::{Publisher, Signer, now_s};
use crate::stand::Weir;

pub const UPSTREAM: &str = "
runtime: { threads: 1 }
providers:
  sim: { dialect: openai, simulated: { ttft: 0ms, inter_token: 0ms, tokens: 5 } }
pools:
  sim: { targets: [{ provider: sim }] }
routes: [{ pool: sim }]
";

pub fn chat(headers: &str) -> Vec<u8> {
    chat_for("gpt-4o", headers)
}

fn chat_for(model: &str, headers: &str) -> Vec<u8> {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]}}"#);
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
         {headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// The status of an answer; 0 where there is none.
pub fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
}

fn claims(issuer: &Publisher) -> Value {
    json!({
        "iss": issuer.url, "aud": "weir", "sub": "alice", "exp": now_s() + 600,
        "org": { "team": "research" }, "models": ["gpt-*"],
    })
}

fn weir(issuer: &Publisher, limits: &str) -> Weir {
    Weir::start(&format!(
        "
access: keys
tenants:
  acme: {{ teams: {{ research: {{ limits: {limits} }}, sales: {{}} }} }}
issuers:
  corp:
    issuer: {}
    audience: [weir]
    algorithms: [ES256]
    refresh: 1h
    tenant: acme
    claims: {{ team: org.team, models: models, labels: {{ who: sub }} }}
{UPSTREAM}",
        issuer.url
    ))
}

#[test]
fn a_token_is_its_user_with_a_team_and_models() {
    let signer = Signer::new();
    let issuer = Publisher::start(json!([signer.jwk("one")]));
    let weir = weir(&issuer, "[{ per: [user], requests: { hour: 2 } }]");
    let header = json!({ "alg": "ES256", "kid": "one" });
    let alice = signer.sign(&header, &claims(&issuer));
    let ask = |token: &str| status(&weir.send(&chat(&bearer(token))));
    assert_eq!(ask(&alice), 200);
    let other = weir.send(&chat_for("claude-x", &bearer(&alice)));
    assert_eq!(status(&other), 403, "{}", String::from_utf8_lossy(&other));
    assert_eq!(ask(&alice), 200);
    assert_eq!(ask(&alice), 429, "her team's limit for each user");
    let mut of_bob = claims(&issuer);
    of_bob["sub"] = json!("bob");
    assert_eq!(ask(&signer.sign(&header, &of_bob)), 200, "another user has a limit of his own");
    of_bob["org"]["team"] = json!("unknown");
    assert_eq!(ask(&signer.sign(&header, &of_bob)), 401);
    let log = weir.access_log_of(6);
    assert!(
        log.contains(r#""caller":"@corp/alice""#) && log.contains(r#""tenant":"acme""#),
        "{log}"
    );
}

#[test]
fn a_new_key_is_read_when_it_is_first_used_and_an_old_one_is_forgotten() {
    let (first, second) = (Signer::new(), Signer::new());
    let issuer = Publisher::start(json!([first.jwk("first")]));
    let weir = weir(&issuer, "[]");
    let token = |signer: &Signer, id: &str| {
        signer.sign(&json!({ "alg": "ES256", "kid": id }), &claims(&issuer))
    };
    let ask = |token: &str| status(&weir.send(&chat(&bearer(token))));
    let before = token(&first, "first");
    assert_eq!(ask(&before), 200);
    assert_eq!(issuer.readings(), 1);
    // The issuer is not asked for every unknown key: what follows is within the rest.
    for made_up in ["a", "b", "c"] {
        assert_eq!(ask(&token(&second, made_up)), 401);
    }
    assert!(issuer.readings() <= 2, "{} readings", issuer.readings());
    issuer.publish(json!([second.jwk("second")]));
    let after = token(&second, "second");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while ask(&after) != 200 {
        assert!(std::time::Instant::now() < deadline, "the new key is never read");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_eq!(ask(&before), 401, "what was remembered goes with its key");
}
