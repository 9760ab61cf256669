//! `/v1/files` and `/v1/batches`: kept in memory; a batch is done as soon as it is looked at.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::mock::json::Object;
use crate::mock::multipart::Part;
use crate::mock::problem::Problem;
use crate::mock::reply::{Reply, Whole};
use crate::mock::route::Dialect;
use crate::mock::scene::Scene;
use crate::mock::store::Stored;

const FILE: &str = "file";
const BATCH: &str = "batch";

fn describe_file(scene: &Scene<'_>, number: u64, bytes: usize, name: &str, purpose: &str) -> Value {
    json!({
        "id": format!("file-{number:016x}"), "object": "file", "bytes": bytes,
        "created_at": scene.created, "filename": name, "purpose": purpose, "status": "processed",
    })
}

/// Answers `POST /v1/files`.
pub(in crate::mock) fn upload(scene: &Scene<'_>, form: &[Part]) -> Result<Reply, Problem> {
    let field = |name: &str| form.iter().find(|part| part.name == name);
    let file = field("file").ok_or_else(|| Problem::missing(Dialect::OpenAi, "file"))?;
    let purpose = field("purpose").ok_or_else(|| Problem::missing(Dialect::OpenAi, "purpose"))?;
    let name = file.filename.as_deref().unwrap_or("file");
    let description = describe_file(scene, scene.id, file.content.len(), name, &purpose.text());
    let body = description.to_string();
    scene.world.store.put(FILE, scene.id, Stored { description, content: file.content.clone() });
    Ok(Whole::json(body).into())
}

fn number(id: &str) -> u64 {
    id.rsplit(['-', '_']).next().and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

fn find(scene: &Scene<'_>, kind: &'static str, id: &str) -> Result<Stored, Problem> {
    scene.world.store.get(kind, number(id)).ok_or_else(|| Problem {
        message: format!("No such {kind} object: {id}"),
        param: Some("id".into()),
        ..Problem::status(404)
    })
}

fn list(scene: &Scene<'_>, kind: &'static str) -> Reply {
    let data: Vec<Value> =
        scene.world.store.list(kind).into_iter().map(|stored| stored.description).collect();
    let id = |value: Option<&Value>| value.map(|value| value["id"].clone());
    let body = json!({
        "object": "list", "first_id": id(data.first()), "last_id": id(data.last()),
        "data": data, "has_more": false,
    });
    Whole::json(body.to_string()).into()
}

/// Answers everything about files but their upload.
pub(in crate::mock) fn files(scene: &Scene<'_>) -> Result<Reply, Problem> {
    let (id, rest) = scene.route.tail.split_once('/').unwrap_or((&scene.route.tail, ""));
    if id.is_empty() {
        return Ok(list(scene, FILE));
    }
    let stored = find(scene, FILE, id)?;
    if scene.request.method == Method::DELETE {
        scene.world.store.remove(FILE, number(id));
        let body = json!({ "id": id, "object": "file", "deleted": true });
        return Ok(Whole::json(body.to_string()).into());
    }
    if rest == "content" {
        let content = stored.content.to_vec();
        return Ok(
            Whole { content_type: "application/octet-stream", ..Whole::json(content) }.into()
        );
    }
    Ok(Whole::json(stored.description.to_string()).into())
}

/// Answers `POST /v1/batches`.
pub(in crate::mock) fn create(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let input = object.need_string("input_file_id")?;
    let endpoint = object.need_string("endpoint")?;
    let window = object.need_string("completion_window")?;
    let file = find(scene, FILE, input)?;
    let description = json!({
        "id": format!("batch_{:016x}", scene.id), "object": "batch", "endpoint": endpoint,
        "input_file_id": input, "completion_window": window, "status": "validating",
        "created_at": scene.created, "errors": null, "output_file_id": null,
        "request_counts": { "total": 0, "completed": 0, "failed": 0 }, "metadata": null,
    });
    let body = description.to_string();
    scene.world.store.put(BATCH, scene.id, Stored { description, content: file.content });
    Ok(Whole::json(body).into())
}

/// Answers everything about batches but their creation.
pub(in crate::mock) fn batches(scene: &Scene<'_>) -> Result<Reply, Problem> {
    let (id, rest) = scene.route.tail.split_once('/').unwrap_or((&scene.route.tail, ""));
    if id.is_empty() {
        return Ok(list(scene, BATCH));
    }
    let mut stored = find(scene, BATCH, id)?;
    if rest == "cancel" {
        stored.description["status"] = "cancelled".into();
    } else if stored.description["status"] == "validating" {
        complete(scene, &mut stored);
    }
    let body = stored.description.to_string();
    scene.world.store.put(BATCH, number(id), stored);
    Ok(Whole::json(body).into())
}

/// Answers every line of a batch with the same short completion.
fn complete(scene: &Scene<'_>, stored: &mut Stored) {
    let lines: Vec<String> = stored
        .content
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .map(|line| {
            json!({
                "id": format!("batch_req_{:016x}", scene.id), "custom_id": line["custom_id"], "error": null,
                "response": { "status_code": 200, "request_id": scene.request_id, "body": {
                    "object": "chat.completion", "model": line["body"]["model"],
                    "choices": [{ "index": 0, "finish_reason": "stop",
                        "message": { "role": "assistant", "content": "The river flows." } }],
                    "usage": { "prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8 },
                }},
            })
            .to_string()
        })
        .collect();
    let total = lines.len();
    let output = Bytes::from(lines.join("\n") + "\n");
    let description =
        describe_file(scene, scene.id, output.len(), "batch_output.jsonl", "batch_output");
    stored.description["output_file_id"] = description["id"].clone();
    stored.description["status"] = "completed".into();
    stored.description["request_counts"] =
        json!({ "total": total, "completed": total, "failed": 0 });
    scene.world.store.put(FILE, scene.id, Stored { description, content: output });
}
