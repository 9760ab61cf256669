//! The keys that an issuer signs with, read again by a background service.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use crate::clock::{self, Duration, Instant};
use crate::transport::upstream::{Question, Upstreams, place};

/// Keys of one issuer that are kept; further ones are left out.
const KEYS_MAX: usize = 64;
/// Shortest time from one reading to the next, however many tokens name unknown keys.
const REST: Duration = Duration::from_secs(5);
/// First pause after a failure; it doubles up to a minute.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Longest reading.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the keys are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) issuer: Box<str>,
    /// In place of discovery.
    pub(super) jwks_url: Option<Box<str>>,
    pub(super) ca: Option<PathBuf>,
    pub(super) refresh: Duration,
}

/// A key that signatures are checked with.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<Box<str>>,
    /// The only algorithm that it is for, where its publisher names one.
    algorithm: Option<String>,
    pub(super) public: DecodingKey,
}

/// The keys at one time.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    /// Grows when the keys change: what was verified with earlier ones is verified again.
    pub(super) generation: u64,
    keys: Vec<Key>,
    /// As they were published, to see a change.
    published: Vec<serde_json::Value>,
}

impl KeySet {
    /// The key that a token is to be checked with: by its id, or the only one that fits where the
    /// token names none.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let name = format!("{algorithm:?}");
        let fits = |key: &&Key| {
            key.public.family() == algorithm.family()
                && key.algorithm.as_ref().is_none_or(|only| *only == name)
        };
        let mut fitting = self.keys.iter().filter(fits);
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    fn of(published: Vec<serde_json::Value>, generation: u64) -> Self {
        let keys = published.iter().take(KEYS_MAX).filter_map(key).collect();
        Self { generation, keys, published }
    }
}

/// A published key that is for signatures and of a kind that is known.
fn key(published: &serde_json::Value) -> Option<Key> {
    let jwk = Jwk::deserialize(published).ok()?;
    let for_signatures =
        jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    if !for_signatures || matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
        return None;
    }
    let algorithm = published.get("alg").and_then(|alg| alg.as_str()).map(str::to_owned);
    let id = jwk.common.key_id.as_deref().map(Into::into);
    Some(Key { id, algorithm, public: DecodingKey::from_jwk(&jwk).ok()? })
}

/// An issuer's keys, kept fresh. Survives a reload that changes nothing about where they are.
#[derive(Debug)]
pub struct KeySource {
    /// Its name in the configuration.
    pub name: Arc<str>,
    pub(super) place: Place,
    keys: ArcSwap<KeySet>,
    tried: watch::Sender<Tried>,
    wanted: Notify,
}

/// What has been tried so far.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    times: u64,
    last: Option<Instant>,
}

impl KeySource {
    pub(super) fn new(name: &str, place: Place) -> Self {
        Self {
            name: name.into(),
            place,
            keys: ArcSwap::default(),
            tried: watch::Sender::default(),
            wanted: Notify::new(),
        }
    }

    pub(super) fn keys(&self) -> arc_swap::Guard<Arc<KeySet>> {
        self.keys.load()
    }

    /// Whether no key has been read so far.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.load().keys.is_empty()
    }

    /// Whether reading the keys again may bring one that is not known yet.
    pub(super) fn may_be_read_again(&self) -> bool {
        let last = self.tried.borrow().last;
        last.is_none_or(|last| clock::now().saturating_duration_since(last) >= REST)
    }

    /// Has the keys read again and waits for it.
    pub async fn read_again(&self, at_most: Duration) {
        let mut tried = self.tried.subscribe();
        let before = tried.borrow_and_update().times;
        self.wanted.notify_one();
        let there = tried.wait_for(|tried| tried.times > before);
        // Without it the token stays unknown, which is the answer then.
        let _ = tokio::time::timeout(at_most, there).await;
    }

    /// Keeps the keys fresh until it is dropped. `note` is told of each reading.
    pub async fn keep_fresh(&self, upstreams: &Upstreams, note: impl Fn(Result<usize, &str>)) {
        let mut pause = RETRY;
        loop {
            let read = tokio::time::timeout(READ_TIMEOUT, self.read(upstreams)).await;
            let read = read.unwrap_or_else(|_| Err("it did not answer in time".into()));
            let rest = match read.and_then(|published| self.take(published)) {
                Ok(count) => {
                    note(Ok(count));
                    pause = RETRY;
                    self.place.refresh
                }
                Err(why) => {
                    note(Err(&why));
                    pause = (pause * 2).min(RETRY_MAX);
                    pause
                }
            };
            self.tried.send_modify(|tried| {
                tried.times += 1;
                tried.last = Some(clock::now());
            });
            tokio::time::sleep(REST.min(rest)).await;
            tokio::select! {
                () = tokio::time::sleep(rest.saturating_sub(REST)) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    /// Takes over what was published.
    fn take(&self, published: Vec<serde_json::Value>) -> Result<usize, String> {
        let before = self.keys.load();
        if before.published == published {
            return Ok(before.keys.len());
        }
        let next = KeySet::of(published, before.generation + 1);
        if next.keys.is_empty() {
            return Err("it publishes no key that signatures could be checked with".into());
        }
        let count = next.keys.len();
        self.keys.store(Arc::new(next));
        Ok(count)
    }

    async fn read(&self, upstreams: &Upstreams) -> Result<Vec<serde_json::Value>, String> {
        let jwks_url = match &self.place.jwks_url {
            Some(url) => url.to_string(),
            None => self.discover(upstreams).await?,
        };
        let published: Published = self.get(&jwks_url, upstreams).await?;
        Ok(published.keys)
    }

    /// `OpenID` Connect Discovery 1.0, section 4.
    async fn discover(&self, upstreams: &Upstreams) -> Result<String, String> {
        let issuer = &*self.place.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let found: Discovered = self.get(&url, upstreams).await?;
        if found.issuer != issuer {
            return Err("what it publishes is of another issuer".into());
        }
        check_url(&found.jwks_uri)?;
        Ok(found.jwks_uri)
    }

    async fn get<T: for<'de> Deserialize<'de>>(
        &self,
        url: &str,
        upstreams: &Upstreams,
    ) -> Result<T, String> {
        let mut question = Question::get(url);
        question.ca.clone_from(&self.place.ca);
        let answer = question.ask(upstreams).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| format!("its answer cannot be read: {error}"))
    }
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<serde_json::Value>,
}

/// Whoever can change what is at these URLs can be anybody: cleartext is for this machine alone.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    let (address, ..) = place(url)?;
    let host = &*address.host;
    let here = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if address.tls.is_none() && !here {
        return Err(format!("`{url}` would be read in cleartext: write it with https"));
    }
    Ok(())
}
