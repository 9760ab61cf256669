//! An issuer of tokens: what it publishes, and signatures of its keys and of others.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};

/// A modulus of 2048 bits, of a key that nobody has.
pub fn modulus() -> Vec<u8> {
    (0..256u32).map(|at| (at * 7 + 11) as u8 | 1).map(|byte| byte | 0x80).collect()
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A key pair for ES256.
pub struct Signer(EcdsaKeyPair);

impl Signer {
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Self(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key"))
    }

    pub fn jwk(&self, id: &str) -> Value {
        let point = self.0.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id,
            "x": encode(&point[1..33]), "y": encode(&point[33..]),
        })
    }

    /// A token with this header and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", encode(signature))
    }
}

/// A key pair for `EdDSA`, and its published form.
pub fn ed25519(id: &str) -> (Ed25519KeyPair, Value) {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
    let x = encode(pair.public_key().as_ref());
    (pair, json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": id, "x": x }))
}

/// Publishes keys at a loopback address, and counts how often they are read.
pub struct Publisher {
    pub url: String,
    keys: Arc<Mutex<Value>>,
    readings: Arc<Mutex<u32>>,
}

impl Publisher {
    pub fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let keys = Arc::new(Mutex::new(keys));
        let readings = Arc::new(Mutex::new(0));
        let (published, counted, issuer) = (Arc::clone(&keys), Arc::clone(&readings), url.clone());
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                    head.push(byte[0]);
                }
                let body = if head.starts_with(b"GET /.well-known/openid-configuration ") {
                    json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") })
                } else {
                    *counted.lock().expect("a count") += 1;
                    json!({ "keys": *published.lock().expect("the keys") })
                };
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, keys, readings }
    }

    pub fn publish(&self, keys: Value) {
        *self.keys.lock().expect("the keys") = keys;
    }

    pub fn readings(&self) -> u32 {
        *self.readings.lock().expect("a count")
    }
}
