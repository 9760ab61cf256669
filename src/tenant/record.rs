//! A virtual key as it is kept: made through the admin API, shown once, and changed while weir runs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::directory::Hash;
use super::policy::PolicySettings;
use crate::config::Labels;
use crate::dialect::Endpoint;
use crate::limit;

/// How every virtual key begins.
pub const KEY_PREFIX: &str = "weir-";

/// A virtual key, without the key.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its public id: with `weir-` in front the beginning of the key.
    pub id: Arc<str>,
    /// The keyed hash of the key.
    pub hash: Hash,
    /// The hash of the key before a rotation, and until when it is good, in seconds of Unix time.
    pub previous: Option<(Hash, u64)>,
    /// Its tenant.
    pub tenant: Arc<str>,
    /// Its team.
    pub team: Option<Arc<str>>,
    /// Its name; unique within the tenant.
    pub name: Arc<str>,
    /// Whether it may be used.
    pub status: Status,
    /// When it expires, in seconds of Unix time.
    pub expires_s: Option<u64>,
    /// What it is good for.
    pub terms: Terms,
}

/// Whether a virtual key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It may.
    Active,
    /// It may not for now.
    Disabled,
    /// It never may again.
    Revoked,
}

impl Status {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Disabled => "disabled",
            Status::Revoked => "revoked",
        }
    }

    /// The status of a word; what is not known may not be used.
    pub fn of(word: &str) -> Self {
        match word {
            "active" => Status::Active,
            "disabled" => Status::Disabled,
            _ => Status::Revoked,
        }
    }
}

/// What a virtual key is good for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// Labels that routes can match.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub labels: Labels,
    /// Models it may use, by exact name, glob or regex. By default all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Endpoints it may use (`chat_completions`, `messages`, …). By default all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Addresses and networks that it may be used from (`10.0.0.0/8`). By default all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Requests with it that are refused, beside those of its tenant and team.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicySettings>,
    /// Limits on what is used with it, beside those of its tenant and team.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<limit::Settings>,
}

/// Where and from where a key may be used.
#[derive(Clone, Debug, Default)]
pub(super) struct Fence {
    endpoints: Vec<Endpoint>,
    sources: Vec<Network>,
}

impl Fence {
    /// `None` where there is nothing to check.
    pub(super) fn compile(terms: &Terms) -> Result<Option<Arc<Self>>, String> {
        let endpoint = |name: &String| {
            let known = Endpoint::ALL.into_iter().find(|endpoint| endpoint.as_str() == *name);
            known.ok_or_else(|| format!("there is no endpoint `{name}`"))
        };
        let network = |text: &String| {
            Network::parse(text).ok_or_else(|| format!("`{text}` is not an address or a network"))
        };
        let fence = Self {
            endpoints: terms.endpoints.iter().map(endpoint).collect::<Result<_, _>>()?,
            sources: terms.sources.iter().map(network).collect::<Result<_, _>>()?,
        };
        let open = fence.endpoints.is_empty() && fence.sources.is_empty();
        Ok((!open).then(|| Arc::new(fence)))
    }

    pub(super) fn allows_endpoint(&self, endpoint: Endpoint) -> bool {
        self.endpoints.is_empty() || self.endpoints.contains(&endpoint)
    }

    pub(super) fn allows_source(&self, address: Option<IpAddr>) -> bool {
        let inside = |address: IpAddr| self.sources.iter().any(|network| network.holds(address));
        self.sources.is_empty() || address.is_some_and(inside)
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    base: u128,
    /// Leading bits that are the same, of 128.
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok()?
            }
            Some(_) => return None,
            None => whole,
        };
        (length <= whole).then(|| Self { base: number(address), bits: 128 - whole + length })
    }

    fn holds(self, address: IpAddr) -> bool {
        let other = 128 - self.bits;
        other >= 128 || (self.base ^ number(address)) >> other == 0
    }
}

/// Both families as one: an address of version 4 is the one that is mapped into version 6.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        let network = Network::parse(network).expect("a network");
        network.holds(address.parse().expect("an address"))
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        assert!(holds("10.0.0.0/8", "10.255.1.2") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("192.0.2.7", "::ffff:192.0.2.7"), "the same address in version 6");
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "1.2.3.4") && holds("2001:db8::/32", "2001:db8:1::1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10/8", "::/129", "a/8"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }
}
