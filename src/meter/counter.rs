//! Counting a text that arrives in deltas.
//!
//! Counting every delta for itself is wrong, because words and tokens span them. A [`Counter`] keeps
//! what stands behind the last seam ([`super::seam`]) and counts the rest for good, so that its
//! total is the count of the whole text whatever way it was cut. A delta costs a copy of its
//! bytes; every few hundred bytes the finished part is counted at once.
//!
//! Everything is bounded: text waits for a vocabulary, or for a seam, only up to a limit. Beyond it
//! the counter goes on with an estimate, or with a cut of its own, and says so.

use std::time::Duration;

use super::Tally;
use super::count::{count_loaded, cut_anyway};
use super::estimate;
use super::seam::{last_seam, number_run};
use super::vocabulary::{Loaded, Vocabulary, warm};

/// How much text is gathered before its finished part is counted.
const SETTLE_BYTES: usize = 256;
/// The longest stretch without a seam that is kept whole.
const TAIL_BYTES_MAX: usize = 64 << 10;
/// The most text that waits for a vocabulary.
const PENDING_BYTES_MAX: usize = 1 << 20;
/// How long [`Counter::finish`] waits for a vocabulary.
const LOAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Capacity that an idle counter may keep.
const KEPT_BYTES: usize = 4 << 10;

/// Counts the tokens of one text that arrives in parts.
#[derive(Debug)]
pub struct Counter {
    vocabulary: Vocabulary,
    /// Tokens of the text before `tail`.
    settled: u64,
    exact: bool,
    /// The text that is not counted for good.
    tail: String,
    /// Where the last character begins up to which `tail` is known to have no seam.
    scanned: usize,
    /// Tokens of `tail`, since it last changed.
    tail_tokens: Option<u64>,
    /// The beginning of a character whose rest has not arrived.
    partial: Partial,
    /// The next step needs the tables for long pieces.
    needs_long: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Partial {
    bytes: [u8; 4],
    len: usize,
}

impl Partial {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn set(&mut self, bytes: &[u8]) {
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len();
    }
}

impl Counter {
    /// An empty counter. Asks for the vocabulary if it is not loaded.
    pub fn new(vocabulary: Vocabulary) -> Self {
        warm(vocabulary);
        Self {
            vocabulary,
            settled: 0,
            exact: true,
            tail: String::new(),
            scanned: 0,
            tail_tokens: None,
            partial: Partial::default(),
            needs_long: false,
        }
    }

    /// Adds text.
    pub fn push(&mut self, text: &str) {
        if self.partial.len > 0 {
            self.partial.len = 0;
            self.tail.push(char::REPLACEMENT_CHARACTER);
        }
        self.append(text);
    }

    /// Adds bytes of text, which may end inside a character. What is not UTF-8 counts as U+FFFD, as
    /// [`String::from_utf8_lossy`] has it.
    pub fn push_bytes(&mut self, mut bytes: &[u8]) {
        while self.partial.len > 0
            && let Some((&next, rest)) = bytes.split_first()
        {
            let mut held = self.partial;
            held.bytes[held.len] = next;
            held.len += 1;
            match std::str::from_utf8(held.as_slice()) {
                Ok(character) => {
                    self.partial.len = 0;
                    self.append(character);
                }
                Err(error) if error.error_len().is_none() => self.partial = held,
                Err(_) => {
                    // The held bytes are broken off; `next` begins something new.
                    self.partial.len = 0;
                    self.append("\u{fffd}");
                    continue;
                }
            }
            bytes = rest;
        }
        while !bytes.is_empty() {
            let (valid, rest, broken_len) = match std::str::from_utf8(bytes) {
                Ok(text) => (text, &[][..], None),
                Err(error) => {
                    let (valid, rest) = bytes.split_at(error.valid_up_to());
                    // What precedes the first error is valid by definition.
                    let valid = std::str::from_utf8(valid).unwrap_or_default();
                    (valid, rest, error.error_len())
                }
            };
            self.append(valid);
            let Some(broken_len) = broken_len else { return self.partial.set(rest) };
            self.append("\u{fffd}");
            bytes = &rest[broken_len..];
        }
    }

    /// Tokens of all text so far. While the vocabulary is being loaded it is an estimate and says so.
    pub fn total(&mut self) -> Tally {
        let tail_tokens = match self.tail_tokens {
            Some(tokens) => Some(tokens),
            None => self.count_tail(),
        };
        self.tail_tokens = tail_tokens;
        match tail_tokens {
            Some(tokens) => Tally { tokens: self.settled + tokens, exact: self.exact },
            None => Tally {
                tokens: self.settled + estimate::tokens_of(self.tail.as_bytes()),
                exact: false,
            },
        }
    }

    /// The same, but waits for the vocabulary if it is still being loaded.
    pub async fn finish(&mut self) -> Tally {
        let loaded = async {
            let loaded = self.vocabulary.ready().await;
            if self.count_tail().is_none() {
                loaded.long_ready().await;
            }
        };
        // Without it the total is an estimate.
        let _ = tokio::time::timeout(LOAD_TIME_MAX, loaded).await;
        self.total()
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.tail.capacity()
    }

    fn append(&mut self, text: &str) {
        self.tail.push_str(text);
        self.tail_tokens = None;
        if self.tail.len() >= SETTLE_BYTES {
            self.settle();
        }
    }

    /// Counts the finished part of the tail for good.
    fn settle(&mut self) {
        let Some(loaded) = self.vocabulary.loaded() else {
            warm(self.vocabulary);
            return self.bound_pending();
        };
        if self.needs_long && loaded.long_if_ready().is_none() {
            return self.bound_pending();
        }
        let style = self.vocabulary.style();
        if let Some(seam) = last_seam(&self.tail, self.scanned, self.tail.len(), style) {
            let counted = count_loaded(loaded, &self.tail[..seam], || loaded.long_if_ready());
            if let Some(tokens) = counted {
                self.drop_counted(seam, tokens);
            } else {
                self.needs_long = true;
                self.bound_pending();
            }
        } else if self.tail.len() > TAIL_BYTES_MAX {
            self.settle_anyway(loaded);
        } else {
            self.scanned = last_character(&self.tail);
        }
    }

    /// The tail has grown to its limit without a seam.
    fn settle_anyway(&mut self, loaded: &Loaded) {
        // Of a run of numbers every third end is as good as a seam.
        if let Some(end) = number_run(&self.tail, 0, TAIL_BYTES_MAX / 4 / 3 * 3) {
            let tokens = loaded.bpe.count(&self.tail[..end]) as u64;
            return self.drop_counted(end, tokens);
        }
        let Some(long) = loaded.long_if_ready() else {
            self.needs_long = true;
            return self.bound_pending();
        };
        let (cut, tokens) = cut_anyway(loaded, &self.tail, long);
        self.exact = false;
        self.drop_counted(cut, tokens);
    }

    fn drop_counted(&mut self, bytes: usize, tokens: u64) {
        self.settled += tokens;
        self.tail.drain(..bytes);
        if self.tail.len() < SETTLE_BYTES && self.tail.capacity() > KEPT_BYTES {
            self.tail.shrink_to(SETTLE_BYTES * 2);
        }
        self.scanned = last_character(&self.tail);
        self.needs_long = false;
    }

    /// Gives up on text that waits for too long.
    fn bound_pending(&mut self) {
        if self.tail.len() > PENDING_BYTES_MAX {
            let tokens = estimate::tokens_of(self.tail.as_bytes());
            self.exact = false;
            self.drop_counted(self.tail.len(), tokens);
        }
    }

    fn count_tail(&mut self) -> Option<u64> {
        let loaded = self.vocabulary.loaded()?;
        if self.partial.len == 0 {
            return count_loaded(loaded, &self.tail, || loaded.long_if_ready());
        }
        let len = self.tail.len();
        self.tail.push(char::REPLACEMENT_CHARACTER);
        let tokens = count_loaded(loaded, &self.tail, || loaded.long_if_ready());
        self.tail.truncate(len);
        tokens
    }
}

fn last_character(text: &str) -> usize {
    text.char_indices().next_back().map_or(0, |(at, _)| at)
}
