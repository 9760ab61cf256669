//! Where a text may be cut so that its two halves count as much as the whole.
//!
//! A tokenizer first cuts a text into pieces with a regular expression, from left to right, and then
//! encodes each piece by itself. The expressions look ahead: a word waits for its contraction,
//! white space waits for the word behind it, upper case waits for lower case, digits come in
//! threes. So the end of a piece is in general not known before the text goes on.
//!
//! A *seam* is a place that every expression in [`super::pieces`] cuts at, whatever stands before and
//! whatever follows, and whose left half, taken alone, is cut as it is in the whole text. It is
//! recognised from two characters. The reasons, rule by rule:
//!
//! 1. No piece holds white space after something else, save line ends behind punctuation. So
//!    *non-space, then space that is no line end* is a seam; and so is *letter or number, then line
//!    end*, because only punctuation takes line ends along.
//! 2. A run of white space belongs to `\s*[\r\n]+` up to its last line end, without looking ahead,
//!    and line ends begin no word. So *line end, then non-space* is a seam, except that some
//!    vocabularies let `/` go on after the line ends of punctuation.
//! 3. Other white space is never followed by a seam: `\s+(?!\S)` gives its last character to what
//!    follows, so its count depends on that.
//! 4. A number never shares a piece with anything else: *non-space, then number* and *number, then
//!    anything else* are seams. Not between two numbers: they come in groups counted from the first.
//! 5. A word ends at the first character that is neither letter nor mark, whatever case rules are used
//!    inside. So *letter, then anything else* is a seam, except an apostrophe where contractions
//!    belong to the word.
//!
//! Marks are never on the left: some vocabularies see a mark as part of a word, others as
//! punctuation.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

use super::vocabulary::Style;

const LETTER: u8 = 1;
const MARK: u8 = 2;
const NUMBER: u8 = 4;
const SPACE: u8 = 8;

/// Classes of all characters, from the same Unicode tables that the expressions are compiled from.
static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::new);

/// Two-level table: a page number for every 256 characters, and the distinct pages.
struct Classes {
    page_of: Box<[u8]>,
    pages: Vec<[u8; 256]>,
}

impl Classes {
    fn new() -> Self {
        let mut flat = vec![0u8; 0x11_0000];
        for (expression, bit) in
            [(r"\p{L}", LETTER), (r"\p{M}", MARK), (r"\p{N}", NUMBER), (r"\s", SPACE)]
        {
            let hir = regex_syntax::parse(expression).expect("a Unicode class");
            let HirKind::Class(Class::Unicode(class)) = hir.kind() else { continue };
            for range in class.ranges() {
                for entry in &mut flat[range.start() as usize..=range.end() as usize] {
                    *entry |= bit;
                }
            }
        }
        let mut pages: Vec<[u8; 256]> = Vec::new();
        let page_of = flat
            .chunks_exact(256)
            .map(|chunk| {
                let page = pages.iter().position(|page| page == chunk).unwrap_or_else(|| {
                    pages.push(chunk.try_into().expect("a chunk of 256"));
                    pages.len() - 1
                });
                u8::try_from(page).expect("about 180 distinct pages")
            })
            .collect();
        Self { page_of, pages }
    }

    #[inline]
    fn of(&self, c: char) -> u8 {
        let page = self.page_of[c as usize >> 8];
        self.pages[page as usize][c as usize & 0xff]
    }
}

/// Whether there is a seam between two neighbouring characters.
fn is_seam(classes: &Classes, before: char, after: char, style: Style) -> bool {
    let (left, right) = (classes.of(before), classes.of(after));
    if right & SPACE != 0 {
        return if is_line_end(after) { left & (LETTER | NUMBER) != 0 } else { left & SPACE == 0 };
    }
    if left & SPACE != 0 {
        return is_line_end(before) && !(after == '/' && style.slash_tail);
    }
    if (left ^ right) & NUMBER != 0 {
        return true;
    }
    left & LETTER != 0
        && right & (LETTER | MARK) == 0
        && !(after == '\'' && style.contraction_suffix)
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// The last seam at or before `to` and after `from`, as a byte offset. Both are on character
/// boundaries. The character at `to`, if there is one, is looked at.
pub(super) fn last_seam(text: &str, from: usize, to: usize, style: Style) -> Option<usize> {
    let classes = &*CLASSES;
    let mut at = to;
    let mut after = if let Some(c) = text[to..].chars().next() {
        c
    } else {
        let c = text[from..to].chars().next_back()?;
        at -= c.len_utf8();
        c
    };
    for before in text[from..at].chars().rev() {
        if is_seam(classes, before, after, style) {
            return Some(at);
        }
        at -= before.len_utf8();
        after = before;
    }
    None
}

/// The first seam after `from`, as a byte offset.
pub(super) fn first_seam(text: &str, from: usize, style: Style) -> Option<usize> {
    let classes = &*CLASSES;
    let mut characters = text[from..].char_indices();
    let (_, mut before) = characters.next()?;
    for (offset, after) in characters {
        if is_seam(classes, before, after, style) {
            return Some(from + offset);
        }
        before = after;
    }
    None
}

/// The end of the first `count` characters from `from` if all of them are numbers, the first of their
/// run. Groups of numbers are counted from there, so every third end is a seam too.
pub(super) fn number_run(text: &str, from: usize, count: usize) -> Option<usize> {
    let classes = &*CLASSES;
    let mut characters = text[from..].char_indices();
    for _ in 0..count {
        let (_, c) = characters.next()?;
        if classes.of(c) & NUMBER == 0 {
            return None;
        }
    }
    Some(from + characters.offset())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::vocabulary::Vocabulary;

    fn seams(text: &str, vocabulary: Vocabulary) -> Vec<usize> {
        let mut seams = Vec::new();
        let mut from = 0;
        while let Some(seam) = first_seam(text, from, vocabulary.style()) {
            seams.push(seam);
            from = seam;
        }
        seams
    }

    #[test]
    fn words_numbers_and_lines_have_seams() {
        assert_eq!(seams("to be, or\nnot", Vocabulary::O200k), [2, 5, 6, 9, 10]);
        assert_eq!(seams("a12b 3", Vocabulary::O200k), [1, 3, 4]);
        assert_eq!(seams("你好，世界", Vocabulary::Qwen2), [6]);
    }

    #[test]
    fn what_may_change_has_none() {
        assert_eq!(seams("it's", Vocabulary::O200k), [0usize; 0]);
        assert_eq!(seams("it's", Vocabulary::Cl100k), [2]);
        assert_eq!(seams("   \n  x", Vocabulary::Cl100k), [0usize; 0]);
        assert_eq!(seams("!\n/x", Vocabulary::MistralV3), [0usize; 0]);
        assert_eq!(seams("!\n/x", Vocabulary::Llama3), [2]);
        assert_eq!(seams("1234567", Vocabulary::O200k), [0usize; 0]);
    }

    #[test]
    fn the_last_seam_is_the_last_of_the_first_ones() {
        let text = "One 2three, «quatre»\r\n cinq's 6\n\n  sept";
        for vocabulary in Vocabulary::ALL {
            let all = seams(text, vocabulary);
            for to in (0..=text.len()).filter(|&to| text.is_char_boundary(to)) {
                let wanted = all.iter().copied().rfind(|&seam| seam <= to && seam < text.len());
                assert_eq!(last_seam(text, 0, to, vocabulary.style()), wanted, "to {to}");
            }
        }
    }
}
