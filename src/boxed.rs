//! Futures in places of their own.

use std::pin::Pin;

/// A future in a place of its own, which is given back when it is done: whatever waits for it does not
/// hold its size while it does something else. It is made there: `Box::pin` would make it elsewhere, and
/// copy all of it, which for a request is some KB that nothing is in yet.
pub fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}
