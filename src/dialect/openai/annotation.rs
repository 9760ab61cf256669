//! Annotations: what an answer is drawn from. Chat Completions puts what one says into a member of its
//! own, Responses does not.

use std::ops::Range;

use super::super::ir::{At, Citation, Cited, Loss, ObjectWriter, Origin, Span, write_object};
use super::super::usage::count;
use crate::wire::json::Value;

/// Reads an annotation of a block, or (`None`) of all the text. `None` if no other format has it.
pub(in crate::dialect) fn decode(value: Value<'_>, block: Option<u32>) -> Option<Citation<'_>> {
    let inner = value.get("url_citation").unwrap_or(value);
    let text = |key| inner.get(key).and_then(|text: Value<'_>| text.as_str());
    let number = |key| inner.get(key).and_then(count);
    let span = match (number("start_index"), number("end_index")) {
        (Some(start), Some(end)) => Some(Span::Chars(start..end)),
        _ => None,
    };
    let (origin, title) = match (text("url"), text("file_id")) {
        (Some(url), _) => (Origin::Web(url), text("title")),
        (None, Some(id)) => (Origin::File(id), text("filename")),
        (None, None) => return None,
    };
    Some(Citation { at: At { block, span }, origin, title, quote: None })
}

/// Pages that a whole answer is drawn from, which some servers (Perplexity) list beside it: with
/// their titles, or their addresses alone.
pub(in crate::dialect) fn pages(answer: Value<'_>) -> impl Iterator<Item = Citation<'_>> {
    let list = |key: &str| answer.get(key).filter(|list| list.items().next().is_some());
    let found = list("search_results").or_else(|| list("citations"));
    found.into_iter().flat_map(|list| list.items()).filter_map(|page| {
        let url = page.as_str().or_else(|| page.get("url")?.as_str())?;
        let title = page.get("title").and_then(|title| title.as_str());
        Some(Citation { at: At::default(), origin: Origin::Web(url), title, quote: None })
    })
}

/// The members of an annotation of Chat Completions, which has them of pages only.
pub(in crate::dialect) fn write_in_chat(cited: &Cited<'_>, url: &str, out: &mut ObjectWriter<'_>) {
    out.text("type", "url_citation");
    out.object("url_citation", |inner| page(cited, url, cited.chars_of_all(), inner));
}

/// The members of an annotation of Responses, which has them of pages and files.
fn write(cited: &Cited<'_>, out: &mut ObjectWriter<'_>) {
    match &cited.citation.origin {
        Origin::Web(url) => {
            out.text("type", "url_citation");
            page(cited, url, cited.chars(), out);
        }
        Origin::File(id) | Origin::Named(id) => {
            out.text("type", "file_citation");
            out.text("file_id", id);
            out.text("filename", cited.citation.title.as_deref().unwrap_or_default());
            out.number("index", cited.chars().end);
        }
    }
}

fn page(cited: &Cited<'_>, url: &str, place: Range<u64>, out: &mut ObjectWriter<'_>) {
    out.number("start_index", place.start);
    out.number("end_index", place.end);
    out.text("url", url);
    out.text("title", cited.citation.title.as_deref().unwrap_or_default());
}

/// Writes an annotation of Responses to the end of a list, or accounts for one that it has no words
/// for.
pub(in crate::dialect) fn add(cited: &Cited<'_>, list: &mut Vec<u8>, loss: &mut Loss) -> bool {
    if matches!(cited.citation.origin, Origin::Named(_)) {
        loss.drop("citations");
        return false;
    }
    lose(cited, loss);
    if !list.is_empty() {
        list.push(b',');
    }
    write_object(list, |note| write(cited, note));
    true
}

/// Accounts for what an annotation has no words for.
pub(in crate::dialect) fn lose(cited: &Cited<'_>, loss: &mut Loss) {
    if cited.citation.quote.is_some() {
        loss.drop("citations[].cited_text");
    }
}
