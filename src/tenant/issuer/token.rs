//! What a token says, once it is believed.
//!
//! Nothing of a token decides how it is checked but its `iss` and `kid`, and these only choose among
//! what the configuration and the issuer's published keys have. The algorithm must be one of those
//! that the configuration pins for the issuer, and of the kind of the key; keys and addresses of keys
//! that a token carries (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Validation, errors};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Issuer, keys::KeySet};

/// Longest token.
pub(super) const TOKEN_BYTES_MAX: usize = 16 << 10;

/// A token's claims.
pub type Claims = Map<String, Value>;

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disbelief {
    /// Not a token, or one that no issuer here would make.
    Malformed,
    /// From an issuer that is not configured.
    Issuer,
    Algorithm,
    /// Signed with a key that is not known.
    Key,
    Signature,
    Expired,
    NotYet,
    Audience,
    Claims,
}

impl Disbelief {
    /// For the log.
    pub(super) const fn cause(self) -> &'static str {
        match self {
            Self::Malformed => "the token is malformed",
            Self::Issuer => "the token is of an issuer that is not configured",
            Self::Algorithm => "the token's algorithm is not one of the issuer's",
            Self::Key => "the token is signed with a key that the issuer does not publish",
            Self::Signature => "the token's signature is not right",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::Audience => "the token is for another audience",
            Self::Claims => "the token's claims name no user, tenant or team that is known here",
        }
    }

    /// For the caller, who must not learn from it how to forge one.
    pub(super) const fn public(self) -> &'static str {
        match self {
            Self::Expired => "The token has expired.",
            Self::NotYet => "The token is not valid yet.",
            _ => "The token is not valid.",
        }
    }
}

/// Whether a secret has the form of a token: three parts, the first of which is a JSON object.
pub(in crate::tenant) fn looks_like_one(secret: &[u8]) -> bool {
    secret.starts_with(b"eyJ") && memchr::memchr_iter(b'.', secret).count() == 2
}

/// What is read of a token before it is believed.
pub(super) struct Unverified {
    pub(super) issuer: String,
    header: Header,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Payload {
    iss: String,
}

impl Unverified {
    pub(super) fn read(token: &str) -> Result<Self, Disbelief> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Disbelief::Malformed);
        };
        let header: Header = part(header)?;
        let Payload { iss } = part(payload)?;
        if header.crit.is_some() {
            return Err(Disbelief::Malformed);
        }
        Ok(Self { issuer: iss, header })
    }
}

fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Disbelief> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Disbelief::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Disbelief::Malformed)
}

/// The claims of a token that the issuer made, for us, for now.
pub(super) fn verify(
    token: &str,
    unverified: &Unverified,
    issuer: &Issuer,
    keys: &KeySet,
) -> Result<Claims, Disbelief> {
    let header = &unverified.header;
    let pinned = issuer.algorithms.iter().find(|known| format!("{known:?}") == header.alg);
    let algorithm = *pinned.ok_or(Disbelief::Algorithm)?;
    let key = keys.find(header.kid.as_deref(), algorithm).ok_or(Disbelief::Key)?;
    let mut validation = Validation::new(algorithm);
    validation.leeway = issuer.skew_s;
    validation.validate_nbf = true;
    validation.set_audience(&issuer.audience);
    validation.set_issuer(&[&issuer.iss]);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    let believed = jsonwebtoken::decode::<Claims>(token, &key.public, &validation);
    let believed = believed.map_err(|error| match disbelief(&error) {
        // The only key that there was may have been replaced.
        Disbelief::Signature if header.kid.is_none() => Disbelief::Key,
        other => other,
    });
    let claims = believed?.claims;
    let issued = claims.get("iat").and_then(Value::as_f64).unwrap_or_default();
    let now = jsonwebtoken::get_current_timestamp().saturating_add(issuer.skew_s);
    if issued > now as f64 {
        return Err(Disbelief::NotYet);
    }
    Ok(claims)
}

fn disbelief(error: &errors::Error) -> Disbelief {
    use errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => Disbelief::Signature,
        ErrorKind::ExpiredSignature => Disbelief::Expired,
        ErrorKind::ImmatureSignature => Disbelief::NotYet,
        ErrorKind::InvalidAudience => Disbelief::Audience,
        ErrorKind::InvalidIssuer => Disbelief::Issuer,
        ErrorKind::InvalidAlgorithm => Disbelief::Algorithm,
        ErrorKind::MissingRequiredClaim(_) => Disbelief::Claims,
        _ => Disbelief::Malformed,
    }
}

/// The claim of a name, also inside others where the name has dots.
pub(super) fn claim<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut parts = name.split('.');
    let mut value = claims.get(parts.next()?)?;
    for part in parts {
        value = value.get(part)?;
    }
    Some(value)
}

/// A list of texts, or words in one.
pub(super) fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(words) => words.split_ascii_whitespace().collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
