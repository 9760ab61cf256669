//! Providers as data: what each kind's upstream gets, and that the table in the documentation is the
//! catalogue.

mod issued;
mod table;
mod upstream;

use std::fmt::Write as _;

use crate::stand::Weir;
use upstream::{Upstream, chat};

/// A weir with these providers, each with a pool and a route of its name, and `extra` at the top.
fn weir(extra: &str, providers: &[(&str, String)], loss: &str) -> Weir {
    let mut text = format!("access: open\nruntime: {{ threads: 1 }}\n{extra}providers:\n");
    for (name, settings) in providers {
        let _ = writeln!(text, "  {name}: {settings}");
    }
    text.push_str("pools:\n");
    for (name, _) in providers {
        let _ = writeln!(text, "  {name}: {{ targets: [{{ provider: {name} }}] }}");
    }
    text.push_str("routes:\n");
    for (name, _) in providers {
        let _ = writeln!(
            text,
            "  - {{ match: {{ headers: {{ x-to: {name} }} }}, pool: {name}, loss: {loss} }}"
        );
    }
    Weir::start(&text)
}

/// Asks a provider; head and body of the answer, the head in lower case.
fn ask(weir: &Weir, provider: &str, path: &str, body: &str) -> (String, String) {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: weir\r\nx-to: {provider}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = String::from_utf8(weir.send(request.as_bytes())).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_ascii_lowercase(), body.to_owned())
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn parameters_that_a_kind_does_not_know_are_cut_out_and_reported() {
    let upstream = Upstream::start(|_| chat());
    let url = upstream.url();
    let weir = weir(
        "",
        &[
            ("groq", format!("{{ kind: groq, base_url: '{url}/v1' }}")),
            ("openai", format!("{{ kind: openai, base_url: '{url}/v1' }}")),
            ("mistral", format!("{{ kind: mistral, base_url: '{url}/v1' }}")),
        ],
        "lenient",
    );
    let body = r#"{ "model":"m" , "logit_bias":{"1":2}, "messages":[{"role":"user","content":"é"}],  "seed" : 7,"logprobs":true }"#;
    let (head, _) = ask(&weir, "groq", CHAT, body);
    assert!(head.contains("x-weir-dropped: logit_bias, logprobs"), "{head}");
    assert_eq!(
        upstream.last().text(),
        r#"{ "model":"m" , "messages":[{"role":"user","content":"é"}],  "seed" : 7 }"#
    );
    let (head, _) = ask(&weir, "openai", CHAT, body);
    assert!(!head.contains("x-weir-dropped"), "{head}");
    assert_eq!(upstream.last().text(), body, "byte for byte");
    let body = r#"{"model":"o3","max_tokens": 9,"messages":[]}"#;
    ask(&weir, "openai", CHAT, body);
    assert_eq!(upstream.last().text(), body.replace("max_tokens", "max_completion_tokens"));
    // Mistral has no option for usage in a stream: neither the client's nor weir's goes there.
    let body = r#"{"model":"m","stream":true,"seed":1,"messages":[]}"#;
    ask(&weir, "mistral", CHAT, body);
    assert_eq!(upstream.last().text(), body.replace("seed", "random_seed"));
    let metrics = weir.metrics();
    let line = r#"weir_translation_dropped_total{client="chat_completions",upstream="chat_completions"} 2"#;
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn a_strict_route_refuses_what_would_be_left_out() {
    let upstream = Upstream::start(|_| chat());
    let groq = format!("{{ kind: groq, base_url: '{}/v1' }}", upstream.url());
    let weir = weir("", &[("groq", groq)], "strict");
    let (head, body) = ask(&weir, "groq", CHAT, r#"{"model":"m","messages":[],"logit_bias":{}}"#);
    assert!(head.starts_with("http/1.1 400"), "{head}");
    assert!(body.contains("`logit_bias` is not supported") && body.contains("groq"), "{body}");
    assert!(upstream.asked().is_empty(), "nothing was sent");
    let (head, _) = ask(&weir, "groq", CHAT, r#"{"model":"m","messages":[]}"#);
    assert!(head.starts_with("http/1.1 200"), "{head}");
}

#[test]
fn translated_requests_are_adapted_too() {
    let upstream = Upstream::start(|_| chat());
    let cerebras = format!("{{ kind: together, base_url: '{}/v1' }}", upstream.url());
    let weir = weir("", &[("together", cerebras)], "lenient");
    let body = r#"{"model":"o3","max_output_tokens":5,"input":"hi"}"#;
    let (head, _) = ask(&weir, "together", "/v1/responses", body);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let sent = upstream.last();
    assert!(sent.text().contains(r#""max_tokens":5"#), "{}", sent.text());
    assert!(!sent.text().contains("max_completion_tokens"), "{}", sent.text());
}

#[test]
fn azure_has_its_deployments_in_the_path() {
    let upstream = Upstream::start(|_| chat());
    let settings = |kind: &str, base: &str| {
        let url = upstream.url();
        format!("{{ kind: {kind}, base_url: '{url}{base}', keys: [{{ env: PATH }}] }}")
    };
    let weir = weir(
        "",
        &[
            ("classic", settings("azure-deployments", "")),
            ("v1", settings("azure-openai", "/openai/v1")),
        ],
        "lenient",
    );
    let body = r#"{"model":"my gpt","messages":[]}"#;
    ask(&weir, "classic", CHAT, body);
    let sent = upstream.last();
    let path = "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21";
    assert_eq!(sent.target, path);
    assert_eq!(sent.header("api-key"), std::env::var("PATH").ok().as_deref());
    assert_eq!(sent.header("authorization"), None);
    ask(&weir, "v1", "/v1/chat/completions?x=1", body);
    assert_eq!(upstream.last().target, "/openai/v1/chat/completions?x=1");
    ask(&weir, "classic", "/v1/embeddings?x=1", r#"{"model":"e","input":"a"}"#);
    let path = "/openai/deployments/e/embeddings?api-version=2024-10-21&x=1";
    assert_eq!(upstream.last().target, path);
}

#[test]
fn a_kind_of_the_operator_s_own_takes_a_few_lines() {
    let upstream = Upstream::start(|_| chat());
    let kinds = "
kinds:
  acme:
    dialect: openai
    base_url: 'http://127.0.0.1:{port}/{region}/v1'
    headers: { x-region: '{region}' }
    parameters: [{ drop: [seed], rename: { max_completion_tokens: max_tokens } }]
";
    let port = upstream.address.port();
    let acme = format!("{{ kind: acme, with: {{ region: eu, port: '{port}' }} }}");
    let weir = weir(kinds, &[("acme", acme)], "lenient");
    let body = r#"{"model":"m","seed":1,"max_completion_tokens":2,"messages":[]}"#;
    let (head, _) = ask(&weir, "acme", CHAT, body);
    assert!(head.contains("x-weir-dropped: seed"), "{head}");
    let sent = upstream.last();
    assert_eq!(sent.target, "/eu/v1/chat/completions");
    assert_eq!(sent.header("x-region"), Some("eu"));
    assert_eq!(sent.text(), r#"{"model":"m","max_tokens":2,"messages":[]}"#);
}
