//! Citations, each of a block as a whole.

use crate::dialect::ir::{At, Citation, Cited, ObjectWriter, Origin, Text, raw};
use crate::wire::json::Value;

/// Reads a citation of a block. What of it no other format has goes to `lost`.
pub(super) fn decode<'a>(
    value: Value<'a>,
    block: u32,
    lost: &mut dyn FnMut(&'static str),
) -> Citation<'a> {
    let text = |key| value.get(key).and_then(|text: Value<'a>| text.as_str());
    if text("encrypted_index").is_some_and(|index| !index.is_empty()) {
        lost("citations[].encrypted_index");
    }
    if ["start_char_index", "start_page_number"].iter().any(|key| value.get(key).is_some()) {
        lost("citations[].location");
    }
    let number = || value.get("document_index").map(|at| Text::Borrowed(raw(at)));
    let named = || text("source").or_else(|| text("document_title")).or_else(number);
    let origin = match (text("url"), text("file_id")) {
        (Some(url), _) => Origin::Web(url),
        (None, Some(id)) => Origin::File(id),
        (None, None) => Origin::Named(named().unwrap_or_default()),
    };
    Citation {
        at: At { block: Some(block), span: None },
        origin,
        title: text("title").or_else(|| text("document_title")),
        quote: text("cited_text").filter(|quote| !quote.is_empty()),
    }
}

/// The members of a citation: of a page that was found, or of something in the conversation.
pub(super) fn write(cited: &Cited<'_>, out: &mut ObjectWriter<'_>) {
    let Citation { origin, title, quote, .. } = cited.citation;
    let web = matches!(origin, Origin::Web(_));
    let kind = if web { "web_search_result_location" } else { "search_result_location" };
    out.text("type", kind);
    out.text("cited_text", quote.as_deref().unwrap_or_default());
    match title {
        Some(title) => out.text("title", title),
        None => out.null("title"),
    }
    if web {
        out.text("url", origin.id());
        out.text("encrypted_index", "");
    } else {
        out.text("source", origin.id());
        for index in ["search_result_index", "start_block_index", "end_block_index"] {
            out.number(index, 0);
        }
    }
}
