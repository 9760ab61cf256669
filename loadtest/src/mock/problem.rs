//! Errors as the providers word and shape them.

use serde_json::{Value, json};

use super::fault::RetryAfter;
use super::route::Dialect;

/// An error on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) message: String,
    pub(super) param: Option<String>,
    pub(super) code: Option<&'static str>,
    pub(super) retry_after: RetryAfter,
}

impl Problem {
    /// A status with the message that the provider gives with it.
    pub(super) fn status(status: u16) -> Self {
        let (code, message) = match status {
            400 => (None, "The request could not be processed."),
            401 => (Some("invalid_api_key"), "Incorrect API key provided."),
            403 => (Some("permission_denied"), "You are not allowed to use this model."),
            404 => (
                Some("model_not_found"),
                "The model does not exist or you do not have access to it.",
            ),
            405 => (Some("method_not_supported"), "Not allowed to use this method on this path."),
            413 => (Some("request_too_large"), "Request exceeds the maximum size."),
            429 => (Some("rate_limit_exceeded"), "Rate limit reached for requests."),
            503 => (None, "The engine is currently overloaded, please try again later."),
            529 => (None, "Overloaded"),
            _ => (None, "The server had an error while processing your request."),
        };
        Self { status, message: message.into(), param: None, code, retry_after: RetryAfter::Unsaid }
    }

    pub(super) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: (!param.is_empty()).then(|| param.to_owned()),
            ..Self::status(400)
        }
    }

    pub(super) fn missing(dialect: Dialect, param: &str) -> Self {
        let message = match dialect {
            Dialect::OpenAi if param == "model" => "you must provide a model parameter".into(),
            Dialect::OpenAi => format!("Missing required parameter: '{param}'."),
            Dialect::Anthropic => format!("{param}: Field required"),
            Dialect::Gemini => {
                format!("* GenerateContentRequest.{param}: {param} is not specified")
            }
            Dialect::Cohere => format!("invalid request: {param} is required"),
            Dialect::Bedrock => format!(
                "1 validation error detected: Value at '{param}' failed to satisfy constraint: Member must not be null"
            ),
        };
        Self::invalid(param, message)
    }

    pub(super) fn wrong_type(dialect: Dialect, param: &str, expected: &str, got: &Value) -> Self {
        let kind = match got {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        let message = match dialect {
            Dialect::OpenAi => {
                format!("Invalid type for '{param}': expected {expected}, but got {kind} instead.")
            }
            Dialect::Anthropic => {
                let name = match expected.rsplit(' ').next() {
                    Some("boolean") => "boolean",
                    Some("objects" | "array") => "list",
                    Some("integer") => "integer",
                    Some("object") => "dictionary",
                    _ => "string",
                };
                format!("{param}: Input should be a valid {name}")
            }
            Dialect::Gemini => format!(
                "Invalid JSON payload received. Invalid value at '{param}': expected {expected}, got {kind}"
            ),
            Dialect::Cohere => {
                format!("invalid type: parameter {param} is {kind} but should be {expected}.")
            }
            Dialect::Bedrock => format!("Unexpected field type for {param}: {kind}"),
        };
        Self::invalid(param, message)
    }

    pub(super) fn not_json(dialect: Dialect, why: &serde_json::Error) -> Self {
        let message = match dialect {
            Dialect::OpenAi => format!(
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. {why})"
            ),
            Dialect::Anthropic => format!("The request body is not valid JSON: {why}"),
            Dialect::Gemini => format!("Invalid JSON payload received. {why}"),
            Dialect::Cohere => format!("invalid request: invalid json: {why}"),
            Dialect::Bedrock => {
                format!("Malformed input request: {why}, please reformat your input and try again.")
            }
        };
        Self::invalid("", message)
    }

    /// What arrived at this simulated provider must not have been forwarded to it.
    pub(super) fn leak(names: &[String]) -> Self {
        Self::invalid(
            "",
            format!("the request carries what no proxy may forward: {}", names.join(", ")),
        )
    }

    /// The body, in the shape of the format.
    pub(super) fn body(&self, dialect: Dialect, request_id: &str) -> Vec<u8> {
        self.json(dialect, request_id).to_string().into_bytes()
    }

    fn json(&self, dialect: Dialect, request_id: &str) -> Value {
        match dialect {
            Dialect::OpenAi => json!({ "error": {
                "message": self.message, "type": self.openai_type(),
                "param": self.param, "code": self.code,
            }}),
            Dialect::Anthropic => json!({ "type": "error",
                "error": { "type": self.anthropic_type(), "message": self.message },
                "request_id": request_id,
            }),
            Dialect::Gemini => json!({ "error": {
                "code": self.status, "message": self.message, "status": self.google_status(),
            }}),
            Dialect::Cohere => json!({ "id": request_id, "message": self.message }),
            Dialect::Bedrock => json!({ "message": self.message }),
        }
    }

    /// `error.type` of `OpenAI`.
    pub(super) fn openai_type(&self) -> &'static str {
        match self.status {
            429 => "requests",
            status if status < 500 => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// `error.type` of Anthropic.
    pub(super) fn anthropic_type(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 | 529 => "overloaded_error",
            504 => "timeout_error",
            status if status < 500 => "invalid_request_error",
            _ => "api_error",
        }
    }

    /// The canonical code of Google's APIs.
    pub(super) fn google_status(&self) -> &'static str {
        match self.status {
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            429 => "RESOURCE_EXHAUSTED",
            503 | 529 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            status if status < 500 => "INVALID_ARGUMENT",
            _ => "INTERNAL",
        }
    }

    /// The exception's name at AWS.
    pub(super) fn aws_type(&self) -> &'static str {
        match self.status {
            401 => "UnrecognizedClientException",
            403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            408 => "ModelTimeoutException",
            424 => "ModelErrorException",
            429 => "ThrottlingException",
            503 | 529 => "ServiceUnavailableException",
            status if status < 500 => "ValidationException",
            _ => "InternalServerException",
        }
    }

    /// Extra header fields that go with it.
    pub(super) fn headers(&self, dialect: Dialect) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if dialect == Dialect::Bedrock {
            headers.push(("x-amzn-errortype", self.aws_type().to_owned()));
        }
        match self.retry_after {
            RetryAfter::Unsaid => {}
            RetryAfter::Seconds(seconds) => headers.push(("retry-after", seconds.to_string())),
            RetryAfter::Millis(ms) => headers.push(("retry-after-ms", ms.to_string())),
            RetryAfter::Date(seconds) => {
                headers.push(("retry-after", http_date(unix_seconds() + u64::from(seconds))));
            }
            RetryAfter::Reset(seconds) if dialect == Dialect::Anthropic => {
                headers.push(("anthropic-ratelimit-requests-limit", "50".into()));
                headers.push(("anthropic-ratelimit-requests-remaining", "0".into()));
                let reset = rfc3339(unix_seconds() + u64::from(seconds));
                headers.push(("anthropic-ratelimit-requests-reset", reset));
            }
            RetryAfter::Reset(seconds) => {
                headers.push(("x-ratelimit-limit-requests", "60".into()));
                headers.push(("x-ratelimit-remaining-requests", "0".into()));
                headers.push(("x-ratelimit-reset-requests", format!("{seconds}s")));
            }
        }
        headers
    }
}

fn unix_seconds() -> u64 {
    super::books::unix_us() / 1_000_000
}

/// Year, month and day of a day number since 1970 (civil calendar, after Hinnant's
/// `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The date format of RFC 9110.
pub(super) fn http_date(unix: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, rest) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[(month - 1) as usize],
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// The date format of RFC 3339, in UTC.
pub(super) fn rfc3339(unix: u64) -> String {
    let (days, rest) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_735_689_599), "2024-12-31T23:59:59Z");
    }

    #[test]
    fn every_format_has_its_shape() {
        let problem = Problem::missing(Dialect::OpenAi, "messages");
        let json = |dialect| serde_json::from_slice::<Value>(&problem.body(dialect, "r")).unwrap();
        assert_eq!(json(Dialect::OpenAi)["error"]["param"], "messages");
        assert_eq!(json(Dialect::Anthropic)["error"]["type"], "invalid_request_error");
        assert_eq!(json(Dialect::Gemini)["error"]["status"], "INVALID_ARGUMENT");
        assert!(json(Dialect::Cohere)["message"].is_string());
        assert_eq!(problem.headers(Dialect::Bedrock)[0].1, "ValidationException");
    }

    #[test]
    fn says_when_to_come_back() {
        let after =
            |retry_after, dialect| Problem { retry_after, ..Problem::status(429) }.headers(dialect);
        assert_eq!(
            after(RetryAfter::Seconds(2), Dialect::OpenAi),
            [("retry-after", "2".to_owned())]
        );
        assert_eq!(
            after(RetryAfter::Millis(70), Dialect::OpenAi),
            [("retry-after-ms", "70".to_owned())]
        );
        assert!(after(RetryAfter::Date(2), Dialect::OpenAi)[0].1.ends_with("GMT"));
        assert!(after(RetryAfter::Reset(2), Dialect::Anthropic)[2].1.ends_with('Z'));
    }
}
