//! What weir has put into a conversation for a provider of another format.
//!
//! A client that speaks one format may have had its first turns from a provider of another: their
//! signatures and encrypted thoughts stand wrapped in its conversation ([`ir::Seal`]). Where the
//! conversation goes on to a provider of the client's own format, it would take them for its own
//! and refuse them, so they are cut out: the one exception to forwarding a body as it came.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem;

use super::ir::{Format, Seal};
use crate::wire::json::{Edit, Value, lazy};

/// Looked for in every conversation: what makes it fast is worked out once.
static SEALED: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(Seal::MARK));

/// An empty signature, as JSON is commonly written.
const UNSIGNED: [&str; 2] = ["\"signature\":\"\"", "\"signature\": \"\""];

/// The edits without which a provider of the client's own format would refuse a chat.
pub(super) fn cuts(format: Format, body: &[u8]) -> Vec<Edit> {
    let mut edits = Vec::new();
    // Their providers do not look into what they have not written.
    if matches!(format, Format::Chat | Format::Cohere) {
        return edits;
    }
    let has = |mark: &str| memmem::find(body, mark.as_bytes()).is_some();
    // A thought of a provider that signs nothing has an empty signature, which Anthropic refuses.
    let unsigned = || format == Format::Anthropic && UNSIGNED.iter().any(|mark| has(mark));
    if SEALED.find(body).is_none() && !unsigned() {
        return edits;
    }
    let root = lazy(body);
    let list = |value: Value<'_>, key: &str, edits: &mut Vec<Edit>| {
        if let Some(list) = value.get(key) {
            cut(list, &|item| is_foreign(format, item), edits);
        }
    };
    match format {
        Format::Responses => list(root, "input", &mut edits),
        Format::Anthropic | Format::Bedrock => {
            let messages = root.get("messages");
            messages.iter().flat_map(Value::items).for_each(|it| list(it, "content", &mut edits));
        }
        Format::Gemini => {
            for turn in root.get("contents").iter().flat_map(Value::items) {
                list(turn, "parts", &mut edits);
                for part in turn.get("parts").iter().flat_map(Value::items) {
                    unsign(part, &mut edits);
                }
            }
        }
        Format::Chat | Format::Cohere => {}
    }
    edits
}

/// Whether an item, a block or a part is a thought that another provider has sealed.
fn is_foreign(format: Format, item: Value<'_>) -> bool {
    let at = |path: &[&str]| item.find(path).is_some_and(is_wrapped);
    match format {
        Format::Responses => at(&["encrypted_content"]),
        Format::Anthropic => {
            let unsigned = item.get("signature").and_then(|it| it.contents()) == Some(b"");
            at(&["signature"]) || at(&["data"]) || unsigned
        }
        Format::Bedrock => {
            at(&["reasoningContent", "reasoningText", "signature"])
                || at(&["reasoningContent", "redactedContent"])
        }
        Format::Gemini => {
            signature(item).is_some_and(is_wrapped)
                && item.get("functionCall").or_else(|| item.get("function_call")).is_none()
                && item.get("text").is_none_or(|text| {
                    text.contents() == Some(b"") || item.get("thought").is_some()
                })
        }
        Format::Chat | Format::Cohere => false,
    }
}

fn is_wrapped(value: Value<'_>) -> bool {
    value.contents().is_some_and(|text| text.starts_with(Seal::MARK.as_bytes()))
}

fn signature(part: Value<'_>) -> Option<Value<'_>> {
    part.get("thoughtSignature").or_else(|| part.get("thought_signature"))
}

/// Takes the signature from a part that stays.
fn unsign(part: Value<'_>, edits: &mut Vec<Edit>) {
    if is_foreign(Format::Gemini, part) {
        return;
    }
    let members: Vec<_> = part.members().collect();
    let signs = |key: &[u8]| matches!(key, b"thoughtSignature" | b"thought_signature");
    let spans = members.iter().map(|it| (it.span(), signs(it.key) && is_wrapped(it.value)));
    edits.extend(spans_to_cut(spans).map(nothing));
}

/// Cuts elements out of an array.
fn cut(list: Value<'_>, is_cut: &dyn Fn(Value<'_>) -> bool, edits: &mut Vec<Edit>) {
    let spans = list.items().map(|item| (item.span(), is_cut(item)));
    edits.extend(spans_to_cut(spans).map(nothing));
}

fn nothing(span: Range<usize>) -> Edit {
    Edit { span, with: Bytes::new() }
}

/// The spans of those of some neighbours that are to be cut, each with one comma beside it.
fn spans_to_cut(
    all: impl Iterator<Item = (Range<usize>, bool)>,
) -> impl Iterator<Item = Range<usize>> {
    let all: Vec<_> = all.collect();
    let mut spans = Vec::new();
    let mut kept_end = None;
    for (at, (span, is_cut)) in all.iter().enumerate() {
        match (is_cut, all.get(at + 1), kept_end) {
            (false, ..) => kept_end = Some(span.end),
            (true, Some((next, _)), _) => spans.push(span.start..next.start),
            (true, None, Some(end)) => {
                // The last ones, and the comma in front of the first of them.
                spans.retain(|cut: &Range<usize>| cut.end <= end);
                spans.push(end..span.end);
            }
            (true, None, None) => spans.push(span.clone()),
        }
    }
    spans.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::splice;

    fn without(format: Format, body: &str) -> String {
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        let mut edits = cuts(format, &bytes);
        String::from_utf8(splice(&bytes, &mut edits).into_bytes().to_vec()).expect("UTF-8")
    }

    fn wrapped() -> String {
        Seal { origin: Format::Cohere, id: None, value: "s".into() }.wrapped()
    }

    #[test]
    fn thoughts_that_another_provider_has_sealed_are_cut() {
        let seal = wrapped();
        for (format, body, want) in [
            (
                Format::Responses,
                format!(
                    r#"{{"input":[{{"role":"user"}}, {{"type":"reasoning","encrypted_content":"{seal}"}}, {{"a":1}}]}}"#
                ),
                r#"{"input":[{"role":"user"}, {"a":1}]}"#,
            ),
            (
                Format::Anthropic,
                format!(
                    r#"{{"messages":[{{"content":"{seal}"}},{{"content":[{{"type":"thinking","signature":"{seal}"}},{{"type":"redacted_thinking","data":"{seal}"}},{{"type":"text"}}]}}]}}"#
                ),
                r#"{"messages":[{"content":"SEAL"},{"content":[{"type":"text"}]}]}"#,
            ),
            (
                Format::Anthropic,
                format!(
                    r#"{{"messages":[{{"content":[{{"type":"text"}},{{"signature":"{seal}"}},{{"signature":"{seal}"}}]}}]}}"#
                ),
                r#"{"messages":[{"content":[{"type":"text"}]}]}"#,
            ),
            (
                Format::Anthropic,
                r#"{"messages":[{"content":[{"type":"thinking","thinking":"t","signature": ""},{"type":"text"}]}]}"#.to_owned(),
                r#"{"messages":[{"content":[{"type":"text"}]}]}"#,
            ),
            (
                Format::Bedrock,
                format!(
                    r#"{{"messages":[{{"content":[{{"text":"a"}},{{"reasoningContent":{{"reasoningText":{{"text":"b","signature":"{seal}"}}}}}}]}}]}}"#
                ),
                r#"{"messages":[{"content":[{"text":"a"}]}]}"#,
            ),
            (
                Format::Gemini,
                format!(
                    r#"{{"contents":[{{"parts":[{{"text":"t","thought":true,"thoughtSignature":"{seal}"}},{{"functionCall":{{"name":"f"}},"thoughtSignature":"{seal}"}},{{"text":"a","thoughtSignature":"{seal}"}}]}}]}}"#
                ),
                r#"{"contents":[{"parts":[{"functionCall":{"name":"f"}},{"text":"a"}]}]}"#,
            ),
        ] {
            let got = without(format, &body).replace(&seal, "SEAL");
            assert_eq!(got, want, "{format}");
        }
    }

    #[test]
    fn what_is_the_providers_own_stays() {
        for body in [
            r#"{"input":[{"type":"reasoning","encrypted_content":"gAAAA"}]}"#,
            r#"{"input":"d2VpcjE6 in a text"}"#,
        ] {
            assert_eq!(without(Format::Responses, body), body);
        }
    }
}
