//! What a request of this dialect says of itself.

use super::super::Endpoint;
use super::super::call::Call;
use super::super::peek::{Peeked, first, first_span};
use super::super::prompt::Prompt;
use crate::wire::json::{Kind, Object, Value};

pub(in crate::dialect) fn peek(call: &Call<'_>, object: &Object<'_>, peeked: &mut Peeked) {
    peeked.stream = call.endpoint == Endpoint::ConverseStream;
    let config = first(object, ["inferenceConfig"]);
    let max = config.and_then(|config| config.get("maxTokens"));
    peeked.max_output_tokens = max.and_then(|value| value.as_u64());
    peeked.prompt_prefix = first_span(object, ["system", "messages"]);
    peeked.metadata = first(object, ["requestMetadata"])
        .filter(|value| value.kind() == Some(Kind::Object))
        .map(|value| value.span());
}

/// The text of the prompt.
pub(in crate::dialect) fn prompt(object: Value<'_>, out: &mut Prompt<'_>) {
    for member in object.members() {
        match member.key {
            b"system" => blocks(member.value, out),
            b"messages" => {
                for message in member.value.items() {
                    if let Some(content) = message.get("content") {
                        blocks(content, out);
                    }
                }
            }
            _ => {}
        }
    }
}

fn blocks(content: Value<'_>, out: &mut Prompt<'_>) {
    for block in content.items() {
        if let Some(text) = block.get("text") {
            out.push(text);
        }
        let results = block.find(&["toolResult", "content"]);
        let texts = results.iter().flat_map(Value::items).filter_map(|result| result.get("text"));
        texts.for_each(|text| out.push(text));
    }
}
