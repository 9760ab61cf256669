//! Sets of endpoints.

use crate::dialect::Endpoint;

/// A set of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set(u32);

impl Set {
    pub const ALL: Self = Self(u32::MAX);
    pub const NONE: Self = Self(0);

    pub fn with(self, endpoint: Endpoint) -> Self {
        Self(self.0 | 1 << endpoint as u32)
    }

    pub fn contains(self, endpoint: Endpoint) -> bool {
        self.0 & 1 << endpoint as u32 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for endpoint in Endpoint::ALL {
            let set = Set::NONE.with(endpoint);
            assert!(Endpoint::ALL.iter().all(|other| set.contains(*other) == (*other == endpoint)));
            assert!(Set::ALL.contains(endpoint));
        }
    }
}
