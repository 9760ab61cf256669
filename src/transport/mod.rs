//! Byte streams: listening sockets, accepted and connected streams, the runtimes that drive them.
//!
//! The only room that may contain `unsafe`.

mod settings;

pub use settings::{
    ClientAuth, FileRef, Io, ListenerSettings, ListenerTls, RuntimeSettings, Threads,
};
