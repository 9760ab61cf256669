//! Everything that must not pass for a caller, as one table.

use ring::hmac;
use serde_json::{Value, json};
use weir::tenant::hash_form;

use super::issuer::{Publisher, Signer, ed25519, encode, modulus, now_s};
use super::tokens::{UPSTREAM, bearer, chat, status};
use crate::stand::Weir;

const KEY: &str = "Weir-Key-0123456789";
const OTHER: &str = "other-key-9876543210";

/// An attack, what is sent, and the status that refuses it.
pub struct Attack(pub &'static str, pub Vec<u8>, u16);

pub struct Forge {
    pub issuer: String,
    pub signer: Signer,
}

impl Forge {
    fn claims(&self) -> Value {
        json!({ "iss": self.issuer, "aud": "weir", "sub": "mallory", "exp": now_s() + 600, "org": "acme", "groups": ["weir-owner"] })
    }

    fn header() -> Value {
        json!({ "alg": "ES256", "typ": "JWT", "kid": "ec" })
    }

    /// A token by the issuer's own key, with other claims.
    pub fn with(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        self.signer.sign(&Self::header(), &claims)
    }

    /// The same with another header.
    fn headed(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = Self::header();
        change(&mut header);
        self.signer.sign(&header, &self.claims())
    }

    fn unsigned(&self, header: &Value) -> String {
        format!("{}.{}.", encode(header.to_string()), encode(self.claims().to_string()))
    }

    /// "Signed" with what everybody knows.
    fn confused(&self, id: &str, secret: &[u8]) -> String {
        let header = json!({ "alg": "HS256", "kid": id });
        let message =
            format!("{}.{}", encode(header.to_string()), encode(self.claims().to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("{message}.{}", encode(hmac::sign(&key, message.as_bytes())))
    }
}

/// All that are made of tokens.
pub fn on_tokens(forge: &Forge, jwk: &Value) -> Vec<Attack> {
    let table = [
        unsigned_or_confused(forge, jwk),
        signed_by_another(forge),
        wrong_claims(forge),
        malformed_tokens(forge),
    ];
    table.into_iter().flatten().collect()
}

fn unsigned_or_confused(forge: &Forge, jwk: &Value) -> Vec<Attack> {
    let token = |name, token: String| Attack(name, chat(&bearer(&token)), 401);
    let valid = forge.with(|_| {});
    let (message, _) = valid.rsplit_once('.').expect("a signature");
    vec![
        token("alg none", forge.unsigned(&json!({ "alg": "none" }))),
        token("alg none with a key id", forge.unsigned(&json!({ "alg": "none", "kid": "ec" }))),
        token("alg nOnE", forge.unsigned(&json!({ "alg": "nOnE", "kid": "ec" }))),
        token("alg empty", forge.unsigned(&json!({ "alg": "", "kid": "ec" }))),
        token("no alg", forge.unsigned(&json!({ "kid": "ec" }))),
        token("alg that is a list", forge.unsigned(&json!({ "alg": ["ES256"], "kid": "ec" }))),
        token("HS256 with the RSA modulus", forge.confused("rsa", &modulus())),
        token("HS256 with the published key", forge.confused("ec", jwk.to_string().as_bytes())),
        token("HS256 with nothing", forge.confused("ec", b"")),
        token("the algorithm of another key", forge.headed(|h| h["kid"] = json!("rsa"))),
        token("an algorithm that is not pinned", forge.headed(|h| h["alg"] = json!("ES384"))),
        token("a family that is not pinned", forge.headed(|h| h["alg"] = json!("PS256"))),
        token("a signature of nothing", format!("{message}.")),
        token("a signature of zeros", format!("{message}.{}", encode([0; 64]))),
        token("half a signature", format!("{message}.{}", encode([7; 32]))),
    ]
}

fn signed_by_another(forge: &Forge) -> Vec<Attack> {
    let token = |name, token: String| Attack(name, chat(&bearer(&token)), 401);
    let mallory = Forge { issuer: forge.issuer.clone(), signer: Signer::new() };
    let embedded = mallory.signer.jwk("ec");
    let valid = forge.with(|_| {});
    let (header, rest) = valid.split_once('.').expect("a header");
    let (_, signature) = rest.split_once('.').expect("a signature");
    let mut raised = forge.claims();
    raised["sub"] = json!("root");
    let (ed, _) = ed25519("ed");
    let ed_message = format!(
        "{}.{}",
        encode(json!({ "alg": "EdDSA", "kid": "ed" }).to_string()),
        encode(forge.claims().to_string())
    );
    let ed_signature = encode(ed.sign(ed_message.as_bytes()));
    vec![
        token("another key under a known id", mallory.with(|_| {})),
        token("a key of its own inside", mallory.headed(|h| h["jwk"] = embedded.clone())),
        token(
            "an address of keys inside",
            mallory.headed(|h| h["jku"] = json!("http://127.0.0.1:1/")),
        ),
        token("a certificate inside", mallory.headed(|h| h["x5c"] = json!(["MIIB"]))),
        token(
            "an address of certificates",
            mallory.headed(|h| h["x5u"] = json!("http://127.0.0.1:1/")),
        ),
        token("an unknown key id", mallory.headed(|h| h["kid"] = json!("new"))),
        token("a key id that is a path", mallory.headed(|h| h["kid"] = json!("../../../dev/null"))),
        token(
            "a key id that is SQL",
            mallory.headed(|h| h["kid"] = json!("x' UNION SELECT 'k' --")),
        ),
        token("a key id that is a command", mallory.headed(|h| h["kid"] = json!("|touch /tmp/x"))),
        token("a key id of NUL", mallory.headed(|h| h["kid"] = json!("ec\u{0}"))),
        token("a key id that is a list", mallory.headed(|h| h["kid"] = json!(["ec"]))),
        token(
            "no key id among several",
            mallory.headed(|h| {
                h.as_object_mut().expect("an object").remove("kid");
            }),
        ),
        token(
            "claims that were changed",
            format!("{header}.{}.{signature}", encode(raised.to_string())),
        ),
        token(
            "a header that was changed",
            format!(
                "{}.{rest}",
                encode(json!({ "alg": "ES256", "kid": "ec", "x": 1 }).to_string())
            ),
        ),
        token("EdDSA by an unknown key", format!("{ed_message}.{ed_signature}")),
    ]
}

fn wrong_claims(forge: &Forge) -> Vec<Attack> {
    let token = |name, token: String| Attack(name, chat(&bearer(&token)), 401);
    let without = |name: &'static str| {
        forge.with(|c| {
            c.as_object_mut().expect("an object").remove(name);
        })
    };
    let twice = format!(
        r#"{{"iss":"{0}","iss":"{0}","aud":"weir","sub":"m","org":"acme","exp":{1}}}"#,
        forge.issuer,
        now_s() + 600
    );
    vec![
        token("expired", forge.with(|c| c["exp"] = json!(now_s() - 120))),
        token("no expiry", without("exp")),
        token("an expiry that is a text", forge.with(|c| c["exp"] = json!("9999999999"))),
        token("an expiry below zero", forge.with(|c| c["exp"] = json!(-1))),
        token("not yet valid", forge.with(|c| c["nbf"] = json!(now_s() + 120))),
        token("issued in the future", forge.with(|c| c["iat"] = json!(now_s() + 3600))),
        token("for another audience", forge.with(|c| c["aud"] = json!("billing"))),
        token("for other audiences", forge.with(|c| c["aud"] = json!(["billing", "weir2"]))),
        token("for a longer audience", forge.with(|c| c["aud"] = json!("weir.evil"))),
        token("no audience", without("aud")),
        token("of another issuer", forge.with(|c| c["iss"] = json!("https://evil.example"))),
        token(
            "of nearly the issuer",
            forge.with(|c| c["iss"] = json!(format!("{}/", forge.issuer))),
        ),
        token("no issuer", without("iss")),
        token("two issuers", forge.signer.sign_text(&Forge::header().to_string(), &twice)),
        token("an unknown tenant", forge.with(|c| c["org"] = json!("victim"))),
        token("no tenant", without("org")),
        token("a tenant that is a list", forge.with(|c| c["org"] = json!(["acme"]))),
        token("no user", without("sub")),
        token(
            "a user of control characters",
            forge.with(|c| c["sub"] = json!("a\n\"caller\":\"b")),
        ),
        token("a user without end", forge.with(|c| c["sub"] = json!("a".repeat(300)))),
        token("an extension that must be understood", forge.headed(|h| h["crit"] = json!(["b64"]))),
    ]
}

fn malformed_tokens(forge: &Forge) -> Vec<Attack> {
    let token = |name, token: String, status| Attack(name, chat(&bearer(&token)), status);
    let valid = forge.with(|_| {});
    let parts: Vec<&str> = valid.split('.').collect();
    let filled = forge.with(|c| c["fill"] = json!("a".repeat(20_000)));
    let flooded = forge.with(|c| c["fill"] = json!("a".repeat(80_000)));
    vec![
        token("two parts", format!("{}.{}", parts[0], parts[1]), 401),
        token("four parts", format!("{valid}.{}", parts[2]), 401),
        token("five parts", format!("{valid}.{}.{}", parts[1], parts[2]), 401),
        token("padding", format!("{valid}=="), 401),
        token("a space inside", valid.replacen('.', ". ", 1), 401),
        token("a header that is no JSON", format!("eyJhbGci.{}.{}", parts[1], parts[2]), 401),
        token("the other base64 alphabet", format!("{valid}+/"), 401),
        token("percent-encoded", valid.replace('.', "%2E"), 401),
        token("an oversized token", filled, 401),
        token("a token over the bound of the head", flooded, 431),
        token("as a part of another header", format!("{valid}, {valid}"), 401),
        Attack("a token in the URL", in_url(&valid), 401),
        Attack("a token as a cookie", chat(&format!("cookie: token={valid}\r\n")), 401),
        Attack("a token as Basic", chat(&format!("authorization: Basic {valid}\r\n")), 401),
    ]
}

fn in_url(secret: &str) -> Vec<u8> {
    let request = String::from_utf8(chat("")).expect("text");
    request.replacen("completions ", &format!("completions?key={secret} "), 1).into_bytes()
}

fn keys() -> Vec<Attack> {
    let key = |name, secret: &str| Attack(name, chat(&bearer(secret)), 401);
    let header = |name, line: &str| Attack(name, chat(&format!("{line}\r\n")), 401);
    let broken = |name, line: &str| Attack(name, chat(&format!("{line}\r\n")), 400);
    let encoded = "%57eir-Key-0123456789";
    vec![
        Attack("nothing", chat(""), 401),
        key("an unknown key", "weir-key-of-nobody"),
        key("a prefix of a key", &KEY[..KEY.len() - 1]),
        key("a key and more", &format!("{KEY}0")),
        key("a key in another case", &KEY.to_lowercase()),
        key("a key's hash in place of the key", &hash_form(KEY)),
        key("a key in base64", &encode(KEY)),
        key("a key percent-encoded", encoded),
        key("a key with a full-width digit", &KEY.replace('0', "０")),
        key("a key in quotes", &format!("\"{KEY}\"")),
        key("two keys in one header", &format!("{KEY}, {OTHER}")),
        key("the scheme twice", &format!("Bearer {KEY}")),
        key("a key without end", &"k".repeat(5000)),
        header("a key without a scheme", &format!("authorization: {KEY}")),
        header("a key with a tab for the space", &format!("authorization: Bearer\t{KEY}")),
        header("a key as Basic", &format!("authorization: Basic {}", encode(KEY))),
        header("a key as Digest", &format!("authorization: Digest {KEY}")),
        header("a key for a proxy", &format!("proxy-authorization: Bearer {KEY}")),
        header("a key as a cookie", &format!("cookie: authorization=Bearer {KEY}")),
        header("a header of underscores", &format!("x_api_key: {KEY}")),
        header(
            "two keys that differ",
            &format!("authorization: Bearer {KEY}\r\nx-api-key: {OTHER}"),
        ),
        header(
            "the header twice",
            &format!("authorization: Bearer {OTHER}\r\nauthorization: Bearer {KEY}"),
        ),
        header("the header twice, the same", &format!("x-api-key: {KEY}\r\nX-API-Key: {KEY}")),
        header(
            "a right key beside a wrong one",
            &format!("x-api-key: {KEY}\r\napi-key: wrong-key-1"),
        ),
        Attack("a key in the URL", in_url(KEY), 401),
        Attack("another key in the URL", in_url("wrong-key-1"), 401),
        broken("a space before the colon", &format!("authorization : Bearer {KEY}")),
        broken("a folded header", &format!("authorization: Bearer\r\n {KEY}")),
        broken("NUL in a key", &format!("authorization: Bearer {KEY}\0")),
        broken("a bare line end in a key", &format!("authorization: Bearer x\rx-api-key: {KEY}")),
        header("a forwarded user", "x-forwarded-user: alice"),
        header("a forwarded certificate", "x-forwarded-client-cert: URI=spiffe://acme/batch"),
        header("a certificate in a header", "x-ssl-client-s-dn: CN=batch"),
        header("an identity in a header", "x-weir-tenant: acme\r\nx-weir-caller: acme/ci"),
        header(
            "an address of this machine",
            "x-forwarded-for: 127.0.0.1\r\nforwarded: for=127.0.0.1",
        ),
    ]
}

fn smuggling() -> Vec<Attack> {
    let inner = String::from_utf8(chat(&bearer(KEY))).expect("text");
    let send = |name, head: &str, body: &str, status| {
        let request =
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\n{head}\r\n{body}");
        Attack(name, request.into_bytes(), status)
    };
    vec![
        send(
            "a length and chunks",
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
            &format!("0\r\n\r\n{inner}"),
            400,
        ),
        send("two lengths", "content-length: 0\r\ncontent-length: 4\r\n", &inner, 400),
        send("a length with a sign", "content-length: +4\r\n", &inner, 400),
        send("chunks by another name", "transfer-encoding: xchunked\r\n", &inner, 400),
        send("two hosts", "host: other\r\ncontent-length: 0\r\n", "", 400),
    ]
}

#[test]
fn every_attack_is_refused() {
    let signer = Signer::new();
    let jwk = signer.jwk("ec");
    let rsa = json!({ "kty": "RSA", "kid": "rsa", "n": encode(modulus()), "e": "AQAB" });
    let issuer = Publisher::start(json!([jwk, rsa, Signer::new().jwk("spare")]));
    let hash = hash_form(KEY);
    let weir = Weir::start(&format!(
        "
access: keys
tenants:
  acme: {{ keys: [{{ name: ci, hash: '{hash}' }}, {{ name: other, hash: '{}' }}] }}
  lab: {{}}
issuers:
  corp: {{ issuer: '{}', audience: [weir], algorithms: [ES256, RS256, EdDSA], claims: {{ tenant: org }} }}
{UPSTREAM}",
        hash_form(OTHER),
        issuer.url
    ));
    let forge = Forge { issuer: issuer.url.clone(), signer };
    // What the attacks are made of is right: without this, everything might be refused.
    for (name, right) in [("a token", forge.with(|_| {})), ("a key", KEY.to_owned())] {
        assert_eq!(status(&weir.send(&chat(&bearer(&right)))), 200, "{name}");
    }
    let table = [on_tokens(&forge, &jwk), keys(), smuggling()];
    let attacks: Vec<Attack> = table.into_iter().flatten().collect();
    assert!(attacks.len() >= 30, "{} attacks", attacks.len());
    let mut passed = Vec::new();
    for Attack(name, request, wanted) in &attacks {
        let answer = weir.send(request);
        let got = status(&answer);
        if got != *wanted {
            passed.push(format!("{name}: {got} in place of {wanted}"));
        }
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains(KEY) && !text.contains("chat.completion"), "{name}: {text}");
    }
    assert!(passed.is_empty(), "of {}:\n{}", attacks.len(), passed.join("\n"));
    // What cannot be read as HTTP has no line.
    let log = weir.access_log_of(attacks.len() - 20);
    assert!(log.lines().count() > 50, "{log}");
    assert!(!log.contains(KEY) && !log.contains("eyJ"), "a credential is in the log");
}
