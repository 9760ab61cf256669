//! `generateContent`, to and from the intermediate representation.

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
        Finish::Stop | Finish::StopSequence | Finish::ToolCalls | Finish::Paused => "STOP",
        Finish::Length | Finish::ContextFull => "MAX_TOKENS",
        Finish::Filtered | Finish::Refused => "SAFETY",
        Finish::Failed => "OTHER",
    }
}

fn finish_of(word: &str) -> Finish {
    match word {
        "STOP" | "FINISH_REASON_UNSPECIFIED" => Finish::Stop,
        // Not a word of Google's, but of servers that speak its format.
        "FUNCTION_CALL" | "TOOL_CALL" => Finish::ToolCalls,
        "MAX_TOKENS" => Finish::Length,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Finish::Filtered,
        _ => Finish::Failed,
    }
}

/// The members of `usageMetadata`, in which thoughts stand beside the answer.
pub(super) fn usage_members(usage: &Usage, out: &mut ObjectWriter<'_>) {
    out.number("promptTokenCount", usage.input);
    out.number("candidatesTokenCount", usage.output.saturating_sub(usage.reasoning));
    out.number("totalTokenCount", usage.input.saturating_add(usage.output));
    if usage.cached_input > 0 {
        out.number("cachedContentTokenCount", usage.cached_input);
    }
    if usage.reasoning > 0 {
        out.number("thoughtsTokenCount", usage.reasoning);
    }
    let parts = [
        ("promptTokensDetails", usage.input, usage.audio_input),
        (
            "candidatesTokensDetails",
            usage.output - usage.reasoning.min(usage.output),
            usage.audio_output,
        ),
    ];
    for (name, all, audio) in parts.into_iter().filter(|(_, _, audio)| *audio > 0) {
        out.array(name, |list| {
            for (modality, tokens) in [("TEXT", all.saturating_sub(audio)), ("AUDIO", audio)] {
                list.object(|part| {
                    part.text("modality", modality);
                    part.number("tokenCount", tokens);
                });
            }
        });
    }
}
