//! A stream of events: numbered, each block an item that is added, grows and is done, and at the end
//! the whole response once more.

use super::super::{annotation, logprob};
use super::answer::{Echo, End, Head, item_id, response};
use super::items;
use crate::dialect::Usage;
use crate::dialect::ir::{
    Cited, Event, Finish, Format, Logprob, Loss, Media, ObjectWriter, Opaque, Opening, Seal,
    Stencil, utf8, write_object,
};

/// Writes the events of one stream.
#[derive(Debug)]
pub(in crate::dialect) struct Encoder {
    id: String,
    model: String,
    created: u64,
    sequence: u64,
    started: bool,
    usage: Option<Usage>,
    finish: Option<Finish>,
    refused: bool,
    /// The items that are done, as they stand in the response.
    items: Vec<Vec<u8>>,
    open: Option<Open>,
    echo: Echo,
    /// The response, once it is complete, if it is kept.
    whole: Option<Vec<u8>>,
    delta: Delta,
}

/// The next piece of the item that is open.
#[derive(Debug, Default)]
struct Delta {
    /// Up to the number of the event. Empty until it is written the first time.
    before: Vec<u8>,
    behind: Stencil,
}

/// The item that is open.
#[derive(Debug)]
struct Open {
    kind: Kind,
    id: String,
    text: String,
}

#[derive(Debug)]
enum Kind {
    Text {
        /// The elements of the list of annotations, and how many there are.
        annotations: Vec<u8>,
        count: u64,
        /// The elements of the list of how likely each token was.
        logprobs: Vec<u8>,
    },
    /// The model's own words for not answering.
    Refusal,
    Thought {
        begun: bool,
        seal: Option<String>,
    },
    Call {
        id: String,
        name: String,
    },
}

impl Encoder {
    /// A stream that begins now, in seconds since 1970.
    pub fn new(id: &str, created: u64, echo: Echo) -> Self {
        Self {
            id: echo.id().map_or_else(|| format!("resp_{id}"), str::to_owned),
            model: String::new(),
            created,
            sequence: 0,
            started: false,
            usage: None,
            finish: None,
            refused: false,
            items: Vec::new(),
            open: None,
            echo,
            whole: None,
            delta: Delta::default(),
        }
    }

    /// The response, once it is complete, if it is kept.
    pub fn take_whole(&mut self) -> Option<Vec<u8>> {
        self.whole.take()
    }

    /// The number of the last event.
    pub fn sequence_number(&self) -> Option<u64> {
        self.sequence.checked_sub(1)
    }

    /// Writes what an event says.
    pub fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        if !matches!(event, Event::Piece { .. } | Event::Usage(_)) {
            self.delta.forget();
        }
        match event {
            Event::Start { id, model } => {
                if let Some(id) = id.filter(|_| !self.echo.is_kept()) {
                    self.id = id.into_owned();
                }
                self.model = model.unwrap_or_default().into_owned();
                self.start(out);
            }
            Event::Open { choice: 0, opening, .. } => self.open(opening, out, loss),
            Event::Piece { choice: 0, text, .. } => self.piece(&text, out),
            Event::Sealed { choice: 0, seal, .. } => self.sealed(&seal),
            Event::Cited { choice: 0, cited, open } => self.cited(&cited, open, out, loss),
            Event::Logprobs { choice: 0, tokens } => self.likely(&tokens, out, loss),
            Event::Close { choice: 0, .. } => self.close(out),
            Event::Finish { choice: 0, finish, .. } => self.finish = Some(finish),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Unsaid(what) => loss.drop(what),
            Event::End => self.end(out),
            Event::Open { .. } => loss.drop("choices[1..]"),
            _ => {}
        }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        for kind in ["response.created", "response.in_progress"] {
            let (id, model, created) = (&*self.id, &*self.model, self.created);
            let head = Head { id, model, created, echo: &self.echo };
            write(&mut self.sequence, out, kind, |event| {
                event.object("response", |object| response(&head, None, object, |_| {}));
            });
        }
    }

    fn open(&mut self, opening: Opening<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        let at = self.items.len();
        let item = |kind, prefix: &str| Open {
            kind,
            id: item_id(prefix, &self.id, at),
            text: String::new(),
        };
        let open = match opening {
            Opening::Text => item(Kind::text(), "msg"),
            Opening::Refusal => item(Kind::Refusal, "msg"),
            Opening::Thought => item(Kind::Thought { begun: false, seal: None }, "rs"),
            Opening::ToolCall { id, name, seal } => {
                if let Some(seal) = seal {
                    // It comes back in front of its call.
                    let seal = seal.for_call().seal.map(|seal| seal.wrapped());
                    let thought = item(Kind::Thought { begun: false, seal }, "rs");
                    self.add(thought, out);
                    self.close(out);
                }
                let at = self.items.len();
                let kind = Kind::Call { id: id.into_owned(), name: name.into_owned() };
                Open { kind, id: item_id("fc", &self.id, at), text: String::new() }
            }
            Opening::Media(media) => {
                self.open = None;
                return self.picture(&media, out, loss);
            }
            Opening::Opaque(Opaque { kind, .. }) => {
                self.open = None;
                return loss.drop(format!("content ({kind})"));
            }
        };
        self.add(open, out);
    }

    /// A picture is an item of its own, which is done at once.
    fn picture(&mut self, media: &Media<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        let Some(data) = items::picture_data(media) else { return loss.drop("content (media)") };
        let at = self.items.len();
        let id = item_id("ig", &self.id, at);
        let mut item = Vec::with_capacity(data.len() + 128);
        write_object(&mut item, |object| items::write_picture(&id, Some(data), object));
        write(&mut self.sequence, out, "response.output_item.added", |event| {
            event.number("output_index", at as u64);
            event.object("item", |item| items::write_picture(&id, None, item));
        });
        write(&mut self.sequence, out, "response.image_generation_call.completed", |event| {
            event.text("item_id", &id);
            event.number("output_index", at as u64);
        });
        write(&mut self.sequence, out, "response.output_item.done", |event| {
            event.number("output_index", at as u64);
            event.raw("item", utf8(&item));
        });
        self.items.push(item);
    }

    fn add(&mut self, open: Open, out: &mut Vec<u8>) {
        let at = self.items.len() as u64;
        write(&mut self.sequence, out, "response.output_item.added", |event| {
            event.number("output_index", at);
            event.object("item", |item| open.write("in_progress", false, item));
        });
        if let Some(said) = open.part("") {
            write(&mut self.sequence, out, "response.content_part.added", |event| {
                place(at, &open.id, event);
                event.object("part", |part| items::write_part(said, part));
            });
        }
        self.open = Some(open);
    }

    fn piece(&mut self, text: &str, out: &mut Vec<u8>) {
        let at = self.items.len() as u64;
        let Some(open) = &mut self.open else { return };
        open.text.push_str(text);
        let Open { kind, id, .. } = open;
        match kind {
            Kind::Thought { begun, .. } if !*begun => {
                *begun = true;
                let kind = "response.reasoning_summary_part.added";
                write(&mut self.sequence, out, kind, |event| summary(at, id, Some(""), event));
            }
            Kind::Refusal => self.refused = true,
            _ => {}
        }
        self.delta.write(&mut self.sequence, text, out, |sequence, text, out| match kind {
            Kind::Text { .. } => write(sequence, out, "response.output_text.delta", |event| {
                place(at, id, event);
                event.text("delta", text);
                event.array("logprobs", |_| {});
            }),
            Kind::Refusal => write(sequence, out, "response.refusal.delta", |event| {
                place(at, id, event);
                event.text("delta", text);
            }),
            Kind::Thought { .. } => {
                write(sequence, out, "response.reasoning_summary_text.delta", |event| {
                    summary(at, id, None, event);
                    event.text("delta", text);
                });
            }
            Kind::Call { .. } => {
                write(sequence, out, "response.function_call_arguments.delta", |event| {
                    event.text("item_id", id);
                    event.number("output_index", at);
                    event.text("delta", text);
                });
            }
        });
    }

    fn likely(&mut self, tokens: &[Logprob<'_>], out: &mut Vec<u8>, loss: &mut Loss) {
        let at = self.items.len() as u64;
        let Some(Open { kind: Kind::Text { logprobs, .. }, id, .. }) = &mut self.open else {
            return loss.drop("logprobs");
        };
        let mut elements = logprob::elements(tokens);
        write(&mut self.sequence, out, "response.output_text.delta", |event| {
            place(at, id, event);
            event.text("delta", "");
            event.array("logprobs", |list| list.raw(utf8(&elements)));
        });
        if !logprobs.is_empty() {
            logprobs.push(b',');
        }
        logprobs.append(&mut elements);
    }

    fn cited(&mut self, cited: &Cited<'_>, open: bool, out: &mut Vec<u8>, loss: &mut Loss) {
        let at = self.items.len() as u64;
        let Some(Open { kind: Kind::Text { annotations, count, .. }, id, .. }) =
            self.open.as_mut().filter(|_| open)
        else {
            return loss.drop("citations");
        };
        let mut note = Vec::new();
        if !annotation::add(cited, &mut note, loss) {
            return;
        }
        write(&mut self.sequence, out, "response.output_text.annotation.added", |event| {
            place(at, id, event);
            event.number("annotation_index", *count);
            event.raw("annotation", utf8(&note));
        });
        if *count > 0 {
            annotations.push(b',');
        }
        *count += 1;
        annotations.append(&mut note);
    }

    fn sealed(&mut self, theirs: &Seal<'_>) {
        if let Some(Open { kind: Kind::Thought { seal, .. }, id, .. }) = &mut self.open {
            *seal = Some(theirs.text_in(Format::Responses).into_owned());
            if let (Format::Responses, Some(own)) = (theirs.origin, &theirs.id) {
                own.as_ref().clone_into(id);
            }
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let at = self.items.len() as u64;
        let Some(open) = self.open.take() else { return };
        let (id, text) = (&*open.id, &*open.text);
        let sequence = &mut self.sequence;
        match &open.kind {
            Kind::Text { logprobs, .. } => {
                write(sequence, out, "response.output_text.done", |event| {
                    place(at, id, event);
                    event.text("text", text);
                    event.array("logprobs", |list| {
                        if !logprobs.is_empty() {
                            list.raw(utf8(logprobs));
                        }
                    });
                });
            }
            Kind::Refusal => write(sequence, out, "response.refusal.done", |event| {
                place(at, id, event);
                event.text("refusal", text);
            }),
            Kind::Thought { begun: true, .. } => {
                write(sequence, out, "response.reasoning_summary_text.done", |event| {
                    summary(at, id, None, event);
                    event.text("text", text);
                });
                let kind = "response.reasoning_summary_part.done";
                write(sequence, out, kind, |event| summary(at, id, Some(text), event));
            }
            Kind::Thought { .. } => {}
            Kind::Call { name, .. } => {
                write(sequence, out, "response.function_call_arguments.done", |event| {
                    event.text("item_id", id);
                    event.number("output_index", at);
                    event.text("name", name);
                    event.text("arguments", open.arguments());
                });
            }
        }
        if let Some(said) = open.part(text) {
            write(sequence, out, "response.content_part.done", |event| {
                place(at, id, event);
                event.object("part", |object| items::write_part(said, object));
            });
        }
        let mut item = Vec::with_capacity(text.len() + 256);
        write_object(&mut item, |object| open.write("completed", true, object));
        write(sequence, out, "response.output_item.done", |event| {
            event.number("output_index", at);
            event.raw("item", utf8(&item));
        });
        self.items.push(item);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        let end = End { finish: self.finish, refused: self.refused, usage: self.usage };
        let incomplete = match self.finish {
            Some(Finish::Refused) if self.refused => false,
            finish => finish.and_then(super::incomplete_word).is_some(),
        };
        let kind = if incomplete { "response.incomplete" } else { "response.completed" };
        let (id, model, created) = (&*self.id, &*self.model, self.created);
        let head = Head { id, model, created, echo: &self.echo };
        let mut whole = Vec::with_capacity(1024 + self.items.iter().map(Vec::len).sum::<usize>());
        write_object(&mut whole, |object| {
            response(&head, Some(&end), object, |list| {
                self.items.iter().for_each(|item| list.raw(utf8(item)));
            });
        });
        write(&mut self.sequence, out, kind, |event| event.raw("response", utf8(&whole)));
        self.whole = self.echo.is_kept().then_some(whole);
    }
}

impl Kind {
    const fn text() -> Self {
        Kind::Text { annotations: Vec::new(), count: 0, logprobs: Vec::new() }
    }
}

impl Delta {
    fn forget(&mut self) {
        self.before.clear();
        self.behind.forget();
    }

    /// Writes an event whose number and text alone are new.
    fn write(
        &mut self,
        sequence: &mut u64,
        text: &str,
        out: &mut Vec<u8>,
        event: impl Fn(&mut u64, &str, &mut Vec<u8>),
    ) {
        let Self { before, behind } = self;
        if before.is_empty() {
            let mut other = Vec::new();
            event(&mut 0, "", before);
            event(&mut 1, "", &mut other);
            let number = before.iter().zip(&other).take_while(|(a, b)| a == b).count();
            before.truncate(number);
        }
        out.extend_from_slice(before);
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(*sequence).as_bytes());
        *sequence += 1;
        behind.write(text, out, |text, out| {
            let mut all = Vec::new();
            event(&mut 0, text, &mut all);
            out.extend_from_slice(&all[before.len() + 1..]);
        });
    }
}

impl Open {
    fn arguments(&self) -> &str {
        if self.text.trim().is_empty() { "{}" } else { &self.text }
    }

    /// What it says, with this text, if it says something.
    fn part<'a>(&'a self, text: &'a str) -> Option<items::Part<'a>> {
        match &self.kind {
            Kind::Text { annotations, logprobs, .. } => Some(items::Part::Text {
                text,
                annotations: utf8(annotations),
                logprobs: utf8(logprobs),
            }),
            Kind::Refusal => Some(items::Part::Refusal(text)),
            Kind::Thought { .. } | Kind::Call { .. } => None,
        }
    }

    /// The members of the item, with all that it says if it is done.
    fn write(&self, status: &str, done: bool, out: &mut ObjectWriter<'_>) {
        match &self.kind {
            Kind::Text { .. } | Kind::Refusal => {
                let said = self.part(&self.text).filter(|_| done);
                items::write_message(&self.id, status, said, out);
            }
            Kind::Thought { seal, .. } => {
                items::write_thought(&self.id, &self.text, seal.as_deref(), out);
            }
            Kind::Call { id, name } => {
                let arguments = if done { self.arguments() } else { "" };
                items::write_call(&self.id, status, (id, name, arguments), out);
            }
        }
    }
}

/// Where in the response a part stands.
fn place(output_index: u64, item_id: &str, event: &mut ObjectWriter<'_>) {
    event.text("item_id", item_id);
    event.number("output_index", output_index);
    event.number("content_index", 0);
}

/// The same of a summary, with the part itself where the event has it.
fn summary(output_index: u64, item_id: &str, part: Option<&str>, event: &mut ObjectWriter<'_>) {
    event.text("item_id", item_id);
    event.number("output_index", output_index);
    event.number("summary_index", 0);
    if let Some(text) = part {
        event.object("part", |part| {
            part.text("type", "summary_text");
            part.text("text", text);
        });
    }
}

fn write(
    sequence: &mut u64,
    out: &mut Vec<u8>,
    kind: &str,
    members: impl FnOnce(&mut ObjectWriter<'_>),
) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    write_object(out, |event| {
        event.text("type", kind);
        event.number("sequence_number", *sequence);
        members(event);
    });
    *sequence += 1;
    out.extend_from_slice(b"\n\n");
}
