//! Sixteen hexadecimal digits, without the machinery of formatting.

/// A number as sixteen digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hex([u8; 16]);

impl Hex {
    /// The digits of a number, with zeros before it.
    pub(super) fn of(number: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        Self(std::array::from_fn(|at| DIGITS[(number >> (60 - 4 * at) & 15) as usize]))
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_number_is_written_as_formatting_writes_it(number: u64) {
            let digits = Hex::of(number);
            prop_assert_eq!(digits.as_str(), format!("{number:016x}"));
        }
    }
}
