//! Token counts that weir gives by itself, in the shape of the client that asks.

use bytes::Bytes;

use super::Endpoint;
use super::call::Call;
use super::ir::write_object;

/// What an endpoint answers that counts the tokens of a prompt. `None` if the call is none of those.
pub fn token_count(call: &Call<'_>, tokens: u64) -> Option<Bytes> {
    let mut out = Vec::new();
    write_object(&mut out, |body| match call.endpoint {
        Endpoint::CountTokens => body.number("input_tokens", tokens),
        Endpoint::GeminiCountTokens => {
            body.number("totalTokens", tokens);
            body.array("promptTokensDetails", |details| {
                details.object(|detail| {
                    detail.text("modality", "TEXT");
                    detail.number("tokenCount", tokens);
                });
            });
        }
        Endpoint::Responses => {
            body.text("object", "response.input_tokens");
            body.number("input_tokens", tokens);
        }
        _ => {}
    });
    counts_tokens(call).then(|| out.into())
}

/// Whether a call asks for nothing but a count.
pub fn counts_tokens(call: &Call<'_>) -> bool {
    match call.endpoint {
        Endpoint::CountTokens | Endpoint::GeminiCountTokens => true,
        Endpoint::Responses => call.tail == "/responses/input_tokens",
        _ => false,
    }
}
