//! Cohere's `usage` (and `meta` of its other endpoints).

use super::super::Usage;
use super::super::usage::count;
use crate::wire::json::Value;

/// Reads a `usage` or `meta` object. What is billed is taken rather than what the model saw: the
/// latter counts the template around the prompt. `None` if there are no tokens in it.
pub(in crate::dialect) fn usage(value: Value<'_>) -> Option<Usage> {
    let read = |units: Value<'_>| {
        let input = units.get("input_tokens").and_then(count);
        let output = units.get("output_tokens").and_then(count);
        (input.is_some() || output.is_some()).then(|| Usage {
            input: input.unwrap_or(0),
            output: output.unwrap_or(0),
            ..Usage::default()
        })
    };
    let mut usage =
        value.get("billed_units").and_then(read).or_else(|| value.get("tokens").and_then(read))?;
    usage.cached_input = value.get("cached_tokens").and_then(count).unwrap_or(0).min(usage.input);
    Some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::lazy;

    #[test]
    fn billed_units_win() {
        let raw = br#"{"billed_units":{"input_tokens":17.0,"output_tokens":12},
            "tokens":{"input_tokens":83,"output_tokens":15},"cached_tokens":16}"#;
        let want = Usage { input: 17, output: 12, cached_input: 16, ..Usage::default() };
        assert_eq!(usage(lazy(raw)), Some(want));
        let tokens = usage(lazy(br#"{"tokens":{"input_tokens":83,"output_tokens":15}}"#));
        assert_eq!(tokens.map(|usage| (usage.input, usage.output)), Some((83, 15)));
        assert_eq!(usage(lazy(br#"{"billed_units":{"search_units":1}}"#)), None);
    }
}
