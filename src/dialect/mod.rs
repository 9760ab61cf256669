//! Wire formats: which endpoint a path is, what a request says of itself, what a stream carries,
//! how an error looks. One folder per format; nothing here touches a socket.

mod endpoint;
mod usage;

pub use endpoint::{Dialect, Endpoint};
pub use usage::Usage;
