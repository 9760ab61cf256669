//! The endpoints that answer at once: embeddings, moderations, images, models.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::mock::embedding;
use crate::mock::json::Object;
use crate::mock::multipart::Part;
use crate::mock::problem::Problem;
use crate::mock::prompt::Reading;
use crate::mock::reply::{Reply, Whole};
use crate::mock::route::Dialect;
use crate::mock::scene::Scene;
use crate::mock::script::Usage;

/// A PNG of one transparent pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// Answers `POST /v1/embeddings`.
pub(in crate::mock) fn embeddings(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let model = object.need_string("model")?;
    let size = object.count("dimensions")?;
    let size = embedding::size(size).map_err(|why| Problem::invalid("dimensions", why))?;
    let base64 = match object.string("encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            return Err(Problem::invalid("encoding_format", "must be one of 'float' or 'base64'"));
        }
    };
    let inputs = match object.value("input") {
        None => return Err(Problem::missing(Dialect::OpenAi, "input")),
        Some(Value::Array(list)) if list.first().is_some_and(Value::is_number) => {
            vec![Value::Array(list.clone())]
        }
        Some(Value::Array(list)) => list.clone(),
        Some(text) => vec![text.clone()],
    };
    if inputs.is_empty() {
        return Err(Problem::invalid("input", "'$.input' is invalid: it must not be empty."));
    }
    let mut used = Usage::default();
    let mut data = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let mut reading = Reading::default();
        let extra = match input {
            Value::String(text) => {
                reading.text(text);
                0
            }
            Value::Array(tokens) => {
                reading.text(&input.to_string());
                tokens.len() as u64
            }
            other => return Err(Problem::wrong_type(Dialect::OpenAi, "input", "a string", other)),
        };
        let prompt = scene.prompt(reading);
        used.prompt += if extra > 0 { extra } else { prompt.tokens };
        let vector = embedding::vector(prompt.salt, size);
        let embedding = if base64 { embedding::base64(&vector).into() } else { json!(vector) };
        data.push(json!({ "object": "embedding", "index": index, "embedding": embedding }));
    }
    let body = json!({
        "object": "list", "data": data, "model": model,
        "usage": { "prompt_tokens": used.prompt, "total_tokens": used.prompt },
    });
    Ok(Whole::json(body.to_string()).usage(used).into())
}

/// Answers `POST /v1/moderations`: a text that says `flag` is flagged.
pub(in crate::mock) fn moderations(
    scene: &Scene<'_>,
    object: Object<'_>,
) -> Result<Reply, Problem> {
    let inputs = match object.value("input") {
        None => return Err(Problem::missing(Dialect::OpenAi, "input")),
        Some(Value::Array(list)) => list.clone(),
        Some(text) => vec![text.clone()],
    };
    let names = ["harassment", "hate", "illicit", "self-harm", "sexual", "violence"];
    let results: Vec<Value> = inputs
        .iter()
        .map(|input| {
            let flagged = input.to_string().contains("flag");
            let of = |name: &&str| flagged && *name == "violence";
            let categories: serde_json::Map<String, Value> =
                names.iter().map(|name| ((*name).to_owned(), of(name).into())).collect();
            let scores: serde_json::Map<String, Value> = names
                .iter()
                .map(|name| ((*name).to_owned(), json!(if of(name) { 0.98 } else { 0.001 })))
                .collect();
            json!({ "flagged": flagged, "categories": categories, "category_scores": scores,
                "category_applied_input_types": {} })
        })
        .collect();
    let model = object.string("model")?.unwrap_or("omni-moderation-latest");
    let body =
        json!({ "id": format!("modr-{:016x}", scene.id), "model": model, "results": results });
    Ok(Whole::json(body.to_string()).into())
}

/// Answers `POST /v1/images/generations`.
pub(in crate::mock) fn images(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let prompt = object.need_string("prompt")?;
    let count = object.count("n")?.unwrap_or(1);
    image_list(scene, prompt, count, object.string("response_format")?)
}

/// Answers `POST /v1/images/edits` and `/v1/images/variations`.
pub(in crate::mock) fn image_forms(scene: &Scene<'_>, form: &[Part]) -> Result<Reply, Problem> {
    let field = |name: &str| form.iter().find(|part| part.name == name).map(Part::text);
    if !form.iter().any(|part| part.name.starts_with("image")) {
        return Err(Problem::missing(Dialect::OpenAi, "image"));
    }
    let count = field("n").and_then(|n| n.parse().ok()).unwrap_or(1);
    let prompt = field("prompt").unwrap_or_default();
    image_list(scene, &prompt, count, field("response_format").as_deref())
}

fn image_list(
    scene: &Scene<'_>,
    prompt: &str,
    count: u32,
    format: Option<&str>,
) -> Result<Reply, Problem> {
    if !(1..=10).contains(&count) {
        return Err(Problem::invalid(
            "n",
            format!("Invalid 'n': {count} is not between 1 and 10."),
        ));
    }
    let mut reading = Reading::default();
    reading.text(prompt);
    let tokens = scene.prompt(reading).tokens;
    let used = Usage { prompt: tokens, completion: 272 * u64::from(count), ..Usage::default() };
    let image = |index: u32| match format {
        Some("url") => {
            json!({ "url": format!("http://images.invalid/{:016x}/{index}.png", scene.id) })
        }
        _ => json!({ "b64_json": PIXEL }),
    };
    let mut body = json!({
        "created": scene.created, "data": (0..count).map(image).collect::<Vec<_>>(),
        "size": "1024x1024", "quality": "low", "output_format": "png", "background": "opaque",
    });
    if !scene.no_usage() {
        body["usage"] = json!({
            "input_tokens": used.prompt, "output_tokens": used.completion,
            "total_tokens": used.total(),
            "input_tokens_details": { "text_tokens": used.prompt, "image_tokens": 0 },
        });
    }
    Ok(Whole::json(body.to_string()).usage(used).into())
}

/// Answers `GET /v1/models` and `GET /v1/models/{id}`.
pub(in crate::mock) fn models(scene: &Scene<'_>) -> Result<Reply, Problem> {
    let model = |name: &str| json!({ "id": name, "object": "model", "created": 1_767_225_600, "owned_by": "sim" });
    let names = scene.settings.model_names();
    let tail = scene.route.tail.as_str();
    let body = if tail.is_empty() {
        json!({ "object": "list", "data": names.iter().map(|name| model(name)).collect::<Vec<_>>() })
    } else if names.contains(&tail) {
        model(tail)
    } else {
        return Err(Problem {
            message: format!("The model '{tail}' does not exist"),
            param: Some("model".into()),
            ..Problem::status(404)
        });
    };
    Ok(Whole::json(body.to_string()).into())
}

/// Bytes that stand for media: the same for the same number.
pub(super) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut rng = crate::mock::words::Rng::new(seed);
    (0..bytes.div_ceil(8)).flat_map(|_| rng.bits().to_le_bytes()).take(bytes).collect()
}

/// The same in base64.
pub(super) fn noise_base64(seed: u64, bytes: usize) -> String {
    BASE64.encode(noise(seed, bytes))
}
