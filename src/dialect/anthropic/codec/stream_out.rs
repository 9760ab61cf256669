//! A stream of events, in the grammar that the client libraries parse: `message_start`, blocks one
//! after the other, `message_delta` with reason and usage, `message_stop`.

use super::{REDACTED, cite, stop_word, usage_members};
use crate::dialect::Usage;
use crate::dialect::ir::{
    self, Cited, Event, Finish, Format, Loss, ObjectWriter, Opaque, Opening, Seal, Stencil,
    write_object,
};

/// Writes the events of one stream.
#[derive(Debug)]
pub(in crate::dialect) struct Encoder {
    id: String,
    usage: Usage,
    /// How many blocks have begun.
    blocks: u64,
    open: Open,
    finish: Option<(Finish, Option<String>)>,
    piece: Stencil,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    /// A thought of which nothing is written yet: it may turn out to be a redacted one.
    Thought {
        begun: bool,
    },
    Call,
}

impl Encoder {
    /// A stream of which nothing is known but what to call it.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            usage: Usage::default(),
            blocks: 0,
            open: Open::Nothing,
            finish: None,
            piece: Stencil::default(),
        }
    }

    /// Writes what an event says.
    pub fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        if !matches!(event, Event::Piece { .. } | Event::Usage(_)) {
            self.piece.forget();
        }
        match event {
            Event::Start { id, model } => self.start(id.as_deref(), model.as_deref(), out),
            Event::Open { choice: 0, opening, .. } => self.open(opening, out, loss),
            Event::Piece { choice: 0, text, .. } => self.piece(&text, out),
            Event::Sealed { choice: 0, seal, .. } => self.sealed(&seal, out),
            Event::Cited { choice: 0, cited, open } => self.cited(&cited, open, out, loss),
            Event::Logprobs { .. } => loss.drop("logprobs"),
            Event::Close { choice: 0, .. } => self.close(out),
            Event::Finish { choice: 0, finish, stop_sequence } => {
                self.finish = Some((finish, stop_sequence.map(Into::into)));
            }
            Event::Usage(usage) => self.usage = usage,
            Event::Unsaid(what) => loss.drop(what),
            Event::End => self.end(out),
            Event::Open { .. } => loss.drop("choices[1..]"),
            _ => {}
        }
    }

    fn start(&mut self, id: Option<&str>, model: Option<&str>, out: &mut Vec<u8>) {
        let (id, usage) = (id.unwrap_or(&self.id), self.usage);
        write(out, "message_start", |event| {
            event.object("message", |message| {
                message.text("id", id);
                message.text("type", "message");
                message.text("role", "assistant");
                message.text("model", model.unwrap_or_default());
                message.array("content", |_| {});
                message.null("stop_reason");
                message.null("stop_sequence");
                message.object("usage", |out| usage_members(&usage, out));
            });
        });
    }

    fn open(&mut self, opening: Opening<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        self.open = match opening {
            Opening::Text | Opening::Refusal => {
                self.block("text", out, |block| block.text("text", ""));
                Open::Text
            }
            Opening::Thought => Open::Thought { begun: false },
            Opening::ToolCall { id, name, seal } => {
                if let Some(seal) = seal {
                    // It comes back in front of its call.
                    self.open = Open::Thought { begun: false };
                    if let Some(seal) = &seal.for_call().seal {
                        self.sealed(seal, out);
                    }
                    self.close(out);
                }
                self.block("tool_use", out, |block| {
                    block.text("id", &ir::id_for_tool(&id));
                    block.text("name", &name);
                    block.object("input", |_| {});
                });
                Open::Call
            }
            Opening::Media(_) => {
                loss.drop("content (media)");
                Open::Nothing
            }
            Opening::Opaque(Opaque { kind, .. }) => {
                loss.drop(format!("content ({kind})"));
                Open::Nothing
            }
        };
    }

    fn block(
        &mut self,
        kind: &str,
        out: &mut Vec<u8>,
        members: impl FnOnce(&mut ObjectWriter<'_>),
    ) {
        let index = self.blocks;
        self.blocks += 1;
        write(out, "content_block_start", |event| {
            event.number("index", index);
            event.object("content_block", |block| {
                block.text("type", kind);
                members(block);
            });
        });
    }

    fn begin_thought(&mut self, out: &mut Vec<u8>) {
        if self.open == (Open::Thought { begun: false }) {
            self.open = Open::Thought { begun: true };
            self.block("thinking", out, |block| {
                block.text("thinking", "");
                block.text("signature", "");
            });
        }
    }

    fn piece(&mut self, text: &str, out: &mut Vec<u8>) {
        self.begin_thought(out);
        let (kind, member) = match self.open {
            Open::Text => ("text_delta", "text"),
            Open::Thought { .. } => ("thinking_delta", "thinking"),
            Open::Call => ("input_json_delta", "partial_json"),
            Open::Nothing => return,
        };
        let index = self.blocks.saturating_sub(1);
        self.piece.write(text, out, |text, out| delta(index, (kind, member), text, out));
    }

    fn sealed(&mut self, seal: &Seal<'_>, out: &mut Vec<u8>) {
        let redacted = seal.origin == Format::Anthropic && seal.id.as_deref() == Some(REDACTED);
        if redacted && self.open == (Open::Thought { begun: false }) {
            self.open = Open::Thought { begun: true };
            return self.block("redacted_thinking", out, |block| block.text("data", &seal.value));
        }
        self.begin_thought(out);
        let index = self.blocks.saturating_sub(1);
        let text = seal.text_in(Format::Anthropic);
        delta(index, ("signature_delta", "signature"), &text, out);
    }

    fn cited(&self, cited: &Cited<'_>, open: bool, out: &mut Vec<u8>, loss: &mut Loss) {
        if !open {
            return loss.drop("citations");
        }
        // A block cites as a whole.
        if !cited.is_whole() {
            loss.drop("citations[].span");
        }
        let index = self.blocks.saturating_sub(1);
        write(out, "content_block_delta", |event| {
            event.number("index", index);
            event.object("delta", |delta| {
                delta.text("type", "citations_delta");
                delta.object("citation", |citation| cite::write(cited, citation));
            });
        });
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let begun = !matches!(self.open, Open::Nothing | Open::Thought { begun: false });
        self.open = Open::Nothing;
        if begun {
            let index = self.blocks.saturating_sub(1);
            write(out, "content_block_stop", |event| event.number("index", index));
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let Some((finish, stop_sequence)) = self.finish.take() else { return };
        let usage = self.usage;
        write(out, "message_delta", |event| {
            event.object("delta", |delta| {
                delta.text("stop_reason", stop_word(finish));
                match &stop_sequence {
                    Some(text) => delta.text("stop_sequence", text),
                    None => delta.null("stop_sequence"),
                }
            });
            event.object("usage", |out| usage_members(&usage, out));
        });
        write(out, "message_stop", |_| {});
    }
}

/// A delta of a kind, with its text under the name that goes with the kind.
fn delta(index: u64, (kind, member): (&str, &str), text: &str, out: &mut Vec<u8>) {
    write(out, "content_block_delta", |event| {
        event.number("index", index);
        event.object("delta", |delta| {
            delta.text("type", kind);
            delta.text(member, text);
        });
    });
}

fn write(out: &mut Vec<u8>, kind: &str, members: impl FnOnce(&mut ObjectWriter<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    write_object(out, |event| {
        event.text("type", kind);
        members(event);
    });
    out.extend_from_slice(b"\n\n");
}
