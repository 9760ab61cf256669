//! What the codecs cost: bytes a second, and allocations.
//!
//! `cargo bench --bench wire`. The SSE figures are for a whole stream of [`FRAMES`] frames; divide
//! to get those of a frame.

use std::fmt::Write as _;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use weir::wire::frame::{Framer, Framing};
use weir::wire::json::{self, Edit, Limits, Value};
use weir::wire::sse;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const FRAMES: usize = 1000;
const FRAME_BYTES_MAX: usize = 1 << 20;
const LIMITS: Limits = Limits { depth_max: 128 };

fn main() {
    divan::main();
}

/// One frame of a chat completion, as it is on the wire.
fn delta(text: &str) -> String {
    format!(
        concat!(
            "data: {{\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",",
            "\"object\":\"chat.completion.chunk\",\"created\":1741570283,",
            "\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",",
            "\"system_fingerprint\":\"fp_fc9f1d7035\",\"choices\":[{{\"index\":0,",
            "\"delta\":{{\"content\":\"{}\"}},\"logprobs\":null,\"finish_reason\":null}}],",
            "\"usage\":null}}\n\n"
        ),
        text
    )
}

fn stream() -> Bytes {
    let words = [" the", " w\u{f6}rd", " token", ",", "\\n\\n", " stream", " a"];
    (0..FRAMES).map(|at| delta(words[at % words.len()])).collect::<String>().into()
}

/// How the network cuts the stream.
#[derive(Clone, Copy, Debug)]
enum Cut {
    EachFrame,
    Every4096Bytes,
    Every100Bytes,
}

fn cut(stream: &Bytes, cut: Cut) -> Vec<Bytes> {
    let bytes = match cut {
        Cut::EachFrame => {
            let mut frames = sse::events(stream).map(|event| stream.slice(event.span));
            return frames.by_ref().collect();
        }
        Cut::Every4096Bytes => 4096,
        Cut::Every100Bytes => 100,
    };
    (0..stream.len())
        .step_by(bytes)
        .map(|at| stream.slice(at..stream.len().min(at + bytes)))
        .collect()
}

#[divan::bench(args = [Cut::EachFrame, Cut::Every4096Bytes, Cut::Every100Bytes])]
fn sse_frames_and_events(bencher: Bencher<'_, '_>, how: Cut) {
    let stream = stream();
    bencher
        .counter(BytesCount::new(stream.len()))
        .counter(ItemsCount::new(FRAMES))
        .with_inputs(|| cut(&stream, how))
        .bench_local_values(|chunks| {
            let mut framer = Framer::new(Framing::Sse, FRAME_BYTES_MAX);
            let mut data_bytes = 0;
            for chunk in chunks {
                if let Ok(Some(frames)) = framer.push(chunk) {
                    data_bytes += sse::events(&frames).map(|event| event.data.len()).sum::<usize>();
                }
            }
            data_bytes
        });
}

/// One path into a frame.
#[divan::bench(sample_size = 1000)]
fn frame_find_content(bencher: Bencher<'_, '_>) {
    let frame = delta(" the w\\u00f6rd");
    let data = frame["data: ".len()..].trim_end().as_bytes();
    let mut text = String::with_capacity(64);
    bencher.counter(BytesCount::new(data.len())).bench_local(|| {
        let content = json::find(black_box(data), &["choices", "0", "delta", "content"]);
        text.clear();
        content.inspect(|content| content.unescape(&mut None, &mut text));
        text.len()
    });
}

/// Every member on every level of a frame, once.
#[divan::bench(sample_size = 1000)]
fn frame_walk(bencher: Bencher<'_, '_>) {
    fn walk(value: Value<'_>) -> usize {
        1 + value.items().map(walk).sum::<usize>()
            + value.members().map(|member| walk(member.value)).sum::<usize>()
    }
    let frame = delta(" the w\\u00f6rd");
    let data = frame["data: ".len()..].trim_end().as_bytes();
    bencher.counter(BytesCount::new(data.len())).bench_local(|| walk(json::lazy(black_box(data))));
}

/// What a request is mostly made of.
#[derive(Clone, Copy, Debug)]
enum Body {
    Small,
    Prose1Mb,
    Code1Mb,
    Chinese1Mb,
    Base641Mb,
    Embeddings1Mb,
}

const BODIES: [Body; 6] = [
    Body::Small,
    Body::Prose1Mb,
    Body::Code1Mb,
    Body::Chinese1Mb,
    Body::Base641Mb,
    Body::Embeddings1Mb,
];

fn body(kind: Body) -> Bytes {
    let prose = "It was a bright cold day in April, and the clocks were striking thirteen. ";
    let content = match kind {
        Body::Small => prose.repeat(4),
        Body::Prose1Mb => prose.repeat((1 << 20) / prose.len()),
        Body::Code1Mb => "    if (x == \\\"y\\\") {\\n\\treturn 1;\\n    }\\n".repeat(25_000),
        Body::Chinese1Mb => "一个桃子落在河里".repeat((1 << 20) / 24),
        Body::Base641Mb => "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ".repeat((1 << 20) / 44),
        Body::Embeddings1Mb => {
            let mut numbers = String::from("\",\"numbers\":[0");
            for at in 0..90_000 {
                write!(numbers, ",-0.0{at:06}").expect("a string takes everything");
            }
            numbers + "],\"x\":\""
        }
    };
    format!(
        concat!(
            "{{\"model\":\"gpt-4o\",\"stream\":true,\"temperature\":0.7,\"max_tokens\":256,",
            "\"messages\":[{{\"role\":\"system\",\"content\":\"You are terse.\"}},",
            "{{\"role\":\"user\",\"content\":\"{}\"}}],\"user\":\"u-1\"}}"
        ),
        content
    )
    .into()
}

#[divan::bench(args = BODIES)]
fn json_scan(bencher: Bencher<'_, '_>, kind: Body) {
    let body = body(kind);
    bencher.counter(BytesCount::new(body.len())).bench_local(|| {
        let object = json::object(black_box(&body), LIMITS).expect("valid");
        (object.get("model").map(|model| model.span()), object.single("stream").is_ok())
    });
}

/// The same validation by `serde_json`, for comparison.
#[divan::bench(args = BODIES)]
fn json_scan_serde_json(bencher: Bencher<'_, '_>, kind: Body) {
    let body = body(kind);
    bencher.counter(BytesCount::new(body.len())).bench_local(|| {
        let text = std::str::from_utf8(black_box(&body)).expect("valid");
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    });
}

#[divan::bench(args = BODIES)]
fn json_splice(bencher: Bencher<'_, '_>, kind: Body) {
    let body = body(kind);
    let object = json::object(&body, LIMITS).expect("valid");
    let span = object.get("model").expect("there").span();
    let model = Bytes::from_static(b"\"llama-3.1-8b\"");
    bencher.counter(BytesCount::new(body.len())).bench_local(|| {
        let edit = Edit { span: span.clone(), with: model.clone() };
        json::splice(black_box(&body), &mut [edit]).len_bytes()
    });
}
