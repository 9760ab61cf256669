//! The validating scanner: RFC 8259 grammar, UTF-8, bounded depth; no allocation, no recursion.
//!
//! Most bytes of a request are in a few long strings (messages, images in base64), so strings are
//! skipped in blocks: a block without quote, backslash and control character, the usual case, costs
//! a few vector instructions.

use std::ops::Range;

use super::value::Value;
use super::word;
use super::{JsonError, is_space};

/// The deepest nesting that can be allowed.
pub const DEPTH_MAX: u32 = 1024;

/// Bytes looked at in one step inside a long string.
const BLOCK_BYTES: usize = 64;

/// Bounds on a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep objects and arrays may be nested; the outermost one is at depth 1. Clamped to
    /// [`DEPTH_MAX`].
    pub depth_max: u32,
}

/// Validates a whole document of any kind.
pub fn validate(document: &[u8], limits: Limits) -> Result<Value<'_>, JsonError> {
    let span = scan(document, limits, &mut Ignore)?;
    Ok(Value::new(&document[span.clone()], span.start))
}

/// Hears of the members of the outermost object while it is scanned.
pub(super) trait Outermost {
    /// A key, where its string is (quotes included). `false` refuses it.
    fn key(&mut self, span: Range<usize>, spelling: Spelling) -> bool;
    /// The value of the last key.
    fn value(&mut self, start: usize, end: usize);
}

/// How a string is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As it is.
    Plain,
    /// With escapes.
    Escaped,
}

struct Ignore;

impl Outermost for Ignore {
    fn key(&mut self, _: Range<usize>, _: Spelling) -> bool {
        true
    }

    fn value(&mut self, _: usize, _: usize) {}
}

/// Scans a whole document and returns the span of its value.
pub(super) fn scan(
    document: &[u8],
    limits: Limits,
    outermost: &mut impl Outermost,
) -> Result<Range<usize>, JsonError> {
    let fail = |Fault { at, reason }| JsonError::at(document, at, reason);
    if let Err(error) = simdutf8::compat::from_utf8(document) {
        return Err(fail(Fault { at: error.valid_up_to(), reason: "invalid UTF-8" }));
    }
    let mut scanner = Scanner {
        bytes: document,
        at: 0,
        open: Open::default(),
        depth_max: limits.depth_max.min(DEPTH_MAX),
    };
    scanner.space();
    let start = scanner.at;
    if start == document.len() {
        return Err(fail(Fault { at: start, reason: "the document is empty" }));
    }
    let end = scanner.document(outermost).map_err(fail)?;
    scanner.space();
    if scanner.at < document.len() {
        return Err(fail(Fault { at: scanner.at, reason: "text after the end of the document" }));
    }
    Ok(start..end)
}

struct Fault {
    at: usize,
    reason: &'static str,
}

type Scanned<T = ()> = Result<T, Fault>;

/// The open objects and arrays, one bit each.
#[derive(Default)]
struct Open {
    depth: u32,
    objects: [u64; DEPTH_MAX as usize / 64],
}

impl Open {
    fn push(&mut self, object: bool) {
        let (word, bit) = (self.depth as usize / 64, self.depth % 64);
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
    }

    fn innermost_is_object(&self) -> bool {
        let index = self.depth - 1;
        self.objects[index as usize / 64] >> (index % 64) & 1 == 1
    }

    fn outermost_is_object(&self) -> bool {
        self.objects[0] & 1 == 1
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    open: Open,
    depth_max: u32,
}

impl Scanner<'_> {
    /// Scans one value and everything in it; returns where it ends.
    fn document(&mut self, outermost: &mut impl Outermost) -> Scanned<usize> {
        let mut member_start = 0;
        loop {
            if self.open.depth == 1 {
                member_start = self.at;
            }
            if self.value(outermost)? {
                continue;
            }
            loop {
                if self.open.depth == 0 {
                    return Ok(self.at);
                }
                if self.open.depth == 1 && self.open.outermost_is_object() {
                    outermost.value(member_start, self.at);
                }
                if self.next_value(outermost)? {
                    break;
                }
            }
        }
    }

    /// Scans a scalar, an empty container, or the opening of a container up to its first value.
    /// True when a value comes next.
    fn value(&mut self, outermost: &mut impl Outermost) -> Scanned<bool> {
        match self.peek() {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{') => {
                self.descend(true)?;
                if self.peek() != Some(b'}') {
                    self.key(outermost)?;
                    return Ok(true);
                }
                self.ascend();
            }
            Some(b'[') => {
                self.descend(false)?;
                if self.peek() != Some(b']') {
                    return Ok(true);
                }
                self.ascend();
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal(b"true")?,
            Some(b'f') => self.literal(b"false")?,
            Some(b'n') => self.literal(b"null")?,
            _ => return self.fail("expected a value"),
        }
        Ok(false)
    }

    /// Behind a value inside a container: a comma and what precedes the next value (true), or the
    /// closing bracket (false).
    fn next_value(&mut self, outermost: &mut impl Outermost) -> Scanned<bool> {
        self.space();
        let in_object = self.open.innermost_is_object();
        match (self.peek(), in_object) {
            (Some(b','), true) => {
                self.at += 1;
                self.space();
                self.key(outermost)?;
                Ok(true)
            }
            (Some(b','), false) => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            (Some(b'}'), true) | (Some(b']'), false) => {
                self.ascend();
                Ok(false)
            }
            (_, true) => self.fail("expected ',' or '}'"),
            (_, false) => self.fail("expected ',' or ']'"),
        }
    }

    fn descend(&mut self, object: bool) -> Scanned {
        if self.open.depth == self.depth_max {
            return self.fail("nested too deep");
        }
        self.open.push(object);
        self.at += 1;
        self.space();
        Ok(())
    }

    fn ascend(&mut self) {
        self.open.depth -= 1;
        self.at += 1;
    }

    /// A key, its colon and the space behind it.
    fn key(&mut self, outermost: &mut impl Outermost) -> Scanned {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return self.fail("expected a key in double quotes");
        }
        let spelling = self.string()?;
        if self.open.depth == 1 && !outermost.key(start..self.at, spelling) {
            return Err(Fault { at: start, reason: "too many members" });
        }
        self.space();
        if self.peek() != Some(b':') {
            return self.fail("expected ':' after the key");
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn string(&mut self) -> Scanned<Spelling> {
        let mut spelling = Spelling::Plain;
        self.at += 1;
        loop {
            self.at += plain_bytes(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(spelling);
                }
                Some(b'\\') => {
                    spelling = Spelling::Escaped;
                    self.escape()?;
                }
                Some(_) => {
                    return self.fail("control character in a string; it must be escaped");
                }
                None => return self.fail("the string does not end"),
            }
        }
    }

    fn escape(&mut self) -> Scanned {
        let length = match self.bytes[self.at + 1..] {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return self.fail("invalid escape in a string"),
        };
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Scanned {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.fail("a number must not start with 0");
        }
        Ok(())
    }

    fn digits(&mut self) -> Scanned {
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            return self.fail("invalid number");
        }
        self.at += digits;
        Ok(())
    }

    fn literal(&mut self, text: &[u8]) -> Scanned {
        if !self.bytes[self.at..].starts_with(text) {
            return self.fail("expected a value");
        }
        self.at += text.len();
        Ok(())
    }

    fn space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// A fault here, which at the end of the document is that it ends.
    fn fail<T>(&self, reason: &'static str) -> Scanned<T> {
        let ended = self.at >= self.bytes.len();
        Err(Fault {
            at: self.at,
            reason: if ended { "the document ends too early" } else { reason },
        })
    }
}

/// How many bytes of a string come before the first quote, backslash or control character.
pub fn plain_bytes(bytes: &[u8]) -> usize {
    if let Some(near) = word::near_special(bytes) {
        return near;
    }
    let mut rest = bytes;
    // Without an early exit inside a block, the compiler turns the block into vector instructions.
    let special = |block: &[u8; BLOCK_BYTES]| {
        block.iter().fold(false, |found, &byte| found | word::is_special(byte))
    };
    while let Some((block, behind)) = rest.split_first_chunk()
        && !special(block)
    {
        rest = behind;
    }
    while let Some((word, behind)) = rest.split_first_chunk() {
        if let Some(found) = word::special(*word) {
            return bytes.len() - rest.len() + found;
        }
        rest = behind;
    }
    let plain = rest.iter().position(|&byte| word::is_special(byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + plain
}

#[cfg(test)]
mod tests;
