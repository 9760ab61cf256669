//! What goes back, before any transport: a whole body, or frames of a stream.

use super::digits::Hex;
use super::problem::Problem;
use super::script::{Finish, Script, Step, Usage};

/// An answer.
pub(super) enum Reply {
    Whole(Whole),
    Stream(Stream),
    /// The connection becomes a WebSocket session.
    Realtime {
        model: String,
    },
}

/// Where the identifier and the time of a request stand in an answer that depends on nothing else of
/// it but its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Varying {
    /// Where the sixteen hexadecimal digits of the identifier begin.
    pub(super) id: usize,
    /// Where the seconds since 1970 begin: ten digits.
    pub(super) created: usize,
}

impl Varying {
    /// Writes them into a body in which they have stood before.
    pub(super) fn write(self, body: &mut [u8], id: u64, created: u64) {
        let mut put = |at: usize, text: &str| {
            if let Some(place) = body.get_mut(at..at + text.len()) {
                place.copy_from_slice(text.as_bytes());
            }
        };
        put(self.id, Hex::of(id).as_str());
        put(self.created, itoa::Buffer::new().format(created));
    }
}

/// An answer with a body of known length.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// The usage it reports, when a model wrote it.
    pub(super) usage: Option<Usage>,
    /// What differs when the same is asked again, where that is known.
    pub(super) varying: Option<Varying>,
}

impl Whole {
    /// A JSON body.
    pub(super) fn json(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            headers: Vec::new(),
            body: body.into(),
            usage: None,
            varying: None,
        }
    }

    pub(super) fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }
}

impl From<Whole> for Reply {
    fn from(whole: Whole) -> Self {
        Self::Whole(whole)
    }
}

/// A streamed answer.
pub(super) struct Stream {
    pub(super) content_type: &'static str,
    pub(super) script: Script,
    pub(super) encoder: Box<dyn Encode>,
}

/// Turns steps into the frames of one format.
pub(super) trait Encode: Send + Sync {
    /// What comes before the first token.
    fn open(&mut self, frames: &mut Frames);
    /// One token.
    fn step(&mut self, choice: u32, step: Step<'_>, frames: &mut Frames);
    /// What comes after the last token.
    fn close(&mut self, finish: Finish, usage: &Usage, frames: &mut Frames);
    /// An error in the middle of the stream.
    fn error(&mut self, problem: &Problem, frames: &mut Frames);
    /// Puts checksums and lengths right after a frame was changed.
    fn seal(&self, _: &mut Vec<u8>) {}
    /// Breaks a checksum. Formats without any get broken JSON.
    fn corrupt(&self, frame: &mut Vec<u8>) {
        break_json(frame);
    }
}

/// Breaks the JSON in a frame, at its end.
pub(super) fn break_json(frame: &mut [u8]) {
    if let Some(brace) = frame.iter().rposition(|byte| *byte == b'}') {
        frame[brace] = b'{';
    }
}

/// Makes a frame as long as this with white space inside its JSON object.
pub(super) fn stretch(frame: &mut Vec<u8>, bytes: usize) {
    if let Some(brace) = frame.iter().rposition(|byte| *byte == b'}') {
        let missing = bytes.saturating_sub(frame.len());
        frame.splice(brace..brace, std::iter::repeat_n(b' ', missing));
    }
}

/// Frames, each of which goes out in a write of its own.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes of the frames; encoders append here and then call [`Frames::end`].
    pub(super) bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Frames {
    /// Ends the current frame.
    pub(super) fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    pub(super) fn put(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A whole frame.
    pub(super) fn frame(&mut self, text: &str) {
        self.put(text);
        self.end();
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// A decimal number.
    pub(super) fn number(&mut self, number: u64) {
        self.put(itoa::Buffer::new().format(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_ends() {
        let mut frames = Frames::default();
        frames.frame("one");
        frames.put("t");
        frames.frame("wo");
        frames.number(1_204);
        frames.number(0);
        frames.end();
        let list: Vec<&[u8]> = frames.iter().collect();
        assert_eq!(list, [b"one".as_slice(), b"two", b"12040"]);
        frames.clear();
        assert_eq!(frames.iter().count(), 0);
    }
}
