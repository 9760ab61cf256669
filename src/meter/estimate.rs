//! Token estimates for when nothing counts.
//!
//! English and code run at about four bytes a token, text in other scripts at about three with
//! today's large vocabularies (a Chinese character is three bytes and 0.7 to 1 token). The estimate is
//! meant to be a little high rather than low.

/// Bytes of ASCII text per token.
const ASCII_BYTES_PER_TOKEN: u64 = 4;
/// Bytes of other text per token.
const OTHER_BYTES_PER_TOKEN: u64 = 3;

/// Tokens of a text, from its bytes.
pub fn tokens_of(text: &[u8]) -> u64 {
    // Most is, which is soon found out.
    let other = if text.is_ascii() { 0 } else { other_bytes(text) };
    let ascii = text.len() as u64 - other;
    ascii.div_ceil(ASCII_BYTES_PER_TOKEN) + other.div_ceil(OTHER_BYTES_PER_TOKEN)
}

/// Bytes that are not ASCII.
fn other_bytes(text: &[u8]) -> u64 {
    // Summed in bytes, as many at a time as cannot overflow and fill vectors.
    let high = |part: &[u8]| u64::from(part.iter().map(|byte| byte >> 7).sum::<u8>());
    let (blocks, rest) = text.as_chunks::<192>();
    blocks.iter().map(|block| high(block)).sum::<u64>() + high(rest)
}

/// Tokens of a text of which only the length is known.
pub const fn tokens_of_len(bytes: u64) -> u64 {
    bytes.div_ceil(ASCII_BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_up_and_knows_scripts() {
        assert_eq!(tokens_of(b""), 0);
        assert_eq!(tokens_of(b"a"), 1);
        assert_eq!(tokens_of(b"abcde"), 2);
        assert_eq!(tokens_of("漢字".as_bytes()), 2);
        assert_eq!(tokens_of("漢字".repeat(1000).as_bytes()), 2000);
        assert_eq!(tokens_of_len(0), 0);
        assert_eq!(tokens_of_len(9), 3);
    }
}
