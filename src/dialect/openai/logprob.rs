//! How likely each token was, which both formats have in the same words.

use super::super::ir::{
    ArrayWriter, Likely, Logprob, ObjectWriter, Text, number, numbers, write_object,
};
use crate::wire::json::Value;

/// Reads the elements of a list.
pub(in crate::dialect) fn decode(list: Value<'_>) -> impl Iterator<Item = Logprob<'_>> {
    list.items().filter_map(|item| {
        let top = item.get("top_logprobs");
        let top = top.into_iter().flat_map(|list| list.items()).filter_map(likely).collect();
        Some(Logprob { token: likely(item)?, top })
    })
}

fn likely(item: Value<'_>) -> Option<Likely<'_>> {
    Some(Likely {
        text: item.get("token")?.as_str()?,
        logprob: Text::Borrowed(number(item.get("logprob")?)?),
        bytes: item.get("bytes").and_then(numbers).map(Text::Borrowed),
    })
}

/// Writes them where Chat Completions has them.
pub(in crate::dialect) fn in_chat(all: &[Logprob<'_>], choice: &mut ObjectWriter<'_>) {
    if all.is_empty() {
        return choice.null("logprobs");
    }
    choice.object("logprobs", |logprobs| {
        logprobs.array("content", |list| write(all, list));
        logprobs.null("refusal");
    });
}

/// The elements of a list, as they stand between its brackets.
pub(in crate::dialect) fn elements(all: &[Logprob<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for one in all {
        if !out.is_empty() {
            out.push(b',');
        }
        write_object(&mut out, |object| element(one, object));
    }
    out
}

/// Writes the elements of a list.
fn write(all: &[Logprob<'_>], list: &mut ArrayWriter<'_>) {
    for one in all {
        list.object(|object| element(one, object));
    }
}

fn element(one: &Logprob<'_>, object: &mut ObjectWriter<'_>) {
    members(&one.token, object);
    object.array("top_logprobs", |top| {
        one.top.iter().for_each(|likely| top.object(|object| members(likely, object)));
    });
}

fn members(likely: &Likely<'_>, object: &mut ObjectWriter<'_>) {
    object.text("token", &likely.text);
    object.raw("logprob", &likely.logprob);
    match &likely.bytes {
        Some(bytes) => object.raw("bytes", bytes),
        None => object.array("bytes", |list| {
            likely.text.bytes().for_each(|byte| list.raw(&byte.to_string()));
        }),
    }
}
