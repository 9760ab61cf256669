//! Stable hashing: the same bytes give the same number on every machine and in every release, so
//! that replicas agree on who belongs where and a restart moves nobody. Not for untrusted map keys.

/// Hashes the parts as one key; the borders between them count.
///
/// FNV-1a over the bytes, then a finaliser that spreads its weak high bits (the 64-bit one of
/// `MurmurHash3`).
pub fn stable(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut byte = |byte: u8| {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    };
    for part in parts {
        part.iter().copied().for_each(&mut byte);
        (part.len() as u64).to_le_bytes().into_iter().for_each(&mut byte);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// One number of several, for a place among a few that is only a guess.
pub fn mixed<const N: usize>(parts: [usize; N]) -> usize {
    parts.into_iter().fold(0, |hash, part| {
        (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as usize).rotate_right(29)
    })
}

/// What tells most names from most others: how long one is, and how it ends.
pub fn shape(name: &str) -> usize {
    name.len() << 8 | usize::from(name.bytes().next_back().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::stable;

    #[test]
    fn the_numbers_never_change() {
        assert_eq!(stable(&[]), 0xefd0_1f60_ba99_2926);
        assert_ne!(stable(&[b"ab", b"c"]), stable(&[b"a", b"bc"]));
        assert_ne!(stable(&[b"a"]), stable(&[b"a", b""]));
    }
}
