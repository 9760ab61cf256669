//! Embeddings as Cohere's models take and give them: on Cohere's own API and on Bedrock.

use crate::dialect::ir::{
    self, EmbedAnswer, EmbedInput, EmbedRequest, Encoding, Extra, Loss, ObjectWriter, Purpose,
    Text, Vector,
};
use crate::error::Error;
use crate::wire::json::{Kind, Value};

/// What only these bodies have. They go from one of them to the other as they are.
const OWN: [&str; 3] = ["truncate", "max_tokens", "priority"];

/// Reads a request.
pub fn decode_request(body: Value<'_>) -> Result<EmbedRequest<'_>, Error> {
    let mut request = EmbedRequest::default();
    for member in ir::members(body, "body")? {
        let value = member.value;
        let name = ir::utf8(member.key);
        match name {
            "texts" => {
                for text in ir::items(value, name)? {
                    request.inputs.push(EmbedInput::Text(ir::string(text, name)?));
                }
            }
            "inputs" => {
                for (at, input) in ir::items(value, name)?.enumerate() {
                    match text_of(input) {
                        Some(text) => request.inputs.push(EmbedInput::Text(text)),
                        None => request.extra.push(needed(format!("inputs[{at}]"), value)),
                    }
                }
            }
            "images" if !value.is_empty() => request.extra.push(needed(name.into(), value)),
            "model" | "images" => {}
            "input_type" => {
                request.purpose = match &*ir::string(value, name)? {
                    "search_query" => Some(Purpose::Query),
                    "search_document" => Some(Purpose::Document),
                    "classification" => Some(Purpose::Classification),
                    "clustering" => Some(Purpose::Clustering),
                    _ => None,
                };
            }
            "embedding_types" => {
                for kind in ir::items(value, name)? {
                    let encoding = Encoding::named(&ir::string(kind, name)?);
                    let unknown = || ir::refused_shape(name, "known types");
                    request.encodings.push(encoding.ok_or_else(unknown)?);
                }
            }
            "output_dimension" => request.dimensions = Some(ir::unsigned(value, name)?),
            _ => request.extra.push(Extra {
                name: Text::Borrowed(name),
                value: ir::raw(value),
                essential: false,
            }),
        }
    }
    Ok(request)
}

fn needed(name: String, value: Value<'_>) -> Extra<'_> {
    Extra { name: name.into(), value: ir::raw(value), essential: true }
}

/// The text of an input, if it is nothing but text.
fn text_of(input: Value<'_>) -> Option<Text<'_>> {
    let content = input.get("content")?;
    let mut texts = Vec::new();
    for part in content.items() {
        if part.get("type")?.as_str()? != "text" {
            return None;
        }
        texts.push(part.get("text")?.as_str()?);
    }
    match texts.len() {
        1 => texts.pop(),
        _ => Some(Text::Owned(texts.concat())),
    }
}

/// Writes the members of a request. The purpose is not optional here: documents are what is
/// embedded where nothing is said.
pub fn encode_request(
    request: &mut EmbedRequest<'_>,
    own: bool,
    loss: &mut Loss,
    out: &mut ObjectWriter<'_>,
) {
    out.array("texts", |texts| {
        for input in &request.inputs {
            match input {
                EmbedInput::Text(text) => texts.text(text),
                EmbedInput::Tokens(_) => loss.refuse("input"),
            }
        }
    });
    let purpose = match request.purpose {
        Some(Purpose::Query) => "search_query",
        Some(Purpose::Classification) => "classification",
        Some(Purpose::Clustering) => "clustering",
        Some(Purpose::Document) | None => "search_document",
    };
    out.text("input_type", purpose);
    out.array("embedding_types", |types| {
        for encoding in request.wanted() {
            types.text(encoding.as_str());
        }
    });
    if let Some(size) = request.dimensions {
        out.number("output_dimension", size);
    }
    if request.user.is_some() {
        loss.drop("user");
    }
    if own {
        request.extra.retain(|extra| {
            let is_own = OWN.contains(&&*extra.name);
            if is_own {
                out.raw(&extra.name, extra.value);
            }
            !is_own
        });
    }
}

/// Reads an answer, by type or, as Bedrock's older ones are, a list of lists.
pub fn decode_answer(body: Value<'_>) -> Result<EmbedAnswer<'_>, Error> {
    let field = "embeddings";
    let found = body.get(field).ok_or_else(|| ir::refused_shape(field, "vectors"))?;
    let mut answer =
        EmbedAnswer { id: body.get("id").and_then(|id| id.as_str()), ..EmbedAnswer::default() };
    if found.kind() == Some(Kind::Array) {
        answer.vectors = found.items().map(|vector| Vector::one(Encoding::Float, vector)).collect();
        return Ok(answer);
    }
    for member in ir::members(found, field)? {
        let Some(encoding) = Encoding::named(ir::utf8(member.key)) else { continue };
        for (at, vector) in ir::items(member.value, field)?.enumerate() {
            if answer.vectors.len() <= at {
                answer.vectors.push(Vector::default());
            }
            answer.vectors[at].written.push((encoding, ir::raw(vector)));
        }
    }
    Ok(answer)
}

/// Writes the members of an answer that both have.
pub fn encode_answer(
    answer: &EmbedAnswer<'_>,
    asked: &EmbedRequest<'_>,
    id: &str,
    out: &mut ObjectWriter<'_>,
) -> Option<()> {
    out.text("id", answer.id.as_deref().unwrap_or(id));
    out.text("response_type", "embeddings_by_type");
    let vectors: Option<Vec<(Encoding, Vec<Text<'_>>)>> = asked
        .wanted()
        .iter()
        .map(|encoding| {
            let all: Option<Vec<_>> =
                answer.vectors.iter().map(|vector| vector.json(*encoding)).collect();
            Some((*encoding, all?))
        })
        .collect();
    let vectors = vectors?;
    out.object("embeddings", |kinds| {
        for (encoding, all) in &vectors {
            kinds.array(encoding.as_str(), |list| all.iter().for_each(|vector| list.raw(vector)));
        }
    });
    out.array("texts", |texts| {
        for input in &asked.inputs {
            if let EmbedInput::Text(text) = input {
                texts.text(text);
            }
        }
    });
    Some(())
}
