//! Which model names may be label values.
//!
//! A client writes the model's name, so a label made of it would let any client grow the metrics
//! without bound. Names that the plan holds are labels. A name beyond those becomes one when an
//! upstream has answered for it with a 2xx (a real model behind a glob route), up to
//! [`LEARNED_MAX`] of them. Everything else is [`OTHER`].

use std::sync::Arc;

use ahash::AHashSet;
use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::family::OTHER;

/// Most names that are learned from answers.
pub const LEARNED_MAX: usize = 100;

/// Longest name that is learned, in bytes.
const LEARNED_BYTES_MAX: usize = 100;

type Names = AHashSet<Box<str>>;

#[derive(Default)]
pub struct Models {
    planned: ArcSwap<Names>,
    learned: ArcSwap<Names>,
    learning: Mutex<()>,
}

impl Models {
    /// Replaces the plan's names.
    pub fn plan<S: Into<Box<str>>>(&self, names: impl IntoIterator<Item = S>) {
        self.planned.store(Arc::new(names.into_iter().map(Into::into).collect()));
    }

    /// The label for `name`; `answered` says that an upstream served it.
    pub fn label<'a>(&self, name: &'a str, answered: bool) -> &'a str {
        let known = name.is_empty()
            || self.planned.load().contains(name)
            || self.learned.load().contains(name);
        if known || (answered && self.learn(name)) { name } else { OTHER }
    }

    fn learn(&self, name: &str) -> bool {
        if name.len() > LEARNED_BYTES_MAX || self.learned.load().len() >= LEARNED_MAX {
            return false;
        }
        let _one_at_a_time = self.learning.lock();
        let learned = self.learned.load();
        if learned.len() >= LEARNED_MAX {
            return learned.contains(name);
        }
        let mut grown = Names::clone(&learned);
        grown.insert(name.into());
        self.learned.store(Arc::new(grown));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_names_are_labels_and_others_are_not() {
        let models = Models::default();
        assert_eq!(models.label("gpt-4o", false), OTHER);
        models.plan(["gpt-4o"]);
        assert_eq!(models.label("gpt-4o", false), "gpt-4o");
        assert_eq!(models.label("", false), "");
        models.plan(["gpt-5"]);
        assert_eq!(models.label("gpt-4o", false), OTHER);
    }

    #[test]
    fn an_answered_name_is_learned_up_to_the_bound() {
        let models = Models::default();
        for n in 0..LEARNED_MAX {
            let name = format!("model-{n}");
            assert_eq!(models.label(&name, true), name);
        }
        assert_eq!(models.label("one-more", true), OTHER);
        assert_eq!(models.label("model-7", false), "model-7");
    }

    #[test]
    fn a_long_name_is_not_learned() {
        let name = "m".repeat(LEARNED_BYTES_MAX + 1);
        assert_eq!(Models::default().label(&name, true), OTHER);
    }
}
