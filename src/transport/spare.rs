//! Buffers for what is gathered: those of a thread that nothing is in wait for their next use.

/// How many wait, and the largest of them.
const ALL_MAX: usize = 128;
const BYTES_MAX: usize = 32 * 1024;

/// Buffers that wait.
#[derive(Debug, Default)]
pub(super) struct Spare(Vec<Vec<u8>>);

impl Spare {
    /// An empty buffer.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// Keeps a buffer of which nothing is needed any more.
    pub(super) fn keep(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < ALL_MAX && (1..=BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
