//! Frames that are alike but for their text.
//!
//! Nearly every frame of a stream repeats the one before it, byte for byte, up to the text that it
//! carries and again behind it. What such a frame says is known without reading its JSON: with the
//! same bytes before and behind, and nothing in between that could end a string, the text is all
//! that is new. Comparing costs a twentieth of reading.
//!
//! A frame serves as a pattern if a text was all that it said: nothing that a reader remembers
//! depends on it, so one more of its kind changes nothing either. Whatever says more makes the
//! pattern void. Those who observe a stream have a pattern, and those who translate it.

use std::ops::Range;

use crate::wire::json;

/// Patterns in a row that fitted no frame, after which no more are made: some providers pad each
/// frame with something random.
const MISSES_MAX: u8 = 8;

/// How long a string is that is text and escapes of single characters: what stands for half a character has
/// to be read.
pub(super) fn text_end(contents: &[u8]) -> usize {
    let mut end = json::plain_bytes(contents);
    while let [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] = contents[end..]
    {
        end += 2;
        end += json::plain_bytes(&contents[end..]);
    }
    end
}

/// The text of such a string, for which there is room where it has escapes.
pub(super) fn plain<'t>(contents: &'t [u8], room: &'t mut String) -> Option<&'t str> {
    let text = std::str::from_utf8(contents).ok()?;
    if memchr::memchr(b'\\', contents).is_none() {
        return Some(text);
    }
    room.clear();
    json::unescape(contents, &mut None, room);
    Some(room)
}

/// The pattern, and what its text is a part of.
#[derive(Debug, Default)]
pub(super) struct Alike<T> {
    /// From the frame's first byte to the text. Empty while there is no pattern.
    before: Vec<u8>,
    /// From the quote behind the text to the frame's last byte.
    behind: Vec<u8>,
    channel: T,
    /// The last text that had escapes, without them.
    plain: String,
    misses: u8,
}

impl<T: Copy> Alike<T> {
    /// The channel and the text of the first of some frames, and where it ends, if it is alike.
    pub fn read<'f>(&'f mut self, frames: &'f [u8]) -> Option<(T, &'f str, usize)> {
        if self.before.is_empty() {
            return None;
        }
        let rest = frames.strip_prefix(&self.before[..])?;
        let end = text_end(rest);
        let (contents, behind) = rest.split_at(end);
        if contents.is_empty() || !behind.starts_with(&self.behind) {
            return None;
        }
        let text = plain(contents, &mut self.plain)?;
        self.misses = 0;
        Some((self.channel, text, self.before.len() + end + self.behind.len()))
    }

    /// Takes a frame as the pattern, in which all that is said is the text at `text`; but not one
    /// whose text has escapes, which says no more than the frames before it.
    pub fn learn(&mut self, frame: &[u8], text: Range<usize>, channel: T) {
        if json::plain_bytes(&frame[text.start..]) != text.len() {
            return;
        }
        self.forget();
        if self.misses < MISSES_MAX {
            self.misses += 1;
            self.before.extend_from_slice(&frame[..text.start]);
            self.behind.extend_from_slice(&frame[text.end..]);
            self.channel = channel;
        }
    }

    /// From here on nothing is alike.
    pub fn forget(&mut self) {
        self.before.clear();
        self.behind.clear();
    }
}
