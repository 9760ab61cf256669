//! Providers: addresses, credentials, headers.

use http::{HeaderName, HeaderValue, Uri};

use super::Check;
use crate::config::NamePattern;
use crate::provider::Settings;

/// Headers that carry credentials. Those are references, and never stand here as text.
const CREDENTIALS: [&str; 6] =
    ["authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"];
/// Headers that weir itself sets for every request.
const OWN: [&str; 7] =
    ["connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"];

pub(super) fn check(check: &mut Check<'_>) {
    let file = check.file;
    for (name, settings) in &file.providers {
        let path = format!("providers.{name}");
        check.name(&path, "provider", name);
        address(check, &path, settings);
        for (index, key) in settings.keys.iter().enumerate() {
            check.secret(&format!("{path}.keys[{index}]"), key);
        }
        headers(check, &path, settings);
        if let Some(ca) = &settings.tls.ca {
            check.certificates(&format!("{path}.tls.ca"), ca);
        }
        patterns(check, &path, settings.prices.keys());
    }
    patterns(check, "", file.prices.keys());
}

fn address(check: &mut Check<'_>, path: &str, settings: &Settings) {
    match (&settings.base_url, &settings.simulated) {
        (Some(_), Some(_)) => check.add_at_key(
            &format!("{path}.simulated"),
            "`simulated` is answered by weir itself and has no `base_url`: keep one of the two",
        ),
        (None, None) => check.add_at_key(
            path,
            format!("{path} has no address: add `base_url: https://…`, or `simulated: {{}}`"),
        ),
        (Some(url), None) => {
            if let Err(why) = base_url(url) {
                check.add(&format!("{path}.base_url"), format!("{path}.base_url: {why}"));
            }
        }
        (None, Some(_)) => {}
    }
}

/// What is wrong with the address of a provider. It is not shown where it may hold a password.
fn base_url(url: &str) -> Result<(), String> {
    let example = "such as https://api.openai.com/v1";
    if url.contains('@') {
        return Err("an address with a user or password in it: credentials go to `keys`".into());
    }
    if url.contains(['?', '#']) {
        return Err(format!("`{url}` has a query or fragment: give the address and path only"));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!(
            "`{url}` does not begin with https:// or http://: write it, {example}"
        ));
    };
    if !matches!(scheme, "http" | "https") {
        return Err(format!("`{scheme}` is not a scheme weir speaks: use https or http"));
    }
    if rest.is_empty() || rest.starts_with('/') {
        return Err(format!("`{url}` names no host: write it, {example}"));
    }
    let uri: Uri = url.parse().map_err(|error| format!("`{url}` is not an address: {error}"))?;
    let port = uri.authority().is_some_and(|authority| {
        authority.as_str().rsplit_once(':').is_none_or(|(_, port)| {
            port.contains(']') || port.parse::<u16>().is_ok_and(|port| port != 0)
        })
    });
    if uri.host().is_none_or(str::is_empty) || !port {
        return Err(format!("`{url}` has no valid host and port: write it, {example}"));
    }
    Ok(())
}

fn headers(check: &mut Check<'_>, path: &str, settings: &Settings) {
    for (name, value) in &settings.headers {
        let path = format!("{path}.headers.{name}");
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            check.add_at_key(&path, "not the name of a header: letters, digits and `-` only");
        } else if CREDENTIALS.contains(&lower.as_str()) {
            check.add_at_key(
                &path,
                format!("`{lower}` is a credential: put a reference under `keys` instead"),
            );
        } else if OWN.contains(&lower.as_str()) {
            check.add_at_key(&path, format!("weir sets `{lower}` itself: remove the line"));
        }
        if HeaderValue::from_str(value).is_err() {
            check.add(
                &path,
                format!("the value of header `{lower}` has a character no header carries"),
            );
        }
    }
}

fn patterns<'n>(check: &mut Check<'_>, path: &str, names: impl Iterator<Item = &'n String>) {
    for name in names {
        if let Err(why) = NamePattern::compile(name) {
            let path = if path.is_empty() { "prices".into() } else { format!("{path}.prices") };
            check.add_at_key(&format!("{path}.{name}"), why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::base_url;

    #[test]
    fn an_address_is_a_scheme_a_host_and_perhaps_a_path() {
        for right in [
            "https://api.openai.com/v1",
            "http://127.0.0.1:8000/v1",
            "http://[::1]:8000",
            "http://[::1]",
            "https://host/",
        ] {
            assert_eq!(base_url(right), Ok(()), "{right}");
        }
        for wrong in [
            "api.openai.com/v1",
            "ftp://host",
            "https://",
            "https:///v1",
            "https://host:99999",
            "https://host:0",
            "https://user:pass@host",
            "https://host/v1?key=1",
            "https://ho st/",
        ] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
        let hidden = base_url("https://user:pass@host").expect_err("a password");
        assert!(!hidden.contains("pass@"), "{hidden}");
    }
}
