//! The numbers of an entry, each in as many bytes as it needs.
//!
//! A word in front has the lengths of all of them, four bits each, and their bytes stand behind it
//! without gaps. Where a number begins does not depend on the bytes of the one before, so that to read
//! one is a load and a mask, and to write one is a store. Zero takes no byte.

/// Numbers of a group.
pub(super) const NUMBERS: usize = 16;
/// So many at the beginning are mostly not zero, and the others mostly all are.
const OFTEN: usize = 10;
/// Bytes of a number at most, and those of the lengths.
const WORD: usize = size_of::<u64>();
/// Bytes of a group at most.
const BYTES_MAX: usize = WORD + NUMBERS * WORD;

const LOW: u64 = 0x0f0f_0f0f_0f0f_0f0f;
const ONES: u64 = u64::MAX / 0xff;
/// What is left of a word of which a number has so many bytes. No other length is let through.
const MASKS: [u64; 16] = {
    let mut masks = [u64::MAX; 16];
    let mut bytes = 0;
    while bytes < WORD {
        masks[bytes] = (1 << (8 * bytes)) - 1;
        bytes += 1;
    }
    masks
};

/// Appends them.
pub(super) fn write(numbers: &[u64; NUMBERS], out: &mut Vec<u8>) {
    let mut bytes = [0; BYTES_MAX];
    let (mut lengths, mut end) = (0, WORD);
    let mut push = |at: usize, number: u64| {
        let length = WORD - number.leading_zeros() as usize / 8;
        // All eight bytes: the next one begins where this one ends.
        bytes[end..end + WORD].copy_from_slice(&number.to_le_bytes());
        lengths |= (length as u64) << (4 * at);
        end += length;
    };
    let (often, rarely) = numbers.split_at(OFTEN);
    often.iter().enumerate().for_each(|(at, number)| push(at, *number));
    if rarely.iter().fold(0, |all, number| all | number) != 0 {
        rarely.iter().enumerate().for_each(|(at, number)| push(OFTEN + at, *number));
    }
    bytes[..WORD].copy_from_slice(&lengths.to_le_bytes());
    out.extend_from_slice(&bytes[..end]);
}

/// Reads those at the beginning of `buffer`, of which the first `length` bytes are the entry's. What
/// stands behind them may be looked at, and has no effect. Gives how many bytes they take, too.
#[inline]
pub(super) fn read(buffer: &[u8], length: usize) -> Option<([u64; NUMBERS], usize)> {
    let (numbers, end) = match buffer.first_chunk() {
        Some(bytes) => unpacked(bytes)?,
        None => at_the_end(buffer)?,
    };
    (end <= length).then_some((numbers, end))
}

/// The same where fewer bytes are left than a group may have.
#[cold]
fn at_the_end(buffer: &[u8]) -> Option<([u64; NUMBERS], usize)> {
    let mut bytes = [0; BYTES_MAX];
    bytes.get_mut(..buffer.len())?.copy_from_slice(buffer);
    unpacked(&bytes)
}

#[inline]
fn unpacked(bytes: &[u8; BYTES_MAX]) -> Option<([u64; NUMBERS], usize)> {
    let (lengths, rest) = bytes.split_first_chunk()?;
    let all = u64::from_le_bytes(*lengths);
    let (mut lengths, end) = (all, WORD + sum(all)?);
    let mut at = 0;
    let mut next = || {
        let length = (lengths & 0xf) as usize;
        let word = u64::from_le_bytes(*rest.get(at..)?.first_chunk()?);
        at += length;
        lengths >>= 4;
        Some(word & MASKS[length])
    };
    let mut numbers = [0; NUMBERS];
    let (often, rarely) = numbers.split_at_mut(OFTEN);
    for number in often {
        *number = next()?;
    }
    if all >> (4 * OFTEN) != 0 {
        for number in rarely {
            *number = next()?;
        }
    }
    Some((numbers, end))
}

/// The sum of these lengths, unless one is of more than a word.
fn sum(lengths: u64) -> Option<usize> {
    let (even, odd) = (lengths & LOW, lengths >> 4 & LOW);
    // The highest bit of each byte that is more than eight.
    let over = |lengths: u64| lengths + (0x7f - WORD as u64) * ONES;
    if (over(even) | over(odd)) & (0x80 * ONES) != 0 {
        return None;
    }
    Some(((even + odd).wrapping_mul(ONES) >> 56) as usize)
}
