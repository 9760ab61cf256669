//! Who a presented key belongs to.
//!
//! Keys are held as SHA-256 hashes only and found by the hash of what was presented, so the time a
//! look-up takes says nothing about a key; the final comparison is constant-time all the same. The
//! hash is unkeyed because the keys are random and long; a short one is refused at load.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::settings::{Access, KeySettings, Settings};
use crate::config::{Class, NamePattern};
use crate::error::{Error, Kind};
use crate::limit::{self, Applicable, Sets, TimeZone};

/// Shortest key that is accepted as a secret. A shorter one could be guessed from its hash.
const KEY_BYTES_MIN: usize = 8;
/// Longest key that is looked at.
const KEY_BYTES_MAX: usize = 4096;

/// The owner of a key.
#[derive(Debug)]
pub struct Caller {
    /// Its tenant.
    pub tenant: Arc<str>,
    /// The key's name.
    pub name: Arc<str>,
    /// `tenant/name`, for logs, metrics and sticky choices.
    pub id: Arc<str>,
    /// Its team: the label `team`.
    pub team: Option<Arc<str>>,
    /// Labels that routes can match.
    pub labels: BTreeMap<String, String>,
    /// The limits that it is under, if any.
    pub limits: Option<Applicable>,
    /// Which of its requests wait first.
    pub class: Class,
    models: Vec<NamePattern>,
}

impl Caller {
    /// Whether the caller may use every model.
    pub fn may_use_all(&self) -> bool {
        self.models.is_empty()
    }

    /// Whether the caller may use the model.
    pub fn may_use(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(model))
    }
}

/// All keys, by hash.
#[derive(Debug)]
pub struct Directory {
    access: Access,
    by_hash: HashMap<[u8; 32], Arc<Caller>>,
    anonymous: Arc<Caller>,
}

impl Directory {
    /// Compiles the tenants. Each error comes with the path of the setting that caused it.
    pub fn compile(
        access: Access,
        tenants: &BTreeMap<String, Settings>,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut errors = Vec::new();
        let mut by_hash = HashMap::new();
        for (tenant, settings) in tenants {
            let limits = tenant_limits(tenant, settings).unwrap_or_else(|found| {
                errors.extend(found);
                TenantLimits { zone: TimeZone::UTC, sets: Sets::default() }
            });
            for (at, key) in settings.keys.iter().enumerate() {
                let path = format!("tenants.{tenant}.keys[{at}]");
                if settings.keys[..at].iter().any(|other| other.name == key.name) {
                    errors.push((
                        format!("{path}.name"),
                        format!("key name `{}` is used twice in tenant `{tenant}`", key.name),
                    ));
                }
                match compile_key(tenant, key) {
                    Ok(Some((hash, mut caller))) => {
                        match key_limits(&caller, &limits, key) {
                            Ok(limits) => caller.limits = limits,
                            Err(found) => errors.extend(
                                found
                                    .into_iter()
                                    .map(|(field, why)| (format!("{path}{field}"), why)),
                            ),
                        }
                        if by_hash.insert(hash, Arc::new(caller)).is_some() {
                            errors.push((
                                path,
                                "the same key is already in use by another name".into(),
                            ));
                        }
                    }
                    Ok(None) => {}
                    Err((field, error)) => errors.push((format!("{path}{field}"), error)),
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { access, by_hash, anonymous: Arc::new(anonymous()) })
    }

    /// Who presented this key.
    pub fn authenticate(&self, presented: Option<&[u8]>) -> Result<Arc<Caller>, Error> {
        let known = presented.filter(|key| key.len() <= KEY_BYTES_MAX).and_then(|key| {
            let hash: [u8; 32] = Sha256::digest(key).into();
            let (stored, caller) = self.by_hash.get_key_value(&hash)?;
            bool::from(stored.ct_eq(&hash)).then(|| Arc::clone(caller))
        });
        match (known, self.access, presented) {
            (Some(caller), ..) => Ok(caller),
            (None, Access::Open, _) => Ok(Arc::clone(&self.anonymous)),
            (None, Access::Keys, Some(_)) => {
                Err(Error::new(Kind::Unauthorized, "The API key is not known."))
            }
            (None, Access::Keys, None) => Err(Error::new(
                Kind::Unauthorized,
                "No API key was given. Send it as your SDK does, for instance as `Authorization: Bearer KEY`.",
            )),
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }
}

/// The form in which a key stands in the configuration: `sha256:` and hex digits.
pub fn hash_form(key: &str) -> String {
    use std::fmt::Write;
    let hash = Sha256::digest(key.as_bytes());
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn anonymous() -> Caller {
    Caller {
        tenant: "default".into(),
        name: "anonymous".into(),
        id: "anonymous".into(),
        team: None,
        labels: BTreeMap::new(),
        limits: None,
        class: Class::default(),
        models: Vec::new(),
    }
}

type FieldError = (String, String);

fn compile_key(tenant: &str, key: &KeySettings) -> Result<Option<([u8; 32], Caller)>, FieldError> {
    let hash = match (&key.secret, &key.hash) {
        (Some(source), None) => match source.resolve() {
            Ok(Some(secret)) if secret.expose().len() < KEY_BYTES_MIN => {
                return Err((
                    ".secret".into(),
                    format!(
                        "the key is shorter than {KEY_BYTES_MIN} characters: it could be guessed"
                    ),
                ));
            }
            Ok(Some(secret)) => Sha256::digest(secret.expose().as_bytes()).into(),
            Ok(None) => return Ok(None),
            Err(error) => return Err((".secret".into(), error.to_string())),
        },
        (None, Some(text)) => parse_hash(text).ok_or_else(|| {
            (
                ".hash".into(),
                "expected `sha256:` and 64 hex digits: `weir keys hash` prints that form of a key"
                    .to_owned(),
            )
        })?,
        _ => {
            return Err((
                String::new(),
                "a key has exactly one of `secret` (a reference) and `hash`".into(),
            ));
        }
    };
    let models = key
        .models
        .iter()
        .enumerate()
        .map(|(at, pattern)| {
            NamePattern::compile(pattern).map_err(|error| (format!(".models[{at}]"), error))
        })
        .collect::<Result<_, _>>()?;
    let caller = Caller {
        tenant: tenant.into(),
        name: key.name.as_str().into(),
        id: format!("{tenant}/{}", key.name).into(),
        team: key.labels.get("team").map(|team| team.as_str().into()),
        labels: key.labels.clone(),
        limits: None,
        class: key.class,
        models,
    };
    Ok(Some((hash, caller)))
}

/// What all keys of a tenant are under.
struct TenantLimits {
    zone: TimeZone,
    sets: Sets,
}

fn tenant_limits(tenant: &str, settings: &Settings) -> Result<TenantLimits, Vec<FieldError>> {
    let path = format!("tenants.{tenant}");
    let mut errors = Vec::new();
    let zone = settings.zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get);
    let zone = zone.unwrap_or_else(|_| {
        let message =
            "it is not a time zone: write a name of the IANA database, such as Europe/Berlin";
        errors.push((format!("{path}.zone"), message.to_owned()));
        TimeZone::UTC
    });
    let owner = limit::Owner { kind: "tenant", id: tenant, tenant };
    let sets = Sets::compile(owner, &zone, &settings.limits).unwrap_or_else(|found| {
        errors.extend(found.into_iter().map(|(field, why)| (format!("{path}{field}"), why)));
        Sets::default()
    });
    if errors.is_empty() { Ok(TenantLimits { zone, sets }) } else { Err(errors) }
}

/// What a key is under: its tenant's limits and its own.
fn key_limits(
    caller: &Caller,
    tenant: &TenantLimits,
    key: &KeySettings,
) -> Result<Option<Applicable>, Vec<FieldError>> {
    let owner = limit::Owner { kind: "key", id: &caller.id, tenant: &caller.tenant };
    let own = Sets::compile(owner, &tenant.zone, &key.limits)?;
    Ok(tenant.sets.with(&own))
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let hex = text.strip_prefix("sha256:")?;
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, secret: &str) -> KeySettings {
        KeySettings {
            name: name.into(),
            secret: None,
            hash: Some(hash_form(secret)),
            labels: BTreeMap::from([("team".into(), "research".into())]),
            models: vec!["gpt-*".into()],
            class: Class::default(),
            limits: Vec::new(),
        }
    }

    fn directory(
        access: Access,
        keys: Vec<KeySettings>,
    ) -> Result<Directory, Vec<(String, String)>> {
        Directory::compile(
            access,
            &BTreeMap::from([("acme".to_owned(), Settings { keys, ..Settings::default() })]),
        )
    }

    #[test]
    fn a_known_key_is_its_caller() {
        let directory = directory(Access::Keys, vec![key("ci", "secret-one")]).expect("compiles");
        let caller = directory.authenticate(Some(b"secret-one")).expect("known");
        assert_eq!(&*caller.id, "acme/ci");
        assert!(caller.may_use("gpt-4o"));
        assert!(!caller.may_use("claude"));
    }

    #[test]
    fn unknown_and_missing_keys_are_refused_unless_open() {
        let closed = directory(Access::Keys, vec![key("ci", "secret-one")]).expect("compiles");
        for presented in [None, Some(&b"secret-two"[..]), Some(b""), Some(b"secret-one ")] {
            let error = closed.authenticate(presented).expect_err("refused");
            assert_eq!(error.kind, Kind::Unauthorized);
        }
        let open = directory(Access::Open, vec![key("ci", "secret-one")]).expect("compiles");
        assert_eq!(&*open.authenticate(None).expect("open").id, "anonymous");
        assert_eq!(&*open.authenticate(Some(b"secret-one")).expect("open").id, "acme/ci");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let mut both = key("b", "secret-two");
        both.secret = Some(crate::config::SecretSource { env: None, file: None, optional: false });
        let mut malformed = key("c", "x");
        malformed.hash = Some("sha256:abc".into());
        let errors = directory(
            Access::Keys,
            vec![key("a", "secret-one"), key("a", "secret-one"), both, malformed],
        )
        .expect_err("mistakes");
        let paths: Vec<&str> = errors.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "tenants.acme.keys[1].name",
                "tenants.acme.keys[1]",
                "tenants.acme.keys[2]",
                "tenants.acme.keys[3].hash"
            ]
        );
    }
}
