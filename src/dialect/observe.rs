//! Watching a stream go by: what it says, what it used, whether it failed, whether it is complete.
//!
//! The observer never changes a byte and never holds one back, but for the one frame that weir
//! itself asked for (`OpenAI`'s usage frame, when the client did not want it). What it does not
//! understand is forwarded and counted as such. A frame is read in one pass over its members,
//! without a tree and, in the usual case, without an allocation.

mod events;

use std::ops::Range;

use bytes::Bytes;

use events::{Patterns, events};

use super::outline::{Ending, Given, Outline};
use super::stream_error::cut;
use super::text::{TextKind, TextSink, Texts, channel};
use super::{
    Dialect, Endpoint, StreamError, Usage, anthropic, bedrock, cohere, failure, gemini, openai,
};
use crate::error::Error;
use crate::wire::eventstream::{self, Message};
use crate::wire::frame::Framing;
use crate::wire::json::{self, Value};
use crate::wire::jsonarray;

/// How much of a model name or finish reason is kept.
const LABEL_BYTES_MAX: usize = 256;

/// What a run of frames turned out to be.
#[derive(Debug, Default)]
pub struct Observed {
    /// Something the client waits for: text, a tool call, reasoning, audio, or the reason why the
    /// answer ends. Envelopes, pings and role announcements are not.
    pub content: bool,
    /// Frames with text in them.
    pub tokens_events: u32,
    /// Frames that were not understood (broken JSON, a bad checksum). They are forwarded.
    pub not_understood: u32,
    /// The provider's own error event.
    pub error: Option<Box<StreamError>>,
    /// The event after which the protocol says no more.
    pub terminal: bool,
    /// Which bytes go to the client.
    pub forward: Forward,
}

/// Which bytes of a run of frames go to the client.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Forward {
    /// All of them.
    #[default]
    All,
    /// These; what lies between them is withheld.
    Spans(Vec<Range<usize>>),
}

/// Observes one upstream response that streams.
#[derive(Debug)]
pub struct StreamObserver {
    endpoint: Endpoint,
    dialect: Dialect,
    framing: Framing,
    decoder: Decoder,
    facts: Facts,
    texts: Texts,
    patterns: Patterns,
    /// Kept where the stream may have to end before its time.
    outline: Option<Box<Outline>>,
}

/// The dialects' own readers, with what some of them remember from one frame to the next.
#[derive(Debug)]
enum Decoder {
    Chat(openai::chat::Decoder),
    Events,
    Anthropic(anthropic::stream::Decoder),
    Gemini(gemini::answer::Decoder),
    Cohere,
    Bedrock,
    Opaque,
}

impl Decoder {
    fn new(endpoint: Endpoint, dialect: Dialect, usage_injected: bool) -> Self {
        match (dialect, endpoint) {
            (_, Endpoint::Passthrough | Endpoint::Files | Endpoint::Batches) => Decoder::Opaque,
            (Dialect::OpenAi, Endpoint::ChatCompletions | Endpoint::Completions) => {
                Decoder::Chat(openai::chat::Decoder::new(usage_injected))
            }
            (Dialect::OpenAi, _) => Decoder::Events,
            (Dialect::Anthropic, _) => Decoder::Anthropic(anthropic::stream::Decoder::default()),
            (Dialect::Gemini, _) => Decoder::Gemini(gemini::answer::Decoder::default()),
            (Dialect::Cohere, _) => Decoder::Cohere,
            (Dialect::Bedrock, _) => Decoder::Bedrock,
        }
    }

    /// An event of SSE, an element of a JSON array or a WebSocket message.
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], frame: &mut Frame<'_>) {
        match self {
            Decoder::Chat(decoder) => decoder.event(name, data, frame),
            Decoder::Events => openai::events::read(name, data, frame),
            Decoder::Anthropic(decoder) => decoder.event(data, frame),
            Decoder::Gemini(decoder) => decoder.event(data, frame),
            Decoder::Cohere => cohere::stream::read(data, frame),
            Decoder::Bedrock => frame.not_understood(),
            Decoder::Opaque => frame.content(),
        }
    }

    /// A message of the AWS event stream.
    fn message(&mut self, message: &Message<'_>, frame: &mut Frame<'_>) {
        match self {
            Decoder::Bedrock => bedrock::stream::read(message, frame),
            _ => frame.content(),
        }
    }
}

impl StreamObserver {
    /// An observer for the answer to a call. `usage_injected` says that weir asked for the usage
    /// frame and not the client, so that it is withheld.
    pub fn new(
        endpoint: Endpoint,
        dialect: Dialect,
        framing: Framing,
        usage_injected: bool,
    ) -> Self {
        Self {
            endpoint,
            dialect,
            framing,
            decoder: Decoder::new(endpoint, dialect, usage_injected),
            facts: Facts::default(),
            texts: Texts::default(),
            patterns: Patterns::default(),
            outline: None,
        }
    }

    /// Prepares for [`Self::cut`].
    #[must_use]
    pub fn may_be_cut(mut self) -> Self {
        self.outline = Outline::new(self.dialect, self.endpoint).map(Box::new);
        self
    }

    /// Looks at a run of complete frames. Text goes to `sink`, the rest into the result and into
    /// what the observer remembers.
    pub fn observe(&mut self, frames: &Bytes, sink: &mut dyn TextSink) -> Observed {
        let mut run = Run::new(&mut self.facts, &mut self.texts, sink);
        match self.framing {
            Framing::Sse => {
                let readers = (&mut self.decoder, self.outline.as_deref_mut());
                events(readers, &mut self.patterns, frames, &mut run);
            }
            Framing::AwsEventStream => {
                for message in eventstream::messages(frames) {
                    match message {
                        Ok(message) => {
                            run.frame(message.span.clone(), |frame| {
                                self.decoder.message(&message, frame);
                            });
                            if let Some(outline) = &mut self.outline {
                                outline.message(&message);
                            }
                        }
                        Err(_) => run.observed.not_understood += 1,
                    }
                }
            }
            Framing::JsonArray => {
                for element in jsonarray::elements(frames) {
                    run.frame(element.span, |frame| {
                        self.decoder.event(None, element.raw, frame);
                    });
                    if let Some(outline) = &mut self.outline {
                        outline.event(element.raw);
                    }
                }
            }
            Framing::Opaque => run.observed.content = !frames.is_empty(),
        }
        run.observed(frames.len())
    }

    /// Looks at what may be one frame. True if it is and says nothing but text, in the way that the frame
    /// before it did: then it is observed. Any other is for [`Self::observe`].
    pub fn passes(&mut self, frame: &[u8], sink: &mut dyn TextSink) -> bool {
        if self.outline.as_ref().is_some_and(|outline| outline.wants_texts()) {
            return false;
        }
        let mut run = Run::new(&mut self.facts, &mut self.texts, sink);
        if let Some((channel, text, bytes)) = self.patterns.alike.read(frame) {
            if bytes != frame.len() {
                return false;
            }
            run.text(channel, text);
        } else {
            let known = self.patterns.familiar(&self.decoder, self.outline.is_some(), frame, &run);
            let known = known.filter(|known| known.bytes == frame.len() && known.text.is_some());
            let Some(known) = known else { return false };
            if !self.patterns.take(known, &mut self.decoder, frame, &mut run) {
                return false;
            }
        }
        run.observed(frame.len());
        true
    }

    /// Looks at one message of a realtime socket.
    pub fn observe_message(&mut self, message: &[u8], sink: &mut dyn TextSink) -> Observed {
        let mut run = Run::new(&mut self.facts, &mut self.texts, sink);
        run.frame(0..message.len(), |frame| self.decoder.event(None, message, frame));
        run.observed(message.len())
    }

    /// What the provider says was used, once it has said all of it.
    pub fn usage(&self) -> Option<Usage> {
        self.facts.usage.filter(|_| self.facts.usage_complete)
    }

    /// What the provider said of the prompt, which some say at the start: of a stream that was cut,
    /// `input` and its parts hold, `output` does not.
    pub fn prompt_usage(&self) -> Option<Usage> {
        self.facts.usage.filter(|usage| usage.input > 0)
    }

    /// Whether the answer is complete: there was one, without an error, and nothing is lost if the
    /// stream ends here. A stream that ends without having said anything is not.
    pub fn finished(&self) -> bool {
        self.facts.finished && self.facts.said == Said::Something
    }

    /// The model that the answer names.
    pub fn response_model(&self) -> Option<&str> {
        self.facts.model.as_deref()
    }

    /// Why the answer ended, in the provider's word (of the first choice that ended).
    pub fn finish_reason(&self) -> Option<&str> {
        self.facts.finish_reason.as_deref()
    }

    /// The end of this stream with an error, as [`stream_end`](super::stream_end), continuing the
    /// numbers and brackets of what the client has seen.
    pub fn end(&self, error: &Error, request_id: &str) -> Bytes {
        let seen = failure::Seen {
            frames: self.facts.frames,
            sequence_number: self.facts.sequence_number,
        };
        failure::end(self.dialect, self.endpoint, self.framing, error, request_id, seen)
    }
}

impl StreamObserver {
    /// The end of this stream as if its answer had reached its greatest length, in place of the last
    /// frame that was observed. `None` where it was
    /// not prepared for that ([`Self::may_be_cut`]), or cannot be.
    pub fn cut(&mut self, ending: Ending<'_>) -> Option<Bytes> {
        let given = Given {
            framing: self.framing,
            // The last one is not given.
            frames: self.facts.frames.saturating_sub(1),
        };
        Some(self.outline.as_mut()?.end(given, ending))
    }
}

/// What a stream has said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Something,
    Error,
}

/// What an observer remembers of a stream.
#[derive(Debug, Default)]
pub(super) struct Facts {
    frames: u64,
    usage: Option<Usage>,
    usage_complete: bool,
    finished: bool,
    /// Nothing follows that counts.
    over: bool,
    said: Said,
    model: Option<String>,
    finish_reason: Option<String>,
    sequence_number: Option<u64>,
}

impl Facts {
    /// The model that the answer names.
    pub fn take_model(&mut self) -> Option<String> {
        self.model.take()
    }

    /// Whether nothing but frames, and that there was an answer, is remembered.
    pub fn is_nothing(&self) -> bool {
        let Self { usage, usage_complete, finished, over, said, model, finish_reason, .. } = self;
        let ended = *usage_complete || *finished || *over || *said == Said::Error;
        let named = model.is_some() || finish_reason.is_some() || self.sequence_number.is_some();
        !ended && !named && usage.is_none()
    }

    /// Why the answer ended.
    pub fn take_finish_reason(&mut self) -> Option<String> {
        self.finish_reason.take()
    }
}

/// One call of [`StreamObserver::observe`].
pub(super) struct Run<'o> {
    facts: &'o mut Facts,
    texts: &'o mut Texts,
    sink: &'o mut dyn TextSink,
    observed: Observed,
    withheld: Vec<Range<usize>>,
}

impl<'o> Run<'o> {
    pub fn new(facts: &'o mut Facts, texts: &'o mut Texts, sink: &'o mut dyn TextSink) -> Self {
        Self { facts, texts, sink, observed: Observed::default(), withheld: Vec::new() }
    }

    /// A frame of which it is known that this text is all that it says.
    fn text(&mut self, channel: u32, text: &str) {
        self.facts.frames += 1;
        self.sink.text(channel, text);
        self.observed.content = true;
        self.observed.tokens_events += 1;
    }

    pub fn frame(&mut self, span: Range<usize>, read: impl FnOnce(&mut Frame<'_>)) -> Spoken {
        self.facts.frames += 1;
        let mut frame = Frame {
            facts: self.facts,
            texts: self.texts,
            sink: self.sink,
            observed: &mut self.observed,
            text: false,
            withheld: false,
            spoken: Spoken::Nothing,
        };
        read(&mut frame);
        let Frame { text, withheld, spoken, .. } = frame;
        self.observed.tokens_events += u32::from(text);
        if withheld {
            self.withheld.push(span);
        }
        spoken
    }

    pub fn observed(mut self, bytes: usize) -> Observed {
        if self.observed.content && self.facts.said == Said::Nothing {
            self.facts.said = Said::Something;
        }
        if !self.withheld.is_empty() {
            self.observed.forward = Forward::Spans(between(&self.withheld, bytes));
        }
        self.observed
    }
}

/// The spans of `0..bytes` that lie between others, which are in order.
fn between(withheld: &[Range<usize>], bytes: usize) -> Vec<Range<usize>> {
    let starts = std::iter::once(0).chain(withheld.iter().map(|span| span.end));
    let ends = withheld.iter().map(|span| span.start).chain(std::iter::once(bytes));
    starts.zip(ends).map(|(start, end)| start..end).filter(|span| !span.is_empty()).collect()
}

/// What there was in a frame that an observer passes on or remembers.
pub(super) enum Spoken {
    /// Nothing.
    Nothing,
    /// One text and nothing else, and where in memory it stands, as it is in its JSON.
    Text { channel: u32, place: Range<usize> },
    /// More than that.
    More,
}

/// One frame, on which a dialect's reader notes what it finds.
pub(super) struct Frame<'o> {
    facts: &'o mut Facts,
    texts: &'o mut Texts,
    sink: &'o mut dyn TextSink,
    observed: &'o mut Observed,
    text: bool,
    withheld: bool,
    spoken: Spoken,
}

impl Frame<'_> {
    /// The members of a frame that is one JSON object, each handed to `read`. Notes a frame that is
    /// not understood.
    pub fn members<'d>(
        &mut self,
        data: &'d [u8],
        mut read: impl FnMut(&mut Self, &'d [u8], Value<'d>),
    ) {
        let document = json::lazy(data);
        let mut end = document.span().start + 1;
        for member in document.members() {
            end = member.span().end;
            read(self, member.key, member.value);
        }
        let rest = data.get(end..).unwrap_or_default().trim_ascii();
        if document.kind() != Some(json::Kind::Object) || rest != b"}" {
            self.not_understood();
        }
    }

    /// A piece of text.
    pub fn text(&mut self, index: u64, kind: TextKind, part: u64, value: Value<'_>) {
        let channel = channel(index, kind, part);
        if self.texts.push(channel, value, self.sink) {
            self.text = true;
            self.observed.content = true;
            self.spoken = match (&self.spoken, value.contents()) {
                (Spoken::Nothing, Some(contents)) => {
                    let start = contents.as_ptr().addr();
                    Spoken::Text { channel, place: start..start + contents.len() }
                }
                _ => Spoken::More,
            };
        }
    }

    /// A piece of text that is JSON itself (the arguments of a tool call, given as an object).
    pub fn raw(&mut self, index: u64, kind: TextKind, part: u64, value: Value<'_>) {
        if let Ok(text) = std::str::from_utf8(value.raw())
            && !text.is_empty()
        {
            self.sink.text(channel(index, kind, part), text);
            self.text = true;
            self.observed.content = true;
            self.spoken = Spoken::More;
        }
    }

    /// Content that is no text.
    pub fn content(&mut self) {
        self.observed.content = true;
    }

    /// The answer, or one choice of it, ends for this reason.
    pub fn finish_reason(&mut self, reason: Value<'_>) {
        self.spoken = Spoken::More;
        if let Some(reason) = reason.as_str() {
            self.observed.content = true;
            keep(&mut self.facts.finish_reason, &reason);
        }
    }

    /// The model that the answer names.
    pub fn model(&mut self, model: Value<'_>) {
        if self.facts.model.is_none()
            && let Some(model) = model.as_str()
        {
            keep(&mut self.facts.model, &model);
        }
    }

    /// What was used; `complete` when nothing can be added to it any more.
    pub fn usage(&mut self, usage: Usage, complete: bool) {
        self.spoken = Spoken::More;
        self.facts.usage = Some(usage);
        self.facts.usage_complete |= complete;
    }

    /// What one of several responses on the same connection used.
    pub fn add_usage(&mut self, usage: Usage) {
        self.usage(self.facts.usage.unwrap_or_default() + usage, true);
    }

    /// Whether the stream has said what was used, completely.
    pub fn usage_is_complete(&self) -> bool {
        self.facts.usage_complete
    }

    /// Whether the answer is complete.
    pub fn is_finished(&self) -> bool {
        self.facts.finished
    }

    /// The number of this event.
    pub fn sequence_number(&mut self, number: Value<'_>) {
        self.spoken = Spoken::More;
        self.facts.sequence_number = number.as_u64().or(self.facts.sequence_number);
    }

    /// The answer is complete, though more may be said of it.
    pub fn finished(&mut self) {
        self.spoken = Spoken::More;
        self.facts.finished = true;
    }

    /// The answer is not complete, though it was taken for it.
    pub fn unfinished(&mut self) {
        self.facts.finished = false;
        self.facts.usage_complete = false;
    }

    /// Nothing follows.
    pub fn terminal(&mut self) {
        self.spoken = Spoken::More;
        self.facts.finished = true;
        self.facts.over = true;
        self.observed.terminal = true;
    }

    /// The provider's own error. Behind the end of an answer it is not about that.
    pub fn error(&mut self, error: StreamError) {
        self.spoken = Spoken::More;
        if self.facts.over {
            return;
        }
        self.facts.said = Said::Error;
        self.observed.error.get_or_insert_with(|| Box::new(error));
    }

    /// This frame is not for the client.
    pub fn withhold(&mut self) {
        self.spoken = Spoken::More;
        self.withheld = true;
    }

    /// Whether an error was found in this run of frames.
    pub fn has_error(&self) -> bool {
        self.observed.error.is_some()
    }

    /// The frame was not understood.
    pub fn not_understood(&mut self) {
        self.spoken = Spoken::More;
        self.observed.not_understood += 1;
    }
}

/// Keeps the first value, bounded.
fn keep(slot: &mut Option<String>, value: &str) {
    if slot.is_none() && !value.is_empty() {
        *slot = Some(cut(value, LABEL_BYTES_MAX));
    }
}

#[cfg(test)]
mod tests;
