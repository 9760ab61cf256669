//! `POST /v1/chat/completions` and `POST /v1/completions`.

use std::fmt::Write as _;

use serde_json::Value;

use super::parts;
use crate::mock::json::{Object, quoted};
use crate::mock::problem::Problem;
use crate::mock::prompt::Reading;
use crate::mock::reply::{Encode, Frames, Reply, Varying, Whole};
use crate::mock::scene::Scene;
use crate::mock::script::{Ask, Finish, Script, Step, Usage};

/// What only this format asks for.
#[derive(Clone, Copy)]
struct Options {
    include_usage: bool,
    refusal: bool,
}

/// Answers a chat completion.
pub(in crate::mock) fn chat(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let mut ask = common(object)?;
    let messages = object.need_objects("messages")?;
    if messages.is_empty() {
        return Err(Problem::invalid(
            "messages",
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        ));
    }
    let mut reading = Reading::default();
    let mut answered = false;
    for (index, message) in messages.iter().enumerate() {
        let param = format!("messages[{index}]");
        reading.message();
        match message.string("role")? {
            Some("user") => answered = false,
            Some("tool" | "function") => answered = true,
            Some("system" | "developer" | "assistant") => {}
            Some(other) => {
                let message = format!(
                    "Invalid value: '{other}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'."
                );
                return Err(Problem::invalid(&format!("{param}.role"), message));
            }
            None => return Err(Problem::missing(object.dialect, &format!("{param}.role"))),
        }
        parts::content(&mut reading, *message, &param)?;
    }
    ask.prompt = scene.prompt(reading);
    if answered {
        parts::calls(object, 0)?;
    } else {
        ask.calls = parts::calls(object, scene.tool_calls())?;
    }
    ask.reasoning = object.string("reasoning_effort")?.is_some_and(|effort| effort != "none");
    ask.document = parts::document(object.object("response_format")?)?;
    if let Some(limit) = object.count("max_completion_tokens")? {
        ask.max_tokens = Some(limit);
    }
    let options = options(scene, object)?;
    if ask.stream {
        return Ok(scene.stream(
            &ask,
            "text/event-stream; charset=utf-8",
            Chunks::chat(scene, &ask, options),
        ));
    }
    let script = scene.script(&ask);
    Ok(whole(scene, &ask, script, options.refusal).into())
}

fn common(object: Object<'_>) -> Result<Ask, Problem> {
    Ok(Ask {
        model: object.need_string("model")?.to_owned(),
        stream: object.boolean("stream")?.unwrap_or(false),
        choices: match object.count("n")? {
            Some(n) if !(1..=128).contains(&n) => {
                return Err(Problem::invalid(
                    "n",
                    format!("Invalid 'n': {n} is not between 1 and 128."),
                ));
            }
            n => n.unwrap_or(1),
        },
        max_tokens: object.count("max_tokens")?,
        ..Ask::default()
    })
}

fn options(scene: &Scene<'_>, object: Object<'_>) -> Result<Options, Problem> {
    let include_usage = match object.object("stream_options")? {
        Some(_) if object.boolean("stream")? != Some(true) => {
            return Err(Problem::invalid(
                "stream_options",
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            ));
        }
        Some(options) => options.boolean("include_usage")?.unwrap_or(false),
        None => false,
    };
    Ok(Options {
        include_usage: include_usage && !scene.no_usage(),
        refusal: scene.request.fields.knobs.refusal,
    })
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence | Finish::Refused => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
    }
}

fn call_id(id: u64, choice: u32, index: u32) -> String {
    format!("call_{:016x}{choice:02x}{index:02x}", id.rotate_left(11))
}

fn whole(scene: &Scene<'_>, ask: &Ask, script: Script, refusal: bool) -> Whole {
    let (used, finish) = (script.usage(), finish_reason(script.finish()));
    let mut body = "{\"id\":\"chatcmpl-".to_owned();
    let id = body.len();
    let _ = write!(body, "{:016x}\",\"object\":\"chat.completion\",\"created\":", scene.id);
    let created = body.len();
    let _ = write!(body, "{},\"model\":{},\"choices\":[", scene.created, quoted(&ask.model));
    // Calls have identifiers of their own, and a cache answers differently the second time.
    let alike = ask.calls.is_empty() && used.cached == 0 && used.cache_written == 0;
    let varying = alike.then_some(Varying { id, created });
    for (index, choice) in script.collect().iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(body, "{comma}{{\"index\":{index},\"message\":{{\"role\":\"assistant\",");
        let _ = match (refusal, choice.calls.is_empty()) {
            (true, _) => write!(body, "\"content\":null,\"refusal\":\"{}\"", choice.text),
            (_, true) => write!(body, "\"content\":\"{}\",\"refusal\":null", choice.text),
            (..) => write!(body, "\"content\":null,\"refusal\":null"),
        };
        if !choice.reasoning.is_empty() {
            let _ = write!(body, ",\"reasoning_content\":\"{}\"", choice.reasoning);
        }
        for (number, call) in choice.calls.iter().enumerate() {
            let open = if number == 0 { ",\"tool_calls\":[" } else { "," };
            let _ = write!(
                body,
                "{open}{{\"id\":\"{}\",\"type\":\"function\",\"function\":{{\"name\":{},\"arguments\":\"{}\"}}}}",
                call_id(scene.id, index as u32, number as u32),
                quoted(&call.name),
                call.arguments
            );
        }
        let close = if choice.calls.is_empty() { "" } else { "]" };
        let _ = write!(
            body,
            "{close},\"annotations\":[]}},\"logprobs\":null,\"finish_reason\":\"{finish}\"}}"
        );
    }
    body.push(']');
    if !scene.no_usage() {
        let _ = write!(body, ",\"usage\":{}", parts::usage(&used));
    }
    body.push_str(",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_sim\"}");
    Whole { varying, ..Whole::json(body).usage(used) }
}

/// Encoder of `chat.completion.chunk` and `text_completion` chunks.
struct Chunks {
    /// Everything before the index of the choice; the same in every frame.
    head: String,
    /// Everything after the choice.
    tail: &'static str,
    id: u64,
    choices: u32,
    include_usage: bool,
    refusal: bool,
    /// Whether this is the older endpoint.
    text: bool,
}

impl Chunks {
    fn chat(scene: &Scene<'_>, ask: &Ask, options: Options) -> Self {
        Self {
            head: format!(
                "data: {{\"id\":\"chatcmpl-{:016x}\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":{},\
                 \"service_tier\":\"default\",\"system_fingerprint\":\"fp_sim\",\"choices\":[",
                scene.id,
                scene.created,
                quoted(&ask.model)
            ),
            tail: if options.include_usage { "],\"usage\":null}\n\n" } else { "]}\n\n" },
            id: scene.id,
            choices: ask.choices,
            include_usage: options.include_usage,
            refusal: options.refusal,
            text: false,
        }
    }

    fn completion(scene: &Scene<'_>, ask: &Ask, options: Options) -> Self {
        Self {
            head: format!(
                "data: {{\"id\":\"cmpl-{:016x}\",\"object\":\"text_completion\",\"created\":{},\"model\":{},\"choices\":[",
                scene.id,
                scene.created,
                quoted(&ask.model)
            ),
            tail: if options.include_usage { "],\"usage\":null}\n\n" } else { "]}\n\n" },
            id: scene.id,
            choices: ask.choices,
            include_usage: options.include_usage,
            refusal: false,
            text: true,
        }
    }

    /// A frame up to the start of its delta.
    fn begin(&self, choice: u32, frames: &mut Frames) {
        frames.put(&self.head);
        frames.put("{\"index\":");
        frames.number(u64::from(choice));
        frames.put(if self.text { ",\"text\":\"" } else { ",\"delta\":{" });
    }

    fn end(&self, finish: Option<Finish>, frames: &mut Frames) {
        frames.put(if self.text {
            "\",\"logprobs\":null,\"finish_reason\":"
        } else {
            "},\"logprobs\":null,\"finish_reason\":"
        });
        match finish {
            None => frames.put("null"),
            Some(finish) => {
                frames.put("\"");
                frames.put(finish_reason(finish));
                frames.put("\"");
            }
        }
        frames.put("}");
        frames.frame(self.tail);
    }
}

impl Encode for Chunks {
    fn open(&mut self, frames: &mut Frames) {
        for choice in 0..self.choices {
            if !self.text {
                self.begin(choice, frames);
                frames.put("\"role\":\"assistant\",\"content\":\"\",\"refusal\":null");
                self.end(None, frames);
            }
        }
    }

    fn step(&mut self, choice: u32, step: Step<'_>, frames: &mut Frames) {
        self.begin(choice, frames);
        match step {
            Step::Text(text) | Step::Reasoning(text) if self.text => frames.put(text),
            Step::Text(text) => {
                frames.put(if self.refusal { "\"refusal\":\"" } else { "\"content\":\"" });
                frames.put(text);
                frames.put("\"");
            }
            Step::Reasoning(text) => {
                frames.put("\"reasoning_content\":\"");
                frames.put(text);
                frames.put("\"");
            }
            Step::Call { index, name } => {
                frames.put("\"tool_calls\":[{\"index\":");
                frames.number(u64::from(index));
                frames.put(&format!(
                    ",\"id\":\"{}\",\"type\":\"function\",\"function\":{{\"name\":{},\"arguments\":\"\"}}}}]",
                    call_id(self.id, choice, index),
                    quoted(name)
                ));
            }
            Step::Arguments { index, piece } => {
                frames.put("\"tool_calls\":[{\"index\":");
                frames.number(u64::from(index));
                frames.put(",\"function\":{\"arguments\":\"");
                frames.put(piece);
                frames.put("\"}}]");
            }
        }
        self.end(None, frames);
    }

    fn close(&mut self, finish: Finish, used: &Usage, frames: &mut Frames) {
        for choice in 0..self.choices {
            self.begin(choice, frames);
            self.end(Some(finish), frames);
        }
        if self.include_usage {
            frames.put(&self.head);
            frames.put("],\"usage\":");
            frames.put(&parts::usage(used));
            frames.frame("}\n\n");
        }
        frames.frame("data: [DONE]\n\n");
    }

    fn error(&mut self, problem: &Problem, frames: &mut Frames) {
        frames.put("data: ");
        let body = problem.body(crate::mock::route::Dialect::OpenAi, "");
        frames.bytes.extend_from_slice(&body);
        frames.frame("\n\n");
    }
}

/// Answers a completion of the older kind.
pub(in crate::mock) fn completion(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let mut ask = common(object)?;
    let mut reading = Reading::default();
    match object.value("prompt") {
        Some(Value::String(text)) => reading.text(text),
        Some(Value::Array(list)) => {
            for item in list {
                match item {
                    Value::String(text) => reading.text(text),
                    _ => reading.message(),
                }
            }
        }
        Some(other) => {
            return Err(Problem::wrong_type(object.dialect, "prompt", "a string", other));
        }
        None => return Err(Problem::missing(object.dialect, "prompt")),
    }
    ask.prompt = scene.prompt(reading);
    let options = options(scene, object)?;
    if ask.stream {
        let encoder = Chunks::completion(scene, &ask, options);
        return Ok(scene.stream(&ask, "text/event-stream; charset=utf-8", encoder));
    }
    let script = scene.script(&ask);
    let (used, finish) = (script.usage(), finish_reason(script.finish()));
    let mut body = format!(
        "{{\"id\":\"cmpl-{:016x}\",\"object\":\"text_completion\",\"created\":{},\"model\":{},\"choices\":[",
        scene.id,
        scene.created,
        quoted(&ask.model)
    );
    for (index, choice) in script.collect().iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(
            body,
            "{comma}{{\"index\":{index},\"text\":\"{}\",\"logprobs\":null,\"finish_reason\":\"{finish}\"}}",
            choice.text
        );
    }
    body.push(']');
    if !scene.no_usage() {
        let _ = write!(body, ",\"usage\":{}", parts::usage(&used));
    }
    body.push('}');
    Ok(Whole::json(body).usage(used).into())
}
