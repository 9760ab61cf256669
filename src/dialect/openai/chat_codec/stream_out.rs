//! A stream of chunks.

use super::super::{annotation, logprob};
use super::answer::extra_content;
use super::{finish_word, usage_members};
use crate::dialect::Usage;
use crate::dialect::ir::{
    Cited, Event, Finish, Format, Logprob, Loss, ObjectWriter, Opaque, Opening, Seal, Stencil,
    write_object,
};
use crate::dialect::shared::parts::image_part;

/// Writes the chunks of one stream.
#[derive(Debug)]
pub(in crate::dialect) struct Encoder {
    id: String,
    model: String,
    created: u64,
    /// The client asked for the usage at the end.
    wants_usage: bool,
    usage: Option<Usage>,
    choices: Vec<Choice>,
    /// The next piece of a choice.
    piece: (u32, Stencil),
}

#[derive(Clone, Copy, Debug, Default)]
struct Choice {
    begun: bool,
    open: Option<Open>,
    /// How many calls have begun.
    calls: u64,
    refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Refusal,
    Thought,
    Call,
    Nothing,
}

impl Encoder {
    /// A stream that begins now, in seconds since 1970.
    pub fn new(id: &str, created: u64, wants_usage: bool) -> Self {
        Self {
            id: id.to_owned(),
            model: String::new(),
            created,
            wants_usage,
            usage: None,
            choices: Vec::new(),
            piece: (0, Stencil::default()),
        }
    }

    /// Writes what an event says. `true` once the stream is complete.
    pub fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        if !matches!(event, Event::Piece { .. } | Event::Usage(_)) {
            self.piece.1.forget();
        }
        match event {
            Event::Start { id, model } => {
                if let Some(id) = id {
                    self.id = id.into_owned();
                }
                self.model = model.unwrap_or_default().into_owned();
            }
            Event::Open { choice, opening, .. } => self.open(choice, opening, out, loss),
            Event::Piece { choice, text, .. } => self.piece(choice, &text, out),
            Event::Sealed { choice, seal, .. } => self.sealed(choice, &seal, out),
            Event::Close { choice, .. } => self.choice(choice).open = None,
            Event::Cited { choice, cited, .. } => self.cited(choice, &cited, out, loss),
            Event::Logprobs { choice, tokens } => self.one(choice, None, &tokens, out, |_| {}),
            Event::Source { .. } => loss.drop("citations"),
            Event::Finish { choice, finish, .. } => self.finish(choice, finish, out),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Unsaid(what) => loss.drop(what),
            Event::End => self.end(out),
            // Written by whoever has the error.
            Event::Error(_) => {}
        }
    }

    fn choice(&mut self, choice: u32) -> &mut Choice {
        let at = choice as usize;
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, Choice::default);
        }
        &mut self.choices[at]
    }

    fn open(&mut self, choice: u32, opening: Opening<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        self.begin(choice, out);
        let open = match opening {
            Opening::Text => Open::Text,
            Opening::Refusal => {
                self.choice(choice).refused = true;
                Open::Refusal
            }
            Opening::Thought => Open::Thought,
            Opening::ToolCall { id, name, seal } => {
                self.call(choice, &id, &name, seal.as_ref(), out);
                Open::Call
            }
            Opening::Media(media) if media.is_picture() => {
                self.delta(choice, None, out, |delta| {
                    delta.array("images", |list| image_part(&media, list));
                });
                Open::Nothing
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
        self.choice(choice).open = Some(open);
    }

    /// The first chunk of a choice says who speaks.
    fn begin(&mut self, choice: u32, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.choice(choice).begun, true) {
            self.delta(choice, None, out, |delta| {
                delta.text("role", "assistant");
                delta.text("content", "");
            });
        }
    }

    fn piece(&mut self, choice: u32, text: &str, out: &mut Vec<u8>) {
        let Choice { open, calls, .. } = *self.choice(choice);
        let Some(open) = open.filter(|open| *open != Open::Nothing) else { return };
        let (of, mut piece) = std::mem::take(&mut self.piece);
        if of != choice {
            piece.forget();
        }
        piece.write(text, out, |text, out| {
            self.delta(choice, None, out, |delta| match open {
                Open::Refusal => delta.text("refusal", text),
                Open::Thought => delta.text("reasoning_content", text),
                Open::Call => delta.array("tool_calls", |list| {
                    list.object(|call| {
                        call.number("index", calls.saturating_sub(1));
                        call.object("function", |function| function.text("arguments", text));
                    });
                }),
                Open::Text | Open::Nothing => delta.text("content", text),
            });
        });
        self.piece = (choice, piece);
    }

    fn call(
        &mut self,
        choice: u32,
        id: &str,
        name: &str,
        seal: Option<&Seal<'_>>,
        out: &mut Vec<u8>,
    ) {
        let state = self.choice(choice);
        let number = state.calls;
        state.calls += 1;
        self.delta(choice, None, out, |delta| {
            delta.array("tool_calls", |list| {
                list.object(|call| {
                    call.number("index", number);
                    call.text("id", id);
                    call.text("type", "function");
                    call.object("function", |function| {
                        function.text("name", name);
                        function.text("arguments", "");
                    });
                    if let Some(seal) = seal {
                        extra_content(&seal.text_in(Format::Gemini), call);
                    }
                });
            });
        });
    }

    fn cited(&mut self, choice: u32, cited: &Cited<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        let Some(url) = cited.citation.origin.url() else { return loss.drop("citations") };
        annotation::lose(cited, loss);
        self.delta(choice, None, out, |delta| {
            delta.array("annotations", |list| {
                list.object(|note| annotation::write_in_chat(cited, url, note));
            });
        });
    }

    fn sealed(&mut self, choice: u32, seal: &Seal<'_>, out: &mut Vec<u8>) {
        self.delta(choice, None, out, |delta| {
            delta.array("reasoning_details", |list| {
                list.object(|detail| {
                    detail.text("type", "reasoning.text");
                    detail.text("signature", &seal.text_in(Format::Chat));
                });
            });
        });
    }

    fn finish(&mut self, choice: u32, finish: Finish, out: &mut Vec<u8>) {
        self.begin(choice, out);
        let word = match finish {
            Finish::Refused if self.choice(choice).refused => "stop",
            finish => finish_word(finish),
        };
        self.delta(choice, Some(word), out, |_| {});
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.wants_usage
            && let Some(usage) = self.usage
        {
            self.chunk(out, |chunk| {
                chunk.array("choices", |_| {});
                chunk.object("usage", |out| usage_members(&usage, out));
            });
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn delta(
        &self,
        choice: u32,
        finish: Option<&str>,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut ObjectWriter<'_>),
    ) {
        self.one(choice, finish, &[], out, write);
    }

    fn one(
        &self,
        choice: u32,
        finish: Option<&str>,
        logprobs: &[Logprob<'_>],
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut ObjectWriter<'_>),
    ) {
        self.chunk(out, |chunk| {
            chunk.array("choices", |list| {
                list.object(|object| {
                    object.number("index", u64::from(choice));
                    object.object("delta", write);
                    logprob::in_chat(logprobs, object);
                    match finish {
                        Some(word) => object.text("finish_reason", word),
                        None => object.null("finish_reason"),
                    }
                });
            });
        });
    }

    fn chunk(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
        out.extend_from_slice(b"data: ");
        write_object(out, |chunk| {
            chunk.text("id", &self.id);
            chunk.text("object", "chat.completion.chunk");
            chunk.number("created", self.created);
            chunk.text("model", &self.model);
            write(chunk);
        });
        out.extend_from_slice(b"\n\n");
    }
}
