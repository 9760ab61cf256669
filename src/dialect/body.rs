//! What a whole answer says: what it used, whether it is an error, whether there is anything in it.

use std::sync::LazyLock;

use super::observe::{Facts, Frame, Run};
use super::text::{NoText, TextSink, Texts};
use super::{Dialect, Endpoint, StreamError, Usage, anthropic, bedrock, cohere, gemini, openai};
use crate::wire::json::{Kind, LastKey, Value, lazy};

/// What a whole answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyFacts {
    /// What was used, in the provider's count.
    pub usage: Option<Usage>,
    /// The provider's own error.
    pub error: Option<StreamError>,
    /// There is no answer in it, though it may be well-formed.
    pub empty: bool,
    /// The model that it names.
    pub model: Option<String>,
    /// Why it ended, in the provider's word.
    pub finish_reason: Option<String>,
}

/// What a whole answer used, in the provider's count, and no more than that. Where the provider does
/// not say it, the text goes to `sink`.
pub fn body_usage(
    endpoint: Endpoint,
    dialect: Dialect,
    body: &[u8],
    sink: &mut dyn TextSink,
) -> Option<Usage> {
    let document = lazy(body);
    if document.kind() != Some(Kind::Object) {
        return None;
    }
    let usage = usage(endpoint, dialect, document);
    if usage.is_none() {
        let (mut facts, mut texts) = (Facts::default(), Texts::default());
        let mut run = Run::new(&mut facts, &mut texts, sink);
        run.frame(0..body.len(), |frame| read(endpoint, dialect, body, frame));
    }
    usage
}

/// Looks at a whole answer. Its text goes to `sink` only if the provider does not say what was used,
/// so that nothing is counted twice.
pub fn observe_body(
    endpoint: Endpoint,
    dialect: Dialect,
    body: &[u8],
    sink: &mut dyn TextSink,
) -> BodyFacts {
    let document = lazy(body);
    if document.kind() != Some(Kind::Object) {
        // Audio, files, vectors: whatever it is, it is something.
        return BodyFacts { empty: body.trim_ascii().is_empty(), ..BodyFacts::default() };
    }
    let usage = usage(endpoint, dialect, document);
    let mut nobody = NoText;
    let sink: &mut dyn TextSink = if usage.is_some() { &mut nobody } else { sink };
    let (mut facts, mut texts) = (Facts::default(), Texts::default());
    let mut run = Run::new(&mut facts, &mut texts, sink);
    run.frame(0..body.len(), |frame| read(endpoint, dialect, body, frame));
    let observed = run.observed(body.len());
    BodyFacts {
        usage,
        empty: observed.error.is_none() && is_empty(endpoint, dialect, document),
        error: observed.error.map(|error| *error),
        model: facts.take_model(),
        finish_reason: facts.take_finish_reason(),
    }
}

/// Where nearly all of them say it.
static USAGE: LazyLock<LastKey> = LazyLock::new(|| LastKey::new("usage"));
/// Where Gemini says it.
static USAGE_METADATA: LazyLock<LastKey> = LazyLock::new(|| LastKey::new("usageMetadata"));

/// What a whole answer of a dialect says it used.
pub(super) fn usage(endpoint: Endpoint, dialect: Dialect, document: Value<'_>) -> Option<Usage> {
    let found = || document.get_last(&USAGE);
    match dialect {
        Dialect::OpenAi => openai::last_usage(document, &USAGE),
        Dialect::Anthropic if endpoint == Endpoint::CountTokens => counted(document),
        Dialect::Anthropic => found().and_then(anthropic::usage),
        Dialect::Gemini => document.get_last(&USAGE_METADATA).and_then(gemini::usage),
        Dialect::Cohere => found().or_else(|| document.get("meta")).and_then(cohere::usage),
        Dialect::Bedrock => found().and_then(bedrock::usage).or_else(|| {
            let invoked = (endpoint == Endpoint::InvokeModel).then(|| invoked(document));
            invoked.flatten()
        }),
    }
}

/// The answer of a token count, which is not billed, but says how long the prompt is.
fn counted(document: Value<'_>) -> Option<Usage> {
    let input = document.get("input_tokens").and_then(super::usage::count)?;
    Some(Usage { input, ..Usage::default() })
}

/// An answer of `InvokeModel`, which is that of the model's maker.
fn invoked(document: Value<'_>) -> Option<Usage> {
    let titan = document.get("inputTextTokenCount").and_then(super::usage::count);
    let titan = titan.map(|input| Usage { input, ..Usage::default() });
    titan.or_else(|| document.get_last(&USAGE).and_then(anthropic::usage))
}

fn read(endpoint: Endpoint, dialect: Dialect, body: &[u8], frame: &mut Frame<'_>) {
    match dialect {
        Dialect::OpenAi => openai::body::read(endpoint, body, frame),
        Dialect::Anthropic => anthropic::body::read(body, frame),
        Dialect::Gemini => gemini::answer::Decoder::default().event(body, frame),
        Dialect::Cohere => cohere::body::read(body, frame),
        Dialect::Bedrock => bedrock::body::read(body, frame),
    }
}

/// Whether what an answer of this endpoint must have is missing.
fn is_empty(endpoint: Endpoint, dialect: Dialect, document: Value<'_>) -> bool {
    let has = |key| document.get(key).is_some_and(|value| !value.is_null());
    let some_of = |key| {
        let list = document.get(key).filter(|list| list.kind() == Some(Kind::Array));
        list.is_some_and(|list| !list.is_empty())
    };
    match (dialect, endpoint) {
        (Dialect::OpenAi, Endpoint::ChatCompletions | Endpoint::Completions) => !some_of("choices"),
        (Dialect::OpenAi, Endpoint::Embeddings) => !some_of("data"),
        (Dialect::Anthropic, Endpoint::Messages) => !has("content"),
        (Dialect::Gemini, Endpoint::GenerateContent | Endpoint::StreamGenerateContent) => {
            !some_of("candidates") && !has("promptFeedback")
        }
        (Dialect::Cohere, Endpoint::CohereChat) => !has("message"),
        (Dialect::Bedrock, Endpoint::Converse) => !has("output"),
        _ => document.members().next().is_none(),
    }
}

#[cfg(test)]
mod tests;
