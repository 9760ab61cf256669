//! What reading a request and observing a stream cost: time, and allocations.
//!
//! `cargo bench --bench dialect`. The figures of a stream are for all of its [`FRAMES`] frames, each
//! of which arrives on its own; divide to get those of a frame.

use std::fmt::Write as _;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use http::Method;
use weir::dialect::{self, Dialect, Endpoint, NoText, StreamObserver};
use weir::wire::eventstream;
use weir::wire::fields::Fields;
use weir::wire::frame::Framing;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const FRAMES: usize = 1000;
const DEPTH_MAX: u32 = 128;

fn main() {
    divan::main();
}

/// A delta of each dialect, as it is on the wire.
fn frame(dialect: Dialect) -> (Endpoint, Framing, Bytes) {
    let (endpoint, text) = match dialect {
        Dialect::OpenAi => (
            Endpoint::ChatCompletions,
            "data: {\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\
             \"object\":\"chat.completion.chunk\",\"created\":1741570283,\
             \"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\
             \"system_fingerprint\":\"fp_fc9f1d7035\",\"choices\":[{\"index\":0,\
             \"delta\":{\"content\":\" token\"},\"logprobs\":null,\"finish_reason\":null}],\
             \"usage\":null}\n\n",
        ),
        Dialect::Anthropic => (
            Endpoint::Messages,
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{\"type\":\"text_delta\",\"text\":\" token\"}}\n\n",
        ),
        Dialect::Gemini => (
            Endpoint::StreamGenerateContent,
            "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" token\"}],\
             \"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 8,\
             \"candidatesTokenCount\": 4,\"totalTokenCount\": 12,\"promptTokensDetails\": \
             [{\"modality\": \"TEXT\",\"tokenCount\": 8}]},\"modelVersion\": \
             \"gemini-2.5-flash\"}\r\n\r\n",
        ),
        Dialect::Cohere => (
            Endpoint::CohereChat,
            "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":\
             {\"message\":{\"content\":{\"text\":\" token\"}}}}\n\n",
        ),
        Dialect::Bedrock => {
            let headers = [
                (":event-type", "contentBlockDelta"),
                (":content-type", "application/json"),
                (":message-type", "event"),
            ];
            let payload =
                b"{\"contentBlockIndex\":0,\"delta\":{\"text\":\" token\"},\"p\":\"abc\"}";
            let message = Bytes::from(eventstream::encode(&headers, payload));
            return (Endpoint::ConverseStream, Framing::AwsEventStream, message);
        }
    };
    (endpoint, Framing::Sse, Bytes::from_static(text.as_bytes()))
}

#[divan::bench(args = Dialect::ALL)]
fn observe(bencher: Bencher<'_, '_>, dialect: Dialect) {
    let (endpoint, framing, frame) = frame(dialect);
    let mut observer = StreamObserver::new(endpoint, dialect, framing, true);
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        for _ in 0..FRAMES {
            black_box(observer.observe(black_box(&frame), &mut NoText).content);
        }
    });
}

fn chat_request(content_bytes: usize) -> Bytes {
    let mut body = String::from("{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[");
    let message = "the quick brown fox jumps over the lazy dog\\n".repeat(20);
    while body.len() < content_bytes {
        let _ = write!(body, "{{\"role\":\"user\",\"content\":\"{message}\"}},");
    }
    body.push_str("{\"role\":\"user\",\"content\":\"end\"}],\"temperature\":0.7}");
    body.into()
}

/// From the request line to the body for the upstream, with another model.
#[divan::bench(args = [500, 100_000, 10_000_000])]
fn request(bencher: Bencher<'_, '_>, content_bytes: usize) {
    let body = chat_request(content_bytes);
    let headers = Fields::default();
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        let path = black_box("/v1/chat/completions");
        let call = dialect::classify(&Method::POST, path, None, &headers).expect("an endpoint");
        let peeked = dialect::peek(&call, &body, DEPTH_MAX).expect("is fine");
        dialect::rewrite(&call, &peeked, &body, Some("llama-3.1-8b"), None).body.len_bytes()
    });
}
