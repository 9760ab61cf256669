//! From an endpoint to its handler.

use http::Method;
use serde_json::Value;

use super::json::{Object, parse};
use super::multipart::{self, Part};
use super::problem::Problem;
use super::reply::Reply;
use super::request::decode;
use super::route::Endpoint;
use super::scene::Scene;
use super::{anthropic, bedrock, cohere, gemini, openai, realtime, rerank};

/// The model that was asked for (also when the request is refused), and the answer.
pub(super) fn answer(scene: &Scene<'_>) -> (String, Result<Reply, Problem>) {
    let endpoint = scene.route.endpoint;
    if let Some(reply) = without_body(scene) {
        return (path_model(scene), reply);
    }
    let content_type = scene.request.fields.content_type.as_deref().unwrap_or_default();
    if content_type.starts_with("multipart/form-data") {
        let form = match multipart::parse(content_type, &scene.request.body) {
            Ok(form) => form,
            Err(why) => return (path_model(scene), Err(Problem::invalid("", why))),
        };
        let model = form.iter().find(|part| part.name == "model").map(Part::text);
        return (model.unwrap_or_default(), with_form(scene, &form));
    }
    let map = match parse(endpoint.dialect(), &scene.request.body) {
        Ok(map) => map,
        Err(problem) => return (path_model(scene), Err(problem)),
    };
    let model = map.get("model").and_then(Value::as_str);
    let model = model.map_or_else(|| path_model(scene), str::to_owned);
    let object = Object { dialect: endpoint.dialect(), map: &map };
    (model, with_object(scene, object))
}

/// Endpoints that do not look at the body. `None` for the others.
fn without_body(scene: &Scene<'_>) -> Option<Result<Reply, Problem>> {
    let get = scene.request.method != Method::POST;
    let below = !scene.route.tail.is_empty();
    Some(match scene.route.endpoint {
        Endpoint::Models => openai::small::models(scene),
        Endpoint::AnthropicModels => anthropic::models(scene),
        Endpoint::GeminiModels => gemini::models(scene),
        Endpoint::Files if get || below => openai::files::files(scene),
        Endpoint::Batches if get || below => openai::files::batches(scene),
        Endpoint::Responses if get || scene.route.tail.contains('/') => {
            openai::responses::stored(scene)
        }
        Endpoint::Realtime => realtime::check(&scene.request.fields)
            .map(|()| Reply::Realtime { model: path_model(scene) }),
        _ => return None,
    })
}

fn with_form(scene: &Scene<'_>, form: &[Part]) -> Result<Reply, Problem> {
    match scene.route.endpoint {
        Endpoint::Transcriptions => openai::audio::transcribe(scene, form),
        Endpoint::Images => openai::small::image_forms(scene, form),
        Endpoint::Files => openai::files::upload(scene, form),
        _ => Err(Problem { message: "Unsupported content type.".into(), ..Problem::status(415) }),
    }
}

fn with_object(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    if scene.request.fields.knobs.strict {
        super::strict::check(scene.route.endpoint, object)?;
        let named = object.value("model").and_then(Value::as_str);
        let model = named.map_or_else(|| path_model(scene), ToOwned::to_owned);
        super::models::check(object.dialect, &model, object.map)?;
    }
    match scene.route.endpoint {
        Endpoint::ChatCompletions => openai::chat::chat(scene, object),
        Endpoint::Completions => openai::chat::completion(scene, object),
        Endpoint::Responses => openai::responses::create(scene, object),
        Endpoint::Embeddings => openai::small::embeddings(scene, object),
        Endpoint::Moderations => openai::small::moderations(scene, object),
        Endpoint::Images => openai::small::images(scene, object),
        Endpoint::Speech => openai::audio::speech(scene, object),
        Endpoint::Rerank => rerank::compatible(scene, object),
        Endpoint::Batches => openai::files::create(scene, object),
        Endpoint::Messages => anthropic::messages(scene, object),
        Endpoint::CountTokens => anthropic::count_tokens(scene, object),
        Endpoint::GenerateContent => gemini::generate(scene, object, false),
        Endpoint::StreamGenerateContent => gemini::generate(scene, object, true),
        Endpoint::GeminiCountTokens => gemini::count_tokens(scene, object),
        Endpoint::EmbedContent => gemini::embed(scene, object, false),
        Endpoint::BatchEmbedContents => gemini::embed(scene, object, true),
        Endpoint::CohereChat => cohere::chat(scene, object),
        Endpoint::CohereEmbed => cohere::embed(scene, object),
        Endpoint::CohereRerank => cohere::rerank(scene, object),
        Endpoint::Converse => bedrock::converse(scene, object, false),
        Endpoint::ConverseStream => bedrock::converse(scene, object, true),
        Endpoint::InvokeModel => bedrock::invoke(scene, object),
        _ => Err(Problem { message: "Unsupported content type.".into(), ..Problem::status(415) }),
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
