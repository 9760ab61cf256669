//! Embeddings and rankings between formats: what must hold of any request and its answer.
//!
//! The first byte of an input chooses the call, the second one the upstream. What the client has sent
//! stands before the first zero byte of the rest, and what the upstream has sent behind it.

use http::Method;
use weir::dialect::{Client, Dialect, LossPolicy, Pair, Speaks, classify};
use weir::error::Kind;
use weir::wire::fields::Fields;
use weir::wire::frame::Framing;
use weir::wire::json::{self, Limits};

const CALLS: [&str; 7] = [
    "/v1/embeddings",
    "/v1beta/models/m:embedContent",
    "/v1beta/models/m:batchEmbedContents",
    "/v2/embed",
    "/model/m/invoke",
    "/v1/rerank",
    "/v2/rerank",
];
const UPSTREAMS: [Dialect; 4] =
    [Dialect::OpenAi, Dialect::Gemini, Dialect::Cohere, Dialect::Bedrock];
/// As deep as a listener lets a request nest by default.
const REQUEST: Limits = Limits { depth_max: 128 };
const DOCUMENT: Limits = Limits { depth_max: json::DEPTH_MAX };

/// A request of one format for another, and an answer to it.
pub fn vectors(input: &[u8]) {
    let Some((&[call, upstream], rest)) = input.split_first_chunk() else { return };
    let path = CALLS[usize::from(call) % CALLS.len()];
    let dialect = UPSTREAMS[usize::from(upstream) % UPSTREAMS.len()];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let (request, answer) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    // Nothing else comes as far as a translation.
    if json::object(request, REQUEST).is_err() {
        return;
    }
    let headers = Fields::from_iter([("content-type", "application/json")]);
    let call = classify(&Method::POST, path, None, &headers).expect("a path that is known");
    let Some(pair) = Pair::between(&call, Speaks { dialect, formats: &[] }) else { return };
    let strict = pair.request(request, false, "m", LossPolicy::Strict);
    let lenient = match pair.request(request, false, "m", LossPolicy::Lenient) {
        Ok(lenient) => lenient,
        Err(error) => {
            assert!(matches!(error.kind, Kind::BadRequest | Kind::NotExpressible), "{error:?}");
            assert_eq!(strict.map_err(|error| error.kind).err(), Some(error.kind));
            return;
        }
    };
    json::object(&lenient.body, DOCUMENT).expect("a JSON object");
    match strict {
        Ok(strict) => {
            assert!(lenient.dropped.is_empty(), "{:?} is not refused", lenient.dropped);
            assert_eq!(strict.body, lenient.body);
        }
        Err(error) => {
            assert_eq!(error.kind, Kind::NotExpressible);
            assert!(!lenient.dropped.is_empty(), "{error:?} is not reported");
        }
    }
    let client = Client {
        request_id: "req_1",
        model: "asked",
        unix_s: 1_700_000_000,
        stream_usage: false,
        answer_by_call: false,
        kept: None,
        request,
        framing: Framing::Sse,
    };
    match pair.answer(answer, client) {
        Ok((ours, _)) => drop(json::object(&ours, DOCUMENT).expect("a JSON object")),
        // What can be asked can be answered: the fault is the upstream's.
        Err(error) => assert_eq!(error.kind, Kind::UpstreamProtocol, "{error:?}"),
    }
}
