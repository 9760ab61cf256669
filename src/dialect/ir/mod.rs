//! The small intermediate representation: what a chat request, its answer and its stream say,
//! whatever the format they say it in; and the same of embeddings and rankings.
//!
//! It exists only while a request is translated from one format to another. What both formats know
//! is here by name. What only some know is here as an [`Extra`] member or an [`Opaque`] block of its
//! own format: it goes back into that format as it came, and anywhere else it is lost by the rules of
//! [`Loss`], which reports it. So a codec never has a member that it does not account for.
//!
//! Texts are borrowed from the document they were read from where they can be; numbers, schemas and
//! the arguments of tools are raw JSON, so that their spelling and the order of their members stay.

mod answer;
mod audit;
mod cite;
mod closed;
mod embed;
mod event;
mod flow;
mod format;
mod logprob;
mod loss;
mod media;
mod quirk;
mod rank;
mod read;
mod request;
mod schema;
mod seal;
mod stencil;
mod suit;

pub use crate::wire::json::{ArrayWriter, ObjectWriter, write_object};
pub use answer::{Answer, Choice, Finish, KeptAs};
pub use audit::{Known, unknown_members};
pub use cite::{At, CITATIONS_MAX, Citation, Cited, Origin, Said, Span, pieces};
pub use closed::closed_schema;
pub use embed::{EmbedAnswer, EmbedFormat, EmbedInput, EmbedRequest, Encoding, Purpose, Vector};
pub use event::{Event, Opening, Sink};
pub use flow::{Flow, Run};
pub use format::Format;
pub use logprob::{Likely, Logprob};
pub use loss::{Dropped, Loss, LossPolicy};
pub use media::{Media, MediaKind, Source, data_url, extension, media_type};
pub use quirk::{Model, ModelQuirk, ModelQuirks};
pub use rank::{RankAnswer, RankFormat, RankRequest, Ranked};
pub use read::{
    as_object, boolean, id_for_tool, items, joined, members, number, numbers, object_of, raw,
    refused_shape, string, unsigned, utf8,
};
pub use request::{
    Block, Cache, Content, Effort, Extra, Message, Opaque, Output, Reasoning, Request, Role,
    Schema, Text, Thought, Tool, ToolCall, ToolChoice, ToolResult,
};
pub use schema::json_schema;
pub use seal::Seal;
pub use stencil::Stencil;
pub use suit::ANSWER_TOOL;
