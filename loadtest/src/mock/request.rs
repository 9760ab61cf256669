//! What a request says, read once: the same for HTTP/1.1 and HTTP/2.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use super::fault::Fault;
use super::latency::duration;
use super::words;

/// A whole request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The path, still percent-encoded.
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) fields: Fields,
    pub(super) body: Bytes,
}

/// Where a client puts its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Authorization,
    XApiKey,
    ApiKey,
    GoogApiKey,
    Query,
}

/// How the frames of a stream are cut into writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Chunking {
    /// One write a frame.
    #[default]
    Whole,
    /// Pieces of this many bytes.
    Bytes(usize),
    /// Pieces of random sizes that ignore where frames end.
    Random,
    /// As many frames as are ready in one write.
    Joined,
}

impl FromStr for Chunking {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.strip_prefix("bytes:").and_then(|number| number.parse().ok());
        match (text, bytes) {
            ("whole", _) => Ok(Self::Whole),
            ("random", _) => Ok(Self::Random),
            ("joined", _) => Ok(Self::Joined),
            (_, Some(bytes)) if bytes > 0 => Ok(Self::Bytes(bytes)),
            _ => Err(format!("`{text}` is no chunking: whole, bytes:N, random or joined")),
        }
    }
}

/// What the test asks of this one answer, in `x-mock-*` headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a header of its own")]
pub(super) struct Knobs {
    pub(super) fault: Option<Fault>,
    pub(super) tokens: Option<u32>,
    pub(super) ttft: Option<Duration>,
    pub(super) itl: Option<Duration>,
    pub(super) chunking: Chunking,
    pub(super) no_usage: bool,
    pub(super) record: bool,
    /// What the provider would refuse is refused, whether or not the answer depends on it.
    pub(super) strict: bool,
    /// The response head is sent at once, not with the first token.
    pub(super) early_head: bool,
    pub(super) seed: Option<u64>,
    /// How many tools are called.
    pub(super) tool_calls: Option<u32>,
    pub(super) text: words::Kind,
    /// The text ends at a stop sequence.
    pub(super) stop_sequence: bool,
    /// The text is a refusal.
    pub(super) refusal: bool,
}

/// The header fields that matter here.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) request_id: Option<String>,
    pub(super) credentials: Vec<(Slot, String)>,
    pub(super) anthropic_version: bool,
    pub(super) content_type: Option<String>,
    pub(super) accept: Option<String>,
    pub(super) websocket_key: Option<String>,
    pub(super) websocket_protocols: Option<String>,
    pub(super) upgrade_websocket: bool,
    pub(super) knobs: Knobs,
    /// What is wrong with an `x-mock-*` header.
    pub(super) knob_error: Option<String>,
    /// What no proxy may forward, by a short name.
    pub(super) leaks: Vec<String>,
}

fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(value).into_owned(),
    }
}

impl Fields {
    /// Takes note of one field. Names may be in any case.
    pub(super) fn note(&mut self, name: &str, value: &[u8]) {
        let mut lower = [0_u8; 48];
        let Some(lower) = lower.get_mut(..name.len()) else { return };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"x-request-id" => self.request_id = Some(text(value)),
            b"authorization" => self.credentials.push((Slot::Authorization, text(value))),
            b"x-api-key" => self.credentials.push((Slot::XApiKey, text(value))),
            b"api-key" => self.credentials.push((Slot::ApiKey, text(value))),
            b"x-goog-api-key" => self.credentials.push((Slot::GoogApiKey, text(value))),
            b"anthropic-version" => self.anthropic_version = true,
            b"content-type" => self.content_type = Some(text(value)),
            b"accept" => self.accept = Some(text(value)),
            b"sec-websocket-key" => self.websocket_key = Some(text(value)),
            b"sec-websocket-protocol" => self.websocket_protocols = Some(text(value)),
            b"upgrade" => self.upgrade_websocket = value.eq_ignore_ascii_case(b"websocket"),
            b"proxy-authorization" | b"proxy-connection" | b"proxy-authenticate" => {
                self.leaks.push(text(lower));
            }
            name if name.starts_with(b"x-weir-") => self.leaks.push(text(name)),
            name if name.starts_with(b"x-mock-") => {
                if let Err(why) = self.knobs.set(&name[7..], &text(value)) {
                    self.knob_error = Some(format!("{}: {why}", text(name)));
                }
            }
            _ => {}
        }
    }

    /// A credential in the query (`?key=`).
    pub(super) fn note_query(&mut self, query: Option<&str>) {
        for pair in query.unwrap_or_default().split('&') {
            if let Some(key) = pair.strip_prefix("key=") {
                self.credentials.push((Slot::Query, decode(key)));
            }
        }
    }

    /// Closes the list of leaks: two credentials that differ are one.
    pub(super) fn finish(&mut self) {
        let mut keys = self.credentials.iter().map(|(_, key)| bare(key));
        if let Some(first) = keys.next()
            && keys.any(|key| key != first)
        {
            self.leaks.push("two_credentials".into());
        }
    }

    /// The key of the caller, without its scheme.
    pub(super) fn key(&self) -> Option<&str> {
        self.credentials.first().map(|(_, key)| bare(key)).filter(|key| !key.is_empty())
    }
}

/// A credential without its scheme.
fn bare(credential: &str) -> &str {
    match credential.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
        _ => credential.trim(),
    }
}

fn parse<T: FromStr>(value: &str) -> Result<T, String> {
    value.trim().parse().map_err(|_| format!("`{value}` is not a number"))
}

fn flag(value: &str) -> Result<bool, String> {
    match value.trim() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("`{value}` is neither 1 nor 0")),
    }
}

impl Knobs {
    fn set(&mut self, name: &[u8], value: &str) -> Result<(), String> {
        match name {
            b"fault" => self.fault = Some(value.parse()?),
            b"tokens" => self.tokens = Some(parse(value)?),
            b"ttft-ms" => self.ttft = Some(duration(value)?),
            b"itl-ms" => self.itl = Some(duration(value)?),
            b"chunking" => self.chunking = value.parse()?,
            b"no-usage" => self.no_usage = flag(value)?,
            b"record" => self.record = flag(value)?,
            b"strict" => self.strict = flag(value)?,
            b"early-head" => self.early_head = flag(value)?,
            b"seed" => self.seed = Some(parse(value)?),
            b"tool-calls" => self.tool_calls = Some(parse(value)?),
            b"text" => self.text = value.parse()?,
            b"refusal" => self.refusal = flag(value)?,
            b"stop-sequence" => self.stop_sequence = flag(value)?,
            _ => return Err("this header is not known".into()),
        }
        Ok(())
    }
}

/// Percent-decodes; what is not a valid escape stays as it is.
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |i: usize| bytes.get(i).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in list {
            fields.note(name, value.as_bytes());
        }
        fields.finish();
        fields
    }

    #[test]
    fn reads_knobs_and_names_mistakes() {
        let read = fields(&[
            ("X-Mock-Fault", "stall=2"),
            ("x-mock-tokens", "9"),
            ("x-mock-chunking", "bytes:3"),
        ]);
        assert_eq!(read.knobs.fault, Some(Fault::Stall(2)));
        assert_eq!(read.knobs.tokens, Some(9));
        assert_eq!(read.knobs.chunking, Chunking::Bytes(3));
        assert_eq!(read.knob_error, None);
        for (name, value) in [
            ("x-mock-fault", "nope"),
            ("x-mock-nope", "1"),
            ("x-mock-tokens", "many"),
            ("x-mock-record", "yes"),
            ("x-mock-chunking", "bytes:0"),
        ] {
            assert!(fields(&[(name, value)]).knob_error.is_some(), "{name}");
        }
    }

    #[test]
    fn notices_what_leaked() {
        assert!(fields(&[("authorization", "Bearer a"), ("x-api-key", "a")]).leaks.is_empty());
        assert_eq!(
            fields(&[("authorization", "Bearer a"), ("x-api-key", "b")]).leaks,
            ["two_credentials"]
        );
        assert_eq!(fields(&[("X-Weir-Route", "r")]).leaks, ["x-weir-route"]);
        assert_eq!(fields(&[("Proxy-Authorization", "r")]).leaks, ["proxy-authorization"]);
    }

    #[test]
    fn finds_the_key() {
        assert_eq!(fields(&[("Authorization", "Bearer sk-1")]).key(), Some("sk-1"));
        assert_eq!(fields(&[("x-goog-api-key", "g")]).key(), Some("g"));
        let mut query = Fields::default();
        query.note_query(Some("alt=sse&key=a%2Bb"));
        assert_eq!(query.key(), Some("a+b"));
        assert_eq!(Fields::default().key(), None);
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(name in "\\PC{0,60}", value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut fields = Fields::default();
            fields.note(&name, &value);
            fields.finish();
        }

        #[test]
        fn decode_is_total(text in "\\PC{0,40}") {
            let _ = decode(&text);
        }
    }
}
