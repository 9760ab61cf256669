//! Callers who show a token of an issuer (JWT, RFC 7519) in place of a key.
//!
//! A signature is checked once for each token, not for each request: what was believed is remembered
//! by the token's hash until it expires or the issuer's keys change. Keys are read by a service on
//! the control thread ([`KeySource::keep_fresh`]). A token that names a key which is not known, as
//! after a rotation, waits for one reading; readings are apart by some seconds at least, so that
//! made-up key ids cannot have the issuer asked for each of them.

mod keys;
mod settings;
mod signature;
mod token;
mod verified;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::caller::Caller;
use super::tenants::{Place as CallerPlace, Tenants};
use crate::config::NamePattern;
use crate::error::{Error, Kind};

pub use keys::KeySource;
pub use settings::{Algorithm, ClaimSettings, Settings};
pub use token::Claims;
pub(super) use token::looks_like_one;
use token::{Disbelief, TOKEN_BYTES_MAX, Unverified, claim, texts};
use verified::Verified;

/// Longest name of a user that is taken from a token.
const USER_BYTES_MAX: usize = 256;
/// Most models that a token can name.
const MODELS_MAX: usize = 256;
/// The widest skew of clocks.
const SKEW_S_MAX: u64 = 600;

/// One issuer of tokens.
#[derive(Debug)]
pub(super) struct Issuer {
    name: Arc<str>,
    iss: String,
    audience: Vec<String>,
    algorithms: Vec<jsonwebtoken::Algorithm>,
    skew_s: u64,
    tenant: Option<Box<str>>,
    claims: ClaimSettings,
    source: Arc<KeySource>,
}

/// All issuers.
#[derive(Debug, Default)]
pub struct Issuers {
    issuers: Vec<Issuer>,
    verified: Verified,
}

/// Why a token does not identify its caller.
#[derive(Debug)]
pub enum Refused {
    /// The issuer's keys have to be read again first.
    Unread(Arc<KeySource>),
    /// It does not.
    Error(Error),
}

impl Refused {
    /// The answer to a caller for whom nothing is read again.
    pub fn into_error(self) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Unread(source) if source.is_empty() => no_keys(&source),
            Self::Unread(_) => error(Disbelief::Key),
        }
    }
}

impl Issuers {
    /// Compiles the issuers. Keys that were read before are taken over from `previous`.
    pub(super) fn compile(
        settings: &BTreeMap<String, Settings>,
        tenants: &Tenants,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut errors = Vec::new();
        let mut issuers: Vec<Issuer> = Vec::new();
        for (name, settings) in settings {
            errors.extend(mistakes(name, settings, tenants));
            if issuers.iter().any(|other| other.iss == settings.issuer) {
                errors.push((
                    format!("issuers.{name}.issuer"),
                    "another item has the same issuer: write both as one".into(),
                ));
            }
            issuers.push(Issuer::of(name, settings, previous));
        }
        if !issuers.is_empty() {
            signature::install();
        }
        if errors.is_empty() {
            Ok(Self { issuers, verified: Verified::default() })
        } else {
            Err(errors)
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Where keys come from, to be kept fresh.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<KeySource>> {
        self.issuers.iter().map(|issuer| &issuer.source)
    }

    /// Who shows this token. `hash` is the token's.
    pub(super) fn identify(
        &self,
        token: &[u8],
        hash: &[u8; 32],
        tenants: &Tenants,
    ) -> Result<Arc<Caller>, Refused> {
        let now_s = jsonwebtoken::get_current_timestamp();
        let generation = |at: usize| self.issuers[at].source.keys().generation;
        if let Some(caller) = self.verified.get(hash, now_s, generation) {
            return Ok(caller);
        }
        let believed = self.believe(token, tenants);
        believed.map(|(caller, issuer, generation, until_s)| {
            let caller = Arc::new(caller);
            let entry =
                verified::Entry { caller: Arc::clone(&caller), issuer, generation, until_s };
            self.verified.put(*hash, entry);
            caller
        })
    }

    fn believe(
        &self,
        token: &[u8],
        tenants: &Tenants,
    ) -> Result<(Caller, usize, u64, u64), Refused> {
        let malformed = || refuse(Disbelief::Malformed);
        if token.len() > TOKEN_BYTES_MAX {
            return Err(malformed());
        }
        let token = std::str::from_utf8(token).map_err(|_| malformed())?;
        let unverified = Unverified::read(token).map_err(refuse)?;
        let at = self.issuers.iter().position(|issuer| issuer.iss == unverified.issuer);
        let at = at.ok_or_else(|| refuse(Disbelief::Issuer))?;
        let issuer = &self.issuers[at];
        let keys = issuer.source.keys();
        let claims = match token::verify(token, &unverified, issuer, &keys) {
            Ok(claims) => claims,
            Err(Disbelief::Key) if issuer.source.may_be_read_again() => {
                return Err(Refused::Unread(Arc::clone(&issuer.source)));
            }
            Err(Disbelief::Key) if issuer.source.is_empty() => {
                return Err(Refused::Error(no_keys(&issuer.source)));
            }
            Err(disbelief) => return Err(refuse(disbelief)),
        };
        // What has expired within the skew is believed for now, and not remembered.
        let until_s = claims.get("exp").and_then(serde_json::Value::as_u64).unwrap_or_default();
        let caller = issuer.caller(claims, tenants).ok_or_else(|| refuse(Disbelief::Claims))?;
        Ok((caller, at, keys.generation, until_s))
    }
}

fn refuse(disbelief: Disbelief) -> Refused {
    Refused::Error(error(disbelief))
}

fn error(disbelief: Disbelief) -> Error {
    Error::new(Kind::Unauthorized, disbelief.public()).cause(disbelief.cause())
}

fn no_keys(source: &KeySource) -> Error {
    let public = "Tokens cannot be verified at the moment.";
    let cause = format!("no keys of the issuer {} have been read", source.name);
    Error::new(Kind::Overloaded, public).cause(cause)
}

fn mistakes(name: &str, settings: &Settings, tenants: &Tenants) -> Vec<(String, String)> {
    let path = format!("issuers.{name}");
    let mut errors = Vec::new();
    let mut wrong = |field: &str, why: String| errors.push((format!("{path}.{field}"), why));
    if let Err(why) = keys::check_url(&settings.issuer) {
        wrong("issuer", why);
    }
    if let Some(Err(why)) = settings.jwks_url.as_deref().map(keys::check_url) {
        wrong("jwks_url", why);
    }
    if settings.skew.0.as_secs() > SKEW_S_MAX {
        wrong("skew", format!("clocks that are apart by more than {SKEW_S_MAX}s: set them"));
    }
    if settings.refresh.0.as_secs() == 0 {
        wrong("refresh", "the keys would be read all the time: write 1s at least".into());
    }
    match (&settings.tenant, &settings.claims.tenant) {
        (None, None) => wrong(
            "tenant",
            "whose callers are these? Give `tenant`, or `claims: { tenant: NAME }`".into(),
        ),
        (Some(tenant), _) if tenants.get(tenant).is_none() => {
            wrong("tenant", format!("there is no tenant `{tenant}` in `tenants`"));
        }
        _ => {}
    }
    errors
}

impl Issuer {
    fn of(name: &str, settings: &Settings, previous: Option<&Issuers>) -> Self {
        let place = keys::Place {
            issuer: settings.issuer.as_str().into(),
            jwks_url: settings.jwks_url.as_deref().map(Into::into),
            ca: settings.ca.clone(),
            refresh: settings.refresh.0,
        };
        let known = previous.into_iter().flat_map(Issuers::sources);
        let known = known.into_iter().find(|known| *known.name == *name && known.place == place);
        Self {
            name: name.into(),
            iss: settings.issuer.clone(),
            audience: settings.audience.clone(),
            algorithms: settings.algorithms.iter().map(|&algorithm| algorithm.into()).collect(),
            skew_s: settings.skew.0.as_secs(),
            tenant: settings.tenant.as_deref().map(Into::into),
            claims: settings.claims.clone(),
            source: known.cloned().unwrap_or_else(|| Arc::new(KeySource::new(name, place))),
        }
    }

    /// The caller that the claims name. `None` if they name nobody who is known here.
    fn caller(&self, claims: Claims, tenants: &Tenants) -> Option<Caller> {
        let text = |name: &str| claim(&claims, name).and_then(serde_json::Value::as_str);
        let tenant = match &self.claims.tenant {
            Some(name) => text(name)?,
            None => self.tenant.as_deref()?,
        };
        let team = match &self.claims.team {
            Some(name) => Some(text(name)?),
            None => None,
        };
        let user = text(&self.claims.user).filter(|user| is_name(user))?;
        let mut models = Vec::new();
        if let Some(name) = &self.claims.models {
            let named = texts(claim(&claims, name)?);
            let patterns = named.iter().take(MODELS_MAX).map(|one| NamePattern::compile(one));
            let patterns: Vec<NamePattern> = patterns.collect::<Result<_, _>>().ok()?;
            // No pattern at all would mean every model.
            models.push(Some(patterns).filter(|patterns| !patterns.is_empty())?.into());
        }
        let roles = self.claims.roles.as_deref().and_then(|name| claim(&claims, name));
        let roles = roles.map(texts).unwrap_or_default().into_iter().map(Into::into).collect();
        let mut labels = BTreeMap::new();
        for (label, name) in &self.claims.labels {
            if let Some(value) = text(name) {
                labels.insert(label.clone(), value.to_owned());
            }
        }
        let name = format!("@{}/{user}", self.name);
        let user = Some(user.into());
        let place = CallerPlace { tenant, team, name: name.into() };
        let mut caller = tenants.caller(&place, labels.into(), models)?;
        caller.issuer = Some(Arc::clone(&self.name));
        caller.user = user;
        caller.roles = roles;
        caller.claims = Some(Arc::new(claims));
        Some(caller)
    }
}

/// Whether a text can stand for a user in logs and counters.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= USER_BYTES_MAX && !text.chars().any(char::is_control)
}
