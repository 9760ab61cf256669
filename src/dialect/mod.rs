//! Wire formats: which endpoint a path is, what a request says of itself, what a stream carries,
//! how an error looks. One folder per format; nothing here touches a socket.
//!
//! The bytes of client and upstream are forwarded as they are, so nothing here builds or rebuilds a
//! message. It reads: a request for its model and a few options, an answer for its text, its usage,
//! its errors and its end. A dialect is what is different between formats and no more than that: its
//! paths, its requests, its streams, its whole answers and its errors, each in a file of that name.

mod adapt;
mod alike;
mod anthropic;
mod bedrock;
mod body;
mod call;
mod cohere;
mod credential;
mod endpoint;
mod failure;
mod familiar;
mod foreign;
mod gemini;
mod ir;
mod models;
mod multipart;
mod observe;
mod openai;
mod outline;
mod peek;
mod place;
mod probe;
mod prompt;
mod retry_after;
mod rewrite;
mod shared;
mod stream_error;
mod text;
mod token_count;
mod translate;
mod usage;

pub use adapt::{Adaptation, Adapted, Rule};
pub use body::{BodyFacts, body_usage, observe_body};
pub use call::{BodyKind, Call, Kept, MODEL_BYTES_MAX, classify};
pub use credential::{
    Ambiguous, CLIENT_CREDENTIALS, Credential, CredentialPlace, credential, websocket_protocols,
};
pub use endpoint::{Dialect, Endpoint};
pub use failure::{
    ERROR_CONTENT_TYPE, error_body, error_header, error_status, framing, heartbeat, stream_end,
};
pub use ir::{Dropped, Format, KeptAs, LossPolicy, Model, ModelQuirk, ModelQuirks};
pub use models::models_list;
pub use observe::{Forward, Observed, StreamObserver};
pub use openai::kept::{
    KeptTurn, Page, Reference, continued, deleted, input_items, input_list, may_be_kept,
    previous_response, references, resolved,
};
pub use outline::Ending;
pub use peek::{Peeked, UsageOption, peek};
pub use place::{Paths, Template};
pub use probe::{guess, one_token};
pub use prompt::prompt_text;
pub use retry_after::{RETRY_AFTER_MAX, retry_after};
pub use rewrite::{Rewritten, rewrite, upstream_path};
pub use stream_error::StreamError;
pub use text::{NoText, TextSink};
pub use token_count::{counts_tokens, token_count};
pub use translate::{ChatPair, Client, Pair, Speaks, StreamTranslator, TranslatedRequest};
pub use usage::Usage;
