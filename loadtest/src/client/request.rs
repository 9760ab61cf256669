//! Requests of every endpoint, as the bytes that go over the wire.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Deserialize;

/// An endpoint of the data plane that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/rerank`
    Rerank,
    /// `POST /v1/moderations`
    Moderations,
    /// `POST /v1/images/generations`
    Images,
    /// `POST /v1/audio/speech`
    Speech,
    /// `POST /v1/audio/transcriptions` (multipart)
    Transcriptions,
    /// `POST /v1/files` (multipart)
    Files,
    /// `POST /v1/batches`
    Batches,
    /// `GET /v1/models`
    Models,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1beta/models/{model}:generateContent` or `:streamGenerateContent`
    Generate,
    /// `POST /v1beta/models/{model}:countTokens`
    GeminiCountTokens,
    /// `POST /v1beta/models/{model}:embedContent`
    EmbedContent,
    /// `POST /v2/chat`
    CohereChat,
    /// `POST /v2/embed`
    CohereEmbed,
    /// `POST /model/{id}/converse` or `/converse-stream`
    Converse,
    /// `GET /v1/realtime` (WebSocket)
    Realtime,
    /// `POST /passthrough/one-openai/v1/chat/completions`: to a provider of the scenarios
    Passthrough,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Endpoint; 22] = [
        Endpoint::Chat,
        Endpoint::Completions,
        Endpoint::Responses,
        Endpoint::Embeddings,
        Endpoint::Rerank,
        Endpoint::Moderations,
        Endpoint::Images,
        Endpoint::Speech,
        Endpoint::Transcriptions,
        Endpoint::Files,
        Endpoint::Batches,
        Endpoint::Models,
        Endpoint::Messages,
        Endpoint::CountTokens,
        Endpoint::Generate,
        Endpoint::GeminiCountTokens,
        Endpoint::EmbedContent,
        Endpoint::CohereChat,
        Endpoint::CohereEmbed,
        Endpoint::Converse,
        Endpoint::Realtime,
        Endpoint::Passthrough,
    ];

    /// The name on the command line and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Endpoint::Chat => "chat",
            Endpoint::Completions => "completions",
            Endpoint::Responses => "responses",
            Endpoint::Embeddings => "embeddings",
            Endpoint::Rerank => "rerank",
            Endpoint::Moderations => "moderations",
            Endpoint::Images => "images",
            Endpoint::Speech => "speech",
            Endpoint::Transcriptions => "transcriptions",
            Endpoint::Files => "files",
            Endpoint::Batches => "batches",
            Endpoint::Models => "models",
            Endpoint::Messages => "messages",
            Endpoint::CountTokens => "count_tokens",
            Endpoint::Generate => "generate",
            Endpoint::GeminiCountTokens => "gemini_count_tokens",
            Endpoint::EmbedContent => "embed_content",
            Endpoint::CohereChat => "cohere_chat",
            Endpoint::CohereEmbed => "cohere_embed",
            Endpoint::Converse => "converse",
            Endpoint::Realtime => "realtime",
            Endpoint::Passthrough => "passthrough",
        }
    }

    /// Whether it can stream.
    pub const fn streams(self) -> bool {
        matches!(
            self,
            Endpoint::Chat
                | Endpoint::Completions
                | Endpoint::Responses
                | Endpoint::Messages
                | Endpoint::Generate
                | Endpoint::CohereChat
                | Endpoint::Converse
                | Endpoint::Passthrough
        )
    }

    /// Where an answer that is not a stream says how many tokens it has.
    pub const fn token_key(self) -> Option<&'static str> {
        match self {
            Endpoint::Chat | Endpoint::Completions => Some("\"completion_tokens\":"),
            Endpoint::Responses | Endpoint::Messages | Endpoint::CohereChat => {
                Some("\"output_tokens\":")
            }
            Endpoint::Generate => Some("\"candidatesTokenCount\":"),
            Endpoint::Converse => Some("\"outputTokens\":"),
            _ => None,
        }
    }

    /// The model that is asked for when none is named.
    pub const fn default_model(self) -> &'static str {
        match self {
            Endpoint::Messages | Endpoint::CountTokens => "claude-sonnet-4",
            Endpoint::Generate | Endpoint::GeminiCountTokens => "gemini-2.5-flash",
            Endpoint::EmbedContent => "gemini-embedding-001",
            Endpoint::CohereChat => "command-a",
            Endpoint::CohereEmbed => "embed-v4.0",
            Endpoint::Rerank => "rerank-v3.5",
            Endpoint::Converse => "amazon.nova-lite-v1:0",
            Endpoint::Embeddings => "text-embedding-3-small",
            Endpoint::Moderations => "omni-moderation-latest",
            Endpoint::Images => "gpt-image-1",
            Endpoint::Speech => "gpt-4o-mini-tts",
            Endpoint::Transcriptions => "gpt-4o-mini-transcribe",
            Endpoint::Realtime => "gpt-realtime",
            _ => "gpt-4o",
        }
    }

    fn path(self, model: &str, stream: bool) -> String {
        let fixed = match self {
            Endpoint::Chat => "/v1/chat/completions",
            Endpoint::Completions => "/v1/completions",
            Endpoint::Responses => "/v1/responses",
            Endpoint::Embeddings => "/v1/embeddings",
            Endpoint::Rerank => "/v1/rerank",
            Endpoint::Moderations => "/v1/moderations",
            Endpoint::Images => "/v1/images/generations",
            Endpoint::Speech => "/v1/audio/speech",
            Endpoint::Transcriptions => "/v1/audio/transcriptions",
            Endpoint::Files => "/v1/files",
            Endpoint::Batches => "/v1/batches",
            Endpoint::Models => "/v1/models",
            Endpoint::Messages => "/v1/messages",
            Endpoint::CountTokens => "/v1/messages/count_tokens",
            Endpoint::CohereChat => "/v2/chat",
            Endpoint::CohereEmbed => "/v2/embed",
            Endpoint::Passthrough => "/passthrough/one-openai/v1/chat/completions",
            Endpoint::Realtime => return format!("/v1/realtime?model={model}"),
            Endpoint::Generate if stream => {
                return format!("/v1beta/models/{model}:streamGenerateContent?alt=sse");
            }
            Endpoint::Generate => return format!("/v1beta/models/{model}:generateContent"),
            Endpoint::GeminiCountTokens => return format!("/v1beta/models/{model}:countTokens"),
            Endpoint::EmbedContent => return format!("/v1beta/models/{model}:embedContent"),
            Endpoint::Converse if stream => {
                return format!("/model/{}/converse-stream", model.replace(':', "%3A"));
            }
            Endpoint::Converse => return format!("/model/{}/converse", model.replace(':', "%3A")),
        };
        fixed.into()
    }

    /// The body without its filler, which stands where `text` goes.
    fn body(self, model: &str, stream: bool, tokens: u32, text: &str) -> String {
        let flag = if stream { ",\"stream\":true" } else { "" };
        let user = format!("[{{\"role\":\"user\",\"content\":\"{text}\"}}]");
        match self {
            Endpoint::Chat | Endpoint::CohereChat | Endpoint::Passthrough => format!(
                "{{\"model\":\"{model}\",\"messages\":{user},\"max_tokens\":{tokens}{flag}}}"
            ),
            Endpoint::Completions => format!(
                "{{\"model\":\"{model}\",\"prompt\":\"{text}\",\"max_tokens\":{tokens}{flag}}}"
            ),
            Endpoint::Responses => format!(
                "{{\"model\":\"{model}\",\"input\":\"{text}\",\"max_output_tokens\":{tokens}{flag}}}"
            ),
            Endpoint::Messages => format!(
                "{{\"model\":\"{model}\",\"max_tokens\":{tokens},\"messages\":{user}{flag}}}"
            ),
            Endpoint::CountTokens => format!("{{\"model\":\"{model}\",\"messages\":{user}}}"),
            Endpoint::Embeddings | Endpoint::Moderations | Endpoint::Speech => {
                let voice = if self == Endpoint::Speech { ",\"voice\":\"alloy\"" } else { "" };
                format!("{{\"model\":\"{model}\",\"input\":\"{text}\"{voice}}}")
            }
            Endpoint::Rerank => format!(
                "{{\"model\":\"{model}\",\"query\":\"weir\",\"documents\":[\"{text}\",\"a low dam\"]}}"
            ),
            Endpoint::Images => format!("{{\"model\":\"{model}\",\"prompt\":\"{text}\"}}"),
            Endpoint::Batches => "{\"input_file_id\":\"file-1\",\"endpoint\":\
                \"/v1/chat/completions\",\"completion_window\":\"24h\"}"
                .into(),
            Endpoint::Generate => format!(
                "{{\"contents\":[{{\"role\":\"user\",\"parts\":[{{\"text\":\"{text}\"}}]}}],\
                \"generationConfig\":{{\"maxOutputTokens\":{tokens}}}}}"
            ),
            Endpoint::GeminiCountTokens => {
                format!("{{\"contents\":[{{\"parts\":[{{\"text\":\"{text}\"}}]}}]}}")
            }
            Endpoint::EmbedContent => {
                format!("{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}}}")
            }
            Endpoint::CohereEmbed => format!(
                "{{\"model\":\"{model}\",\"texts\":[\"{text}\"],\"input_type\":\"search_query\",\
                \"embedding_types\":[\"float\"]}}"
            ),
            Endpoint::Converse => format!(
                "{{\"messages\":[{{\"role\":\"user\",\"content\":[{{\"text\":\"{text}\"}}]}}],\
                \"inferenceConfig\":{{\"maxTokens\":{tokens}}}}}"
            ),
            Endpoint::Transcriptions => format!(
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n\
                --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; \
                filename=\"a.wav\"\r\ncontent-type: audio/wav\r\n\r\n{text}\r\n--{BOUNDARY}--\r\n"
            ),
            Endpoint::Files => format!(
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
                --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; \
                filename=\"a.jsonl\"\r\n\r\n{text}\r\n--{BOUNDARY}--\r\n"
            ),
            Endpoint::Models | Endpoint::Realtime => String::new(),
        }
    }

    fn content_type(self) -> Option<String> {
        match self {
            Endpoint::Models | Endpoint::Realtime => None,
            Endpoint::Transcriptions | Endpoint::Files => {
                Some(format!("multipart/form-data; boundary={BOUNDARY}"))
            }
            _ => Some("application/json".into()),
        }
    }

    fn key_header(self, key: &str) -> (&'static str, String) {
        match self {
            Endpoint::Messages | Endpoint::CountTokens => ("x-api-key", key.into()),
            Endpoint::Generate | Endpoint::GeminiCountTokens | Endpoint::EmbedContent => {
                ("x-goog-api-key", key.into())
            }
            _ => ("authorization", format!("Bearer {key}")),
        }
    }
}

const BOUNDARY: &str = "weir-loadtest-7MA4YWxkTrZu0gW";
const FILLER: &str = "The quick brown fox jumps over the lazy dog. ";

/// One kind of request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether the answer streams.
    #[serde(default)]
    pub stream: bool,
    /// The model; by default one that fits the endpoint.
    #[serde(default)]
    pub model: Option<String>,
    /// At least this long is the body, filled with words.
    #[serde(default)]
    pub body_bytes: usize,
    /// Tokens asked for.
    #[serde(default = "tokens_default")]
    pub tokens: u32,
    /// The API key, put where the endpoint's own clients put it.
    #[serde(default)]
    pub key: Option<String>,
    /// More headers, as `name: value`.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Whether a response is kept, for endpoints that keep them unless they are told not to.
    #[serde(default = "store_default")]
    pub store: bool,
    /// Its share in a mix.
    #[serde(default = "weight_default")]
    pub weight: u32,
}

fn tokens_default() -> u32 {
    32
}

fn store_default() -> bool {
    true
}

fn weight_default() -> u32 {
    1
}

impl Shape {
    /// A request of `endpoint` with everything else left at its default.
    pub fn new(endpoint: Endpoint, stream: bool) -> Self {
        Self {
            endpoint,
            stream,
            model: None,
            body_bytes: 0,
            tokens: tokens_default(),
            key: None,
            headers: Vec::new(),
            store: store_default(),
            weight: weight_default(),
        }
    }

    fn body(&self, model: &str, text: &str) -> String {
        let mut body = self.endpoint.body(model, self.stream, self.tokens, text);
        if !self.store && self.endpoint == Endpoint::Responses && body.pop().is_some() {
            body.push_str(",\"store\":false}");
        }
        body
    }

    /// Method, path, headers and body, for any version of HTTP.
    pub fn parts(&self) -> Parts {
        let model = self.model.as_deref().unwrap_or(self.endpoint.default_model());
        let empty = self.body(model, "");
        let text: String = FILLER
            .chars()
            .cycle()
            .take(self.body_bytes.saturating_sub(empty.len()).max(16))
            .collect();
        let body = self.body(model, &text);
        let mut headers = Vec::new();
        if let Some(value) = self.endpoint.content_type() {
            headers.push(("content-type".to_owned(), value));
        }
        if let Some(key) = &self.key {
            let (name, value) = self.endpoint.key_header(key);
            headers.push((name.to_owned(), value));
        }
        if matches!(self.endpoint, Endpoint::Messages | Endpoint::CountTokens) {
            headers.push(("anthropic-version".to_owned(), "2023-06-01".to_owned()));
        }
        if self.endpoint == Endpoint::Realtime {
            // RFC 6455, 4.1; the key is that of its example.
            for (name, value) in [
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ] {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        for header in &self.headers {
            let (name, value) = header.split_once(':').unwrap_or((header, ""));
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        Parts {
            method: match self.endpoint {
                Endpoint::Models | Endpoint::Realtime => "GET",
                _ => "POST",
            },
            path: self.endpoint.path(model, self.stream),
            headers,
            body: body.into_bytes(),
        }
    }

    /// The request as HTTP/1.1.
    pub fn http1(&self, host: &str) -> Vec<u8> {
        let parts = self.parts();
        let mut wire = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", parts.method, parts.path);
        for (name, value) in &parts.headers {
            let _ = write!(wire, "{name}: {value}\r\n");
        }
        if parts.method == "POST" {
            let _ = write!(wire, "content-length: {}\r\n", parts.body.len());
        }
        wire.push_str("\r\n");
        let mut wire = wire.into_bytes();
        wire.extend_from_slice(&parts.body);
        wire
    }

    /// The name in reports.
    pub fn name(&self) -> String {
        format!("{}{}", self.endpoint.as_str(), if self.stream { " stream" } else { "" })
    }
}

/// A request before it is written for a version of HTTP.
#[derive(Debug)]
pub struct Parts {
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// Headers without `host` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_json_body_is_json_and_as_long_as_asked() {
        for endpoint in Endpoint::ALL {
            let mut shape = Shape::new(endpoint, endpoint.streams());
            shape.body_bytes = 2_000;
            let parts = shape.parts();
            let json = parts.headers.contains(&("content-type".into(), "application/json".into()));
            if json {
                assert!(serde_json::from_slice::<serde_json::Value>(&parts.body).is_ok());
                if endpoint != Endpoint::Batches {
                    assert_eq!(parts.body.len(), 2_000, "{}", endpoint.as_str());
                }
            }
        }
    }

    #[test]
    fn the_wire_form_has_one_length_and_the_key() {
        let mut shape = Shape::new(Endpoint::Messages, true);
        shape.key = Some("k".into());
        shape.headers.push("X-Tier: gold".into());
        let wire = String::from_utf8(shape.http1("weir:80")).unwrap_or_default();
        let (head, body) = wire.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with("POST /v1/messages HTTP/1.1\r\nhost: weir:80\r\n"));
        assert!(head.contains("x-api-key: k") && head.contains("x-tier: gold"));
        assert!(head.contains(&format!("content-length: {}", body.len())));
    }
}
