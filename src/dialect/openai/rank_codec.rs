//! `/v1/rerank` in the shape of Jina, to and from the intermediate representation.

use crate::dialect::ir::{self, Extra, Loss, RankAnswer, RankRequest, Ranked, Text, write_object};
use crate::dialect::shared::documents;
use crate::error::Error;
use crate::wire::json::Value;

/// Reads a request.
pub(in crate::dialect) fn decode_request(body: Value<'_>) -> Result<RankRequest<'_>, Error> {
    let mut request = RankRequest::default();
    for member in ir::members(body, "body")? {
        let value = member.value;
        let name = ir::utf8(member.key);
        match name {
            "model" => {}
            "query" => request.query = ir::string(value, name)?,
            "documents" => request.documents = documents::decode(value)?,
            "top_n" => request.top = Some(ir::unsigned(value, name)?),
            "return_documents" => request.documents_back = Some(ir::boolean(value, name)?),
            _ => request.extra.push(Extra {
                name: Text::Borrowed(name),
                value: ir::raw(value),
                essential: false,
            }),
        }
    }
    Ok(request)
}

/// Writes a request. The documents are known here, so that they are not asked for.
pub(in crate::dialect) fn encode_request(
    mut request: RankRequest<'_>,
    model: &str,
    loss: &mut Loss,
) -> Vec<u8> {
    let mut out = Vec::new();
    write_object(&mut out, |body| {
        body.text("model", model);
        documents::encode(&request, body);
        if let Some(top) = request.top {
            body.number("top_n", top);
        }
        body.flag("return_documents", false);
    });
    request.lose_the_rest(loss);
    out
}

/// Reads an answer.
pub(in crate::dialect) fn decode_answer(body: Value<'_>) -> Result<RankAnswer<'_>, Error> {
    Ok(RankAnswer {
        id: body.get("id").and_then(|id| id.as_str()),
        model: body.get("model").and_then(|model| model.as_str()),
        results: documents::results(body)?,
        ..RankAnswer::default()
    })
}

/// Writes an answer. Documents come back unless the client does not want them.
pub(in crate::dialect) fn encode_answer(
    answer: &RankAnswer<'_>,
    asked: &RankRequest<'_>,
    model: &str,
) -> Vec<u8> {
    let mut out = Vec::new();
    write_object(&mut out, |body| {
        body.text("model", answer.model.as_deref().unwrap_or(model));
        if let Some(usage) = answer.usage {
            body.object("usage", |out| out.number("total_tokens", usage.input));
        }
        body.array("results", |results| {
            for Ranked { index, score } in &answer.results {
                results.object(|result| {
                    result.number("index", *index);
                    result.raw("relevance_score", score);
                    let document = asked.documents.get(*index as usize);
                    if let Some(document) = document.filter(|_| asked.documents_back != Some(false))
                    {
                        result.object("document", |out| out.text("text", document));
                    }
                });
            }
        });
    });
    out
}
