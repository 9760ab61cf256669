//! A stream of messages of the event stream. Only calls announce their block.

use super::{REDACTED, cite, stop_word, usage_members};
use crate::dialect::Usage;
use crate::dialect::ir::{
    self, Event, Finish, Format, Loss, ObjectWriter, Opaque, Opening, Seal, Stencil, write_object,
};
use crate::wire::eventstream;

/// Writes the messages of one stream.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Encoder {
    usage: Usage,
    finish: Option<Finish>,
    /// How many blocks are complete.
    blocks: u64,
    open: Open,
    payload: Vec<u8>,
    piece: Stencil,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Text,
    Thought,
    Call,
}

impl Encoder {
    /// Writes what an event says.
    pub fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        if !matches!(event, Event::Piece { .. } | Event::Usage(_)) {
            self.piece.forget();
        }
        match event {
            Event::Start { .. } => {
                self.write("messageStart", out, |event| event.text("role", "assistant"));
            }
            Event::Open { choice: 0, opening, .. } => self.open(opening, out, loss),
            Event::Piece { choice: 0, text, .. } => self.piece(&text, out),
            Event::Sealed { choice: 0, seal, .. } => self.sealed(&seal, out),
            Event::Cited { choice: 0, cited, open: true } => {
                if !cited.is_whole() {
                    loss.drop("citations[].span");
                }
                self.delta(out, |delta| {
                    delta.object("citation", |citation| cite::write(&cited, citation));
                });
            }
            Event::Cited { .. } => loss.drop("citations"),
            Event::Logprobs { .. } => loss.drop("logprobs"),
            Event::Close { choice: 0, .. } => self.close(out),
            Event::Finish { choice: 0, finish, .. } => self.finish = Some(finish),
            Event::Usage(usage) => self.usage = usage,
            Event::Unsaid(what) => loss.drop(what),
            Event::End => self.end(out),
            Event::Open { .. } => loss.drop("choices[1..]"),
            _ => {}
        }
    }

    fn open(&mut self, opening: Opening<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        self.open = match opening {
            Opening::Text | Opening::Refusal => Open::Text,
            Opening::Thought => Open::Thought,
            Opening::ToolCall { id, name, seal } => {
                if let Some(seal) = &seal {
                    // It comes back in front of its call.
                    self.open = Open::Thought;
                    if let Some(seal) = &seal.for_call().seal {
                        self.sealed(seal, out);
                    }
                    self.close(out);
                }
                let block = self.blocks;
                self.write("contentBlockStart", out, |event| {
                    event.number("contentBlockIndex", block);
                    event.object("start", |start| {
                        start.object("toolUse", |tool| {
                            tool.text("toolUseId", &ir::id_for_tool(&id));
                            tool.text("name", &name);
                        });
                    });
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

    fn piece(&mut self, text: &str, out: &mut Vec<u8>) {
        let (open, block) = (self.open, self.blocks);
        self.payload.clear();
        self.piece.write(text, &mut self.payload, |text, out| {
            write_delta(block, out, |delta| match open {
                Open::Thought => delta.object("reasoningContent", |it| it.text("text", text)),
                Open::Call => delta.object("toolUse", |tool| tool.text("input", text)),
                Open::Text | Open::Nothing => delta.text("text", text),
            });
        });
        if open != Open::Nothing {
            message("contentBlockDelta", &self.payload, out);
        }
    }

    fn sealed(&mut self, seal: &Seal<'_>, out: &mut Vec<u8>) {
        let redacted = seal.origin == Format::Bedrock && seal.id.as_deref() == Some(REDACTED);
        let member = if redacted { "redactedContent" } else { "signature" };
        let value = seal.text_in(Format::Bedrock);
        self.delta(out, |delta| {
            delta.object("reasoningContent", |it| it.text(member, &value));
        });
    }

    fn delta(&mut self, out: &mut Vec<u8>, members: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.payload.clear();
        write_delta(self.blocks, &mut self.payload, members);
        message("contentBlockDelta", &self.payload, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.open) == Open::Nothing {
            return;
        }
        let block = self.blocks;
        self.blocks += 1;
        self.write("contentBlockStop", out, |event| event.number("contentBlockIndex", block));
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let Some(finish) = self.finish.take() else { return };
        self.write("messageStop", out, |event| event.text("stopReason", stop_word(finish)));
        let usage = self.usage;
        self.write("metadata", out, |event| {
            event.object("usage", |out| usage_members(&usage, out));
            event.object("metrics", |metrics| metrics.number("latencyMs", 0));
        });
    }

    fn write(
        &mut self,
        kind: &str,
        out: &mut Vec<u8>,
        members: impl FnOnce(&mut ObjectWriter<'_>),
    ) {
        self.payload.clear();
        write_object(&mut self.payload, members);
        message(kind, &self.payload, out);
    }
}

fn write_delta(block: u64, out: &mut Vec<u8>, members: impl FnOnce(&mut ObjectWriter<'_>)) {
    write_object(out, |event| {
        event.number("contentBlockIndex", block);
        event.object("delta", members);
    });
}

fn message(kind: &str, payload: &[u8], out: &mut Vec<u8>) {
    let headers =
        [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    eventstream::append(&headers, payload, out);
}
