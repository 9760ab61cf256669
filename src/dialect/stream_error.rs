//! A provider's own error, found in an answer.
//!
//! Providers name the same few things differently, so what they say is put into words (type, code,
//! status) and the words decide who is to blame: a limit, weir's credential, the client's request,
//! or the provider itself.

use std::borrow::Cow;
use std::time::Duration;

use super::retry_after::retry_delay;
use crate::error::Kind;
use crate::wire::json::{self, Value};

/// How much of a provider's message is kept.
const MESSAGE_BYTES_MAX: usize = 2048;

/// How much of a type or code is kept.
const WORD_BYTES_MAX: usize = 128;

/// An error that a provider reports inside an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// The provider's message.
    pub message: String,
    /// The provider's type or status word (`overloaded_error`, `RESOURCE_EXHAUSTED`,
    /// `throttlingException`), where it has one.
    pub error_type: Option<String>,
    /// The provider's code (`rate_limit_exceeded`, `429`), where it has one.
    pub code: Option<String>,
    /// Whether another target may answer the same request.
    pub retryable: bool,
    /// What it counts as.
    pub kind: Kind,
    /// When the provider wants to be asked again, where it says so in the error itself (Google's
    /// `RetryInfo`).
    pub retry_after: Option<Duration>,
}

impl StreamError {
    /// An error in the provider's words.
    pub fn new(message: &str, error_type: Option<&str>, code: Option<&str>) -> Self {
        let kind = kind(error_type, code);
        Self {
            message: cut(message, MESSAGE_BYTES_MAX),
            error_type: error_type.map(|word| cut(word, WORD_BYTES_MAX)),
            code: code.map(|word| cut(word, WORD_BYTES_MAX)),
            retryable: kind.retryable(),
            kind,
            retry_after: None,
        }
    }

    /// An error of a kind that is known.
    pub fn of(kind: Kind, message: &str) -> Self {
        Self { kind, retryable: kind.retryable(), ..Self::new(message, None, None) }
    }

    /// The value of an `error` member: an object with `message`, `type` or `status`, and `code`, or
    /// a plain string.
    pub fn from_value(error: Value<'_>) -> Self {
        if let Some(message) = error.as_str() {
            return Self::new(&message, None, None);
        }
        let (mut message, mut error_type, mut code, mut retry_after) = (None, None, None, None);
        for member in error.members() {
            match member.key {
                b"message" => message = word(member.value),
                // The type of an event that is an error says no more than that.
                b"type" if member.value.raw() == b"\"error\"" => {}
                b"type" | b"status" => error_type = word(member.value).or(error_type),
                b"code" => code = word(member.value),
                b"details" => {
                    let delays = member.value.items().filter_map(|detail| detail.get("retryDelay"));
                    let delays = delays.filter_map(|delay| retry_delay(&delay.as_str()?));
                    retry_after = delays.max();
                }
                _ => {}
            }
        }
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(error.raw()));
        let error = Self::new(&message, error_type.as_deref(), code.as_deref());
        Self { retry_after, ..error }
    }

    /// The error that the body of an answer other than 2xx reports, in any dialect's shape. `None`
    /// if it is not JSON.
    pub fn from_body(body: &[u8]) -> Option<Self> {
        let document = json::lazy(body);
        // Google wraps the error of a stream that was asked for as an array in one.
        let document = document.items().next().unwrap_or(document);
        let error = document.get("error").filter(|error| !error.is_null());
        (document.kind() == Some(json::Kind::Object))
            .then(|| Self::from_value(error.unwrap_or(document)))
    }
}

/// A string, or a number as it is written.
fn word(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value.kind()? {
        json::Kind::String => value.as_str(),
        json::Kind::Number => std::str::from_utf8(value.raw()).ok().map(Cow::Borrowed),
        _ => None,
    }
}

/// The beginning of a text, up to so many bytes.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn kind(error_type: Option<&str>, code: Option<&str>) -> Kind {
    // A code is the finer word: `invalid_request_error` may carry `rate_limit_exceeded`.
    [code, error_type]
        .into_iter()
        .flatten()
        .find_map(kind_of_word)
        .unwrap_or(Kind::UpstreamStreamError)
}

fn kind_of_word(word: &str) -> Option<Kind> {
    const LIMITED: [&str; 7] = [
        "429",
        "ratelimit",
        "insufficientquota",
        "resourceexhausted",
        "throttling",
        "toomanyrequests",
        "quotaexceeded",
    ];
    const REFUSED: [&str; 8] = [
        "401",
        "403",
        "authentication",
        "invalidapikey",
        "permission",
        "unauthenticated",
        "accessdenied",
        "unrecognizedclient",
    ];
    const REJECTED: [&str; 14] = [
        "400",
        "404",
        "413",
        "422",
        "invalidrequest",
        "invalidprompt",
        "invalidargument",
        "validation",
        "contextlength",
        "contentpolicy",
        "contentfilter",
        "notfound",
        "requesttoolarge",
        "failedprecondition",
    ];
    let plain: String =
        word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let any = |words: &[&str]| {
        words.iter().any(|word| {
            let number = word.as_bytes()[0].is_ascii_digit();
            if number { plain == *word } else { plain.contains(word) }
        })
    };
    if any(&LIMITED) {
        Some(Kind::UpstreamRateLimited)
    } else if any(&REFUSED) {
        Some(Kind::UpstreamAuth)
    } else if any(&REJECTED) {
        Some(Kind::UpstreamRejected)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &str, want: Kind) {
        let got = StreamError::from_value(json::lazy(error.as_bytes()));
        assert_eq!(got.kind, want, "{error}");
        assert_eq!(got.retryable, want.retryable());
    }

    #[test]
    fn the_words_of_every_provider() {
        check(r#"{"type":"overloaded_error","message":"Overloaded"}"#, Kind::UpstreamStreamError);
        check(r#"{"type":"rate_limit_error","message":"x"}"#, Kind::UpstreamRateLimited);
        check(
            r#"{"message":"x","type":"invalid_request_error","code":"rate_limit_exceeded"}"#,
            Kind::UpstreamRateLimited,
        );
        check(
            r#"{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}"#,
            Kind::UpstreamRateLimited,
        );
        check(r#"{"code":503,"message":"x","status":"UNAVAILABLE"}"#, Kind::UpstreamStreamError);
        check(r#"{"code":400,"message":"x","status":"INVALID_ARGUMENT"}"#, Kind::UpstreamRejected);
        check(r#"{"code":"context_length_exceeded","message":"x"}"#, Kind::UpstreamRejected);
        check(r#"{"code":"invalid_api_key","message":"x"}"#, Kind::UpstreamAuth);
        check(
            r#"{"message":"The server had an error","type":"server_error"}"#,
            Kind::UpstreamStreamError,
        );
        check(r#""just a sentence""#, Kind::UpstreamStreamError);
        check("{", Kind::UpstreamStreamError);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let error = StreamError::new(&"é".repeat(MESSAGE_BYTES_MAX), None, None);
        assert!(error.message.len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn bodies_of_every_dialect() {
        let read = |body: &str| StreamError::from_body(body.as_bytes()).map(|error| error.message);
        assert_eq!(read(r#"{"error":{"message":"a"}}"#).as_deref(), Some("a"));
        assert_eq!(read(r#"{"error":"a"}"#).as_deref(), Some("a"));
        assert_eq!(read(r#"[{"error":{"message":"a"}}]"#).as_deref(), Some("a"));
        assert_eq!(read(r#"{"id":"1","message":"a"}"#).as_deref(), Some("a"));
        assert_eq!(read(r#"{"detail":"a"}"#).as_deref(), Some(r#"{"detail":"a"}"#));
        assert_eq!(read("<html>"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn google_says_when_to_come_back() {
        let body = br#"{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.QuotaFailure"},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}"#;
        let error = StreamError::from_body(body).expect("is JSON");
        assert_eq!(error.retry_after, Some(Duration::from_millis(34_500)));
    }

    #[test]
    fn bedrock_exceptions() {
        let kind = |name| StreamError::new("x", Some(name), None).kind;
        assert_eq!(kind("throttlingException"), Kind::UpstreamRateLimited);
        assert_eq!(kind("validationException"), Kind::UpstreamRejected);
        assert_eq!(kind("modelStreamErrorException"), Kind::UpstreamStreamError);
        assert_eq!(kind("AccessDeniedException"), Kind::UpstreamAuth);
    }
}
