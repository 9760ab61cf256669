//! `embedContent` and `batchEmbedContents`, to and from the intermediate representation.

use crate::dialect::ir::{
    self, EmbedAnswer, EmbedInput, EmbedRequest, Encoding, Extra, Loss, ObjectWriter, Purpose,
    Text, Vector, write_object,
};
use crate::error::Error;
use crate::wire::json::Value;

/// Reads a request for one or for several.
pub(in crate::dialect) fn decode_request(body: Value<'_>) -> Result<EmbedRequest<'_>, Error> {
    let mut request = EmbedRequest::default();
    let Some(requests) = body.get("requests") else {
        one(body, &mut request)?;
        return Ok(request);
    };
    for each in ir::items(requests, "requests")? {
        let mut next = EmbedRequest::default();
        one(each, &mut next)?;
        let first = request.inputs.is_empty();
        if !first && (request.dimensions, request.purpose) != (next.dimensions, next.purpose) {
            // The others ask for all of their vectors alike.
            request.extra.push(needed("requests[].taskType", requests));
        }
        request.inputs.append(&mut next.inputs);
        request.extra.append(&mut next.extra);
        (request.dimensions, request.purpose) = (next.dimensions, next.purpose);
    }
    Ok(request)
}

fn needed<'a>(name: &'static str, value: Value<'a>) -> Extra<'a> {
    Extra { name: Text::Borrowed(name), value: ir::raw(value), essential: true }
}

fn one<'a>(body: Value<'a>, request: &mut EmbedRequest<'a>) -> Result<(), Error> {
    for member in ir::members(body, "body")? {
        let value = member.value;
        match member.key {
            b"model" => {}
            b"content" => match text_of(value) {
                Some(text) => request.inputs.push(EmbedInput::Text(text)),
                None => request.extra.push(needed("content.parts", value)),
            },
            b"embedContentConfig" | b"embed_content_config" => {
                ir::members(value, "embedContentConfig")?
                    .try_for_each(|member| setting(ir::utf8(member.key), member.value, request))?;
            }
            key => setting(ir::utf8(key), value, request)?,
        }
    }
    if request.inputs.is_empty() && request.extra.is_empty() {
        return Err(ir::refused_shape("content", "a content with parts"));
    }
    Ok(())
}

fn setting<'a>(
    name: &'a str,
    value: Value<'a>,
    request: &mut EmbedRequest<'a>,
) -> Result<(), Error> {
    match name {
        "outputDimensionality" | "output_dimensionality" => {
            request.dimensions = Some(ir::unsigned(value, name)?);
        }
        "taskType" | "task_type" => {
            request.purpose = match &*ir::string(value, name)? {
                "RETRIEVAL_QUERY"
                | "QUESTION_ANSWERING"
                | "FACT_VERIFICATION"
                | "CODE_RETRIEVAL_QUERY" => Some(Purpose::Query),
                "RETRIEVAL_DOCUMENT" => Some(Purpose::Document),
                "CLASSIFICATION" => Some(Purpose::Classification),
                "CLUSTERING" => Some(Purpose::Clustering),
                _ => {
                    let value = ir::raw(value);
                    request.extra.push(Extra { name: name.into(), value, essential: false });
                    None
                }
            };
        }
        _ => request.extra.push(Extra {
            name: Text::Borrowed(name),
            value: ir::raw(value),
            essential: false,
        }),
    }
    Ok(())
}

/// The text of a content, if it is nothing but text.
fn text_of(content: Value<'_>) -> Option<Text<'_>> {
    let mut texts = Vec::new();
    for part in content.get("parts")?.items() {
        if part.members().any(|member| member.key != b"text") {
            return None;
        }
        texts.push(part.get("text")?.as_str()?);
    }
    match texts.len() {
        0 => None,
        1 => texts.pop(),
        _ => Some(Text::Owned(texts.concat())),
    }
}

/// Writes a request for several, which one input is as well.
pub(in crate::dialect) fn encode_request(
    mut request: EmbedRequest<'_>,
    model: &str,
    loss: &mut Loss,
) -> Vec<u8> {
    let mut out = Vec::new();
    write_object(&mut out, |body| {
        body.array("requests", |requests| {
            for input in &request.inputs {
                match input {
                    EmbedInput::Text(text) => requests.object(|each| {
                        each.text("model", &format!("models/{model}"));
                        content(text, each);
                        settings(&request, each);
                    }),
                    EmbedInput::Tokens(_) => loss.refuse("input"),
                }
            }
        });
    });
    request.refuse_quantized("embedding_types", loss);
    if request.user.is_some() {
        loss.drop("user");
    }
    request.lose_the_rest(loss);
    out
}

fn content(text: &str, out: &mut ObjectWriter<'_>) {
    out.object("content", |content| {
        content.array("parts", |parts| parts.object(|part| part.text("text", text)));
    });
}

fn settings(request: &EmbedRequest<'_>, out: &mut ObjectWriter<'_>) {
    if let Some(purpose) = request.purpose {
        let word = match purpose {
            Purpose::Query => "RETRIEVAL_QUERY",
            Purpose::Document => "RETRIEVAL_DOCUMENT",
            Purpose::Classification => "CLASSIFICATION",
            Purpose::Clustering => "CLUSTERING",
        };
        out.text("taskType", word);
    }
    if let Some(size) = request.dimensions {
        out.number("outputDimensionality", size);
    }
}

/// Reads an answer to a request for several.
pub(in crate::dialect) fn decode_answer(body: Value<'_>) -> Result<EmbedAnswer<'_>, Error> {
    let field = "embeddings";
    let list = body.get(field).ok_or_else(|| ir::refused_shape(field, "vectors"))?;
    let mut answer = EmbedAnswer::default();
    for each in ir::items(list, field)? {
        let values = each.get("values").ok_or_else(|| ir::refused_shape(field, "`values`"))?;
        answer.vectors.push(Vector::one(Encoding::Float, values));
    }
    Ok(answer)
}

/// Writes an answer, to a request for one or for several. `None` if a vector cannot be written in
/// numbers, or is missing.
pub(in crate::dialect) fn encode_answer(answer: &EmbedAnswer<'_>, batch: bool) -> Option<Vec<u8>> {
    let vectors: Vec<_> =
        answer.vectors.iter().map(|vector| vector.json(Encoding::Float)).collect::<Option<_>>()?;
    let mut out = Vec::new();
    let first = vectors.first()?;
    write_object(&mut out, |body| {
        if batch {
            body.array("embeddings", |list| {
                for vector in &vectors {
                    list.object(|each| each.raw("values", vector));
                }
            });
        } else {
            body.object("embedding", |each| each.raw("values", first));
        }
        if let Some(usage) = answer.usage {
            body.object("usageMetadata", |out| {
                out.number("promptTokenCount", usage.input);
                out.number("totalTokenCount", usage.input);
            });
        }
    });
    Some(out)
}
