//! Byte streams: listening sockets, accepted and connected streams, the runtimes that drive them.
//!
//! The only room that may contain `unsafe`.

#![expect(unsafe_code, reason = "reading into memory that is not initialised yet")]

pub mod handover;
pub mod listen;
mod runtime;
mod settings;
mod stream;
pub mod tls;
pub mod upstream;

pub use runtime::runtime;
pub use stream::{Stream, send_gathered};

pub use settings::{
    ClientAuth, FileRef, Io, ListenerSettings, ListenerTls, RuntimeSettings, Threads,
};
