//! What counting costs: per delta, per megabyte against `tiktoken-rs`, and for long runs.
//!
//! `cargo bench --bench meter`

use std::fmt::Write as _;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use weir::dialect::Usage;
use weir::meter::{Counter, Counters, Prices, Vocabulary, count, tokenizer_for};

fn main() {
    divan::main();
}

/// Prose, code and other scripts without repetition: the corpus of the tests, its words dealt out anew
/// with numbers in between, so that no cache of pieces can hold it all.
fn mixed_text(bytes: usize) -> String {
    const PARTS: [&str; 5] = [
        include_str!("../tests/golden/corpus/english.txt"),
        include_str!("../tests/golden/corpus/code.txt"),
        include_str!("../tests/golden/corpus/german.txt"),
        include_str!("../tests/golden/corpus/chinese.txt"),
        include_str!("../tests/golden/corpus/korean_vietnamese_greek_russian.txt"),
    ];
    // Two thirds English and code, as traffic is.
    let words: Vec<Vec<&str>> =
        PARTS.iter().map(|part| part.split_inclusive(char::is_whitespace).collect()).collect();
    let mut text = String::with_capacity(bytes + 64);
    let mut state = 1u64;
    let mut random = |bound: usize| {
        // A linear congruential generator (Knuth's MMIX constants).
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    while text.len() < bytes {
        let part = &words[[0, 0, 0, 1, 1, 1, 2, 3, 4][random(9)]];
        let from = random(part.len());
        for word in &part[from..part.len().min(from + 12)] {
            text.push_str(word);
        }
        write!(text, "{} ", random(100_000)).expect("a String takes everything");
    }
    text
}

/// Deltas as models stream them: a token or so each.
fn deltas(text: &str) -> Vec<&str> {
    let mut deltas = Vec::new();
    let mut from = 0;
    while from < text.len() {
        let to = (from + 4..=text.len()).find(|&to| text.is_char_boundary(to));
        let to = to.unwrap_or(text.len());
        deltas.push(&text[from..to]);
        from = to;
    }
    deltas
}

const VOCABULARIES: [Vocabulary; 6] = Vocabulary::ALL;

#[divan::bench(args = VOCABULARIES, sample_count = 10, sample_size = 1)]
fn whole_text_4_mb(bencher: Bencher<'_, '_>, vocabulary: Vocabulary) {
    let text = mixed_text(4 << 20);
    count(vocabulary, "warm");
    bencher.counter(BytesCount::of_str(&text)).bench(|| count(vocabulary, black_box(&text)));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn whole_text_4_mb_tiktoken_rs_o200k(bencher: Bencher<'_, '_>) {
    let text = mixed_text(4 << 20);
    let oracle = tiktoken_rs::o200k_base().expect("o200k_base");
    bencher
        .counter(BytesCount::of_str(&text))
        .bench(|| oracle.encode_ordinary(black_box(&text)).len());
}

#[divan::bench(args = VOCABULARIES, sample_count = 10, sample_size = 1)]
fn counter_4_byte_deltas_of_4_mb(bencher: Bencher<'_, '_>, vocabulary: Vocabulary) {
    let text = mixed_text(4 << 20);
    let deltas = deltas(&text);
    count(vocabulary, "warm");
    bencher.counter(BytesCount::of_str(&text)).counter(ItemsCount::new(deltas.len())).bench(|| {
        let mut counter = Counter::new(vocabulary);
        for delta in &deltas {
            counter.push(black_box(delta));
        }
        counter.total()
    });
}

/// A whole answer: 500 deltas over two channels, with its counters made and dropped.
#[divan::bench]
fn answer_of_500_deltas(bencher: Bencher<'_, '_>) {
    let text = mixed_text(2000);
    let deltas = deltas(&text);
    count(Vocabulary::O200k, "warm");
    bencher.counter(ItemsCount::new(deltas.len())).bench(|| {
        let mut counters = Counters::new(Vocabulary::O200k);
        for (at, delta) in deltas.iter().enumerate() {
            counters.text(u32::from(at > 100), black_box(delta));
        }
        counters.total()
    });
}

#[divan::bench(args = ["a", " ", "\n", "!", "7", "ab", "漢", "é", "=-", "👍"], sample_count = 3, sample_size = 1)]
fn run_of_10_mb(bencher: Bencher<'_, '_>, unit: &str) {
    let text = unit.repeat((10 << 20) / unit.len());
    count(Vocabulary::O200k, &unit.repeat(4096));
    bencher.counter(BytesCount::of_str(&text)).bench(|| count(Vocabulary::O200k, black_box(&text)));
}

/// Letters without order, which no run-length trick would help with.
#[divan::bench(args = ["ACGT", "abcdefghijklmnopqrstuvwxyz"], sample_count = 3, sample_size = 1)]
fn one_word_of_10_mb(bencher: Bencher<'_, '_>, letters: &str) {
    let mut state = 1u64;
    let text: String = (0..10 << 20)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(letters.as_bytes()[state as usize % letters.len()])
        })
        .collect();
    count(Vocabulary::O200k, &text[..4096]);
    bencher.counter(BytesCount::of_str(&text)).bench(|| count(Vocabulary::O200k, black_box(&text)));
}

#[divan::bench]
fn pushes_of_1_mb_of_one_letter(bencher: Bencher<'_, '_>) {
    count(Vocabulary::O200k, &"a".repeat(4096));
    bencher.counter(BytesCount::new(1usize << 20)).bench(|| {
        let mut counter = Counter::new(Vocabulary::O200k);
        for _ in 0..(1 << 20) / 8 {
            counter.push(black_box("aaaaaaaa"));
        }
        counter.total()
    });
}

#[divan::bench(args = ["gpt-4o", "claude-sonnet-4-20250514", "us.anthropic.claude-sonnet-4-20250514-v1:0", "nobody-knows"])]
fn price_lookup(bencher: Bencher<'_, '_>, model: &str) {
    let prices = Prices::builtin();
    bencher.bench(|| prices.price(black_box("openai"), black_box(model)));
}

#[divan::bench]
fn cost(bencher: Bencher<'_, '_>) {
    let price = Prices::builtin().price("openai", "gpt-4o").expect("in the catalogue");
    let usage = Usage { input: 1200, output: 340, cached_input: 1024, ..Usage::default() };
    bencher.bench(|| price.cost(black_box(&usage)));
}

#[divan::bench(args = ["gpt-4o", "claude-sonnet-4-20250514"])]
fn tokenizer_lookup(bencher: Bencher<'_, '_>, model: &str) {
    bencher.bench(|| tokenizer_for(black_box(model)));
}
