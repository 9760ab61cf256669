//! Who may use `/admin/v1`.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Secret;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No token, or another one.
    Unauthorized,
    /// Sent by a page of another site.
    CrossSite,
    /// Sent to a name that is not this machine's own.
    ForeignHost,
}

/// Checks a request to `/admin/v1`.
pub fn check(token: Option<&Secret>, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(token) = token {
        return match bearer(headers) {
            Some(given) if same(given, token) => Ok(()),
            _ => Err(Refusal::Unauthorized),
        };
    }
    // A browser sends no credential of ours along, so with a token set these need no check.
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Refusal::CrossSite);
    }
    let host = uri.host().map(ToOwned::to_owned).or_else(|| host_header(headers));
    if host.is_some_and(|host| !is_own_name(&host)) {
        return Err(Refusal::ForeignHost);
    }
    Ok(())
}

/// The token of `Authorization: Bearer …` (RFC 6750, the scheme in any case).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Compares hashes of equal length, so that the time taken tells nothing of either text.
fn same(given: &[u8], token: &Secret) -> bool {
    let (given, token) = (Sha256::digest(given), Sha256::digest(token.expose()));
    given.as_slice().ct_eq(token.as_slice()).into()
}

/// The host of the `Host` header without its port. A header that is no host reads as it stands.
fn host_header(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::HOST)?;
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let host = text.parse::<Uri>().ok().and_then(|uri| uri.host().map(ToOwned::to_owned));
    Some(host.unwrap_or(text))
}

/// An address or `localhost`. Any other name may be one that its owner resolves to loopback in order
/// to have a browser speak to us (DNS rebinding).
fn is_own_name(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value")))
            .collect()
    }

    fn with_token(pairs: &[(&'static str, &str)]) -> Result<(), Refusal> {
        check(Some(&Secret::new("s3cret")), &Uri::from_static("/"), &headers(pairs))
    }

    fn without(pairs: &[(&'static str, &str)]) -> Result<(), Refusal> {
        check(None, &Uri::from_static("/"), &headers(pairs))
    }

    #[test]
    fn the_token_and_nothing_else() {
        assert_eq!(with_token(&[("authorization", "Bearer s3cret")]), Ok(()));
        assert_eq!(with_token(&[("authorization", "bearer  s3cret")]), Ok(()));
        for wrong in
            ["Bearer s3cre", "Bearer s3crets", "Bearer", "Bearer ", "Basic s3cret", "s3cret", ""]
        {
            let refused = with_token(&[("authorization", wrong)]);
            assert_eq!(refused, Err(Refusal::Unauthorized), "{wrong:?}");
        }
        assert_eq!(with_token(&[]), Err(Refusal::Unauthorized));
    }

    #[test]
    fn without_a_token_browsers_of_other_sites_are_refused() {
        assert_eq!(without(&[]), Ok(()));
        assert_eq!(without(&[("host", "127.0.0.1:9090")]), Ok(()));
        assert_eq!(without(&[("host", "[::1]:9090")]), Ok(()));
        assert_eq!(without(&[("host", "localhost:9090")]), Ok(()));
        assert_eq!(without(&[("host", "localhost"), ("sec-fetch-site", "same-origin")]), Ok(()));
        for host in ["evil.example", "evil.example:9090", "localhost.evil.example", "a b"] {
            assert_eq!(without(&[("host", host)]), Err(Refusal::ForeignHost), "{host}");
        }
        let crossing = [("host", "127.0.0.1:9090"), ("sec-fetch-site", "cross-site")];
        assert_eq!(without(&crossing), Err(Refusal::CrossSite));
    }
}
