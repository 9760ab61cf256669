//! Cohere v2.

pub(super) mod body;
pub(super) mod codec;
pub(super) mod cut;
pub(super) mod embed_codec;
pub(super) mod error;
pub(super) mod rank_codec;
pub(super) mod request;
pub(super) mod stream;
mod usage;

pub(super) use usage::usage;

use super::call::{Client, Place};
use super::{Dialect, Endpoint, models};

/// Where a path belongs. The base address of this dialect has no version in it.
pub(super) fn place(path: &str, client: Client) -> Option<Place<'_>> {
    let endpoint = match path {
        "/v2/chat" => Endpoint::CohereChat,
        "/v2/embed" => Endpoint::CohereEmbed,
        "/v2/rerank" => Endpoint::Rerank,
        // Cohere's first version has the path that others took over for their own rerank.
        "/v1/rerank" if client.cohere => Endpoint::Rerank,
        _ if client.cohere => return models::place_below(Dialect::Cohere, path, "/v1"),
        _ => return None,
    };
    Some(Place::json(Dialect::Cohere, endpoint, path))
}
