//! Citations, which stand beside the content and count in characters of a part of it.

use crate::dialect::ir::{At, Citation, Cited, ObjectWriter, Origin, Span, Text};
use crate::dialect::usage::count;
use crate::wire::json::{Kind, Value};

/// A citation is of text, and neither of a thought nor of a plan.
const OF_TEXT: &str = "TEXT_CONTENT";

/// Reads a citation, which is one for each of its sources. `block` is the number of the block of a
/// part of the content. Whether all of it has words in other formats.
pub(super) fn decode<'a>(
    value: Value<'a>,
    block: &dyn Fn(u64) -> Option<u32>,
    found: &mut dyn FnMut(Citation<'a>),
) -> bool {
    let of = value.get("type").and_then(|kind| kind.as_str());
    let number = |key| value.get(key).and_then(count);
    let (Some(start), Some(end)) = (number("start"), number("end")) else { return false };
    if of.is_some_and(|of| of != OF_TEXT) {
        return false;
    }
    let block = block(number("content_index").unwrap_or(0));
    let at = At { block, span: Some(Span::Chars(start..end)) };
    let mut sources = value.get("sources").into_iter().flat_map(|list| list.items()).peekable();
    let some = sources.peek().is_some();
    sources.for_each(|each| found(source(each, at.clone())));
    some
}

fn source(source: Value<'_>, at: At) -> Citation<'_> {
    let inner = source.get("document").or_else(|| source.get("tool_output"));
    let text = |key| inner?.get(key)?.as_str();
    let id = source.get("id").or_else(|| inner?.get("id")).and_then(|id| id.as_str());
    let quote = ["text", "snippet", "content"].iter().find_map(|key| text(key));
    let all = || inner.filter(|it| it.kind() == Some(Kind::String))?.as_str();
    Citation {
        at,
        origin: match text("url") {
            Some(url) => Origin::Web(url),
            None => Origin::Named(id.unwrap_or_default()),
        },
        title: text("title"),
        quote: quote.or_else(all).filter(|quote: &Text<'_>| !quote.is_empty()),
    }
}

/// The members of a citation of a part of the content.
pub(super) fn write(cited: &Cited<'_>, content_index: u64, out: &mut ObjectWriter<'_>) {
    let Citation { origin, title, quote, .. } = cited.citation;
    let place = cited.chars();
    out.number("start", place.start);
    out.number("end", place.end);
    out.text("text", cited.text());
    out.array("sources", |sources| {
        sources.object(|source| {
            source.text("type", "document");
            source.text("id", origin.id());
            source.object("document", |document| {
                document.text("id", origin.id());
                let members = [("url", origin.url()), ("title", title.as_deref())];
                for (name, text) in members.into_iter().chain([("text", quote.as_deref())]) {
                    if let Some(text) = text {
                        document.text(name, text);
                    }
                }
            });
        });
    });
    out.number("content_index", content_index);
    out.text("type", OF_TEXT);
}
