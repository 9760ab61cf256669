//! What a simulated model is going to say, independent of any wire format.
//!
//! A request becomes an [`Ask`]; an [`Ask`] becomes a [`Script`], which yields one [`Step`] a token;
//! a format's encoder turns steps into frames. The usage is known before the first step, and is the
//! number of steps: what the answer reports and what the books say cannot differ.

use serde_json::Value;

use super::request::Knobs;
use super::settings::Settings;
use super::words::{Rng, Words};

/// What a request asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) choices: u32,
    pub(super) prompt: Prompt,
    pub(super) max_tokens: Option<u32>,
    /// The tools that will be called.
    pub(super) calls: Vec<Call>,
    pub(super) reasoning: bool,
    /// The text must be this JSON document.
    pub(super) document: Option<String>,
}

/// What is known of the prompt.
#[derive(Clone, Debug, Default)]
pub(super) struct Prompt {
    pub(super) tokens: u64,
    pub(super) cached: u64,
    pub(super) cache_written: u64,
    /// Differs between prompts, so that answers do.
    pub(super) salt: u64,
}

/// A tool call.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    pub(super) name: String,
    /// JSON.
    pub(super) arguments: String,
}

impl Call {
    /// A call of a tool with arguments that fit its schema.
    pub(super) fn of(name: &str, schema: Option<&Value>) -> Self {
        let arguments = schema.map_or(Value::Null, |schema| example(schema, SCHEMA_DEPTH_MAX));
        let arguments = if arguments.is_object() { arguments.to_string() } else { "{}".into() };
        Self { name: name.to_owned(), arguments }
    }
}

/// How deep an example of a schema goes.
const SCHEMA_DEPTH_MAX: u32 = 12;

/// A document that fits a schema, or any when there is none.
pub(super) fn document(schema: Option<&Value>) -> String {
    match schema {
        Some(schema) => example(schema, SCHEMA_DEPTH_MAX).to_string(),
        None => serde_json::json!({ "answer": "river" }).to_string(),
    }
}

/// Token usage as the answer reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: u64,
    pub(super) cached: u64,
    pub(super) cache_written: u64,
    /// All tokens of the completion, reasoning included.
    pub(super) completion: u64,
    pub(super) reasoning: u64,
}

impl Usage {
    pub(super) fn total(&self) -> u64 {
        self.prompt + self.completion
    }
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    ToolCalls,
    /// At one of the texts that were asked for.
    StopSequence,
    /// The model, or a filter, refused.
    Refused,
}

/// One token. Texts are escaped for a JSON string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Reasoning(&'a str),
    Text(&'a str),
    /// A tool call begins. It is a token of its own.
    Call {
        index: u32,
        name: &'a str,
    },
    /// A piece of the arguments of the call that began last.
    Arguments {
        index: u32,
        piece: &'a str,
    },
}

#[derive(Clone, Debug)]
enum Part {
    Reasoning(u32),
    Words(u32),
    Document(Pieces),
    Call { index: u32, name: String, begun: bool, arguments: Pieces },
}

/// A JSON text in pieces of a few characters, each escaped for a JSON string.
#[derive(Clone, Debug)]
struct Pieces {
    escaped: String,
    ends: Vec<u32>,
    next: usize,
}

const PIECE_CHARS: usize = 4;

impl Pieces {
    fn new(text: &str) -> Self {
        let mut pieces = Self { escaped: String::new(), ends: Vec::new(), next: 0 };
        let chars: Vec<char> = text.chars().collect();
        for chunk in chars.chunks(PIECE_CHARS) {
            let quoted = Value::String(chunk.iter().collect()).to_string();
            pieces.escaped.push_str(&quoted[1..quoted.len() - 1]);
            pieces.ends.push(pieces.escaped.len() as u32);
        }
        pieces
    }

    fn next(&mut self) -> Option<&str> {
        let end = *self.ends.get(self.next)? as usize;
        let start = if self.next == 0 { 0 } else { self.ends[self.next - 1] as usize };
        self.next += 1;
        Some(&self.escaped[start..end])
    }
}

/// One choice of an answer.
#[derive(Clone, Debug)]
struct Lane {
    parts: Vec<Part>,
    at: usize,
    words: Words,
    /// Steps that may still be taken.
    left: u32,
}

/// A whole answer, to be read step by step.
#[derive(Clone, Debug)]
pub(super) struct Script {
    lanes: Vec<Lane>,
    turn: usize,
    usage: Usage,
    finish: Finish,
}

/// The most tokens of one answer.
const TOKENS_MAX: u32 = 10_000_000;

impl Script {
    pub(super) fn new(ask: &Ask, knobs: &Knobs, settings: &Settings) -> Self {
        let seed = settings.seed ^ ask.prompt.salt ^ knobs.seed.unwrap_or(0).rotate_left(32);
        let mut rng = Rng::new(seed);
        let length = knobs.tokens.unwrap_or_else(|| settings.tokens.sample(&mut rng));
        let limit = ask.max_tokens.unwrap_or(TOKENS_MAX).min(TOKENS_MAX);
        let mut usage = Usage {
            prompt: ask.prompt.tokens,
            cached: ask.prompt.cached,
            cache_written: ask.prompt.cache_written,
            ..Usage::default()
        };
        let mut finish = if ask.calls.is_empty() { Finish::Stop } else { Finish::ToolCalls };
        let mut lanes = Vec::new();
        for choice in 0..ask.choices.max(1) {
            let mut parts = Vec::new();
            let reasoning = if ask.reasoning { (length / 2).max(1) } else { 0 };
            if reasoning > 0 {
                parts.push(Part::Reasoning(reasoning));
            }
            let mut steps = reasoning;
            if !ask.calls.is_empty() {
                steps += calls(&ask.calls, &mut parts);
            } else if let Some(document) = &ask.document {
                let pieces = Pieces::new(document);
                steps += pieces.ends.len() as u32;
                parts.push(Part::Document(pieces));
            } else {
                let length = length.min(TOKENS_MAX);
                steps += length;
                parts.push(Part::Words(length));
            }
            if steps > limit {
                finish = Finish::Length;
            } else if finish == Finish::Stop && knobs.refusal {
                finish = Finish::Refused;
            } else if finish == Finish::Stop && knobs.stop_sequence {
                finish = Finish::StopSequence;
            }
            let left = steps.min(limit);
            usage.completion += u64::from(left);
            usage.reasoning += u64::from(reasoning.min(left));
            let words = Words::new(knobs.text, seed.wrapping_add(u64::from(choice)));
            lanes.push(Lane { parts, at: 0, words, left });
        }
        Self { lanes, turn: 0, usage, finish }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn finish(&self) -> Finish {
        self.finish
    }

    /// The next token and the choice it belongs to. Choices take turns.
    pub(super) fn next(&mut self) -> Option<(u32, Step<'_>)> {
        let count = self.lanes.len();
        let choice = (0..count)
            .map(|offset| (self.turn + offset) % count)
            .find(|lane| self.lanes[*lane].left > 0)?;
        self.turn = choice + 1;
        let step = self.lanes[choice].step()?;
        Some((choice as u32, step))
    }
}

/// One choice, whole. Texts are escaped for a JSON string.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    pub(super) reasoning: String,
    pub(super) text: String,
    /// Their arguments are escaped for a JSON string.
    pub(super) calls: Vec<Call>,
}

impl Call {
    /// The arguments of a collected call as a JSON document. Cut short by a limit they may be none;
    /// providers that send documents say `{}` then.
    pub(super) fn document(&self) -> String {
        unquote(&self.arguments)
    }
}

/// The JSON document in a text that is escaped for a JSON string; `{}` when it is none.
pub(super) fn unquote(escaped: &str) -> String {
    let text = serde_json::from_str::<String>(&format!("\"{escaped}\"")).unwrap_or_default();
    match serde_json::from_str::<Value>(&text) {
        Ok(_) => text,
        Err(_) => "{}".into(),
    }
}

impl Script {
    /// The whole answer at once, and its usage.
    pub(super) fn collect(mut self) -> Vec<Choice> {
        let mut choices = vec![Choice::default(); self.lanes.len()];
        while let Some((choice, step)) = self.next() {
            let choice = &mut choices[choice as usize];
            match step {
                Step::Reasoning(text) => choice.reasoning.push_str(text),
                Step::Text(text) => choice.text.push_str(text),
                Step::Call { name, .. } => {
                    choice.calls.push(Call { name: name.to_owned(), arguments: String::new() });
                }
                Step::Arguments { piece, .. } => {
                    if let Some(call) = choice.calls.last_mut() {
                        call.arguments.push_str(piece);
                    }
                }
            }
        }
        choices
    }
}

fn calls(calls: &[Call], parts: &mut Vec<Part>) -> u32 {
    let mut steps = 0;
    for (index, call) in calls.iter().enumerate() {
        let arguments = Pieces::new(&call.arguments);
        steps += 1 + arguments.ends.len() as u32;
        let name = call.name.clone();
        parts.push(Part::Call { index: index as u32, name, begun: false, arguments });
    }
    steps
}

impl Part {
    fn is_over(&self) -> bool {
        match self {
            Part::Reasoning(left) | Part::Words(left) => *left == 0,
            Part::Document(pieces) => pieces.next >= pieces.ends.len(),
            Part::Call { begun, arguments, .. } => *begun && arguments.next >= arguments.ends.len(),
        }
    }
}

impl Lane {
    fn step(&mut self) -> Option<Step<'_>> {
        while self.parts.get(self.at)?.is_over() {
            self.at += 1;
        }
        self.left -= 1;
        Some(match &mut self.parts[self.at] {
            Part::Reasoning(left) => {
                *left -= 1;
                Step::Reasoning(self.words.piece())
            }
            Part::Words(left) => {
                *left -= 1;
                Step::Text(self.words.piece())
            }
            Part::Document(pieces) => Step::Text(pieces.next()?),
            Part::Call { index, name, begun, arguments } => {
                if *begun {
                    Step::Arguments { index: *index, piece: arguments.next()? }
                } else {
                    *begun = true;
                    Step::Call { index: *index, name }
                }
            }
        })
    }
}

/// A value that satisfies a JSON schema, as far as the common keywords go.
fn example(schema: &Value, depth: u32) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(first) = schema.get("enum").and_then(|list| list.get(0)) {
        return first.clone();
    }
    for list in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema.get(list).and_then(|list| list.get(0)) {
            return example(first, depth - 1);
        }
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        Some(kind) => kind.as_str(),
        None if schema.get("properties").is_some() => Some("object"),
        None => Some("string"),
    };
    match kind.unwrap_or_default().to_ascii_lowercase().as_str() {
        "object" => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let members = properties.into_iter().flatten();
            members
                .map(|(name, schema)| (name.clone(), named_example(name, schema, depth)))
                .collect()
        }
        "array" => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            Value::Array(vec![example(items, depth - 1)])
        }
        "integer" => 7.into(),
        "number" => serde_json::json!(3.5),
        "boolean" => true.into(),
        "null" => Value::Null,
        _ => "river".into(),
    }
}

fn named_example(name: &str, schema: &Value, depth: u32) -> Value {
    match (name, example(schema, depth - 1)) {
        ("city" | "location" | "place", Value::String(_)) => "Paris".into(),
        ("query" | "q", Value::String(_)) => "level of the \"Seine\" today".into(),
        (_, value) => value,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn steps(script: &mut Script) -> Vec<(u32, String)> {
        let mut list = Vec::new();
        while let Some((choice, step)) = script.next() {
            list.push((choice, format!("{step:?}")));
        }
        list
    }

    proptest! {
        #[test]
        fn usage_is_the_number_of_steps(
            choices in 0_u32..4, tokens in 0_u32..50, limit in proptest::option::of(0_u32..40),
            reasoning: bool, calls in 0_usize..3, document in proptest::option::of("\\PC{0,30}"),
        ) {
            let call = Call { name: "f".into(), arguments: "{\"a\":\"é\\n\"}".into() };
            let ask = Ask {
                choices, max_tokens: limit, reasoning, document,
                calls: vec![call; calls], ..Ask::default()
            };
            let knobs = Knobs { tokens: Some(tokens), ..Knobs::default() };
            let mut script = Script::new(&ask, &knobs, &Settings::default());
            let usage = script.usage();
            let steps = steps(&mut script);
            prop_assert_eq!(steps.len() as u64, usage.completion);
            let reasoned = steps.iter().filter(|(_, step)| step.starts_with("Reasoning")).count();
            prop_assert_eq!(reasoned as u64, usage.reasoning);
        }

        #[test]
        fn pieces_join_to_the_text(text in "\\PC{0,60}") {
            let mut pieces = Pieces::new(&text);
            let mut joined = String::from("\"");
            while let Some(piece) = pieces.next() {
                joined.push_str(piece);
            }
            joined.push('"');
            prop_assert_eq!(serde_json::from_str::<String>(&joined).unwrap(), text);
        }
    }

    #[test]
    fn the_same_request_gets_the_same_answer() {
        let ask = Ask { choices: 2, ..Ask::default() };
        let script = || Script::new(&ask, &Knobs::default(), &Settings::default());
        assert_eq!(steps(&mut script()), steps(&mut script()));
    }

    #[test]
    fn choices_take_turns() {
        let ask = Ask { choices: 3, ..Ask::default() };
        let knobs = Knobs { tokens: Some(2), ..Knobs::default() };
        let mut script = Script::new(&ask, &knobs, &Settings::default());
        let order: Vec<u32> = steps(&mut script).iter().map(|(choice, _)| *choice).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn examples_fit_their_schema() {
        let schema = json!({"type": "object", "properties": {
            "city": {"type": "string"}, "unit": {"enum": ["c", "f"]}, "days": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
        }});
        let example = example(&schema, 8);
        assert_eq!(example, json!({"city": "Paris", "unit": "c", "days": 7, "tags": ["river"]}));
    }

    #[test]
    fn a_schema_without_end_ends() {
        let mut schema = json!({"type": "string"});
        for _ in 0..100 {
            schema = json!({"type": "array", "items": schema});
        }
        let _ = example(&schema, 8);
    }
}
