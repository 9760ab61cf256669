//! Where clients put their key, and what of theirs must stay here.
//!
//! Every SDK has its own place. A request that carries two different keys is refused: whichever of
//! them were taken, someone in front of or behind weir could have taken the other.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

use super::call::query_values;
use crate::wire::fields::{Fields, Name, Names};

/// How a browser passes a key with a WebSocket handshake, which cannot have headers of its own.
const WEBSOCKET_KEY_PREFIX: &str = "openai-insecure-api-key.";

/// The client's own business with weir: credentials, and the choice of an account that only makes sense
/// with the client's credential. None of them reaches an upstream.
pub const CLIENT_CREDENTIALS: Names = Names::of(&[
    Name::Authorization,
    Name::Cookie,
    Name::ProxyAuthorization,
    Name::XApiKey,
    Name::ApiKey,
    Name::XGoogApiKey,
    Name::XGoogUserProject,
    Name::OpenaiOrganization,
    Name::OpenaiProject,
    Name::XAmzDate,
    Name::XAmzSecurityToken,
    Name::XAmzContentSha256,
]);

/// Fields other than `Authorization` that a credential may be in.
const OTHER_PLACES: Names =
    Names::of(&[Name::XApiKey, Name::ApiKey, Name::XGoogApiKey, Name::SecWebsocketProtocol]);

/// Where a credential was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialPlace {
    /// `Authorization: Bearer …`
    Bearer,
    /// `x-api-key: …`
    XApiKey,
    /// `api-key: …`
    ApiKey,
    /// `x-goog-api-key: …`
    XGoogApiKey,
    /// `?key=…`
    Query,
    /// `Authorization: AWS4-HMAC-SHA256 Credential=…`: only the access key id, which is no secret.
    SigV4,
    /// `Sec-WebSocket-Protocol: openai-insecure-api-key.…`
    WebSocketProtocol,
}

/// A client's key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential<'a> {
    /// Where it was found.
    pub place: CredentialPlace,
    /// The key.
    pub secret: Cow<'a, str>,
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A request carries more than one credential, and they are not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// The key of a request. `in_url` says whether it may be in the query, where logs and histories keep
/// it: only Google's clients put it there.
pub fn credential<'a>(
    headers: &'a Fields,
    query: Option<&'a str>,
    in_url: bool,
) -> Result<Option<Credential<'a>>, Ambiguous> {
    let authorization = text(headers, Name::Authorization)?;
    let found = |place, secret: Option<&'a str>| {
        let secret = secret.map(str::trim_ascii).filter(|secret| !secret.is_empty())?;
        Some(Credential { place, secret: Cow::Borrowed(secret) })
    };
    let in_first = found(CredentialPlace::Bearer, authorization.and_then(bearer));
    // As nearly always: there is no other place that it could be in.
    if in_first.is_some() && !headers.contains_any(OTHER_PLACES) && !(in_url && query.is_some()) {
        return Ok(in_first);
    }
    let places = [
        in_first,
        found(CredentialPlace::XApiKey, text(headers, Name::XApiKey)?),
        found(CredentialPlace::ApiKey, text(headers, Name::ApiKey)?),
        found(CredentialPlace::XGoogApiKey, text(headers, Name::XGoogApiKey)?),
        if in_url { from_query(query)? } else { None },
        found(CredentialPlace::SigV4, authorization.and_then(access_key_id)),
        found(CredentialPlace::WebSocketProtocol, websocket_key(headers)?),
    ];
    let mut places = places.into_iter().flatten();
    let first = places.next();
    let same = |other: Credential<'_>| Some(&other.secret) == first.as_ref().map(|it| &it.secret);
    if places.all(same) { Ok(first) } else { Err(Ambiguous) }
}

/// A `Sec-WebSocket-Protocol` value without the key in it. `None` when nothing else is left.
pub fn websocket_protocols(value: &str) -> Option<String> {
    let kept: Vec<&str> = protocols(value)
        .filter(|protocol| !protocol.starts_with(WEBSOCKET_KEY_PREFIX))
        .filter(|protocol| !protocol.is_empty())
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

/// The one value of a header. What is no text is not there.
fn text(headers: &Fields, name: Name) -> Result<Option<&str>, Ambiguous> {
    if headers.is_repeated(name) { Err(Ambiguous) } else { Ok(headers.text(name)) }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim_ascii_start().split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case("bearer ").then_some(token)
}

/// `AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=…`
fn access_key_id(authorization: &str) -> Option<&str> {
    let parameters = authorization.trim_ascii().strip_prefix("AWS4-HMAC-SHA256")?;
    let scope = parameters
        .split([',', ' '])
        .find_map(|parameter| parameter.trim().strip_prefix("Credential="))?;
    scope.split('/').next()
}

fn from_query(query: Option<&str>) -> Result<Option<Credential<'_>>, Ambiguous> {
    let mut values = query_values(query, "key").filter(|raw| !raw.is_empty());
    let Some(raw) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Ambiguous);
    }
    let secret = percent_decode_str(raw).decode_utf8().ok();
    Ok(secret.map(|secret| Credential { place: CredentialPlace::Query, secret }))
}

fn websocket_key(headers: &Fields) -> Result<Option<&str>, Ambiguous> {
    let mut keys = headers
        .texts(Name::SecWebsocketProtocol)
        .flat_map(protocols)
        .filter_map(|protocol| protocol.strip_prefix(WEBSOCKET_KEY_PREFIX));
    let first = keys.next();
    if keys.next().is_some() { Err(Ambiguous) } else { Ok(first) }
}

fn protocols(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().copied().collect()
    }

    #[track_caller]
    fn check(
        pairs: &[(&'static str, &'static str)],
        query: Option<&str>,
        want: Option<(CredentialPlace, &str)>,
    ) {
        let headers = headers(pairs);
        let got = credential(&headers, query, true).expect("one credential");
        assert_eq!(got.as_ref().map(|found| (found.place, &*found.secret)), want);
    }

    #[test]
    fn every_place() {
        use CredentialPlace::{
            ApiKey, Bearer, Query, SigV4, WebSocketProtocol, XApiKey, XGoogApiKey,
        };
        check(&[("authorization", "Bearer sk-1")], None, Some((Bearer, "sk-1")));
        check(&[("authorization", "bearer  sk-1 ")], None, Some((Bearer, "sk-1")));
        check(&[("x-api-key", "sk-ant")], None, Some((XApiKey, "sk-ant")));
        check(&[("api-key", "azure")], None, Some((ApiKey, "azure")));
        check(&[("x-goog-api-key", "AIza")], None, Some((XGoogApiKey, "AIza")));
        check(&[], Some("alt=sse&key=AI%2Fza"), Some((Query, "AI/za")));
        let signed = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/bedrock/\
                      aws4_request, SignedHeaders=host;x-amz-date, Signature=00";
        check(&[("authorization", signed)], None, Some((SigV4, "AKIDEXAMPLE")));
        check(
            &[("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-1")],
            None,
            Some((WebSocketProtocol, "sk-1")),
        );
    }

    #[test]
    fn the_same_key_twice_is_one_and_empty_ones_do_not_count() {
        let both = [("authorization", "Bearer a"), ("x-api-key", "a")];
        check(&both, Some("key=a"), Some((CredentialPlace::Bearer, "a")));
        let empty = [("authorization", "Bearer "), ("x-api-key", "b")];
        check(&empty, None, Some((CredentialPlace::XApiKey, "b")));
        check(&[("authorization", "Basic dXNlcg==")], None, None);
        check(&[], Some("key="), None);
        check(&[], Some("monkey=1"), None);
        check(&[], Some("key=%ff"), None);
    }

    #[test]
    fn two_different_keys_are_none() {
        let both = headers(&[("authorization", "Bearer a"), ("x-api-key", "b")]);
        assert_eq!(credential(&both, None, false), Err(Ambiguous));
        let mut twice = headers(&[("authorization", "Bearer a")]);
        twice.append("authorization", "Bearer b");
        assert_eq!(credential(&twice, None, false), Err(Ambiguous));
        let one = headers(&[("authorization", "Bearer a")]);
        assert_eq!(credential(&one, Some("key=b"), true), Err(Ambiguous));
        assert_eq!(credential(&headers(&[]), Some("key=a&key=b"), true), Err(Ambiguous));
        let sockets = "openai-insecure-api-key.a, openai-insecure-api-key.b";
        let sockets = headers(&[("sec-websocket-protocol", sockets)]);
        assert_eq!(credential(&sockets, None, false), Err(Ambiguous));
    }

    #[test]
    fn a_key_in_the_url_is_only_taken_where_it_may_be() {
        assert_eq!(credential(&headers(&[]), Some("key=a"), false), Ok(None));
    }

    #[test]
    fn a_debug_print_does_not_show_the_secret() {
        let headers = headers(&[("x-api-key", "sk-secret")]);
        assert!(!format!("{:?}", credential(&headers, None, false)).contains("sk-secret"));
    }

    #[test]
    fn what_is_the_clients_own() {
        for name in
            ["authorization", "x-api-key", "cookie", "x-amz-security-token", "openai-project"]
        {
            assert!(CLIENT_CREDENTIALS.has(Name::of(name.as_bytes())), "{name}");
        }
        for name in ["anthropic-version", "content-type", "x-request-id", "anthropic-beta"] {
            assert!(!CLIENT_CREDENTIALS.has(Name::of(name.as_bytes())), "{name}");
        }
    }

    #[test]
    fn websocket_protocols_lose_the_key_only() {
        let value = "realtime, openai-insecure-api-key.sk-1, openai-beta.realtime-v1";
        assert_eq!(
            websocket_protocols(value).as_deref(),
            Some("realtime, openai-beta.realtime-v1")
        );
        assert_eq!(websocket_protocols("openai-insecure-api-key.sk-1"), None);
    }
}
