//! What expressions and routes may know of a request.

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::config::Labels;
use crate::dialect::{Dialect, Endpoint};
use crate::wire::fields::Fields;

/// A request, as far as expressions and routes see it.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The model that the client named. None for endpoints without one.
    pub model: Option<&'a str>,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The wire format the client speaks.
    pub dialect: Dialect,
    /// The request's headers.
    pub headers: &'a Fields,
    /// Whose key it carries.
    pub caller: Option<Caller<'a>>,
    /// The `user` field of the body, or what the dialect has in its place.
    pub user: Option<&'a str>,
    /// The raw JSON of the body's `metadata` object.
    pub metadata: Option<&'a [u8]>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The most tokens the client wants.
    pub max_tokens: Option<u64>,
    /// Length of the body.
    pub body_bytes: u64,
    /// Seconds of Unix time.
    pub unix_s: i64,
    /// Where this weir stands, as the configuration says; may be empty.
    pub region: &'a str,
}

/// Whose key a request carries.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// `tenant/name`.
    pub id: &'a str,
    /// Labels of the key.
    pub labels: &'a Labels,
    /// Its tenant.
    pub tenant: &'a str,
    /// Its team.
    pub team: Option<&'a str>,
    /// The name of the key.
    pub key: &'a str,
    /// What its token says.
    pub claims: Option<&'a Map<String, Value>>,
    /// The tenant's time zone; UTC where there is none.
    pub zone: Option<&'a TimeZone>,
}

impl<'a> Caller<'a> {
    /// One of whom nothing else is known.
    pub fn of(id: &'a str, labels: &'a Labels) -> Self {
        let (tenant, key) = id.split_once('/').unwrap_or((id, ""));
        Self { id, labels, tenant, team: None, key, claims: None, zone: None }
    }
}
