//! Chats between formats: what must hold of any request, answer and stream, of any pair.
//!
//! The first two bytes of an input choose: the first one the pair, the second one what else there is
//! to choose. The rest is what the client, or the upstream, has sent.

use bytes::Bytes;
use weir::dialect::{
    ChatPair, Client, Format, LossPolicy, Model, ModelQuirks, NoText, Pair, StreamObserver,
    observe_body,
};
use weir::error::Kind;
use weir::wire::frame::{Framer, Framing};
use weir::wire::json::{self, Limits};
use weir::wire::{eventstream, sse};

use super::grammar;

/// As deep as a listener lets a request nest by default.
const REQUEST: Limits = Limits { depth_max: 128 };
const DOCUMENT: Limits = Limits { depth_max: json::DEPTH_MAX };
const FRAME_BYTES_MAX: usize = 1 << 20;

/// An input: the pair, the second byte, the rest.
fn chosen(input: &[u8]) -> Option<(ChatPair, u8, &[u8])> {
    let (&[pair, choice], rest) = input.split_first_chunk()?;
    let client = Format::ALL[usize::from(pair) / Format::ALL.len() % Format::ALL.len()];
    let upstream = Format::ALL[usize::from(pair) % Format::ALL.len()];
    Some((ChatPair::of(client, upstream)?, choice, rest))
}

fn client(format: Format, framing: Framing) -> Client<'static> {
    Client {
        request_id: "req_1",
        model: "asked",
        unix_s: 1_700_000_000,
        stream_usage: true,
        answer_by_call: false,
        kept: None,
        request: b"{}",
        framing: match format {
            Format::Bedrock => Framing::AwsEventStream,
            Format::Gemini => framing,
            _ => Framing::Sse,
        },
    }
}

/// A request of one format for another.
pub fn request(input: &[u8]) {
    let Some((pair, choice, body)) = chosen(input) else { return };
    // Nothing else comes as far as a translation.
    if json::object(body, REQUEST).is_err() {
        return;
    }
    let stream = choice & 1 != 0;
    let name = if choice & 2 != 0 { "anthropic.claude-sonnet-4" } else { "m" };
    let quirks = if choice & 4 != 0 { ModelQuirks::ALL } else { ModelQuirks::default() };
    let model = Model { name, quirks };
    let lenient = Pair::Chat(pair).request(body, stream, model, LossPolicy::Lenient);
    let strict = Pair::Chat(pair).request(body, stream, model, LossPolicy::Strict);
    let lenient = match lenient {
        Ok(out) => out,
        Err(error) => {
            assert!(matches!(error.kind, Kind::BadRequest | Kind::NotExpressible), "{error:?}");
            assert_eq!(strict.map_err(|error| error.kind).err(), Some(error.kind));
            return;
        }
    };
    let document = json::object(&lenient.body, DOCUMENT).expect("a JSON object");
    drop(document);
    match strict {
        Ok(strict) => {
            assert!(lenient.dropped.is_empty(), "{:?} is not refused", lenient.dropped);
            assert_eq!(strict.body, lenient.body);
        }
        Err(error) => {
            assert_eq!(error.kind, Kind::NotExpressible);
            assert!(!lenient.dropped.is_empty(), "{error:?} is not reported");
        }
    }
    // What was written is read again, by whoever reads that format.
    for other in Format::ALL {
        let Some(onward) = ChatPair::of(pair.upstream(), other) else { continue };
        if let Err(error) =
            Pair::Chat(onward).request(&lenient.body, stream, name, LossPolicy::Lenient)
        {
            assert_eq!(error.kind, Kind::NotExpressible, "{onward}: {}", error.public);
        }
    }
}

/// A whole answer of one format in another.
pub fn answer(input: &[u8]) {
    let Some((pair, choice, body)) = chosen(input) else { return };
    let answer_by_call = choice & 1 != 0;
    let told = Client { answer_by_call, ..client(pair.client(), Framing::Sse) };
    let upstream = pair.upstream();
    let theirs = observe_body(upstream.endpoint(false), upstream.dialect(), body, &mut NoText);
    let Ok((ours, _)) = Pair::Chat(pair).answer(body, told) else { return };
    json::object(&ours, DOCUMENT).expect("a JSON object");
    let read =
        observe_body(pair.client().endpoint(false), pair.client().dialect(), &ours, &mut NoText);
    assert!(read.error.is_none(), "an error under the status of an answer: {read:?}");
    if let (Some(theirs), Some(ours)) = (theirs.usage, read.usage) {
        // Some formats count parts beside the whole; a part that is larger than it has no words there.
        let cached = [theirs.cached_input, theirs.cache_creation_5m, theirs.cache_creation_1h];
        let cached = cached.into_iter().fold(0, u64::saturating_add);
        if cached <= theirs.input && theirs.reasoning <= theirs.output {
            assert_eq!((ours.input, ours.output), (theirs.input, theirs.output), "{pair}");
        }
    }
    // What was written is read again, by whoever reads that format.
    for other in Format::ALL {
        let Some(onward) = ChatPair::of(other, pair.client()) else { continue };
        if let Err(error) = Pair::Chat(onward).answer(&ours, client(other, Framing::Sse)) {
            assert_eq!(error.kind, Kind::UpstreamStreamError, "{onward}: {error:?}");
        }
    }
}

/// The upstream's stream, cut into pieces, as the client gets it.
fn translated(
    pair: ChatPair,
    framing: Framing,
    told: Client<'_>,
    stream: &[u8],
    bytes: usize,
) -> Bytes {
    let mut framer = Framer::new(framing, FRAME_BYTES_MAX);
    let mut translator = pair.stream(framing, told);
    let mut out = Vec::new();
    for chunk in stream.chunks(bytes.min(stream.len()).max(1)) {
        match framer.push(Bytes::copy_from_slice(chunk)) {
            Ok(Some(frames)) => out.extend_from_slice(&translator.push(&frames)),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    if framer.failed().is_none()
        && let Some(rest) = framer.finish()
    {
        out.extend_from_slice(&translator.push(&rest));
    }
    out.extend_from_slice(&translator.finish());
    let silent = translator.push(b"data: {}\n\n").is_empty() && translator.finish().is_empty();
    assert!(silent, "words behind the end");
    out.into()
}

/// Whether a stream is complete, by the account of whoever watches streams of this format go by.
/// `None` if that is a matter of opinion: not all of it is JSON.
fn is_complete(format: Format, framing: Framing, stream: &[u8]) -> Option<bool> {
    let mut observer = StreamObserver::new(format.endpoint(true), format.dialect(), framing, false);
    let mut framer = Framer::new(framing, FRAME_BYTES_MAX);
    let frames = framer.push(Bytes::copy_from_slice(stream)).ok().flatten();
    let rest = framer.finish().filter(|_| framer.failed().is_none());
    for frames in frames.into_iter().chain(rest) {
        if !are_documents(framing, &frames) {
            return None;
        }
        observer.observe(&frames, &mut NoText);
    }
    Some(observer.finished())
}

fn are_documents(framing: Framing, frames: &[u8]) -> bool {
    let valid = |data: &[u8]| json::validate(data, DOCUMENT).is_ok();
    match framing {
        Framing::AwsEventStream => eventstream::messages(frames)
            .all(|message| message.is_ok_and(|message| valid(message.payload))),
        _ => sse::events(frames)
            .all(|event| event.is_comment || &*event.data == b"[DONE]" || valid(&event.data)),
    }
}

/// A stream of one format in another.
pub fn stream(input: &[u8]) {
    let Some((pair, choice, stream)) = chosen(input) else { return };
    let arrays = if choice & 1 != 0 { Framing::JsonArray } else { Framing::Sse };
    let framing = client(pair.upstream(), Framing::Sse).framing;
    let answer_by_call = choice & 0x80 != 0;
    let told = Client { answer_by_call, ..client(pair.client(), arrays) };
    let whole = translated(pair, framing, told, stream, usize::MAX);
    for bytes in [1, 2 + usize::from(choice >> 1)] {
        let cut = translated(pair, framing, told, stream, bytes);
        assert!(
            whole == cut,
            "{pair} in pieces of {bytes}:\n{}\nwhole:\n{}",
            String::from_utf8_lossy(&cut),
            String::from_utf8_lossy(&whole)
        );
    }
    let complete = grammar::check(pair.client(), told.framing, &whole)
        .unwrap_or_else(|wrong| panic!("{pair}: {wrong} in\n{}", String::from_utf8_lossy(&whole)));
    if complete {
        assert!(
            is_complete(pair.upstream(), framing, stream) != Some(false),
            "{pair}: a stream without an end has got one:\n{}",
            String::from_utf8_lossy(&whole)
        );
    }
}
