//! Citations, each of a block as a whole.

use crate::dialect::ir::{At, Citation, Cited, ObjectWriter, Origin, Text};
use crate::wire::json::Value;

/// Reads a citation of a block. What of it no other format has goes to `lost`.
pub(super) fn decode<'a>(
    value: Value<'a>,
    block: u32,
    lost: &mut dyn FnMut(&'static str),
) -> Citation<'a> {
    let text = |path: &[&str]| value.find(path).and_then(|text: Value<'a>| text.as_str());
    let url = text(&["location", "web", "url"]);
    if url.is_none() && value.get("location").is_some_and(|it| it.members().next().is_some()) {
        lost("citations[].location");
    }
    let title = text(&["title"]);
    let named = || text(&["source"]).or_else(|| title.clone()).unwrap_or_default();
    let origin = url.map_or_else(|| Origin::Named(named()), Origin::Web);
    let said = value.get("sourceContent");
    let said = said.iter().flat_map(Value::items).filter_map(|part| part.get("text")?.as_str());
    let quote: String = said.collect();
    let quote = Some(Text::Owned(quote)).filter(|quote| !quote.is_empty());
    Citation { at: At { block: Some(block), span: None }, origin, title, quote }
}

/// The members of a citation.
pub(super) fn write(cited: &Cited<'_>, out: &mut ObjectWriter<'_>) {
    let Citation { origin, title, quote, .. } = cited.citation;
    if let Some(title) = title {
        out.text("title", title);
    }
    if let Some(quote) = quote {
        out.array("sourceContent", |parts| parts.object(|part| part.text("text", quote)));
    }
    match origin {
        Origin::Web(url) => out.object("location", |location| {
            location.object("web", |web| web.text("url", url));
        }),
        Origin::File(id) | Origin::Named(id) => out.text("source", id),
    }
}
