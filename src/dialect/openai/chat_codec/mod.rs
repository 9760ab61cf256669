//! Chat Completions, to and from the intermediate representation.

mod answer;
mod decode;
mod encode;
mod messages;
mod stream_in;
mod stream_out;

pub(in crate::dialect) use answer::{decode as decode_answer, encode as encode_answer};
pub(in crate::dialect) use decode::{
    decode as decode_request, effort as decode_effort, schema as decode_schema,
};
pub(in crate::dialect) use encode::{effort_word, encode as encode_request, schema_members};
pub(in crate::dialect) use stream_in::Decoder;
pub(in crate::dialect) use stream_out::Encoder;

use super::super::Usage;
use super::super::ir::{Finish, ObjectWriter};

/// The reason in this format's word.
fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence | Finish::Paused | Finish::Failed => "stop",
        Finish::Length | Finish::ContextFull => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::Filtered | Finish::Refused => "content_filter",
    }
}

fn finish_of(word: &str) -> Finish {
    match word {
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::Filtered,
        "error" => Finish::Failed,
        _ => Finish::Stop,
    }
}

/// The members of `usage`.
pub(super) fn usage_members(usage: &Usage, out: &mut ObjectWriter<'_>) {
    out.number("prompt_tokens", usage.input);
    out.number("completion_tokens", usage.output);
    out.number("total_tokens", usage.input.saturating_add(usage.output));
    out.object("prompt_tokens_details", |details| {
        details.number("cached_tokens", usage.cached_input);
        let written = usage.cache_creation_5m.saturating_add(usage.cache_creation_1h);
        if written > 0 {
            details.number("cache_write_tokens", written);
        }
        details.number("audio_tokens", usage.audio_input);
    });
    out.object("completion_tokens_details", |details| {
        details.number("reasoning_tokens", usage.reasoning);
        details.number("audio_tokens", usage.audio_output);
    });
}
