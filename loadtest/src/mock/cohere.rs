//! Cohere v2: chat, embed, rerank.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::embedding;
use super::json::{Object, quoted};
use super::problem::Problem;
use super::prompt::Reading;
use super::reply::{Encode, Frames, Reply, Whole};
use super::route::Dialect;
use super::scene::Scene;
use super::script::{Ask, Call, Finish, Script, Step, Usage, document};

/// Answers `POST /v2/chat`.
pub(super) fn chat(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let mut reading = Reading::default();
    let mut answered = false;
    let messages = object.need_objects("messages")?;
    if messages.is_empty() {
        return Err(Problem::invalid("messages", "invalid request: messages must not be empty"));
    }
    for message in messages {
        reading.message();
        match message.need_string("role")? {
            "user" => answered = false,
            "tool" => answered = true,
            "system" | "assistant" => {}
            role => {
                let text = format!("invalid request: unknown role {role}");
                return Err(Problem::invalid("role", text));
            }
        }
        content(&mut reading, message)?;
    }
    let format = object.object("response_format")?;
    let is_json = |format: Object<'_>| format.value("type") == Some(&json!("json_object"));
    let ask = Ask {
        model: object.need_string("model")?.to_owned(),
        stream: object.boolean("stream")?.unwrap_or(false),
        choices: 1,
        max_tokens: object.count("max_tokens")?,
        reasoning: match object.object("thinking")? {
            Some(thinking) => thinking.need_string("type")? == "enabled",
            None => false,
        },
        calls: calls(object, if answered { 0 } else { scene.tool_calls() })?,
        prompt: scene.prompt(reading),
        document: format
            .filter(|format| is_json(*format))
            .map(|format| document(format.value("json_schema").or_else(|| format.value("schema")))),
    };
    if ask.stream {
        let events = Events { id: scene.id, no_usage: scene.no_usage(), ..Events::default() };
        return Ok(scene.stream(&ask, "text/event-stream", events));
    }
    let script = scene.script(&ask);
    Ok(whole(scene, script).into())
}

fn content(reading: &mut Reading, message: Object<'_>) -> Result<(), Problem> {
    match message.value("content") {
        Some(Value::String(text)) => reading.text(text),
        Some(Value::Array(_)) => {
            for part in message.objects("content")? {
                match part.need_string("type")? {
                    "image_url" => reading.image(),
                    _ => reading.text(part.string("text")?.unwrap_or_default()),
                }
            }
        }
        Some(other) => {
            return Err(Problem::wrong_type(Dialect::Cohere, "content", "a string", other));
        }
        None => {}
    }
    Ok(())
}

fn calls(object: Object<'_>, count: usize) -> Result<Vec<Call>, Problem> {
    let mut calls = Vec::new();
    for tool in object.objects("tools")? {
        if let Some(function) = tool.object("function")? {
            calls.push(Call::of(function.need_string("name")?, function.value("parameters")));
        }
    }
    let none = object.string("tool_choice")? == Some("NONE");
    calls.truncate(if none { 0 } else { count });
    Ok(calls)
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Refused => "COMPLETE",
        Finish::StopSequence => "STOP_SEQUENCE",
        Finish::Length => "MAX_TOKENS",
        Finish::ToolCalls => "TOOL_CALL",
    }
}

fn call_id(id: u64, index: u32, name: &str) -> String {
    quoted(&format!("{name}_{:012x}{index:02x}", id >> 16))
}

fn usage(used: &Usage) -> String {
    format!(
        "{{\"billed_units\":{{\"input_tokens\":{0},\"output_tokens\":{1}}},\
         \"tokens\":{{\"input_tokens\":{0},\"output_tokens\":{1}}},\"cached_tokens\":{2}}}",
        used.prompt, used.completion, used.cached
    )
}

fn whole(scene: &Scene<'_>, script: Script) -> Whole {
    let (used, finish) = (script.usage(), finish_reason(script.finish()));
    let choice = script.collect().swap_remove(0);
    let mut blocks = Vec::new();
    if !choice.reasoning.is_empty() {
        blocks.push(format!("{{\"type\":\"thinking\",\"thinking\":\"{}\"}}", choice.reasoning));
    }
    if !choice.text.is_empty() {
        blocks.push(format!("{{\"type\":\"text\",\"text\":\"{}\"}}", choice.text));
    }
    let calls: Vec<String> = choice
        .calls
        .iter()
        .enumerate()
        .map(|(index, call)| {
            format!(
                "{{\"id\":{},\"type\":\"function\",\"function\":{{\"name\":{},\"arguments\":\"{}\"}}}}",
                call_id(scene.id, index as u32, &call.name),
                quoted(&call.name),
                call.arguments
            )
        })
        .collect();
    let mut body = format!(
        "{{\"id\":\"{:016x}\",\"finish_reason\":\"{finish}\",\"message\":{{\"role\":\"assistant\"",
        scene.id
    );
    if !blocks.is_empty() {
        let _ = write!(body, ",\"content\":[{}]", blocks.join(","));
    }
    if !calls.is_empty() {
        let _ =
            write!(body, ",\"tool_plan\":\"I will look.\",\"tool_calls\":[{}]", calls.join(","));
    }
    body.push('}');
    if !scene.no_usage() {
        let _ = write!(body, ",\"usage\":{}", usage(&used));
    }
    body.push('}');
    Whole::json(body).usage(used)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    Tool,
}

/// Encoder of the chat events.
#[derive(Default)]
struct Events {
    id: u64,
    no_usage: bool,
    open: Option<Block>,
    index: u64,
    /// Content blocks so far; tool calls count for themselves.
    blocks: u64,
}

impl Events {
    fn event(&self, name: &str, delta: &[&str], frames: &mut Frames) {
        frames.put("event: ");
        frames.put(name);
        frames.put("\ndata: {\"type\":\"");
        frames.put(name);
        frames.put("\",\"index\":");
        frames.number(self.index);
        if !delta.is_empty() {
            frames.put(",\"delta\":{\"message\":");
            for text in delta {
                frames.put(text);
            }
            frames.put("}");
        }
        frames.frame("}\n\n");
    }

    fn leave(&mut self, frames: &mut Frames) {
        match self.open.take() {
            None => {}
            Some(Block::Tool) => self.event("tool-call-end", &[], frames),
            Some(_) => self.event("content-end", &[], frames),
        }
    }

    fn enter(&mut self, block: Block, frames: &mut Frames) {
        if self.open == Some(block) {
            return;
        }
        self.leave(frames);
        self.open = Some(block);
        self.index = self.blocks;
        self.blocks += 1;
        let content = match block {
            Block::Thinking => "{\"content\":{\"type\":\"thinking\",\"thinking\":\"\"}}",
            _ => "{\"content\":{\"type\":\"text\",\"text\":\"\"}}",
        };
        self.event("content-start", &[content], frames);
    }

    fn end(&self, finish: &str, error: Option<&str>, used: Option<&Usage>, frames: &mut Frames) {
        frames.put(
            "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"",
        );
        frames.put(finish);
        frames.put("\"");
        if let Some(error) = error {
            frames.put(",\"error\":");
            frames.put(&quoted(error));
        }
        if let Some(used) = used.filter(|_| !self.no_usage) {
            frames.put(",\"usage\":");
            frames.put(&usage(used));
        }
        frames.frame("}}\n\n");
    }
}

impl Encode for Events {
    fn open(&mut self, frames: &mut Frames) {
        frames.frame(&format!(
            "event: message-start\ndata: {{\"id\":\"{:016x}\",\"type\":\"message-start\",\"delta\":{{\"message\":{{\"role\":\"assistant\",\
             \"content\":[],\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}}}}}\n\n",
            self.id
        ));
    }

    fn step(&mut self, _: u32, step: Step<'_>, frames: &mut Frames) {
        match step {
            Step::Reasoning(text) => {
                self.enter(Block::Thinking, frames);
                self.event(
                    "content-delta",
                    &["{\"content\":{\"thinking\":\"", text, "\"}}"],
                    frames,
                );
            }
            Step::Text(text) => {
                self.enter(Block::Text, frames);
                self.event("content-delta", &["{\"content\":{\"text\":\"", text, "\"}}"], frames);
            }
            Step::Call { index, name } => {
                self.leave(frames);
                self.open = Some(Block::Tool);
                self.index = u64::from(index);
                let (id, name) = (call_id(self.id, index, name), quoted(name));
                let delta = [
                    "{\"tool_calls\":{\"id\":",
                    &id,
                    ",\"type\":\"function\",\"function\":{\"name\":",
                    &name,
                    ",\"arguments\":\"\"}}}",
                ];
                self.event("tool-call-start", &delta, frames);
            }
            Step::Arguments { piece, .. } => {
                let delta = ["{\"tool_calls\":{\"function\":{\"arguments\":\"", piece, "\"}}}"];
                self.event("tool-call-delta", &delta, frames);
            }
        }
    }

    fn close(&mut self, finish: Finish, used: &Usage, frames: &mut Frames) {
        self.leave(frames);
        self.end(finish_reason(finish), None, Some(used), frames);
        frames.frame("data: [DONE]\n\n");
    }

    fn error(&mut self, problem: &Problem, frames: &mut Frames) {
        self.end("ERROR", Some(&problem.message), None, frames);
    }
}

/// Answers `POST /v2/embed`.
pub(super) fn embed(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    object.need_string("model")?;
    embeddings(scene, object)
}

/// Embeds, wherever the model is named.
pub(super) fn embeddings(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    object.need_string("input_type")?;
    let size = object.count("output_dimension")?;
    let size = embedding::size(size).map_err(|why| Problem::invalid("output_dimension", why))?;
    let texts = object.array("texts")?.cloned().unwrap_or_default();
    let images =
        object.array("images")?.map_or(0, Vec::len) + object.array("inputs")?.map_or(0, Vec::len);
    if texts.is_empty() && images == 0 {
        return Err(Problem::missing(Dialect::Cohere, "texts"));
    }
    let mut used = Usage::default();
    let mut vectors = Vec::new();
    for text in &texts {
        let mut reading = Reading::default();
        reading.text(text.as_str().ok_or_else(|| {
            Problem::wrong_type(Dialect::Cohere, "texts", "an array of strings", text)
        })?);
        let prompt = scene.prompt(reading);
        used.prompt += prompt.tokens;
        vectors.push(embedding::vector(prompt.salt, size));
    }
    vectors.extend((0..images).map(|index| embedding::vector(index as u64, size)));
    let mut embeddings = serde_json::Map::new();
    let kinds = object.array("embedding_types")?.cloned();
    for kind in kinds.unwrap_or_else(|| vec!["float".into()]) {
        let kind = kind.as_str().unwrap_or("float").to_owned();
        let values: Vec<Value> = vectors
            .iter()
            .map(|vector| match kind.as_str() {
                "base64" => embedding::base64(vector).into(),
                "float" => json!(vector),
                // Quantised kinds: one signed byte a number.
                _ => json!(vector.iter().map(|value| (value * 127.0) as i8).collect::<Vec<_>>()),
            })
            .collect();
        embeddings.insert(kind, values.into());
    }
    let body = json!({
        "id": format!("{:016x}", scene.id), "response_type": "embeddings_by_type",
        "embeddings": embeddings, "texts": texts,
        "meta": { "api_version": { "version": "2" }, "billed_units": { "input_tokens": used.prompt } },
    });
    Ok(Whole::json(body.to_string()).usage(used).into())
}

/// Answers `POST /v2/rerank`.
pub(super) fn rerank(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let (ranked, _) = super::rerank::rank(object)?;
    let results: Vec<Value> = ranked
        .iter()
        .map(|(index, score, _)| json!({ "index": index, "relevance_score": score }))
        .collect();
    let body = json!({
        "id": format!("{:016x}", scene.id), "results": results,
        "meta": { "api_version": { "version": "2" }, "billed_units": { "search_units": 1 } },
    });
    Ok(Whole::json(body.to_string()).into())
}
