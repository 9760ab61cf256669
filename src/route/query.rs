//! What routing may know of a request.

use std::collections::BTreeMap;

use http::HeaderMap;

use crate::dialect::{Dialect, Endpoint};

/// A request, as far as routes see it.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The model that the client named. None for endpoints without one.
    pub model: Option<&'a str>,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The wire format the client speaks.
    pub dialect: Dialect,
    /// The request's headers.
    pub headers: &'a HeaderMap,
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
}

/// Whose key a request carries.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// `tenant/name`.
    pub id: &'a str,
    /// Labels of the key.
    pub labels: &'a BTreeMap<String, String>,
}
