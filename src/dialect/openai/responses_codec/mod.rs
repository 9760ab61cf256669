//! Responses, to and from the intermediate representation.

mod answer;
mod decode;
mod encode;
mod items;
mod stream_in;
mod stream_out;

pub(in crate::dialect) use answer::{Echo, decode as decode_answer, encode as encode_answer};
pub(in crate::dialect) use decode::decode as decode_request;
pub(in crate::dialect) use encode::encode as encode_request;
pub(in crate::dialect) use stream_in::Decoder;
pub(in crate::dialect) use stream_out::Encoder;

use super::super::Usage;
use super::super::ir::{Finish, ObjectWriter};

/// The reason why an answer is incomplete, in this format's word. `None` if it is complete.
fn incomplete_word(finish: Finish) -> Option<&'static str> {
    match finish {
        Finish::Stop | Finish::StopSequence | Finish::ToolCalls | Finish::Paused => None,
        Finish::Length | Finish::ContextFull => Some("max_output_tokens"),
        Finish::Filtered | Finish::Refused | Finish::Failed => Some("content_filter"),
    }
}

fn finish_of(status: &str, incomplete: Option<&str>) -> Finish {
    match (status, incomplete) {
        ("incomplete", Some("content_filter")) => Finish::Filtered,
        ("incomplete", _) => Finish::Length,
        ("failed" | "cancelled", _) => Finish::Failed,
        _ => Finish::Stop,
    }
}

/// The members of `usage`.
pub(super) fn usage_members(usage: &Usage, out: &mut ObjectWriter<'_>) {
    out.number("input_tokens", usage.input);
    out.object("input_tokens_details", |details| {
        details.number("cached_tokens", usage.cached_input);
        let written = usage.cache_creation_5m.saturating_add(usage.cache_creation_1h);
        if written > 0 {
            details.number("cache_write_tokens", written);
        }
        if usage.audio_input > 0 {
            details.number("audio_tokens", usage.audio_input);
        }
    });
    out.number("output_tokens", usage.output);
    out.object("output_tokens_details", |details| {
        details.number("reasoning_tokens", usage.reasoning);
        if usage.audio_output > 0 {
            details.number("audio_tokens", usage.audio_output);
        }
    });
    out.number("total_tokens", usage.input.saturating_add(usage.output));
}
