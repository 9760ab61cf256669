//! Anthropic Messages.

pub(super) mod body;
pub(super) mod codec;
pub(super) mod cut;
pub(super) mod error;
pub(super) mod request;
pub(super) mod stream;
mod usage;

pub(super) use usage::usage;

use super::call::{Client, Place};
use super::{Dialect, Endpoint, models};

/// Where a path belongs. The base address of this dialect has no version in it.
pub(super) fn place(path: &str, client: Client) -> Option<Place<'_>> {
    match path {
        "/v1/messages" => Some(Place::json(Dialect::Anthropic, Endpoint::Messages, path)),
        "/v1/messages/count_tokens" => {
            Some(Place::json(Dialect::Anthropic, Endpoint::CountTokens, path))
        }
        _ if client.anthropic => models::place_below(Dialect::Anthropic, path, "/v1"),
        _ => None,
    }
}
