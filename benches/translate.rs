//! What translation between formats costs: time, and allocations.
//!
//! `cargo bench --bench translate`. The figures of a stream are for all of its [`FRAMES`] deltas, each
//! of which arrives on its own; divide to get those of a frame. Reading the same frames without
//! translating them, which forwarding does as well, is measured in `benches/dialect.rs`.

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use weir::dialect::{ChatPair, Client, Format, LossPolicy, Pair};
use weir::wire::eventstream;
use weir::wire::frame::Framing;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const FRAMES: usize = 1000;

fn main() {
    divan::main();
}

fn pairs() -> impl Iterator<Item = ChatPair> {
    let all = Format::ALL.into_iter().flat_map(|client| Format::ALL.map(|it| (client, it)));
    all.filter_map(|(client, upstream)| ChatPair::of(client, upstream))
}

fn framing(format: Format) -> Framing {
    if format == Format::Bedrock { Framing::AwsEventStream } else { Framing::Sse }
}

fn client(format: Format) -> Client<'static> {
    Client {
        request_id: "req_1",
        model: "m",
        unix_s: 1_700_000_000,
        stream_usage: true,
        answer_by_call: false,
        kept: None,
        request: b"{}",
        framing: framing(format),
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/translate/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("a fixture")
}

fn message(kind: &str, payload: &str) -> Bytes {
    let headers =
        [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    eventstream::encode(&headers, payload.as_bytes()).into()
}

/// How a stream of each format begins, and a delta of it, as they are on the wire.
fn stream_of(format: Format) -> (Bytes, Bytes) {
    let (opening, delta) = match format {
        Format::Chat => (
            "data: {\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\
             \"chat.completion.chunk\",\"created\":1741570283,\"model\":\"gpt-4o-2024-08-06\",\
             \"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\
             \"finish_reason\":null}]}\n\n",
            "data: {\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\
             \"chat.completion.chunk\",\"created\":1741570283,\"model\":\"gpt-4o-2024-08-06\",\
             \"service_tier\":\"default\",\"system_fingerprint\":\"fp_fc9f1d7035\",\"choices\":\
             [{\"index\":0,\"delta\":{\"content\":\" token\"},\"logprobs\":null,\
             \"finish_reason\":null}],\"usage\":null}\n\n",
        ),
        Format::Responses => (
            "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\
             \"response\":{\"id\":\"resp_1\",\"model\":\"gpt-4o\"}}\n\n\
             event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\
             \"sequence_number\":1,\"output_index\":0,\"item\":{\"id\":\"msg_1\",\"type\":\
             \"message\",\"status\":\"in_progress\",\"content\":[],\"role\":\"assistant\"}}\n\n",
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\
             \"sequence_number\":4,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\
             \"delta\":\" token\",\"logprobs\":[],\"obfuscation\":\"jZ1vXq\"}\n\n",
        ),
        Format::Anthropic => (
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\
             \"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4\",\"content\":\
             [],\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
             event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
             \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{\"type\":\"text_delta\",\"text\":\" token\"}}\n\n",
        ),
        Format::Gemini => (
            "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"A\"}],\"role\": \
             \"model\"},\"index\": 0}],\"modelVersion\": \"gemini-2.5-flash\"}\r\n\r\n",
            "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" token\"}],\"role\": \
             \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 8,\
             \"candidatesTokenCount\": 4,\"totalTokenCount\": 12},\"modelVersion\": \
             \"gemini-2.5-flash\",\"responseId\": \"q1seaa\"}\r\n\r\n",
        ),
        Format::Cohere => (
            "event: message-start\ndata: {\"type\":\"message-start\",\"id\":\"c1\",\"delta\":\
             {\"message\":{\"role\":\"assistant\",\"content\":[]}}}\n\n\
             event: content-start\ndata: {\"type\":\"content-start\",\"index\":0,\"delta\":\
             {\"message\":{\"content\":{\"type\":\"text\",\"text\":\"\"}}}}\n\n",
            "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":\
             {\"message\":{\"content\":{\"text\":\" token\"}}}}\n\n",
        ),
        Format::Bedrock => {
            let delta = "{\"contentBlockIndex\":0,\"delta\":{\"text\":\" token\"},\"p\":\"abc\"}";
            let opening = message("messageStart", "{\"role\":\"assistant\"}");
            return (opening, message("contentBlockDelta", delta));
        }
    };
    (Bytes::from_static(opening.as_bytes()), Bytes::from_static(delta.as_bytes()))
}

/// The deltas of a stream, frame by frame.
#[divan::bench(args = pairs())]
fn stream(bencher: Bencher<'_, '_>, pair: ChatPair) {
    let (opening, delta) = stream_of(pair.upstream());
    let begun = || {
        let mut translator = pair.stream(framing(pair.upstream()), client(pair.client()));
        translator.push(&opening);
        assert!(!translator.push(&delta).is_empty(), "{pair} says something");
        translator
    };
    bencher.counter(ItemsCount::new(FRAMES)).with_inputs(begun).bench_local_values(
        |mut translator| {
            for _ in 0..FRAMES {
                black_box(translator.push(black_box(&delta)));
            }
            translator
        },
    );
}

/// A request with tools, images and several turns.
#[divan::bench(args = pairs())]
fn request(bencher: Bencher<'_, '_>, pair: ChatPair) {
    let body = fixture(pair.client().as_str());
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        Pair::Chat(pair)
            .request(black_box(&body), true, "claude-model", LossPolicy::Lenient)
            .is_ok()
    });
}

/// An answer with a thought, a text and two calls.
#[divan::bench(args = pairs())]
fn answer(bencher: Bencher<'_, '_>, pair: ChatPair) {
    let body = fixture(&format!("answer_{}", pair.upstream()));
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        Pair::Chat(pair).answer(black_box(&body), client(pair.client())).expect("an answer")
    });
}
