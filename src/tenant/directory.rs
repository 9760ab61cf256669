//! Who a presented credential belongs to.
//!
//! Keys are held as SHA-256 hashes only and found by the hash of what was presented, so the time a
//! look-up takes says nothing about a key; the final comparison is constant-time all the same. The
//! hash is unkeyed because the keys are random and long; a short one is refused at load.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::caller::Caller;
use super::certificate::{Certificates, Pattern};
use super::issuer::{self, Issuers, KeySource, Refused, looks_like_one};
use super::record::Record;
use super::settings::{Access, KeySettings, Settings};
use super::tenants::{FieldError, Own, Place, Tenants, patterns};
use super::virtual_keys::{self, KeyHasher, VirtualKeys};
use crate::dialect::Endpoint;
use crate::error::{Error, Kind};
use crate::limit::Applicable;
use crate::transport::ClientCertificate;

/// Shortest key that is accepted as a secret. A shorter one could be guessed from its hash.
const KEY_BYTES_MIN: usize = 8;
/// Longest key that is looked at.
const KEY_BYTES_MAX: usize = 4096;

/// A hash of a key.
pub type Hash = [u8; 32];
/// What is known by the hash of a key. Nobody can choose one, so a part of it is as good as a hash of it.
pub(super) type ByHash<T> = HashMap<Hash, T, BuildHasherDefault<Part>>;

/// Whether two hashes are the same, in a time that tells nothing of either.
pub(super) fn same(one: &Hash, other: &Hash) -> bool {
    let (words, others) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    let same = words.iter().zip(others).fold(Choice::from(1), |same, (one, other)| {
        same & u64::from_ne_bytes(*one).ct_eq(&u64::from_ne_bytes(*other))
    });
    same.into()
}

/// A part of a hash, in place of a hash of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part(u64);

impl Hasher for Part {
    fn write(&mut self, hash: &[u8]) {
        // The first byte may have led to the map already.
        if let Some(part) = hash.last_chunk() {
            self.0 = u64::from_le_bytes(*part);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a request shows of its caller.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// A key or a token.
    pub secret: Secret<'a>,
    /// The verified certificate of its connection.
    pub certificate: Option<&'a ClientCertificate>,
    /// What it asks for.
    pub endpoint: Endpoint,
    /// Where it comes from.
    pub address: Option<IpAddr>,
}

/// The key or token of a request.
#[derive(Clone, Copy)]
pub enum Secret<'a> {
    /// There is none.
    None,
    /// This one.
    One(&'a [u8]),
    /// Several that are not the same.
    Several,
}

impl<'a> Secret<'a> {
    /// One, or none.
    pub fn of(secret: Option<&'a [u8]>) -> Self {
        secret.map_or(Self::None, Self::One)
    }
}

impl std::fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The settings that say who may call.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// Whether a caller needs a key.
    pub access: Access,
    /// The tenants.
    pub tenants: &'a BTreeMap<String, Settings>,
    /// The issuers of tokens.
    pub issuers: &'a BTreeMap<String, issuer::Settings>,
    /// How virtual keys are hashed, where there are any.
    pub hasher: Option<&'a KeyHasher>,
}

/// Everybody who may call.
#[derive(Debug)]
pub struct Directory {
    access: Access,
    tenants: Tenants,
    by_hash: ByHash<Arc<Caller>>,
    certificates: Certificates,
    /// Keys of the configuration whose secret is not there.
    absent: Vec<Arc<str>>,
    issuers: Issuers,
    virtual_keys: VirtualKeys,
    anonymous: Arc<Caller>,
}

impl Directory {
    /// Compiles who may call. Each error comes with the path of the setting that caused it. Issuers'
    /// keys that were read are taken over from `previous`.
    pub fn compile(written: Written<'_>, previous: Option<&Self>) -> Result<Self, Vec<FieldError>> {
        let (tenants, mut errors) = Tenants::compile(written.tenants);
        let before = previous.map(|previous| &previous.virtual_keys);
        let virtual_keys = VirtualKeys::compile(written.hasher.cloned(), &tenants, before);
        let mut directory = Self {
            access: written.access,
            tenants,
            by_hash: ByHash::default(),
            certificates: Certificates::default(),
            absent: Vec::new(),
            issuers: Issuers::default(),
            virtual_keys,
            anonymous: Arc::new(Caller::anonymous()),
        };
        for (tenant, settings) in written.tenants {
            for (at, key) in settings.keys.iter().enumerate() {
                let path = format!("tenants.{tenant}.keys[{at}]");
                if settings.keys[..at].iter().any(|other| other.name == key.name) {
                    errors.push((
                        format!("{path}.name"),
                        format!("key name `{}` is used twice in tenant `{tenant}`", key.name),
                    ));
                }
                let added = directory.add(tenant, key);
                errors
                    .extend(added.into_iter().map(|(field, why)| (format!("{path}{field}"), why)));
            }
        }
        let before = previous.map(|previous| &previous.issuers);
        match Issuers::compile(written.issuers, &directory.tenants, before) {
            Ok(issuers) => directory.issuers = issuers,
            Err(found) => errors.extend(found),
        }
        if errors.is_empty() { Ok(directory) } else { Err(errors) }
    }

    /// Adds a key of the configuration. What is wrong comes with the path from the key on.
    fn add(&mut self, tenant: &str, key: &KeySettings) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let caller = compile_caller(&self.tenants, tenant, key, &mut errors);
        let proof = match proof(key) {
            Ok(proof) => proof,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        let Some(caller) = caller else { return errors };
        let Some(proof) = proof else {
            self.absent.push(caller.id);
            return errors;
        };
        match proof {
            Proof::Hash(hash) => {
                if self.by_hash.insert(hash, Arc::new(caller)).is_some() {
                    let message = "the same key is already in use by another name";
                    errors.push((String::new(), message.into()));
                }
            }
            Proof::Certificate(pattern) => self.certificates.add(pattern, Arc::new(caller)),
        }
        errors
    }

    /// Who presented this.
    pub fn authenticate(&self, presented: &Presented<'_>) -> Result<Arc<Caller>, Refused> {
        let by_certificate = presented.certificate.and_then(|it| self.certificates.identify(it));
        let by_secret = match presented.secret {
            Secret::None => None,
            Secret::One(secret) => Some(self.by_secret(secret, presented)),
            Secret::Several => Some(Err(unauthorized(
                "The request carries several API keys that are not the same.",
            ))),
        };
        let found = match (by_secret, by_certificate) {
            (Some(Ok(caller)), Some(other)) if caller.tenant != other.tenant => Err(unauthorized(
                "The API key and the client certificate belong to different tenants.",
            )),
            (Some(found), _) => found,
            (None, Some(caller)) => Ok(Arc::clone(caller)),
            (None, None) => Err(unauthorized(
                "No API key was given. Send it as your SDK does, for instance as `Authorization: Bearer KEY`.",
            )),
        };
        match (found, self.access) {
            (Err(Refused::Error(_)), Access::Open) => Ok(Arc::clone(&self.anonymous)),
            (found, _) => found,
        }
    }

    fn by_secret(&self, secret: &[u8], presented: &Presented<'_>) -> Result<Arc<Caller>, Refused> {
        let token = !self.issuers.is_empty() && looks_like_one(secret);
        if secret.len() <= KEY_BYTES_MAX || token {
            let (endpoint, address) = (presented.endpoint, presented.address);
            if let Some(found) = self.virtual_keys.identify(secret, endpoint, address) {
                return found.map_err(Refused::Error);
            }
            let hash: Hash = Sha256::digest(secret).into();
            let known = self.by_hash.get_key_value(&hash);
            let known = known.filter(|(stored, _)| same(stored, &hash));
            if let Some((_, caller)) = known {
                return Ok(Arc::clone(caller));
            }
            if token {
                return self.issuers.identify(secret, &hash, &self.tenants);
            }
        }
        Err(unauthorized("The API key is not known."))
    }

    /// Who shows this token of an issuer, and nothing else: no key is one.
    pub fn identify_token(&self, token: &[u8]) -> Result<Arc<Caller>, Refused> {
        if self.issuers.is_empty() || !looks_like_one(token) {
            return Err(unauthorized("The token is not known."));
        }
        let hash: Hash = Sha256::digest(token).into();
        self.issuers.identify(token, &hash, &self.tenants)
    }

    /// The limits that callers are under, more than once where several share them.
    pub fn limits(&self) -> impl Iterator<Item = Applicable> {
        let known = self.by_hash.values().chain(self.certificates.callers());
        let own = known.filter_map(|caller| caller.limits.clone());
        self.tenants.limits().chain(own).chain(self.virtual_keys.limits())
    }

    /// Where issuers' keys come from, to be kept fresh.
    pub fn key_sources(&self) -> impl Iterator<Item = &Arc<KeySource>> {
        self.issuers.sources()
    }

    /// Takes over new virtual keys and changes of known ones, all at once.
    pub fn apply(&self, changed: Vec<Record>) {
        let kept = |record: Record| Arc::new(self.tenants.sharing_names(record));
        self.virtual_keys.apply(changed.into_iter().map(kept).collect(), &self.tenants);
    }

    /// What is wrong with a virtual key that is to be made or changed.
    pub fn check(&self, record: &Record) -> Result<(), String> {
        virtual_keys::check(record, &self.tenants)
    }

    /// How virtual keys are hashed, where there are any.
    pub fn hasher(&self) -> Option<&KeyHasher> {
        self.virtual_keys.hasher()
    }

    /// A virtual key by its id.
    pub fn record(&self, id: &str) -> Option<Arc<Record>> {
        self.virtual_keys.record(id)
    }

    /// Whether a key of the configuration has this name, however it is recognised.
    pub fn has_key(&self, tenant: &str, name: &str) -> bool {
        let id = format!("{tenant}/{name}");
        let mut callers = self.by_hash.values().chain(self.certificates.callers());
        callers.any(|caller| *caller.id == *id) || self.absent.iter().any(|absent| **absent == *id)
    }

    /// Number of keys and certificates.
    pub fn len(&self) -> usize {
        self.by_hash.len() + self.certificates.len() + self.virtual_keys.len()
    }

    /// Whether there is no key and no certificate at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn unauthorized(public: &'static str) -> Refused {
    Refused::Error(Error::new(Kind::Unauthorized, public))
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

/// How a caller of the configuration is recognised.
enum Proof {
    Hash(Hash),
    Certificate(Pattern),
}

/// `None` where the key is one that may be missing, and is.
fn proof(key: &KeySettings) -> Result<Option<Proof>, FieldError> {
    match (&key.secret, &key.hash, &key.certificate) {
        (Some(source), None, None) => match source.resolve() {
            Ok(Some(secret)) if secret.expose().len() < KEY_BYTES_MIN => Err((
                ".secret".into(),
                format!("the key is shorter than {KEY_BYTES_MIN} characters: it could be guessed"),
            )),
            Ok(secret) => {
                Ok(secret
                    .map(|secret| Proof::Hash(Sha256::digest(secret.expose().as_bytes()).into())))
            }
            Err(error) => Err((".secret".into(), error.to_string())),
        },
        (None, Some(text), None) => {
            parse_hash(text).map(|hash| Some(Proof::Hash(hash))).ok_or_else(|| {
                (
                ".hash".into(),
                "expected `sha256:` and 64 hex digits: `weir keys hash` prints that form of a key"
                    .to_owned(),
            )
            })
        }
        (None, None, Some(certificate)) => Pattern::compile(certificate)
            .map(|pattern| Some(Proof::Certificate(pattern)))
            .map_err(|(field, why)| (format!(".certificate{field}"), why)),
        _ => Err((
            String::new(),
            "a key has exactly one of `secret` (a reference), `hash` and `certificate`".into(),
        )),
    }
}

fn compile_caller(
    tenants: &Tenants,
    tenant: &str,
    key: &KeySettings,
    errors: &mut Vec<FieldError>,
) -> Option<Caller> {
    if key.name.starts_with('@') {
        errors.push((".name".into(), "names with `@` in front are those of tokens' users".into()));
    }
    let compiled = tenants.get(tenant)?;
    if let Some(team) = key.team.as_deref().filter(|team| !compiled.has_team(team)) {
        errors.push((".team".into(), format!("tenant `{tenant}` has no team `{team}`")));
    }
    let own = compiled.own(tenant, &key.name, &key.limits, &key.policies).unwrap_or_else(|found| {
        errors.extend(found);
        Own::default()
    });
    let models = patterns(&key.models).unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    let place = Place { tenant, team: key.team.as_deref(), name: key.name.as_str().into() };
    let models = models.into_iter().collect();
    let caller = tenants.caller_with(&place, key.labels.clone().into(), models, &own)?;
    Some(Caller { class: key.class, ..caller })
}

fn parse_hash(text: &str) -> Option<Hash> {
    let hex = text.strip_prefix("sha256:")?;
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
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
    use super::super::settings::CertificateSettings;
    use super::*;
    use crate::config::SecretSource;

    #[test]
    fn hashes_are_the_same_in_every_byte() {
        let one: Hash = std::array::from_fn(|at| at as u8);
        assert!(same(&one, &one.clone()));
        for at in 0..one.len() {
            let mut other = one;
            other[at] ^= 0x80;
            assert!(!same(&one, &other), "byte {at}");
        }
    }

    fn key(name: &str, secret: &str) -> KeySettings {
        KeySettings {
            name: name.into(),
            team: None,
            secret: None,
            hash: Some(hash_form(secret)),
            certificate: None,
            labels: BTreeMap::from([("team".into(), "research".into())]),
            models: vec!["gpt-*".into()],
            class: crate::config::Class::default(),
            policies: Vec::new(),
            limits: Vec::new(),
        }
    }

    fn directory(
        access: Access,
        keys: Vec<KeySettings>,
    ) -> Result<Directory, Vec<(String, String)>> {
        let tenants =
            BTreeMap::from([("acme".to_owned(), Settings { keys, ..Settings::default() })]);
        let written =
            Written { access, tenants: &tenants, issuers: &BTreeMap::new(), hasher: None };
        Directory::compile(written, None)
    }

    fn ask(directory: &Directory, secret: Option<&[u8]>) -> Result<Arc<Caller>, Error> {
        let presented = Presented {
            secret: Secret::of(secret),
            certificate: None,
            endpoint: Endpoint::ChatCompletions,
            address: None,
        };
        directory.authenticate(&presented).map_err(Refused::into_error)
    }

    #[test]
    fn a_known_key_is_its_caller() {
        let directory = directory(Access::Keys, vec![key("ci", "secret-one")]).expect("compiles");
        let caller = ask(&directory, Some(b"secret-one")).expect("known");
        assert_eq!(&*caller.id, "acme/ci");
        assert!(caller.may_use("gpt-4o"));
        assert!(!caller.may_use("claude"));
    }

    #[test]
    fn unknown_and_missing_keys_are_refused_unless_open() {
        let closed = directory(Access::Keys, vec![key("ci", "secret-one")]).expect("compiles");
        for presented in [None, Some(&b"secret-two"[..]), Some(b""), Some(b"secret-one ")] {
            let error = ask(&closed, presented).expect_err("refused");
            assert_eq!(error.kind, Kind::Unauthorized);
        }
        let open = directory(Access::Open, vec![key("ci", "secret-one")]).expect("compiles");
        assert_eq!(&*ask(&open, None).expect("open").id, "anonymous");
        assert_eq!(&*ask(&open, Some(b"secret-one")).expect("open").id, "acme/ci");
    }

    #[test]
    fn every_key_of_the_configuration_has_its_name() {
        let subject = BTreeMap::from([("CN".to_owned(), "batch".to_owned())]);
        let certificate = Some(CertificateSettings { subject, ..CertificateSettings::default() });
        let by_certificate = KeySettings { hash: None, certificate, ..key("batch", "") };
        let absent = SecretSource { env: None, file: Some("/no/such/file".into()), optional: true };
        let absent = KeySettings { hash: None, secret: Some(absent), ..key("absent", "") };
        let keys = vec![key("ci", "secret-one"), by_certificate, absent];
        let directory = directory(Access::Keys, keys).expect("compiles");
        for name in ["ci", "batch", "absent"] {
            assert!(directory.has_key("acme", name), "{name}");
        }
        assert!(!directory.has_key("acme", "other") && !directory.has_key("lab", "ci"));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let mut both = key("b", "secret-two");
        both.secret = Some(SecretSource { env: None, file: None, optional: false });
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
