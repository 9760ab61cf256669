//! One question to a service beside the upstreams (an issuer of credentials or of tokens), over the
//! connectors that requests use.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Uri};

use super::{Address, Request, Tls, Upstreams, Version};
use crate::clock::{self, Duration, Instant};
use crate::wire::fields::{Fields, Name};

/// Longest answer.
const ANSWER_BYTES_MAX: usize = 256 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(5);

/// A question.
pub struct Question<'a> {
    /// Its method.
    pub method: Method,
    /// What is asked.
    pub url: &'a str,
    /// Headers beside those that every question has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body.
    pub body: Bytes,
    /// Authorities to trust in place of the system's.
    pub ca: Option<PathBuf>,
}

impl<'a> Question<'a> {
    /// Asks for what is at a URL.
    pub fn get(url: &'a str) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: Bytes::new(), ca: None }
    }

    /// Sends a form to a URL.
    pub fn form(url: &'a str, body: Bytes) -> Self {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        Self { method: Method::POST, url, headers: vec![(CONTENT_TYPE, form)], body, ca: None }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((HeaderName::from_static(name), value));
        self
    }

    /// The body of the answer. An error never repeats what was sent or received, but for the word of
    /// an error that `OAuth` defines.
    pub async fn ask(self, upstreams: &Upstreams) -> Result<Vec<u8>, String> {
        let (mut address, authority, target) = place(self.url)?;
        if let Some(tls) = &mut address.tls {
            tls.ca = self.ca;
        }
        let failed = |error: crate::error::Error| format!("{authority}: {error}");
        let mut headers = Fields::default();
        let host = HeaderValue::try_from(&authority).map_err(|error| error.to_string())?;
        headers.set_first(Name::Host, &host);
        for (name, value) in &self.headers {
            headers.set_field(name, value);
        }
        headers.set(Name::Accept, "*/*");
        if self.method != Method::GET {
            headers.set_number(Name::ContentLength, self.body.len() as u64);
        }
        let request = Request { method: self.method, target, headers };
        let now = Instant::now();
        let address = Arc::new(address);
        let mut session =
            upstreams.connect(&address, CONNECT_TIMEOUT, now).await.map_err(failed)?;
        session.send(&request, &[self.body]).await.map_err(failed)?;
        let status = session.head().await.map_err(failed)?.status;
        let mut answer = BytesMut::new();
        while let Some(part) = session.body().await.map_err(failed)? {
            answer.extend_from_slice(&part);
            if answer.len() > ANSWER_BYTES_MAX {
                return Err(format!("{authority}: the answer is too long"));
            }
        }
        upstreams.keep(session, &address, clock::now());
        if status.is_success() {
            return Ok(answer.into());
        }
        let word = error_word(&answer).map_or_else(String::new, |word| format!(" ({word})"));
        Err(format!("{authority} answered {}{word}", status.as_u16()))
    }
}

/// The error code of RFC 6749, section 5.2: a few words that are no secret.
fn error_word(answer: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    let Refusal { error } = serde_json::from_slice(answer).ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (error.len() <= 64 && error.chars().all(plain)).then_some(error)
}

/// The address of a URL, its authority, and its path and query.
pub fn place(url: &str) -> Result<(Address, String, String), String> {
    let wrong = || format!("`{url}` is not a URL: write it like https://issuer.example.com");
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let (tls, default_port) = match uri.scheme_str() {
        Some("https") => (true, 443),
        Some("http") => (false, 80),
        _ => return Err(wrong()),
    };
    let authority = uri.authority().ok_or_else(wrong)?;
    let host = uri.host().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']');
    let address = Address {
        host: host.into(),
        port: authority.port_u16().unwrap_or(default_port),
        tls: tls.then(|| Tls { sni: host.into(), ca: None, verify: true }),
        version: Version::Auto,
        idle: IDLE,
    };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Ok((address, authority.as_str().to_owned(), target.to_owned()))
}
