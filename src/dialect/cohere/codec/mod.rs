//! The second chat API, to and from the intermediate representation. Its messages and tools are
//! those of Chat Completions, with a few parts of its own.

mod answer;
mod cite;
mod decode;
mod encode;
mod logprob;
mod stream_in;
mod stream_out;

pub(in crate::dialect) use answer::{decode as decode_answer, encode as encode_answer};
pub(in crate::dialect) use decode::decode as decode_request;
pub(in crate::dialect) use encode::encode as encode_request;
pub(in crate::dialect) use stream_in::Decoder;
pub(in crate::dialect) use stream_out::Encoder;

use super::super::Usage;
use super::super::ir::{Finish, ObjectWriter};

/// The reason in this format's word.
fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Paused | Finish::Filtered | Finish::Refused => "COMPLETE",
        Finish::StopSequence => "STOP_SEQUENCE",
        Finish::Length | Finish::ContextFull => "MAX_TOKENS",
        Finish::ToolCalls => "TOOL_CALL",
        Finish::Failed => "ERROR",
    }
}

fn finish_of(word: &str) -> Finish {
    match word {
        "STOP_SEQUENCE" => Finish::StopSequence,
        "MAX_TOKENS" => Finish::Length,
        "TOOL_CALL" => Finish::ToolCalls,
        "ERROR" | "TIMEOUT" => Finish::Failed,
        _ => Finish::Stop,
    }
}

/// The members of `usage`.
fn usage_members(usage: &Usage, out: &mut ObjectWriter<'_>) {
    for kind in ["billed_units", "tokens"] {
        out.object(kind, |units| {
            units.number("input_tokens", usage.input);
            units.number("output_tokens", usage.output);
        });
    }
    out.number("cached_tokens", usage.cached_input);
}
