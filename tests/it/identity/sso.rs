//! Persons administer with a token of their issuer, as far as its roles go, and with no other.

use serde_json::{Value, json};
use weir::tenant::hash_form;

use super::attacks::{Forge, on_tokens};
use super::issuer::{Publisher, Signer, encode, modulus, now_s};
use super::tokens::{UPSTREAM, bearer, status};
use crate::stand::Weir;

const KEY: &str = "Weir-Key-0123456789";
const ROLES: [&str; 4] = ["owner", "operator", "auditor", "developer"];

fn weir(issuer: &str, folder: &std::path::Path) -> Weir {
    let secret = folder.join("secret");
    std::fs::write(&secret, "a secret of at least sixteen characters").expect("written");
    let sso: Vec<String> = ROLES
        .iter()
        .map(|role| {
            let all = if *role == "owner" { ", tenants: all" } else { "" };
            format!(
                "{{ issuer: corp, claim: weir-{role}, role: {role}, audience: weir-admin{all} }}"
            )
        })
        .collect();
    Weir::start_as(
        "",
        &format!("sso: [{}]", sso.join(", ")),
        &format!(
            "
access: keys
storage: {{ path: '{}' }}
ledger: {{ reserve: 1MiB }}
identity: {{ secret: {{ file: '{}' }} }}
tenants:
  acme: {{ keys: [{{ name: ci, hash: '{}' }}] }}
  lab: {{}}
issuers:
  corp:
    issuer: {issuer}
    audience: [weir, weir-admin]
    algorithms: [ES256, RS256, EdDSA]
    claims: {{ tenant: org, roles: groups }}
{UPSTREAM}",
            folder.join("weir.db").display(),
            secret.display(),
            hash_form(KEY),
        ),
    )
}

fn request(method: &str, path: &str, headers: &str, body: &Value) -> Vec<u8> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    format!(
        "{method} /admin/v1/{path} HTTP/1.1\r\nhost: weir\r\n{headers}connection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn ask(weir: &Weir, token: &str, (method, path): (&str, &str), body: &Value) -> (u16, Value) {
    let answer = weir.ask_admin(&request(method, path, &bearer(token), body));
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status(answer.as_bytes()), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn a_token_of_an_issuer_administers_as_far_as_its_roles_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::new();
    let issuer = Publisher::start(json!([signer.jwk("ec")]));
    let weir = weir(&issuer.url, folder.path());
    let token = |user: &str, org: &str, groups: Value| {
        let claims = json!({
            "iss": issuer.url, "aud": ["weir-admin"], "sub": user, "exp": now_s() + 600, "org": org,
            "groups": groups,
        });
        signer.sign(&json!({ "alg": "ES256", "kid": "ec" }), &claims)
    };
    let owner = token("olga", "acme", json!(["staff", "weir-owner"]));
    let operator = token("otto", "acme", json!("weir-operator staff"));
    let of_lab = token("lara", "lab", json!(["weir-operator"]));
    let developer = token("dora", "acme", json!(["weir-developer"]));
    let new_key = json!({ "tenant": "acme", "name": "one" });
    let status = |token: &str, what: (&str, &str), body: &Value| ask(&weir, token, what, body).0;
    assert_eq!(status(&owner, ("GET", "state"), &Value::Null), 200, "an owner of all tenants");
    assert_eq!(status(&operator, ("GET", "state"), &Value::Null), 403, "kept to its tenant");
    assert_eq!(status(&developer, ("POST", "keys"), &new_key), 403, "not for its role");
    assert_eq!(status(&of_lab, ("POST", "keys"), &new_key), 404, "not its tenant");
    let (made, answer) = ask(&weir, &operator, ("POST", "keys"), &new_key);
    assert_eq!(made, 201, "{answer}");
    assert_eq!(answer["created_by"], "@corp/otto");
    assert_eq!(status(&developer, ("GET", "keys"), &Value::Null), 200);
    let none = token("nina", "acme", json!(["staff", "owner", "weir-owner2", "WEIR-OWNER"]));
    assert_eq!(status(&none, ("GET", "keys"), &Value::Null), 403, "no role of hers is one");
    let (_, log) = ask(&weir, &owner, ("GET", "audit"), &Value::Null);
    let entries = log["items"].as_array().expect("entries");
    let of = |outcome: &str| entries.iter().filter(|entry| entry["outcome"] == outcome).collect();
    let (done, refused): (Vec<&Value>, Vec<&Value>) = (of("done"), of("refused"));
    assert_eq!((&done[0]["actor"], &done[0]["role"]), (&json!("@corp/otto"), &json!("operator")));
    assert!(refused.iter().any(|entry| entry["actor"] == "@corp/dora"), "{log}");
}

#[test]
fn nothing_else_administers() {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::new();
    let jwk = signer.jwk("ec");
    let rsa = json!({ "kty": "RSA", "kid": "rsa", "n": encode(modulus()), "e": "AQAB" });
    let issuer = Publisher::start(json!([jwk, rsa, Signer::new().jwk("spare")]));
    let weir = weir(&issuer.url, folder.path());
    let forge = Forge { issuer: issuer.url.clone(), signer };
    let admin = |change: &dyn Fn(&mut Value)| {
        forge.with(|claims| {
            claims["aud"] = json!("weir-admin");
            claims["groups"] = json!(["weir-owner"]);
            change(claims);
        })
    };
    // What the attacks are made of is right: without this, everything might be refused.
    assert_eq!(ask(&weir, &admin(&|_| {}), ("GET", "keys"), &Value::Null).0, 200);
    let own = [
        ("no token", String::new(), 401),
        ("a caller's key", bearer(KEY), 401),
        ("a token that calls models", bearer(&admin(&|c| c["aud"] = json!("weir"))), 403),
        ("no role", bearer(&admin(&|c| c["groups"] = json!([]))), 403),
        (
            "a role in another claim",
            bearer(&admin(&|c| {
                c["roles"] = json!(["weir-owner"]);
                c["groups"] = json!("staff");
            })),
            403,
        ),
        (
            "a role by the name that it has here",
            bearer(&admin(&|c| c["groups"] = json!(["owner"]))),
            403,
        ),
        (
            "a role that is an object",
            bearer(&admin(&|c| c["groups"] = json!({ "weir-owner": true }))),
            403,
        ),
        ("expired", bearer(&admin(&|c| c["exp"] = json!(now_s() - 120))), 401),
        ("no expiry", bearer(&admin(&|c| c["exp"] = Value::Null)), 401),
        ("of another issuer", bearer(&admin(&|c| c["iss"] = json!("https://evil.example"))), 401),
        ("an unknown tenant", bearer(&admin(&|c| c["org"] = json!("victim"))), 401),
        ("the header twice", bearer(&admin(&|_| {})).repeat(2), 401),
        ("as Basic", format!("authorization: Basic {}\r\n", admin(&|_| {})), 401),
        ("as a cookie", format!("cookie: token={}\r\n", admin(&|_| {})), 401),
    ];
    let mut passed = Vec::new();
    for (name, headers, wanted) in &own {
        let got = status(&weir.send_admin(&request("GET", "keys", headers, &Value::Null)));
        if got != *wanted {
            passed.push(format!("{name}: {got} in place of {wanted}"));
        }
    }
    // What must not pass for a caller must not pass for an administrator.
    let others = on_tokens(&forge, &jwk);
    for attack in &others {
        let call = String::from_utf8(attack.1.clone()).expect("text");
        let call = call.replacen("POST /v1/chat/completions", "POST /admin/v1/keys", 1);
        let got = status(&weir.send_admin(call.as_bytes()));
        if !matches!(got, 400 | 401 | 431) {
            passed.push(format!("{}: {got}", attack.0));
        }
    }
    assert!(own.len() + others.len() >= 60, "{} attacks", own.len() + others.len());
    assert!(passed.is_empty(), "{}", passed.join("\n"));
}
