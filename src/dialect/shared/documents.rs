//! Documents that are ranked, and their places, as Cohere and Jina write them.

use crate::dialect::ir::{self, ObjectWriter, RankRequest, Ranked, Text};
use crate::error::Error;
use crate::wire::json::{Kind, Value};

/// Texts, or objects with a `text`.
pub fn decode(value: Value<'_>) -> Result<Vec<Text<'_>>, Error> {
    let field = "documents";
    ir::items(value, field)?
        .map(|document| {
            let text = match document.kind() {
                Some(Kind::Object) => document.get("text"),
                _ => Some(document),
            };
            let text = text.ok_or_else(|| ir::refused_shape(field, "texts"))?;
            ir::string(text, field)
        })
        .collect()
}

/// The query and the documents of a request.
pub fn encode(request: &RankRequest<'_>, out: &mut ObjectWriter<'_>) {
    out.text("query", &request.query);
    out.array("documents", |list| {
        request.documents.iter().for_each(|document| list.text(document));
    });
}

/// The places of an answer.
pub fn results(body: Value<'_>) -> Result<Vec<Ranked<'_>>, Error> {
    let field = "results";
    let list = body.get(field).ok_or_else(|| ir::refused_shape(field, "a list"))?;
    ir::items(list, field)?
        .map(|result| {
            let index = result.get("index").ok_or_else(|| ir::refused_shape(field, "`index`"))?;
            let score = result.get("relevance_score").or_else(|| result.get("score"));
            let score = score.filter(|score| score.kind() == Some(Kind::Number));
            let score = score.ok_or_else(|| ir::refused_shape(field, "`relevance_score`"))?;
            Ok(Ranked { index: ir::unsigned(index, field)?, score: ir::raw(score) })
        })
        .collect()
}
