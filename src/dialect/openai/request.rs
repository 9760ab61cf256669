//! What a request of this dialect says of itself.

use super::super::Endpoint;
use super::super::call::Call;
use super::super::peek::{
    Peeked, UsageOption, first, first_span, missing_model, model, single, stream, text, wrong_type,
};
use crate::error::Error;
use crate::wire::json::{Kind, Object, Value};

const INCLUDE_USAGE: &str = r#""include_usage":true"#;
const INCLUDE_USAGE_NEXT: &str = r#""include_usage":true,"#;

pub(in crate::dialect) fn peek(
    call: &Call<'_>,
    object: &Object<'_>,
    peeked: &mut Peeked,
) -> Result<(), Error> {
    model(object, peeked)?;
    if peeked.model.is_none() && needs_model(call, object) {
        return Err(missing_model());
    }
    stream(object, peeked)?;
    if call.endpoint == Endpoint::Audio {
        peeked.stream |= first(object, ["stream_format"]).is_some_and(|v| v.raw() == b"\"sse\"");
    }
    let options = single(object, "stream_options")?;
    if peeked.stream && matches!(call.endpoint, Endpoint::ChatCompletions | Endpoint::Completions) {
        peeked.usage = usage_option(object, options)?;
    }
    peeked.user = text(first(object, ["user", "safety_identifier"]));
    let max = first(object, ["max_completion_tokens", "max_tokens", "max_output_tokens"]);
    peeked.max_output_tokens = max.and_then(|value| value.as_u64());
    let choices = first(object, ["n"]).and_then(|value| value.as_u64()).unwrap_or(1);
    peeked.choices = u32::try_from(choices).unwrap_or(u32::MAX).max(1);
    peeked.prompt_prefix = first_span(object, ["instructions", "messages", "input", "prompt"]);
    peeked.metadata = first(object, ["metadata"])
        .filter(|value| value.kind() == Some(Kind::Object))
        .map(|value| value.span());
    Ok(())
}

/// A stored prompt or an earlier response brings its own model; images and moderations have a
/// default.
fn needs_model(call: &Call<'_>, object: &Object<'_>) -> bool {
    match call.endpoint {
        Endpoint::Images | Endpoint::Moderations => false,
        Endpoint::Responses => first(object, ["prompt"]).is_none(),
        _ => true,
    }
}

/// What has to be written where, so that a stream ends with its usage.
fn usage_option(object: &Object<'_>, options: Option<Value<'_>>) -> Result<UsageOption, Error> {
    let Some(options) = options else {
        let at = object.insert_at();
        let alone = object.members().next().is_none();
        let with = if alone {
            r#""stream_options":{"include_usage":true}"#
        } else {
            r#","stream_options":{"include_usage":true}"#
        };
        return Ok(UsageOption::Absent { span: at..at, with });
    };
    if options.is_null() {
        let with = r#"{"include_usage":true}"#;
        return Ok(UsageOption::Absent { span: options.span(), with });
    }
    if options.kind() != Some(Kind::Object) {
        return Err(wrong_type("stream_options", "an object", options));
    }
    let mut asked = options.members().filter(|member| member.is("include_usage"));
    match (asked.next(), asked.next()) {
        (Some(_), Some(_)) => Err(super::super::peek::twice("stream_options.include_usage")),
        (Some(member), None) if member.value.as_bool() == Some(true) => Ok(UsageOption::Asked),
        (Some(member), None) => Ok(UsageOption::Absent { span: member.value.span(), with: "true" }),
        (None, _) => {
            let at = options.span().start + 1;
            let alone = options.members().next().is_none();
            let with = if alone { INCLUDE_USAGE } else { INCLUDE_USAGE_NEXT };
            Ok(UsageOption::Absent { span: at..at, with })
        }
    }
}

pub(in crate::dialect) use super::super::shared::prompt::prompt;
