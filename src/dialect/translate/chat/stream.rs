//! A stream of one format, as a stream of another.
//!
//! Complete frames go in, complete frames come out; no bytes are read or written here. The frames may
//! come in any runs: what comes out, joined, is the same. A stream that breaks off is never brought
//! to a normal end: it ends with an error, in the client's format.

use std::ops::Range;

use bytes::Bytes;

use super::by_call::ByCall;
use super::{ChatPair, Client};
use crate::dialect::alike::Alike;
use crate::dialect::ir::{
    CITATIONS_MAX, Citation, Dropped, Event, Finish, Format, Loss, LossPolicy, Opening, Said, Sink,
    Text,
};
use crate::dialect::{Usage, anthropic, bedrock, cohere, failure, gemini, openai};
use crate::error::{Error, Kind};
use crate::wire::frame::Framing;
use crate::wire::{eventstream, jsonarray, sse};

/// Translates one stream.
#[derive(Debug)]
pub struct StreamTranslator {
    framing: Framing,
    decoder: Decoder,
    /// The choice and the block that frames like the last one are a piece of.
    alike: Alike<(u32, u32)>,
    state: State,
}

#[derive(Debug)]
enum Decoder {
    Chat(openai::chat_codec::Decoder),
    Responses(openai::responses_codec::Decoder),
    Anthropic(anthropic::codec::Decoder),
    Gemini(gemini::codec::Decoder),
    Cohere(cohere::codec::Decoder),
    Bedrock(bedrock::codec::Decoder),
}

#[derive(Debug)]
enum Encoder {
    Chat(openai::chat_codec::Encoder),
    Responses(Box<openai::responses_codec::Encoder>),
    Anthropic(anthropic::codec::Encoder),
    Gemini(gemini::codec::Encoder),
    Cohere(cohere::codec::Encoder),
    Bedrock(bedrock::codec::Encoder),
}

/// The most text of one stream that passes through here: some formats send whole what others send in
/// pieces, so that it has to be kept.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// The most blocks of one stream: some formats have all of them in their last word once more.
const BLOCKS_MAX: usize = 1 << 16;

/// Up to this length, a run of frames is copied and its room kept for the next one.
const OUT_BYTES_KEPT: usize = 16 << 10;

/// Everything behind the decoder.
#[derive(Debug)]
struct State {
    encoder: Encoder,
    /// The arguments of a call are the answer.
    by_call: Option<ByCall>,
    client: Format,
    client_framing: Framing,
    request_id: Box<str>,
    /// The model that was asked for.
    model: Box<str>,
    /// How much text has passed.
    text_bytes: usize,
    /// How many blocks have begun.
    blocks: usize,
    loss: Loss,
    out: Vec<u8>,
    /// Some bytes have gone to the client.
    begun: bool,
    /// The answer has been announced.
    started: bool,
    choices: Vec<Choice>,
    /// The end, or an error, has been written.
    over: bool,
    /// The error.
    failed: Option<Kind>,
}

/// What is known of one of several answers.
#[derive(Debug, Default)]
struct Choice {
    begun: bool,
    /// The block that is open, and whether it is a call.
    block: Option<(u32, bool)>,
    /// The block of text that is open.
    open: Option<u32>,
    said: Said,
    /// What its text is drawn from, until its place is known.
    waiting: Vec<Citation<'static>>,
    /// A tool was called.
    calls: bool,
    finished: bool,
}

impl ChatPair {
    /// A translator for a stream whose frames are cut as `framing` says.
    pub fn stream(self, framing: Framing, client: Client<'_>) -> StreamTranslator {
        let id = client.request_id;
        let decoder = Decoder::new(self.upstream);
        let encoder = Encoder::new(self.client, client);
        let state = State {
            encoder,
            by_call: client.answer_by_call.then(ByCall::default),
            client: self.client,
            client_framing: client.framing,
            request_id: id.into(),
            model: client.model.into(),
            loss: Loss::new(self.client.as_str(), LossPolicy::Lenient),
            out: Vec::new(),
            text_bytes: 0,
            blocks: 0,
            begun: false,
            started: false,
            choices: Vec::new(),
            over: false,
            failed: None,
        };
        StreamTranslator { framing, decoder, alike: Alike::default(), state }
    }
}

impl StreamTranslator {
    /// How the client's stream is cut into frames.
    pub fn framing(&self) -> Framing {
        self.state.client_framing
    }

    /// What a run of complete frames says, for the client. Empty if there is nothing to say yet.
    pub fn push(&mut self, frames: &[u8]) -> Bytes {
        // Most formats are about as long as any other.
        self.state.out.reserve(frames.len());
        let Self { framing, decoder, state, .. } = self;
        match framing {
            Framing::Sse => self.events(frames),
            Framing::JsonArray => jsonarray::elements(frames)
                .for_each(|element| decoder.event(None, element.raw, state)),
            Framing::AwsEventStream => {
                for message in eventstream::messages(frames).flatten() {
                    decoder.message(&message, state);
                }
            }
            Framing::Opaque => {}
        }
        self.state.take()
    }

    /// The events of a run of frames. What is alike is not read again.
    fn events(&mut self, frames: &[u8]) {
        let Self { decoder, alike, state, .. } = self;
        let mut rest = frames;
        while !rest.is_empty() {
            if let Some(((choice, block), text, bytes)) = alike.read(rest) {
                state.piece(choice, block, text);
                rest = &rest[bytes..];
                continue;
            }
            let Some(event) = sse::events(rest).next() else { return };
            let (frame, behind) = rest.split_at(event.span.end);
            rest = behind;
            if event.data.is_empty() {
                continue;
            }
            let mut heard = Heard { state: &mut *state, frame, piece: None, more: false };
            decoder.event(event.name, &event.data, &mut heard);
            match heard.piece.filter(|_| !heard.more && event.complete) {
                // What stands for something else has to be read.
                Some((of, text)) if state.by_call.is_none() => alike.learn(frame, text, of),
                _ => alike.forget(),
            }
        }
    }

    /// The upstream has sent everything. What its format leaves unsaid at the end is said now; a
    /// stream that is not complete ends with an error.
    pub fn finish(&mut self) -> Bytes {
        self.decoder.end(&mut self.state);
        self.state.take()
    }

    /// Ends the stream with an error.
    pub fn error(&mut self, error: &Error) -> Bytes {
        self.state.fail(error);
        self.state.take()
    }

    /// Ends the stream as if its answer had reached its greatest length.
    pub fn cut(&mut self, usage: Usage) -> Bytes {
        self.state.end_early(usage);
        self.state.take()
    }

    /// The whole answer, once it is complete, if it is kept.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        match &mut self.state.encoder {
            Encoder::Responses(encoder) => encoder.take_whole().map(Bytes::from),
            _ => None,
        }
    }

    /// The error with which the client's stream has ended, if it has.
    pub fn failed(&self) -> Option<Kind> {
        self.state.failed
    }

    /// What the client's format had no words for, since it was asked the last time.
    pub fn dropped(&mut self) -> Dropped {
        self.state.loss.take()
    }
}

/// A reader of a format's streams.
#[cfg(test)]
pub(super) fn decoder(format: Format) -> impl FnMut(Option<&[u8]>, &[u8], &mut dyn Sink) {
    let mut decoder = Decoder::new(format);
    move |name, data, sink| decoder.event(name, data, sink)
}

impl Decoder {
    fn new(format: Format) -> Self {
        match format {
            Format::Chat => Decoder::Chat(openai::chat_codec::Decoder::default()),
            Format::Responses => Decoder::Responses(openai::responses_codec::Decoder::default()),
            Format::Anthropic => Decoder::Anthropic(anthropic::codec::Decoder::default()),
            Format::Gemini => Decoder::Gemini(gemini::codec::Decoder::default()),
            Format::Cohere => Decoder::Cohere(cohere::codec::Decoder::default()),
            Format::Bedrock => Decoder::Bedrock(bedrock::codec::Decoder::default()),
        }
    }

    fn event(&mut self, name: Option<&[u8]>, data: &[u8], state: &mut dyn Sink) {
        match self {
            Decoder::Chat(decoder) => decoder.event(name, data, state),
            Decoder::Responses(decoder) => decoder.event(name, data, state),
            Decoder::Anthropic(decoder) => decoder.event(data, state),
            Decoder::Gemini(decoder) => decoder.event(data, state),
            Decoder::Cohere(decoder) => decoder.event(data, state),
            // Its messages are not server-sent events.
            Decoder::Bedrock(_) => {}
        }
    }

    fn message(&mut self, message: &eventstream::Message<'_>, state: &mut dyn Sink) {
        if let Decoder::Bedrock(decoder) = self {
            decoder.message(message, state);
        }
    }

    /// The upstream has sent everything. Some formats have an event that says so.
    fn end(&mut self, state: &mut State) {
        match self {
            Decoder::Chat(decoder) if decoder.is_cut() => state.cut(),
            Decoder::Chat(decoder) => decoder.end(state),
            Decoder::Gemini(decoder) if decoder.is_cut() => state.cut(),
            Decoder::Gemini(decoder) => decoder.end(state),
            // The usage behind its last word may be missing.
            Decoder::Bedrock(decoder) => decoder.end(state),
            Decoder::Responses(_) | Decoder::Anthropic(_) | Decoder::Cohere(_) => state.cut(),
        }
    }
}

/// Listens to what one frame says.
struct Heard<'s> {
    state: &'s mut State,
    frame: &'s [u8],
    /// A piece of a choice and a block, and where in the frame its text stands as it is.
    piece: Option<((u32, u32), Range<usize>)>,
    /// It says more than that.
    more: bool,
}

impl Sink for Heard<'_> {
    fn event(&mut self, event: Event<'_>) {
        match &event {
            Event::Piece { choice, block, text: Text::Borrowed(text) } if self.piece.is_none() => {
                let start = text.as_ptr().addr().wrapping_sub(self.frame.as_ptr().addr());
                let end = start.wrapping_add(text.len());
                // It is elsewhere if it had escapes in it, or the event several lines of data.
                let within = start < end && end < self.frame.len();
                self.more |= !within;
                self.piece = Some(((*choice, *block), start..end));
            }
            _ => self.more = true,
        }
        self.state.event(event);
    }
}

impl Sink for State {
    fn event(&mut self, event: Event<'_>) {
        match self.by_call.take() {
            Some(mut by_call) => {
                by_call.event(event, &mut |event: Event<'_>| self.said(event));
                self.by_call = Some(by_call);
            }
            None => self.said(event),
        }
    }
}

impl State {
    /// What the upstream says, for the client.
    fn said(&mut self, event: Event<'_>) {
        if self.over {
            return;
        }
        let event = match event {
            Event::Error(error) => {
                return self
                    .fail(&Error::new(error.kind, error.message).retry_after(error.retry_after));
            }
            Event::End if !self.is_complete() => return self.cut(),
            Event::Finish { finish: Finish::Failed, .. } => {
                return self
                    .fail(&Error::new(Kind::UpstreamStreamError, "The model's answer failed."));
            }
            // It is announced once, and before anything else.
            Event::Start { .. } if self.started => return,
            Event::Start { id, model } => {
                self.started = true;
                let model = model.or_else(|| Some(self.model.to_string().into()));
                Event::Start { id, model }
            }
            event if !self.started => {
                self.said(Event::Start { id: None, model: None });
                return self.said(event);
            }
            Event::Piece { choice, block, text } => return self.piece(choice, block, &text),
            Event::Finish { choice, .. } if self.choice(choice).finished => return,
            // Some formats do not say that an answer ended with calls.
            Event::Finish { choice, finish, stop_sequence } => {
                let state = self.choice(choice);
                state.finished = true;
                let calls = finish == Finish::Stop && state.calls;
                let finish = if calls { Finish::ToolCalls } else { finish };
                Event::Finish { choice, finish, stop_sequence }
            }
            Event::Source { choice, citation } => return self.waits(choice, citation),
            Event::Open { .. } if self.blocks >= BLOCKS_MAX || self.text_bytes > TEXT_BYTES_MAX => {
                return self.too_long();
            }
            Event::Open { choice, block, opening } => {
                self.blocks += 1;
                if let Opening::Media(media) = &opening {
                    self.text_bytes += media.bytes();
                }
                let state = self.choice(choice);
                state.begun = true;
                if opening == Opening::Text {
                    state.open = Some(block);
                    state.said.open(block);
                }
                let call = matches!(opening, Opening::ToolCall { .. });
                state.calls |= call;
                state.block = Some((block, call));
                Event::Open { choice, block, opening }
            }
            Event::Close { choice, block } => {
                self.choice(choice).block = None;
                Event::Close { choice, block }
            }
            event => event,
        };
        match &event {
            Event::Close { choice, .. } => self.cite(*choice, false),
            Event::Finish { choice, .. } => self.cite(*choice, true),
            Event::End => (0..self.choices.len() as u32).for_each(|choice| self.cite(choice, true)),
            _ => {}
        }
        self.over = matches!(event, Event::End);
        self.encoder.event(event, &mut self.out, &mut self.loss);
    }

    /// More text of the block that is open.
    fn piece(&mut self, choice: u32, block: u32, text: &str) {
        if self.over {
            return;
        }
        self.text_bytes += text.len();
        if self.text_bytes > TEXT_BYTES_MAX {
            return self.too_long();
        }
        let state = self.choice(choice);
        if state.open.is_some() {
            state.said.push(text);
        }
        let event = Event::Piece { choice, block, text: Text::Borrowed(text) };
        self.encoder.event(event, &mut self.out, &mut self.loss);
    }

    fn choice(&mut self, choice: u32) -> &mut Choice {
        let at = choice as usize;
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, Choice::default);
        }
        &mut self.choices[at]
    }

    /// Keeps a citation until its place is known.
    fn waits(&mut self, choice: u32, citation: Citation<'_>) {
        let waiting = &mut self.choice(choice).waiting;
        if waiting.len() >= CITATIONS_MAX {
            return self.loss.drop("citations");
        }
        let citation = citation.into_owned();
        // Some formats repeat them in every chunk.
        if !waiting.contains(&citation) {
            waiting.push(citation);
        }
    }

    /// Writes the citations of a choice whose block or (`last`) which itself ends.
    fn cite(&mut self, choice: u32, last: bool) {
        let Self { choices, encoder, out, loss, .. } = self;
        let Some(Choice { open, said, waiting, .. }) = choices.get_mut(choice as usize) else {
            return;
        };
        let now = open.take();
        waiting.retain(|citation| match said.find(citation) {
            Some(cited) => {
                let open = now == Some(cited.block);
                encoder.event(Event::Cited { choice, cited, open }, out, loss);
                false
            }
            None if last => {
                loss.drop("citations");
                false
            }
            // It may be of text that comes.
            None => true,
        });
    }

    /// Whether every answer that has begun has come to its end, the first one in any case.
    fn is_complete(&self) -> bool {
        self.choices.first().is_some_and(|choice| choice.finished)
            && self.choices.iter().all(|choice| choice.finished || !choice.begun)
    }

    fn too_long(&mut self) {
        self.fail(&Error::new(Kind::UpstreamProtocol, "The answer is too long."));
    }

    fn end_early(&mut self, usage: Usage) {
        for choice in 0..self.choices.len().max(1) as u32 {
            let state = self.choice(choice);
            if state.finished || !state.begun && choice > 0 {
                continue;
            }
            if let Some((block, call)) = state.block
                // This format has calls whole or not at all.
                && !(call && self.client == Format::Gemini)
            {
                self.event(Event::Close { choice, block });
            }
            let finish = Finish::Length;
            self.event(Event::Finish { choice, finish, stop_sequence: None });
        }
        self.event(Event::Usage(usage));
        self.event(Event::End);
    }

    fn cut(&mut self) {
        self.fail(&Error::new(
            Kind::UpstreamCut,
            "The upstream ended its stream before the answer was complete.",
        ));
    }

    fn fail(&mut self, error: &Error) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.failed = Some(error.kind);
        let frames = u64::from(self.begun || !self.out.is_empty());
        let end = failure::end(
            self.client.dialect(),
            self.client.endpoint(true),
            self.client_framing,
            error,
            &self.request_id,
            failure::Seen { frames, sequence_number: self.encoder.sequence_number() },
        );
        self.out.extend_from_slice(&end);
    }

    fn take(&mut self) -> Bytes {
        self.begun |= !self.out.is_empty();
        if self.out.len() > OUT_BYTES_KEPT {
            return std::mem::take(&mut self.out).into();
        }
        let out = Bytes::copy_from_slice(&self.out);
        self.out.clear();
        out
    }
}

impl Encoder {
    fn new(format: Format, client: Client<'_>) -> Self {
        let Client { request_id: id, unix_s, stream_usage, framing, .. } = client;
        match format {
            Format::Chat => {
                Encoder::Chat(openai::chat_codec::Encoder::new(id, unix_s, stream_usage))
            }
            Format::Responses => {
                let echo = openai::responses_codec::Echo::of(client.request, client.kept);
                let encoder = openai::responses_codec::Encoder::new(id, unix_s, echo);
                Encoder::Responses(Box::new(encoder))
            }
            Format::Anthropic => Encoder::Anthropic(anthropic::codec::Encoder::new(id)),
            Format::Gemini => Encoder::Gemini(gemini::codec::Encoder::new(id, framing)),
            Format::Cohere => Encoder::Cohere(cohere::codec::Encoder::new(id)),
            Format::Bedrock => Encoder::Bedrock(bedrock::codec::Encoder::default()),
        }
    }

    /// Writes what an event says.
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
        match self {
            Encoder::Chat(encoder) => encoder.event(event, out, loss),
            Encoder::Responses(encoder) => encoder.event(event, out, loss),
            Encoder::Anthropic(encoder) => encoder.event(event, out, loss),
            Encoder::Gemini(encoder) => encoder.event(event, out, loss),
            Encoder::Cohere(encoder) => encoder.event(event, out, loss),
            Encoder::Bedrock(encoder) => encoder.event(event, out, loss),
        }
    }

    /// The number of the last event, in formats that number them.
    fn sequence_number(&self) -> Option<u64> {
        match self {
            Encoder::Responses(encoder) => encoder.sequence_number(),
            _ => None,
        }
    }
}
