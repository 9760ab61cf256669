//! Announces budgets that are used up to an address of the operator's, off the request path.
//!
//! A request that is the first to find a soft budget used up puts an event into a bounded queue, from
//! which one task sends them, one after the other, each a few times until it is taken. An event that
//! finds no room, or that nobody takes, is counted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use ring::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::book::Spent;
use super::rules::{Kind, Rules};
use crate::clock;
use crate::config::{SecretSource, Time};
use crate::telemetry::Metrics;
use crate::transport::upstream::{Question, Upstreams, place};

/// Events that may wait.
const WAITING_MAX: usize = 256;
/// How often each is sent, until it is taken.
const ATTEMPTS_MAX: u32 = 4;
/// Until the second attempt; twice as long before each further one.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Idle connections that are kept.
const IDLE_CONNECTIONS_MAX: usize = 1;

/// Where budgets that are used up are announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventSettings {
    /// The address that events are sent to by POST, as JSON.
    pub url: SecretSource,
    /// What events are signed with: `x-weir-signature` has `t=SECONDS,v1=` and the HMAC-SHA-256 in hex
    /// of the seconds, a dot, and the body. Not signed unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// How long one attempt may take. Default 5s.
    #[serde(default = "timeout")]
    pub timeout: Time,
}

fn timeout() -> Time {
    Time::s(5)
}

/// A budget is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    #[serde(rename = "event")]
    kind: &'static str,
    /// The same for all attempts to send it.
    id: String,
    time_unix_s: u64,
    tenant: Arc<str>,
    /// Whose budget it is: `team acme/research`.
    owner: Arc<str>,
    /// What is used up, in words.
    budget: String,
    unit: &'static str,
    used: u64,
    of: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    period_begin_unix_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period_end_unix_s: Option<i64>,
    /// Where requests go until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
}

impl Event {
    pub(super) fn new(rules: &Rules, kind: Kind, spent: Spent) -> Self {
        let soft = rules.each.iter().filter(|rule| rule.kind == kind && !rule.refuses());
        let first = soft.min_by_key(|rule| rule.most);
        Self {
            kind: "budget_spent",
            id: format!("{:032x}", rand::random::<u128>()),
            time_unix_s: clock::unix_s(),
            tenant: Arc::clone(&rules.tenant),
            owner: Arc::clone(&rules.owner),
            budget: kind.words(),
            unit: spent.unit,
            used: spent.used,
            of: spent.budget,
            period_begin_unix_s: spent.period_unix_s.map(|(begin, _)| begin),
            period_end_unix_s: spent.period_unix_s.map(|(_, end)| end),
            pool: first.and_then(|rule| rule.pool()).map(str::to_owned),
        }
    }
}

/// Takes events.
#[derive(Debug)]
pub struct Announcer(mpsc::Sender<Bytes>);

/// Sends them.
pub struct EventService {
    events: mpsc::Receiver<Bytes>,
    url: String,
    key: Option<hmac::Key>,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

impl Announcer {
    /// The announcer, and the service that is to be run for it.
    ///
    /// # Errors
    ///
    /// The address or the secret cannot be read.
    pub fn new(
        settings: &EventSettings,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, EventService), String> {
        let url = settings.url.resolve().map_err(|error| format!("url: {error}"))?;
        let url = url.ok_or("url: it is missing")?.expose().to_owned();
        place(&url).map_err(|_| "url: it is not an address like https://example.com/events")?;
        let secret = settings.secret.as_ref().map(SecretSource::resolve).transpose();
        let secret = secret.map_err(|error| format!("secret: {error}"))?;
        let key = match (&settings.secret, secret.flatten()) {
            (Some(_), None) => return Err("secret: it is missing".into()),
            (_, secret) => {
                secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
            }
        };
        let (sender, events) = mpsc::channel(WAITING_MAX);
        let service = EventService { events, url, key, timeout: settings.timeout.0, metrics };
        Ok((Self(sender), service))
    }

    /// Has an event sent, if there is room for it.
    pub(super) fn say(&self, event: &Event, metrics: &Metrics) {
        // Texts and numbers always serialise.
        let body = serde_json::to_vec(event).unwrap_or_default();
        if self.0.try_send(body.into()).is_err() {
            metrics.budget_event("dropped");
        }
    }
}

impl EventService {
    /// Sends events until there is nobody left who could have any.
    pub async fn run(mut self) {
        let upstreams = Upstreams::new(IDLE_CONNECTIONS_MAX);
        while let Some(body) = self.events.recv().await {
            let result = self.send(&body, &upstreams).await;
            if let Err(why) = &result {
                log::error!("a budget's event was not taken by budget_events.url: {why}");
            }
            self.metrics.budget_event(if result.is_ok() { "sent" } else { "failed" });
        }
    }

    async fn send(&self, body: &Bytes, upstreams: &Upstreams) -> Result<(), String> {
        let mut pause = RETRY_AFTER;
        let mut why = String::new();
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            let question = self.question(body);
            match tokio::time::timeout(self.timeout, question.ask(upstreams)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(failed)) => why = failed,
                Err(_) => "it did not answer in time".clone_into(&mut why),
            }
        }
        Err(why)
    }

    fn question(&self, body: &Bytes) -> Question<'_> {
        let json = HeaderValue::from_static("application/json");
        let question = Question {
            method: Method::POST,
            url: &self.url,
            headers: vec![(CONTENT_TYPE, json)],
            body: body.clone(),
            ca: None,
        };
        match &self.key {
            // Digits and letters are a value.
            Some(key) => match HeaderValue::try_from(signature(key, clock::unix_s(), body)) {
                Ok(signature) => question.with("x-weir-signature", signature),
                Err(_) => question,
            },
            None => question,
        }
    }
}

fn signature(key: &hmac::Key, unix_s: u64, body: &[u8]) -> String {
    use std::fmt::Write;
    let mut context = hmac::Context::with_key(key);
    context.update(unix_s.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    let mut text = format!("t={unix_s},v1=");
    for byte in context.sign().as_ref() {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_what_openssl_makes() {
        // printf '7.{}' | openssl dgst -sha256 -hmac key
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let expected = "t=7,v1=77bc83bd1f40422311e47918b203449aecf84b02c1568bb1b570ac2a474cc2d8";
        assert_eq!(signature(&key, 7, b"{}"), expected);
    }
}
