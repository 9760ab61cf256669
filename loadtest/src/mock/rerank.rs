//! Ranking documents by the words they share with a query.

use serde_json::{Value, json};

use super::json::Object;
use super::problem::Problem;
use super::prompt::Reading;
use super::reply::{Reply, Whole};
use super::scene::Scene;
use super::script::Usage;

/// Index, score and text.
type Ranked = Vec<(usize, f64, String)>;

/// Reads a request and ranks its documents, best first; also how many tokens it has.
pub(super) fn rank(object: Object<'_>) -> Result<(Ranked, u64), Problem> {
    object.need_string("model")?;
    let query = object.need_string("query")?.to_lowercase();
    let words: Vec<&str> = query.split_whitespace().collect();
    let mut reading = Reading::default();
    let mut ranked = Vec::new();
    for (index, document) in object.need_array("documents")?.iter().enumerate() {
        let text = match document {
            Value::String(text) => text.clone(),
            Value::Object(map) => {
                map.get("text").and_then(Value::as_str).unwrap_or_default().into()
            }
            other => {
                return Err(Problem::wrong_type(
                    object.dialect,
                    "documents",
                    "an array of strings",
                    other,
                ));
            }
        };
        reading.text(&query);
        reading.text(&text);
        let lower = text.to_lowercase();
        let hits = words.iter().filter(|word| lower.contains(**word)).count();
        let score = (hits as f64 + 0.5 / (index as f64 + 1.0)) / (words.len() as f64 + 1.0);
        ranked.push((index, score, text));
    }
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    if let Some(top) = object.count("top_n")? {
        ranked.truncate(top as usize);
    }
    let tokens = reading.finish(&super::prompt::Cache::default()).tokens;
    Ok((ranked, tokens))
}

/// Answers `POST /v1/rerank` in the shape that Jina, vLLM and others share.
pub(super) fn compatible(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let (ranked, tokens) = rank(object)?;
    let texts = object.boolean("return_documents")?.unwrap_or(true);
    let results: Vec<Value> = ranked
        .into_iter()
        .map(|(index, score, text)| {
            let mut result = json!({ "index": index, "relevance_score": score });
            if texts {
                result["document"] = json!({ "text": text });
            }
            result
        })
        .collect();
    let body = json!({
        "id": format!("rerank-{:016x}", scene.id), "model": object.need_string("model")?,
        "usage": { "total_tokens": tokens, "prompt_tokens": tokens }, "results": results,
    });
    let usage = Usage { prompt: tokens, ..Usage::default() };
    Ok(Whole::json(body.to_string()).usage(usage).into())
}
