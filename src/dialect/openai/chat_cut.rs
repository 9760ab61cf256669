//! The early end of a stream of chat completions, or of the older completions.

use super::chat_codec;
use crate::dialect::ir::{ObjectWriter, utf8, write_object};
use crate::dialect::outline::Ending;
use crate::wire::json;

/// Members that are the same in every chunk.
const HEAD: [&str; 5] = ["id", "object", "created", "model", "system_fingerprint"];

/// What is known of a stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Outline {
    /// Those members, as they stand in the first chunk.
    head: Vec<(&'static str, String)>,
    /// Choices that have begun, and whether they have ended.
    choices: Vec<(u64, bool)>,
}

impl Outline {
    /// Looks at a chunk.
    pub fn event(&mut self, data: &[u8]) {
        let chunk = json::lazy(data);
        if self.head.is_empty() {
            let member = |name| Some((name, utf8(chunk.get(name)?.raw()).to_owned()));
            self.head = HEAD.into_iter().filter_map(member).collect();
        }
        for choice in chunk.get("choices").iter().flat_map(json::Value::items) {
            let index = choice.get("index").and_then(|index| index.as_u64()).unwrap_or(0);
            let ended = choice.get("finish_reason").is_some_and(|reason| !reason.is_null());
            match self.choices.iter_mut().find(|(known, _)| *known == index) {
                Some((_, over)) => *over |= ended,
                None => self.choices.push((index, ended)),
            }
        }
    }

    /// A chunk that ends each choice, one with the usage where it is wanted, and `[DONE]`.
    pub fn end(&mut self, ending: Ending<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let texts = self.head.iter().any(|(name, raw)| *name == "object" && raw.contains("text_"));
        if self.choices.is_empty() {
            self.choices.push((0, false));
        }
        for (index, _) in self.choices.iter().filter(|(_, ended)| !ended) {
            self.chunk(&mut out, |chunk| {
                chunk.array("choices", |list| {
                    list.object(|choice| {
                        choice.number("index", *index);
                        if texts {
                            choice.text("text", "");
                        } else {
                            choice.object("delta", |_| {});
                        }
                        choice.null("logprobs");
                        choice.text("finish_reason", "length");
                    });
                });
            });
        }
        if ending.wants_usage {
            self.chunk(&mut out, |chunk| {
                chunk.array("choices", |_| {});
                chunk.object("usage", |out| chat_codec::usage_members(&ending.usage, out));
            });
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        out
    }

    fn chunk(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
        out.extend_from_slice(b"data: ");
        write_object(out, |chunk| {
            for (name, raw) in &self.head {
                chunk.raw(name, raw);
            }
            write(chunk);
        });
        out.extend_from_slice(b"\n\n");
    }
}
