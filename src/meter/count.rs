//! Counting a whole text in linear time.
//!
//! The tokenizer library is the fastest there is for words and slow for one very long piece. So a text
//! is counted seam by seam, about a kilobyte at a time, by the library; a stretch without a seam is
//! cut by its expression, and its long pieces are encoded by [`super::merges`].

use memchr::memmem;

use super::seam::{first_seam, last_seam, number_run};
use super::vocabulary::{Loaded, Long, Vocabulary};

/// How much goes to the library at once, and so the longest piece it ever sees.
const CHUNK_BYTES: usize = 1024;
/// Digits of a run that are counted together: a multiple of three, and of one.
const DIGITS: usize = 768;

/// An apostrophe and U+017F, which folds to `s`.
const LONG_S_CONTRACTION: &[u8] = "'\u{17f}".as_bytes();

/// Tokens of a text, special tokens being ordinary text. Loads the vocabulary on the calling thread if
/// it is not there yet: for the command line, tests and the background thread. Workers use
/// [`super::Counter`] or [`super::count_off_worker`].
pub fn count(vocabulary: Vocabulary, text: &str) -> u64 {
    let loaded = vocabulary.load();
    count_loaded(loaded, text, || Some(loaded.long())).unwrap_or_default()
}

/// The same for bytes; what is not UTF-8 counts as U+FFFD.
pub(super) fn count_lossy(vocabulary: Vocabulary, bytes: &[u8]) -> u64 {
    count(vocabulary, &String::from_utf8_lossy(bytes))
}

/// Counts with a loaded vocabulary. None if the text has a long piece and `long` has no tables for it.
pub(super) fn count_loaded<'a>(
    loaded: &Loaded,
    text: &str,
    long: impl Fn() -> Option<&'a Long>,
) -> Option<u64> {
    let style = loaded.vocabulary.style();
    let mut tokens = 0;
    let mut at = 0;
    while at < text.len() {
        let left = text.len() - at;
        let to = character_at(text, at + CHUNK_BYTES.min(left));
        let end = if left <= CHUNK_BYTES {
            text.len()
        } else if let Some(seam) = last_seam(text, at, to, style) {
            seam
        } else if let Some(third) = number_run(text, at, DIGITS) {
            third
        } else {
            first_seam(text, to, style).unwrap_or(text.len())
        };
        let part = &text[at..end];
        tokens += if is_for_library(part) {
            loaded.bpe.count(part) as u64
        } else {
            count_span(loaded, part, long()?)
        };
        at = end;
    }
    Some(tokens)
}

/// Whether the library counts a text fast and right. It overlooks that the long s is an s for
/// contractions too.
fn is_for_library(text: &str) -> bool {
    text.len() <= CHUNK_BYTES && memmem::find(text.as_bytes(), LONG_S_CONTRACTION).is_none()
}

/// The beginning of the character that a byte belongs to.
fn character_at(text: &str, byte: usize) -> usize {
    (0..=byte).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default()
}

/// Counts a stretch piece by piece.
fn count_span(loaded: &Loaded, span: &str, long: &Long) -> u64 {
    let mut tokens = 0;
    let mut at = 0;
    while at < span.len() {
        let end = long.pieces.end(span, at);
        tokens += count_piece(loaded, &span[at..end], long);
        at = end;
    }
    tokens
}

fn count_piece(loaded: &Loaded, piece: &str, long: &Long) -> u64 {
    if is_for_library(piece) {
        loaded.bpe.count(piece) as u64
    } else {
        long.merges.encode(piece.as_bytes()).len() as u64
    }
}

/// Cuts a stretch without seams somewhere in its second half, and counts what is before the cut.
///
/// The cut is at the end of a piece or, inside a long one, at the end of a token. What follows later
/// could only change it by reaching back over kilobytes; so the sum is right but for a token or
/// two in pathological text, and is marked as inexact all the same.
pub(super) fn cut_anyway(loaded: &Loaded, span: &str, long: &Long) -> (usize, u64) {
    let half = span.len() / 2;
    let mut tokens = 0;
    let mut at = 0;
    loop {
        let end = long.pieces.end(span, at);
        if end - at > CHUNK_BYTES {
            let mut token_end = at;
            let mut counted = tokens;
            let mut best = None;
            // As late as possible, but with as much left as the longest token could reach over.
            let latest = span.len() - CHUNK_BYTES;
            for token in long.merges.encode(&span.as_bytes()[at..end]) {
                token_end += long.merges.length(token);
                counted += 1;
                if token_end > latest {
                    break;
                }
                if span.is_char_boundary(token_end) {
                    best = Some((token_end, counted));
                }
            }
            if let Some(best) = best.filter(|&(cut, _)| cut > half || end == span.len()) {
                return best;
            }
        }
        tokens += count_piece(loaded, &span[at..end], long);
        at = end;
        if at > half {
            return (at, tokens);
        }
    }
}
