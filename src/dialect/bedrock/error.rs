//! Errors as the Bedrock runtime sends them: the name of an exception in a header, a message in the
//! body; inside a stream, an exception message of the event stream.

use serde_json::{Value, json};

use crate::error::{Error, Kind};
use crate::wire::eventstream;

/// `{"message"}`
pub(in crate::dialect) fn body(error: &Error) -> Value {
    json!({ "message": error.public })
}

/// The name of the exception.
pub(in crate::dialect) fn exception(kind: Kind) -> &'static str {
    match kind {
        Kind::BadRequest
        | Kind::UpstreamRejected
        | Kind::NotExpressible
        | Kind::MethodNotAllowed
        | Kind::RequestTimeout
        | Kind::BodyTooLarge
        | Kind::HeadTooLarge => "ValidationException",
        Kind::Unauthorized => "UnrecognizedClientException",
        Kind::Forbidden => "AccessDeniedException",
        Kind::NotFound => "ResourceNotFoundException",
        Kind::RateLimited | Kind::UpstreamRateLimited => "ThrottlingException",
        Kind::BudgetSpent => "ServiceQuotaExceededException",
        Kind::Overloaded | Kind::NoTarget | Kind::Draining => "ServiceUnavailableException",
        Kind::UpstreamConnectTimeout
        | Kind::FirstTokenTimeout
        | Kind::InterTokenTimeout
        | Kind::TotalTimeout => "ModelTimeoutException",
        Kind::UpstreamStatus | Kind::UpstreamStreamError | Kind::UpstreamEmpty => {
            "ModelErrorException"
        }
        _ => "InternalServerException",
    }
}

/// The message that ends a stream. A stream knows fewer exceptions than an answer.
pub(in crate::dialect) fn frame(error: &Error) -> Vec<u8> {
    let name = match exception(error.kind) {
        "ValidationException" => "validationException",
        "ThrottlingException" => "throttlingException",
        "ServiceUnavailableException" => "serviceUnavailableException",
        "ModelErrorException" | "ModelTimeoutException" => "modelStreamErrorException",
        _ => "internalServerException",
    };
    let headers = [
        (":exception-type", name),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ];
    eventstream::encode(&headers, body(error).to_string().as_bytes())
}
