//! Counting agrees with `tiktoken-rs`, which plays the oracle, and with itself whatever way a text is
//! cut.

use std::sync::LazyLock;

use proptest::prelude::*;
use tiktoken_rs::CoreBPE;

use super::count::count_lossy;
use super::seam::first_seam;
use super::{Counter, Tally, Vocabulary, count};

static O200K: LazyLock<CoreBPE> = LazyLock::new(|| tiktoken_rs::o200k_base().unwrap());
static CL100K: LazyLock<CoreBPE> = LazyLock::new(|| tiktoken_rs::cl100k_base().unwrap());

/// Tokens according to somebody else: `tiktoken-rs` where it has the vocabulary, otherwise the library
/// that is used here, on the whole text at once.
fn oracle(vocabulary: Vocabulary, text: &str) -> u64 {
    let tokens = match vocabulary {
        Vocabulary::O200k => O200K.encode_ordinary(text).len(),
        Vocabulary::Cl100k => CL100K.encode_ordinary(text).len(),
        other => other.load().bpe.count(text),
    };
    tokens as u64
}

/// What the rules for pieces stumble over.
const NASTY: &[&str] = &[
    " ",
    "  ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\u{b}",
    "\u{85}",
    "\u{a0}",
    "\u{3000}",
    "\u{200b}",
    "'",
    "’",
    "'s",
    "'S",
    "'t",
    "'re",
    "'rE",
    "'ll",
    "'L",
    "'ve",
    "'d",
    "'ſ",
    "a",
    "b",
    "s",
    "t",
    "l",
    "e",
    "A",
    "B",
    "Z",
    "ab",
    "The",
    "iPhone",
    "ß",
    "É",
    "ǅ",
    "ʰ",
    "ª",
    "文",
    "字",
    "ひ",
    "カ",
    "ー",
    "한",
    "ไ",
    "ก็",
    "ा",
    "हि",
    "ش",
    "\u{301}",
    "\u{fe0f}",
    "\u{200d}",
    "\u{20e3}",
    "0",
    "1",
    "12",
    "123",
    "٣",
    "½",
    "²",
    "Ⅷ",
    "０",
    "!",
    "?",
    ".",
    ",",
    "/",
    "//",
    "-",
    "--",
    "_",
    "(",
    "\"",
    "«",
    "。",
    "，",
    "、",
    "👨",
    "👩‍👧",
    "🇩🇪",
    "🏽",
    "€",
    "§",
    "\u{0}",
    "\u{7f}",
    "\u{e000}",
    "\u{10ffff}",
    "<|endoftext|>",
    "<|im_start|>",
    "https://a.b/c?d=e",
    "QmFzZTY0",
    "fn main() {",
    "    ",
];

/// Texts out of nasty parts, some of them repeated.
fn nasty_text(parts: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let part =
        (prop::sample::select(NASTY), prop_oneof![20 => Just(1), 2 => 2..6usize, 1 => 6..40usize]);
    prop::collection::vec(part, parts)
        .prop_map(|parts| parts.into_iter().map(|(part, times)| part.repeat(times)).collect())
}

/// Counts bytes in parts that end where `cuts` says (taken modulo what is left), over and over.
fn count_in_parts(vocabulary: Vocabulary, bytes: &[u8], cuts: &[usize]) -> Tally {
    let mut counter = Counter::new(vocabulary);
    let mut rest = bytes;
    for &cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at(cut.clamp(1, rest.len()));
        counter.push_bytes(part);
        rest = after;
    }
    counter.total()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_whole_text_counts_as_the_oracle_says(text in nasty_text(0..40)) {
        for vocabulary in Vocabulary::ALL {
            prop_assert_eq!(count(vocabulary, &text), oracle(vocabulary, &text), "{:?}", vocabulary);
        }
    }

    #[test]
    fn the_two_sides_of_a_seam_count_as_much_as_the_whole(text in nasty_text(0..12)) {
        for vocabulary in Vocabulary::ALL {
            let whole = oracle(vocabulary, &text);
            let mut from = 0;
            while let Some(seam) = first_seam(&text, from, vocabulary.style()) {
                let (left, right) = text.split_at(seam);
                prop_assert_eq!(
                    oracle(vocabulary, left) + oracle(vocabulary, right), whole,
                    "{:?}: {:?} | {:?}", vocabulary, left, right
                );
                from = seam;
            }
        }
    }

    #[test]
    fn every_cutting_counts_the_same(
        text in nasty_text(200..900),
        cuts in prop::collection::vec(prop_oneof![4 => 1..5usize, 1 => 1..300usize], 1..20),
    ) {
        for vocabulary in Vocabulary::ALL {
            vocabulary.load().long();
            let tally = count_in_parts(vocabulary, text.as_bytes(), &cuts);
            prop_assert_eq!(
                tally, Tally { tokens: oracle(vocabulary, &text), exact: true }, "{:?}", vocabulary
            );
        }
    }

    #[test]
    fn bytes_that_are_not_text_count_as_replacement_characters(
        bytes in prop::collection::vec(
            prop_oneof![Just(0x61), Just(0x20), Just(0xe2), Just(0x82), Just(0xac), Just(0xf0), Just(0x9f), any::<u8>()],
            0..600,
        ),
        cuts in prop::collection::vec(1..4usize, 1..8),
    ) {
        let vocabulary = Vocabulary::O200k;
        vocabulary.load();
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(count_in_parts(vocabulary, &bytes, &cuts).tokens, oracle(vocabulary, &text));
        prop_assert_eq!(count_lossy(vocabulary, &bytes), oracle(vocabulary, &text));
    }
}
