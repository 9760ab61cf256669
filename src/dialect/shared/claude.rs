//! How Anthropic's models are told to think, by their own API and by Bedrock's.

use crate::dialect::ir::{Effort, ObjectWriter, Reasoning};

/// The smallest budget for thoughts.
const BUDGET_TOKENS_MIN: u64 = 1024;
/// The largest that is asked for where the client sets no bound: every model that thinks takes it,
/// with an answer behind it.
const BUDGET_TOKENS_UNBOUND: u64 = 24_576;

/// How a model is to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// With so many tokens at most.
    Budget(u64),
    /// As much as it finds right.
    Adaptive {
        /// How much it is to take pains, if that was said.
        effort: Option<Effort>,
        /// The client wants to read a summary.
        visible: bool,
    },
}

impl Thinking {
    /// As much as the model finds right, by what the client has said.
    pub fn adaptive(reasoning: Reasoning) -> Self {
        let visible = reasoning.visible != Some(false);
        Thinking::Adaptive { effort: reasoning.word(), visible }
    }

    /// With a budget, within the bound that the client has set, of which thoughts are a part. `None`:
    /// there is no room for them.
    pub fn within(reasoning: Reasoning, max_tokens: Option<u64>) -> Option<Self> {
        let wanted = reasoning.tokens().unwrap_or_else(|| Effort::Medium.budget_tokens());
        let most = match (max_tokens, reasoning.budget_tokens) {
            (None, _) => BUDGET_TOKENS_UNBOUND,
            (Some(max), Some(_)) => max.saturating_sub(1),
            // A budget that weir has chosen leaves room for the answer.
            (Some(max), None) => (max / 5 * 4).max(BUDGET_TOKENS_MIN).min(max.saturating_sub(1)),
        };
        (most >= BUDGET_TOKENS_MIN).then(|| Thinking::Budget(wanted.clamp(BUDGET_TOKENS_MIN, most)))
    }

    /// The members of `thinking`.
    pub fn write(self, members: &mut ObjectWriter<'_>) {
        match self {
            Thinking::Budget(tokens) => {
                members.text("type", "enabled");
                members.number("budget_tokens", tokens);
            }
            Thinking::Adaptive { visible, .. } => {
                members.text("type", "adaptive");
                members.text("display", if visible { "summarized" } else { "omitted" });
            }
        }
    }

    /// The effort, in the word that `output_config` has for it.
    pub fn effort(self) -> Option<&'static str> {
        match self {
            Thinking::Budget(_) | Thinking::Adaptive { effort: None, .. } => None,
            Thinking::Adaptive { effort: Some(effort), .. } => Some(match effort {
                Effort::Minimal | Effort::Low => "low",
                Effort::Medium => "medium",
                Effort::High => "high",
                Effort::Max => "max",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_leave_room_for_the_answer() {
        let high = Reasoning { effort: Some(Effort::High), ..Reasoning::UNSAID };
        let exact = Reasoning { budget_tokens: Some(4000), ..Reasoning::UNSAID };
        for (reasoning, max, want) in [
            (high, None, Some(24_576)),
            (high, Some(100_000), Some(24_576)),
            (high, Some(10_000), Some(8000)),
            (high, Some(1100), Some(1024)),
            (high, Some(1024), None),
            (exact, None, Some(4000)),
            (exact, Some(3000), Some(2999)),
            (exact, Some(1000), None),
        ] {
            let want = want.map(Thinking::Budget);
            assert_eq!(Thinking::within(reasoning, max), want, "{reasoning:?} {max:?}");
        }
    }
}
