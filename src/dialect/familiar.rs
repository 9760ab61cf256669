//! Frames that are familiar from other streams.
//!
//! A provider begins each stream with the same frames, but for an identifier, a time and a text, and some
//! fill up every frame with something random. What such a frame says is known without reading its JSON:
//! with the same bytes around values that its reader takes for a text or does not look at, and nothing in
//! them that could end a string, they are all that is new. Comparing costs a tenth of reading.
//!
//! A frame becomes familiar if a text was all that it said, or nothing but which model answers: nothing
//! else that a reader remembers depends on it. That is found out by reading it once more as if it were the
//! first of its stream. [`Alike`](super::alike::Alike) is the same within one stream, for less.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::alike::text_end;
use super::observe::{Facts, Run, Spoken};
use super::openai::chat::{Decoder, UNREAD};
use super::text::{NoText, Texts};
use crate::wire::json::{self, Kind, Value};
use crate::wire::lately::Lately;

/// Longest frame that is remembered.
const BYTES_MAX: usize = 2 * 1024;

thread_local! {
    /// Those of the chat completions that this thread has observed.
    static CHATS: RefCell<Lately<Familiar>> = const { RefCell::new(Lately::new()) };
}

/// What is between two pieces of a frame that stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// The text of which all is said.
    Text,
    /// A string that nobody reads.
    String,
    /// A number that nobody reads.
    Number,
}

/// A frame without the values that each has for itself.
#[derive(Debug)]
struct Familiar {
    stays: Vec<u8>,
    /// How much of that comes before each gap.
    gaps: SmallVec<[(usize, Gap); 4]>,
    /// Of the text, where there is one.
    channel: u32,
    model: Option<Arc<str>>,
    /// As its reader counts them.
    choices: u64,
}

/// What a frame says that is familiar.
#[derive(Debug)]
pub(super) struct Known {
    /// How long it is.
    pub bytes: usize,
    /// Where its text is, with its channel.
    pub text: Option<(u32, Range<usize>)>,
    /// The model that it names, if that was asked for.
    pub model: Option<Arc<str>>,
    /// One more than the highest index of a choice in it.
    pub choices: u64,
}

/// What the first of some frames of a chat says, if it is familiar.
pub(super) fn chat(frames: &[u8], wants_model: bool) -> Option<Known> {
    CHATS.with_borrow_mut(|all| all.find(|one| one.read(frames, wants_model)))
}

/// Remembers a frame of a chat with this data, if it is one to remember.
pub(super) fn learn_chat(frame: &[u8], data: &[u8]) {
    if frame.len() <= BYTES_MAX {
        CHATS.with_borrow_mut(|all| all.add(|| Familiar::of(frame, data)));
    }
}

impl Familiar {
    fn of(frame: &[u8], data: &[u8]) -> Option<Self> {
        // Data of several lines is elsewhere.
        let at = data.as_ptr().addr().checked_sub(frame.as_ptr().addr())?;
        if at + data.len() > frame.len() {
            return None;
        }
        let (mut facts, mut texts) = (Facts::default(), Texts::default());
        let (mut decoder, mut nobody) = (Decoder::new(false), NoText);
        let mut run = Run::new(&mut facts, &mut texts, &mut nobody);
        let spoken = run.frame(0..frame.len(), |frame| decoder.event(None, data, frame));
        let observed = run.observed(frame.len());
        let mut gaps: SmallVec<[(Range<usize>, Gap); 4]> = unread(data, at).collect();
        let channel = match spoken {
            Spoken::Text { channel, place } => {
                let start = place.start.checked_sub(frame.as_ptr().addr())?;
                let text = start..start + place.len();
                // One with escapes says no more than one without.
                if json::plain_bytes(frame.get(start..)?) != text.len() {
                    return None;
                }
                gaps.push((text, Gap::Text));
                channel
            }
            Spoken::Nothing if !observed.content => 0,
            Spoken::Nothing | Spoken::More => return None,
        };
        let choices = decoder.choices()?;
        gaps.sort_by_key(|(place, _)| place.start);
        let (mut stays, mut before, mut from) = (Vec::new(), SmallVec::new(), 0);
        for (place, gap) in gaps {
            stays.extend_from_slice(frame.get(from..place.start)?);
            before.push((stays.len(), gap));
            from = place.end;
        }
        stays.extend_from_slice(&frame[from..]);
        let model = facts.take_model().map(Arc::from);
        facts.is_nothing().then_some(Self { stays, gaps: before, channel, model, choices })
    }

    fn read(&self, frames: &[u8], wants_model: bool) -> Option<Known> {
        let (mut rest, mut from, mut text) = (frames, 0, None);
        for (to, gap) in &self.gaps {
            rest = rest.strip_prefix(&self.stays[from..*to])?;
            let length = match gap {
                Gap::String => json::plain_bytes(rest),
                Gap::Number => match rest.iter().position(|byte| !byte.is_ascii_digit())? {
                    0 => return None,
                    digits => digits,
                },
                Gap::Text => {
                    let begin = frames.len() - rest.len();
                    let length = text_end(rest);
                    if length == 0 {
                        return None;
                    }
                    text = Some((self.channel, begin..begin + length));
                    length
                }
            };
            (rest, from) = (&rest[length..], *to);
        }
        rest = rest.strip_prefix(&self.stays[from..])?;
        Some(Known {
            bytes: frames.len() - rest.len(),
            text,
            model: self.model.clone().filter(|_| wants_model),
            choices: self.choices,
        })
    }
}

/// Where the values are of members that a chat's reader does not look at, in data that begins at `at`.
fn unread(data: &[u8], at: usize) -> impl Iterator<Item = (Range<usize>, Gap)> {
    let gap = move |value: Value<'_>| {
        let (start, raw) = (at + value.span().start, value.raw());
        match value.kind()? {
            Kind::Number if raw.iter().all(u8::is_ascii_digit) => {
                Some((start..start + raw.len(), Gap::Number))
            }
            Kind::String => {
                let contents = value.contents()?;
                let plain = json::plain_bytes(contents) == contents.len();
                plain.then_some((start + 1..start + 1 + contents.len(), Gap::String))
            }
            _ => None,
        }
    };
    let members = json::lazy(data).members();
    members.filter(|member| UNREAD.contains(&member.key)).filter_map(move |it| gap(it.value))
}

#[cfg(test)]
mod tests;
