//! What an answer is drawn from.
//!
//! The formats count differently where in the text a citation stands: characters or bytes, of one
//! block or of all the text of a choice, or a block as a whole. [`Citation`] keeps what was read;
//! [`Said`] finds the place, of which a [`Cited`] knows all of these.

use std::ops::Range;

use super::{Content, Text};

/// The most citations that wait for the end of their block in a stream.
pub const CITATIONS_MAX: usize = 1024;

/// The most text in which citations are looked for. An answer that is longer loses them.
const TEXT_BYTES_MAX: usize = 512 << 10;

/// A citation, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation<'a> {
    /// What of the text is drawn from it.
    pub at: At,
    /// Where it comes from.
    pub origin: Origin<'a>,
    /// What the source is called.
    pub title: Option<Text<'a>>,
    /// What the source says.
    pub quote: Option<Text<'a>>,
}

/// A place in the text of a choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// The block in which the span is counted; `None`: all the text of the choice.
    pub block: Option<u32>,
    /// The part of it; `None`: the whole.
    pub span: Option<Span>,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// In characters.
    Chars(Range<u64>),
    /// In bytes of UTF-8.
    Bytes(Range<u64>),
}

/// Where a citation comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// An address.
    Web(Text<'a>),
    /// A file of the provider, by its id.
    File(Text<'a>),
    /// A document or a result of a tool, by the name that it has in the conversation.
    Named(Text<'a>),
}

impl Origin<'_> {
    /// The address, id or name.
    pub fn id(&self) -> &str {
        match self {
            Origin::Web(id) | Origin::File(id) | Origin::Named(id) => id,
        }
    }

    /// The address, if it is one.
    pub fn url(&self) -> Option<&str> {
        match self {
            Origin::Web(url) => Some(url),
            Origin::File(_) | Origin::Named(_) => None,
        }
    }
}

impl Citation<'_> {
    /// The same, borrowed from nothing.
    pub fn into_owned(self) -> Citation<'static> {
        let own = |text: Text<'_>| Text::Owned(text.into_owned());
        Citation {
            at: self.at,
            origin: match self.origin {
                Origin::Web(id) => Origin::Web(own(id)),
                Origin::File(id) => Origin::File(own(id)),
                Origin::Named(id) => Origin::Named(own(id)),
            },
            title: self.title.map(own),
            quote: self.quote.map(own),
        }
    }
}

/// A citation whose place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cited<'c> {
    /// What it says.
    pub citation: &'c Citation<'c>,
    /// The block that its place is in.
    pub block: u32,
    /// The text of that block.
    within: &'c str,
    /// The text of the choice in front of that block.
    before: &'c str,
    /// The place, in bytes of the block.
    start: usize,
    end: usize,
}

impl<'c> Cited<'c> {
    /// The text that is drawn from the source.
    pub fn text(&self) -> &'c str {
        &self.within[self.start..self.end]
    }

    /// Whether that is all of the block.
    pub fn is_whole(&self) -> bool {
        self.start == 0 && self.end == self.within.len()
    }

    /// The place in its block, in characters.
    pub fn chars(&self) -> Range<u64> {
        let start = chars(&self.within[..self.start]);
        start..start + chars(self.text())
    }

    /// The place in all the text of the choice, in characters.
    pub fn chars_of_all(&self) -> Range<u64> {
        let (before, Range { start, end }) = (chars(self.before), self.chars());
        before + start..before + end
    }

    /// The place in all the text of the choice, in bytes.
    pub fn bytes_of_all(&self) -> Range<u64> {
        let before = self.before.len();
        (before + self.start) as u64..(before + self.end) as u64
    }
}

/// The text of a choice so far.
#[derive(Clone, Debug, Default)]
pub struct Said {
    text: String,
    /// The number of each block of text, and where in the text it begins.
    blocks: Vec<(u32, usize)>,
    /// There was more than is kept.
    too_long: bool,
}

impl Said {
    /// The text of these blocks.
    pub fn of<'b>(contents: impl Iterator<Item = &'b Content<'b>>) -> Self {
        let mut said = Self::default();
        for (at, content) in (0..).zip(contents) {
            if let Content::Text(text) = content {
                said.open(at);
                said.push(text);
            }
        }
        said
    }

    /// A block of text begins.
    pub fn open(&mut self, block: u32) {
        if !self.too_long {
            self.blocks.push((block, self.text.len()));
        }
    }

    /// More text of the block that began last.
    pub fn push(&mut self, text: &str) {
        if self.text.len() + text.len() > TEXT_BYTES_MAX {
            *self = Self { too_long: true, ..Self::default() };
        }
        if !self.too_long {
            self.text.push_str(text);
        }
    }

    /// Where a citation stands. `None` if there is no text there.
    pub fn find<'c>(&'c self, citation: &'c Citation<'c>) -> Option<Cited<'c>> {
        let At { block, span } = &citation.at;
        // Within what it is counted.
        let (from, counted) = match block {
            Some(block) => {
                let at = self.blocks.iter().position(|(number, _)| number == block)?;
                (self.blocks[at].1, self.block(at))
            }
            None => (0, &*self.text),
        };
        let place = match span {
            None if block.is_none() => self.blocks.last()?.1..self.text.len(),
            None => from..from + counted.len(),
            Some(Span::Bytes(bytes)) => {
                from + floor(counted, bytes.start)..from + floor(counted, bytes.end)
            }
            Some(Span::Chars(chars)) => {
                from + nth(counted, chars.start)..from + nth(counted, chars.end)
            }
        };
        let at = self.blocks.iter().rposition(|(_, start)| *start <= place.start)?;
        let (number, start) = self.blocks[at];
        let within = self.block(at);
        let (from, to) = (place.start - start, place.end.saturating_sub(start).min(within.len()));
        (from <= to && !within.is_empty()).then(|| Cited {
            citation,
            block: number,
            within,
            before: &self.text[..start],
            start: from,
            end: to,
        })
    }

    fn block(&self, at: usize) -> &str {
        let end = self.blocks.get(at + 1).map_or(self.text.len(), |(_, start)| *start);
        &self.text[self.blocks[at].1..end]
    }
}

/// A text in pieces, each with all that is drawn from the same sources, for formats that cite for a
/// block as a whole.
pub fn pieces<'t, 'c>(text: &'t str, cited: &[Cited<'c>]) -> Vec<(&'t str, Vec<Cited<'c>>)> {
    let mut cuts: Vec<usize> = cited.iter().flat_map(|each| [each.start, each.end]).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    let mut pieces = Vec::with_capacity(cuts.len());
    for (start, end) in cuts.iter().copied().zip(cuts.iter().copied().skip(1)) {
        let covers = |each: &&Cited<'_>| each.start <= start && end <= each.end;
        // What marks a place between two characters goes with the text in front of it, the first
        // place with the text behind it.
        let ends = |each: &&Cited<'_>| {
            each.start == each.end && (each.end == end || each.end == 0 && start == 0)
        };
        let here = cited.iter().filter(|each| covers(each) || ends(each)).copied().collect();
        pieces.push((&text[start..end], here));
    }
    pieces
}

fn chars(text: &str) -> u64 {
    text.chars().count() as u64
}

/// Where a character begins, in bytes; the end if there are not as many.
fn nth(text: &str, chars: u64) -> usize {
    let chars = usize::try_from(chars).unwrap_or(usize::MAX);
    text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at)
}

/// The last place up to this one at which a character begins.
fn floor(text: &str, bytes: u64) -> usize {
    let end = usize::try_from(bytes).unwrap_or(usize::MAX).min(text.len());
    (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn citation(block: Option<u32>, span: Option<Span>) -> Citation<'static> {
        let origin = Origin::Web("https://a.example".into());
        Citation { at: At { block, span }, origin, title: None, quote: None }
    }

    fn said() -> Said {
        let mut said = Said::default();
        for (block, text) in [(1, "né 😀 "), (3, "Rain in Oslo.")] {
            said.open(block);
            said.push(text);
        }
        said
    }

    #[test]
    fn every_way_of_counting_finds_the_same() {
        let said = said();
        for (block, span) in [
            (Some(3), Some(Span::Chars(8..12))),
            (Some(3), Some(Span::Bytes(8..12))),
            (None, Some(Span::Chars(13..17))),
            (None, Some(Span::Bytes(17..21))),
        ] {
            let citation = citation(block, span);
            let cited = said.find(&citation).expect("a place");
            assert_eq!((cited.block, cited.text(), cited.is_whole()), (3, "Oslo", false));
            assert_eq!((cited.chars(), cited.chars_of_all()), (8..12, 13..17));
            assert_eq!(cited.bytes_of_all(), 17..21);
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_not_kept() {
        let mut said = said();
        said.push(&"x".repeat(TEXT_BYTES_MAX));
        said.open(7);
        said.push("more");
        assert!(said.text.is_empty() && said.blocks.is_empty());
        assert!(said.find(&citation(Some(7), None)).is_none());
        assert!(said.find(&citation(None, Some(Span::Bytes(0..2)))).is_none());
    }

    #[test]
    fn what_is_beyond_the_text_is_cut_and_no_text_is_no_place() {
        let said = said();
        let found = |block, span| {
            let citation = citation(block, span);
            said.find(&citation).map(|cited| (cited.block, cited.text().to_owned()))
        };
        assert_eq!(found(Some(1), None), Some((1, "né 😀 ".to_owned())));
        assert_eq!(found(None, None), Some((3, "Rain in Oslo.".to_owned())));
        assert_eq!(found(None, Some(Span::Bytes(2..99))), Some((1, "é 😀 ".to_owned())));
        assert_eq!(found(Some(3), Some(Span::Chars(8..99))), Some((3, "Oslo.".to_owned())));
        let backwards = Some(Span::Chars(Range { start: 9, end: 2 }));
        assert_eq!(found(Some(3), backwards), None);
        assert_eq!(found(Some(2), None), None);
        let mut empty = Said::default();
        empty.open(0);
        assert!(empty.find(&citation(Some(0), None)).is_none());
        assert!(Said::default().find(&citation(None, None)).is_none());
    }

    #[test]
    fn pieces_are_the_whole_text() {
        let said = said();
        let all = [
            citation(Some(3), Some(Span::Chars(0..8))),
            citation(Some(3), Some(Span::Chars(5..12))),
            citation(Some(3), Some(Span::Chars(12..12))),
            citation(Some(3), Some(Span::Chars(0..0))),
        ];
        let cited: Vec<Cited<'_>> = all.iter().filter_map(|each| said.find(each)).collect();
        let pieces: Vec<(&str, usize)> = pieces("Rain in Oslo.", &cited)
            .into_iter()
            .map(|(text, cited)| (text, cited.len()))
            .collect();
        assert_eq!(pieces, [("Rain ", 2), ("in ", 2), ("Oslo", 2), (".", 0)]);
    }
}
