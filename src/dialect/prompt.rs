//! The text of a prompt, for when it has to be counted here.

use super::text::{TextKind, TextSink, Texts, channel};
use super::{Dialect, anthropic, bedrock, cohere, gemini, openai};
use crate::wire::json::{Value, lazy};

/// Hands the text of a prompt, which is in a JSON body, to `sink`, each piece on a channel of its own.
/// Images, audio and tool definitions are left out: no public tokenizer counts them.
pub fn prompt_text(dialect: Dialect, body: &[u8], sink: &mut dyn TextSink) {
    let object = lazy(body);
    let prompt = &mut Prompt { texts: Texts::default(), sink, pieces: 0 };
    match dialect {
        Dialect::OpenAi => openai::request::prompt(object, prompt),
        Dialect::Anthropic => anthropic::request::prompt(object, prompt),
        Dialect::Gemini => gemini::request::prompt(object, prompt),
        Dialect::Cohere => cohere::request::prompt(object, prompt),
        Dialect::Bedrock => bedrock::request::prompt(object, prompt),
    }
}

/// Takes the pieces of a prompt.
pub(super) struct Prompt<'s> {
    texts: Texts,
    sink: &'s mut dyn TextSink,
    pieces: u64,
}

impl Prompt<'_> {
    /// A piece, if it is a string.
    pub fn push(&mut self, value: Value<'_>) {
        self.texts.push(channel(self.pieces, TextKind::Text, 0), value, self.sink);
        self.pieces += 1;
    }
}
