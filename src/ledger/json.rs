//! JSON lines, written field by field.
//!
//! Text that clients chose is cut at a bound and escaped so that a line stays one line and a
//! terminal that shows it executes nothing: control characters of both ranges (C0 and C1) and the
//! two Unicode line separators are escaped, although JSON demands only the first.

use std::io::Write as _;
use std::net::IpAddr;

use crate::clock::Duration;
use crate::telemetry::prefix;

/// Longest text that a client may bring into a line, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;

/// The name of a field as it stands before its value. A name is one of ours and needs no escaping.
macro_rules! name {
    ($name:literal) => {
        concat!('"', $name, "\":")
    };
}
pub(super) use name;

/// One JSON object being written. Every field ends with a comma; the end takes the place of the last.
pub struct Line<'a> {
    out: &'a mut Vec<u8>,
}

#[expect(
    clippy::inline_always,
    reason = "a name whose length is known is stored with a few instructions, and copied by a call otherwise"
)]
impl<'a> Line<'a> {
    /// Opens an object.
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out }
    }

    /// The same where it was opened before.
    pub fn on(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Some fields of it, which end with a comma.
    pub fn part(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.out);
    }

    /// Closes it.
    pub fn close(self) {
        match self.out.last_mut() {
            Some(last) if *last == b',' => *last = b'}',
            _ => self.out.push(b'}'),
        }
    }

    /// A value that `write` writes.
    #[inline(always)]
    pub fn value(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(name.as_bytes());
        write(self.out);
        self.out.push(b',');
    }

    /// A text, cut at [`TEXT_BYTES_MAX`].
    #[inline(always)]
    pub fn text(&mut self, name: &'static str, text: impl AsRef<str>) {
        self.value(name, |out| string(text.as_ref(), TEXT_BYTES_MAX, out));
    }

    /// A text that may be absent.
    #[inline(always)]
    pub fn text_if(&mut self, name: &'static str, text: Option<impl AsRef<str>>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// A number.
    #[inline(always)]
    pub fn number(&mut self, name: &'static str, number: u64) {
        self.value(name, |out| digits(number, out));
    }

    /// Bytes of ours that need no escaping.
    #[inline(always)]
    pub fn ascii(&mut self, name: &'static str, text: &[u8]) {
        self.value(name, |out| {
            out.push(b'"');
            out.extend_from_slice(text);
            out.push(b'"');
        });
    }

    /// A word of ours that needs no escaping.
    #[inline(always)]
    pub fn word(&mut self, name: &'static str, word: &'static str) {
        self.ascii(name, word.as_bytes());
    }

    /// A word that may be absent.
    #[inline(always)]
    pub fn word_if(&mut self, name: &'static str, word: Option<&'static str>) {
        if let Some(word) = word {
            self.word(name, word);
        }
    }

    /// An address.
    pub fn address(&mut self, name: &'static str, address: IpAddr) {
        self.value(name, |out| {
            out.push(b'"');
            match address {
                // Digit by digit, at a tenth of what formatting costs.
                IpAddr::V4(address) => {
                    for (at, part) in address.octets().into_iter().enumerate() {
                        if at > 0 {
                            out.push(b'.');
                        }
                        digits(part.into(), out);
                    }
                }
                // Writing to a vector cannot fail.
                IpAddr::V6(address) => write!(out, "{address}").unwrap_or_default(),
            }
            out.push(b'"');
        });
    }

    /// A number that is left out when it is zero.
    #[inline(always)]
    pub fn number_if(&mut self, name: &'static str, number: u64) {
        if number > 0 {
            self.number(name, number);
        }
    }

    /// Milliseconds with three decimals.
    #[inline(always)]
    pub fn ms(&mut self, name: &'static str, duration: Duration) {
        self.value(name, |out| ms(duration, out));
    }

    /// A duration that may be absent.
    #[inline(always)]
    pub fn ms_if(&mut self, name: &'static str, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.ms(name, duration);
        }
    }

    /// A mark that is left out when it does not hold.
    #[inline(always)]
    pub fn flag_if(&mut self, name: &'static str, holds: bool) {
        if holds {
            self.value(name, |out| out.extend_from_slice(b"true"));
        }
    }
}

// Not repeated for each of a line's numbers: a request runs through enough code.
#[inline(never)]
fn digits(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[inline(never)]
fn ms(duration: Duration, out: &mut Vec<u8>) {
    let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    digits(us / 1000, out);
    let fraction = us % 1000;
    if fraction > 0 {
        let places = [fraction / 100, fraction / 10 % 10, fraction % 10];
        let places = places.map(|digit| b'0' + digit as u8);
        let kept = 3 - places.iter().rev().take_while(|digit| **digit == b'0').count();
        out.push(b'.');
        out.extend_from_slice(&places[..kept]);
    }
}

/// A JSON string of at most `bytes_max` bytes of `text`; a cut one ends with an ellipsis.
pub fn string(text: &str, bytes_max: usize, out: &mut Vec<u8>) {
    let kept = prefix(text, bytes_max);
    out.reserve(kept.len() + 2);
    out.push(b'"');
    if is_plain(kept.as_bytes()) {
        out.extend_from_slice(kept.as_bytes());
    } else {
        escaped(kept, out);
    }
    if kept.len() < text.len() {
        out.extend_from_slice("…".as_bytes());
    }
    out.push(b'"');
}

/// Whether a text is printable ASCII that needs no escape, as nearly every text is: names. Looked at in
/// pieces of one size, each of which is a few instructions; the last may cover some of the one before.
fn is_plain(text: &[u8]) -> bool {
    if let Some(last) = text.last_chunk::<16>() {
        let (chunks, _) = text.as_chunks::<16>();
        return !(chunks.iter().any(is_special) || is_special(last));
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        return !(is_special(first) || is_special(last));
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        return !(is_special(first) || is_special(last));
    }
    !text.iter().any(|&byte| is_special(&[byte]))
}

fn is_special<const N: usize>(text: &[u8; N]) -> bool {
    // Each on its own, for that is one comparison of all bytes.
    let any = |is: fn(u8) -> bool| text.iter().fold(false, |any, byte| any | is(*byte));
    // Bytes that are not ASCII are below zero.
    any(|byte| byte.cast_signed() < 0x20)
        | any(|byte| byte == b'"')
        | any(|byte| byte == b'\\')
        | any(|byte| byte == 0x7f)
}

fn escaped(text: &str, out: &mut Vec<u8>) {
    let mut plain_from = 0;
    for (at, c) in text.char_indices() {
        if !needs_escape(c) {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain_from..at]);
        plain_from = at + c.len_utf8();
        escape(c, out);
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
}

fn needs_escape(c: char) -> bool {
    c == '"' || c == '\\' || c.is_control() || c == '\u{2028}' || c == '\u{2029}'
}

fn escape(c: char, out: &mut Vec<u8>) {
    match c {
        '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c => {
            // Everything that is escaped this way lies in the basic plane: one code unit.
            let digit = |shift: u32| b"0123456789abcdef"[(c as usize >> shift) & 0xf];
            out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str, bytes_max: usize) -> String {
        let mut out = Vec::new();
        string(text, bytes_max, &mut out);
        String::from_utf8(out).expect("valid UTF-8")
    }

    proptest! {
        #[test]
        fn a_string_reads_back_as_it_was(text in any::<String>()) {
            let written = written(&text, usize::MAX);
            prop_assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), text);
        }

        #[test]
        fn plain_is_what_needs_no_escape(text in "[ -~]{0,20}[\\x00-\\x20\"\\\\\\x7f-\u{a0}é]?[ -~]{0,20}") {
            let plain = text.chars().all(|c| c.is_ascii() && !needs_escape(c));
            prop_assert_eq!(is_plain(text.as_bytes()), plain);
        }

        #[test]
        fn a_string_is_harmless_in_a_terminal(text in "[\\x00-\\xa0\\u{2028}\\u{2029}]*") {
            let written = written(&text, usize::MAX);
            let harmful = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
            prop_assert!(!written.contains(harmful));
            prop_assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), text);
        }

        #[test]
        fn a_cut_string_is_a_prefix(text in any::<String>(), bytes_max in 0_usize..64) {
            let read: String = serde_json::from_str(&written(&text, bytes_max)).expect("JSON");
            let kept = if text.len() > bytes_max {
                read.strip_suffix('…').expect("an ellipsis")
            } else {
                &read
            };
            prop_assert!(text.starts_with(kept) && kept.len() <= bytes_max);
        }

        #[test]
        fn milliseconds_read_back(us in 0_u64..10_000_000_000) {
            let mut out = Vec::new();
            let mut line = Line::open(&mut out);
            line.ms(name!("duration_ms"), Duration::from_micros(us));
            line.close();
            let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            let ms = value["duration_ms"].as_f64().expect("a number");
            prop_assert!((ms * 1000.0 - us as f64).abs() < 0.01);
        }
    }

    #[test]
    fn addresses_read_as_they_are_written() {
        for text in ["0.0.0.0", "127.0.0.1", "255.10.200.9", "::1", "2001:db8::a:1"] {
            let mut out = Vec::new();
            let mut line = Line::open(&mut out);
            line.address(name!("a"), text.parse().expect("an address"));
            line.close();
            assert_eq!(String::from_utf8_lossy(&out), format!("{{\"a\":\"{text}\"}}"));
        }
    }

    #[test]
    fn milliseconds_are_short() {
        for (us, expected) in [(0, "0"), (5, "0.005"), (1500, "1.5"), (250_000, "250")] {
            let mut out = Vec::new();
            ms(Duration::from_micros(us), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn an_object_may_be_empty() {
        let mut out = Vec::new();
        Line::open(&mut out).close();
        assert_eq!(out, b"{}");
    }
}
