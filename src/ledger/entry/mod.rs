//! A record in the form in which it waits for the database: short, and made without an allocation.
//!
//! An entry is its length (four bytes, little-endian), a byte for the version of the form, its numbers
//! ([`group`]), and its texts: a byte that says which it has of those that few have, how long each of
//! those is (seven bits a byte, LEB128), they themselves, and the request's id, which is the rest. What
//! was never known is an empty text, or zero for a number that is written one higher.
//!
//! Most requests have nearly everything but their numbers in common with others: who asked, where it
//! went, how it ended ([`Common`]). The first of them has that behind its numbers, and the others say
//! how many bytes before them it stands. Buffers can be put one behind the other, and read without what
//! stands before them.

mod group;
mod read;
mod write;

pub use read::Entries;
pub use write::Encoder;

/// The form that is written. Every form that was ever released is read: up to the third all numbers are
/// LEB128 and every text is there, the first has no `named`, and both the first and the second have
/// everything in every entry.
const VERSION: u8 = 4;

/// Kinds of tokens.
pub const TOKENS: usize = 8;
/// Texts that requests have in common.
const TEXTS: usize = 13;

const STREAM: u64 = 1;
const HEDGED: u64 = 2;
const CLIENT_GONE: u64 = 4;
const BROKEN: u64 = 8;

/// Which texts an entry has of those that few have, in the order in which they stand.
const USER: u8 = 1;
const MODEL_ASKED: u8 = 2;
const TRIED: u8 = 4;
const NAMED: u8 = 8;

/// What one request has to itself. Its texts lie in the buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Which of those that were read is what it has in common with others: see [`Entries::common`].
    pub common: usize,
    /// When the request's head arrived.
    pub time_ms: u64,
    /// From its head to its end.
    pub duration_us: u64,
    /// From its head to the first token.
    pub ttft_us: Option<u64>,
    /// Number of attempts.
    pub attempts: u64,
    /// Tokens in the order of [`crate::telemetry::TOKEN_KINDS`].
    pub tokens: [u64; TOKENS],
    /// What they cost, where a price is known.
    pub cost_nano_usd: Option<u64>,
    /// Body bytes read from the client.
    pub body_in_bytes: u64,
    /// Body bytes written to the client.
    pub body_out_bytes: u64,
    /// The client's `x-request-id`, or ours.
    pub request_id: &'a str,
    /// The end user that the request names.
    pub user: &'a str,
    /// The model that the client named, where it is another than the upstream was asked for.
    pub model_asked: Option<&'a str>,
    /// Every attempt as `target outcome status milliseconds`, one a line, where there was more than
    /// one.
    pub tried: &'a str,
    /// What expressions named of the request, where budgets are counted by that.
    pub named: &'a str,
}

/// What many requests have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each a column")]
pub struct Common<'a> {
    /// The status that the client got.
    pub status: u64,
    /// The answer was a stream.
    pub stream: bool,
    /// A second attempt was started because the first was slow.
    pub hedged: bool,
    /// The client left before the end.
    pub client_gone: bool,
    /// The answer broke after its first byte had reached the client.
    pub broken: bool,
    /// The caller's tenant.
    pub tenant: &'a str,
    /// The caller's team.
    pub team: &'a str,
    /// The name of the caller's key.
    pub key: &'a str,
    /// The route that matched.
    pub route: &'a str,
    /// The pool that answered, or was to answer.
    pub pool: &'a str,
    /// The endpoint.
    pub endpoint: &'a str,
    /// The wire format that the client speaks.
    pub dialect: &'a str,
    /// The model that the upstream was asked for.
    pub model_served: &'a str,
    /// The provider that answered, or was tried last.
    pub provider: &'a str,
    /// The target that was tried last.
    pub target: &'a str,
    /// What went wrong.
    pub error: &'a str,
    /// Who counted the tokens.
    pub source: &'a str,
    /// The prices under which the cost was reckoned.
    pub prices: &'a str,
}

impl<'a> Common<'a> {
    /// Its texts in one order.
    pub fn texts(&self) -> [&'a str; TEXTS] {
        [
            self.tenant,
            self.team,
            self.key,
            self.route,
            self.pool,
            self.endpoint,
            self.dialect,
            self.model_served,
            self.provider,
            self.target,
            self.error,
            self.source,
            self.prices,
        ]
    }
}

#[cfg(test)]
mod tests;
