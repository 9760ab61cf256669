//! The text of strings: escapes and surrogates.

use std::borrow::Cow;

use memchr::memchr;

use super::scan::plain_bytes;

/// Appends the text of a string's contents (without its quotes) to `out`.
///
/// A character outside the basic plane is escaped as two surrogates, and a model that emits its
/// bytes as two tokens has them in two deltas. `carry` keeps the first half for the next call; one
/// that never gets its second half becomes U+FFFD, as does every other half and what is not UTF-8.
pub fn unescape(contents: &[u8], carry: &mut Option<u16>, out: &mut String) {
    let mut rest = contents;
    while !rest.is_empty() {
        let plain = memchr(b'\\', rest).unwrap_or(rest.len());
        let (text, escaped) = rest.split_at(plain);
        if !text.is_empty() {
            replace(carry, out);
            push_lossy(text, out);
        }
        rest = match *escaped {
            [] => break,
            [_, b'u', a, b, c, d, ..] => {
                match hex([a, b, c, d]) {
                    Some(unit) => push_unit(unit, carry, out),
                    None => push_char(char::REPLACEMENT_CHARACTER, carry, out),
                }
                &escaped[6..]
            }
            [_, byte, ..] => {
                push_char(short_escape(byte), carry, out);
                &escaped[2..]
            }
            [_] => {
                push_char(char::REPLACEMENT_CHARACTER, carry, out);
                break;
            }
        };
    }
}

/// The text of a string's contents. Borrowed unless something in it has to change.
pub(super) fn decode(contents: &[u8]) -> Cow<'_, str> {
    if memchr(b'\\', contents).is_none() {
        return String::from_utf8_lossy(contents);
    }
    let mut out = String::with_capacity(contents.len());
    let mut carry = None;
    unescape(contents, &mut carry, &mut out);
    replace(&mut carry, &mut out);
    Cow::Owned(out)
}

/// Appends `text` as the contents of a string, without quotes.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len());
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_bytes(rest));
        out.extend_from_slice(plain);
        let Some((&byte, behind)) = special.split_first() else { return };
        match byte {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                out.extend_from_slice(b"\\u00");
                out.extend([byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]));
            }
        }
        rest = behind;
    }
}

/// Appends `text` as a string, in quotes.
pub fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// Writes U+FFFD for half a surrogate pair whose other half did not come.
fn replace(carry: &mut Option<u16>, out: &mut String) {
    if carry.take().is_some() {
        out.push(char::REPLACEMENT_CHARACTER);
    }
}

fn push_char(char: char, carry: &mut Option<u16>, out: &mut String) {
    replace(carry, out);
    out.push(char);
}

fn push_unit(unit: u16, carry: &mut Option<u16>, out: &mut String) {
    match (unit, *carry) {
        (0xDC00..=0xDFFF, Some(high)) => {
            *carry = None;
            let pair = char::decode_utf16([high, unit]).next().and_then(Result::ok);
            out.push(pair.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        (0xD800..=0xDBFF, _) => {
            replace(carry, out);
            *carry = Some(unit);
        }
        _ => {
            let char = char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER);
            push_char(char, carry, out);
        }
    }
}

fn push_lossy(text: &[u8], out: &mut String) {
    match std::str::from_utf8(text) {
        Ok(text) => out.push_str(text),
        Err(_) => out.push_str(&String::from_utf8_lossy(text)),
    }
}

fn hex(digits: [u8; 4]) -> Option<u16> {
    digits
        .iter()
        .try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
}

fn short_escape(byte: u8) -> char {
    match byte {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests;
