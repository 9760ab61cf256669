//! The whole simulated upstream over real sockets.

mod client;
mod faults;
mod formats;
mod openai;
mod protocols;
