//! What an answer says.

use super::super::Usage;
use super::{Block, Citation, Cited, Extra, Logprob, Loss, Said, Text};

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer<'a> {
    /// Its id, where the format has one.
    pub id: Option<Text<'a>>,
    /// The model that gave it.
    pub model: Option<Text<'a>>,
    /// When, in seconds since 1970.
    pub created: Option<u64>,
    /// The answers, in order.
    pub choices: Vec<Choice<'a>>,
    /// What was used.
    pub usage: Option<Usage>,
    /// Members that only some formats have.
    pub extra: Vec<Extra<'a>>,
}

impl Answer<'_> {
    /// Notes what has no words in any other format.
    pub fn lose(&mut self, name: &'static str) {
        self.extra.push(Extra { name: name.into(), value: "", essential: false });
    }
}

/// As what an answer is kept.
#[derive(Clone, Copy, Debug)]
pub struct KeptAs<'a> {
    /// What it is called.
    pub id: &'a str,
    /// The one that it continues.
    pub previous: Option<&'a str>,
}

/// One of several answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice<'a> {
    /// What it says.
    pub blocks: Vec<Block<'a>>,
    /// What it is drawn from.
    pub citations: Vec<Citation<'a>>,
    /// How likely each token of its text was, where that was asked for.
    pub logprobs: Vec<Logprob<'a>>,
    /// Why it ended.
    pub finish: Option<Finish>,
    /// The text at which it ended.
    pub stop_sequence: Option<Text<'a>>,
}

impl Choice<'_> {
    /// The text in which the places of citations are. Empty if there are none.
    pub fn cited_text(&self) -> Said {
        if self.citations.is_empty() {
            return Said::default();
        }
        Said::of(self.blocks.iter().map(|block| &block.content))
    }

    /// The citations whose place is known. What has none is lost.
    pub fn cited<'c>(&'c self, said: &'c Said, loss: &mut Loss) -> Vec<Cited<'c>> {
        let found: Vec<_> = self.citations.iter().filter_map(|each| said.find(each)).collect();
        if found.len() < self.citations.len() {
            loss.drop("citations");
        }
        found
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is complete.
    Stop,
    /// At one of the texts that were asked for.
    StopSequence,
    /// It has as many tokens as it may have.
    Length,
    /// Prompt and answer fill the model's context.
    ContextFull,
    /// Tools are to be called.
    ToolCalls,
    /// A filter cut it off.
    Filtered,
    /// The model refused.
    Refused,
    /// The provider paused a long turn; the client asks it to go on.
    Paused,
    /// The model failed (a malformed call, a loop).
    Failed,
}
