//! Answers that are the arguments of a call, where a model gives none of a schema: for the client they
//! are the text of the answer.
//!
//! Some models say something beside the call. It would stand in front of the document, so it is kept
//! back until the answer ends: if the tool was called it is lost, and if it was not, what was said is
//! the answer.

use crate::dialect::ir::{
    ANSWER_TOOL, Answer, Block, Content, Event, Finish, Loss, Opening, Sink, Text,
};

/// The most text that is kept back.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Turns calls of a stream into its text.
#[derive(Debug, Default)]
pub(super) struct ByCall {
    choices: Vec<Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    /// How many blocks the client has seen.
    blocks: u32,
    open: Open,
    /// What was said beside the call.
    kept: String,
    /// The tool was called.
    answered: bool,
    /// Another one was.
    calls: bool,
}

/// What the open block is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    /// There is none, or it is none of the client's.
    #[default]
    Nothing,
    /// Text, which is kept back.
    Text,
    /// Any other, which the client sees.
    Seen,
}

impl ByCall {
    /// The next event of the upstream, as what the client is to see of it.
    pub fn event(&mut self, event: Event<'_>, sink: &mut dyn Sink) {
        match event {
            Event::Open { choice, opening, .. } => self.open(choice, opening, sink),
            Event::Piece { choice, text, .. } => {
                let state = self.choice(choice);
                match state.open {
                    Open::Nothing => {}
                    Open::Text if state.kept.len() + text.len() > KEPT_BYTES_MAX => {
                        sink.event(Event::Unsaid("content (beside the answer)"));
                    }
                    Open::Text => state.kept.push_str(&text),
                    Open::Seen => {
                        sink.event(Event::Piece { choice, block: state.block(), text });
                    }
                }
            }
            Event::Sealed { choice, seal, .. } => {
                let state = self.choice(choice);
                if state.open == Open::Seen {
                    sink.event(Event::Sealed { choice, block: state.block(), seal });
                }
            }
            Event::Close { choice, .. } => {
                let state = self.choice(choice);
                if std::mem::take(&mut state.open) == Open::Seen {
                    sink.event(Event::Close { choice, block: state.block() });
                }
            }
            Event::Finish { choice, finish, stop_sequence } => {
                let finish = self.finish(choice, finish, sink);
                sink.event(Event::Finish { choice, finish, stop_sequence });
            }
            // A document has no places to cite.
            Event::Source { .. } | Event::Cited { .. } => sink.event(Event::Unsaid("citations")),
            Event::Logprobs { .. } => sink.event(Event::Unsaid("logprobs")),
            other => sink.event(other),
        }
    }

    fn open(&mut self, choice: u32, opening: Opening<'_>, sink: &mut dyn Sink) {
        let state = self.choice(choice);
        let opening = match opening {
            Opening::Text => {
                state.open = Open::Text;
                return;
            }
            Opening::ToolCall { name, .. } if name == ANSWER_TOOL => {
                if std::mem::replace(&mut state.answered, true) {
                    state.open = Open::Nothing;
                    return sink.event(Event::Unsaid("content (a second answer)"));
                }
                Opening::Text
            }
            other => {
                state.calls |= matches!(other, Opening::ToolCall { .. });
                other
            }
        };
        state.open = Open::Seen;
        state.blocks += 1;
        sink.event(Event::Open { choice, block: state.block(), opening });
    }

    /// What was kept back is said, if it is the answer.
    fn finish(&mut self, choice: u32, finish: Finish, sink: &mut dyn Sink) -> Finish {
        let state = self.choice(choice);
        let kept = std::mem::take(&mut state.kept);
        if !kept.is_empty() && state.answered {
            sink.event(Event::Unsaid("content (beside the answer)"));
        } else if !kept.is_empty() {
            state.blocks += 1;
            let block = state.block();
            sink.event(Event::Open { choice, block, opening: Opening::Text });
            sink.event(Event::Piece { choice, block, text: Text::Owned(kept) });
            sink.event(Event::Close { choice, block });
        }
        finish_of(finish, state.calls)
    }

    fn choice(&mut self, choice: u32) -> &mut Choice {
        let at = choice as usize;
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, Choice::default);
        }
        &mut self.choices[at]
    }
}

impl Choice {
    /// The number that the client's open block has.
    fn block(&self) -> u32 {
        self.blocks.saturating_sub(1)
    }
}

/// An answer that ends with the call is complete, unless other tools are to be called.
fn finish_of(finish: Finish, calls: bool) -> Finish {
    if finish == Finish::ToolCalls && !calls { Finish::Stop } else { finish }
}

/// The same of a whole answer.
pub(super) fn whole(answer: &mut Answer<'_>, loss: &mut Loss) {
    for choice in &mut answer.choices {
        let is_answer = |block: &Block<'_>| matches!(&block.content, Content::ToolCall(call) if call.name == ANSWER_TOOL);
        let answered = choice.blocks.iter().any(is_answer);
        let mut said = false;
        if answered {
            choice.blocks.retain(|block| match &block.content {
                Content::Text(_) => {
                    loss.drop("content (beside the answer)");
                    false
                }
                Content::ToolCall(_) if is_answer(block) && std::mem::replace(&mut said, true) => {
                    loss.drop("content (a second answer)");
                    false
                }
                _ => true,
            });
        }
        let mut calls = false;
        for block in &mut choice.blocks {
            match &mut block.content {
                Content::ToolCall(call) if call.name == ANSWER_TOOL => {
                    let document = call.object().into_owned();
                    block.content = Content::Text(Text::Owned(document));
                }
                Content::ToolCall(_) => calls = true,
                _ => {}
            }
        }
        if !std::mem::take(&mut choice.citations).is_empty() {
            loss.drop("citations");
        }
        if !std::mem::take(&mut choice.logprobs).is_empty() {
            loss.drop("logprobs");
        }
        choice.finish = choice.finish.map(|finish| finish_of(finish, calls));
    }
}
