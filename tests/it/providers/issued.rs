//! Credentials that are issued: signatures of AWS, tokens of Google and Entra, from issuers that
//! rotate them, that are slow, and that are down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use weir_loadtest::mock;

use super::upstream::{Asked, Upstream, answer, chat, forwarded, message};
use super::{CHAT, ask, weir};

/// Asks until the answer is as wanted.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A field of a form.
fn field(asked: &Asked, name: &str) -> String {
    let mut pairs = asked.text().split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(known, _)| *known == name.replace('_', "%5F"));
    let (_, value) = found.unwrap_or_else(|| panic!("no {name} in {}", asked.text()));
    percent_decode_str(value).decode_utf8().expect("text").into_owned()
}

/// Whether a request carries the signature that these keys make over what arrived.
fn signed_with(asked: &Asked, keys: Credentials) -> Result<(), String> {
    let authorization = asked.header("authorization").ok_or("no signature")?;
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(name)?;
        Some(rest.split(',').next()?.trim())
    };
    let names = part("SignedHeaders=").ok_or("no headers")?;
    for wanted in ["content-type", "host", "x-amz-date"] {
        if !names.split(';').any(|name| name == wanted) {
            return Err(format!("{wanted} is not signed"));
        }
    }
    let scope = part("Credential=").ok_or("no scope")?;
    if !scope.starts_with(keys.access_key_id())
        || !scope.ends_with("/eu-west-1/bedrock/aws4_request")
    {
        return Err(format!("another scope: {scope}"));
    }
    if asked.header("x-amz-security-token") != keys.session_token() {
        return Err("another session".into());
    }
    let date = asked.header("x-amz-date").ok_or("no date")?;
    let number = |range: std::ops::Range<usize>| date[range].parse::<u64>().expect("digits");
    let second_of_day = number(9..11) * 3600 + number(11..13) * 60 + number(13..15);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs();
    // Within a day of now, at the second that the request names.
    let at = now - (now % 86_400 + 86_400 - second_of_day) % 86_400;
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
    let identity = keys.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("bedrock")
        .time(at)
        .settings(SigningSettings::default())
        .build()
        .expect("complete")
        .into();
    let headers = names.split(';').filter(|name| !name.starts_with("x-amz-"));
    let headers: Vec<(&str, &str)> =
        headers.map(|name| (name, asked.header(name).expect("a signed header"))).collect();
    let url = format!("https://{}{}", asked.header("host").expect("a host"), asked.target);
    let body = SignableBody::Bytes(&asked.body);
    let request =
        SignableRequest::new(&asked.method, url, headers.into_iter(), body).expect("a request");
    let (_, signature) = sign(request, &params).expect("signed").into_parts();
    if part("Signature=") == Some(signature.as_str()) {
        Ok(())
    } else {
        Err("another signature".into())
    }
}

/// A Bedrock that refuses what is not signed with these keys.
fn bedrock(keys: Credentials) -> (Upstream, mock::Handle) {
    let model = mock::spawn(mock::Settings::default()).expect("a simulated upstream");
    let address = model.address();
    let upstream = Upstream::start(move |asked| match signed_with(asked, keys.clone()) {
        Ok(()) => forwarded(asked, address),
        Err(why) => answer(403, &format!(r#"{{"message":"{why}"}}"#)),
    });
    (upstream, model)
}

#[test]
fn bedrock_gets_signed_requests_whole_streamed_spliced_and_translated() {
    let keys =
        Credentials::new("AKIDTEST", "secret/+=", Some("session+token".into()), None, "test");
    let (upstream, _model) = bedrock(keys);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let profile = "[other]\naws_access_key_id=x\naws_secret_access_key=y\n[edge]\naws_access_key_id = AKIDTEST\naws_secret_access_key = secret/+=\naws_session_token = session+token\n";
    std::fs::write(file.path(), profile).expect("written");
    let settings = format!(
        "{{ kind: bedrock, with: {{ region: eu-west-1 }}, base_url: '{}', aws: {{ source: profile, profile: edge, credentials_file: {} }} }}",
        upstream.url(),
        file.path().display()
    );
    let weir = weir("", &[("bedrock", settings)], "lenient");
    let own = r#"{ "messages":[{"role":"user","content":[{"text":"hé"}]}] }"#;
    for path in
        ["/model/anthropic.claude-3%3A0/converse", "/model/anthropic.claude-3%3A0/converse-stream"]
    {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: weir\r\nx-to: bedrock\r\nauthorization: AWS4-HMAC-SHA256 Credential=client\r\nx-amz-date: 20200101T000000Z\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{own}",
            own.len()
        );
        let got = weir.send(request.as_bytes());
        assert!(got.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&got));
        assert_eq!(upstream.last().text(), own);
        assert_eq!(upstream.last().target, path);
    }
    for stream in ["false", "true"] {
        let body = format!(
            r#"{{"model":"meta.llama3-70b-instruct-v1:0","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
        );
        let (head, body) = ask(&weir, "bedrock", CHAT, &body);
        assert!(head.starts_with("http/1.1 200"), "{head}{body}");
        assert!(
            upstream.last().target.starts_with("/model/meta.llama3-70b-instruct-v1%3A0/converse")
        );
    }
}

#[test]
fn a_signature_of_other_keys_is_refused_by_the_test_s_own_bedrock() {
    let (upstream, _model) = bedrock(Credentials::new("AKIDTEST", "other", None, None, "test"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(
        file.path(),
        "[default]\naws_access_key_id=AKIDTEST\naws_secret_access_key=secret\n",
    )
    .expect("written");
    let settings = format!(
        "{{ kind: bedrock, with: {{ region: eu-west-1 }}, base_url: '{}', aws: {{ source: profile, profile: default, credentials_file: {} }} }}",
        upstream.url(),
        file.path().display()
    );
    let weir = weir("", &[("bedrock", settings)], "lenient");
    let body = r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;
    let (head, _) = ask(&weir, "bedrock", "/model/m/converse", body);
    assert!(!head.starts_with("http/1.1 200"), "{head}");
}

/// A moment as AWS writes it, so many seconds from now.
fn from_now(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time");
    let time = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + now + Duration::from_secs(seconds));
    // Sun, 06 Nov 1994 08:49:37 GMT
    let month =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            .iter()
            .position(|name| *name == &time[8..11])
            .expect("a month");
    format!("{}-{:02}-{}T{}Z", &time[12..16], month + 1, &time[5..7], &time[17..25])
}

#[test]
fn keys_of_the_instance_s_role_are_renewed_before_they_end() {
    let issued = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&issued);
    let metadata = Upstream::start(move |asked| {
        let session = asked.header("x-aws-ec2-metadata-token") == Some("session-1");
        match (asked.method.as_str(), asked.target.as_str()) {
            ("PUT", "/latest/api/token") => answer(200, "session-1"),
            ("GET", "/latest/meta-data/iam/security-credentials/") if session => {
                answer(200, "edge\n")
            }
            ("GET", "/latest/meta-data/iam/security-credentials/edge") if session => {
                let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                let end = from_now(4);
                answer(
                    200,
                    &format!(
                        r#"{{"Code":"Success","AccessKeyId":"KEY{number}","SecretAccessKey":"s","Token":"t","Expiration":"{end}"}}"#
                    ),
                )
            }
            _ => answer(401, "{}"),
        }
    });
    let model = mock::spawn(mock::Settings::default()).expect("a simulated upstream");
    let address = model.address();
    let upstream = Upstream::start(move |asked| forwarded(asked, address));
    let settings = format!(
        "{{ kind: bedrock, with: {{ region: eu-west-1 }}, base_url: '{}', aws: {{ source: instance, metadata_url: '{}' }} }}",
        upstream.url(),
        metadata.url()
    );
    let weir = weir("", &[("bedrock", settings)], "lenient");
    let body = r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;
    let mut seen = Vec::new();
    until("a second key", || {
        let (head, _) = ask(&weir, "bedrock", "/model/m/converse", body);
        assert!(head.starts_with("http/1.1 200"), "no request fails while keys change: {head}");
        let sent = upstream.last();
        let scope = sent.header("authorization").expect("a signature");
        let key = scope.split_once("Credential=").and_then(|(_, rest)| rest.split_once('/'));
        let key = key.expect("a scope").0.to_owned();
        let number = key.trim_start_matches("KEY");
        assert_eq!(
            signed_with(
                &sent,
                Credentials::new(format!("KEY{number}"), "s", Some("t".into()), None, "test")
            ),
            Ok(())
        );
        if seen.last() != Some(&key) {
            seen.push(key);
        }
        seen.len() >= 2
    });
    assert!(
        weir.metrics()
            .contains(r#"weir_credential_renewals_total{provider="bedrock",result="ok"}"#)
    );
}

#[test]
fn a_web_identity_takes_on_its_role() {
    let sts = Upstream::start(|_| {
        let end = from_now(900);
        answer(
            200,
            &format!(
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKWEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{end}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ),
        )
    });
    let keys = Credentials::new("AKWEB", "s", Some("t".into()), None, "test");
    let (upstream, _model) = bedrock(keys);
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "the.identity-token\n").expect("written");
    let settings = format!(
        "{{ kind: bedrock, with: {{ region: eu-west-1 }}, base_url: '{}', aws: {{ source: web_identity, role_arn: 'arn:aws:iam::1:role/edge', token_file: {}, sts_url: '{}' }} }}",
        upstream.url(),
        token.path().display(),
        sts.url()
    );
    let weir = weir("", &[("bedrock", settings)], "lenient");
    let body = r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;
    let (head, body) = ask(&weir, "bedrock", "/model/m/converse", body);
    assert!(head.starts_with("http/1.1 200"), "{head}{body}");
    let asked = sts.last();
    assert_eq!(field(&asked, "Action"), "AssumeRoleWithWebIdentity");
    assert_eq!(field(&asked, "RoleArn"), "arn:aws:iam::1:role/edge");
    assert_eq!(field(&asked, "WebIdentityToken"), "the.identity-token");
}

/// A token endpoint: `t1`, `t2`, … each for so many seconds, or 503 while it is down.
fn tokens(life_s: u64, down: &Arc<AtomicBool>) -> Upstream {
    let (count, down) = (AtomicUsize::new(0), Arc::clone(down));
    Upstream::start(move |_| {
        if down.load(Ordering::SeqCst) {
            return answer(
                503,
                r#"{"error":"temporarily_unavailable","error_description":"secret"}"#,
            );
        }
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        answer(
            200,
            &format!(
                r#"{{"access_token":"t{number}","expires_in":{life_s},"token_type":"Bearer"}}"#
            ),
        )
    })
}

/// The key file of a service account whose tokens come from there.
fn key_file(token_url: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let account = serde_json::json!({
        "type": "service_account",
        "client_email": "edge@acme.iam.gserviceaccount.com",
        "private_key_id": "kid-1",
        "private_key": include_str!("keys/account.pem"),
        "token_uri": token_url,
    });
    std::fs::write(file.path(), account.to_string()).expect("written");
    file
}

/// Whether an assertion is signed with the key of the test's account, and its claims.
fn claims(assertion: &str) -> serde_json::Value {
    let (message, signature) = assertion.rsplit_once('.').expect("three parts");
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64");
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let (_, rsa) = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == rustls::SignatureScheme::RSA_PKCS1_SHA256)
        .expect("RSA");
    let key = include_bytes!("keys/account.public.der");
    let verified = rsa
        .iter()
        .any(|by| by.verify_signature(key, message.as_bytes(), &decode(signature)).is_ok());
    assert!(verified, "another signature");
    serde_json::from_slice(&decode(message.split_once('.').expect("two parts").1)).expect("claims")
}

#[test]
fn vertex_gets_tokens_of_a_service_account_and_its_own_paths() {
    let down = Arc::new(AtomicBool::new(false));
    let issuer = tokens(4, &down);
    let file = key_file(&format!("{}/token", issuer.url()));
    let upstream = Upstream::start(|asked| {
        if asked.target.contains("anthropic") {
            return message();
        }
        answer(
            200,
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}"#,
        )
    });
    let settings = |kind: &str| {
        format!(
            "{{ kind: {kind}, with: {{ project: acme, location: eu }}, base_url: '{}', google: {{ key_file: {} }} }}",
            upstream.url(),
            file.path().display()
        )
    };
    let providers =
        [("gemini", settings("vertex-gemini")), ("claude", settings("vertex-anthropic"))];
    let weir = weir("", &providers, "lenient");
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
    let (head, _) =
        ask(&weir, "gemini", "/v1beta/models/gemini-2.5-pro:generateContent?key=x", body);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let sent = upstream.last();
    let base = "/v1/projects/acme/locations/eu/publishers";
    assert_eq!(sent.target, format!("{base}/google/models/gemini-2.5-pro:generateContent"));
    assert_eq!(sent.text(), body);
    let body = r#"{"model":"claude-opus-4@1", "max_tokens":5,"messages":[]}"#;
    ask(&weir, "claude", "/v1/messages", body);
    let sent = upstream.last();
    assert_eq!(sent.target, format!("{base}/anthropic/models/claude-opus-4%401:rawPredict"));
    let want = r#"{"anthropic_version":"vertex-2023-10-16","max_tokens":5,"messages":[]}"#;
    assert_eq!(sent.text(), want);
    let body =
        r#"{"model":"claude-opus-4","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    ask(&weir, "claude", CHAT, body);
    let sent = upstream.last();
    assert_eq!(sent.target, format!("{base}/anthropic/models/claude-opus-4:streamRawPredict"));
    let sent: serde_json::Value = serde_json::from_slice(&sent.body).expect("JSON");
    assert_eq!((sent.get("model"), &sent["stream"]), (None, &true.into()));
    assert_eq!(sent["anthropic_version"], "vertex-2023-10-16");
    let asked = issuer.last();
    assert_eq!(field(&asked, "grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let claims = claims(&field(&asked, "assertion"));
    assert_eq!(claims["iss"], "edge@acme.iam.gserviceaccount.com");
    assert_eq!(claims["aud"], format!("{}/token", issuer.url()));
    // Each provider has its own token, and each is renewed before it ends.
    let mut seen = std::collections::BTreeSet::new();
    until("a third token", || {
        let (head, _) = ask(&weir, "claude", "/v1/messages", r#"{"model":"c","messages":[]}"#);
        assert!(head.starts_with("http/1.1 200"), "no request fails while tokens change: {head}");
        seen.insert(upstream.last().header("authorization").expect("a token").to_owned());
        seen.len() >= 2
    });
    assert!(seen.iter().all(|token| token.starts_with("Bearer t")), "{seen:?}");
}

#[test]
fn an_issuer_that_is_down_fails_requests_at_once_and_is_asked_again() {
    let down = Arc::new(AtomicBool::new(true));
    let issuer = tokens(3600, &down);
    let upstream = Upstream::start(|_| message());
    let settings = format!(
        "{{ kind: vertex-anthropic, with: {{ project: acme }}, base_url: '{}', google: {{ metadata_url: '{}' }} }}",
        upstream.url(),
        issuer.url()
    );
    let simulated = "{ dialect: openai, simulated: { ttft: 0ms, inter_token: 0ms } }".to_owned();
    let weir = weir("", &[("vertex", settings), ("other", simulated)], "lenient");
    until("a failure", || {
        weir.metrics()
            .contains(r#"weir_credential_renewals_total{provider="vertex",result="error"}"#)
    });
    let started = Instant::now();
    let (head, body) = ask(&weir, "vertex", "/v1/messages", r#"{"model":"c","messages":[]}"#);
    assert!(head.starts_with("http/1.1 50"), "{head}");
    assert!(started.elapsed() < Duration::from_secs(2), "it failed at once");
    assert!(!body.contains("secret") && !body.contains("127.0.0.1"), "{body}");
    assert!(upstream.asked().is_empty(), "nothing goes out without a credential");
    let (head, _) =
        ask(&weir, "other", CHAT, r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
    assert!(head.starts_with("http/1.1 200"), "the worker serves others: {head}");
    until("the reason in the log", || weir.access_log().contains("temporarily_unavailable"));
    down.store(false, Ordering::SeqCst);
    until("an answer", || {
        ask(&weir, "vertex", "/v1/messages", r#"{"model":"c","messages":[]}"#)
            .0
            .starts_with("http/1.1 200")
    });
    assert_eq!(issuer.last().header("metadata-flavor"), Some("Google"));
    assert_eq!(upstream.last().header("authorization"), Some("Bearer t1"));
}

#[test]
fn azure_takes_tokens_of_entra() {
    let down = Arc::new(AtomicBool::new(false));
    let issuer = tokens(3600, &down);
    let upstream = Upstream::start(|_| chat());
    let settings = format!(
        "{{ kind: azure-deployments, with: {{ resource: acme }}, base_url: '{}', entra: {{ tenant: contoso.example, client_id: edge, client_secret: {{ env: PATH }}, authority: '{}' }} }}",
        upstream.url(),
        issuer.url()
    );
    let weir = weir("", &[("azure", settings)], "lenient");
    let (head, body) = ask(&weir, "azure", CHAT, r#"{"model":"gpt","messages":[]}"#);
    assert!(head.starts_with("http/1.1 200"), "{head}{body}");
    let sent = upstream.last();
    assert_eq!(sent.header("authorization"), Some("Bearer t1"));
    assert_eq!(sent.header("api-key"), None);
    let asked = issuer.last();
    assert_eq!(asked.target, "/contoso.example/oauth2/v2.0/token");
    assert_eq!(field(&asked, "grant_type"), "client_credentials");
    assert_eq!(field(&asked, "client_secret"), std::env::var("PATH").expect("set"));
    assert_eq!(field(&asked, "scope"), "https://cognitiveservices.azure.com/.default");
}
