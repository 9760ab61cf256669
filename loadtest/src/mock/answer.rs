//! From an endpoint to its handler.

use serde_json::Value;

use super::json::{Object, parse};
use super::problem::Problem;
use super::reply::Reply;
use super::request::decode;
use super::route::Endpoint;
use super::scene::Scene;
use super::{anthropic, openai};

/// The model that was asked for (also when the request is refused), and the answer.
pub(super) fn answer(scene: &Scene<'_>) -> (String, Result<Reply, Problem>) {
    let endpoint = scene.route.endpoint;
    if endpoint == Endpoint::AnthropicModels {
        return (scene.route.tail.clone(), anthropic::models(scene));
    }
    let map = match parse(endpoint.dialect(), &scene.request.body) {
        Ok(map) => map,
        Err(problem) => return (path_model(scene), Err(problem)),
    };
    let model = map.get("model").and_then(Value::as_str);
    let model = model.map_or_else(|| path_model(scene), str::to_owned);
    let object = Object { dialect: endpoint.dialect(), map: &map };
    (model, json(scene, object))
}

fn json(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    match scene.route.endpoint {
        Endpoint::ChatCompletions => openai::chat::chat(scene, object),
        Endpoint::Completions => openai::chat::completion(scene, object),
        Endpoint::Messages => anthropic::messages(scene, object),
        Endpoint::CountTokens => anthropic::count_tokens(scene, object),
        _ => Err(Problem::status(404)),
    }
}

/// The model that the path or the query names.
fn path_model(scene: &Scene<'_>) -> String {
    if let Some(model) = &scene.route.model {
        return model.clone();
    }
    let query = scene.request.query.as_deref().unwrap_or_default();
    query.split('&').find_map(|pair| pair.strip_prefix("model=")).map(decode).unwrap_or_default()
}
