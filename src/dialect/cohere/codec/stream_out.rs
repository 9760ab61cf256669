//! A stream of events. Parts of the content and calls of tools are numbered each for themselves.

use super::answer::finish_lost;
use super::{cite, finish_word, logprob, usage_members};
use crate::dialect::Usage;
use crate::dialect::ir::{
    Event, Finish, Loss, ObjectWriter, Opaque, Opening, Stencil, write_object,
};

/// Writes the events of one stream.
#[derive(Debug)]
pub(in crate::dialect) struct Encoder {
    id: String,
    usage: Option<Usage>,
    finish: Option<Finish>,
    contents: u64,
    calls: u64,
    citations: u64,
    open: Open,
    delta: Stencil,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Thought,
    Call,
}

impl Encoder {
    /// A stream of which nothing is known but what to call it.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            usage: None,
            finish: None,
            contents: 0,
            calls: 0,
            citations: 0,
            open: Open::Nothing,
            delta: Stencil::default(),
        }
    }

    /// Writes what an event says.
    pub fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        if !matches!(event, Event::Piece { .. } | Event::Usage(_)) {
            self.delta.forget();
        }
        match event {
            Event::Start { id, .. } => self.start(id.as_deref(), out),
            Event::Open { choice: 0, opening, .. } => self.open(opening, out, loss),
            Event::Piece { choice: 0, text, .. } => self.piece(&text, out),
            Event::Sealed { .. } => loss.drop("thinking signature"),
            Event::Cited { choice: 0, cited, open: true } => {
                let (number, part) = (self.citations, self.contents.saturating_sub(1));
                self.citations += 1;
                message(out, "citation-start", number, |message| {
                    message.object("citations", |it| cite::write(&cited, part, it));
                });
                write(out, "citation-end", |event| event.number("index", number));
            }
            Event::Cited { .. } => loss.drop("citations"),
            Event::Logprobs { choice: 0, tokens } if self.open == Open::Text => {
                for one in &tokens {
                    write(out, "content-delta", |event| {
                        event.number("index", self.contents - 1);
                        event.object("delta", |delta| {
                            delta.object("message", |message| {
                                message.object("content", |content| content.text("text", ""));
                            });
                        });
                        event.object("logprobs", |chunk| logprob::write(one, chunk));
                    });
                }
            }
            Event::Logprobs { .. } => loss.drop("logprobs"),
            Event::Close { choice: 0, .. } => self.close(out),
            Event::Finish { choice: 0, finish, .. } => self.finish = Some(finish),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Unsaid(what) => loss.drop(what),
            Event::End => self.end(out, loss),
            Event::Open { .. } => loss.drop("choices[1..]"),
            _ => {}
        }
    }

    fn start(&mut self, id: Option<&str>, out: &mut Vec<u8>) {
        let id = id.unwrap_or(&self.id);
        write(out, "message-start", |event| {
            event.text("id", id);
            event.object("delta", |delta| {
                delta.object("message", |message| {
                    message.text("role", "assistant");
                    message.array("content", |_| {});
                    message.text("tool_plan", "");
                    message.array("tool_calls", |_| {});
                    message.array("citations", |_| {});
                });
            });
        });
    }

    fn open(&mut self, opening: Opening<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        self.open = match opening {
            Opening::Text | Opening::Refusal => {
                self.content("text", out);
                Open::Text
            }
            Opening::Thought => {
                self.content("thinking", out);
                Open::Thought
            }
            Opening::ToolCall { id, name, seal } => {
                if seal.is_some() {
                    loss.drop("thinking signature");
                }
                self.calls += 1;
                message(out, "tool-call-start", self.calls - 1, |message| {
                    message.object("tool_calls", |call| {
                        call.text("id", &id);
                        call.text("type", "function");
                        call.object("function", |function| {
                            function.text("name", &name);
                            function.text("arguments", "");
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

    fn content(&mut self, kind: &str, out: &mut Vec<u8>) {
        self.contents += 1;
        message(out, "content-start", self.contents - 1, |message| {
            message.object("content", |content| {
                content.text("type", kind);
                content.text(kind, "");
            });
        });
    }

    fn piece(&mut self, text: &str, out: &mut Vec<u8>) {
        let member = match self.open {
            Open::Text => "text",
            Open::Thought => "thinking",
            Open::Call => {
                let index = self.calls - 1;
                return self.delta.write(text, out, |text, out| {
                    message(out, "tool-call-delta", index, |message| {
                        message.object("tool_calls", |call| {
                            call.object("function", |function| function.text("arguments", text));
                        });
                    });
                });
            }
            Open::Nothing => return,
        };
        let index = self.contents - 1;
        self.delta.write(text, out, |text, out| {
            message(out, "content-delta", index, |message| {
                message.object("content", |content| content.text(member, text));
            });
        });
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let (kind, index) = match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => return,
            Open::Call => ("tool-call-end", self.calls - 1),
            Open::Text | Open::Thought => ("content-end", self.contents - 1),
        };
        write(out, kind, |event| event.number("index", index));
    }

    fn end(&mut self, out: &mut Vec<u8>, loss: &mut Loss) {
        let Some(finish) = self.finish.take() else { return };
        finish_lost(finish, loss);
        let usage = self.usage;
        write(out, "message-end", |event| {
            event.object("delta", |delta| {
                delta.text("finish_reason", finish_word(finish));
                if let Some(usage) = &usage {
                    delta.object("usage", |out| usage_members(usage, out));
                }
            });
        });
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

fn message(out: &mut Vec<u8>, kind: &str, index: u64, members: impl FnOnce(&mut ObjectWriter<'_>)) {
    write(out, kind, |event| {
        event.number("index", index);
        event.object("delta", |delta| delta.object("message", members));
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
