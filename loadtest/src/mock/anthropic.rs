//! Anthropic Messages: messages, `count_tokens`, models.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::json::{Object, quoted};
use super::problem::Problem;
use super::prompt::Reading;
use super::reply::{Encode, Frames, Reply, Whole};
use super::route::Dialect;
use super::scene::Scene;
use super::script::{Ask, Call, Finish, Script, Step, Usage, document};

/// The signature of simulated thinking: opaque to clients, which send it back.
const SIGNATURE: &str = "c2ltdWxhdGVkLXRoaW5raW5nLXNpZ25hdHVyZQ==";

/// Answers `POST /v1/messages`.
pub(super) fn messages(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let (reading, answered) = prompt(object)?;
    let max_tokens = object.count("max_tokens")?;
    let mut ask = Ask {
        model: object.need_string("model")?.to_owned(),
        stream: object.boolean("stream")?.unwrap_or(false),
        choices: 1,
        max_tokens: Some(
            max_tokens.ok_or_else(|| Problem::missing(Dialect::Anthropic, "max_tokens"))?,
        ),
        reasoning: match object.object("thinking")? {
            Some(thinking) => matches!(thinking.need_string("type")?, "enabled" | "adaptive"),
            None => false,
        },
        ..Ask::default()
    };
    if max_tokens == Some(0) {
        return Err(Problem::invalid(
            "max_tokens",
            "max_tokens: must be greater than or equal to 1",
        ));
    }
    if let Some(config) = object.object("output_config")?
        && let Some(format) = config.object("format")?
    {
        ask.document = Some(document(format.value("schema")));
    }
    ask.prompt = scene.prompt(reading);
    ask.calls = calls(object, if answered { 0 } else { scene.tool_calls() })?;
    if ask.stream {
        let events = Events::new(scene, &ask);
        return Ok(scene.stream(&ask, "text/event-stream; charset=utf-8", events));
    }
    let script = scene.script(&ask);
    Ok(whole(scene, &ask, script).into())
}

/// Answers `POST /v1/messages/count_tokens`.
pub(super) fn count_tokens(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    object.need_string("model")?;
    let (reading, _) = prompt(object)?;
    let tokens = scene.prompt(reading).tokens;
    Ok(Whole::json(json!({ "input_tokens": tokens }).to_string()).into())
}

/// Answers `GET /v1/models` and `GET /v1/models/{id}`.
pub(super) fn models(scene: &Scene<'_>) -> Result<Reply, Problem> {
    let model = |name: &str| json!({ "type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z" });
    let names = scene.settings.model_names();
    let body = if scene.route.tail.is_empty() {
        json!({
            "data": names.iter().map(|name| model(name)).collect::<Vec<_>>(),
            "has_more": false, "first_id": names.first(), "last_id": names.last(),
        })
    } else if names.contains(&scene.route.tail.as_str()) {
        model(&scene.route.tail)
    } else {
        return Err(Problem {
            message: format!("model: {}", scene.route.tail),
            ..Problem::status(404)
        });
    };
    Ok(Whole::json(body.to_string()).into())
}

/// Reads the prompt; whether a tool result stands at its end.
fn prompt(object: Object<'_>) -> Result<(Reading, bool), Problem> {
    let mut reading = Reading::default();
    match object.value("system") {
        None => {}
        Some(Value::String(text)) => reading.text(text),
        Some(Value::Array(_)) => {
            for block in object.objects("system")? {
                content_block(&mut reading, block, "system")?;
            }
        }
        Some(other) => {
            return Err(Problem::wrong_type(object.dialect, "system", "a string", other));
        }
    }
    let messages = object.need_objects("messages")?;
    if messages.is_empty() {
        return Err(Problem::invalid("messages", "messages: at least one message is required"));
    }
    let mut answered = false;
    for (index, message) in messages.into_iter().enumerate() {
        reading.message();
        match message.string("role")? {
            Some("user" | "assistant" | "system") => {}
            Some(_) => {
                let param = format!("messages.{index}.role");
                let text = format!("{param}: Input should be 'user' or 'assistant'");
                return Err(Problem::invalid(&param, text));
            }
            None => {
                return Err(Problem::missing(object.dialect, &format!("messages.{index}.role")));
            }
        }
        answered = false;
        match message.value("content") {
            Some(Value::String(text)) => reading.text(text),
            Some(Value::Array(_)) => {
                for block in message.objects("content")? {
                    answered |= block.string("type")? == Some("tool_result");
                    content_block(&mut reading, block, &format!("messages.{index}.content"))?;
                }
            }
            Some(other) => {
                let param = format!("messages.{index}.content");
                return Err(Problem::wrong_type(object.dialect, &param, "a string", other));
            }
            None => {
                return Err(Problem::missing(object.dialect, &format!("messages.{index}.content")));
            }
        }
    }
    Ok((reading, answered))
}

fn content_block(reading: &mut Reading, block: Object<'_>, param: &str) -> Result<(), Problem> {
    match block.string("type")? {
        Some("text") => reading.text(block.need_string("text")?),
        Some("image" | "document") => {
            let source = block.object("source")?;
            source.ok_or_else(|| Problem::missing(block.dialect, &format!("{param}.source")))?;
            reading.image();
        }
        Some("thinking") => reading.text(block.string("thinking")?.unwrap_or_default()),
        Some("tool_use") => {
            reading.text(&block.value("input").map(Value::to_string).unwrap_or_default());
        }
        Some("tool_result") => {
            reading.text(&block.value("content").map(Value::to_string).unwrap_or_default());
        }
        Some(_) => reading.message(),
        None => return Err(Problem::missing(block.dialect, &format!("{param}.type"))),
    }
    if block.value("cache_control").is_some() {
        reading.mark();
    }
    Ok(())
}

fn calls(object: Object<'_>, count: usize) -> Result<Vec<Call>, Problem> {
    let choice = object.object("tool_choice")?;
    let kind = choice.map(|choice| choice.need_string("type")).transpose()?;
    let chosen = choice.map(|choice| choice.string("name")).transpose()?.flatten();
    let mut calls = Vec::new();
    for tool in object.objects("tools")? {
        let name = tool.need_string("name")?;
        let Some(schema) = tool.value("input_schema") else { continue };
        if chosen.is_none_or(|chosen| chosen == name) {
            calls.push(Call::of(name, Some(schema)));
        }
    }
    calls.truncate(if kind == Some("none") { 0 } else { count });
    Ok(calls)
}

fn stop_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::StopSequence => "stop_sequence",
        Finish::Refused => "refusal",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
    }
}

/// The text at which an answer ended, as JSON.
fn stop_sequence(finish: Finish) -> &'static str {
    if finish == Finish::StopSequence { "\"END\"" } else { "null" }
}

/// The input side of `usage`: what was not cached, what was written, what was read.
fn usage_members(used: &Usage, output: u64) -> String {
    format!(
        "\"input_tokens\":{},\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{},\
         \"cache_creation\":{{\"ephemeral_5m_input_tokens\":{},\"ephemeral_1h_input_tokens\":0}},\
         \"output_tokens\":{output},\"service_tier\":\"standard\"",
        used.prompt - used.cached - used.cache_written,
        used.cache_written,
        used.cached,
        used.cache_written,
    )
}

fn tool_id(id: u64, index: u32) -> String {
    format!("toolu_{:016x}{index:02x}", id.rotate_left(13))
}

fn whole(scene: &Scene<'_>, ask: &Ask, script: Script) -> Whole {
    let (used, finish) = (script.usage(), script.finish());
    let choice = script.collect().swap_remove(0);
    let mut blocks = Vec::new();
    if !choice.reasoning.is_empty() {
        blocks.push(format!(
            "{{\"type\":\"thinking\",\"thinking\":\"{}\",\"signature\":\"{SIGNATURE}\"}}",
            choice.reasoning
        ));
    }
    if !choice.text.is_empty() {
        blocks.push(format!("{{\"type\":\"text\",\"text\":\"{}\"}}", choice.text));
    }
    for (index, call) in choice.calls.iter().enumerate() {
        blocks.push(format!(
            "{{\"type\":\"tool_use\",\"id\":\"{}\",\"name\":{},\"input\":{}}}",
            tool_id(scene.id, index as u32),
            quoted(&call.name),
            call.document()
        ));
    }
    let mut body = format!(
        "{{\"id\":\"msg_{:016x}\",\"type\":\"message\",\"role\":\"assistant\",\"model\":{},\"content\":[{}],\
         \"stop_reason\":\"{}\",\"stop_sequence\":{}",
        scene.id,
        quoted(&ask.model),
        blocks.join(","),
        stop_reason(finish),
        stop_sequence(finish)
    );
    if !scene.no_usage() {
        let _ = write!(body, ",\"usage\":{{{}}}", usage_members(&used, used.completion));
    }
    body.push('}');
    Whole::json(body).usage(used)
}

/// What kind of content block is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    Tool(u32),
}

/// Encoder of the message events.
struct Events {
    start: String,
    id: u64,
    open: Option<Block>,
    /// The number of the open block.
    index: u64,
    /// Blocks opened so far.
    blocks: u64,
    no_usage: bool,
}

impl Events {
    fn new(scene: &Scene<'_>, ask: &Ask) -> Self {
        let used = Usage {
            prompt: ask.prompt.tokens,
            cached: ask.prompt.cached,
            cache_written: ask.prompt.cache_written,
            ..Usage::default()
        };
        let usage = if scene.no_usage() {
            "\"input_tokens\":0,\"output_tokens\":0".to_owned()
        } else {
            usage_members(&used, 1)
        };
        let start = format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"msg_{:016x}\",\"type\":\"message\",\
             \"role\":\"assistant\",\"model\":{},\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{{{usage}}}}}}}\n\n",
            scene.id,
            quoted(&ask.model),
        );
        Self { start, id: scene.id, open: None, index: 0, blocks: 0, no_usage: scene.no_usage() }
    }

    /// Makes sure that this kind of block is open.
    fn enter(&mut self, block: Block, name: &str, frames: &mut Frames) {
        if self.open == Some(block) {
            return;
        }
        self.leave(frames);
        self.index = self.blocks;
        self.blocks += 1;
        self.open = Some(block);
        let content = match block {
            Block::Thinking => {
                "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}".into()
            }
            Block::Text => "{\"type\":\"text\",\"text\":\"\"}".into(),
            Block::Tool(index) => format!(
                "{{\"type\":\"tool_use\",\"id\":\"{}\",\"name\":{},\"input\":{{}}}}",
                tool_id(self.id, index),
                quoted(name)
            ),
        };
        frames.frame(&format!(
            "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":{},\"content_block\":{content}}}\n\n",
            self.index
        ));
        if self.index == 0 {
            frames.frame("event: ping\ndata: {\"type\": \"ping\"}\n\n");
        }
    }

    fn leave(&mut self, frames: &mut Frames) {
        match self.open.take() {
            None => return,
            Some(Block::Thinking) => self.delta("signature_delta", "signature", SIGNATURE, frames),
            Some(_) => {}
        }
        frames.put("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
        frames.number(self.index);
        frames.frame("}\n\n");
    }

    fn delta(&self, kind: &str, member: &str, text: &str, frames: &mut Frames) {
        frames
            .put("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
        frames.number(self.index);
        frames.put(",\"delta\":{\"type\":\"");
        frames.put(kind);
        frames.put("\",\"");
        frames.put(member);
        frames.put("\":\"");
        frames.put(text);
        frames.frame("\"}}\n\n");
    }
}

impl Encode for Events {
    fn open(&mut self, frames: &mut Frames) {
        frames.frame(&self.start);
    }

    fn step(&mut self, _: u32, step: Step<'_>, frames: &mut Frames) {
        match step {
            Step::Reasoning(text) => {
                self.enter(Block::Thinking, "", frames);
                self.delta("thinking_delta", "thinking", text, frames);
            }
            Step::Text(text) => {
                self.enter(Block::Text, "", frames);
                self.delta("text_delta", "text", text, frames);
            }
            Step::Call { index, name } => {
                self.enter(Block::Tool(index), name, frames);
                self.delta("input_json_delta", "partial_json", "", frames);
            }
            Step::Arguments { piece, .. } => {
                self.delta("input_json_delta", "partial_json", piece, frames);
            }
        }
    }

    fn close(&mut self, finish: Finish, used: &Usage, frames: &mut Frames) {
        self.leave(frames);
        let usage = if self.no_usage {
            "\"output_tokens\":0".to_owned()
        } else {
            usage_members(used, used.completion)
        };
        frames.frame(&format!(
            "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{}\",\"stop_sequence\":{}}},\"usage\":{{{usage}}}}}\n\n",
            stop_reason(finish),
            stop_sequence(finish)
        ));
        frames.frame("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    fn error(&mut self, problem: &Problem, frames: &mut Frames) {
        frames.put("event: error\ndata: ");
        let body = problem.body(Dialect::Anthropic, "req_sim");
        frames.bytes.extend_from_slice(&body);
        frames.frame("\n\n");
    }
}
