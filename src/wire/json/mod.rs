//! JSON as bytes: validate a whole document once, remember where the top-level members are, read
//! and replace some of them, and never build a tree.
//!
//! Two ways in. [`object()`] is for request bodies: it validates the whole document, because what weir
//! forwards must mean the same to weir and to the upstream, and refuses what it cannot vouch for.
//! [`lazy`] is for the frames of a stream, which are small, many, and come from an upstream that
//! weir only observes: it looks no further than it is asked to and ends quietly on garbage.

mod end;
mod error;
mod form;
mod object;
mod scan;
mod splice;
mod tail;
mod text;
mod value;
mod word;
mod write;

pub use error::JsonError;
pub use form::{Forms, Numbers};
pub use object::{MEMBERS_MAX, Object, Repeated, object};
pub use scan::{DEPTH_MAX, Limits, plain_bytes, validate};
pub use splice::{Edit, Segments, splice};
pub use tail::LastKey;
pub use text::{escape, quote, unescape};
pub use value::{Items, Kind, Leaf, Leaves, Member, Members, Value, find, lazy};
pub use write::{ArrayWriter, ObjectWriter, write_object};

pub(super) use end::value_end;

/// White space between tokens (RFC 8259, section 2).
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
