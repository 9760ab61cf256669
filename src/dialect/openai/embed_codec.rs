//! `/v1/embeddings`, to and from the intermediate representation.

use crate::dialect::ir::{
    self, EmbedAnswer, EmbedInput, EmbedRequest, Encoding, Extra, Loss, Purpose, Text, Vector,
    write_object,
};
use crate::error::Error;
use crate::wire::json::{Kind, Value};

/// Reads a request.
pub(in crate::dialect) fn decode_request(body: Value<'_>) -> Result<EmbedRequest<'_>, Error> {
    let mut request = EmbedRequest::default();
    for member in ir::members(body, "body")? {
        let value = member.value;
        let name = ir::utf8(member.key);
        match name {
            "model" => {}
            "input" => request.inputs = inputs(value)?,
            "encoding_format" => {
                let encoding = Encoding::named(&ir::string(value, name)?)
                    .filter(|each| matches!(each, Encoding::Float | Encoding::Base64));
                let unknown = || ir::refused_shape(name, "`float` or `base64`");
                request.encodings = vec![encoding.ok_or_else(unknown)?];
            }
            "dimensions" => request.dimensions = Some(ir::unsigned(value, name)?),
            "user" => request.user = Some(ir::string(value, name)?),
            // Not OpenAI's own, but of some who are compatible with it.
            "input_type" => {
                request.purpose = match &*ir::string(value, name)? {
                    "query" | "search_query" => Some(Purpose::Query),
                    "passage" | "document" | "search_document" => Some(Purpose::Document),
                    "classification" => Some(Purpose::Classification),
                    "clustering" => Some(Purpose::Clustering),
                    _ => None,
                };
            }
            _ => request.extra.push(Extra {
                name: Text::Borrowed(name),
                value: ir::raw(value),
                essential: false,
            }),
        }
    }
    if request.inputs.is_empty() {
        return Err(ir::refused_shape("input", "a text, tokens, or a list of them"));
    }
    Ok(request)
}

/// A text, a list of texts, tokens, or a list of lists of tokens.
fn inputs(value: Value<'_>) -> Result<Vec<EmbedInput<'_>>, Error> {
    if value.kind() == Some(Kind::String) {
        return Ok(vec![EmbedInput::Text(ir::string(value, "input")?)]);
    }
    let items = || ir::items(value, "input");
    if items()?.next().is_some_and(|first| first.kind() == Some(Kind::Number)) {
        return Ok(vec![EmbedInput::Tokens(ir::raw(value))]);
    }
    items()?
        .map(|item| match item.kind() {
            Some(Kind::Array) => Ok(EmbedInput::Tokens(ir::raw(item))),
            _ => Ok(EmbedInput::Text(ir::string(item, "input")?)),
        })
        .collect()
}

/// Writes a request.
pub(in crate::dialect) fn encode_request(
    mut request: EmbedRequest<'_>,
    model: &str,
    loss: &mut Loss,
) -> Vec<u8> {
    let mut out = Vec::new();
    write_object(&mut out, |body| {
        body.text("model", model);
        body.array("input", |inputs| {
            for input in &request.inputs {
                match input {
                    EmbedInput::Text(text) => inputs.text(text),
                    EmbedInput::Tokens(tokens) => inputs.raw(tokens),
                }
            }
        });
        request.refuse_quantized("embedding_types", loss);
        let base64 = request.wanted() == [Encoding::Base64];
        body.text("encoding_format", if base64 { "base64" } else { "float" });
        if let Some(size) = request.dimensions {
            body.number("dimensions", size);
        }
        if let Some(user) = &request.user {
            body.text("user", user);
        }
        if request.purpose.is_some() {
            loss.drop("input_type");
        }
    });
    request.lose_the_rest(loss);
    out
}

/// Reads an answer.
pub(in crate::dialect) fn decode_answer(body: Value<'_>) -> Result<EmbedAnswer<'_>, Error> {
    let data = body.get("data").ok_or_else(|| ir::refused_shape("data", "vectors"))?;
    let mut vectors = Vec::new();
    for (at, item) in ir::items(data, "data")?.enumerate() {
        let vector = item.get("embedding");
        let vector = vector.ok_or_else(|| ir::refused_shape("data[].embedding", "a vector"))?;
        let is_text = vector.kind() == Some(Kind::String);
        let encoding = if is_text { Encoding::Base64 } else { Encoding::Float };
        let index = item.get("index").and_then(|index| index.as_u64()).unwrap_or(at as u64);
        vectors.push((index, Vector::one(encoding, vector)));
    }
    vectors.sort_by_key(|(index, _)| *index);
    Ok(EmbedAnswer {
        id: None,
        model: body.get("model").and_then(|model| model.as_str()),
        vectors: vectors.into_iter().map(|(_, vector)| vector).collect(),
        usage: None,
    })
}

/// Writes an answer. `None` if a vector cannot be written as it was asked for.
pub(in crate::dialect) fn encode_answer(
    answer: &EmbedAnswer<'_>,
    asked: &EmbedRequest<'_>,
    model: &str,
) -> Option<Vec<u8>> {
    let encoding = *asked.wanted().first()?;
    let vectors: Vec<_> =
        answer.vectors.iter().map(|vector| vector.json(encoding)).collect::<Option<_>>()?;
    let mut out = Vec::new();
    write_object(&mut out, |body| {
        body.text("object", "list");
        body.array("data", |data| {
            for (index, vector) in vectors.iter().enumerate() {
                data.object(|item| {
                    item.text("object", "embedding");
                    item.number("index", index as u64);
                    item.raw("embedding", vector);
                });
            }
        });
        body.text("model", answer.model.as_deref().unwrap_or(model));
        let tokens = answer.usage.unwrap_or_default().input;
        body.object("usage", |usage| {
            usage.number("prompt_tokens", tokens);
            usage.number("total_tokens", tokens);
        });
    });
    Some(out)
}
