//! Credentials that are issued for a time: `AWS` keys for signatures, `OAuth` tokens of Google and
//! Entra.
//!
//! A request never waits for one to be renewed. A service on the control thread asks for the next one
//! when four fifths of the time have passed, and again after a pause that doubles from a second to a
//! minute while that fails; until the old one has ended, requests go on with it. Without any, requests
//! fail at once with the reason in the log, or go to the next target. Only where the first one is
//! still on its way (at start, or for a provider that a reload has brought) does a request wait for
//! it, for as long as it may wait for a connection.

mod aws;
mod entra;
mod google;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use tokio::sync::watch;

use super::settings::{AuthScheme, Settings};
use crate::clock::{self, Duration, Instant};
use crate::error::{Error, Kind};
use crate::transport::upstream::{Request, Upstreams};

pub use settings::{AwsSettings, AwsSource, EntraSettings, GoogleSettings};

/// First pause after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Longest pause after failures.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How often credentials without an end are read again.
const REREAD: Duration = Duration::from_secs(60);
/// Shortest time from one credential to the next, whatever an issuer says.
const LIFE_MIN: Duration = Duration::from_secs(1);
/// Longest wait for an issuer.
const ISSUE_TIMEOUT: Duration = Duration::from_secs(15);

/// What goes into a request.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nothing.
    None,
    /// A header.
    Header(HeaderName, HeaderValue),
    /// A signature with these keys, for this region.
    Signature(Credentials, Arc<str>),
}

impl Credential {
    /// Puts it into a request that is complete but for this.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] if the request cannot be signed.
    pub fn apply(self, request: &mut Request, body: &[Bytes]) -> Result<(), Error> {
        match self {
            Credential::None => Ok(()),
            Credential::Header(name, value) => {
                request.set(&name, &value);
                Ok(())
            }
            Credential::Signature(keys, region) => {
                sign::sign(request, body, keys, &region, std::time::SystemTime::now()).map_err(
                    |error| {
                        Error::new(Kind::Internal, "The request could not be signed.").cause(error)
                    },
                )
            }
        }
    }
}

/// What an issuer gives.
#[derive(Clone, Debug)]
enum Value {
    Bearer(HeaderValue),
    Aws(Credentials),
}

#[derive(Clone, Debug)]
struct Issued {
    value: Value,
    /// When it ends; some do not.
    until: Option<Instant>,
}

#[derive(Clone, Debug)]
enum State {
    /// The first one is on its way.
    Pending,
    Ready(Arc<Issued>),
    /// There was none yet, and why.
    Failed(Arc<str>),
}

/// Where credentials come from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    Aws(aws::Source),
    Google(google::Source),
    Entra(entra::Source),
}

/// The credentials of one provider, renewed while weir runs. Survives a reload that changes nothing
/// about where they come from.
#[derive(Debug)]
pub struct Issuer {
    source: Source,
    region: Arc<str>,
    state: watch::Sender<State>,
}

impl Issuer {
    /// What a provider's settings ask for; `None` where its credentials are keys, or none.
    ///
    /// # Errors
    ///
    /// What is wrong, and below which setting of the provider.
    pub(super) fn of(
        settings: &Settings,
        auth: AuthScheme,
        region: Option<&str>,
        previous: Option<&Arc<Issuer>>,
    ) -> Result<Option<Arc<Self>>, (&'static str, String)> {
        let source = match auth {
            AuthScheme::AwsSigv4 => Source::Aws(aws::Source::of(&settings.aws)?),
            AuthScheme::Google => Source::Google(google::Source::of(&settings.google)?),
            AuthScheme::Entra => Source::Entra(entra::Source::of(settings.entra.as_ref())?),
            _ => return Ok(None),
        };
        let region = match (auth, region) {
            (AuthScheme::AwsSigv4, None) => {
                return Err(("", "`region` is missing: write it under `with`".into()));
            }
            (_, region) => region.unwrap_or_default(),
        };
        let same = |known: &&Arc<Issuer>| known.source == source && *known.region == *region;
        if let Some(known) = previous.filter(same) {
            return Ok(Some(Arc::clone(known)));
        }
        let state = match &source {
            Source::Aws(aws) => {
                aws.at_once().map_or(State::Pending, |issued| State::Ready(Arc::new(issued)))
            }
            _ => State::Pending,
        };
        let state = watch::Sender::new(state);
        Ok(Some(Arc::new(Self { source, region: region.into(), state })))
    }

    /// The credential for a request.
    ///
    /// # Errors
    ///
    /// [`Kind::UpstreamAuth`] if there is none.
    pub(super) fn credential(&self, now: Instant) -> Result<Credential, Error> {
        let none = |why: &str| {
            let public = "weir has no credential for the upstream at the moment.";
            Err(Error::new(Kind::UpstreamAuth, public).cause(why))
        };
        match &*self.state.borrow() {
            State::Ready(issued) if issued.until.is_none_or(|until| until > now) => {
                Ok(match &issued.value {
                    Value::Bearer(value) => {
                        Credential::Header(header::AUTHORIZATION, value.clone())
                    }
                    Value::Aws(keys) => {
                        Credential::Signature(keys.clone(), Arc::clone(&self.region))
                    }
                })
            }
            State::Ready(_) => none("the credential has ended and was not renewed"),
            State::Pending => none("the first credential is still on its way"),
            State::Failed(why) => none(why),
        }
    }

    /// Waits for the first credential, or for the failure to get one. True if there was a wait.
    pub async fn first(&self, at_most: Duration) -> bool {
        if !matches!(*self.state.borrow(), State::Pending) {
            return false;
        }
        let mut state = self.state.subscribe();
        let there = state.wait_for(|state| !matches!(state, State::Pending));
        // Too late is as good as failed: the attempt says so.
        let _ = tokio::time::timeout(at_most, there).await;
        true
    }

    /// Keeps the credential fresh until it is dropped. `note` is told of each renewal, and of each
    /// that failed.
    pub async fn renew(&self, upstreams: &Upstreams, note: impl Fn(Result<(), &str>)) {
        let mut pause = RETRY;
        loop {
            tokio::time::sleep(self.rest()).await;
            let issued = tokio::time::timeout(ISSUE_TIMEOUT, self.issue(upstreams)).await;
            match issued.unwrap_or_else(|_| Err("the issuer did not answer in time".into())) {
                Ok(issued) => {
                    pause = RETRY;
                    self.state.send_replace(State::Ready(Arc::new(issued)));
                    note(Ok(()));
                }
                Err(why) => {
                    note(Err(&why));
                    self.state.send_if_modified(|state| {
                        let none = !matches!(state, State::Ready(_));
                        if none {
                            *state = State::Failed(why.as_str().into());
                        }
                        none
                    });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// How long the present credential is left alone.
    fn rest(&self) -> Duration {
        match &*self.state.borrow() {
            State::Ready(issued) => match issued.until {
                None => REREAD,
                Some(until) => until.saturating_duration_since(clock::now()).mul_f64(0.8),
            },
            State::Pending | State::Failed(_) => Duration::ZERO,
        }
    }

    async fn issue(&self, upstreams: &Upstreams) -> Result<Issued, String> {
        match &self.source {
            Source::Aws(aws) => aws.issue(upstreams).await,
            Source::Google(google) => google.issue(upstreams).await,
            Source::Entra(entra) => entra.issue(upstreams).await,
        }
    }
}

/// What token endpoints answer (RFC 6749, section 5.1).
#[derive(serde::Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(deserialize_with = "seconds")]
    expires_in: u64,
}

/// A number, or a text of one, as some endpoints have it.
fn seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    use serde::Deserialize;
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

fn bearer(answer: &[u8]) -> Result<Issued, String> {
    // The parser's own words could repeat the token.
    let answer: TokenAnswer = serde_json::from_slice(answer)
        .map_err(|_| "the answer is not that of a token endpoint".to_owned())?;
    let mut value = HeaderValue::try_from(format!("Bearer {}", answer.access_token))
        .map_err(|_| "the token holds a character that no header can carry".to_owned())?;
    value.set_sensitive(true);
    let life = Duration::from_secs(answer.expires_in.min(7 * 24 * 3600)).max(LIFE_MIN);
    Ok(Issued { value: Value::Bearer(value), until: Some(clock::now() + life) })
}

/// A form as token endpoints take it.
fn form(fields: &[(&str, &str)]) -> Bytes {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let pairs = fields.iter().map(|(name, value)| {
        format!(
            "{}={}",
            utf8_percent_encode(name, NON_ALPHANUMERIC),
            utf8_percent_encode(value, NON_ALPHANUMERIC)
        )
    });
    pairs.collect::<Vec<_>>().join("&").into()
}
