//! Reading a prompt: how many tokens it has, and which part of it a provider's prompt cache holds.
//!
//! A text that contains `[cache:NAME]` ends a cacheable prefix, and so does an explicit mark of the
//! format (`cache_control`, `cachePoint`). The first request with a prefix writes it, later ones read
//! it. Tokens are estimated as a quarter of the bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::script::Prompt;

/// The most prefixes that are remembered.
const PREFIXES_MAX: usize = 4096;
/// How many bytes at either end of a text tell it from others.
const SALT_BYTES: usize = 512;
/// What an image counts, as with `OpenAI`'s low detail.
const IMAGE_TOKENS: u64 = 85;
/// What the frame around a message counts.
const MESSAGE_TOKENS: u64 = 4;

/// The prefixes that were seen.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<VecDeque<u64>>);

impl Cache {
    /// Whether it was there; it is afterwards.
    fn touch(&self, key: u64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&key) {
            return true;
        }
        if seen.len() >= PREFIXES_MAX {
            seen.pop_front();
        }
        seen.push_back(key);
        false
    }
}

/// A prompt while it is read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    tokens: u64,
    salt: u64,
    /// The prefix that may be cached: its key and its tokens.
    prefix: Option<(u64, u64)>,
}

fn mix(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Reading {
    pub(super) fn message(&mut self) {
        self.tokens += MESSAGE_TOKENS;
    }

    pub(super) fn text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.tokens += (bytes.len() as u64).div_ceil(4);
        let head = &bytes[..bytes.len().min(SALT_BYTES)];
        let tail = &bytes[bytes.len().saturating_sub(SALT_BYTES)..];
        self.salt = mix(mix(self.salt.rotate_left(7), head), tail).wrapping_add(bytes.len() as u64);
        // Only the head is searched: a prompt of many megabytes is not scanned for a marker.
        let head = String::from_utf8_lossy(head);
        if let Some((_, rest)) = head.split_once("[cache:")
            && let Some((name, _)) = rest.split_once(']')
        {
            self.prefix = Some((mix(1, name.as_bytes()), self.tokens));
        }
    }

    pub(super) fn image(&mut self) {
        self.tokens += IMAGE_TOKENS;
        self.salt = self.salt.rotate_left(9) ^ 0x696d_6167;
    }

    /// Ends a cacheable prefix here.
    pub(super) fn mark(&mut self) {
        self.prefix = Some((self.salt, self.tokens));
    }

    pub(super) fn finish(self, cache: &Cache) -> Prompt {
        let mut prompt = Prompt { tokens: self.tokens, salt: self.salt, ..Prompt::default() };
        if let Some((key, tokens)) = self.prefix {
            if cache.touch(key) {
                prompt.cached = tokens;
            } else {
                prompt.cache_written = tokens;
            }
        }
        prompt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cache: &Cache, texts: &[&str]) -> Prompt {
        let mut reading = Reading::default();
        for text in texts {
            reading.message();
            reading.text(text);
        }
        reading.finish(cache)
    }

    #[test]
    fn a_prefix_is_written_once_and_read_later() {
        let cache = Cache::default();
        let first = read(&cache, &["[cache:a] a long system prompt", "hello"]);
        let second = read(&cache, &["[cache:a] a long system prompt", "bye"]);
        assert_eq!((first.cached, first.cache_written > 0), (0, true));
        assert_eq!((second.cached, second.cache_written), (first.cache_written, 0));
        assert_ne!(first.salt, second.salt);
        assert!(second.cached < second.tokens);
    }

    #[test]
    fn order_and_length_matter() {
        let cache = Cache::default();
        assert_ne!(read(&cache, &["a", "b"]).salt, read(&cache, &["b", "a"]).salt);
        let long = "a".repeat(4096);
        assert_ne!(read(&cache, &[&long]).salt, read(&cache, &[&long[1..]]).salt);
    }
}
