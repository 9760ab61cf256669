//! `/v2/embed`, to and from the intermediate representation.

use crate::dialect::ir::{EmbedAnswer, EmbedRequest, Loss, write_object};
use crate::dialect::shared::embed_by_type;

pub(in crate::dialect) use crate::dialect::shared::embed_by_type::{decode_answer, decode_request};

/// Writes a request. `own`: it came in a body of the same kind.
pub(in crate::dialect) fn encode_request(
    mut request: EmbedRequest<'_>,
    model: &str,
    own: bool,
    loss: &mut Loss,
) -> Vec<u8> {
    let mut out = Vec::new();
    write_object(&mut out, |body| {
        body.text("model", model);
        embed_by_type::encode_request(&mut request, own, loss, body);
    });
    request.lose_the_rest(loss);
    out
}

/// Writes an answer. `None` if a vector cannot be written as it was asked for.
pub(in crate::dialect) fn encode_answer(
    answer: &EmbedAnswer<'_>,
    asked: &EmbedRequest<'_>,
    id: &str,
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut complete = None;
    write_object(&mut out, |body| {
        complete = embed_by_type::encode_answer(answer, asked, id, body);
        body.object("meta", |meta| {
            meta.object("api_version", |version| version.text("version", "2"));
            if let Some(usage) = answer.usage {
                meta.object("billed_units", |units| units.number("input_tokens", usage.input));
            }
        });
    });
    complete.map(|()| out)
}
