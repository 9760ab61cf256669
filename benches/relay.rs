//! What forwarding one frame costs between the upstream's chunk and the client's write: framing,
//! observing, counting. `cargo bench --bench relay`; every figure is for a stream of [`FRAMES`]
//! frames that arrive one a chunk: divide to get those of a frame.

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use weir::dialect::{Dialect, Endpoint, Forward, StreamObserver};
use weir::meter::{Counters, Vocabulary};
use weir::wire::frame::{Framer, Framing};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const FRAMES: usize = 1000;
const FRAME_BYTES_MAX: usize = 1 << 20;

fn main() {
    divan::main();
}

fn openai() -> Vec<Bytes> {
    let words = [" the", " stream", " of", " tokens", ",", " again"];
    (0..FRAMES)
        .map(|at| {
            Bytes::from(format!(
                "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\
                 \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}},\"finish_reason\":null}}],\"usage\":null}}\n\n",
                words[at % words.len()]
            ))
        })
        .collect()
}

fn anthropic() -> Vec<Bytes> {
    (0..FRAMES)
        .map(|_| {
            Bytes::from_static(
                b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
                  \"delta\":{\"type\":\"text_delta\",\"text\":\" token\"}}\n\n",
            )
        })
        .collect()
}

fn relay(bencher: Bencher<'_, '_>, chunks: &[Bytes], dialect: Dialect, endpoint: Endpoint) {
    weir::meter::count(Vocabulary::O200k, "load the vocabulary");
    bencher.counter(ItemsCount::new(chunks.len())).bench_local(|| {
        let mut framer = Framer::new(Framing::Sse, FRAME_BYTES_MAX);
        let mut observer = StreamObserver::new(endpoint, dialect, Framing::Sse, true);
        let mut counters = Counters::new(Vocabulary::O200k);
        for chunk in chunks {
            let frames = framer.push(chunk.clone()).expect("small").expect("whole");
            let observed = observer.observe(&frames, &mut counters);
            assert_eq!(observed.forward, Forward::All);
            black_box(frames);
        }
        black_box(counters.total())
    });
}

#[divan::bench]
fn openai_chat(bencher: Bencher<'_, '_>) {
    relay(bencher, &openai(), Dialect::OpenAi, Endpoint::ChatCompletions);
}

#[divan::bench]
fn anthropic_messages(bencher: Bencher<'_, '_>) {
    relay(bencher, &anthropic(), Dialect::Anthropic, Endpoint::Messages);
}
