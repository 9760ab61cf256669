//! Amazon Bedrock: Converse, `ConverseStream`, and `InvokeModel` for embeddings.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::embedding;
use super::eventstream;
use super::json::{Object, quoted};
use super::problem::Problem;
use super::prompt::Reading;
use super::reply::{Encode, Frames, Reply, Whole};
use super::scene::Scene;
use super::script::{Ask, Call, Finish, Script, Step, Usage, document};

const SIGNATURE: &str = "c2ltdWxhdGVkLXJlYXNvbmluZw==";

/// Answers `invoke`, for models of embeddings: Amazon's take one text, Cohere's what Cohere's own API
/// takes.
pub(super) fn invoke(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    if scene.route.model.as_deref().is_some_and(|model| model.contains("cohere.")) {
        return super::cohere::embeddings(scene, object);
    }
    let mut reading = Reading::default();
    reading.text(object.need_string("inputText")?);
    let size = object.count("dimensions")?;
    let size = embedding::size(size).map_err(|why| Problem::invalid("dimensions", why))?;
    let prompt = scene.prompt(reading);
    let vector = embedding::vector(prompt.salt, size);
    let body = json!({
        "embedding": vector, "embeddingsByType": { "float": vector },
        "inputTextTokenCount": prompt.tokens,
    });
    let usage = Usage { prompt: prompt.tokens, ..Usage::default() };
    Ok(Whole::json(body.to_string()).usage(usage).into())
}

/// Answers `converse` and `converse-stream`.
pub(super) fn converse(
    scene: &Scene<'_>,
    object: Object<'_>,
    stream: bool,
) -> Result<Reply, Problem> {
    let mut reading = Reading::default();
    for block in object.objects("system")? {
        content_block(&mut reading, block)?;
    }
    let mut answered = false;
    let messages = object.need_objects("messages")?;
    if messages.is_empty() {
        return Err(Problem::invalid("messages", "A conversation must start with a user message."));
    }
    for message in messages {
        reading.message();
        if !matches!(message.need_string("role")?, "user" | "assistant") {
            return Err(Problem::invalid(
                "role",
                "Value at 'role' failed to satisfy constraint: Member must satisfy enum value set: [user, assistant]",
            ));
        }
        message.need_array("content")?;
        answered = false;
        for block in message.objects("content")? {
            answered |= block.value("toolResult").is_some();
            content_block(&mut reading, block)?;
        }
    }
    let limits = object.object("inferenceConfig")?;
    let extra = object.object("additionalModelRequestFields")?;
    let reasoning = |extra: Object<'_>| {
        ["thinking", "reasoning_config", "reasoningConfig"]
            .into_iter()
            .filter_map(|name| extra.value(name))
            .any(|value| matches!(value["type"].as_str(), Some("enabled" | "adaptive")))
    };
    let ask = Ask {
        model: scene.route.model.clone().unwrap_or_default(),
        stream,
        choices: 1,
        max_tokens: limits.map(|limits| limits.count("maxTokens")).transpose()?.flatten(),
        reasoning: extra.is_some_and(reasoning),
        calls: calls(object, if answered { 0 } else { scene.tool_calls() })?,
        prompt: scene.prompt(reading),
        document: schema(object)?.map(|schema| document(Some(&schema))),
    };
    if stream {
        let encoder = Messages { id: scene.id, no_usage: scene.no_usage(), ..Messages::default() };
        return Ok(scene.stream(&ask, "application/vnd.amazon.eventstream", encoder));
    }
    let script = scene.script(&ask);
    Ok(whole(scene, script).into())
}

/// The schema of the answer, which is a document in a text.
fn schema(object: Object<'_>) -> Result<Option<Value>, Problem> {
    let Some(config) = object.object("outputConfig")? else { return Ok(None) };
    let schema = config.value("textFormat");
    let schema = schema.and_then(|format| format["structure"]["jsonSchema"]["schema"].as_str());
    let Some(schema) = schema else { return Ok(None) };
    serde_json::from_str(schema).map(Some).map_err(|error| {
        Problem::invalid("outputConfig", format!("The schema is not valid JSON: {error}"))
    })
}

fn content_block(reading: &mut Reading, block: Object<'_>) -> Result<(), Problem> {
    if let Some(text) = block.string("text")? {
        reading.text(text);
    } else if block.value("cachePoint").is_some() {
        reading.mark();
    } else if let Some(image) = block.object("image")? {
        image.need_string("format")?;
        if image.object("source")?.is_none() {
            return Err(Problem::missing(block.dialect, "source"));
        }
        reading.image();
    } else if let Some(value) = block.value("toolUse").or_else(|| block.value("toolResult")) {
        reading.text(&value.to_string());
    } else {
        reading.message();
    }
    Ok(())
}

fn calls(object: Object<'_>, count: usize) -> Result<Vec<Call>, Problem> {
    let Some(config) = object.object("toolConfig")? else { return Ok(Vec::new()) };
    let choice = config.value("toolChoice");
    let chosen = choice.and_then(|choice| choice["tool"]["name"].as_str());
    let mut calls = Vec::new();
    for tool in config.need_objects("tools")? {
        let Some(tool) = tool.object("toolSpec")? else { continue };
        let name = tool.need_string("name")?;
        let schema = tool.object("inputSchema")?.and_then(|schema| schema.value("json"));
        if chosen.is_none_or(|chosen| chosen == name) {
            calls.push(Call::of(name, schema));
        }
    }
    calls.truncate(count);
    Ok(calls)
}

fn stop_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::StopSequence => "stop_sequence",
        Finish::Refused => "content_filtered",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
    }
}

fn tool_id(id: u64, index: u32) -> String {
    format!("tooluse_{:016x}{index:02x}", id.rotate_left(17))
}

fn usage(used: &Usage) -> String {
    format!(
        "{{\"inputTokens\":{},\"outputTokens\":{},\"totalTokens\":{},\"cacheReadInputTokens\":{},\
         \"cacheWriteInputTokens\":{}}}",
        used.prompt - used.cached - used.cache_written,
        used.completion,
        used.total(),
        used.cached,
        used.cache_written
    )
}

fn whole(scene: &Scene<'_>, script: Script) -> Whole {
    let (used, finish) = (script.usage(), script.finish());
    let choice = script.collect().swap_remove(0);
    let mut blocks = Vec::new();
    if !choice.reasoning.is_empty() {
        blocks.push(format!(
            "{{\"reasoningContent\":{{\"reasoningText\":{{\"text\":\"{}\",\"signature\":\"{SIGNATURE}\"}}}}}}",
            choice.reasoning
        ));
    }
    if !choice.text.is_empty() {
        blocks.push(format!("{{\"text\":\"{}\"}}", choice.text));
    }
    for (index, call) in choice.calls.iter().enumerate() {
        blocks.push(format!(
            "{{\"toolUse\":{{\"toolUseId\":\"{}\",\"name\":{},\"input\":{}}}}}",
            tool_id(scene.id, index as u32),
            quoted(&call.name),
            call.document()
        ));
    }
    let mut body = format!(
        "{{\"output\":{{\"message\":{{\"role\":\"assistant\",\"content\":[{}]}}}},\"stopReason\":\"{}\"",
        blocks.join(","),
        stop_reason(finish)
    );
    if !scene.no_usage() {
        let _ = write!(body, ",\"usage\":{}", usage(&used));
    }
    body.push_str(",\"metrics\":{\"latencyMs\":1}}");
    Whole::json(body).usage(used)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Reasoning,
    Text,
    Tool(u32),
}

/// Encoder of the event stream.
#[derive(Default)]
struct Messages {
    id: u64,
    no_usage: bool,
    open: Option<Block>,
    blocks: u32,
    /// Reused for each payload.
    payload: String,
}

impl Messages {
    fn event(kind: &str, payload: &str, frames: &mut Frames) {
        let headers = [
            (":event-type", kind),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ];
        eventstream::message(&headers, payload.as_bytes(), &mut frames.bytes);
        frames.end();
    }

    fn enter(&mut self, block: Block, name: &str, frames: &mut Frames) {
        if self.open == Some(block) {
            return;
        }
        self.leave(frames);
        self.open = Some(block);
        // Only tools announce their block.
        if let Block::Tool(index) = block {
            let payload = format!(
                "{{\"contentBlockIndex\":{},\"start\":{{\"toolUse\":{{\"name\":{},\"toolUseId\":\"{}\"}}}}}}",
                self.blocks,
                quoted(name),
                tool_id(self.id, index)
            );
            Self::event("contentBlockStart", &payload, frames);
        }
    }

    fn leave(&mut self, frames: &mut Frames) {
        match self.open.take() {
            None => return,
            Some(Block::Reasoning) => {
                self.delta("{\"reasoningContent\":{\"signature\":\"", SIGNATURE, "\"}}", frames);
            }
            Some(_) => {}
        }
        let payload = format!("{{\"contentBlockIndex\":{}}}", self.blocks);
        Self::event("contentBlockStop", &payload, frames);
        self.blocks += 1;
    }

    fn delta(&mut self, before: &str, text: &str, after: &str, frames: &mut Frames) {
        self.payload.clear();
        let _ = write!(
            self.payload,
            "{{\"contentBlockIndex\":{},\"delta\":{before}{text}{after},\"p\":\"abcdefgh\"}}",
            self.blocks
        );
        Self::event("contentBlockDelta", &self.payload, frames);
    }
}

impl Encode for Messages {
    fn open(&mut self, frames: &mut Frames) {
        Self::event("messageStart", "{\"role\":\"assistant\"}", frames);
    }

    fn step(&mut self, _: u32, step: Step<'_>, frames: &mut Frames) {
        match step {
            Step::Reasoning(text) => {
                self.enter(Block::Reasoning, "", frames);
                self.delta("{\"reasoningContent\":{\"text\":\"", text, "\"}}", frames);
            }
            Step::Text(text) => {
                self.enter(Block::Text, "", frames);
                self.delta("{\"text\":\"", text, "\"}", frames);
            }
            Step::Call { index, name } => self.enter(Block::Tool(index), name, frames),
            Step::Arguments { piece, .. } => {
                self.delta("{\"toolUse\":{\"input\":\"", piece, "\"}}", frames);
            }
        }
    }

    fn close(&mut self, finish: Finish, used: &Usage, frames: &mut Frames) {
        self.leave(frames);
        let payload = json!({ "stopReason": stop_reason(finish) }).to_string();
        Self::event("messageStop", &payload, frames);
        if !self.no_usage {
            let payload = format!("{{\"metrics\":{{\"latencyMs\":1}},\"usage\":{}}}", usage(used));
            Self::event("metadata", &payload, frames);
        }
    }

    fn error(&mut self, problem: &Problem, frames: &mut Frames) {
        let name = problem.aws_type();
        let lower = name[..1].to_ascii_lowercase() + &name[1..];
        let headers = [
            (":exception-type", lower.as_str()),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ];
        let payload = Value::to_string(&json!({ "message": problem.message }));
        eventstream::message(&headers, payload.as_bytes(), &mut frames.bytes);
        frames.end();
    }

    fn seal(&self, frame: &mut Vec<u8>) {
        eventstream::seal(frame);
    }

    fn corrupt(&self, frame: &mut Vec<u8>) {
        if let Some(last) = frame.last_mut() {
            *last ^= 0xff;
        }
    }
}
