//! A small HTTP/1.1 client that costs little beside what it measures, and says exactly how an
//! answer ended.
//!
//! Decoding is sans-IO ([`Decoder`], [`Scanner`]); [`Connection`] adds a socket. General clients
//! hide what a load test must see: a cut after the last frame, a connection that was closed while
//! idle, a stream that stops before its terminal event.

pub mod blocking;
mod connection;
mod decoder;
mod failure;
mod frames;
pub mod http2;
mod request;

pub use connection::{Connection, Observer};
pub use decoder::{Decoder, Head, Step};
pub use failure::Failure;
pub use frames::{Framing, Mark, Scanner};
pub use request::{Endpoint, Shape};
