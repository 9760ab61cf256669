//! Amazon Bedrock: Converse, and `InvokeModel` as far as its bodies are read here (embeddings).

pub(super) mod body;
pub(super) mod codec;
pub(super) mod cut;
pub(super) mod embed_codec;
pub(super) mod error;
pub(super) mod request;
pub(super) mod stream;
mod usage;

pub(super) use usage::usage;

use super::call::Place;
use super::{Dialect, Endpoint};

/// Where a path belongs. The model stands in the path, percent-encoded (an ARN has slashes).
pub(super) fn place(path: &str) -> Option<Place<'_>> {
    const PREFIX: &str = "/model/";
    let (model, action) = path.strip_prefix(PREFIX)?.rsplit_once('/')?;
    let endpoint = match action {
        "converse" => Endpoint::Converse,
        "converse-stream" => Endpoint::ConverseStream,
        "invoke" => Endpoint::InvokeModel,
        _ => return None,
    };
    let place = Place::json(Dialect::Bedrock, endpoint, path);
    Some(place.model_at(PREFIX.len()..PREFIX.len() + model.len()))
}
