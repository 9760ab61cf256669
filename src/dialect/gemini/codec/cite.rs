//! Grounding and citations, which stand beside the parts and count in bytes.

use crate::dialect::ir::{At, Citation, Cited, Loss, ObjectWriter, Origin, Span, Text};
use crate::dialect::usage::count;
use crate::wire::json::Value;

/// What is said of the sources of a candidate: a citation, or the name of what no other format has.
pub(super) enum Found<'a> {
    Citation(Citation<'a>),
    Lost(&'static str),
}

/// Reads the sources of a candidate. `block` is the number of the block of a part.
pub(super) fn decode<'a>(
    candidate: Value<'a>,
    block: &dyn Fn(u64) -> Option<u32>,
    found: &mut dyn FnMut(Found<'a>),
) {
    for member in candidate.members() {
        match member.key {
            b"groundingMetadata" => grounding(member.value, block, found),
            b"citationMetadata" => {
                for key in ["citationSources", "citations"] {
                    let list = member.value.get(key);
                    for source in list.iter().flat_map(Value::items) {
                        recited(source, found);
                    }
                }
            }
            _ => {}
        }
    }
}

fn grounding<'a>(
    value: Value<'a>,
    block: &dyn Fn(u64) -> Option<u32>,
    found: &mut dyn FnMut(Found<'a>),
) {
    let list = |key: &str| value.get(key).into_iter().flat_map(|list: Value<'a>| list.items());
    let some =
        |value: Value<'_>| value.items().next().is_some() || value.members().next().is_some();
    for (key, name) in [
        ("webSearchQueries", "groundingMetadata.webSearchQueries"),
        ("searchEntryPoint", "groundingMetadata.searchEntryPoint"),
    ] {
        if value.get(key).is_some_and(some) {
            found(Found::Lost(name));
        }
    }
    if list("groundingSupports").any(|it| it.get("confidenceScores").is_some_and(some)) {
        found(Found::Lost("groundingMetadata.confidenceScores"));
    }
    let chunks: Vec<Value<'a>> = list("groundingChunks").collect();
    let mut supported = vec![false; chunks.len()];
    for support in list("groundingSupports") {
        let segment = support.get("segment");
        let number = |key: &str| segment.and_then(|it| it.get(key)).and_then(count);
        let at = At {
            block: number("partIndex").and_then(block),
            span: number("endIndex").map(|end| Span::Bytes(number("startIndex").unwrap_or(0)..end)),
        };
        for index in support.get("groundingChunkIndices").iter().flat_map(Value::items) {
            let index = count(index).and_then(|index| usize::try_from(index).ok());
            let chunk =
                index.and_then(|index| Some((chunks.get(index)?, supported.get_mut(index)?)));
            if let Some((chunk, supported)) = chunk {
                *supported = true;
                found(source(*chunk, at.clone()));
            }
        }
    }
    for (chunk, _) in chunks.iter().zip(&supported).filter(|(_, supported)| !**supported) {
        found(source(*chunk, At::default()));
    }
}

fn source(chunk: Value<'_>, at: At) -> Found<'_> {
    let Some(inner) = chunk.members().next() else { return Found::Lost("groundingMetadata") };
    let text = |key| inner.value.get(key).and_then(|text: Value<'_>| text.as_str());
    let Some(uri) = text("uri").or_else(|| text("documentName")) else {
        return Found::Lost("groundingMetadata");
    };
    let page = inner.key == b"web" || uri.starts_with("http://") || uri.starts_with("https://");
    let origin = if page { Origin::Web(uri) } else { Origin::Named(uri) };
    let quote = text("text").filter(|text| !text.is_empty());
    Found::Citation(Citation { at, origin, title: text("title"), quote })
}

/// A source that the answer recites.
fn recited<'a>(source: Value<'a>, found: &mut dyn FnMut(Found<'a>)) {
    let text = |key| source.get(key).and_then(|text: Value<'a>| text.as_str());
    if text("license").is_some_and(|license| !license.is_empty()) {
        found(Found::Lost("citationMetadata.license"));
    }
    let number = |key| source.get(key).and_then(count);
    let span = number("endIndex").map(|end| Span::Bytes(number("startIndex").unwrap_or(0)..end));
    found(match text("uri") {
        Some(uri) => Found::Citation(Citation {
            at: At { block: None, span },
            origin: Origin::Web(uri),
            title: text("title"),
            quote: None,
        }),
        None => Found::Lost("citationMetadata"),
    });
}

/// One source, and the place of the text that is drawn from it.
#[derive(Debug)]
pub(super) struct Grounded {
    origin: Origin<'static>,
    title: Option<String>,
    quote: Option<String>,
    start: u64,
    end: u64,
    text: String,
}

impl Grounded {
    /// What a citation says, in this format's way of counting.
    pub fn of(cited: &Cited<'_>, loss: &mut Loss) -> Self {
        let Citation { origin, title, quote, .. } = cited.citation.clone().into_owned();
        let place = cited.bytes_of_all();
        if quote.is_some() && origin.url().is_some() {
            loss.drop("citations[].cited_text");
        }
        Self {
            origin,
            title: title.map(Text::into_owned),
            quote: quote.map(Text::into_owned),
            start: place.start,
            end: place.end,
            text: cited.text().to_owned(),
        }
    }
}

/// Writes the sources of a candidate, if it has any.
pub(super) fn write(all: &[Grounded], candidate: &mut ObjectWriter<'_>) {
    if all.is_empty() {
        return;
    }
    candidate.object("groundingMetadata", |metadata| {
        metadata.array("groundingChunks", |chunks| {
            for source in all {
                let web = source.origin.url().is_some();
                chunks.object(|chunk| {
                    chunk.object(if web { "web" } else { "retrievedContext" }, |inner| {
                        inner.text("uri", source.origin.id());
                        if let Some(title) = &source.title {
                            inner.text("title", title);
                        }
                        if let Some(quote) = source.quote.as_deref().filter(|_| !web) {
                            inner.text("text", quote);
                        }
                    });
                });
            }
        });
        metadata.array("groundingSupports", |supports| {
            for (index, source) in (0..).zip(all) {
                supports.object(|support| {
                    support.object("segment", |segment| {
                        segment.number("startIndex", source.start);
                        segment.number("endIndex", source.end);
                        segment.text("text", &source.text);
                    });
                    support
                        .array("groundingChunkIndices", |list| list.raw(&u64::to_string(&index)));
                });
            }
        });
    });
}
