//! Eight bytes of a string at once.
//!
//! Most strings in JSON are keys and words: too short for a call to `memchr`, long enough that
//! looking at single bytes shows.

/// How many bytes a word has.
pub(super) const WORD_BYTES: usize = 8;

const ONES: u64 = u64::from_ne_bytes([1; WORD_BYTES]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; WORD_BYTES]);

/// Where the first quote or backslash of a word is, or the first control character if these count.
pub(super) fn special(word: [u8; WORD_BYTES], controls: bool) -> Option<usize> {
    // The first byte becomes the lowest.
    let word = u64::from_le_bytes(word);
    // Sets the high bit of bytes below `bound`. A borrow can set others, but only above one that is
    // rightly set, so the lowest one is right.
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGHS;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let mut found = is(b'"') | is(b'\\');
    if controls {
        found |= below(word, 0x20);
    }
    (found != 0).then_some(found.trailing_zeros() as usize / WORD_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_loop_finds(bytes in prop::array::uniform8(prop_oneof![
            any::<u8>(), prop::sample::select(b"\"\\\x1f\x20\x21\x23\x5b\x5d\x00\x80\xff".to_vec()),
        ])) {
            for controls in [false, true] {
                let expected = bytes.iter().position(|&byte| {
                    matches!(byte, b'"' | b'\\') || controls && byte < 0x20
                });
                prop_assert_eq!(special(bytes, controls), expected);
            }
        }
    }
}
