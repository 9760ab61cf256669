//! Pieces of requests that several endpoints share: content parts, tools, formats, usage.

use serde_json::Value;

use crate::mock::json::Object;
use crate::mock::problem::Problem;
use crate::mock::prompt::Reading;
use crate::mock::script::{self, Call, Usage};

/// Reads a message's `content`: text, or a list of parts.
pub(super) fn content(
    reading: &mut Reading,
    message: Object<'_>,
    param: &str,
) -> Result<(), Problem> {
    match message.value("content") {
        None => Ok(()),
        Some(Value::String(text)) => {
            reading.text(text);
            Ok(())
        }
        Some(Value::Array(_)) => {
            for (index, part) in message.objects("content")?.into_iter().enumerate() {
                content_part(reading, part, &format!("{param}.content[{index}]"))?;
            }
            Ok(())
        }
        Some(other) => Err(Problem::wrong_type(
            message.dialect,
            &format!("{param}.content"),
            "one of a string or array of objects",
            other,
        )),
    }
}

fn content_part(reading: &mut Reading, part: Object<'_>, param: &str) -> Result<(), Problem> {
    match part.string("type")? {
        Some("text" | "input_text" | "output_text" | "refusal") => {
            reading.text(part.string("text")?.or(part.string("refusal")?).unwrap_or_default());
        }
        Some("image_url") => {
            let url =
                part.object("image_url")?.map(|image| image.need_string("url")).transpose()?;
            image(reading, url, param)?;
        }
        Some("input_image") => image(reading, part.string("image_url")?, param)?,
        Some("input_audio" | "file" | "input_file") => reading.image(),
        Some(other) => {
            let message = format!(
                "Invalid value: '{other}'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', and 'file'."
            );
            return Err(Problem::invalid(&format!("{param}.type"), message));
        }
        None => return Err(Problem::missing(part.dialect, &format!("{param}.type"))),
    }
    Ok(())
}

fn image(reading: &mut Reading, url: Option<&str>, param: &str) -> Result<(), Problem> {
    let Some(url) = url else { return Err(Problem::invalid(param, "Missing 'image_url'.")) };
    if !["data:image/", "http://", "https://"].iter().any(|start| url.starts_with(start)) {
        return Err(Problem::invalid(
            param,
            "Invalid image URL: expected a base64-encoded data URL with an image MIME type, or an http(s) URL.",
        ));
    }
    reading.image();
    Ok(())
}

/// The calls that tools of this request get: the chosen one, or the first `count`.
pub(super) fn calls(object: Object<'_>, count: usize) -> Result<Vec<Call>, Problem> {
    let mut calls = Vec::new();
    let chosen = match object.value("tool_choice") {
        Some(Value::String(choice)) if choice == "none" => return Ok(calls),
        // Chat completions nest the name in `function`, responses do not.
        Some(Value::Object(choice)) => choice
            .get("function")
            .and_then(|function| function.get("name"))
            .or_else(|| choice.get("name"))
            .and_then(Value::as_str),
        _ => None,
    };
    for tool in object.objects("tools")? {
        if tool.string("type")? != Some("function") {
            continue;
        }
        let function = tool.object("function")?.unwrap_or(tool);
        let name = function.need_string("name")?;
        if chosen.is_none_or(|chosen| chosen == name) {
            calls.push(Call::of(name, function.value("parameters")));
        }
    }
    calls.truncate(count);
    Ok(calls)
}

/// The document that `response_format` (or `text.format`) asks for.
pub(super) fn document(format: Option<Object<'_>>) -> Result<Option<String>, Problem> {
    let Some(format) = format else { return Ok(None) };
    Ok(match format.string("type")? {
        Some("json_object") => Some(script::document(None)),
        Some("json_schema") => {
            Some(script::document(format.object("json_schema")?.unwrap_or(format).value("schema")))
        }
        _ => None,
    })
}

/// `usage` of chat completions and completions.
pub(super) fn usage(usage: &Usage) -> String {
    format!(
        "{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{},\
         \"prompt_tokens_details\":{{\"cached_tokens\":{},\"audio_tokens\":0}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":{},\"audio_tokens\":0,\
         \"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}}}",
        usage.prompt,
        usage.completion,
        usage.total(),
        usage.cached,
        usage.reasoning
    )
}
