//! `/v2/rerank` and its first version, to and from the intermediate representation.

use crate::dialect::ir::{self, Extra, Loss, RankAnswer, RankRequest, Ranked, Text, write_object};
use crate::dialect::shared::documents;
use crate::error::Error;
use crate::wire::json::Value;

/// Reads a request of either version.
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
                // Other members of the documents would be ranked.
                essential: name == "rank_fields",
            }),
        }
    }
    Ok(request)
}

/// Writes a request of the second version.
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
    });
    request.lose_the_rest(loss);
    out
}

/// Reads an answer.
pub(in crate::dialect) fn decode_answer(body: Value<'_>) -> Result<RankAnswer<'_>, Error> {
    Ok(RankAnswer {
        id: body.get("id").and_then(|id| id.as_str()),
        results: documents::results(body)?,
        searches: body.find(&["meta", "billed_units", "search_units"]).map(ir::raw),
        ..RankAnswer::default()
    })
}

/// Writes an answer of the first version or of the second, which never sends documents back.
pub(in crate::dialect) fn encode_answer(
    answer: &RankAnswer<'_>,
    asked: &RankRequest<'_>,
    first_version: bool,
    id: &str,
) -> Vec<u8> {
    let mut out = Vec::new();
    let back = first_version && asked.documents_back == Some(true);
    write_object(&mut out, |body| {
        body.text("id", answer.id.as_deref().unwrap_or(id));
        body.array("results", |results| {
            for Ranked { index, score } in &answer.results {
                results.object(|result| {
                    if let Some(document) = asked.documents.get(*index as usize).filter(|_| back) {
                        result.object("document", |out| out.text("text", document));
                    }
                    result.number("index", *index);
                    result.raw("relevance_score", score);
                });
            }
        });
        body.object("meta", |meta| {
            let version = if first_version { "1" } else { "2" };
            meta.object("api_version", |out| out.text("version", version));
            meta.object("billed_units", |units| match (answer.searches, answer.usage) {
                (Some(searches), _) => units.raw("search_units", searches),
                (None, Some(usage)) => units.number("input_tokens", usage.input),
                (None, None) => {}
            });
        });
    });
    out
}
