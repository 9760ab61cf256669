//! Blocks of formats that do not number them: a block begins where the kind of text changes.

use super::super::usage::count;
use super::{Event, Opening, Sink, Text};
use crate::wire::json::{self, Value};

/// The most choices that a stream may have.
const CHOICES_MAX: usize = 128;

/// What a block is a run of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Text.
    Text,
    /// A refusal.
    Refusal,
    /// A thought.
    Thought,
    /// The call with this number.
    Call(u64),
}

/// Numbers the blocks of a stream.
#[derive(Debug, Default)]
pub struct Flow {
    choices: Vec<Choice>,
    scratch: String,
}

#[derive(Debug, Default)]
struct Choice {
    open: Option<Run>,
    /// The number of the next block.
    next: u32,
    /// Half a surrogate pair whose other half comes with the next piece.
    carry: Option<u16>,
}

impl Flow {
    fn choice(&mut self, choice: u32) -> &mut Choice {
        let at = (choice as usize).min(CHOICES_MAX - 1);
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, Choice::default);
        }
        &mut self.choices[at]
    }

    /// Whether this run is open.
    pub fn is_open(&mut self, choice: u32, run: Run) -> bool {
        self.choice(choice).open == Some(run)
    }

    /// Opens a block, unless it is the one that is open. Closes the one before it.
    pub fn enter(&mut self, choice: u32, run: Run, opening: Opening<'_>, sink: &mut dyn Sink) {
        if self.is_open(choice, run) {
            return;
        }
        self.leave(choice, sink);
        let state = self.choice(choice);
        state.open = Some(run);
        let block = state.next;
        state.next += 1;
        sink.event(Event::Open { choice, block, opening });
    }

    /// A block that comes whole: opens and closes it.
    pub fn whole(&mut self, choice: u32, opening: Opening<'_>, sink: &mut dyn Sink) {
        self.enter(choice, Run::Call(u64::MAX), opening, sink);
        self.leave(choice, sink);
    }

    /// Closes the open block.
    pub fn leave(&mut self, choice: u32, sink: &mut dyn Sink) {
        let state = self.choice(choice);
        if state.open.take().is_none() {
            return;
        }
        let (block, carry) = (state.next - 1, state.carry.take());
        if carry.is_some() {
            // The other half never came.
            sink.event(Event::Piece { choice, block, text: Text::Borrowed("\u{FFFD}") });
        }
        sink.event(Event::Close { choice, block });
    }

    /// The stream is complete. Closes what an upstream has left open.
    pub fn end(&mut self, sink: &mut dyn Sink) {
        for choice in 0..self.choices.len() as u32 {
            self.leave(choice, sink);
        }
        sink.event(Event::End);
    }

    /// The number of the open block, or of the last one.
    pub fn block(&mut self, choice: u32) -> u32 {
        self.choice(choice).next.saturating_sub(1)
    }

    /// Text of the open block, as a JSON string.
    pub fn push(&mut self, choice: u32, value: Value<'_>, sink: &mut dyn Sink) {
        let Some(contents) = value.contents().filter(|contents| !contents.is_empty()) else {
            return;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let state = self.choice(choice);
        let block = state.next.saturating_sub(1);
        let plain = state.carry.is_none() && memchr::memchr(b'\\', contents).is_none();
        match std::str::from_utf8(contents) {
            Ok(text) if plain => {
                sink.event(Event::Piece { choice, block, text: Text::Borrowed(text) });
            }
            _ => {
                json::unescape(contents, &mut state.carry, &mut scratch);
                if !scratch.is_empty() {
                    sink.event(Event::Piece { choice, block, text: Text::Borrowed(&scratch) });
                }
            }
        }
        self.scratch = scratch;
    }

    /// Text of the open block, as it is.
    pub fn push_text(&mut self, choice: u32, text: &str, sink: &mut dyn Sink) {
        if !text.is_empty() {
            let block = self.block(choice);
            sink.event(Event::Piece { choice, block, text: Text::Borrowed(text) });
        }
    }

    /// The number of a choice, as formats write it.
    pub fn number(value: Option<Value<'_>>) -> u32 {
        let number = value.and_then(count).unwrap_or(0);
        u32::try_from(number).unwrap_or(u32::MAX).min(CHOICES_MAX as u32 - 1)
    }
}
