//! What is sent: one kind of request or a weighted mix.

use std::path::Path;

use memchr::memmem::Finder;

use crate::client::{Endpoint, Shape};

/// Longest table of a mix; weights are scaled down to fit.
const TABLE_MAX: u32 = 10_000;

/// One kind of request, ready to be sent.
#[derive(Debug)]
pub struct Prepared {
    /// Which endpoint.
    pub endpoint: Endpoint,
    /// Whether a stream is expected.
    pub stream: bool,
    /// Frames with content that a complete stream has; none to leave that open.
    pub content_frames: Option<u32>,
    /// The request as it goes over the wire.
    pub wire: Vec<u8>,
    /// Finds where a whole answer states its tokens; none where it does not.
    pub token_key: Option<Finder<'static>>,
}

/// A weighted mix of requests.
#[derive(Debug)]
pub struct Mix {
    kinds: Vec<Prepared>,
    /// Indexes into `kinds`, each as often as its weight, spread evenly.
    table: Vec<u16>,
}

impl Mix {
    /// From shapes; `content_frames` is what every stream must have.
    pub fn new(shapes: &[Shape], host: &str, content_frames: Option<u32>) -> Result<Self, String> {
        if shapes.is_empty() || shapes.len() > 1000 {
            return Err("a mix has between 1 and 1000 kinds of request".into());
        }
        let kinds = shapes
            .iter()
            .map(|shape| Prepared {
                endpoint: shape.endpoint,
                stream: shape.stream && shape.endpoint.streams(),
                content_frames,
                wire: shape.http1(host),
                token_key: shape.endpoint.token_key().map(Finder::new),
            })
            .collect();
        let sum: u32 = shapes.iter().map(|shape| shape.weight).fold(0, u32::saturating_add);
        if sum == 0 || sum > TABLE_MAX {
            return Err(format!("the weights of a mix add up to between 1 and {TABLE_MAX}"));
        }
        Ok(Self { kinds, table: spread(shapes, sum) })
    }

    /// Reads a JSON array of shapes.
    pub fn shapes(path: &Path) -> Result<Vec<Shape>, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| {
            format!("{}:{}:{}: {error}", path.display(), error.line(), error.column())
        })
    }

    /// The kind of the request at this place in the sequence.
    pub fn pick(&self, sequence: u64) -> &Prepared {
        let index = self.table[(sequence % self.table.len() as u64) as usize];
        &self.kinds[usize::from(index)]
    }
}

/// Smooth weighted round robin: each step the kind that is furthest behind its share is taken, so
/// that a heavy kind is not sent in one run.
fn spread(shapes: &[Shape], sum: u32) -> Vec<u16> {
    let mut credit = vec![0_i64; shapes.len()];
    (0..sum)
        .map(|_| {
            let mut best = 0;
            for (index, shape) in shapes.iter().enumerate() {
                credit[index] += i64::from(shape.weight);
                if credit[index] > credit[best] {
                    best = index;
                }
            }
            credit[best] -= i64::from(sum);
            best as u16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept_and_spread() {
        let mut heavy = Shape::new(Endpoint::Chat, true);
        heavy.weight = 3;
        let light = Shape::new(Endpoint::Messages, false);
        let mix = Mix::new(&[heavy, light], "weir", None).expect("a valid mix");
        let picked: Vec<_> = (0..8).map(|at| mix.pick(at).endpoint).collect();
        assert_eq!(picked.iter().filter(|kind| **kind == Endpoint::Messages).count(), 2);
        assert_eq!(&picked[..4], &picked[4..]);
    }

    #[test]
    fn a_mix_without_weight_is_refused() {
        let mut shape = Shape::new(Endpoint::Chat, false);
        shape.weight = 0;
        assert!(Mix::new(&[shape], "weir", None).is_err());
        assert!(Mix::new(&[], "weir", None).is_err());
    }
}
