//! Byte streams: listening sockets, accepted and connected streams, the runtimes that drive them.
//!
//! The only room that may contain `unsafe`.

pub mod handover;
pub mod listen;
mod settings;
pub mod tls;
pub mod upstream;

pub use settings::{
    ClientAuth, FileRef, Io, ListenerSettings, ListenerTls, RuntimeSettings, Threads,
};
