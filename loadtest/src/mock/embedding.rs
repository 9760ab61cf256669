//! Embeddings: unit vectors that follow from their text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::words::Rng;

/// The size unless the request says otherwise.
const SIZE: u32 = 256;
/// The largest size.
const SIZE_MAX: u32 = 8192;

/// The size of a vector.
pub(super) fn size(asked: Option<u32>) -> Result<usize, String> {
    match asked.unwrap_or(SIZE) {
        size @ 1..=SIZE_MAX => Ok(size as usize),
        size => Err(format!("{size} is not between 1 and {SIZE_MAX}")),
    }
}

/// A vector of length one.
pub(super) fn vector(salt: u64, size: usize) -> Vec<f32> {
    let mut rng = Rng::new(salt);
    let mut values: Vec<f32> = (0..size).map(|_| (rng.unit() * 2.0 - 1.0) as f32).collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    for value in &mut values {
        *value /= length;
    }
    values
}

/// Little-endian single precision in base64, as `encoding_format: base64` has it.
pub(super) fn base64(vector: &[f32]) -> String {
    BASE64.encode(vector.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_unit_and_repeatable() {
        let values = vector(3, 64);
        assert!((values.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-4);
        assert_eq!(values, vector(3, 64));
        assert_ne!(values, vector(4, 64));
        let decoded = BASE64.decode(base64(&values)).unwrap();
        assert_eq!(decoded[..4], values[0].to_le_bytes());
        assert!(size(Some(0)).is_err() && size(Some(9000)).is_err() && size(None) == Ok(256));
    }
}
