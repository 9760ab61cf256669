//! What a request for embeddings asks for, and what its answer says.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::call::Call;
use super::super::{Dialect, Endpoint, Usage};
use super::{Extra, Loss, Text, raw};
use crate::wire::json::Value;

/// A format of requests for embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedFormat {
    /// `OpenAI`'s `/v1/embeddings`.
    OpenAi,
    /// Gemini's `embedContent`: one input.
    GeminiOne,
    /// Gemini's `batchEmbedContents`.
    Gemini,
    /// Cohere's `/v2/embed`.
    Cohere,
    /// Bedrock's `InvokeModel`, with the body of Amazon's or of Cohere's models.
    Bedrock,
}

impl EmbedFormat {
    /// The format of a call, if it is one for embeddings.
    pub fn of(call: &Call<'_>) -> Option<Self> {
        match call.endpoint {
            Endpoint::Embeddings => Some(EmbedFormat::OpenAi),
            Endpoint::EmbedContent if call.tail.ends_with(":embedContent") => {
                Some(EmbedFormat::GeminiOne)
            }
            Endpoint::EmbedContent => Some(EmbedFormat::Gemini),
            Endpoint::CohereEmbed => Some(EmbedFormat::Cohere),
            Endpoint::InvokeModel => Some(EmbedFormat::Bedrock),
            _ => None,
        }
    }

    /// The one in which an upstream is asked.
    pub const fn of_dialect(dialect: Dialect) -> Option<Self> {
        match dialect {
            Dialect::OpenAi => Some(EmbedFormat::OpenAi),
            Dialect::Gemini => Some(EmbedFormat::Gemini),
            Dialect::Cohere => Some(EmbedFormat::Cohere),
            Dialect::Bedrock => Some(EmbedFormat::Bedrock),
            Dialect::Anthropic => None,
        }
    }

    /// The dialect that it belongs to.
    pub const fn dialect(self) -> Dialect {
        match self {
            EmbedFormat::OpenAi => Dialect::OpenAi,
            EmbedFormat::GeminiOne | EmbedFormat::Gemini => Dialect::Gemini,
            EmbedFormat::Cohere => Dialect::Cohere,
            EmbedFormat::Bedrock => Dialect::Bedrock,
        }
    }

    /// Its endpoint.
    pub const fn endpoint(self) -> Endpoint {
        match self {
            EmbedFormat::OpenAi => Endpoint::Embeddings,
            EmbedFormat::GeminiOne | EmbedFormat::Gemini => Endpoint::EmbedContent,
            EmbedFormat::Cohere => Endpoint::CohereEmbed,
            EmbedFormat::Bedrock => Endpoint::InvokeModel,
        }
    }

    /// The path below a base address, and where the model stands in it.
    pub const fn tail(self) -> (&'static str, Option<Range<usize>>) {
        match self {
            EmbedFormat::OpenAi => ("/embeddings", None),
            EmbedFormat::GeminiOne => ("/v1beta/models/-:embedContent", Some(15..16)),
            EmbedFormat::Gemini => ("/v1beta/models/-:batchEmbedContents", Some(15..16)),
            EmbedFormat::Cohere => ("/v2/embed", None),
            EmbedFormat::Bedrock => ("/model/-/invoke", Some(7..8)),
        }
    }

    /// The name in messages, logs and metrics: that of its endpoint.
    pub const fn as_str(self) -> &'static str {
        self.endpoint().as_str()
    }
}

/// A request for embeddings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedRequest<'a> {
    /// What is embedded.
    pub inputs: Vec<EmbedInput<'a>>,
    /// How many numbers a vector is to have.
    pub dimensions: Option<u64>,
    /// How they are to be written; empty if the request does not say.
    pub encodings: Vec<Encoding>,
    /// What the vectors are for.
    pub purpose: Option<Purpose>,
    /// The end user.
    pub user: Option<Text<'a>>,
    /// Members that only some formats have.
    pub extra: Vec<Extra<'a>>,
}

/// One thing that is embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbedInput<'a> {
    /// A text.
    Text(Text<'a>),
    /// Tokens of a vocabulary that both sides have to know.
    Tokens(&'a str),
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A list of numbers.
    Float,
    /// Single precision, little-endian, in base64.
    Base64,
    /// Signed bytes.
    Int8,
    /// Bytes.
    Uint8,
    /// Signed bytes of eight bits each.
    Binary,
    /// Bytes of eight bits each.
    Ubinary,
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Encoding; 6] = [
        Encoding::Float,
        Encoding::Base64,
        Encoding::Int8,
        Encoding::Uint8,
        Encoding::Binary,
        Encoding::Ubinary,
    ];

    /// The name that it has in every format that has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Encoding::Float => "float",
            Encoding::Base64 => "base64",
            Encoding::Int8 => "int8",
            Encoding::Uint8 => "uint8",
            Encoding::Binary => "binary",
            Encoding::Ubinary => "ubinary",
        }
    }

    /// The encoding of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.as_str() == name)
    }
}

/// What vectors are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A question that documents are searched for.
    Query,
    /// A document that is searched.
    Document,
    /// Features of a classifier.
    Classification,
    /// Groups.
    Clustering,
}

impl EmbedRequest<'_> {
    /// How vectors are to be written, in the order in which they were asked for.
    pub fn wanted(&self) -> &[Encoding] {
        if self.encodings.is_empty() { &[Encoding::Float] } else { &self.encodings }
    }

    /// Refuses encodings other than numbers, which can be written either way.
    pub fn refuse_quantized(&self, field: &'static str, loss: &mut Loss) {
        let plain = |each: &Encoding| matches!(each, Encoding::Float | Encoding::Base64);
        if !self.encodings.iter().all(plain) {
            loss.refuse(field);
        }
    }

    /// Accounts for what is left.
    pub fn lose_the_rest(&mut self, loss: &mut Loss) {
        for extra in self.extra.drain(..) {
            let name = extra.name.into_owned();
            if extra.essential { loss.refuse(name) } else { loss.drop(name) }
        }
    }
}

/// Embeddings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedAnswer<'a> {
    /// Its id, where the format has one.
    pub id: Option<Text<'a>>,
    /// The model that gave it.
    pub model: Option<Text<'a>>,
    /// A vector for each input.
    pub vectors: Vec<Vector<'a>>,
    /// What was used.
    pub usage: Option<Usage>,
}

/// One vector, in the encodings in which it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vector<'a> {
    /// Each with its JSON.
    pub written: Vec<(Encoding, &'a str)>,
}

impl<'a> Vector<'a> {
    /// A vector in one encoding.
    pub fn one(encoding: Encoding, value: Value<'a>) -> Self {
        Self { written: vec![(encoding, raw(value))] }
    }

    /// Its JSON in an encoding. `None` if it did not come in one from which it can be made.
    pub fn json(&self, encoding: Encoding) -> Option<Text<'a>> {
        let find = |wanted| self.written.iter().find(|(each, _)| *each == wanted);
        if let Some((_, json)) = find(encoding) {
            return Some(Text::Borrowed(*json));
        }
        match encoding {
            Encoding::Float => floats(find(Encoding::Base64)?.1).map(Text::Owned),
            Encoding::Base64 => base64(find(Encoding::Float)?.1).map(Text::Owned),
            _ => None,
        }
    }
}

/// A list of numbers as a base64 string, both in JSON.
fn base64(numbers: &str) -> Option<String> {
    let inner = numbers.trim().strip_prefix('[')?.strip_suffix(']')?;
    let mut bytes = Vec::with_capacity(inner.len() / 2);
    for number in inner.split(',').map(str::trim).filter(|number| !number.is_empty()) {
        let number: f32 = number.parse().ok()?;
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    Some(format!("\"{}\"", STANDARD.encode(bytes)))
}

/// A base64 string as a list of numbers, both in JSON.
fn floats(string: &str) -> Option<String> {
    use std::fmt::Write as _;
    let text = crate::wire::json::lazy(string.as_bytes()).as_str()?.into_owned();
    let bytes = STANDARD.decode(text).ok()?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(bytes.len() * 3 + 2);
    out.push('[');
    for (at, number) in numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).enumerate() {
        if !number.is_finite() {
            return None;
        }
        let separator = if at > 0 { "," } else { "" };
        let _ = write!(out, "{separator}{number}");
    }
    out.push(']');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_encoding_is_made_of_the_other() {
        let floats = Vector { written: vec![(Encoding::Float, "[ 1, -0.5 ,1e-7]")] };
        let base64 = floats.json(Encoding::Base64).expect("made");
        assert_eq!(base64, "\"AACAPwAAAL+Vv9Yz\"");
        let back = Vector { written: vec![(Encoding::Base64, &base64)] };
        assert_eq!(back.json(Encoding::Float).as_deref(), Some("[1,-0.5,0.0000001]"));
        assert_eq!(floats.json(Encoding::Int8), None);
    }

    #[test]
    fn what_is_no_vector_is_none() {
        for (encoding, json) in [
            (Encoding::Float, "[1,\"x\"]"),
            (Encoding::Float, "7"),
            (Encoding::Base64, "\"AAAA\""),
            (Encoding::Base64, "\"!\""),
            (Encoding::Base64, "\"AADAfw==\""),
        ] {
            let other =
                if encoding == Encoding::Float { Encoding::Base64 } else { Encoding::Float };
            assert_eq!(Vector { written: vec![(encoding, json)] }.json(other), None, "{json}");
        }
    }
}
