//! What a stream says, piece by piece.
//!
//! A stream is `Start`, then blocks, each `Open`, pieces and `Close`, then `Finish` of each choice,
//! perhaps `Usage`, and `End`. Blocks are numbered from 0 in each choice, in the order in which they
//! open; of each choice, one is open at a time. A stream that does not come to its `End` is cut.

use super::super::{StreamError, Usage};
use super::{Citation, Cited, Finish, Logprob, Media, Opaque, Seal, Text};

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// The answer begins.
    Start {
        /// Its id.
        id: Option<Text<'a>>,
        /// The model that gives it.
        model: Option<Text<'a>>,
    },
    /// A block begins.
    Open {
        /// The choice.
        choice: u32,
        /// The number of the block in it.
        block: u32,
        /// What it is.
        opening: Opening<'a>,
    },
    /// More text of a block: its text, its thought, its arguments.
    Piece {
        /// The choice.
        choice: u32,
        /// The block.
        block: u32,
        /// The text, never empty.
        text: Text<'a>,
    },
    /// What the provider wants back with a thought.
    Sealed {
        /// The choice.
        choice: u32,
        /// The block.
        block: u32,
        /// The seal.
        seal: Seal<'a>,
    },
    /// What is said is drawn from this. Its place is found when the block is complete.
    Source {
        /// The choice.
        choice: u32,
        /// What it is drawn from.
        citation: Citation<'a>,
    },
    /// The same where it is written: at the end of its block, if it can be.
    Cited {
        /// The choice.
        choice: u32,
        /// Where, and from what.
        cited: Cited<'a>,
        /// The block is open.
        open: bool,
    },
    /// How likely the tokens of the text were that came last.
    Logprobs {
        /// The choice.
        choice: u32,
        /// The tokens, at least one.
        tokens: Vec<Logprob<'a>>,
    },
    /// A block is complete.
    Close {
        /// The choice.
        choice: u32,
        /// The block.
        block: u32,
    },
    /// A choice is complete.
    Finish {
        /// The choice.
        choice: u32,
        /// Why.
        finish: Finish,
        /// The text at which it ended.
        stop_sequence: Option<Text<'a>>,
    },
    /// What was used so far.
    Usage(Usage),
    /// Something that the client's format may not have a word for.
    Unsaid(&'static str),
    /// The provider's own error. Nothing follows.
    Error(StreamError),
    /// Nothing follows.
    End,
}

/// What a block is, when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// Text.
    Text,
    /// A refusal.
    Refusal,
    /// A thought.
    Thought,
    /// A call of a tool.
    ToolCall {
        /// Its id.
        id: Text<'a>,
        /// The tool.
        name: Text<'a>,
        /// What the provider wants back with it.
        seal: Option<Seal<'a>>,
    },
    /// Something to look at or to listen to, all of it at once.
    Media(Media<'a>),
    /// Something of one format only.
    Opaque(Opaque<'a>),
}

/// Takes the events of a stream as they are read.
pub trait Sink {
    /// The next event.
    fn event(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>)> Sink for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}
