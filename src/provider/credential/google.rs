//! Tokens of Google: for a service account by a signed assertion (RFC 7523), or from the metadata
//! server of the machine.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderValue;
use rustls::SignatureScheme;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use super::{GoogleSettings, Issued, bearer, form};
use crate::clock;
use crate::config::{Secret, read_file};
use crate::transport::upstream::{Question, Upstreams, place};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const METADATA: &str = "http://metadata.google.internal";
const METADATA_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// How long an assertion is good for; an hour is the most that Google takes.
const ASSERTION_S: u64 = 3600;
/// Longest key file.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// Who a token is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    Account(Account),
    /// The metadata server's URL for tokens.
    Machine(Box<str>),
}

/// A service account.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Account {
    email: Box<str>,
    key_id: Box<str>,
    key: Secret,
    token_url: Box<str>,
}

#[derive(serde::Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    token_uri: Option<String>,
}

impl Source {
    pub(super) fn of(settings: &GoogleSettings) -> Result<Self, (&'static str, String)> {
        let named = settings.key_file.clone();
        let of_machine = || match settings.metadata_url {
            Some(_) => None,
            None => std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from),
        };
        let Some(path) = named.or_else(of_machine) else {
            let base = settings.metadata_url.as_deref().unwrap_or(METADATA).trim_end_matches('/');
            place(base).map_err(|message| (".google.metadata_url", message))?;
            return Ok(Self::Machine(format!("{base}{METADATA_PATH}").into()));
        };
        let wrong = |why: &str| (".google.key_file", format!("{}: {why}", path.display()));
        let text = read_file(&path, KEY_FILE_BYTES_MAX).map_err(|error| {
            (".google.key_file", format!("{} cannot be read: {error}", path.display()))
        })?;
        let file: KeyFile = serde_json::from_slice(&text)
            .map_err(|_| wrong("it is not the key file of a service account"))?;
        if file.kind != "service_account" {
            return Err(wrong("its `type` is not `service_account`, which is all that is known"));
        }
        let account = Account {
            email: file.client_email.into(),
            key_id: file.private_key_id.into(),
            key: Secret::new(file.private_key),
            token_url: file.token_uri.unwrap_or_else(|| TOKEN_URL.into()).into(),
        };
        place(&account.token_url).map_err(|message| wrong(&message))?;
        account.assertion(0).map_err(|why| wrong(&why))?;
        Ok(Self::Account(account))
    }

    pub(super) async fn issue(&self, upstreams: &Upstreams) -> Result<Issued, String> {
        let question = match self {
            Self::Machine(url) => {
                Question::get(url).with("metadata-flavor", HeaderValue::from_static("Google"))
            }
            Self::Account(account) => {
                let assertion = account.assertion(clock::unix_s())?;
                let body = form(&[("grant_type", GRANT), ("assertion", &assertion)]);
                Question::form(&account.token_url, body)
            }
        };
        bearer(&question.ask(upstreams).await?)
    }
}

impl Account {
    /// A claim, signed with the account's key (RFC 7515, `RS256`).
    fn assertion(&self, now_s: u64) -> Result<String, String> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": &*self.key_id });
        let claims = json!({
            "iss": &*self.email,
            "scope": SCOPE,
            "aud": &*self.token_url,
            "iat": now_s,
            "exp": now_s + ASSERTION_S,
        });
        let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let key = PrivateKeyDer::from_pem_slice(self.key.expose().as_bytes())
            .map_err(|_| "its `private_key` is not in PEM form".to_owned())?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key)
            .map_err(|_| "its `private_key` is of a kind that is not known".to_owned())?;
        let signature = key
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
            .ok_or_else(|| "its `private_key` is not an RSA key".to_owned())?
            .sign(message.as_bytes())
            .map_err(|_| "its `private_key` cannot sign".to_owned())?;
        Ok(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}
