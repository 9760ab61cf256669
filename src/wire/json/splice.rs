//! Replacing spans of a body without copying the rest of it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// Segments held without an allocation: two edits and what is around them.
const SEGMENTS_INLINE: usize = 5;

/// Bytes to write instead of a span of a body. An empty span inserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced.
    pub span: Range<usize>,
    /// What replaces it.
    pub with: Bytes,
}

/// A body in pieces, most of them slices of the original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    pieces: SmallVec<[Bytes; SEGMENTS_INLINE]>,
}

/// Applies edits to a body. The edits are left in the order of their spans.
///
/// Insertions at one place keep their order. A span that reaches into the one before it, or beyond
/// the body, is taken from where that one ends, or up to where the body ends.
pub fn splice(body: &Bytes, edits: &mut [Edit]) -> Segments {
    edits.sort_by_key(|edit| edit.span.start);
    let mut segments = Segments::default();
    let mut at = 0;
    for edit in edits.iter() {
        let start = edit.span.start.clamp(at, body.len());
        segments.push(body.slice(at..start));
        segments.push(edit.with.clone());
        at = edit.span.end.clamp(start, body.len());
    }
    segments.push(body.slice(at..));
    segments
}

impl Segments {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// The pieces, in order, none of them empty.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The same, one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.pieces.iter()
    }

    /// How long the body is.
    pub fn len_bytes(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// The body in one piece. Copies unless it is one already.
    pub fn into_bytes(self) -> Bytes {
        match &self.pieces[..] {
            [] => Bytes::new(),
            [piece] => piece.clone(),
            pieces => {
                let mut body = BytesMut::with_capacity(self.len_bytes());
                for piece in pieces {
                    body.extend_from_slice(piece);
                }
                body.freeze()
            }
        }
    }
}

impl From<Bytes> for Segments {
    fn from(body: Bytes) -> Self {
        let mut segments = Self::default();
        segments.push(body);
        segments
    }
}

impl<'a> IntoIterator for &'a Segments {
    type Item = &'a Bytes;
    type IntoIter = std::slice::Iter<'a, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Segments {
    type Item = Bytes;
    type IntoIter = smallvec::IntoIter<[Bytes; SEGMENTS_INLINE]>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter()
    }
}

#[cfg(test)]
mod tests;
