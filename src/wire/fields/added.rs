//! The fields that are put into a head: their lines, as they go out. Few of them are ever looked for.

use super::{COLON, END, Field, Name, Names, Sought, is_text, line};

/// Room for the text of what is put into a head on its way, so that it need not grow.
const ROOM_BYTES: usize = 512;

/// Lines of fields that were put in.
#[derive(Clone, Default)]
pub(super) struct Added {
    text: Vec<u8>,
    names: Names,
    /// So many bytes of them go out before all other fields.
    first_bytes: usize,
}

impl Added {
    /// The names in them.
    pub(super) fn names(&self) -> Names {
        self.names
    }

    /// How long they are.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds a line, with a value that was checked.
    #[inline(never)]
    pub(super) fn add(&mut self, name: Sought<'_>, value: &[u8]) {
        self.begin(name);
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(END);
    }

    /// Adds a line with what `write` appends to a buffer that has others before it. False if that is no
    /// text: then it is left out.
    #[inline]
    pub(super) fn add_written(&mut self, name: Name, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let (names, begin) = (self.names, self.text.len());
        self.begin(name.into());
        let value_at = self.text.len();
        write(&mut self.text);
        if self.text.get(value_at..).is_some_and(is_text) {
            self.text.extend_from_slice(END);
            return true;
        }
        self.text.truncate(begin);
        self.names = names;
        false
    }

    /// Adds a line that goes out before all other fields.
    pub(super) fn add_first(&mut self, name: Name, value: &[u8]) {
        let others = std::mem::take(self);
        self.add(name.into(), value);
        self.first_bytes = self.text.len();
        self.names = self.names.and(others.names);
        // What was the first is one of the others.
        let (first, last) = others.parts();
        self.text.extend_from_slice(last);
        self.text.extend_from_slice(first);
    }

    fn begin(&mut self, name: Sought<'_>) {
        if self.text.capacity() == 0 {
            self.text.reserve(ROOM_BYTES);
        }
        if name.known == Name::Other {
            self.text.extend_from_slice(name.text.as_bytes());
            self.text.extend_from_slice(COLON);
        } else {
            self.text.extend_from_slice(name.known.beginning().as_bytes());
        }
        self.names.add(name.known);
    }

    /// The line that goes out before all other fields, and those behind them.
    fn parts(&self) -> (&[u8], &[u8]) {
        self.text.split_at(self.first_bytes)
    }

    /// The same as fields.
    pub(super) fn fields(
        &self,
    ) -> (impl Iterator<Item = Field<'_>>, impl Iterator<Item = Field<'_>>) {
        let (first, last) = self.parts();
        (fields(first), fields(last))
    }

    /// The first value of a name that weir knows.
    pub(super) fn value(&self, name: Name) -> Option<&[u8]> {
        let (mut text, beginning) = (&self.text[..], name.beginning().as_bytes());
        loop {
            let end = memchr::memchr(END[0], text)?;
            if let Some(value) = text[..end].strip_prefix(beginning) {
                return Some(value);
            }
            text = &text[end + END.len()..];
        }
    }

    /// Writes those that have none of these names, around what `between` writes.
    pub(super) fn write_without(
        &self,
        names: Names,
        to: &mut Vec<u8>,
        between: impl FnOnce(&mut Vec<u8>),
    ) {
        let (first, last) = self.parts();
        let all = !names.meets(self.names);
        let write = |text: &[u8], to: &mut Vec<u8>| {
            if all {
                return to.extend_from_slice(text);
            }
            for Field { name, value, .. } in fields(text).filter(|field| !names.has(field.known)) {
                line(to, name, value);
            }
        };
        write(first, to);
        between(to);
        write(last, to);
    }

    /// Keeps some of them only.
    #[cold]
    pub(super) fn keep(&mut self, keeps: impl Fn(Field<'_>) -> bool) {
        let mut kept = Self { text: Vec::with_capacity(self.text.len()), ..Self::default() };
        let (first, last) = self.fields();
        for field in first.filter(|field| keeps(*field)) {
            kept.copy(field);
        }
        kept.first_bytes = kept.text.len();
        for field in last.filter(|field| keeps(*field)) {
            kept.copy(field);
        }
        *self = kept;
    }

    fn copy(&mut self, field: Field<'_>) {
        line(&mut self.text, field.name, field.value);
        self.names.add(field.known);
    }
}

/// The fields of lines.
fn fields(mut text: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        // None has these bytes in its name or value.
        let (name, rest) = text.split_at(memchr::memchr(COLON[0], text)?);
        let end = memchr::memchr(END[0], rest)?;
        text = &rest[end + END.len()..];
        Some(Field { known: Name::of(name), name, value: &rest[COLON.len()..end] })
    })
}
