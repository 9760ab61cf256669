//! `OpenAI` and what is compatible with it: chat, completions, responses, embeddings, rerank,
//! moderations, images, audio, files, batches, models, realtime.

mod annotation;
pub(super) mod body;
pub(super) mod chat;
pub(super) mod chat_codec;
pub(super) mod chat_cut;
pub(super) mod embed_codec;
pub(super) mod error;
pub(super) mod events;
pub(super) mod kept;
mod logprob;
pub(super) mod rank_codec;
pub(super) mod request;
pub(super) mod responses_codec;
pub(super) mod responses_cut;
mod usage;

pub(super) use usage::{last as last_usage, usage};

use http::Method;

use super::call::{BodyKind, GET, POST, Place, content_type};
use super::{Dialect, Endpoint};
use crate::wire::fields::Fields;

const GET_POST: &[Method] = &[Method::GET, Method::POST];
const GET_DELETE: &[Method] = &[Method::GET, Method::DELETE];

/// Where a path belongs. The base address of this dialect ends in `/v1`.
pub(super) fn place<'a>(path: &'a str, method: &Method, headers: &Fields) -> Option<Place<'a>> {
    let tail = path.strip_prefix("/v1")?;
    let json = |endpoint| Some(Place::json(Dialect::OpenAi, endpoint, tail));
    match tail.strip_prefix('/')? {
        "chat/completions" => json(Endpoint::ChatCompletions),
        "completions" => json(Endpoint::Completions),
        "responses" => json(Endpoint::Responses),
        "embeddings" => json(Endpoint::Embeddings),
        "rerank" => json(Endpoint::Rerank),
        "moderations" => json(Endpoint::Moderations),
        "images/generations" => json(Endpoint::Images),
        "images/edits" | "images/variations" => {
            json(Endpoint::Images).map(|place| place.with_body(upload_kind(headers)))
        }
        "audio/speech" => json(Endpoint::Audio),
        "audio/transcriptions" | "audio/translations" => {
            json(Endpoint::Audio).map(|place| place.with_body(BodyKind::Multipart))
        }
        "realtime" => Some(Place::get(Dialect::OpenAi, Endpoint::Realtime, tail)),
        "models" => Some(Place::get(Dialect::OpenAi, Endpoint::Models, tail)),
        below => resource(below, tail, method),
    }
}

/// Paths with an identifier in them.
fn resource<'a>(below: &str, tail: &'a str, method: &Method) -> Option<Place<'a>> {
    let mut segments = below.split('/');
    let (first, second, third) = (segments.next()?, segments.next(), segments.next());
    if segments.next().is_some() || second.is_some_and(str::is_empty) {
        return None;
    }
    // Nothing in these bodies is weir's business, and a `GET` has none.
    let body = if *method == Method::POST { BodyKind::Opaque } else { BodyKind::None };
    let (endpoint, methods) = match (first, second, third) {
        ("responses", Some("input_tokens" | "compact"), None) => {
            return Some(Place::json(Dialect::OpenAi, Endpoint::Responses, tail));
        }
        ("responses", Some(_), None) => (Endpoint::Responses, GET_DELETE),
        ("responses", Some(_), Some("cancel")) => (Endpoint::Responses, POST),
        ("responses", Some(_), Some("input_items")) => (Endpoint::Responses, GET),
        ("files", None, None) => (Endpoint::Files, GET_POST),
        ("files", Some(_), None) => (Endpoint::Files, GET_DELETE),
        ("files", Some(_), Some("content")) => (Endpoint::Files, GET),
        ("batches", None, None) => (Endpoint::Batches, GET_POST),
        ("batches", Some(_), None) => (Endpoint::Batches, GET),
        ("batches", Some(_), Some("cancel")) => (Endpoint::Batches, POST),
        ("models", Some(_), _) => return Some(super::models::place(Dialect::OpenAi, tail)),
        _ => return None,
    };
    Some(Place::json(Dialect::OpenAi, endpoint, tail).with_body(body).under(methods))
}

fn upload_kind(headers: &Fields) -> BodyKind {
    let json = content_type(headers)
        .and_then(|value| value.get(..16))
        .is_some_and(|start| start.eq_ignore_ascii_case("application/json"));
    if json { BodyKind::Json } else { BodyKind::Multipart }
}
