//! What a request of this dialect says of itself.

use super::super::Endpoint;
use super::super::call::Call;
use super::super::peek::{Peeked, first, first_span};
use super::super::prompt::Prompt;
use crate::wire::json::{Object, Value};

/// The model is that of the path. A body that names one (embeddings, token counts) has to name the
/// same.
pub(in crate::dialect) fn peek(call: &Call<'_>, object: &Object<'_>, peeked: &mut Peeked) {
    peeked.stream = call.endpoint == Endpoint::StreamGenerateContent;
    let config = first(object, ["generationConfig", "generation_config"]);
    let setting = |camel: &str, snake: &str| {
        let value = config.and_then(|config| config.get(camel).or_else(|| config.get(snake)));
        value.and_then(|value| value.as_u64())
    };
    peeked.max_output_tokens = setting("maxOutputTokens", "max_output_tokens");
    let choices = setting("candidateCount", "candidate_count").unwrap_or(1);
    peeked.choices = u32::try_from(choices).unwrap_or(u32::MAX).max(1);
    peeked.prompt_prefix =
        first_span(object, ["systemInstruction", "system_instruction", "contents", "content"]);
    let inner = first(object, ["generateContentRequest"]);
    let requests = first(object, ["requests"]);
    let own = object.members().filter(|member| member.is("model")).map(|member| member.value);
    let nested = inner.and_then(|inner| inner.get("model"));
    let repeated =
        requests.iter().flat_map(Value::items).filter_map(|request| request.get("model"));
    let strings = own.chain(nested).chain(repeated).filter(|value| value.contents().is_some());
    peeked.model_spans = strings.map(|value| value.span()).collect();
}

/// The text of the prompt.
pub(in crate::dialect) fn prompt(object: Value<'_>, out: &mut Prompt<'_>) {
    let object = object.get("generateContentRequest").unwrap_or(object);
    for member in object.members() {
        match member.key {
            b"systemInstruction" | b"system_instruction" | b"content" => {
                content(member.value, out);
            }
            b"contents" => member.value.items().for_each(|turn| content(turn, out)),
            b"requests" => {
                let contents = member.value.items().filter_map(|request| request.get("content"));
                contents.for_each(|turn| content(turn, out));
            }
            _ => {}
        }
    }
}

fn content(content: Value<'_>, out: &mut Prompt<'_>) {
    let parts = content.get("parts");
    parts
        .iter()
        .flat_map(Value::items)
        .filter_map(|part| part.get("text"))
        .for_each(|text| out.push(text));
}
