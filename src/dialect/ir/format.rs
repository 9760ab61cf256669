//! The formats between which chats are translated.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Dialect, Endpoint};

/// A format of chat requests, answers and streams. A dialect has one, but that `OpenAI` has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `OpenAI` Chat Completions.
    #[serde(rename = "chat_completions")]
    Chat,
    /// `OpenAI` Responses.
    Responses,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini `generateContent`.
    Gemini,
    /// Cohere's second chat API.
    Cohere,
    /// Bedrock Converse.
    Bedrock,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 6] = [
        Format::Chat,
        Format::Responses,
        Format::Anthropic,
        Format::Gemini,
        Format::Cohere,
        Format::Bedrock,
    ];

    /// The name in messages, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Chat => "chat_completions",
            Format::Responses => "responses",
            Format::Anthropic => "anthropic",
            Format::Gemini => "gemini",
            Format::Cohere => "cohere",
            Format::Bedrock => "bedrock",
        }
    }

    /// The format with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// The format that an endpoint is of, if it is one of chats.
    pub const fn of(endpoint: Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::ChatCompletions => Some(Format::Chat),
            Endpoint::Responses => Some(Format::Responses),
            Endpoint::Messages => Some(Format::Anthropic),
            Endpoint::GenerateContent | Endpoint::StreamGenerateContent => Some(Format::Gemini),
            Endpoint::CohereChat => Some(Format::Cohere),
            Endpoint::Converse | Endpoint::ConverseStream => Some(Format::Bedrock),
            _ => None,
        }
    }

    /// The dialect that it belongs to.
    pub const fn dialect(self) -> Dialect {
        match self {
            Format::Chat | Format::Responses => Dialect::OpenAi,
            Format::Anthropic => Dialect::Anthropic,
            Format::Gemini => Dialect::Gemini,
            Format::Cohere => Dialect::Cohere,
            Format::Bedrock => Dialect::Bedrock,
        }
    }

    /// Its endpoint.
    pub const fn endpoint(self, stream: bool) -> Endpoint {
        match (self, stream) {
            (Format::Chat, _) => Endpoint::ChatCompletions,
            (Format::Responses, _) => Endpoint::Responses,
            (Format::Anthropic, _) => Endpoint::Messages,
            (Format::Gemini, false) => Endpoint::GenerateContent,
            (Format::Gemini, true) => Endpoint::StreamGenerateContent,
            (Format::Cohere, _) => Endpoint::CohereChat,
            (Format::Bedrock, false) => Endpoint::Converse,
            (Format::Bedrock, true) => Endpoint::ConverseStream,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
