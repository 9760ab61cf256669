//! What waits for the database, in memory or in a journal.

use std::collections::VecDeque;
use std::io;

use super::journal::{Journal, Placed};
use super::table::{Batch, Frame};

/// Most bytes of one frame, and of the frames of one transaction.
pub(super) const BATCH_BYTES_MAX: usize = 4 << 20;
/// Frames that are told apart; more become fewer and larger ones.
pub(super) const PENDING_MAX: usize = 4096;

/// A frame on its way.
pub(super) struct Pending {
    pub(super) first: u64,
    pub(super) count: u64,
    /// Not here while the database has them, or where only the journal does.
    pub(super) entries: Option<Vec<u8>>,
    pub(super) bytes: usize,
    pub(super) placed: Option<Placed>,
}

/// A journal of a process that is gone.
pub(super) struct Left {
    pub(super) journal: Journal,
    pub(super) frames: VecDeque<Placed>,
}

impl Left {
    /// Its oldest frames.
    pub(super) fn batch(&self) -> io::Result<Batch> {
        let mut frames = Vec::new();
        let mut bytes = 0;
        for placed in &self.frames {
            let entries = self.journal.read(*placed)?;
            bytes += entries.len();
            frames.push(Frame { first: placed.first, count: placed.count, entries });
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
        }
        Ok(Batch { journal: self.journal.name.as_str().into(), frames })
    }
}

/// While the database is away for long, small frames that only the journal has become few large
/// ones. The first may be with the database just now.
pub(super) fn join(all: VecDeque<Pending>) -> VecDeque<Pending> {
    let mut joined: VecDeque<Pending> = VecDeque::new();
    for (at, pending) in all.into_iter().enumerate() {
        let last = joined.back_mut().filter(|last| {
            at > PENDING_MAX / 2
                && last.entries.is_none()
                && pending.entries.is_none()
                && last.bytes + pending.bytes <= BATCH_BYTES_MAX
        });
        let both = last.and_then(|last| {
            let placed = last.placed?.with(pending.placed?)?;
            last.placed = Some(placed);
            last.count = placed.count;
            last.bytes = placed.bytes();
            Some(())
        });
        if both.is_none() {
            joined.push_back(pending);
        }
    }
    joined
}
