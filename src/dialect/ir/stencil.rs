//! Frames that are written again and again with another text in them.
//!
//! Nearly every frame of a stream is the one before it with another text. What stands around the
//! text is written once, and copied from then on.

use crate::wire::json;

/// What stands around the text of a frame.
#[derive(Debug, Default)]
pub struct Stencil {
    /// Up to the text. Empty until it is cut.
    before: Vec<u8>,
    behind: Vec<u8>,
}

impl Stencil {
    /// The next frame is another one.
    pub fn forget(&mut self) {
        self.before.clear();
        self.behind.clear();
    }

    /// Writes the frame with this text. `frame` writes all of it, and is asked only for the first
    /// one; whatever it writes but the text, a JSON string, has to be the same for every text.
    pub fn write(&mut self, text: &str, out: &mut Vec<u8>, frame: impl Fn(&str, &mut Vec<u8>)) {
        if self.before.is_empty() {
            self.cut(frame);
        }
        out.extend_from_slice(&self.before);
        json::escape(text, out);
        out.extend_from_slice(&self.behind);
    }

    /// Two texts differ first where the one ends and the other begins.
    fn cut(&mut self, frame: impl Fn(&str, &mut Vec<u8>)) {
        frame("", &mut self.before);
        frame("x", &mut self.behind);
        let text = self.before.iter().zip(&self.behind).take_while(|(a, b)| a == b).count();
        self.behind.clear();
        self.behind.extend_from_slice(&self.before[text..]);
        self.before.truncate(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_alone_is_new() {
        let mut stencil = Stencil::default();
        let frame = |text: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(b"data: {\"a\":\"\",\"x\":\"x\",\"text\":");
            json::quote(text, out);
            out.extend_from_slice(b",\"b\":\"\"}\n\n");
        };
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for text in ["x", "", "né\n", "\"", ",\"b\":"] {
            stencil.write(text, &mut one, frame);
            frame(text, &mut other);
        }
        assert_eq!(String::from_utf8(one), String::from_utf8(other));
        stencil.forget();
        let mut third = Vec::new();
        stencil.write("y", &mut third, |text, out| out.extend_from_slice(text.as_bytes()));
        assert_eq!(third, b"y");
    }
}
