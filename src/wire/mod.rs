//! Sans-IO codecs: SSE, the AWS event stream, streamed JSON arrays, WebSocket frames, and JSON span
//! scan and splice. Nothing here touches a socket: push bytes, get frames.
//!
//! A proxy that forwards the bytes it received needs to know *where* things are in them, not to
//! own a copy of them. So everything in this room works with spans: a [`frame::Framer`] cuts a
//! response into runs of complete frames without copying, the codecs of each framing point into
//! such a run, and [`json`] finds members of a document and replaces some of them by slicing around
//! them. The results do not depend on how the network cut the bytes.

pub mod eventstream;
pub mod fields;
pub mod frame;
pub mod http1;
pub mod json;
pub mod jsonarray;
pub(crate) mod lately;
pub mod sse;
pub mod websocket;
