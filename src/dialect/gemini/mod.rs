//! Google Gemini `generateContent`, under `/v1beta` and under `/v1` (newer clients use the latter).

pub(super) mod answer;
pub(super) mod codec;
pub(super) mod cut;
pub(super) mod embed_codec;
pub(super) mod error;
pub(super) mod request;
mod usage;

pub(super) use usage::usage;

use super::call::{Client, Place};
use super::{Dialect, Endpoint, models};

const VERSIONS: [&str; 3] = ["/v1beta", "/v1alpha", "/v1"];

/// Where a path belongs. The base address of this dialect has no version in it.
pub(super) fn place(path: &str, client: Client) -> Option<Place<'_>> {
    VERSIONS.iter().find_map(|version| place_under(version, path, client))
}

fn place_under<'a>(version: &str, path: &'a str, client: Client) -> Option<Place<'a>> {
    let below = path.strip_prefix(version)?;
    if let Some(rest) = below.strip_prefix("/models/")
        && let Some((model, action)) = rest.rsplit_once(':')
        && let Some(endpoint) = endpoint(action)
    {
        let start = path.len() - rest.len();
        let place = Place::json(Dialect::Gemini, endpoint, path);
        return Some(place.model_at(start..start + model.len()));
    }
    // What is behind a colon is an action, and this one is not known.
    if below.contains(':') || version == "/v1" && !client.gemini {
        return None;
    }
    models::place_below(Dialect::Gemini, path, version)
}

fn endpoint(action: &str) -> Option<Endpoint> {
    Some(match action {
        "generateContent" => Endpoint::GenerateContent,
        "streamGenerateContent" => Endpoint::StreamGenerateContent,
        "countTokens" => Endpoint::GeminiCountTokens,
        "embedContent" | "batchEmbedContents" => Endpoint::EmbedContent,
        _ => return None,
    })
}
