//! `POST /v1/responses` and what is below it.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::parts;
use crate::mock::json::{Object, quoted};
use crate::mock::problem::Problem;
use crate::mock::prompt::Reading;
use crate::mock::reply::{Encode, Frames, Reply, Whole};
use crate::mock::route::Dialect;
use crate::mock::scene::Scene;
use crate::mock::script::{Ask, Choice, Finish, Step, Usage};
use crate::mock::store::Stored;

const KIND: &str = "response";

/// Answers a request that has a body.
pub(in crate::mock) fn create(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let (reading, answered) = input(object)?;
    let ask = Ask {
        model: object.need_string("model")?.to_owned(),
        stream: object.boolean("stream")?.unwrap_or(false),
        choices: 1,
        max_tokens: object.count("max_output_tokens")?,
        reasoning: match object.object("reasoning")? {
            Some(reasoning) => !matches!(reasoning.string("effort")?, None | Some("none")),
            None => false,
        },
        document: match object.object("text")? {
            Some(text) => parts::document(text.object("format")?)?,
            None => None,
        },
        calls: parts::calls(object, if answered { 0 } else { scene.tool_calls() })?,
        prompt: scene.prompt(reading),
    };
    if scene.route.tail == "input_tokens" {
        let body = json!({ "object": "response.input_tokens", "input_tokens": ask.prompt.tokens });
        return Ok(Whole::json(body.to_string()).into());
    }
    let shape = Shape::new(scene, &ask);
    if ask.stream {
        return Ok(scene.stream(&ask, "text/event-stream; charset=utf-8", Events::new(shape)));
    }
    let script = scene.script(&ask);
    let (used, finish) = (script.usage(), script.finish());
    let choice = script.collect().swap_remove(0);
    let body = shape.response(Some(finish), &shape.items(&choice, finish), Some(&used));
    let description = serde_json::from_str(&body).unwrap_or_default();
    scene.world.store.put(KIND, scene.id, Stored { description, content: Bytes::new() });
    Ok(Whole::json(body).usage(used).into())
}

/// Answers requests about a response that was made before.
pub(in crate::mock) fn stored(scene: &Scene<'_>) -> Result<Reply, Problem> {
    let (id, rest) = scene.route.tail.split_once('/').unwrap_or((&scene.route.tail, ""));
    let number = id.strip_prefix("resp_").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let stored = number.and_then(|number| scene.world.store.get(KIND, number));
    let mut stored = stored.ok_or_else(|| Problem {
        message: format!("Response with id '{id}' not found."),
        param: Some("id".into()),
        ..Problem::status(404)
    })?;
    if scene.request.method == Method::DELETE {
        scene.world.store.remove(KIND, number.unwrap_or_default());
        let body = json!({ "id": id, "object": "response", "deleted": true });
        return Ok(Whole::json(body.to_string()).into());
    }
    let body = match rest {
        "input_items" => json!({ "object": "list", "data": [], "has_more": false }),
        "cancel" => {
            stored.description["status"] = "cancelled".into();
            stored.description
        }
        _ => stored.description,
    };
    Ok(Whole::json(body.to_string()).into())
}

/// Reads the prompt; whether a call's output stands at its end.
fn input(object: Object<'_>) -> Result<(Reading, bool), Problem> {
    let mut reading = Reading::default();
    if let Some(text) = object.string("instructions")? {
        reading.text(text);
    }
    let mut answered = false;
    match object.value("input") {
        None if object.value("prompt").is_some() || object.value("conversation").is_some() => {}
        None => return Err(Problem::missing(Dialect::OpenAi, "input")),
        Some(Value::String(text)) => {
            reading.message();
            reading.text(text);
        }
        Some(Value::Array(_)) => {
            for (index, item) in object.objects("input")?.into_iter().enumerate() {
                reading.message();
                answered = false;
                match item.string("type")? {
                    None | Some("message") => {
                        parts::content(&mut reading, item, &format!("input[{index}]"))?;
                    }
                    Some("function_call_output") => {
                        answered = true;
                        let output = item.value("output").map(Value::to_string);
                        reading.text(&output.unwrap_or_default());
                    }
                    Some("function_call") => {
                        reading.text(item.string("arguments")?.unwrap_or_default());
                    }
                    Some(_) => {}
                }
            }
        }
        Some(other) => {
            return Err(Problem::wrong_type(Dialect::OpenAi, "input", "a string", other));
        }
    }
    Ok((reading, answered))
}

/// The parts of a response that do not change while it is streamed.
struct Shape {
    id: u64,
    created: u64,
    model: String,
    no_usage: bool,
    refusal: bool,
}

impl Shape {
    fn new(scene: &Scene<'_>, ask: &Ask) -> Self {
        Self {
            id: scene.id,
            created: scene.created,
            model: quoted(&ask.model),
            no_usage: scene.no_usage(),
            refusal: scene.request.fields.knobs.refusal,
        }
    }

    /// The response object. Without `finish` it is still in progress.
    fn response(&self, finish: Option<Finish>, items: &[String], used: Option<&Usage>) -> String {
        let (status, details) = match finish {
            None => ("in_progress", "null"),
            Some(Finish::Length) => ("incomplete", "{\"reason\":\"max_output_tokens\"}"),
            Some(_) => ("completed", "null"),
        };
        let usage = used.filter(|_| !self.no_usage).map_or_else(|| "null".to_owned(), usage);
        format!(
            "{{\"id\":\"resp_{:016x}\",\"object\":\"response\",\"created_at\":{},\"status\":\"{status}\",\"background\":false,\
             \"error\":null,\"incomplete_details\":{details},\"instructions\":null,\"max_output_tokens\":null,\"model\":{},\
             \"output\":[{}],\"parallel_tool_calls\":true,\"previous_response_id\":null,\
             \"reasoning\":{{\"effort\":null,\"summary\":null}},\"store\":true,\"temperature\":1.0,\
             \"text\":{{\"format\":{{\"type\":\"text\"}}}},\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1.0,\
             \"truncation\":\"disabled\",\"usage\":{usage},\"user\":null,\"metadata\":{{}}}}",
            self.id,
            self.created,
            self.model,
            items.join(",")
        )
    }

    fn items(&self, choice: &Choice, finish: Finish) -> Vec<String> {
        let status = if finish == Finish::Length { "incomplete" } else { "completed" };
        let mut items = Vec::new();
        if !choice.reasoning.is_empty() {
            items.push(self.reasoning(items.len(), &choice.reasoning));
        }
        if !choice.text.is_empty() {
            items.push(self.message(items.len(), &self.content(&choice.text), status));
        }
        for call in &choice.calls {
            items.push(self.call(items.len(), &call.name, &call.arguments, status));
        }
        items
    }

    fn item_id(&self, kind: &str, index: usize) -> String {
        format!("{kind}_{:016x}{index:02x}", self.id.rotate_left(5))
    }

    fn reasoning(&self, index: usize, text: &str) -> String {
        let summary = if text.is_empty() {
            String::new()
        } else {
            format!("{{\"type\":\"summary_text\",\"text\":\"{text}\"}}")
        };
        let id = self.item_id("rs", index);
        format!("{{\"id\":\"{id}\",\"type\":\"reasoning\",\"summary\":[{summary}]}}")
    }

    fn content(&self, text: &str) -> String {
        if self.refusal {
            format!("{{\"type\":\"refusal\",\"refusal\":\"{text}\"}}")
        } else {
            format!(
                "{{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"{text}\"}}"
            )
        }
    }

    fn message(&self, index: usize, content: &str, status: &str) -> String {
        let id = self.item_id("msg", index);
        format!(
            "{{\"id\":\"{id}\",\"type\":\"message\",\"status\":\"{status}\",\"content\":[{content}],\"role\":\"assistant\"}}"
        )
    }

    fn call(&self, index: usize, name: &str, arguments: &str, status: &str) -> String {
        format!(
            "{{\"id\":\"{}\",\"type\":\"function_call\",\"status\":\"{status}\",\"arguments\":\"{arguments}\",\"call_id\":\"{}\",\"name\":{}}}",
            self.item_id("fc", index),
            self.item_id("call", index),
            quoted(name)
        )
    }
}

fn usage(used: &Usage) -> String {
    format!(
        "{{\"input_tokens\":{},\"input_tokens_details\":{{\"cached_tokens\":{}}},\"output_tokens\":{},\
         \"output_tokens_details\":{{\"reasoning_tokens\":{}}},\"total_tokens\":{}}}",
        used.prompt,
        used.cached,
        used.completion,
        used.reasoning,
        used.total()
    )
}

/// The item that is being streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Reasoning,
    Message,
    Call { index: u32, name: String },
}

/// Encoder of the response events.
struct Events {
    shape: Shape,
    sequence: u64,
    open: Option<Item>,
    /// What the open item has so far.
    text: String,
    items: Vec<String>,
}

impl Events {
    fn new(shape: Shape) -> Self {
        Self { shape, sequence: 0, open: None, text: String::new(), items: Vec::new() }
    }

    /// An event; `rest` are its members after the sequence number.
    fn event(&mut self, name: &str, rest: &[&str], frames: &mut Frames) {
        frames.put("event: ");
        frames.put(name);
        frames.put("\ndata: {\"type\":\"");
        frames.put(name);
        frames.put("\",\"sequence_number\":");
        frames.number(self.sequence);
        self.sequence += 1;
        for text in rest {
            frames.put(text);
        }
        frames.frame("}\n\n");
    }

    /// Members that say where in the output an event belongs.
    fn place(&self, kind: &str) -> String {
        let index = self.items.len();
        let id = self.shape.item_id(kind, index);
        format!(",\"item_id\":\"{id}\",\"output_index\":{index}")
    }

    fn enter(&mut self, item: Item, frames: &mut Frames) {
        if self.open.as_ref() == Some(&item) {
            return;
        }
        self.leave("completed", frames);
        let index = self.items.len();
        let shown = match &item {
            Item::Reasoning => self.shape.reasoning(index, ""),
            Item::Message => self.shape.message(index, "", "in_progress"),
            Item::Call { name, .. } => self.shape.call(index, name, "", "in_progress"),
        };
        let members = format!(",\"output_index\":{index},\"item\":{shown}");
        self.event("response.output_item.added", &[&members], frames);
        match &item {
            Item::Reasoning => {
                let place = self.place("rs");
                let part =
                    ",\"summary_index\":0,\"part\":{\"type\":\"summary_text\",\"text\":\"\"}";
                self.event("response.reasoning_summary_part.added", &[&place, part], frames);
            }
            Item::Message => {
                let place = self.place("msg");
                let part = format!(",\"content_index\":0,\"part\":{}", self.shape.content(""));
                self.event("response.content_part.added", &[&place, &part], frames);
            }
            Item::Call { .. } => {}
        }
        self.open = Some(item);
    }

    fn leave(&mut self, status: &str, frames: &mut Frames) {
        let Some(item) = self.open.take() else { return };
        let text = std::mem::take(&mut self.text);
        let index = self.items.len();
        let whole = match &item {
            Item::Reasoning => {
                let place = self.place("rs") + ",\"summary_index\":0";
                self.event(
                    "response.reasoning_summary_text.done",
                    &[&place, ",\"text\":\"", &text, "\""],
                    frames,
                );
                let part =
                    [&place, ",\"part\":{\"type\":\"summary_text\",\"text\":\"", &text, "\"}"];
                self.event("response.reasoning_summary_part.done", &part, frames);
                self.shape.reasoning(index, &text)
            }
            Item::Message => {
                let place = self.place("msg") + ",\"content_index\":0";
                let content = self.shape.content(&text);
                if self.shape.refusal {
                    let members = [&place, ",\"refusal\":\"", &text, "\""];
                    self.event("response.refusal.done", &members, frames);
                } else {
                    let members = [&place, ",\"logprobs\":[],\"text\":\"", &text, "\""];
                    self.event("response.output_text.done", &members, frames);
                }
                let part = [&place, ",\"part\":", &content];
                self.event("response.content_part.done", &part, frames);
                self.shape.message(index, &content, status)
            }
            Item::Call { name, .. } => {
                let place = self.place("fc");
                let name_json = quoted(name);
                let members = [&place, ",\"name\":", &name_json, ",\"arguments\":\"", &text, "\""];
                self.event("response.function_call_arguments.done", &members, frames);
                self.shape.call(index, name, &text, status)
            }
        };
        let members = format!(",\"output_index\":{index},\"item\":{whole}");
        self.event("response.output_item.done", &[&members], frames);
        self.items.push(whole);
    }

    fn delta(&mut self, name: &str, kind: &str, middle: &str, text: &str, frames: &mut Frames) {
        let place = self.place(kind);
        self.event(name, &[&place, middle, ",\"delta\":\"", text, "\""], frames);
        self.text.push_str(text);
    }
}

impl Encode for Events {
    fn open(&mut self, frames: &mut Frames) {
        for name in ["response.created", "response.in_progress"] {
            let response = self.shape.response(None, &[], None);
            self.event(name, &[",\"response\":", &response], frames);
        }
    }

    fn step(&mut self, _: u32, step: Step<'_>, frames: &mut Frames) {
        match step {
            Step::Reasoning(text) => {
                self.enter(Item::Reasoning, frames);
                let name = "response.reasoning_summary_text.delta";
                self.delta(name, "rs", ",\"summary_index\":0", text, frames);
            }
            Step::Text(text) => {
                self.enter(Item::Message, frames);
                if self.shape.refusal {
                    self.delta(
                        "response.refusal.delta",
                        "msg",
                        ",\"content_index\":0",
                        text,
                        frames,
                    );
                } else {
                    let middle = ",\"content_index\":0,\"logprobs\":[]";
                    self.delta("response.output_text.delta", "msg", middle, text, frames);
                }
            }
            Step::Call { index, name } => {
                self.enter(Item::Call { index, name: name.to_owned() }, frames);
            }
            Step::Arguments { piece, .. } => {
                self.delta("response.function_call_arguments.delta", "fc", "", piece, frames);
            }
        }
    }

    fn close(&mut self, finish: Finish, used: &Usage, frames: &mut Frames) {
        let (status, name) = match finish {
            Finish::Length => ("incomplete", "response.incomplete"),
            _ => ("completed", "response.completed"),
        };
        self.leave(status, frames);
        let response = self.shape.response(Some(finish), &self.items, Some(used));
        self.event(name, &[",\"response\":", &response], frames);
    }

    fn error(&mut self, problem: &Problem, frames: &mut Frames) {
        let members = format!(
            ",\"code\":\"{}\",\"message\":{},\"param\":null",
            problem.openai_type(),
            quoted(&problem.message)
        );
        self.event("error", &[&members], frames);
    }
}
