//! Gemini's `usageMetadata`, which counts thoughts beside the answer and tool results beside the
//! prompt.

use super::super::Usage;
use super::super::usage::count;
use crate::wire::json::Value;

/// Reads a `usageMetadata` object. `None` if it says nothing of the prompt.
pub(in crate::dialect) fn usage(value: Value<'_>) -> Option<Usage> {
    let mut usage = Usage::default();
    let (mut prompt, mut tool_prompt) = (None, 0);
    for member in value.members() {
        let value = member.value;
        match member.key {
            b"promptTokenCount" => prompt = count(value),
            b"toolUsePromptTokenCount" => tool_prompt = count(value).unwrap_or_default(),
            b"candidatesTokenCount" => {
                usage.output = usage.output.saturating_add(count(value).unwrap_or_default());
            }
            b"thoughtsTokenCount" => {
                usage.reasoning = count(value).unwrap_or_default();
                usage.output = usage.output.saturating_add(usage.reasoning);
            }
            b"cachedContentTokenCount" => usage.cached_input = count(value).unwrap_or_default(),
            b"promptTokensDetails" => usage.audio_input = audio(value),
            b"candidatesTokensDetails" => usage.audio_output = audio(value),
            _ => {}
        }
    }
    usage.input = prompt?.saturating_add(tool_prompt);
    Some(usage)
}

fn audio(details: Value<'_>) -> u64 {
    details
        .items()
        .filter(|detail| detail.get("modality").is_some_and(|kind| kind.raw() == b"\"AUDIO\""))
        .filter_map(|detail| detail.get("tokenCount").and_then(count))
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::lazy;

    #[test]
    fn thoughts_are_output_and_tool_results_are_input() {
        let raw = br#"{"promptTokenCount":20,"candidatesTokenCount":7,"totalTokenCount":47,
            "cachedContentTokenCount":16,"thoughtsTokenCount":15,"toolUsePromptTokenCount":5,
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":12},
            {"modality":"AUDIO","tokenCount":8}],
            "candidatesTokensDetails":[{"modality":"TEXT","tokenCount":7}]}"#;
        let want = Usage {
            input: 25,
            output: 22,
            cached_input: 16,
            reasoning: 15,
            audio_input: 8,
            ..Usage::default()
        };
        assert_eq!(usage(lazy(raw)), Some(want));
        assert_eq!(usage(lazy(b"{}")), None);
        assert_eq!(usage(lazy(b"null")), None);
    }
}
