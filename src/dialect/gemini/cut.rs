//! The early end of a stream of `generateContent`.

use super::codec;
use crate::dialect::ir::{utf8, write_object};
use crate::dialect::outline::{Ending, Given};
use crate::wire::frame::Framing;
use crate::wire::json;

/// What is known of a stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Outline {
    /// `modelVersion` and `responseId`, as they stand in the first chunk that has them.
    head: Vec<(&'static str, String)>,
    /// Candidates that have begun, and whether they have ended.
    candidates: Vec<(u64, bool)>,
}

impl Outline {
    /// Looks at a chunk.
    pub fn event(&mut self, data: &[u8]) {
        let chunk = json::lazy(data);
        if self.head.is_empty() {
            let member = |name| Some((name, utf8(chunk.get(name)?.raw()).to_owned()));
            self.head = ["modelVersion", "responseId"].into_iter().filter_map(member).collect();
        }
        for candidate in chunk.get("candidates").iter().flat_map(json::Value::items) {
            let index = candidate.get("index").and_then(|index| index.as_u64()).unwrap_or(0);
            let ended = candidate.get("finishReason").is_some_and(|reason| !reason.is_null());
            match self.candidates.iter_mut().find(|(known, _)| *known == index) {
                Some((_, over)) => *over |= ended,
                None => self.candidates.push((index, ended)),
            }
        }
    }

    /// A chunk in which every candidate ends.
    pub fn end(&mut self, given: Given, ending: Ending<'_>) -> Vec<u8> {
        if self.candidates.is_empty() {
            self.candidates.push((0, false));
        }
        let mut out = Vec::new();
        out.extend_from_slice(match (given.framing, given.frames) {
            (Framing::JsonArray, 0) => b"[".as_slice(),
            (Framing::JsonArray, _) => b",\r\n",
            _ => b"data: ",
        });
        write_object(&mut out, |chunk| {
            chunk.array("candidates", |list| {
                for (index, _) in self.candidates.iter().filter(|(_, ended)| !ended) {
                    list.object(|candidate| {
                        candidate.object("content", |content| {
                            content.array("parts", |parts| {
                                parts.object(|part| part.text("text", ""));
                            });
                            content.text("role", "model");
                        });
                        candidate.text("finishReason", "MAX_TOKENS");
                        candidate.number("index", *index);
                    });
                }
            });
            chunk.object("usageMetadata", |out| codec::usage_members(&ending.usage, out));
            for (name, raw) in &self.head {
                chunk.raw(name, raw);
            }
        });
        let array = given.framing == Framing::JsonArray;
        out.extend_from_slice(if array { b"]" } else { b"\r\n\r\n" });
        out
    }
}
