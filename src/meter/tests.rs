//! Counting agrees with `tiktoken-rs`, which plays the oracle, and with itself whatever way a text is
//! cut.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;
use tiktoken_rs::CoreBPE;

use super::count::count_lossy;
use super::seam::first_seam;
use super::{Counter, Counters, Tally, Vocabulary, count, count_off_worker};

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
#[rustfmt::skip]
const NASTY: &[&str] = &[
    // White space.
    " ", "  ", "\t", "\n", "\r", "\r\n", "\u{b}", "\u{85}", "\u{a0}", "\u{3000}", "\u{200b}",
    // Contractions.
    "'", "’", "'s", "'S", "'t", "'re", "'rE", "'ll", "'L", "'ve", "'d",
    // Letters, marks, numbers, punctuation, emoji.
    "a", "b", "s", "t", "l", "e", "A", "B", "Z", "ab", "The", "iPhone", "ß", "É", "ǅ", "ʰ",
    "ª", "文", "字", "ひ", "カ", "ー", "한", "ไ", "ก็", "ा", "हि", "ش", "\u{301}", "\u{fe0f}",
    "\u{200d}", "\u{20e3}", "0", "1", "12", "123", "٣", "½", "²", "Ⅷ", "０", "!", "?", ".", ",",
    "/", "//", "-", "--", "_", "(", "\"", "«", "。", "，", "、", "👨", "👩‍👧", "🇩🇪", "🏽", "€", "§",
    "\u{0}", "\u{7f}", "\u{e000}", "\u{10ffff}", "<|endoftext|>", "<|im_start|>",
    "https://a.b/c?d=e", "QmFzZTY0", "fn main() {", "    ",
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn every_cutting_counts_the_same(
        text in nasty_text(200..600),
        cuts in prop::collection::vec(prop_oneof![4 => 1..5usize, 1 => 1..300usize], 1..20),
    ) {
        for vocabulary in Vocabulary::ALL {
            vocabulary.load();
            let tally = count_in_parts(vocabulary, text.as_bytes(), &cuts);
            prop_assert_eq!(
                tally, Tally { tokens: oracle(vocabulary, &text), exact: true }, "{:?}", vocabulary
            );
        }
    }
}

#[test]
fn the_long_s_is_an_s_for_contractions() {
    for text in ["s'\u{17f}'refn", "it'\u{17f}", "x'\u{17f}".repeat(700).as_str()] {
        assert_eq!(count(Vocabulary::O200k, text), oracle(Vocabulary::O200k, text), "{text}");
    }
}

/// The corpus: many languages and scripts, code, white space, digits, URLs, base64.
fn corpus() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/corpus");
    let mut texts: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect();
    texts.sort();
    assert!(texts.len() >= 14, "{} files", texts.len());
    texts
}

#[test]
fn the_corpus_counts_as_the_oracle_says_for_every_cutting() {
    let texts = corpus();
    let all = texts.iter().map(|(_, text)| text.as_str()).collect::<String>();
    for vocabulary in Vocabulary::ALL {
        vocabulary.load();
        for (name, text) in texts.iter().map(|(name, text)| (name.as_str(), text)) {
            let wanted = oracle(vocabulary, text);
            assert_eq!(count(vocabulary, text), wanted, "{vocabulary:?}, {name}");
            for cut in [1, 2, 3, 4, 5, 7, 16, 61, 255, 1000] {
                let tally = count_in_parts(vocabulary, text.as_bytes(), &[cut]);
                let wanted = Tally { tokens: wanted, exact: true };
                assert_eq!(tally, wanted, "{vocabulary:?}, {name}, parts of {cut} bytes");
            }
        }
        let wanted = Tally { tokens: oracle(vocabulary, &all), exact: true };
        assert_eq!(count_in_parts(vocabulary, all.as_bytes(), &[3, 1, 4, 1, 5, 9, 2, 6]), wanted);
    }
}

#[test]
fn a_total_may_be_asked_for_at_any_time() {
    let (_, text) = &corpus()[4];
    Vocabulary::O200k.load();
    let mut counter = Counter::new(Vocabulary::O200k);
    let mut so_far = String::new();
    for character in text.chars().take(400) {
        so_far.push(character);
        counter.push(character.encode_utf8(&mut [0; 4]));
        assert_eq!(counter.total().tokens, oracle(Vocabulary::O200k, &so_far), "{so_far:?}");
    }
}

/// Runs of one part, and runs inside a text.
fn runs(bytes: usize) -> Vec<String> {
    let parts =
        ["a", " ", "\n", "!", "7", "é", "漢", "👍", "ab", "=-", " \n", "'d", "aB", "ก็", "\u{301}"];
    let run = |part: &str| part.repeat(bytes / part.len());
    let mut runs: Vec<String> = parts.iter().map(|part| run(part)).collect();
    runs.extend(parts.iter().map(|part| format!("So {} it was.", run(part))));
    runs.push(format!("{}{}{}", run(" "), run("a"), run("B")));
    runs
}

#[test]
fn long_runs_are_counted_exactly() {
    for vocabulary in [Vocabulary::O200k, Vocabulary::MistralV3] {
        vocabulary.load().long();
        for text in runs(12_000) {
            let begin: String = text.chars().take(8).collect();
            let wanted = oracle(vocabulary, &text);
            assert_eq!(count(vocabulary, &text), wanted, "{vocabulary:?}, {begin:?}");
            let tally = count_in_parts(vocabulary, text.as_bytes(), &[7, 100, 1]);
            assert_eq!(tally, Tally { tokens: wanted, exact: true }, "{vocabulary:?}, {begin:?}");
        }
    }
}

#[test]
fn endless_runs_are_cut_and_marked_and_hardly_off() {
    let vocabulary = Vocabulary::Cl100k;
    vocabulary.load().long();
    for text in runs(150_000) {
        let begin: String = text.chars().take(8).collect();
        let wanted = count(vocabulary, &text);
        let mut counter = Counter::new(vocabulary);
        let mut held_bytes = 0;
        for part in text.as_bytes().chunks(1000) {
            counter.push_bytes(part);
            held_bytes = held_bytes.max(counter.held_bytes());
        }
        let tally = counter.total();
        assert!(tally.tokens.abs_diff(wanted) <= 12, "{begin:?}: {tally:?}, exactly {wanted}");
        assert!(!tally.exact || tally.tokens == wanted, "{begin:?}: {tally:?}, exactly {wanted}");
        // Digits are counted in threes, so that a run of them can be cut for good where it begins a
        // tail; behind other text it is marked like any other run.
        assert!(tally.exact || !begin.starts_with('7'), "{begin:?}");
        // Otherwise a run of one letter has no place to cut it.
        assert!(!tally.exact || !begin.starts_with("aa"), "{begin:?}");
        assert!(held_bytes <= 140_000, "{begin:?}: {held_bytes} bytes held");
    }
}

#[test]
fn channels_are_texts_of_their_own() {
    Vocabulary::O200k.load();
    let mut counters = Counters::new(Vocabulary::O200k);
    for delta in ["Hel", "lo, ", "wor", "ld", "!"] {
        for channel in 0..3 {
            counters.text(channel, delta);
        }
    }
    counters.text(7, "");
    assert_eq!(counters.total(), Tally { tokens: 3 * 4, exact: true });
}

#[test]
fn channels_beyond_the_bound_are_counted_together_and_marked() {
    Vocabulary::O200k.load();
    let mut counters = Counters::new(Vocabulary::O200k);
    for channel in 0..1000 {
        counters.text(channel, " word");
    }
    assert_eq!(counters.total(), Tally { tokens: 1000, exact: false });
}

#[test]
fn what_came_before_the_vocabulary_is_counted_exactly_in_the_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (_, text) = &corpus()[0];
    let mut counter = Counter::new(Vocabulary::MistralV3);
    counter.push(text);
    let early = counter.total();
    assert!(early.exact || early.tokens > 0, "{early:?}");
    let tally = runtime.block_on(counter.finish());
    assert_eq!(tally, Tally { tokens: oracle(Vocabulary::MistralV3, text), exact: true });
    // A long piece waits for its tables as well.
    let run = "a".repeat(20_000);
    let mut counter = Counter::new(Vocabulary::MistralV3);
    counter.push(&run);
    counter.push(" end");
    let tally = runtime.block_on(counter.finish());
    let wanted = oracle(Vocabulary::MistralV3, &run) + 1;
    assert_eq!(tally, Tally { tokens: wanted, exact: true });
}

#[test]
fn large_texts_are_counted_off_the_worker() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let text = corpus().into_iter().map(|(_, text)| text).collect::<String>();
    let wanted = Tally { tokens: oracle(Vocabulary::Cl100k, &text), exact: true };
    assert_eq!(
        runtime.block_on(count_off_worker(Vocabulary::Cl100k, text.into(), |text| text)),
        wanted
    );
}

/// Cuts a text at what an expression matches; white space leaves its last character to what follows.
fn split<'a>(text: &'a str, by: &Regex) -> Vec<(bool, &'a str)> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(found) = by.find_at(text, at) {
        if found.start() > at {
            pieces.push((false, &text[at..found.start()]));
        }
        let mut end = found.end();
        let last = found.as_str().chars().next_back().unwrap();
        if end < text.len()
            && found.as_str().trim().is_empty()
            && found.as_str().chars().count() > 1
            && !matches!(last, '\r' | '\n')
        {
            end -= last.len_utf8();
        }
        pieces.push((true, &text[found.start()..end]));
        at = end;
    }
    if at < text.len() {
        pieces.push((false, &text[at..]));
    }
    pieces
}

/// What the published pre-tokenizer does: three expressions, each on what the one before left over, and
/// what none matches is a piece as well.
fn deepseek_in_stages(text: &str) -> u64 {
    let numbers = Regex::new(r"\p{N}{1,3}").unwrap();
    let chinese = Regex::new(r"[一-龥\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+").unwrap();
    let rest = Regex::new(concat!(
        r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+",
    ))
    .unwrap();
    let bpe = Vocabulary::DeepSeekV3.load().bpe;
    let encode = |piece: &str| bpe.count(piece) as u64;
    let mut tokens = 0;
    for (is_number, part) in split(text, &numbers) {
        if is_number {
            tokens += encode(part);
            continue;
        }
        for (is_chinese, part) in split(part, &chinese) {
            if is_chinese {
                tokens += encode(part);
                continue;
            }
            tokens += split(part, &rest).into_iter().map(|(_, piece)| encode(piece)).sum::<u64>();
        }
    }
    tokens
}

proptest! {
    #[test]
    fn deepseeks_three_expressions_in_a_row_are_kept(text in nasty_text(0..60)) {
        prop_assert_eq!(count(Vocabulary::DeepSeekV3, &text), deepseek_in_stages(&text));
    }
}

#[test]
fn deepseeks_three_expressions_in_a_row_are_kept_over_the_corpus() {
    for (name, text) in corpus() {
        assert_eq!(count(Vocabulary::DeepSeekV3, &text), deepseek_in_stages(&text), "{name}");
    }
}
