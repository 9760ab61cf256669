//! Heads that are known.
//!
//! A client's requests have the same head each time, and so have the answers of a server, but for a
//! length, a date, an identifier. Comparing a head with the one before it costs a tenth of parsing it.
//!
//! A head is known if it has the bytes of an earlier one, from its first to the empty line, except
//! within the values of [`VARIABLE`] fields, which are as long and are text. Parsed, it would yield the
//! same lines at the same places: nothing that ends or begins one differs.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::super::fields::{Fields, Name, Names, is_text};
use super::super::lately::Lately;

/// Longest head that is remembered.
const BYTES_MAX: usize = 4 * 1024;
/// Fields of which each message has its own value. What a first line or another field means does not
/// depend on them.
const VARIABLE: Names = Names::of(&[Name::ContentLength, Name::Date, Name::XRequestId]);

/// The heads that came lately, with what their first lines say.
#[derive(Debug)]
pub(super) struct Heads<L>(Lately<Known<L>>);

#[derive(Debug)]
struct Known<L> {
    /// With a copy of the head.
    fields: Fields,
    /// Where the values are that may be others.
    values: SmallVec<[Range<usize>; 4]>,
    first_line: L,
}

impl<L: Clone> Heads<L> {
    pub(super) const fn new() -> Self {
        Self(Lately::new())
    }

    /// Takes a head that is known out of what was read.
    #[inline]
    pub(super) fn take(&mut self, read: &mut Bytes) -> Option<(L, Fields)> {
        self.0.find(|known| {
            let bytes = known.length(read)?;
            Some((known.first_line.clone(), known.fields.over(read.split_to(bytes))))
        })
    }

    /// Remembers a head. What its first line says must not keep the memory in which it came.
    pub(super) fn add(&mut self, first_line: impl FnOnce() -> Option<L>, fields: &Fields) {
        let received = fields.received();
        if received.len() > BYTES_MAX {
            return;
        }
        self.0.add(|| {
            let fields = fields.over(Bytes::copy_from_slice(received));
            let values = fields.values_at(VARIABLE).collect();
            Some(Known { fields, values, first_line: first_line()? })
        });
    }
}

impl<L> Known<L> {
    /// How long the head is with which this begins, if it is like this one.
    fn length(&self, read: &[u8]) -> Option<usize> {
        let known = self.fields.received();
        let head = read.get(..known.len())?;
        let mut at = 0;
        for Range { start, end } in &self.values {
            let value = &head[*start..*end];
            let same = head[at..*start] == known[at..*start];
            // One that began or ended with white space would be a shorter one.
            if !same || !is_text(value) || value.trim_ascii().len() < value.len() {
                return None;
            }
            at = *end;
        }
        (head[at..] == known[at..]).then_some(head.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET /a HTTP/1.1\r\nhost: weir\r\ncontent-length: 10\r\nX-B: c\r\n\r\n";

    fn fields(head: &str) -> Fields {
        let mut slots = [httparse::EMPTY_HEADER; 8];
        let mut request = httparse::Request::new(&mut slots);
        let head = Bytes::copy_from_slice(head.as_bytes());
        let parsed = request.parse(&head).expect("a head");
        assert!(parsed.is_complete());
        Fields::parsed(head.clone(), request.headers).expect("fields")
    }

    #[test]
    fn a_head_like_the_last() {
        let mut heads = Heads::new();
        assert!(heads.take(&mut Bytes::from(HEAD)).is_none());
        heads.add(|| Some(1), &fields(HEAD));
        for length in ["10", "99", "1a", "-1"] {
            let head = HEAD.replace("10", length);
            let mut read = Bytes::from(head.clone() + "behind");
            let (first_line, known) = heads.take(&mut read).expect("known");
            assert_eq!((first_line, &known), (1, &fields(&head)));
            assert_eq!(known.text(Name::ContentLength), Some(length));
            assert_eq!(read, "behind");
        }
    }

    #[test]
    fn heads_that_are_not_alike() {
        let mut heads = Heads::new();
        heads.add(|| Some(1), &fields(HEAD));
        for (from, to) in [
            ("10", "1"),
            ("10", "100"),
            ("10", " 1"),
            ("10", "1 "),
            ("10", "\r\n"),
            ("10", "1\u{7f}"),
            ("X-B", "X-C"),
            ("X-B", "x-B"),
            ("/a", "/b"),
            ("\r\n\r\n", "\r\n"),
            ("\r\n\r\n", "\r\nx"),
            ("host", "hosts"),
        ] {
            let head = HEAD.replacen(from, to, 1);
            assert!(heads.take(&mut Bytes::from(head.clone())).is_none(), "{head:?}");
        }
        for cut in 0..HEAD.len() {
            assert!(heads.take(&mut Bytes::from(&HEAD[..cut])).is_none());
        }
    }
}
