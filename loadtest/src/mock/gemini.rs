//! Google Gemini: generate, stream (SSE, or a JSON array without `alt=sse`), count, embed, models.

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

/// Answers `generateContent` and `streamGenerateContent`.
pub(super) fn generate(
    scene: &Scene<'_>,
    object: Object<'_>,
    stream: bool,
) -> Result<Reply, Problem> {
    let (reading, answered) = contents(object)?;
    let config = object.object("generationConfig")?;
    let config = config.unwrap_or(Object { map: empty(), ..object });
    let count = |camel: &str| config.count(camel);
    let schema = config.value("responseSchema").or_else(|| config.value("responseJsonSchema"));
    let is_json = config.string("responseMimeType")? == Some("application/json");
    let thinking = config.object("thinkingConfig")?;
    let ask = Ask {
        model: scene.route.model.clone().unwrap_or_default(),
        stream,
        choices: count("candidateCount")?.unwrap_or(1).clamp(1, 8),
        max_tokens: count("maxOutputTokens")?,
        reasoning: match thinking {
            Some(thinking) => thinking.boolean("includeThoughts")?.unwrap_or(false),
            None => false,
        },
        calls: calls(object, if answered { 0 } else { scene.tool_calls() })?,
        prompt: scene.prompt(reading),
        document: is_json.then(|| document(schema)),
    };
    if stream {
        let query = scene.request.query.as_deref().unwrap_or_default();
        let sse = query.split('&').any(|pair| pair == "alt=sse");
        let kind = if sse { "text/event-stream" } else { "application/json; charset=UTF-8" };
        return Ok(scene.stream(&ask, kind, Chunks::new(scene, &ask, sse)));
    }
    let script = scene.script(&ask);
    Ok(whole(scene, &ask, script).into())
}

fn empty() -> &'static serde_json::Map<String, Value> {
    static EMPTY: std::sync::LazyLock<serde_json::Map<String, Value>> =
        std::sync::LazyLock::new(serde_json::Map::new);
    &EMPTY
}

/// Reads the prompt; whether a function's result stands at its end.
fn contents(object: Object<'_>) -> Result<(Reading, bool), Problem> {
    let mut reading = Reading::default();
    if let Some(system) = object.object("systemInstruction")? {
        parts(&mut reading, system)?;
    }
    let contents = object.need_objects("contents")?;
    if contents.is_empty() {
        return Err(Problem::missing(Dialect::Gemini, "contents"));
    }
    let mut answered = false;
    for content in contents {
        reading.message();
        match content.string("role")? {
            None | Some("user" | "model" | "function" | "system") => {}
            Some(_) => {
                return Err(Problem::invalid("contents", "Please use a valid role: user, model."));
            }
        }
        answered = parts(&mut reading, content)?;
    }
    Ok((reading, answered))
}

fn parts(reading: &mut Reading, content: Object<'_>) -> Result<bool, Problem> {
    let mut answered = false;
    for part in content.objects("parts")? {
        if let Some(text) = part.string("text")? {
            reading.text(text);
        } else if let Some(data) = part.object("inlineData")? {
            if data.string("mimeType")?.is_none() {
                return Err(Problem::missing(Dialect::Gemini, "mime_type"));
            }
            reading.image();
        } else if let Some(result) = part.value("functionResponse") {
            answered = true;
            reading.text(&result.to_string());
        } else {
            reading.message();
        }
    }
    Ok(answered)
}

fn calls(object: Object<'_>, count: usize) -> Result<Vec<Call>, Problem> {
    let config = object.object("toolConfig")?;
    let config = config.map(|config| config.object("functionCallingConfig")).transpose()?.flatten();
    if config.is_some_and(|config| config.value("mode") == Some(&json!("NONE"))) {
        return Ok(Vec::new());
    }
    let allowed = config.and_then(|config| config.value("allowedFunctionNames")?.as_array());
    let mut calls = Vec::new();
    for tool in object.objects("tools")? {
        for function in tool.objects("functionDeclarations")? {
            let name = function.need_string("name")?;
            let schema =
                function.value("parameters").or_else(|| function.value("parametersJsonSchema"));
            if allowed.is_none_or(|allowed| allowed.iter().any(|allowed| allowed == name)) {
                calls.push(Call::of(name, schema));
            }
        }
    }
    calls.truncate(count);
    Ok(calls)
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::ToolCalls | Finish::StopSequence => "STOP",
        Finish::Refused => "SAFETY",
        Finish::Length => "MAX_TOKENS",
    }
}

/// `usageMetadata`; thoughts are not part of the candidates' count.
fn usage(used: &Usage) -> String {
    let mut text = format!(
        "{{\"promptTokenCount\":{},\"candidatesTokenCount\":{},\"totalTokenCount\":{},\
         \"promptTokensDetails\":[{{\"modality\":\"TEXT\",\"tokenCount\":{}}}]",
        used.prompt,
        used.completion - used.reasoning,
        used.total(),
        used.prompt
    );
    if used.reasoning > 0 {
        let _ = write!(text, ",\"thoughtsTokenCount\":{}", used.reasoning);
    }
    if used.cached > 0 {
        let _ = write!(text, ",\"cachedContentTokenCount\":{}", used.cached);
    }
    text.push('}');
    text
}

fn whole(scene: &Scene<'_>, ask: &Ask, script: Script) -> Whole {
    let (used, finish) = (script.usage(), finish_reason(script.finish()));
    let mut body = String::from("{\"candidates\":[");
    for (index, choice) in script.collect().iter().enumerate() {
        let mut parts = Vec::new();
        if !choice.reasoning.is_empty() {
            parts.push(format!("{{\"text\":\"{}\",\"thought\":true}}", choice.reasoning));
        }
        if !choice.text.is_empty() {
            parts.push(format!("{{\"text\":\"{}\"}}", choice.text));
        }
        for call in &choice.calls {
            let name = quoted(&call.name);
            parts.push(format!(
                "{{\"functionCall\":{{\"name\":{name},\"args\":{}}}}}",
                call.document()
            ));
        }
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(
            body,
            "{comma}{{\"content\":{{\"parts\":[{}],\"role\":\"model\"}},\"finishReason\":\"{finish}\",\"index\":{index}}}",
            parts.join(",")
        );
    }
    body.push(']');
    if !scene.no_usage() {
        let _ = write!(body, ",\"usageMetadata\":{}", usage(&used));
    }
    let _ = write!(
        body,
        ",\"modelVersion\":{},\"responseId\":\"{:016x}\"}}",
        quoted(&ask.model),
        scene.id
    );
    Whole::json(body).usage(used)
}

/// Encoder of stream chunks. Every chunk carries the usage so far.
struct Chunks {
    sse: bool,
    first: bool,
    tail: String,
    used: Usage,
    no_usage: bool,
    choices: u32,
    /// A call that is not complete: this format sends calls whole.
    call: Option<PendingCall>,
}

struct PendingCall {
    choice: u32,
    name: String,
    arguments: String,
}

impl Chunks {
    fn new(scene: &Scene<'_>, ask: &Ask, sse: bool) -> Self {
        Self {
            sse,
            first: true,
            tail: format!(
                ",\"modelVersion\":{},\"responseId\":\"{:016x}\"}}",
                quoted(&ask.model),
                scene.id
            ),
            used: Usage {
                prompt: ask.prompt.tokens,
                cached: ask.prompt.cached,
                ..Usage::default()
            },
            no_usage: scene.no_usage(),
            choices: ask.choices,
            call: None,
        }
    }

    fn begin(&mut self, frames: &mut Frames) {
        frames.put(match (self.sse, self.first) {
            (true, _) => "data: ",
            (false, true) => "[",
            (false, false) => ",\r\n",
        });
        self.first = false;
    }

    fn end(&self, frames: &mut Frames) {
        frames.frame(if self.sse { "\r\n\r\n" } else { "" });
    }

    fn chunk(&mut self, choice: u32, part: &[&str], finish: Option<Finish>, frames: &mut Frames) {
        self.begin(frames);
        frames.put("{\"candidates\":[{\"content\":{\"parts\":[");
        for text in part {
            frames.put(text);
        }
        frames.put("],\"role\":\"model\"},\"index\":");
        frames.number(u64::from(choice));
        if let Some(finish) = finish {
            frames.put(",\"finishReason\":\"");
            frames.put(finish_reason(finish));
            frames.put("\"");
        }
        frames.put("}]");
        if !self.no_usage {
            frames.put(",\"usageMetadata\":");
            frames.put(&usage(&self.used));
        }
        frames.put(&self.tail);
        self.end(frames);
    }

    fn send_call(&mut self, frames: &mut Frames) {
        let Some(call) = self.call.take() else { return };
        let (name, arguments) = (quoted(&call.name), super::script::unquote(&call.arguments));
        let part = ["{\"functionCall\":{\"name\":", &name, ",\"args\":", &arguments, "}}"];
        self.chunk(call.choice, &part, None, frames);
    }
}

impl Encode for Chunks {
    fn open(&mut self, _: &mut Frames) {}

    fn step(&mut self, choice: u32, step: Step<'_>, frames: &mut Frames) {
        self.used.completion += 1;
        match step {
            Step::Reasoning(text) => {
                self.used.reasoning += 1;
                self.chunk(choice, &["{\"text\":\"", text, "\",\"thought\":true}"], None, frames);
            }
            Step::Text(text) => {
                self.chunk(choice, &["{\"text\":\"", text, "\"}"], None, frames);
            }
            Step::Call { name, .. } => {
                self.send_call(frames);
                let name = name.to_owned();
                self.call = Some(PendingCall { choice, name, arguments: String::new() });
            }
            Step::Arguments { piece, .. } => {
                if let Some(call) = &mut self.call {
                    call.arguments.push_str(piece);
                }
            }
        }
    }

    fn close(&mut self, finish: Finish, used: &Usage, frames: &mut Frames) {
        self.send_call(frames);
        self.used = *used;
        for choice in 0..self.choices {
            self.chunk(choice, &["{\"text\":\"\"}"], Some(finish), frames);
        }
        if !self.sse {
            frames.frame("]");
        }
    }

    fn error(&mut self, problem: &Problem, frames: &mut Frames) {
        self.begin(frames);
        frames.bytes.extend_from_slice(&problem.body(Dialect::Gemini, ""));
        self.end(frames);
        if !self.sse {
            frames.frame("]");
        }
    }
}

/// Answers `countTokens`.
pub(super) fn count_tokens(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let object = object.object("generateContentRequest")?.unwrap_or(object);
    let (reading, _) = contents(object)?;
    let tokens = scene.prompt(reading).tokens;
    let body = json!({
        "totalTokens": tokens,
        "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": tokens }],
    });
    Ok(Whole::json(body.to_string()).into())
}

/// Answers `embedContent` and `batchEmbedContents`.
pub(super) fn embed(scene: &Scene<'_>, object: Object<'_>, batch: bool) -> Result<Reply, Problem> {
    let requests = if batch { object.need_objects("requests")? } else { vec![object] };
    let mut total = Usage::default();
    let mut embeddings = Vec::new();
    for request in requests {
        let content = request.object("content")?;
        let content = content.ok_or_else(|| Problem::missing(Dialect::Gemini, "content"))?;
        let mut reading = Reading::default();
        parts(&mut reading, content)?;
        let prompt = scene.prompt(reading);
        total.prompt += prompt.tokens;
        let size = match request.object("embedContentConfig")? {
            Some(config) => config.count("outputDimensionality")?,
            None => request.count("outputDimensionality")?,
        };
        let size =
            embedding::size(size).map_err(|why| Problem::invalid("outputDimensionality", why))?;
        embeddings.push(json!({ "values": embedding::vector(prompt.salt, size) }));
    }
    let usage = json!({ "promptTokenCount": total.prompt });
    let body = if batch {
        json!({ "embeddings": embeddings, "usageMetadata": usage })
    } else {
        json!({ "embedding": embeddings.pop(), "usageMetadata": usage })
    };
    Ok(Whole::json(body.to_string()).usage(total).into())
}

/// Answers the list of models and a single one.
pub(super) fn models(scene: &Scene<'_>) -> Result<Reply, Problem> {
    let model = |name: &str| {
        json!({
            "name": format!("models/{name}"), "version": "001", "displayName": name,
            "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
        })
    };
    let names = scene.settings.model_names();
    let tail = scene.route.tail.as_str();
    let body = if tail.is_empty() {
        json!({ "models": names.iter().map(|name| model(name)).collect::<Vec<_>>() })
    } else if names.contains(&tail) {
        model(tail)
    } else {
        return Err(Problem {
            message: format!("models/{tail} is not found"),
            ..Problem::status(404)
        });
    };
    Ok(Whole::json(body.to_string()).into())
}
