//! Embeddings through `InvokeModel`, whose bodies are those of the model's maker: Amazon's Titan
//! takes one text at a time, Cohere's models what Cohere's own API takes.

use crate::dialect::ir::{
    self, EmbedAnswer, EmbedInput, EmbedRequest, Encoding, Extra, Loss, Text, Vector, write_object,
};
use crate::dialect::shared::embed_by_type;
use crate::error::{Error, Kind};
use crate::wire::json::Value;

/// Whether a body is one of Amazon's.
fn is_titan(body: Value<'_>) -> bool {
    body.get("inputText").is_some()
}

/// Reads a request. What a body is for is only known by its members.
pub(in crate::dialect) fn decode_request(body: Value<'_>) -> Result<EmbedRequest<'_>, Error> {
    if !is_titan(body) {
        if body.get("texts").or_else(|| body.get("inputs")).is_none() {
            let message = "This body of InvokeModel is of no kind that can be translated.";
            return Err(Error::new(Kind::NotExpressible, message).param("body"));
        }
        return embed_by_type::decode_request(body);
    }
    let mut request = EmbedRequest::default();
    for member in ir::members(body, "body")? {
        let value = member.value;
        let name = ir::utf8(member.key);
        match name {
            "inputText" => request.inputs.push(EmbedInput::Text(ir::string(value, name)?)),
            "dimensions" => request.dimensions = Some(ir::unsigned(value, name)?),
            "embeddingTypes" => {
                for kind in ir::items(value, name)? {
                    let encoding = Encoding::named(&ir::string(kind, name)?);
                    let unknown = || ir::refused_shape(name, "`float` or `binary`");
                    request.encodings.push(encoding.ok_or_else(unknown)?);
                }
            }
            // Vectors of length one are what every other format gives.
            "normalize" if value.as_bool() == Some(true) => {}
            _ => request.extra.push(Extra {
                name: Text::Borrowed(name),
                value: ir::raw(value),
                essential: name == "normalize",
            }),
        }
    }
    Ok(request)
}

/// Writes a request, in the body that the model takes. `own`: it came in a body of Cohere's kind.
pub(in crate::dialect) fn encode_request(
    mut request: EmbedRequest<'_>,
    model: &str,
    own: bool,
    loss: &mut Loss,
) -> Vec<u8> {
    let mut out = Vec::new();
    // Also in the name of an inference profile or an ARN.
    if model.contains("cohere.") {
        write_object(&mut out, |body| {
            if request.encodings.contains(&Encoding::Base64) {
                // Here the model knows numbers only; they are written in base64 on the way back.
                request.encodings = vec![Encoding::Float];
            }
            embed_by_type::encode_request(&mut request, own, loss, body);
        });
    } else {
        write_object(&mut out, |body| {
            match &request.inputs[..] {
                [EmbedInput::Text(text)] => body.text("inputText", text),
                // One text a request.
                _ => loss.refuse("input"),
            }
            if let Some(size) = request.dimensions {
                body.number("dimensions", size);
            }
            request.refuse_quantized("embedding_types", loss);
            if request.purpose.is_some() {
                loss.drop("input_type");
            }
            if request.user.is_some() {
                loss.drop("user");
            }
        });
    }
    request.lose_the_rest(loss);
    out
}

/// Reads an answer of either kind.
pub(in crate::dialect) fn decode_answer(body: Value<'_>) -> Result<EmbedAnswer<'_>, Error> {
    match body.get("embedding") {
        Some(vector) => Ok(EmbedAnswer {
            vectors: vec![Vector::one(Encoding::Float, vector)],
            ..EmbedAnswer::default()
        }),
        None => embed_by_type::decode_answer(body),
    }
}

/// Writes an answer of the kind that the request was. `None` if a vector cannot be written as it was
/// asked for.
pub(in crate::dialect) fn encode_answer(
    answer: &EmbedAnswer<'_>,
    asked: &EmbedRequest<'_>,
    request: Value<'_>,
    id: &str,
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut complete = None;
    if is_titan(request) {
        let vector = answer.vectors.first()?.json(Encoding::Float)?;
        write_object(&mut out, |body| {
            body.raw("embedding", &vector);
            body.object("embeddingsByType", |kinds| kinds.raw("float", &vector));
            if let Some(usage) = answer.usage {
                body.number("inputTextTokenCount", usage.input);
            }
        });
        return Some(out);
    }
    write_object(&mut out, |body| {
        complete = embed_by_type::encode_answer(answer, asked, id, body);
    });
    complete.map(|()| out)
}
