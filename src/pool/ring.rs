//! Consistent hashing over the targets of one priority.
//!
//! Ketama as nginx and memcached have it, through Pingora's implementation: a target that comes or
//! goes moves only the keys that are its own. Points follow from the target's name alone, so all
//! replicas agree, and the order in the file does not matter.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr};

use pingora_ketama::{Bucket, Continuum};
use sha2::{Digest, Sha256};

/// Most weight on a ring; larger weights are scaled down to it. Bounds its memory to about 1 MB.
const WEIGHT_MAX: u64 = 800;

/// Points on a circle, each belonging to a target.
pub(super) struct Ring {
    continuum: Continuum,
    /// The target of each point, in the order of the circle.
    points: Box<[u16]>,
}

impl Ring {
    /// A ring of these targets: index, name and weight (above zero).
    pub fn new(targets: &[(u16, &str, u32)]) -> Self {
        let total: u64 = targets.iter().map(|(_, _, weight)| u64::from(*weight)).sum();
        let divisor = targets.iter().fold(0, |divisor, (_, _, weight)| gcd(divisor, *weight));
        let divisor = u64::from(divisor.max(1)).max(total.div_ceil(WEIGHT_MAX));
        let mut by_address = HashMap::with_capacity(targets.len());
        let mut buckets = Vec::with_capacity(targets.len());
        for (index, name, weight) in targets {
            // Ketama knows addresses only: this one is made up from the name.
            let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
            let ip: [u8; 16] = std::array::from_fn(|at| digest[at]);
            let address = SocketAddr::from((Ipv6Addr::from(ip), 0));
            by_address.insert(address, *index);
            buckets.push(Bucket::new(address, (u64::from(*weight) / divisor).max(1) as u32));
        }
        let continuum = Continuum::new(&buckets);
        let mut points = Vec::new();
        let mut at = 0;
        while let Some(index) = continuum.get_addr(&mut at).and_then(|addr| by_address.get(addr)) {
            points.push(*index);
            // The walk goes round; it is over when it is back at the start.
            if at == 0 {
                break;
            }
        }
        Self { continuum, points: points.into() }
    }

    /// The targets from the key's place on, clockwise, with repetitions, once around.
    pub fn walk(&self, key: u64) -> impl Iterator<Item = u16> + '_ {
        let start = self.continuum.node_idx(&key.to_le_bytes()).min(self.points.len());
        self.points[start..].iter().chain(&self.points[..start]).copied()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("points", &self.points.len()).finish_non_exhaustive()
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(ring: &Ring, key: u64) -> Option<u16> {
        ring.walk(key).next()
    }

    fn keys() -> impl Iterator<Item = u64> {
        (0..20_000u64).map(|key| crate::hash::stable(&[&key.to_le_bytes()]))
    }

    #[test]
    fn shares_follow_weights() {
        let ring = Ring::new(&[(0, "a", 10), (1, "b", 30)]);
        let share = keys().filter(|key| owner(&ring, *key) == Some(1)).count() as f64 / 20_000.0;
        assert!((0.68..0.82).contains(&share), "{share}");
    }

    #[test]
    fn one_more_target_takes_only_its_own_share() {
        let before = Ring::new(&[(0, "a", 1), (1, "b", 1), (2, "c", 1), (3, "d", 1)]);
        let after = Ring::new(&[(9, "e", 1), (0, "a", 1), (1, "b", 1), (2, "c", 1), (3, "d", 1)]);
        let mut moved = 0;
        for key in keys() {
            let (old, new) = (owner(&before, key), owner(&after, key));
            if old != new {
                assert_eq!(new, Some(9), "a key moved between targets that stayed");
                moved += 1;
            }
        }
        let share = f64::from(moved) / 20_000.0;
        assert!((0.15..0.26).contains(&share), "{share}");
    }

    #[test]
    fn huge_weights_are_scaled() {
        let ring = Ring::new(&[(0, "a", u32::MAX), (1, "b", u32::MAX / 2)]);
        assert!(ring.points.len() <= 160 * (WEIGHT_MAX as usize + 2));
        assert!(owner(&Ring::new(&[]), 7).is_none());
    }

    proptest! {
        #[test]
        fn a_walk_meets_every_target(weights in proptest::collection::vec(1u32..5, 1..6), key: u64) {
            let names: Vec<String> = (0..weights.len()).map(|at| format!("t{at}")).collect();
            let targets: Vec<_> = weights
                .iter()
                .enumerate()
                .map(|(at, weight)| (at as u16, names[at].as_str(), *weight))
                .collect();
            let ring = Ring::new(&targets);
            let met: std::collections::BTreeSet<u16> = ring.walk(key).collect();
            prop_assert_eq!(met.len(), targets.len());
        }
    }
}
