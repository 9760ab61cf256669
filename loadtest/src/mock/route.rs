//! Which endpoint a path is. All six formats live on one port: their paths differ, and where two
//! share one (`/v1/models`) the client's headers tell them apart. A prefix before the version
//! (`/openai/v1/…`, `/a/v1/…`) is allowed and remembered, so that one port can play several providers.

use http::Method;
use serde::Serialize;

use super::request::{Fields, Slot, decode};

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// `OpenAI` and what is compatible with it.
    OpenAi,
    /// Anthropic Messages.
    Anthropic,
    /// Google Gemini.
    Gemini,
    /// Cohere v2.
    Cohere,
    /// Amazon Bedrock Converse.
    Bedrock,
}

impl Dialect {
    /// The header that names a request in an answer.
    pub(super) fn request_id_header(self) -> &'static str {
        match self {
            Dialect::Anthropic => "request-id",
            Dialect::Bedrock => "x-amzn-requestid",
            _ => "x-request-id",
        }
    }
}

macro_rules! endpoints {
    ($($variant:ident $name:literal $dialect:ident,)*) => {
        /// An endpoint of a simulated provider.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "the names say it")]
        pub enum Endpoint { $($variant,)* }

        impl Endpoint {
            /// Every endpoint.
            pub const ALL: &[Endpoint] = &[$(Endpoint::$variant,)*];

            /// Its name in the books.
            pub const fn as_str(self) -> &'static str {
                match self { $(Endpoint::$variant => $name,)* }
            }

            /// The wire format it speaks.
            pub const fn dialect(self) -> Dialect {
                match self { $(Endpoint::$variant => Dialect::$dialect,)* }
            }
        }
    };
}

endpoints! {
    ChatCompletions "chat_completions" OpenAi,
    Completions "completions" OpenAi,
    Responses "responses" OpenAi,
    Embeddings "embeddings" OpenAi,
    Moderations "moderations" OpenAi,
    Images "images" OpenAi,
    Speech "speech" OpenAi,
    Transcriptions "transcriptions" OpenAi,
    Rerank "rerank" OpenAi,
    Files "files" OpenAi,
    Batches "batches" OpenAi,
    Models "models" OpenAi,
    Realtime "realtime" OpenAi,
    Messages "messages" Anthropic,
    CountTokens "count_tokens" Anthropic,
    AnthropicModels "anthropic_models" Anthropic,
    GenerateContent "generate_content" Gemini,
    StreamGenerateContent "stream_generate_content" Gemini,
    GeminiCountTokens "gemini_count_tokens" Gemini,
    EmbedContent "embed_content" Gemini,
    BatchEmbedContents "batch_embed_contents" Gemini,
    GeminiModels "gemini_models" Gemini,
    CohereChat "cohere_chat" Cohere,
    CohereEmbed "cohere_embed" Cohere,
    CohereRerank "cohere_rerank" Cohere,
    Converse "converse" Bedrock,
    ConverseStream "converse_stream" Bedrock,
    InvokeModel "invoke_model" Bedrock,
    Unknown "unknown" OpenAi,
}

/// A path, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) endpoint: Endpoint,
    /// The model, where the path names it.
    pub(super) model: Option<String>,
    /// What follows the endpoint's own path (`/file-1/content`), without the first slash.
    pub(super) tail: String,
    /// What stood before the version, without slashes around it.
    pub(super) prefix: String,
}

/// A path that is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoute {
    pub(super) dialect: Dialect,
    /// 404, or 405 when only the method is wrong.
    pub(super) status: u16,
}

/// Understands a path.
pub(super) fn route(method: &Method, path: &str, fields: &Fields) -> Result<Route, NoRoute> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let root = segments
        .iter()
        .position(|segment| matches!(*segment, "v1" | "v2" | "v1beta" | "v1alpha" | "model"))
        .unwrap_or(segments.len());
    let (prefix, rest, version) = if root == segments.len() {
        (&segments[..0], &segments[..], "v1")
    } else {
        (&segments[..root], &segments[root + 1..], segments[root])
    };
    let client = client(fields, version, prefix);
    let (endpoint, methods, model, used) = match version {
        "model" => bedrock(rest),
        "v2" => cohere(rest),
        "v1beta" | "v1alpha" => gemini(rest),
        _ => version_one(rest, client),
    }
    .ok_or(NoRoute { dialect: client, status: 404 })?;
    if !methods.contains(&method.as_str()) {
        return Err(NoRoute { dialect: endpoint.dialect(), status: 405 });
    }
    Ok(Route {
        endpoint,
        model,
        tail: rest.get(used..).unwrap_or_default().join("/"),
        prefix: prefix.join("/"),
    })
}

/// Endpoint, methods, model in the path, number of segments that are its own.
type Match = Option<(Endpoint, &'static [&'static str], Option<String>, usize)>;

const POST: &[&str] = &["POST"];
const GET: &[&str] = &["GET"];
const GET_POST: &[&str] = &["GET", "POST"];
const GET_POST_DELETE: &[&str] = &["GET", "POST", "DELETE"];

/// Which provider the client thinks it talks to.
fn client(fields: &Fields, version: &str, prefix: &[&str]) -> Dialect {
    let google =
        fields.credentials.iter().any(|(slot, _)| matches!(slot, Slot::GoogApiKey | Slot::Query));
    match (version, prefix.last().copied()) {
        ("model", _) | (_, Some("bedrock")) => Dialect::Bedrock,
        ("v2", _) | (_, Some("cohere")) => Dialect::Cohere,
        ("v1beta" | "v1alpha", _) | (_, Some("gemini" | "google")) => Dialect::Gemini,
        (_, Some("anthropic")) => Dialect::Anthropic,
        _ if fields.anthropic_version => Dialect::Anthropic,
        _ if google => Dialect::Gemini,
        _ => Dialect::OpenAi,
    }
}

fn version_one(rest: &[&str], client: Dialect) -> Match {
    let found = match rest {
        ["chat", "completions"] => (Endpoint::ChatCompletions, POST, None, 2),
        ["completions"] => (Endpoint::Completions, POST, None, 1),
        ["responses", ..] => (Endpoint::Responses, GET_POST_DELETE, None, 1),
        ["embeddings"] => (Endpoint::Embeddings, POST, None, 1),
        ["moderations"] => (Endpoint::Moderations, POST, None, 1),
        ["images", "generations" | "edits" | "variations"] => (Endpoint::Images, POST, None, 2),
        ["audio", "speech"] => (Endpoint::Speech, POST, None, 2),
        ["audio", "transcriptions" | "translations"] => (Endpoint::Transcriptions, POST, None, 2),
        ["rerank"] if client == Dialect::Cohere => (Endpoint::CohereRerank, POST, None, 1),
        ["rerank"] => (Endpoint::Rerank, POST, None, 1),
        ["files", ..] => (Endpoint::Files, GET_POST_DELETE, None, 1),
        ["batches", ..] => (Endpoint::Batches, GET_POST, None, 1),
        ["realtime"] => (Endpoint::Realtime, GET, None, 1),
        ["messages"] => (Endpoint::Messages, POST, None, 1),
        ["messages", "count_tokens"] => (Endpoint::CountTokens, POST, None, 2),
        ["models", _] if rest[1].contains(':') && client == Dialect::Gemini => return gemini(rest),
        ["models", action] if is_gemini_action(action) => return gemini(rest),
        ["models", ..] => match client {
            Dialect::Anthropic => (Endpoint::AnthropicModels, GET, None, 1),
            Dialect::Gemini => (Endpoint::GeminiModels, GET, None, 1),
            _ => (Endpoint::Models, GET, None, 1),
        },
        _ => return None,
    };
    Some(found)
}

fn is_gemini_action(segment: &str) -> bool {
    segment.rsplit_once(':').is_some_and(|(_, action)| action_of(action).is_some())
}

fn action_of(action: &str) -> Option<Endpoint> {
    Some(match action {
        "generateContent" => Endpoint::GenerateContent,
        "streamGenerateContent" => Endpoint::StreamGenerateContent,
        "countTokens" => Endpoint::GeminiCountTokens,
        "embedContent" => Endpoint::EmbedContent,
        "batchEmbedContents" => Endpoint::BatchEmbedContents,
        _ => return None,
    })
}

fn gemini(rest: &[&str]) -> Match {
    match rest {
        ["models", name] => match name.rsplit_once(':') {
            Some((model, action)) => {
                action_of(action).map(|endpoint| (endpoint, POST, Some(decode(model)), 2))
            }
            None => Some((Endpoint::GeminiModels, GET, None, 1)),
        },
        ["models"] => Some((Endpoint::GeminiModels, GET, None, 1)),
        _ => None,
    }
}

fn cohere(rest: &[&str]) -> Match {
    Some(match rest {
        ["chat"] => (Endpoint::CohereChat, POST, None, 1),
        ["embed"] => (Endpoint::CohereEmbed, POST, None, 1),
        ["rerank"] => (Endpoint::CohereRerank, POST, None, 1),
        _ => return None,
    })
}

fn bedrock(rest: &[&str]) -> Match {
    Some(match rest {
        [model, "converse"] => (Endpoint::Converse, POST, Some(decode(model)), 2),
        [model, "converse-stream"] => (Endpoint::ConverseStream, POST, Some(decode(model)), 2),
        [model, "invoke"] => (Endpoint::InvokeModel, POST, Some(decode(model)), 2),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Route, NoRoute> {
        let mut fields = Fields::default();
        for (name, value) in headers {
            fields.note(name, value.as_bytes());
        }
        route(&Method::from_bytes(method.as_bytes()).unwrap(), path, &fields)
    }

    #[test]
    fn every_path_of_the_contract() {
        for (method, path, endpoint) in [
            ("POST", "/v1/chat/completions", Endpoint::ChatCompletions),
            ("POST", "/chat/completions", Endpoint::ChatCompletions),
            ("POST", "/openai/v1/embeddings", Endpoint::Embeddings),
            ("GET", "/v1/files/file-1/content", Endpoint::Files),
            ("POST", "/v1/messages", Endpoint::Messages),
            ("POST", "/v1/messages/count_tokens", Endpoint::CountTokens),
            ("POST", "/v1beta/models/sim-1:generateContent", Endpoint::GenerateContent),
            ("POST", "/v1/models/sim-1:streamGenerateContent", Endpoint::StreamGenerateContent),
            ("POST", "/v2/chat", Endpoint::CohereChat),
            ("POST", "/model/anthropic.claude%3A0/converse", Endpoint::Converse),
            ("GET", "/v1/realtime", Endpoint::Realtime),
        ] {
            assert_eq!(
                found(method, path, &[]).map(|route| route.endpoint),
                Ok(endpoint),
                "{path}"
            );
        }
    }

    #[test]
    fn models_belong_to_the_client_that_asks() {
        let endpoint = |headers: &[_]| found("GET", "/v1/models", headers).unwrap().endpoint;
        assert_eq!(endpoint(&[]), Endpoint::Models);
        assert_eq!(endpoint(&[("anthropic-version", "2023-06-01")]), Endpoint::AnthropicModels);
        assert_eq!(endpoint(&[("x-goog-api-key", "k")]), Endpoint::GeminiModels);
    }

    #[test]
    fn keeps_model_tail_and_prefix() {
        let route = found("POST", "/a/b/model/arn%3Aaws%2Fx/converse-stream", &[]).unwrap();
        assert_eq!((route.model.as_deref(), route.prefix.as_str()), (Some("arn:aws/x"), "a/b"));
        assert_eq!(found("GET", "/v1/files/f-1/content", &[]).unwrap().tail, "f-1/content");
    }

    #[test]
    fn says_what_is_missing_in_the_right_format() {
        let no = |dialect, status| Err(NoRoute { dialect, status });
        assert_eq!(found("POST", "/v1/nothing", &[]), no(Dialect::OpenAi, 404));
        assert_eq!(found("POST", "/v2/nothing", &[]), no(Dialect::Cohere, 404));
        assert_eq!(found("GET", "/v1/messages", &[]), no(Dialect::Anthropic, 405));
    }

    proptest! {
        #[test]
        fn any_path_is_answered(path in "(/|v1|v2|v1beta|model|models|:|%2F|a|chat|completions|\\PC){0,12}") {
            let _ = found("POST", &path, &[]);
        }
    }
}
