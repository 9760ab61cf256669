//! Who may use `/admin/v1`, and as what.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::Secret;
use crate::manage::Actor;
use crate::plan::{AdminSettings, Reach, Role, SsoSettings};
use crate::tenant::Caller;

use super::View;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No token, or another one.
    Unauthorized,
    /// A token of an issuer that names no role which may do anything here.
    NoRole,
    /// Sent by a page of another site.
    CrossSite,
    /// Sent to a name that is not this machine's own.
    ForeignHost,
}

/// Somebody who may use the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its role.
    pub role: Role,
    /// Its name and the tenant that it is kept to.
    pub actor: Actor,
}

impl Operator {
    fn new(name: &str, role: Role, tenant: Option<&str>) -> Self {
        let actor =
            Actor { name: name.to_owned(), role: role.as_str(), tenant: tenant.map(str::to_owned) };
        Self { role, actor }
    }
}

/// The tokens that are known, and what those of issuers may do.
#[derive(Clone, Debug, Default)]
pub struct Operators {
    tokens: Vec<([u8; 32], Operator)>,
    sso: Vec<SsoSettings>,
    closed: bool,
}

impl Operators {
    /// Reads the configured tokens.
    ///
    /// # Errors
    ///
    /// One cannot be read: an open interface is never the answer to that.
    pub fn read(settings: &AdminSettings) -> Result<Self, String> {
        let (sso, closed) = (settings.sso.clone(), settings.is_closed());
        let mut known = Self { tokens: Vec::new(), sso, closed };
        if let Some(source) = &settings.token {
            let token = source.resolve().map_err(|error| format!("admin.token: {error}"))?;
            known.add(token.as_ref(), Operator::new("admin", Role::Owner, None));
        }
        for (at, token) in settings.tokens.iter().enumerate() {
            let secret = token.secret.resolve();
            let secret = secret.map_err(|error| format!("admin.tokens[{at}].secret: {error}"))?;
            let operator = Operator::new(&token.name, token.role, token.tenant.as_deref());
            known.add(secret.as_ref(), operator);
        }
        Ok(known)
    }

    fn add(&mut self, token: Option<&Secret>, operator: Operator) {
        if let Some(token) = token {
            self.closed = true;
            self.tokens.push((Sha256::digest(token.expose()).into(), operator));
        }
    }

    /// Whose token it is. Compares hashes of equal length with all that are known, so that the time
    /// taken tells nothing of any.
    fn find(&self, token: &[u8]) -> Option<&Operator> {
        let given: [u8; 32] = Sha256::digest(token).into();
        let none = u32::MAX;
        let found = self.tokens.iter().zip(0u32..).fold(none, |found, ((known, _), at)| {
            let same: Choice = known.ct_eq(&given);
            u32::conditional_select(&found, &at, same)
        });
        self.tokens.get(found as usize).map(|(_, operator)| operator)
    }

    /// What somebody may do who has shown a token of an issuer.
    fn person(&self, caller: &Caller) -> Result<Operator, Refusal> {
        let fits = |sso: &&SsoSettings| {
            caller.issuer.as_deref() == Some(sso.issuer.as_str())
                && caller.roles.iter().any(|role| **role == *sso.claim)
                && sso.audience.as_ref().is_none_or(|audience| caller.is_for(audience))
        };
        let sso = self.sso.iter().find(fits).ok_or(Refusal::NoRole)?;
        let tenant = match sso.tenants {
            Reach::Own => Some(&*caller.tenant),
            Reach::All => None,
        };
        Ok(Operator::new(&caller.name, sso.role, tenant))
    }
}

/// Who sends a request to `/admin/v1`: an owner of a token of `admin`, or somebody with a token of an
/// issuer.
pub async fn who(view: &dyn View, uri: &Uri, headers: &HeaderMap) -> Result<Operator, Refusal> {
    let operators = view.operators();
    match check(operators, uri, headers) {
        Err(Refusal::Unauthorized) if !operators.sso.is_empty() => {
            let token = bearer(headers).ok_or(Refusal::Unauthorized)?;
            let person = view.person(token).await.ok_or(Refusal::Unauthorized)?;
            operators.person(&person)
        }
        checked => checked,
    }
}

/// The same by the tokens of `admin` alone. Where nobody has to say who they are, which the plan allows
/// on loopback only, whoever is on this machine is an owner.
fn check(operators: &Operators, uri: &Uri, headers: &HeaderMap) -> Result<Operator, Refusal> {
    if operators.closed {
        let found = bearer(headers).and_then(|token| operators.find(token));
        return found.cloned().ok_or(Refusal::Unauthorized);
    }
    // A browser sends no credential of ours along, so with a token set these need no check.
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Refusal::CrossSite);
    }
    let host = uri.host().map(ToOwned::to_owned).or_else(|| host_header(headers));
    if host.is_some_and(|host| !is_own_name(&host)) {
        return Err(Refusal::ForeignHost);
    }
    Ok(Operator::new("local", Role::Owner, None))
}

/// The token of `Authorization: Bearer …` (RFC 6750, the scheme in any case). Two headers are none.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
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
        let mut operators = Operators::default();
        operators.add(Some(&Secret::new("another")), Operator::new("b", Role::Auditor, None));
        operators.add(Some(&Secret::new("s3cret")), Operator::new("a", Role::Owner, None));
        let found = check(&operators, &Uri::from_static("/"), &headers(pairs))?;
        assert_eq!(found.actor.name, "a");
        Ok(())
    }

    fn without(pairs: &[(&'static str, &str)]) -> Result<(), Refusal> {
        check(&Operators::default(), &Uri::from_static("/"), &headers(pairs)).map(|_| ())
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
