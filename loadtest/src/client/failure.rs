//! How a request can fail, as a bounded set that is also the label in tables and JSON.

use std::fmt;
use std::io;

/// How a request failed, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The connection was refused.
    Refused,
    /// Connecting failed in another way.
    Connect,
    /// A reused connection was closed before the first byte of the answer.
    Stale,
    /// A fresh connection was closed or reset before the first byte of the answer.
    NoAnswer,
    /// The connection broke after the first byte.
    Cut,
    /// No end of the answer within the timeout.
    Timeout,
    /// A status other than 2xx.
    Status(u16),
    /// An error event inside a stream that began with 2xx.
    ErrorEvent,
    /// The answer is not HTTP/1.1, or not the framing it claims.
    Protocol,
    /// With validation: the stream ended without its terminal event, or with a wrong number of
    /// frames, or the body is not JSON.
    Incomplete,
    /// The load generator could not keep up; the request was never sent.
    NotSent,
}

impl Failure {
    /// From an error of `connect`.
    pub fn connecting(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::TimedOut => Failure::Timeout,
            _ => Failure::Connect,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Refused => "refused",
            Failure::Connect => "connect",
            Failure::Stale => "stale",
            Failure::NoAnswer => "no_answer",
            Failure::Cut => "cut",
            Failure::Timeout => "timeout",
            Failure::Status(status) => return write!(f, "status_{status}"),
            Failure::ErrorEvent => "error_event",
            Failure::Protocol => "protocol",
            Failure::Incomplete => "incomplete",
            Failure::NotSent => "not_sent",
        })
    }
}
