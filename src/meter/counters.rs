//! One counter for each text of an answer.

use super::{Counter, Tally, Vocabulary};
use crate::dialect::TextSink;

/// Texts of one answer that are counted apart: choices times kinds of content.
const CHANNELS_MAX: usize = 32;

/// Counts the texts of one answer: every choice, and in it the answer, the reasoning and the arguments
/// of each tool call, is a text of its own, a *channel*.
///
/// Beyond a bound, further channels are counted as one text, and the sum is marked as inexact.
#[derive(Debug)]
pub struct Counters {
    vocabulary: Vocabulary,
    channels: Vec<(u32, Counter)>,
    others: Option<Counter>,
    bytes: u64,
}

impl TextSink for Counters {
    fn text(&mut self, channel: u32, text: &str) {
        Counters::text(self, channel, text);
    }
}

impl Counters {
    /// No text yet. Asks for the vocabulary if it is not loaded.
    pub fn new(vocabulary: Vocabulary) -> Self {
        super::warm(vocabulary);
        Self { vocabulary, channels: Vec::new(), others: None, bytes: 0 }
    }

    /// Adds text to a channel.
    pub fn text(&mut self, channel: u32, text: &str) {
        if text.is_empty() {
            return;
        }
        self.bytes += text.len() as u64;
        let known = self.channels.iter().position(|&(id, _)| id == channel);
        let counter = match known {
            Some(at) => &mut self.channels[at].1,
            None if self.channels.len() < CHANNELS_MAX => {
                self.channels.push((channel, Counter::new(self.vocabulary)));
                let last = self.channels.len() - 1;
                &mut self.channels[last].1
            }
            None => self.others.get_or_insert_with(|| Counter::new(self.vocabulary)),
        };
        counter.push(text);
    }

    /// Bytes of all channels so far. There are at least as many as tokens.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it counts with.
    pub fn vocabulary(&self) -> Vocabulary {
        self.vocabulary
    }

    /// Tokens of all channels so far.
    pub fn total(&mut self) -> Tally {
        let mut sum = Tally { tokens: 0, exact: self.others.is_none() };
        for counter in self.all() {
            sum.add(counter.total());
        }
        sum
    }

    /// The same, but waits for the vocabulary if it is still being loaded.
    pub async fn finish(&mut self) -> Tally {
        let mut sum = Tally { tokens: 0, exact: self.others.is_none() };
        for counter in self.all() {
            sum.add(counter.finish().await);
        }
        sum
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.channels.iter_mut().map(|(_, counter)| counter).chain(&mut self.others)
    }
}
