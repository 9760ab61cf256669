//! Responses that are kept: what a request continues, what is kept of it, and what the endpoints
//! about kept responses answer.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::super::ir::{ObjectWriter, utf8, write_object};
use crate::wire::json::{Edit, Kind, Value, lazy, splice};

/// The most items that a request may have where it refers to some by their ids.
const REFERENCES_MAX: usize = 1024;

/// What is kept of one turn.
pub struct KeptTurn<'a> {
    /// The elements of the array of its input items.
    pub input: &'a [u8],
    /// The response.
    pub response: &'a [u8],
}

/// The response that a request continues.
pub fn previous_response(body: &[u8]) -> Option<Cow<'_, str>> {
    lazy(body).get("previous_response_id")?.as_str()
}

/// Whether the answer to a request may be kept: unless it says otherwise.
pub fn may_be_kept(body: &[u8]) -> bool {
    lazy(body).get("store").and_then(|store| store.as_bool()).unwrap_or(true)
}

/// The input of a request: the elements of an array of items.
pub fn input_items(body: &[u8]) -> Vec<u8> {
    let Some(input) = lazy(body).get("input") else { return Vec::new() };
    match input.kind() {
        Some(Kind::Array) => elements(input).to_vec(),
        Some(Kind::String) => {
            let mut out = Vec::with_capacity(input.raw().len() + 64);
            write_object(&mut out, |item| {
                item.text("type", "message");
                item.text("role", "user");
                item.array("content", |parts| {
                    parts.object(|part| {
                        part.text("type", "input_text");
                        part.raw("text", utf8(input.raw()));
                    });
                });
            });
            out
        }
        _ => Vec::new(),
    }
}

/// What stands between the brackets of an array.
fn elements(array: Value<'_>) -> &[u8] {
    let raw = array.raw();
    raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default().trim_ascii()
}

/// A request that continues a conversation, with all of the conversation in it.
pub fn continued(body: &Bytes, turns: &[KeptTurn<'_>]) -> Bytes {
    let object = lazy(body);
    let mut all = vec![b'['];
    for turn in turns {
        append(&mut all, turn.input);
        for item in output(turn.response).items().filter(|item| !is_bare_thought(*item)) {
            append(&mut all, item.raw());
        }
    }
    append(&mut all, &input_items(body));
    all.push(b']');
    let mut edits = Vec::new();
    if let Some(previous) = object.get("previous_response_id") {
        edits.push(Edit { span: previous.span(), with: Bytes::from_static(b"null") });
    }
    if let Some(input) = object.get("input") {
        edits.push(Edit { span: input.span(), with: all.into() });
    } else {
        // The object has at least one member, which says what it continues.
        let start = object.span().start + 1;
        let member = [b"\"input\":", &all[..], b","].concat();
        edits.push(Edit { span: start..start, with: member.into() });
    }
    splice(body, &mut edits)
        .iter()
        .fold(Vec::new(), |mut out, piece| {
            out.extend_from_slice(piece);
            out
        })
        .into()
}

/// The items of a response.
fn output(response: &[u8]) -> Value<'_> {
    lazy(response).get("output").unwrap_or(lazy(b"[]"))
}

/// Whether an item is a thought without a seal: it tells nothing to any provider, and one that keeps
/// responses itself looks for it in vain.
fn is_bare_thought(item: Value<'_>) -> bool {
    item.get("type").is_some_and(|kind| kind.raw() == b"\"reasoning\"")
        && item.get("encrypted_content").is_none_or(|seal| seal.is_null())
}

/// An item of a response that was given here, to which a request refers by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The item.
    pub item: String,
    /// The response.
    pub response: String,
    span: Range<usize>,
}

/// The items that a request refers to: at most so many as one conversation may be asked for.
pub fn references(body: &[u8]) -> Vec<Reference> {
    let mut found = Vec::new();
    if memmem::find(body, b"\"item_reference\"").is_none() {
        return found;
    }
    let input = lazy(body).get("input");
    for item in input.iter().flat_map(Value::items).take(REFERENCES_MAX) {
        let is_reference = item.get("type").is_some_and(|it| it.raw() == b"\"item_reference\"");
        let Some(id) = item.get("id").and_then(|id| id.as_str()).filter(|_| is_reference) else {
            continue;
        };
        // Items are called after their response.
        if let Some(base) = id.split('_').nth(1) {
            let response = format!("resp_{base}");
            found.push(Reference { response, span: item.span(), item: id.into_owned() });
        }
    }
    found
}

/// The request with the items themselves, of the responses that were found.
pub fn resolved(body: &Bytes, found: &[(Reference, Bytes)]) -> Bytes {
    let Some(input) = lazy(body).get("input") else { return body.clone() };
    let mut all = vec![b'['];
    for item in input.items() {
        let kept = found.iter().find(|(reference, _)| reference.span == item.span());
        let kept = kept.and_then(|(reference, response)| {
            output(response).items().find(|item| {
                item.get("id").and_then(|id| id.as_str()).as_deref() == Some(&*reference.item)
            })
        });
        match kept {
            Some(thought) if is_bare_thought(thought) => {}
            kept => append(&mut all, kept.unwrap_or(item).raw()),
        }
    }
    all.push(b']');
    splice(body, &mut [Edit { span: input.span(), with: all.into() }]).into_bytes()
}

fn append(all: &mut Vec<u8>, elements: &[u8]) {
    if elements.is_empty() {
        return;
    }
    if all.len() > 1 {
        all.push(b',');
    }
    all.extend_from_slice(elements);
}

/// Which of the input items are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// How many at most.
    pub limit: usize,
    /// The oldest first.
    pub ascending: bool,
    /// Those behind the item with this id.
    pub after: Option<&'a str>,
}

/// The list of the input items of a response: those of the turns before it, and its own.
pub fn input_list(id: &str, turns: &[KeptTurn<'_>], page: Page<'_>) -> Bytes {
    let mut all = vec![b'['];
    for (at, turn) in turns.iter().enumerate() {
        append(&mut all, turn.input);
        if at + 1 < turns.len() {
            append(&mut all, elements(output(turn.response)));
        }
    }
    all.push(b']');
    let mut items: Vec<(Cow<'_, str>, Value<'_>)> =
        lazy(&all).items().enumerate().map(|(at, item)| (own_id(id, at, item), item)).collect();
    if !page.ascending {
        items.reverse();
    }
    let start = match page.after {
        Some(after) => {
            items.iter().position(|(id, _)| id == after).map_or(items.len(), |at| at + 1)
        }
        None => 0,
    };
    let rest = &items[start..];
    let shown = &rest[..rest.len().min(page.limit)];
    let mut out = Vec::with_capacity(all.len() + 256);
    write_object(&mut out, |list| {
        list.text("object", "list");
        list.array("data", |data| {
            for (id, item) in shown {
                data.object(|out| write_item(id, *item, out));
            }
        });
        for (key, item) in [("first_id", shown.first()), ("last_id", shown.last())] {
            match item {
                Some((id, _)) => list.text(key, id),
                None => list.null(key),
            }
        }
        list.flag("has_more", shown.len() < rest.len());
    });
    out.into()
}

/// The id of an item, or one that it always gets.
fn own_id<'a>(response: &str, at: usize, item: Value<'a>) -> Cow<'a, str> {
    let own = item.get("id").and_then(|id| id.as_str());
    own.unwrap_or_else(|| {
        let base = response.strip_prefix("resp_").unwrap_or(response);
        let prefix = match item.get("type").and_then(|kind| kind.as_str()).as_deref() {
            Some("function_call") => "fc",
            Some("function_call_output") => "fco",
            Some("reasoning") => "rs",
            _ => "msg",
        };
        Cow::Owned(format!("{prefix}_{base}_in{at}"))
    })
}

/// An item with its id and its type, and a text as the part that it stands for.
fn write_item(id: &str, item: Value<'_>, out: &mut ObjectWriter<'_>) {
    out.text("id", id);
    if item.get("type").is_none() {
        out.text("type", "message");
    }
    for member in item.members() {
        match (member.key, member.value.kind()) {
            (b"id", _) => {}
            (b"content", Some(Kind::String)) => out.array("content", |parts| {
                let own = item.get("role").is_some_and(|role| role.raw() == b"\"assistant\"");
                parts.object(|part| {
                    part.text("type", if own { "output_text" } else { "input_text" });
                    part.raw("text", utf8(member.value.raw()));
                });
            }),
            _ => out.raw(utf8(member.key), utf8(member.value.raw())),
        }
    }
}

/// What is answered once a response is forgotten.
pub fn deleted(id: &str) -> Bytes {
    let mut out = Vec::new();
    write_object(&mut out, |body| {
        body.text("id", id);
        body.text("object", "response");
        body.flag("deleted", true);
    });
    out.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn parsed(body: &[u8]) -> Json {
        serde_json::from_slice(body).expect("JSON")
    }

    #[test]
    fn a_conversation_stands_in_the_request_that_continues_it() {
        let turns = [
            KeptTurn {
                input: br#"{"role":"user","content":"a"}"#,
                response: br#"{"output":[{"n":1}, {"n":2}]}"#,
            },
            KeptTurn { input: b"", response: br#"{"output":[]}"# },
        ];
        let body = Bytes::from_static(
            br#"{"model":"m","previous_response_id":"resp_1","input":"b\n","store":true}"#,
        );
        assert_eq!(previous_response(&body).as_deref(), Some("resp_1"));
        let said = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "b\n"}]});
        assert_eq!(
            parsed(&continued(&body, &turns)),
            json!({"model": "m", "previous_response_id": null, "store": true,
                "input": [{"role": "user", "content": "a"}, {"n": 1}, {"n": 2}, said]})
        );
        let none = Bytes::from_static(br#" {"previous_response_id":"resp_1"}"#);
        let input = &parsed(&continued(&none, &turns))["input"];
        assert_eq!(input.as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn thoughts_that_are_not_sealed_do_not_go_on() {
        let response = br#"{"output":[{"type":"reasoning","id":"rs_1","summary":[]},{"type":"reasoning","encrypted_content":"x"},{"n":1}]}"#;
        let turns = [KeptTurn { input: b"", response }];
        let body = Bytes::from_static(br#"{"previous_response_id":"resp_1","input":[2]}"#);
        assert_eq!(
            parsed(&continued(&body, &turns))["input"],
            json!([{"type": "reasoning", "encrypted_content": "x"}, {"n": 1}, 2])
        );
    }

    #[test]
    fn an_item_stands_where_it_is_referred_to() {
        let body = Bytes::from_static(
            br#"{"input":[{"role":"user","content":"a"},{"type":"item_reference","id":"msg_7_0"},{"id":"msg_9_1","type":"item_reference"}]}"#,
        );
        let all = references(&body);
        assert_eq!(all.iter().map(|it| &*it.response).collect::<Vec<_>>(), ["resp_7", "resp_9"]);
        let response =
            Bytes::from_static(br#"{"output":[{"id":"rs_7_1"},{"id":"msg_7_0","n":1}]}"#);
        let found: Vec<_> = all.into_iter().map(|it| (it, response.clone())).collect();
        assert_eq!(
            parsed(&resolved(&body, &found))["input"],
            json!([{"role": "user", "content": "a"}, {"id": "msg_7_0", "n": 1}, {"id": "msg_9_1", "type": "item_reference"}])
        );
        assert!(references(br#"{"input":"\"item_reference\""}"#).is_empty());
    }

    #[test]
    fn items_are_listed_in_pages() {
        let turns = [
            KeptTurn {
                input: br#"{"role":"user","content":"a"}"#,
                response: br#"{"output":[{"id":"o"}]}"#,
            },
            KeptTurn {
                input: br#"{"role":"user","content":"b"}"#,
                response: br#"{"output":[{"id":"p"}]}"#,
            },
        ];
        let all = Page { limit: 10, ascending: true, after: None };
        let list = parsed(&input_list("resp_7", &turns, all));
        let ids: Vec<_> =
            list["data"].as_array().expect("a list").iter().map(|i| &i["id"]).collect();
        assert_eq!(ids, ["msg_7_in0", "o", "msg_7_in2"]);
        assert_eq!(list["data"][0]["content"], json!([{"type": "input_text", "text": "a"}]));
        assert_eq!(list["has_more"], false);
        let page = Page { limit: 1, ascending: false, after: Some("msg_7_in2") };
        let list = parsed(&input_list("resp_7", &turns, page));
        assert_eq!((&list["first_id"], &list["has_more"]), (&json!("o"), &json!(true)));
    }

    #[test]
    fn what_is_kept_of_a_request() {
        assert_eq!(input_items(br#"{"input":[ 1,{"a":[2]} ]}"#), br#"1,{"a":[2]}"#);
        assert_eq!(input_items(b"{}"), b"");
        assert!(may_be_kept(b"{}") && may_be_kept(br#"{"store":null}"#));
        assert!(!may_be_kept(br#"{"store":false}"#));
    }
}
