//! A JSON array that is written element by element, as Gemini's `streamGenerateContent` does
//! without `alt=sse`.
//!
//! A frame is one element that is an object or an array, with the punctuation in front of it; it is
//! complete with its closing bracket, so that it need not wait for the comma that comes with the
//! next one. Scalars, which no server streams, ride along with what follows them. A document
//! that is a single object (an error answer) is one frame.

use std::ops::Range;

use memchr::memchr2;

use super::frame::FrameError;
use super::json;

/// Finds the ends of elements across chunks.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    state: State,
    /// How many brackets are open.
    depth: usize,
    /// How many are open between two elements: one in an array, none in a single object.
    base: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Outside,
    String,
    Escape,
    Done,
}

impl Boundaries {
    /// The offset behind the last complete element of `chunk`.
    pub(super) fn last(&mut self, chunk: &[u8]) -> (Option<usize>, Option<FrameError>) {
        let mut end = None;
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            at += 1;
            match self.state {
                State::Start => match byte {
                    b'[' | b'{' => {
                        self.base = usize::from(byte == b'[');
                        self.depth = 1;
                        self.state = State::Outside;
                    }
                    b' ' | b'\t' | b'\n' | b'\r' => {}
                    _ => {
                        let reason = "neither a JSON array nor an object";
                        return (end, Some(FrameError::Malformed { reason }));
                    }
                },
                State::Outside => match byte {
                    b'"' => self.state = State::String,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth <= self.base {
                            end = Some(at);
                        }
                        if self.depth == 0 {
                            self.state = State::Done;
                        }
                    }
                    _ => {}
                },
                State::String => match memchr2(b'"', b'\\', &chunk[at - 1..]) {
                    Some(skip) => {
                        at += skip;
                        let quote = chunk[at - 1] == b'"';
                        self.state = if quote { State::Outside } else { State::Escape };
                    }
                    None => at = chunk.len(),
                },
                State::Escape => self.state = State::String,
                State::Done => return (Some(chunk.len()), None),
            }
        }
        (end, None)
    }
}

/// One element of a run of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Where it is in the run, without the punctuation around it.
    pub span: Range<usize>,
    /// Its bytes. Not validated.
    pub raw: &'a [u8],
}

/// The elements of a run of frames, which starts at the beginning of the stream or behind an
/// element.
pub fn elements(frames: &[u8]) -> Elements<'_> {
    let mut at = skip_space(frames, 0);
    // Only the array's own bracket can come first: between two elements there is a comma.
    if frames.get(at) == Some(&b'[') {
        at += 1;
    }
    Elements { frames, at }
}

/// Iterator over the [`Element`]s of a run of frames. Stops at what is not JSON.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    frames: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let mut start = skip_space(self.frames, self.at);
        while self.frames.get(start) == Some(&b',') {
            start = skip_space(self.frames, start + 1);
        }
        let end = json::value_end(self.frames, start)?;
        self.at = end;
        Some(Element { span: start..end, raw: &self.frames[start..end] })
    }
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|b| !json::is_space(*b)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests;
