//! How likely each token was, in chunks of text that may be of several tokens.

use crate::dialect::ir::{Likely, Logprob, ObjectWriter, Text, number};
use crate::wire::json::Value;

/// Reads a chunk: as probable as all of its tokens one behind the other.
pub(super) fn decode(chunk: Value<'_>) -> Option<Logprob<'_>> {
    let text = chunk.get("text").and_then(|text| text.as_str()).unwrap_or_default();
    let list = chunk.get("logprobs")?;
    let mut numbers = list.items().filter_map(number);
    let first = numbers.next()?;
    let logprob = match numbers.next() {
        None => Text::Borrowed(first),
        Some(second) => {
            let all = [first, second].into_iter().chain(numbers);
            let sum: f64 = all.filter_map(|number| number.parse::<f64>().ok()).sum();
            Text::Owned(sum.max(f64::MIN).to_string())
        }
    };
    Some(Logprob { token: Likely { text, logprob, bytes: None }, top: Vec::new() })
}

/// The members of a chunk of one token.
pub(super) fn write(one: &Logprob<'_>, chunk: &mut ObjectWriter<'_>) {
    chunk.text("text", &one.token.text);
    // Their numbers are of a vocabulary of the provider's own.
    chunk.array("token_ids", |_| {});
    chunk.array("logprobs", |list| list.raw(&one.token.logprob));
}
