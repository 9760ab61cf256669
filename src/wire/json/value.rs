//! A value in a document, read without a tree.
//!
//! Nothing here assumes a valid document: what is not JSON ends an iteration or yields `None`.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use super::end::{bounded_end, string_end, word_end};
use super::is_space;
use super::tail::{self, LastKey};
use super::text::{self, unescape};
use super::word;

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A value in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
    start: usize,
}

/// The value of a document that has not been validated, such as a frame of a stream.
pub fn lazy(document: &[u8]) -> Value<'_> {
    let start = document.iter().position(|&b| !is_space(b)).unwrap_or(document.len());
    let end = document.iter().rposition(|&b| !is_space(b)).map_or(start, |last| last + 1);
    Value { raw: &document[start..end], start }
}

/// The value at a path of keys and array indices in a document that has not been validated.
pub fn find<'a>(document: &'a [u8], path: &[&str]) -> Option<Value<'a>> {
    descend(lazy(document), path)
}

/// Descends without looking for the end of anything but the last value: what is walked through
/// ends with its bracket.
pub(super) fn descend<'a>(value: Value<'a>, path: &[&str]) -> Option<Value<'a>> {
    let Some((last, steps)) = path.split_last() else { return Some(value) };
    let mut cursor = value.cursor();
    for step in steps {
        cursor.seek(step)?;
        cursor = cursor.enter();
    }
    cursor.seek(last)?;
    cursor.value()
}

impl<'a> Value<'a> {
    pub(super) fn new(raw: &'a [u8], start: usize) -> Self {
        Self { raw, start }
    }

    /// Its bytes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Where it is in the document.
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// What it is. `None` only in a document that has not been validated.
    pub fn kind(&self) -> Option<Kind> {
        match self.raw.first()? {
            b'n' => Some(Kind::Null),
            b't' | b'f' => Some(Kind::Bool),
            b'-' | b'0'..=b'9' => Some(Kind::Number),
            b'"' => Some(Kind::String),
            b'[' => Some(Kind::Array),
            b'{' => Some(Kind::Object),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.raw == b"null"
    }

    /// Its value, if it is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.raw {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// Its value, if it is a whole number from 0 that fits.
    pub fn as_u64(&self) -> Option<u64> {
        if self.raw.is_empty() {
            return None;
        }
        // Digit by digit, at a fraction of what checking the text and parsing it costs.
        self.raw.iter().try_fold(0_u64, |value, byte| {
            let digit = byte.wrapping_sub(b'0');
            (digit < 10).then_some(())?;
            value.checked_mul(10)?.checked_add(digit.into())
        })
    }

    /// Its value, if it is a number that fits.
    pub fn as_f64(&self) -> Option<f64> {
        self.number()?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// Its text, if it is a string. Borrowed unless there are escapes in it. Half a surrogate pair
    /// becomes U+FFFD.
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        Some(text::decode(self.contents()?))
    }

    /// What is between its quotes, escapes and all, if it is a string: the input of
    /// [`unescape`].
    pub fn contents(&self) -> Option<&'a [u8]> {
        self.raw.strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// Appends its text to `out`, if it is a string. See [`unescape`] for the carry.
    pub fn unescape(&self, carry: &mut Option<u16>, out: &mut String) {
        if let Some(contents) = self.contents() {
            unescape(contents, carry, out);
        }
    }

    /// The value of a member, if it is an object: the first with that key.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let mut cursor = self.cursor_over(Kind::Object);
        cursor.seek(key)?;
        cursor.value()
    }

    /// The same for the last with that key, as parsers that build a tree have it. Where it is near the
    /// end, what comes before it is not read.
    pub fn get_last(&self, key: &LastKey) -> Option<Value<'a>> {
        tail::last(*self, key, Cursor::value).or_else(|| self.last_of_all(key))
    }

    fn last_of_all(&self, key: &LastKey) -> Option<Value<'a>> {
        let key = std::str::from_utf8(key.key()).ok()?;
        self.members().filter(|member| member.is(key)).last().map(|member| member.value)
    }

    /// The value at a path of keys and array indices below it.
    pub fn find(&self, path: &[&str]) -> Option<Value<'a>> {
        descend(*self, path)
    }

    /// Its members, in order. None if it is not an object.
    pub fn members(&self) -> Members<'a> {
        Members { cursor: self.cursor_over(Kind::Object) }
    }

    /// The members that are no objects, of it and of the objects that are its members, in order and in
    /// one pass. None if it is not an object.
    pub fn leaves(&self) -> Leaves<'a> {
        Leaves { cursor: self.cursor_over(Kind::Object), within: None }
    }

    /// Whether it is an object or array with nothing in it. Looks no further than its first value.
    pub fn is_empty(&self) -> bool {
        match self.raw.split_first() {
            Some((b'{' | b'[', inside)) => {
                let first = inside.iter().find(|&&byte| !is_space(byte));
                matches!(first, Some(b'}' | b']'))
            }
            _ => false,
        }
    }

    /// Its elements, in order. None if it is not an array.
    pub fn items(&self) -> Items<'a> {
        Items { cursor: self.cursor_over(Kind::Array) }
    }

    fn cursor(&self) -> Cursor<'a> {
        Cursor { raw: self.raw, start: self.start, at: 1 }
    }

    fn cursor_over(&self, kind: Kind) -> Cursor<'a> {
        let mut cursor = self.cursor();
        if self.kind() != Some(kind) {
            cursor.raw = &[];
        }
        cursor
    }

    fn number(&self) -> Option<&'a str> {
        if self.kind()? == Kind::Number { std::str::from_utf8(self.raw).ok() } else { None }
    }
}

/// A member of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// What is between the quotes of the key. Escapes are left as they are; compare with
    /// [`is`](Self::is) where somebody might escape what needs no escape.
    pub key: &'a [u8],
    /// The value.
    pub value: Value<'a>,
    pub(super) key_start: usize,
}

impl Member<'_> {
    /// Whether this is its key, in whatever spelling.
    pub fn is(&self, key: &str) -> bool {
        key_is(self.key, key)
    }

    /// Where key and value are in the document, from the key's quote to the end of the value.
    pub fn span(&self) -> Range<usize> {
        self.key_start..self.value.span().end
    }
}

fn key_is(contents: &[u8], key: &str) -> bool {
    // An escape is longer than what it stands for.
    contents == key.as_bytes() || contents.len() > key.len() && decoded_is(contents, key)
}

/// Whether that is the key with its escapes decoded.
fn decoded_is(contents: &[u8], key: &str) -> bool {
    memchr(b'\\', contents).is_some() && text::decode(contents) == key
}

/// A key of an object.
#[derive(Debug, PartialEq, Eq)]
struct Key<'a> {
    /// What is between its quotes.
    contents: &'a [u8],
    /// Where it starts in the document, quote included.
    start: usize,
}

/// Walks over the values of a container.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    raw: &'a [u8],
    /// Where `raw` starts in the document.
    start: usize,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor within a container, before whatever is at this place in its bytes.
    pub(super) fn over(container: Value<'a>, at: usize) -> Self {
        Self { raw: container.raw, start: container.start, at }
    }

    /// What `read` makes of the value of the member here, if the members from it on end with the last
    /// byte. It leaves the cursor behind the value.
    pub(super) fn leads_to_end<T>(
        mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        self.key()?;
        let value = read(&mut self)?;
        while self.key().is_some() {
            self.value()?;
        }
        (&self.raw[self.at.min(self.raw.len())..] == b"}").then_some(value)
    }

    /// A cursor over the container that starts here.
    fn enter(self) -> Self {
        let raw = self.raw.get(self.at..).unwrap_or_default();
        Self { raw, start: self.start + self.at, at: 1 }
    }

    /// Moves to the value of a member or element.
    fn seek(&mut self, step: &str) -> Option<()> {
        match self.raw.first()? {
            b'{' => {
                while !key_is(self.key()?.contents, step) {
                    self.value()?;
                }
            }
            b'[' => {
                let index: usize = step.parse().ok()?;
                self.skip(b',')?;
                for _ in 0..index {
                    self.value()?;
                    self.skip(b',')?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The next key of an object; moves to its value.
    #[inline]
    fn key(&mut self) -> Option<Key<'a>> {
        match self.usual_key() {
            None if self.raw.get(self.at) != Some(&b'}') => self.any_key(),
            key => key,
        }
    }

    /// A key as most servers write it: short, without a quote in it, and no white space around it. Stays
    /// where it is if the key is none of that.
    #[inline]
    fn usual_key(&mut self) -> Option<Key<'a>> {
        let from = match self.raw.get(self.at..)? {
            [b',', b'"', ..] => self.at + 1,
            [b'"', ..] => self.at,
            _ => return None,
        };
        let inside = self.raw.get(from + 1..)?;
        let (contents, behind) = inside.split_at_checked(word::near_quote(inside)?)?;
        if contents.last() == Some(&b'\\') {
            return None;
        }
        match behind {
            [b'"', b':', next, ..] if !is_space(*next) => {}
            _ => return None,
        }
        self.at = from + 1 + contents.len() + 2;
        Some(Key { contents, start: self.start + from })
    }

    /// A key as anybody writes it.
    #[inline(never)]
    fn any_key(&mut self) -> Option<Key<'a>> {
        if self.skip(b',')? != b'"' {
            return None;
        }
        let key = self.take(string_end)?;
        if self.space()? != b':' {
            return None;
        }
        self.at += 1;
        self.space()?;
        Some(Key { contents: key.contents()?, start: key.start })
    }

    /// Skips white space and one separator; returns what comes then.
    fn skip(&mut self, separator: u8) -> Option<u8> {
        let mut byte = self.space()?;
        if byte == separator {
            self.at += 1;
            byte = self.space()?;
        }
        Some(byte)
    }

    fn space(&mut self) -> Option<u8> {
        loop {
            match *self.raw.get(self.at)? {
                byte if is_space(byte) => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    #[inline]
    pub(super) fn value(&mut self) -> Option<Value<'a>> {
        match self.raw.get(self.at)? {
            b'"' | b'{' | b'[' => self.take(bounded_end),
            _ => self.take(word_end),
        }
    }

    /// The value here, whose end is known to `end`.
    #[inline]
    fn take(&mut self, end: impl FnOnce(&[u8], usize) -> Option<usize>) -> Option<Value<'a>> {
        let from = self.at;
        // What does not end ends the iteration, too.
        self.at = self.raw.len();
        let end = end(self.raw, from)?;
        self.at = end;
        Some(Value { raw: &self.raw[from..end], start: self.start + from })
    }
}

/// Iterator over the members of an object.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let key = self.cursor.key()?;
        let value = self.cursor.value()?;
        Some(Member { key: key.contents, key_start: key.start, value })
    }
}

/// A member of an object, or of an object that is a member of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// The key of the object that it is in; empty for the outer one.
    pub within: &'a [u8],
    /// Its own key, as [`Member::key`].
    pub key: &'a [u8],
    /// The value.
    pub value: Value<'a>,
}

/// Iterator over the [`Leaf`]s of an object.
#[derive(Clone, Debug)]
pub struct Leaves<'a> {
    cursor: Cursor<'a>,
    /// The key of the inner object that is walked over.
    within: Option<&'a [u8]>,
}

impl<'a> Iterator for Leaves<'a> {
    type Item = Leaf<'a>;

    #[inline]
    fn next(&mut self) -> Option<Leaf<'a>> {
        loop {
            let Some(key) = self.cursor.key() else {
                // Behind the inner object the outer one goes on.
                self.within.take()?;
                if self.cursor.space()? != b'}' {
                    return None;
                }
                self.cursor.at += 1;
                continue;
            };
            let key = key.contents;
            if self.within.is_none() && self.cursor.space()? == b'{' {
                self.within = Some(key);
                self.cursor.at += 1;
                continue;
            }
            let value = self.cursor.value()?;
            return Some(Leaf { within: self.within.unwrap_or_default(), key, value });
        }
    }
}

/// Iterator over the elements of an array.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.cursor.skip(b',')?;
        self.cursor.value()
    }
}

#[cfg(test)]
mod tests;
