//! What one read of a stream has brought.

use bytes::{Buf, Bytes};

#[cfg(target_os = "linux")]
use super::ring::Received;

/// Bytes in the memory that they were received into, which belongs to whoever has them. Where they only
/// pass through, nothing is allocated for them and nothing copied.
pub(crate) enum Arrived {
    /// In memory that can be shared.
    Bytes(Bytes),
    /// In a block of the ring, which gets it back.
    #[cfg(target_os = "linux")]
    Block(Received),
}

impl Arrived {
    /// Takes some away from the front.
    pub(crate) fn skip(&mut self, count: usize) {
        match self {
            Arrived::Bytes(bytes) => bytes.advance(count),
            #[cfg(target_os = "linux")]
            Arrived::Block(received) => received.skip(count),
        }
    }

    /// What is left, to be shared.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Arrived::Bytes(bytes) => bytes,
            #[cfg(target_os = "linux")]
            Arrived::Block(received) => received.into_bytes(),
        }
    }
}

impl AsRef<[u8]> for Arrived {
    fn as_ref(&self) -> &[u8] {
        match self {
            Arrived::Bytes(bytes) => bytes,
            #[cfg(target_os = "linux")]
            Arrived::Block(received) => received.as_ref(),
        }
    }
}
