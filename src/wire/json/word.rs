//! Eight bytes of a string at once.
//!
//! Most strings in JSON are keys and words: too short for a call to `memchr`, long enough that
//! looking at single bytes shows.

/// How many bytes a word has.
pub(super) const WORD_BYTES: usize = 8;

/// How many words are near. Keys are that short.
const NEAR_WORDS: usize = 4;

/// With this bit flipped, the quote comes next behind the control characters, which stay among
/// themselves.
const FLIP: u8 = b'"' ^ b' ';
/// What comes next behind the quote.
const PLAIN_MIN: u8 = b' ' + 1;

const ONES: u64 = u64::from_ne_bytes([1; WORD_BYTES]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; WORD_BYTES]);

/// Whether a byte is special in a string: a quote, a backslash or a control character.
pub(super) fn is_special(byte: u8) -> bool {
    (byte ^ FLIP) < PLAIN_MIN || byte == b'\\'
}

/// Where the first special byte of a string is, if it is near. `None` does not say that there is none.
#[inline]
pub(super) fn near_special(bytes: &[u8]) -> Option<usize> {
    near(bytes, special)
}

/// The same of the first quote.
#[inline]
pub(super) fn near_quote(bytes: &[u8]) -> Option<usize> {
    near(bytes, quote)
}

#[inline]
fn near(bytes: &[u8], find: impl Fn([u8; WORD_BYTES]) -> Option<usize>) -> Option<usize> {
    let mut rest = bytes;
    for _ in 0..NEAR_WORDS {
        let (word, behind) = rest.split_first_chunk()?;
        if let Some(found) = find(*word) {
            return Some(bytes.len() - rest.len() + found);
        }
        rest = behind;
    }
    None
}

/// Where the first special byte of a word is.
#[inline]
pub(super) fn special(word: [u8; WORD_BYTES]) -> Option<usize> {
    // The first byte becomes the lowest.
    let word = u64::from_le_bytes(word);
    first((below(word, FLIP, PLAIN_MIN) | below(word, b'\\', 1)) & !word)
}

/// Where the first quote of a word is.
#[inline]
fn quote(word: [u8; WORD_BYTES]) -> Option<usize> {
    let word = u64::from_le_bytes(word);
    first(below(word, b'"', 1) & !word)
}

/// Sets the high bit of bytes that are less than `bound` when `flip` is flipped in them, and of bytes
/// that have it. A borrow can set others, but only above one that is less, so the lowest one is right.
fn below(word: u64, flip: u8, bound: u8) -> u64 {
    (word ^ (ONES * u64::from(flip))).wrapping_sub(ONES * u64::from(bound))
}

/// The lowest byte whose high bit is set.
fn first(word: u64) -> Option<usize> {
    let found = word & HIGHS;
    (found != 0).then_some(found.trailing_zeros() as usize / WORD_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn special_bytes() {
        for byte in 0..=u8::MAX {
            assert_eq!(is_special(byte), byte < 0x20 || matches!(byte, b'"' | b'\\'), "{byte:#x}");
        }
    }

    proptest! {
        #[test]
        fn finds_what_a_loop_finds(bytes in prop::array::uniform8(prop_oneof![
            any::<u8>(), prop::sample::select(b"\"\\\x1f\x20\x21\x23\x5b\x5d\x00\x80\xa2\xff".to_vec()),
        ])) {
            prop_assert_eq!(special(bytes), bytes.iter().position(|&byte| is_special(byte)));
            prop_assert_eq!(quote(bytes), bytes.iter().position(|&byte| byte == b'"'));
        }
    }
}
