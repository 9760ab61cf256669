//! What a request of this dialect says of itself.

use super::super::peek::{Peeked, first, first_span, missing_model, model, stream, text};
use super::super::prompt::Prompt;
use crate::error::Error;
use crate::wire::json::{Kind, Object, Value};

pub(in crate::dialect) fn peek(object: &Object<'_>, peeked: &mut Peeked) -> Result<(), Error> {
    model(object, peeked)?;
    if peeked.model.is_none() {
        return Err(missing_model());
    }
    stream(object, peeked)?;
    let metadata = first(object, ["metadata"]).filter(|value| value.kind() == Some(Kind::Object));
    peeked.user = text(metadata.and_then(|metadata| metadata.get("user_id")));
    peeked.metadata = metadata.map(|metadata| metadata.span());
    peeked.max_output_tokens = first(object, ["max_tokens"]).and_then(|value| value.as_u64());
    peeked.prompt_prefix = first_span(object, ["system", "messages"]);
    Ok(())
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

/// A string, or a list of blocks; the result of a tool is blocks again.
fn blocks(content: Value<'_>, out: &mut Prompt<'_>) {
    out.push(content);
    for block in content.items() {
        for member in block.members() {
            match member.key {
                b"text" | b"thinking" => out.push(member.value),
                b"content" => {
                    out.push(member.value);
                    member
                        .value
                        .items()
                        .filter_map(|part| part.get("text"))
                        .for_each(|text| out.push(text));
                }
                _ => {}
            }
        }
    }
}
