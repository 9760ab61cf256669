//! What a request asks for.

use std::borrow::Cow;

use super::{Format, Loss, Media, ModelQuirks, Seal};
use crate::wire::json::{Kind, Value};

/// A text, borrowed from the document it was read from where that is possible.
pub type Text<'a> = Cow<'a, str>;

/// A chat request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request<'a> {
    /// The format that it came in.
    pub origin: Option<Format>,
    /// What the model that it goes to does otherwise than others.
    pub quirks: ModelQuirks,
    /// It asks for a stream.
    pub stream: bool,
    /// It asks for what was used at the end of the stream, where that has to be asked for.
    pub stream_usage: bool,
    /// The conversation, instructions included, in order.
    pub messages: Vec<Message<'a>>,
    /// The tools that the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Which of them it has to call.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// The shape of the answer.
    pub output: Output<'a>,
    /// There may be pictures in the answer.
    pub pictures: bool,
    /// How much it is to think.
    pub reasoning: Option<Reasoning>,
    /// The most tokens that an answer may have.
    pub max_tokens: Option<u64>,
    /// Texts at which an answer ends.
    pub stop: Vec<Text<'a>>,
    /// How many answers.
    pub choices: Option<u64>,
    /// Numbers as they were written.
    pub temperature: Option<&'a str>,
    /// Nucleus sampling.
    pub top_p: Option<&'a str>,
    /// Sampling among the most likely so many.
    pub top_k: Option<&'a str>,
    /// For repeatable answers.
    pub seed: Option<&'a str>,
    /// Against repetition, by how often.
    pub frequency_penalty: Option<&'a str>,
    /// Against repetition, by whether.
    pub presence_penalty: Option<&'a str>,
    /// How likely each token of the answer was is asked for, and so many others beside it.
    pub logprobs: Option<u64>,
    /// The end user.
    pub user: Option<Text<'a>>,
    /// Members that only some formats have.
    pub extra: Vec<Extra<'a>>,
}

/// A member by the name and with the value that it has in the client's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra<'a> {
    /// Its name, with the path to it.
    pub name: Text<'a>,
    /// Its value.
    pub value: &'a str,
    /// The answer would be another one without it.
    pub essential: bool,
}

impl<'a> Request<'a> {
    /// Keeps a member that the answer does not depend on.
    pub fn keep(&mut self, name: impl Into<Text<'a>>, value: &'a str) {
        self.extra.push(Extra { name: name.into(), value, essential: false });
    }

    /// Keeps a member without which the answer would be another one.
    pub fn need(&mut self, name: impl Into<Text<'a>>, value: &'a str) {
        self.extra.push(Extra { name: name.into(), value, essential: true });
    }

    /// Takes a member that the other format has under the same name.
    pub fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.extra.iter().position(|extra| extra.name == name)?;
        Some(self.extra.remove(at).value)
    }

    /// Takes members that have the same name and meaning in some formats, if it came in one of them.
    pub fn take_shared(
        &mut self,
        formats: &[Format],
        names: &[&'static str],
    ) -> Vec<(&'static str, &'a str)> {
        if self.origin.is_none_or(|origin| !formats.contains(&origin)) {
            return Vec::new();
        }
        names.iter().filter_map(|name| Some((*name, self.take(name)?))).collect()
    }

    /// Takes the members that only its own format has, if this is it.
    pub fn take_own(&mut self, format: Format) -> Vec<(Text<'a>, &'a str)> {
        if self.origin != Some(format) {
            return Vec::new();
        }
        let own = |extra: &Extra<'_>| !extra.name.contains('.');
        let (own, others) = std::mem::take(&mut self.extra).into_iter().partition(own);
        self.extra = others;
        let own: Vec<Extra<'a>> = own;
        own.into_iter().map(|extra| (extra.name, extra.value)).collect()
    }

    /// Accounts for what is left.
    pub fn lose_the_rest(&mut self, loss: &mut Loss) {
        for extra in self.extra.drain(..) {
            let name = extra.name.into_owned();
            if extra.essential { loss.refuse(name) } else { loss.drop(name) }
        }
    }

    /// Takes the instructions, for formats that have a place of their own for them. Those that stand
    /// within the conversation lose their place.
    pub fn take_instructions(&mut self, loss: &mut Loss) -> Vec<Block<'a>> {
        let mut instructions = Vec::new();
        let mut turns = Vec::with_capacity(self.messages.len());
        for (at, message) in std::mem::take(&mut self.messages).into_iter().enumerate() {
            match message.role {
                Role::System | Role::Developer => {
                    if !turns.is_empty() {
                        loss.drop(format!("messages[{at}].role"));
                    }
                    // An empty text is refused by those who have a place for them.
                    let some = |block: &Block<'_>| !matches!(&block.content, Content::Text(text) if text.trim().is_empty());
                    instructions.extend(message.blocks.into_iter().filter(some));
                }
                Role::User | Role::Assistant => turns.push(message),
            }
        }
        self.messages = turns;
        instructions
    }

    /// Leaves out the tools that may not be called, for formats that cannot say so otherwise.
    pub fn narrow_tools(&mut self) {
        let Some(ToolChoice::Among { names, required }) = &self.tool_choice else { return };
        self.tools.retain(|tool| match tool {
            Tool::Function { name, .. } => names.contains(name),
            Tool::Opaque(_) => true,
        });
        let required = *required;
        self.tool_choice = Some(if required { ToolChoice::Required } else { ToolChoice::Auto });
    }

    /// Gives seals that stood in front of a call, for want of a better place, back to it.
    pub fn attach_seals(&mut self) {
        for message in &mut self.messages {
            let mut waiting: Option<Seal<'a>> = None;
            message.blocks.retain_mut(|block| match &mut block.content {
                Content::Thought(thought) if thought.text.is_empty() => {
                    match thought.seal.take_if(|seal| seal.id.as_deref() == Some(Seal::OF_CALL)) {
                        Some(seal) => {
                            waiting = Some(Seal { id: None, ..seal });
                            false
                        }
                        None => true,
                    }
                }
                Content::ToolCall(call) => {
                    call.seal = call.seal.take().or(waiting.take());
                    true
                }
                _ => true,
            });
        }
    }

    /// Joins neighbouring messages of one role, for formats in which the roles alternate and in which
    /// the model has always said something.
    pub fn join_turns(&mut self) {
        let mut joined: Vec<Message<'a>> = Vec::with_capacity(self.messages.len());
        let empty = |block: &Block<'_>| matches!(&block.content, Content::Text(text) if text.trim().is_empty());
        for message in std::mem::take(&mut self.messages) {
            if message.role == Role::Assistant && message.blocks.iter().all(empty) {
                continue;
            }
            match joined.last_mut() {
                Some(last) if last.role == message.role => last.blocks.extend(message.blocks),
                _ => joined.push(message),
            }
        }
        self.messages = joined;
    }

    /// Gives every result the name of its tool, for formats that want it there.
    pub fn name_results(&mut self) {
        let mut names: Vec<(Text<'a>, Text<'a>)> = Vec::new();
        for block in self.messages.iter_mut().flat_map(|message| &mut message.blocks) {
            match &mut block.content {
                Content::ToolCall(call) => names.push((call.id.clone(), call.name.clone())),
                Content::ToolResult(result) if result.name.is_none() => {
                    let named = names.iter().rev().find(|(id, _)| *id == result.call_id);
                    result.name = named.map(|(_, name)| name.clone());
                }
                _ => {}
            }
        }
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator of the model's caller.
    System,
    /// The same, in the newer word of some formats.
    Developer,
    /// The caller. Results of tools are in messages of this role.
    User,
    /// The model.
    Assistant,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub blocks: Vec<Block<'a>>,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// What it is.
    pub content: Content<'a>,
    /// The prompt up to here is to be kept in the provider's cache.
    pub cache: Option<Cache>,
}

impl<'a> Block<'a> {
    /// A piece without a mark.
    pub fn new(content: Content<'a>) -> Self {
        Self { content, cache: None }
    }

    /// A text without a mark.
    pub fn text(text: impl Into<Text<'a>>) -> Self {
        Self::new(Content::Text(text.into()))
    }
}

/// How long a prompt is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// As long as the provider does by default.
    Default,
    /// Five minutes.
    Minutes5,
    /// An hour.
    Hour,
}

impl Cache {
    /// The mark that Anthropic's format has, and that some clients write into others.
    pub fn mark(block: Value<'_>) -> Option<Self> {
        let mark = block.get("cache_control").filter(|mark| mark.kind() == Some(Kind::Object))?;
        let ttl = mark.get("ttl").and_then(|ttl| ttl.as_str());
        Some(match ttl.as_deref() {
            Some("1h") => Cache::Hour,
            Some("5m") => Cache::Minutes5,
            _ => Cache::Default,
        })
    }
}

/// What a piece of a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Text.
    Text(Text<'a>),
    /// The model's refusal.
    Refusal(Text<'a>),
    /// Something to look at or to listen to.
    Media(Media<'a>),
    /// The model calls a tool.
    ToolCall(ToolCall<'a>),
    /// What the tool said.
    ToolResult(ToolResult<'a>),
    /// The model thinks.
    Thought(Thought<'a>),
    /// Something of one format only.
    Opaque(Opaque<'a>),
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall<'a> {
    /// Its id.
    pub id: Text<'a>,
    /// The tool.
    pub name: Text<'a>,
    /// A JSON document.
    pub arguments: Text<'a>,
    /// What the provider wants back with it.
    pub seal: Option<Seal<'a>>,
}

impl ToolCall<'_> {
    /// The arguments as the object that most formats want: an empty one for none, and one around
    /// what is no object.
    pub fn object(&self) -> Text<'_> {
        super::object_of(&self.arguments)
    }
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult<'a> {
    /// The call.
    pub call_id: Text<'a>,
    /// The tool, where it is known.
    pub name: Option<Text<'a>>,
    /// Text and media.
    pub blocks: Vec<Block<'a>>,
    /// The call failed.
    pub is_error: bool,
}

/// A thought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thought<'a> {
    /// What of it may be read.
    pub text: Text<'a>,
    /// What the provider wants back with it.
    pub seal: Option<Seal<'a>>,
}

/// A block, an item or a tool that only one format has, as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque<'a> {
    /// Whose it is.
    pub origin: Format,
    /// What its format calls it.
    pub kind: Text<'a>,
    /// All of it.
    pub value: Text<'a>,
}

/// A tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tool<'a> {
    /// One that the client runs.
    Function {
        /// Its name.
        name: Text<'a>,
        /// What it does.
        description: Option<Text<'a>>,
        /// The JSON Schema of its arguments.
        parameters: Option<Text<'a>>,
        /// The arguments have to follow the schema.
        strict: Option<bool>,
        /// The prompt up to here is to be kept in the provider's cache.
        cache: Option<Cache>,
    },
    /// One that the provider runs.
    Opaque(Opaque<'a>),
}

/// Which tool has to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// The model decides.
    Auto,
    /// None.
    None,
    /// Any.
    Required,
    /// This one.
    Function(Text<'a>),
    /// Any of these, or none of them if it need not be one.
    Among {
        /// The tools.
        names: Vec<Text<'a>>,
        /// One of them has to be called.
        required: bool,
    },
}

/// The shape of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output<'a> {
    /// Text.
    #[default]
    Text,
    /// Some JSON.
    Json,
    /// JSON of a schema.
    Schema(Schema<'a>),
}

/// A schema for an answer.
#[expect(clippy::struct_field_names, reason = "what the formats call it")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema<'a> {
    /// Its name.
    pub name: Option<Text<'a>>,
    /// What it is for.
    pub description: Option<Text<'a>>,
    /// JSON Schema.
    pub schema: Text<'a>,
    /// Whether the answer has to follow it to the letter.
    pub strict: Option<bool>,
}

/// How much the model is to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reasoning {
    /// Whether at all; `None`: as the model likes.
    pub enabled: Option<bool>,
    /// In words.
    pub effort: Option<Effort>,
    /// In tokens.
    pub budget_tokens: Option<u64>,
    /// The client wants to read the thoughts, or does not; `None`: as the format has it.
    pub visible: Option<bool>,
}

/// An effort in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Hardly any.
    Minimal,
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as possible.
    Max,
}

impl Effort {
    /// The effort of this name in any format.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "minimal" => Some(Effort::Minimal),
            "low" => Some(Effort::Low),
            "medium" => Some(Effort::Medium),
            "high" => Some(Effort::High),
            "xhigh" | "max" => Some(Effort::Max),
            _ => None,
        }
    }

    /// The budget that goes with a word.
    pub const fn budget_tokens(self) -> u64 {
        match self {
            Effort::Minimal => 1024,
            Effort::Low => 2048,
            Effort::Medium => 8192,
            Effort::High => 24576,
            Effort::Max => 32768,
        }
    }

    /// The word that goes with a budget.
    pub const fn of_budget(tokens: u64) -> Self {
        match tokens {
            0..=1024 => Effort::Minimal,
            1025..=4096 => Effort::Low,
            4097..=16384 => Effort::Medium,
            16385..=28672 => Effort::High,
            _ => Effort::Max,
        }
    }
}

impl Reasoning {
    /// Nothing said.
    pub const UNSAID: Self =
        Self { enabled: None, effort: None, budget_tokens: None, visible: None };

    /// The effort, in a word.
    pub fn word(&self) -> Option<Effort> {
        self.effort.or_else(|| self.budget_tokens.map(Effort::of_budget))
    }

    /// The budget, in tokens.
    pub fn tokens(&self) -> Option<u64> {
        self.budget_tokens.or_else(|| self.effort.map(Effort::budget_tokens))
    }

    /// Whether the model is told to think.
    pub fn wanted(&self) -> bool {
        self.enabled
            .unwrap_or(self.effort.is_some() || self.budget_tokens.is_some_and(|tokens| tokens > 0))
    }
}
