//! Where clients put their key, and what of theirs must stay here.
//!
//! Every SDK has its own place. They are tried in one fixed order, so that a request which carries
//! two of them is always read the same way.

use std::borrow::Cow;
use std::fmt;

use http::header::{
    AUTHORIZATION, AsHeaderName, COOKIE, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL,
};
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::call::query_value;

/// How a browser passes a key with a WebSocket handshake, which cannot have headers of its own.
const WEBSOCKET_KEY_PREFIX: &str = "openai-insecure-api-key.";

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

/// The key of a request: the first one found in the order of [`CredentialPlace`].
pub fn credential<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<Credential<'a>> {
    let authorization = text(headers, AUTHORIZATION);
    let found = |place, secret: Option<&'a str>| {
        let secret = secret.map(str::trim).filter(|secret| !secret.is_empty())?;
        Some(Credential { place, secret: Cow::Borrowed(secret) })
    };
    found(CredentialPlace::Bearer, authorization.and_then(bearer))
        .or_else(|| found(CredentialPlace::XApiKey, text(headers, "x-api-key")))
        .or_else(|| found(CredentialPlace::ApiKey, text(headers, "api-key")))
        .or_else(|| found(CredentialPlace::XGoogApiKey, text(headers, "x-goog-api-key")))
        .or_else(|| from_query(query))
        .or_else(|| found(CredentialPlace::SigV4, authorization.and_then(access_key_id)))
        .or_else(|| found(CredentialPlace::WebSocketProtocol, websocket_key(headers)))
}

/// Whether a header is the client's own business with weir: a credential, or the choice of an
/// account that only makes sense with the client's credential. None of them reaches an upstream.
pub fn is_client_credential(name: &HeaderName) -> bool {
    if *name == AUTHORIZATION || *name == COOKIE || *name == PROXY_AUTHORIZATION {
        return true;
    }
    matches!(
        name.as_str(),
        "x-api-key"
            | "api-key"
            | "x-goog-api-key"
            | "x-goog-user-project"
            | "openai-organization"
            | "openai-project"
            | "x-amz-date"
            | "x-amz-security-token"
            | "x-amz-content-sha256"
    )
}

/// A `Sec-WebSocket-Protocol` value without the key in it. `None` when nothing else is left.
pub fn websocket_protocols(value: &str) -> Option<String> {
    let kept: Vec<&str> = protocols(value)
        .filter(|protocol| !protocol.starts_with(WEBSOCKET_KEY_PREFIX))
        .filter(|protocol| !protocol.is_empty())
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// `AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=…`
fn access_key_id(authorization: &str) -> Option<&str> {
    let parameters = authorization.trim().strip_prefix("AWS4-HMAC-SHA256")?;
    let scope = parameters
        .split([',', ' '])
        .find_map(|parameter| parameter.trim().strip_prefix("Credential="))?;
    scope.split('/').next()
}

fn from_query(query: Option<&str>) -> Option<Credential<'_>> {
    let raw = query_value(query, "key").filter(|raw| !raw.is_empty())?;
    let secret = percent_decode_str(raw).decode_utf8().ok()?;
    Some(Credential { place: CredentialPlace::Query, secret })
}

fn websocket_key(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(protocols)
        .find_map(|protocol| protocol.strip_prefix(WEBSOCKET_KEY_PREFIX))
}

fn protocols(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[track_caller]
    fn check(
        pairs: &[(&'static str, &'static str)],
        query: Option<&str>,
        want: Option<(CredentialPlace, &str)>,
    ) {
        let headers = headers(pairs);
        let got = credential(&headers, query);
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
    fn the_first_place_wins_and_empty_ones_do_not_count() {
        let both = [("authorization", "Bearer a"), ("x-api-key", "b")];
        check(&both, Some("key=c"), Some((CredentialPlace::Bearer, "a")));
        let empty = [("authorization", "Bearer "), ("x-api-key", "b")];
        check(&empty, None, Some((CredentialPlace::XApiKey, "b")));
        check(&[("authorization", "Basic dXNlcg==")], None, None);
        check(&[], Some("key="), None);
        check(&[], Some("monkey=1"), None);
        check(&[], Some("key=%ff"), None);
    }

    #[test]
    fn a_debug_print_does_not_show_the_secret() {
        let headers = headers(&[("x-api-key", "sk-secret")]);
        assert!(!format!("{:?}", credential(&headers, None)).contains("sk-secret"));
    }

    #[test]
    fn what_is_the_clients_own() {
        for name in
            ["authorization", "x-api-key", "cookie", "x-amz-security-token", "openai-project"]
        {
            assert!(is_client_credential(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["anthropic-version", "content-type", "x-request-id", "anthropic-beta"] {
            assert!(!is_client_credential(&HeaderName::from_static(name)), "{name}");
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
