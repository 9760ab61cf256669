//! Virtual keys as requests look them up: one immutable snapshot, swapped when keys change.
//!
//! It is in parts by the first byte of the hash, so that a change of one key copies a 256th of the
//! index and shares the rest with the snapshot before. What is known of keys comes from `storage`,
//! which no request ever asks. The hash is keyed with a secret that the database does not hold: who
//! can write to the database cannot make a key, and who has read it cannot try keys.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hashbrown::HashMap;
use parking_lot::Mutex;
use ring::hmac;

use super::caller::Caller;
use super::directory::{ByHash, Hash, same};
use super::record::{Fence, KEY_PREFIX, Record, Status};
use super::tenants::{Place, Tenants, patterns};
use crate::clock;
use crate::dialect::Endpoint;
use crate::error::{Error, Kind};
use crate::limit::Applicable;

/// Parts of the index.
const PARTS: usize = 256;

/// Keys hashes of keys.
#[derive(Clone, Debug)]
pub struct KeyHasher(hmac::Key);

impl KeyHasher {
    /// With this secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The keyed hash (HMAC-SHA-256, RFC 2104).
    pub fn hash(&self, key: &[u8]) -> Hash {
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(&self.0, key).as_ref());
        hash
    }
}

#[derive(Clone, Debug)]
struct Entry {
    caller: Arc<Caller>,
    disabled: bool,
    /// When it is over, in seconds of Unix time.
    until_s: u64,
    fence: Option<Arc<Fence>>,
}

type Part = ByHash<Entry>;

#[derive(Clone, Debug)]
struct Snapshot(Box<[Arc<Part>]>);

impl Snapshot {
    fn empty() -> Self {
        let none = Arc::new(Part::default());
        Self((0..PARTS).map(|_| Arc::clone(&none)).collect())
    }

    fn part(&mut self, hash: &Hash) -> &mut Part {
        Arc::make_mut(&mut self.0[usize::from(hash[0])])
    }
}

/// All virtual keys.
#[derive(Debug)]
pub(super) struct VirtualKeys {
    hasher: Option<KeyHasher>,
    /// For changes and reloads; no request reads them.
    records: Mutex<HashMap<Arc<str>, Arc<Record>>>,
    snapshot: ArcSwapOption<Snapshot>,
}

impl VirtualKeys {
    /// The keys that were known before, under new tenants.
    pub(super) fn compile(
        hasher: Option<KeyHasher>,
        tenants: &Tenants,
        previous: Option<&Self>,
    ) -> Self {
        let keys =
            Self { hasher, records: Mutex::default(), snapshot: ArcSwapOption::const_empty() };
        if let Some(previous) = previous {
            let records: Vec<Arc<Record>> = previous.records.lock().values().cloned().collect();
            keys.apply(records, tenants);
        }
        keys
    }

    /// Takes over new keys and changes of known ones, all at once.
    pub(super) fn apply(&self, changed: Vec<Arc<Record>>, tenants: &Tenants) {
        if changed.is_empty() {
            return;
        }
        let mut records = self.records.lock();
        let before = self.snapshot.load();
        let mut next = before.as_ref().map_or_else(Snapshot::empty, |known| (**known).clone());
        for record in changed {
            if let Some(known) = records.get(&record.id) {
                next.part(&known.hash).remove(&known.hash);
                if let Some((hash, _)) = &known.previous {
                    next.part(hash).remove(hash);
                }
            }
            // What became of its tenant in the configuration may come back with the next.
            if let Ok(entry) = entry(&record, tenants) {
                if let Some((hash, until_s)) = record.previous {
                    let until_s = until_s.min(entry.until_s);
                    next.part(&hash).insert(hash, Entry { until_s, ..entry.clone() });
                }
                next.part(&record.hash).insert(record.hash, entry);
            }
            records.insert(Arc::clone(&record.id), record);
        }
        self.snapshot.store(Some(Arc::new(next)));
    }

    /// Who a key belongs to, whether it may be used here and now. `None` if it is no virtual key.
    pub(super) fn identify(
        &self,
        key: &[u8],
        endpoint: Endpoint,
        address: Option<IpAddr>,
    ) -> Option<Result<Arc<Caller>, Error>> {
        if !key.starts_with(KEY_PREFIX.as_bytes()) {
            return None;
        }
        let hasher = self.hasher.as_ref()?;
        let snapshot = self.snapshot.load();
        let hash = hasher.hash(key);
        let part = &snapshot.as_ref()?.0[usize::from(hash[0])];
        let (stored, entry) = part.get_key_value(&hash)?;
        same(stored, &hash).then(|| entry.admit(endpoint, address))
    }

    /// The limits that the keys are under.
    pub(super) fn limits(&self) -> Vec<Applicable> {
        let snapshot = self.snapshot.load();
        let parts = snapshot.as_ref().into_iter().flat_map(|known| known.0.iter());
        let entries = parts.flat_map(|part| part.values());
        entries.filter_map(|entry| entry.caller.limits.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.snapshot.load().as_ref().map_or(0, |known| known.0.iter().map(|part| part.len()).sum())
    }

    pub(super) fn hasher(&self) -> Option<&KeyHasher> {
        self.hasher.as_ref()
    }

    /// What is known of a key.
    pub(super) fn record(&self, id: &str) -> Option<Arc<Record>> {
        self.records.lock().get(id).cloned()
    }
}

impl Entry {
    fn admit(&self, endpoint: Endpoint, address: Option<IpAddr>) -> Result<Arc<Caller>, Error> {
        if self.disabled {
            return Err(Error::new(Kind::Unauthorized, "The API key is disabled."));
        }
        if self.until_s != u64::MAX && clock::unix_s() >= self.until_s {
            return Err(Error::new(Kind::Unauthorized, "The API key has expired."));
        }
        if let Some(fence) = &self.fence {
            if !fence.allows_source(address) {
                let public = "The API key may not be used from this address.";
                return Err(Error::new(Kind::Forbidden, public));
            }
            if !fence.allows_endpoint(endpoint) {
                let public = "The API key may not use this endpoint.";
                return Err(Error::new(Kind::Forbidden, public));
            }
        }
        Ok(Arc::clone(&self.caller))
    }
}

/// What a record comes to under these tenants, or what is wrong with it. A revoked key is none.
fn entry(record: &Record, tenants: &Tenants) -> Result<Entry, String> {
    if record.status == Status::Revoked {
        return Err("it is revoked".into());
    }
    Ok(Entry {
        caller: Arc::new(compile(record, tenants)?),
        disabled: record.status == Status::Disabled,
        until_s: record.expires_s.unwrap_or(u64::MAX),
        fence: Fence::compile(&record.terms)?,
    })
}

/// The caller of a record, or what is wrong with it.
fn compile(record: &Record, tenants: &Tenants) -> Result<Caller, String> {
    let tenant = tenants
        .get(&record.tenant)
        .ok_or_else(|| format!("there is no tenant `{}`", record.tenant))?;
    if let Some(team) = record.team.as_deref().filter(|team| !tenant.has_team(team)) {
        return Err(format!("tenant `{}` has no team `{team}`", record.tenant));
    }
    let terms = &record.terms;
    let own = tenant.own(&record.tenant, &record.name, &terms.limits, &terms.policies);
    let own = own.map_err(|found| {
        found.into_iter().map(|(path, why)| format!("{path}: {why}")).collect::<Vec<_>>().join("; ")
    })?;
    let models = patterns(&record.terms.models).map_err(|(path, why)| format!("{path}: {why}"))?;
    let (name, team) = (Arc::clone(&record.name), record.team.as_deref());
    let place = Place { tenant: &record.tenant, team, name };
    tenants
        .caller_with(&place, record.terms.labels.clone(), models.into_iter().collect(), &own)
        .ok_or_else(|| "there is no such tenant".to_owned())
}

/// Whether a record could be used under these tenants, and why not.
pub(super) fn check(record: &Record, tenants: &Tenants) -> Result<(), String> {
    entry(record, tenants).map(|_| ())
}
