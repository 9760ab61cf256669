//! TLS on both sides: one weir in front of another, whose listener has a certificate of the test's
//! own authority.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::stand::Weir;

const SIMULATED: &str = "
access: open
runtime: { threads: 1 }
providers:
  sim: { dialect: openai, simulated: { ttft: 0ms, inter_token: 0ms, tokens: 20 } }
pools:
  sim: { targets: [{ provider: sim }] }
routes: [{ pool: sim }]
";

/// Writes `ca.pem`, and `cert.pem` and `key.pem` for `localhost`.
fn certificates(directory: &Path) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("an authority");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .expect("parameters")
        .signed_by(&key, &issuer)
        .expect("a certificate");
    for (name, pem) in [
        ("ca.pem", ca_certificate.pem()),
        ("cert.pem", certificate.pem()),
        ("key.pem", key.serialize_pem()),
    ] {
        std::fs::write(directory.join(name), pem).expect("written");
    }
}

fn ask(weir: &Weir, model: &str, prompt_bytes: usize) -> String {
    let body = format!(
        r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(prompt_bytes)
    );
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    String::from_utf8_lossy(&weir.send(request.as_bytes())).into_owned()
}

#[test]
fn streams_and_large_bodies_pass_through_tls_over_http1_and_http2() {
    let directory = tempfile::tempdir().expect("a directory");
    certificates(directory.path());
    let file = |name: &str| directory.path().join(name).display().to_string();
    let tls = format!(
        "tls: {{ cert: {{ file: {} }}, key: {{ file: {} }} }}",
        file("cert.pem"),
        file("key.pem")
    );
    let back = Weir::start_with(&tls, SIMULATED);
    let provider = |http: &str| {
        format!(
            "{{ dialect: openai, base_url: 'https://localhost:{}/v1', http: {http}, tls: {{ ca: {} }} }}",
            back.address.port(),
            file("ca.pem")
        )
    };
    let front = Weir::start(&format!(
        "
access: open
runtime: {{ threads: 1 }}
providers:
  one: {}
  two: {}
  any: {}
  stranger: {{ dialect: openai, base_url: 'https://localhost:{}/v1' }}
pools:
  one: {{ targets: [{{ provider: one }}] }}
  two: {{ targets: [{{ provider: two }}] }}
  any: {{ targets: [{{ provider: any }}] }}
  stranger: {{ targets: [{{ provider: stranger }}] }}
routes:
  - {{ match: {{ model: one }}, pool: one }}
  - {{ match: {{ model: two }}, pool: two }}
  - {{ match: {{ model: any }}, pool: any }}
  - {{ match: {{ model: stranger }}, pool: stranger }}
",
        provider("http1"),
        provider("http2"),
        provider("auto"),
        back.address.port()
    ));
    for model in ["one", "two", "any"] {
        for prompt_bytes in [10, 3_000_000, 10] {
            let answer = ask(&front, model, prompt_bytes);
            assert!(answer.starts_with("HTTP/1.1 200"), "{model} {prompt_bytes}: {answer}");
            assert!(answer.contains("data: [DONE]"), "{model} {prompt_bytes}: {answer}");
        }
    }
    let refused = ask(&front, "stranger", 10);
    assert!(refused.starts_with("HTTP/1.1 502"), "its authority is not known: {refused}");
}
