//! The address part of a provider.

use http::Uri;

/// Where a provider is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct BaseUrl {
    pub tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: Box<str>,
    pub port: u16,
    /// Empty, or begins with `/` and does not end with one.
    pub base_path: Box<str>,
}

const EXAMPLE: &str = "write it like https://api.example.com/v1";

impl BaseUrl {
    /// Reads what the operator wrote. The error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('#') {
            return Err(format!("`{text}` has a fragment: remove everything from `#` on"));
        }
        // Before anything quotes the text: what stands before an `@` may be a password.
        let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
        if after_scheme.split('/').next().is_some_and(|authority| authority.contains('@')) {
            return Err("credentials do not belong in the URL: name them under `keys`, as {env: NAME} or {file: PATH}".into());
        }
        let uri: Uri =
            text.parse().map_err(|error| format!("`{text}` is not a URL ({error}): {EXAMPLE}"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(scheme) => {
                return Err(format!("`{scheme}` is not supported: use http:// or https://"));
            }
            None => return Err(format!("`{text}` has no scheme: {EXAMPLE}")),
        };
        if uri.query().is_some() {
            return Err(format!("`{text}` has a query: remove everything from `?` on"));
        }
        let authority =
            uri.authority().ok_or_else(|| format!("`{text}` has no host: {EXAMPLE}"))?;
        let host = authority.host();
        let port = match authority.as_str()[host.len()..].strip_prefix(':') {
            None => u16::from(tls) * (443 - 80) + 80,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
                format!("`{port}` is not a port: write a number from 1 to 65535, or none")
            })?,
        };
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => {
                let address: std::net::Ipv6Addr = address.parse().map_err(|_| {
                    format!("`{host}` is not an IPv6 address: write it like http://[::1]:8000/v1")
                })?;
                address.to_string()
            }
            None if host.is_empty() => return Err(format!("`{text}` has no host: {EXAMPLE}")),
            None => host.to_ascii_lowercase(),
        };
        let base_path = uri.path().trim_end_matches('/');
        Ok(Self { tls, host: host.into(), port, base_path: base_path.into() })
    }

    /// The value of `Host` or `:authority`: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let default = if self.tls { 443 } else { 80 };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.to_string()
        };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (bool, String, u16, String) {
        let url = BaseUrl::parse(text).expect("a URL");
        (url.tls, url.host.into(), url.port, url.base_path.into())
    }

    #[test]
    fn addresses() {
        assert_eq!(
            parsed("https://api.openai.com/v1"),
            (true, "api.openai.com".into(), 443, "/v1".into())
        );
        assert_eq!(
            parsed("http://127.0.0.1:8000/v1/"),
            (false, "127.0.0.1".into(), 8000, "/v1".into())
        );
        assert_eq!(parsed("http://LOCALHOST"), (false, "localhost".into(), 80, String::new()));
        assert_eq!(parsed("https://[::1]:8443/a/b"), (true, "::1".into(), 8443, "/a/b".into()));
        assert_eq!(
            parsed("http://[2001:db8:0::1]"),
            (false, "2001:db8::1".into(), 80, String::new())
        );
    }

    #[test]
    fn authorities() {
        let authority = |text| BaseUrl::parse(text).expect("a URL").authority();
        assert_eq!(authority("https://api.openai.com:443/v1"), "api.openai.com");
        assert_eq!(authority("http://api.openai.com:443/v1"), "api.openai.com:443");
        assert_eq!(authority("https://[::1]:8443"), "[::1]:8443");
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, says) in [
            ("api.openai.com/v1", "https://"),
            ("/v1", "no scheme"),
            ("", "is not a URL"),
            ("ftp://host/", "use http:// or https://"),
            ("https://", "is not a URL"),
            ("https://host/v1?x=1", "has a query"),
            ("https://host/v1#x", "has a fragment"),
            ("https://host:0/v1", "is not a port"),
            ("https://host:/v1", "is not a port"),
            ("https://host:99999/v1", "port"),
            ("https://[::g]/v1", "IPv6"),
            ("https://h ost/v1", "is not a URL"),
        ] {
            let error = BaseUrl::parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_refused_and_never_repeated() {
        for text in
            ["https://me:hunter2@host/v1", "http://hunter2@host", "hunter2@host", "x://hunter2@/"]
        {
            let error = BaseUrl::parse(text).expect_err(text);
            assert!(!error.contains("hunter2") && error.contains("keys"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read(text in "(https?://)?[a-z@:/\\[\\].0-9?#% ]{0,30}") {
            if let Ok(url) = BaseUrl::parse(&text) {
                prop_assert!(!url.host.is_empty() && url.port != 0);
                prop_assert!(url.base_path.is_empty() || url.base_path.starts_with('/'));
                prop_assert!(!url.base_path.ends_with('/'));
            }
        }
    }
}
