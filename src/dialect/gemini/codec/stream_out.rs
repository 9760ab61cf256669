//! A stream of chunks, as server-sent events or as the elements of an array.

use super::{answer, cite, finish_word, logprob, usage_members};
use crate::dialect::Usage;
use crate::dialect::ir::{
    ArrayWriter, Event, Finish, Format, Logprob, Loss, Opaque, Opening, Seal, Stencil, object_of,
    write_object,
};
use crate::wire::frame::Framing;

/// Writes the chunks of one stream.
#[derive(Debug)]
pub(in crate::dialect) struct Encoder {
    framing: Framing,
    id: String,
    model: String,
    chunks: u64,
    usage: Option<Usage>,
    choices: Vec<Choice>,
    /// The next piece of a choice.
    piece: (u32, Stencil),
}

#[derive(Debug, Default)]
struct Choice {
    open: Option<Open>,
    finish: Option<Finish>,
    sources: Vec<cite::Grounded>,
}

#[derive(Debug)]
enum Open {
    Text,
    Thought,
    /// This format sends calls whole.
    Call {
        id: String,
        name: String,
        arguments: String,
        seal: Option<String>,
    },
}

/// What a chunk says beside its parts.
#[derive(Clone, Copy, Default)]
struct Beside<'a> {
    finish: Option<Finish>,
    /// It is the last one of all.
    last: bool,
    logprobs: &'a [Logprob<'a>],
}

impl Encoder {
    /// A stream of which nothing is known but what to call it.
    pub fn new(id: &str, framing: Framing) -> Self {
        Self {
            framing,
            id: id.to_owned(),
            model: String::new(),
            chunks: 0,
            usage: None,
            choices: Vec::new(),
            piece: (0, Stencil::default()),
        }
    }

    /// Writes what an event says.
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
            Event::Close { choice, .. } => self.close(choice, out),
            Event::Finish { choice, finish, .. } => self.choice(choice).finish = Some(finish),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Unsaid(what) => loss.drop(what),
            Event::Cited { choice, cited, .. } => {
                let source = cite::Grounded::of(&cited, loss);
                self.choice(choice).sources.push(source);
            }
            Event::Logprobs { choice, tokens } => {
                let beside = Beside { logprobs: &tokens, ..Beside::default() };
                self.chunk(choice, beside, out, |_| {});
            }
            Event::Source { .. } => loss.drop("citations"),
            Event::End => self.end(out),
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
        self.choice(choice).open = match opening {
            Opening::Text | Opening::Refusal => Some(Open::Text),
            Opening::Thought => Some(Open::Thought),
            Opening::ToolCall { id, name, seal } => Some(Open::Call {
                id: id.into_owned(),
                name: name.into_owned(),
                arguments: String::new(),
                seal: seal.map(|seal| seal.text_in(Format::Gemini).into_owned()),
            }),
            Opening::Media(media) => {
                match answer::inline(&media) {
                    Some(data) => self.chunk(choice, Beside::default(), out, |parts| {
                        let kind = media.media_type();
                        parts.object(|part| answer::inline_data(kind, data, part));
                    }),
                    None => loss.drop("content (media)"),
                }
                None
            }
            Opening::Opaque(Opaque { kind, .. }) => {
                loss.drop(format!("content ({kind})"));
                None
            }
        };
    }

    fn piece(&mut self, choice: u32, text: &str, out: &mut Vec<u8>) {
        let thought = match &mut self.choice(choice).open {
            Some(Open::Call { arguments, .. }) => return arguments.push_str(text),
            Some(Open::Text) => false,
            Some(Open::Thought) => true,
            None => return,
        };
        let (of, mut piece) = std::mem::take(&mut self.piece);
        if of != choice {
            piece.forget();
        }
        self.separate(out);
        piece.write(text, out, |text, out| {
            self.write(choice, Beside::default(), out, |parts| {
                parts.object(|part| {
                    part.text("text", text);
                    if thought {
                        part.flag("thought", true);
                    }
                });
            });
        });
        self.piece = (choice, piece);
    }

    fn sealed(&mut self, choice: u32, seal: &Seal<'_>, out: &mut Vec<u8>) {
        self.chunk(choice, Beside::default(), out, |parts| {
            parts.object(|part| {
                part.text("text", "");
                part.text("thoughtSignature", &seal.text_in(Format::Gemini));
            });
        });
    }

    fn close(&mut self, choice: u32, out: &mut Vec<u8>) {
        let Some(Open::Call { id, name, arguments, seal }) = self.choice(choice).open.take() else {
            return;
        };
        // A line break would end the event; between tokens it means no more than a space.
        let arguments = object_of(&arguments).replace(['\n', '\r'], " ");
        self.chunk(choice, Beside::default(), out, |parts| {
            parts.object(|part| {
                part.object("functionCall", |function| {
                    function.text("id", &id);
                    function.text("name", &name);
                    function.raw("args", &arguments);
                });
                if let Some(seal) = &seal {
                    part.text("thoughtSignature", seal);
                }
            });
        });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let last = self.choices.len().saturating_sub(1);
        for choice in 0..self.choices.len() {
            if let Some(finish) = self.choices[choice].finish {
                let beside =
                    Beside { finish: Some(finish), last: choice == last, ..Beside::default() };
                self.chunk(choice as u32, beside, out, |_| {});
            }
        }
        if self.framing == Framing::JsonArray {
            out.extend_from_slice(b"]");
        }
    }

    fn chunk(
        &mut self,
        choice: u32,
        beside: Beside<'_>,
        out: &mut Vec<u8>,
        parts: impl FnOnce(&mut ArrayWriter<'_>),
    ) {
        self.separate(out);
        self.write(choice, beside, out, parts);
    }

    /// What stands in front of a chunk.
    fn separate(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(match (self.framing, self.chunks) {
            (Framing::JsonArray, 0) => b"[".as_slice(),
            (Framing::JsonArray, _) => b",\r\n",
            _ => b"data: ",
        });
        self.chunks += 1;
    }

    fn write(
        &self,
        choice: u32,
        beside: Beside<'_>,
        out: &mut Vec<u8>,
        parts: impl FnOnce(&mut ArrayWriter<'_>),
    ) {
        let Beside { finish, last, logprobs } = beside;
        write_object(out, |chunk| {
            chunk.array("candidates", |list| {
                list.object(|candidate| {
                    candidate.object("content", |content| {
                        content.array("parts", parts);
                        content.text("role", "model");
                    });
                    if let Some(finish) = finish {
                        candidate.text("finishReason", finish_word(finish));
                    }
                    if finish.is_some() {
                        cite::write(&self.choices[choice as usize].sources, candidate);
                    }
                    logprob::write(logprobs, candidate);
                    candidate.number("index", u64::from(choice));
                });
            });
            if let Some(usage) = self.usage.as_ref().filter(|_| last) {
                chunk.object("usageMetadata", |out| usage_members(usage, out));
            }
            chunk.text("modelVersion", &self.model);
            chunk.text("responseId", &self.id);
        });
        if self.framing != Framing::JsonArray {
            out.extend_from_slice(b"\r\n\r\n");
        }
    }
}
