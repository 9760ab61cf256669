//! Memory for large bodies: what a thread has just done with serves its next one.
//!
//! The allocator gives such memory back to the system some time after it is free. Until then bodies that
//! follow one another would each get memory of their own, most of it used by nobody.

use std::cell::RefCell;

use bytes::Bytes;

/// What a thread keeps at most.
const KEPT_BYTES_MAX: usize = 32 << 20;
/// Memory for a body of which nothing has come yet: an announcement alone must not cost more.
const RESERVE_BYTES_MAX: usize = 1 << 20;

thread_local! {
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// Memory that waits.
struct Kept {
    memory: Vec<u8>,
    /// Since the last [`release_unused`].
    recent: bool,
}

/// Empty memory for a body of so many bytes: all of it where it was kept, and otherwise enough to begin
/// with.
pub(super) fn take(bytes: usize) -> Vec<u8> {
    // A small body does not hold the memory of a large one.
    let fits = |kept: &Kept| (bytes..=bytes.saturating_mul(2)).contains(&kept.memory.capacity());
    KEPT.with_borrow_mut(|kept| {
        let at = kept.iter().position(fits)?;
        Some(kept.swap_remove(at).memory)
    })
    .unwrap_or_else(|| Vec::with_capacity(bytes.min(RESERVE_BYTES_MAX)))
}

/// A body to be passed on, whose memory is kept for another when nobody has it any more.
pub(super) fn share(body: Vec<u8>) -> Bytes {
    Bytes::from_owner(Lent(body))
}

/// Frees what was kept and not used since the last call.
pub(super) fn release_unused() {
    KEPT.with_borrow_mut(|kept| kept.retain_mut(|kept| std::mem::take(&mut kept.recent)));
}

struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.0);
        memory.clear();
        // Without the thread's list, which ends with the thread, the memory is freed.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let bytes: usize = kept.iter().map(|kept| kept.memory.capacity()).sum();
            if bytes + memory.capacity() <= KEPT_BYTES_MAX {
                kept.push(Kept { memory, recent: true });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY_BYTES: usize = 3 << 20;

    fn body() -> Vec<u8> {
        let mut body = take(BODY_BYTES);
        body.resize(BODY_BYTES, 7);
        body
    }

    #[test]
    fn a_body_gets_the_memory_of_the_one_before() {
        assert_eq!(take(BODY_BYTES).capacity(), RESERVE_BYTES_MAX, "nothing has come of it");
        let first = body();
        let at = first.as_ptr();
        let shared = share(first);
        let part = shared.slice(5..10);
        drop(shared);
        assert!(take(BODY_BYTES).capacity() < BODY_BYTES, "a part of it is in use");
        assert_eq!(part, [7; 5][..]);
        drop(part);
        let second = take(BODY_BYTES);
        assert_eq!((second.as_ptr(), second.len()), (at, 0));
        drop(share(second));
        assert!(take(BODY_BYTES + 1).capacity() <= RESERVE_BYTES_MAX, "too small for that");
        assert!(take(BODY_BYTES / 4).capacity() <= RESERVE_BYTES_MAX, "too large for that");
    }

    #[test]
    fn what_is_not_used_is_freed() {
        drop(share(body()));
        release_unused();
        assert!(take(BODY_BYTES).capacity() >= BODY_BYTES, "it was used until now");
        drop(share(body()));
        release_unused();
        release_unused();
        assert_eq!(take(BODY_BYTES).capacity(), RESERVE_BYTES_MAX);
    }

    #[test]
    fn no_more_than_so_much_is_kept() {
        let bodies: Vec<_> = (0..20).map(|_| share(body())).collect();
        drop(bodies);
        let kept =
            KEPT.with_borrow(|kept| kept.iter().map(|kept| kept.memory.capacity()).sum::<usize>());
        assert!((KEPT_BYTES_MAX / 2..=KEPT_BYTES_MAX).contains(&kept), "{kept}");
        drop(share(Vec::with_capacity(KEPT_BYTES_MAX)));
        let most = KEPT.with_borrow(|kept| kept.iter().map(|kept| kept.memory.capacity()).max());
        assert!(most < Some(KEPT_BYTES_MAX));
    }
}
