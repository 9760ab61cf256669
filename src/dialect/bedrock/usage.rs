//! Bedrock's `usage`, which leaves what was read from and written to the cache out of
//! `inputTokens`.

use super::super::Usage;
use super::super::usage::count;
use crate::wire::json::Value;

/// Reads a `usage` object of Converse. `None` if it is none.
pub(in crate::dialect) fn usage(value: Value<'_>) -> Option<Usage> {
    let (mut input, mut usage, mut written) = (None, Usage::default(), 0);
    for member in value.members() {
        let value = member.value;
        match member.key {
            b"inputTokens" => input = count(value),
            b"outputTokens" => usage.output = count(value).unwrap_or(0),
            b"cacheReadInputTokens" => usage.cached_input = count(value).unwrap_or(0),
            b"cacheWriteInputTokens" => written = count(value).unwrap_or(0),
            b"cacheDetails" => usage.cache_creation_1h = written_for_an_hour(value),
            _ => {}
        }
    }
    usage.cache_creation_1h = usage.cache_creation_1h.min(written);
    usage.cache_creation_5m = written - usage.cache_creation_1h;
    usage.input = input?.saturating_add(usage.cached_input).saturating_add(written);
    Some(usage)
}

fn written_for_an_hour(details: Value<'_>) -> u64 {
    details
        .items()
        .filter(|detail| detail.get("ttl").is_some_and(|ttl| ttl.raw() == b"\"1h\""))
        .filter_map(|detail| detail.get("inputTokens").and_then(count))
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::lazy;

    #[test]
    fn cache_reads_and_writes_are_input() {
        let raw = br#"{"inputTokens":30,"outputTokens":628,"totalTokens":1688,
            "cacheReadInputTokens":900,"cacheWriteInputTokens":130,
            "cacheDetails":[{"ttl":"1h","inputTokens":100},{"ttl":"5m","inputTokens":30}]}"#;
        let want = Usage {
            input: 1060,
            output: 628,
            cached_input: 900,
            cache_creation_5m: 30,
            cache_creation_1h: 100,
            ..Usage::default()
        };
        assert_eq!(usage(lazy(raw)), Some(want));
        assert_eq!(usage(lazy(b"{}")), None);
    }
}
