//! A stream of one format, as a stream of another.
//!
//! Complete frames go in, complete frames come out; no bytes are read or written here. The frames may
//! come in any runs: what comes out, joined, is the same. A stream that breaks off is never brought
//! to a normal end: it ends with an error, in the client's format.

use bytes::Bytes;

use super::{ChatPair, Client};
use crate::dialect::ir::{
    CITATIONS_MAX, Citation, Dropped, Event, Finish, Format, Loss, LossPolicy, Opening, Said, Sink,
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
    Responses(openai::responses_codec::Encoder),
    Anthropic(anthropic::codec::Encoder),
    Gemini(gemini::codec::Encoder),
    Cohere(cohere::codec::Encoder),
    Bedrock(bedrock::codec::Encoder),
}

/// The most text of one stream that passes through here: some formats send whole what others send in
/// pieces, so that it has to be kept.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// Everything behind the decoder.
#[derive(Debug)]
struct State {
    encoder: Encoder,
    client: Format,
    client_framing: Framing,
    request_id: Box<str>,
    /// The model that was asked for.
    model: Box<str>,
    /// How much text has passed.
    text_bytes: usize,
    loss: Loss,
    out: Vec<u8>,
    /// Some bytes have gone to the client.
    begun: bool,
    /// The answer has been announced.
    started: bool,
    choices: Vec<Choice>,
    /// The end, or an error, has been written.
    over: bool,
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
            client: self.client,
            client_framing: client.framing,
            request_id: id.into(),
            model: client.model.into(),
            loss: Loss::new(self.client.as_str(), LossPolicy::Lenient),
            out: Vec::new(),
            text_bytes: 0,
            begun: false,
            started: false,
            choices: Vec::new(),
            over: false,
        };
        StreamTranslator { framing, decoder, state }
    }
}

impl StreamTranslator {
    /// How the client's stream is cut into frames.
    pub fn framing(&self) -> Framing {
        self.state.client_framing
    }

    /// What a run of complete frames says, for the client. Empty if there is nothing to say yet.
    pub fn push(&mut self, frames: &[u8]) -> Bytes {
        let Self { framing, decoder, state } = self;
        match framing {
            Framing::Sse => {
                for event in sse::events(frames).filter(|event| !event.data.is_empty()) {
                    decoder.event(event.name, &event.data, state);
                }
            }
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

    /// What the client's format had no words for, since it was asked the last time.
    pub fn dropped(&mut self) -> Dropped {
        self.state.loss.take()
    }
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

    fn event(&mut self, name: Option<&[u8]>, data: &[u8], state: &mut State) {
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

    fn message(&mut self, message: &eventstream::Message<'_>, state: &mut State) {
        if let Decoder::Bedrock(decoder) = self {
            decoder.message(message, state);
        }
    }

    /// The upstream has sent everything. Some formats have an event that says so.
    fn end(&mut self, state: &mut State) {
        match self {
            Decoder::Chat(decoder) => decoder.end(state),
            Decoder::Gemini(decoder) => decoder.end(state),
            // The usage behind its last word may be missing.
            Decoder::Bedrock(_) => state.event(Event::End),
            Decoder::Responses(_) | Decoder::Anthropic(_) | Decoder::Cohere(_) => state.cut(),
        }
    }
}

impl Sink for State {
    fn event(&mut self, event: Event<'_>) {
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
                self.event(Event::Start { id: None, model: None });
                return self.event(event);
            }
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
            Event::Open { choice, block, opening } => {
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
            Event::Close { choice, .. } | Event::Finish { choice, .. } => self.cite(*choice),
            _ => {}
        }
        if let Event::Piece { choice, text, .. } = &event {
            self.text_bytes += text.len();
            let state = self.choice(*choice);
            if state.open.is_some() {
                state.said.push(text);
            }
            if self.text_bytes > TEXT_BYTES_MAX {
                return self.fail(&Error::new(Kind::UpstreamProtocol, "The answer is too long."));
            }
        }
        self.over = matches!(event, Event::End);
        self.encoder.event(event, &mut self.out, &mut self.loss);
    }
}

impl State {
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

    /// Writes the citations of a choice whose block or which itself ends.
    fn cite(&mut self, choice: u32) {
        let Self { choices, encoder, out, loss, .. } = self;
        let Some(Choice { open, said, waiting, .. }) = choices.get_mut(choice as usize) else {
            return;
        };
        let now = open.take();
        for citation in waiting.drain(..) {
            match said.find(&citation) {
                Some(cited) => {
                    let open = now == Some(cited.block);
                    encoder.event(Event::Cited { choice, cited, open }, out, loss);
                }
                None => loss.drop("citations"),
            }
        }
    }

    /// Whether every answer that has begun has come to its end, the first one in any case.
    fn is_complete(&self) -> bool {
        self.choices.first().is_some_and(|choice| choice.finished)
            && self.choices.iter().all(|choice| choice.finished || !choice.begun)
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
        std::mem::take(&mut self.out).into()
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
                Encoder::Responses(openai::responses_codec::Encoder::new(id, unix_s, echo))
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
