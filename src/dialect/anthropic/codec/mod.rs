//! Messages, to and from the intermediate representation.

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
        Finish::Stop | Finish::Failed => "end_turn",
        Finish::StopSequence => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ContextFull => "model_context_window_exceeded",
        Finish::ToolCalls => "tool_use",
        Finish::Filtered | Finish::Refused => "refusal",
        Finish::Paused => "pause_turn",
    }
}

fn finish_of(word: &str) -> Finish {
    match word {
        "stop_sequence" => Finish::StopSequence,
        "max_tokens" => Finish::Length,
        "model_context_window_exceeded" => Finish::ContextFull,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::Refused,
        "pause_turn" => Finish::Paused,
        _ => Finish::Stop,
    }
}

/// The members of `usage`, in which what was read from and written to the cache is no input.
fn usage_members(usage: &Usage, out: &mut ObjectWriter<'_>) {
    let written = usage.cache_creation_5m.saturating_add(usage.cache_creation_1h);
    let plain = usage.input.saturating_sub(usage.cached_input).saturating_sub(written);
    out.number("input_tokens", plain);
    out.number("cache_creation_input_tokens", written);
    out.number("cache_read_input_tokens", usage.cached_input);
    if written > 0 {
        out.object("cache_creation", |parts| {
            parts.number("ephemeral_5m_input_tokens", usage.cache_creation_5m);
            parts.number("ephemeral_1h_input_tokens", usage.cache_creation_1h);
        });
    }
    out.number("output_tokens", usage.output);
    if usage.reasoning > 0 {
        out.object("output_tokens_details", |details| {
            details.number("thinking_tokens", usage.reasoning);
        });
    }
}
