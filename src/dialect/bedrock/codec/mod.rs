//! Converse, to and from the intermediate representation.

mod answer;
mod cite;
mod decode;
mod encode;
mod stream_in;
mod stream_out;

pub(in crate::dialect) use answer::{decode as decode_answer, encode as encode_answer};
pub(in crate::dialect) use decode::decode as decode_request;
pub(in crate::dialect) use encode::encode as encode_request;
pub(in crate::dialect) use stream_in::Decoder;
pub(in crate::dialect) use stream_out::Encoder;

use super::super::Usage;
use super::super::ir::{Finish, ObjectWriter};

/// The name of a seal that is a redacted thought, not the signature of one that can be read.
const REDACTED: &str = "redacted";

/// The reason in this format's word.
fn stop_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Paused => "end_turn",
        Finish::StopSequence => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ContextFull => "model_context_window_exceeded",
        Finish::ToolCalls => "tool_use",
        Finish::Filtered | Finish::Refused => "content_filtered",
        Finish::Failed => "malformed_model_output",
    }
}

fn finish_of(word: &str) -> Finish {
    match word {
        "stop_sequence" => Finish::StopSequence,
        "max_tokens" => Finish::Length,
        "model_context_window_exceeded" => Finish::ContextFull,
        "tool_use" => Finish::ToolCalls,
        "guardrail_intervened" | "content_filtered" => Finish::Filtered,
        "malformed_model_output" | "malformed_tool_use" => Finish::Failed,
        _ => Finish::Stop,
    }
}

/// The members of `usage`, in which what was read from and written to the cache is no input.
fn usage_members(usage: &Usage, out: &mut ObjectWriter<'_>) {
    let written = usage.cache_creation_5m.saturating_add(usage.cache_creation_1h);
    let plain = usage.input.saturating_sub(usage.cached_input).saturating_sub(written);
    out.number("inputTokens", plain);
    out.number("outputTokens", usage.output);
    out.number("totalTokens", usage.input.saturating_add(usage.output));
    out.number("cacheReadInputTokens", usage.cached_input);
    out.number("cacheWriteInputTokens", written);
    if usage.cache_creation_1h > 0 {
        out.array("cacheDetails", |list| {
            for (ttl, tokens) in [("1h", usage.cache_creation_1h), ("5m", usage.cache_creation_5m)]
            {
                list.object(|detail| {
                    detail.text("ttl", ttl);
                    detail.number("inputTokens", tokens);
                });
            }
        });
    }
}
