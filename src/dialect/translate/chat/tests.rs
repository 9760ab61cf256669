//! The translator without a network: round trips, seals, streams in any cutting.

mod beside;
mod by_call;
mod cut;
mod fields;
mod fixtures;
mod properties;
mod seals;
mod streams;
mod used;

use super::*;
use crate::wire::frame::Framing;

fn pair(client: Format, upstream: Format) -> ChatPair {
    ChatPair { client, upstream }
}

fn client(format: Format) -> Client<'static> {
    let framing = if format == Format::Bedrock { Framing::AwsEventStream } else { Framing::Sse };
    Client {
        request_id: "req_1",
        model: "m",
        unix_s: 1_700_000_000,
        stream_usage: true,
        answer_by_call: false,
        kept: None,
        request: b"",
        framing,
    }
}

/// Every pair of two formats.
fn pairs() -> impl Iterator<Item = ChatPair> {
    Format::ALL
        .into_iter()
        .flat_map(|client| Format::ALL.map(|upstream| pair(client, upstream)))
        .filter(|pair| pair.client != pair.upstream)
}
