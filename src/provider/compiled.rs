//! A provider, ready for use.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::catalogue::{self, Catalogue, Kind};
use super::credential::{AwsSettings, Credential, GoogleSettings, Issuer};
use super::keys::{KeyChoice, KeyRing};
use super::settings::{AuthScheme, HttpVersion, Settings, TlsSettings};
use super::template::Values;
use super::url::BaseUrl;
use crate::clock::{Duration, Instant};
use crate::config::{Secret, nearest, word_list};
use crate::dialect::{Adaptation, Dialect, Format, ModelQuirks, Paths, Template};
use crate::error::{Error, Kind as ErrorKind};
use crate::hash;
use crate::transport::upstream::{Address, Tls, Version};

/// What is wrong with a setting: its path in the file, and what would be right.
pub type Mistake = (String, String);

/// One upstream account, ready for use.
#[derive(Debug)]
pub struct Provider {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The wire format it speaks.
    pub dialect: Dialect,
    /// The formats of chats that it speaks; others are translated to the first.
    pub formats: Box<[Format]>,
    /// Whether it is reached over TLS.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: Box<str>,
    /// TCP port.
    pub port: u16,
    /// The name to ask for and to verify in TLS.
    pub sni: Box<str>,
    /// The value of `Host` or `:authority`.
    pub authority: HeaderValue,
    /// Where its endpoints are.
    pub paths: Paths,
    /// What its requests have otherwise than its dialect.
    pub adaptation: Option<Box<Adaptation>>,
    /// Where the credential goes.
    pub auth: AuthScheme,
    /// The credentials.
    pub keys: KeyRing,
    /// Credentials that are issued for a time, in place of keys.
    pub issuer: Option<Arc<Issuer>>,
    /// Headers added to every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How its certificate is verified.
    pub tls_settings: TlsSettings,
    /// HTTP version towards it.
    pub http: HttpVersion,
    /// How long an idle connection is kept.
    pub idle: Duration,
    /// The model asked for by health checks of kind `completion`.
    pub probe_model: Option<Box<str>>,
    /// Whether it is served by this process.
    pub simulated: bool,
    /// Where it is, as the connectors know it.
    pub address: Arc<Address>,
    /// Connections of two providers with the same number are interchangeable.
    pub reuse_key: u64,
    usable: bool,
}

impl Provider {
    /// Compiles the settings. `simulated_addr` is where the simulated provider of this name
    /// listens; without one (when a file is only checked) its port is 0. The state of keys is
    /// taken over from `previous`.
    ///
    /// # Errors
    /// Every mistake, each with the path of its setting.
    pub fn compile(
        name: &str,
        settings: &Settings,
        catalogue: &Catalogue,
        simulated_addr: Option<SocketAddr>,
        previous: Option<&Arc<Provider>>,
    ) -> Result<Arc<Self>, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut keep = |field: &str, message: String| {
            mistakes.push((format!("providers.{name}{field}"), message));
        };
        let kind = match known_as(settings, catalogue) {
            Ok(kind) => kind,
            Err((field, message)) => {
                keep(field, message);
                return Err(mistakes);
            }
        };
        let KnownAs { kind, dialect } = kind;
        let mut values = Values::new(&settings.with, kind.map(|kind| &kind.defaults));
        let url = address(settings, kind, dialect, &mut values, simulated_addr)
            .map_err(|(field, message)| keep(field, message))
            .unwrap_or_default();
        let auth = auth(settings, kind, dialect);
        let keys = resolve_keys(settings, auth, &mut keep);
        let region = (auth == AuthScheme::AwsSigv4).then(|| values.get("region")).flatten();
        let issuer = issuer(settings, auth, region, previous)
            .map_err(|(field, message)| keep(field, message))
            .unwrap_or_default();
        let formats = formats(settings, kind, dialect, &mut keep);
        let headers = static_headers(settings, kind, &mut values, &mut keep);
        let paths = paths(&url, kind, &mut values, &mut keep);
        unused(&values, &mut keep);
        let sni = settings.tls.sni.clone().map_or_else(|| url.host.clone(), Into::into);
        if settings.tls.sni.as_deref().is_some_and(str::is_empty) {
            keep(".tls.sni", "the name is empty: write a host name, or leave `sni` out".into());
        }
        let authority = HeaderValue::try_from(url.authority())
            .map_err(|_| keep(".base_url", "the host cannot stand in a header".into()));
        let Ok(authority) = authority else { return Err(mistakes) };
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let usable = settings.keys.is_empty() || !keys.is_empty() || settings.simulated.is_some();
        let previous = previous.filter(|previous| {
            previous.host == url.host && previous.port == url.port && previous.tls == url.tls
        });
        let adaptation = kind.map(Kind::adaptation).filter(|adaptation| !adaptation.is_empty());
        Ok(Arc::new(Self {
            name: name.into(),
            dialect,
            formats,
            reuse_key: reuse_key(&url, &sni, settings),
            address: Arc::new(connect_address(&url, &sni, settings)),
            keys: KeyRing::new(keys, previous.map(|previous| &previous.keys)),
            issuer,
            tls: url.tls,
            host: url.host,
            port: url.port,
            sni,
            authority,
            paths,
            adaptation: adaptation.map(Box::new),
            auth,
            headers,
            tls_settings: settings.tls.clone(),
            http: settings.http,
            idle: settings.idle.0,
            probe_model: settings.probe_model.as_deref().map(Into::into),
            simulated: settings.simulated.is_some(),
            usable,
        }))
    }

    /// What one of its models does otherwise than others.
    pub fn quirks(&self, model: &str) -> ModelQuirks {
        self.adaptation.as_ref().map(|adaptation| adaptation.quirks(model)).unwrap_or_default()
    }

    /// False when it wants a credential and every one of them is optional and missing. Its targets
    /// are then left out.
    pub fn usable(&self) -> bool {
        self.usable
    }

    /// What authenticates a request that is made now. The key that is used, if it is one, is told
    /// through `key`; what becomes of it goes back to the [`KeyRing`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UpstreamRateLimited`] if every key rests, [`ErrorKind::UpstreamAuth`] if there is
    /// no credential.
    pub fn credential(&self, now: Instant, key: &mut Option<usize>) -> Result<Credential, Error> {
        if let Some(issuer) = &self.issuer {
            return issuer.credential(now);
        }
        match self.keys.pick(now) {
            KeyChoice::Anonymous => Ok(Credential::None),
            KeyChoice::Key(index, _) => {
                *key = Some(index);
                let header = auth_header(self.auth).zip(self.keys.header(index).cloned());
                Ok(header.map_or(Credential::None, |(name, value)| Credential::Header(name, value)))
            }
            KeyChoice::Resting(until) => Err(Error::new(
                ErrorKind::UpstreamRateLimited,
                "Every credential of the upstream is resting after it was limited or refused.",
            )
            .retry_after(Some(until.saturating_duration_since(now)))),
        }
    }
}

fn connect_address(url: &BaseUrl, sni: &str, settings: &Settings) -> Address {
    Address {
        host: url.host.clone(),
        port: url.port,
        tls: url.tls.then(|| Tls {
            sni: sni.into(),
            ca: settings.tls.ca.clone(),
            verify: settings.tls.verify,
        }),
        version: match settings.http {
            HttpVersion::Auto => Version::Auto,
            HttpVersion::Http1 => Version::Http1,
            HttpVersion::Http2 => Version::Http2,
        },
        idle: settings.idle.0,
    }
}

/// What the settings say it is.
struct KnownAs<'a> {
    kind: Option<&'a Kind>,
    dialect: Dialect,
}

fn known_as<'a>(
    settings: &Settings,
    catalogue: &'a Catalogue,
) -> Result<KnownAs<'a>, (&'static str, String)> {
    let kind = catalogue.kind_of(settings).map_err(|message| (".kind", message))?;
    match (kind, settings.dialect) {
        (Some(kind), None) => Ok(KnownAs { kind: Some(kind), dialect: kind.dialect }),
        (None, Some(dialect)) => Ok(KnownAs { kind: None, dialect }),
        (Some(kind), Some(_)) => Err((
            ".dialect",
            format!("its kind speaks the dialect `{}`: remove `dialect`", kind.dialect),
        )),
        (None, None) => Err((
            "",
            "write what it is: a `kind` of the catalogue, or the `dialect` that it speaks".into(),
        )),
    }
}

/// The formats that are named, those of the kind, or those of the dialect.
fn formats(
    settings: &Settings,
    kind: Option<&Kind>,
    dialect: Dialect,
    keep: &mut impl FnMut(&str, String),
) -> Box<[Format]> {
    for (at, format) in settings.formats.iter().enumerate() {
        if format.dialect() != dialect {
            keep(
                &format!(".formats[{at}]"),
                format!("`{format}` is not a format of the dialect `{dialect}`"),
            );
        }
    }
    let of_kind = kind.map_or(&[][..], |kind| &kind.formats);
    let of_dialect = || Format::ALL.into_iter().filter(|format| format.dialect() == dialect);
    match (&settings.formats[..], of_kind) {
        ([], []) => of_dialect().collect(),
        ([], formats) | (formats, _) => formats.into(),
    }
}

fn paths(
    url: &BaseUrl,
    kind: Option<&Kind>,
    values: &mut Values<'_>,
    keep: &mut impl FnMut(&str, String),
) -> Paths {
    let mut elsewhere = Vec::new();
    let of_kind = kind.into_iter().flat_map(|kind| {
        let streamed = kind.stream_paths.iter().map(|(name, text)| (name, true, text));
        kind.paths.iter().map(|(name, text)| (name, false, text)).chain(streamed)
    });
    let mut wrong = None;
    for (name, stream, text) in of_kind {
        let filled = values.fill(text).and_then(|text| Template::parse(&text));
        match catalogue::endpoint(name).and_then(|endpoint| Ok((endpoint, stream, filled?))) {
            Ok(found) => elsewhere.push(found),
            Err(message) => wrong = Some(message),
        }
    }
    // Once: a placeholder that is missing is missing in all of them.
    if let Some(message) = wrong {
        keep("", message);
    }
    Paths { base: url.base_path.clone(), elsewhere }
}

/// Values that nothing asks for.
fn unused(values: &Values<'_>, keep: &mut impl FnMut(&str, String)) {
    for (name, asked) in values.unused() {
        let asked = || asked.iter().map(String::as_str);
        let proposal = match (nearest(name, asked()), asked().next()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(_)) => {
                format!("it wants {}", word_list(asked(), 12).replace(" or ", " and "))
            }
            (None, None) => "it has none".into(),
        };
        keep(&format!(".with.{name}"), format!("unknown placeholder `{name}`: {proposal}"));
    }
}

/// How it is authenticated: as it says, as its kind says, or where its dialect's API wants a key.
fn auth(settings: &Settings, kind: Option<&Kind>, dialect: Dialect) -> AuthScheme {
    let of_kind = kind.map_or(&[][..], |kind| &kind.auth);
    // Keys go into a header; without any, what issues credentials does if it was set up.
    let fits = |auth: &&AuthScheme| match auth {
        _ if settings.simulated.is_some() => auth.takes_keys(),
        AuthScheme::Entra => settings.keys.is_empty() && settings.entra.is_some(),
        auth => auth.takes_keys() != settings.keys.is_empty(),
    };
    let of_kind = of_kind.iter().find(fits).or(of_kind.first()).copied();
    settings.auth.or(of_kind).unwrap_or_else(|| default_auth(dialect))
}

/// What issues its credentials, if they are not keys; and what was written about another scheme.
fn issuer(
    settings: &Settings,
    auth: AuthScheme,
    region: Option<&str>,
    previous: Option<&Arc<Provider>>,
) -> Result<Option<Arc<Issuer>>, (&'static str, String)> {
    let written = [
        (".aws", AuthScheme::AwsSigv4, settings.aws != AwsSettings::default()),
        (".google", AuthScheme::Google, settings.google != GoogleSettings::default()),
        (".entra", AuthScheme::Entra, settings.entra.is_some()),
    ];
    for (field, scheme, written) in written {
        if written && scheme != auth {
            let (theirs, ours) = (scheme.as_str(), auth.as_str());
            return Err((
                field,
                format!("it is for `auth: {theirs}`, and this provider has `auth: {ours}`"),
            ));
        }
    }
    if settings.simulated.is_some() {
        return Ok(None);
    }
    Issuer::of(settings, auth, region, previous.and_then(|previous| previous.issuer.as_ref()))
}

/// Where the dialect's own API wants its credential.
fn default_auth(dialect: Dialect) -> AuthScheme {
    match dialect {
        Dialect::OpenAi | Dialect::Cohere | Dialect::Bedrock => AuthScheme::Bearer,
        Dialect::Anthropic => AuthScheme::XApiKey,
        Dialect::Gemini => AuthScheme::XGoogApiKey,
    }
}

fn auth_header(auth: AuthScheme) -> Option<HeaderName> {
    match auth {
        AuthScheme::Bearer => Some(header::AUTHORIZATION),
        AuthScheme::XApiKey => Some(HeaderName::from_static("x-api-key")),
        AuthScheme::ApiKey => Some(HeaderName::from_static("api-key")),
        AuthScheme::XGoogApiKey => Some(HeaderName::from_static("x-goog-api-key")),
        AuthScheme::AwsSigv4 | AuthScheme::Google | AuthScheme::Entra | AuthScheme::None => None,
    }
}

fn address(
    settings: &Settings,
    kind: Option<&Kind>,
    dialect: Dialect,
    values: &mut Values<'_>,
    simulated_addr: Option<SocketAddr>,
) -> Result<BaseUrl, (&'static str, String)> {
    let of_kind = kind.and_then(|kind| kind.base_url.as_ref());
    // An address of its own does not make wrong what was said for the other one.
    if let Some(url) = of_kind {
        values.know(url);
    }
    let of_kind = of_kind.filter(|_| settings.simulated.is_none());
    match (settings.base_url.as_ref().or(of_kind), settings.simulated) {
        (Some(url), None) => {
            let place = if settings.base_url.is_some() { ".base_url" } else { "" };
            let url = values.fill(url).map_err(|error| (place, error))?;
            BaseUrl::parse(&url).map_err(|error| (place, error))
        }
        (None, None) => Err((
            "",
            "`base_url` is missing: write where the provider is, like https://api.example.com/v1"
                .into(),
        )),
        (Some(_), Some(_)) => Err((
            ".base_url",
            "a simulated provider has its own address: remove `base_url` or `simulated`".into(),
        )),
        (None, Some(_)) => Ok(BaseUrl {
            tls: false,
            host: simulated_addr
                .map_or_else(|| "127.0.0.1".into(), |address| address.ip().to_string().into()),
            port: simulated_addr.map_or(0, |address| address.port()),
            // The other dialects' own APIs have their version in every path.
            base_path: if dialect == Dialect::OpenAi { "/v1".into() } else { "".into() },
        }),
    }
}

fn resolve_keys(
    settings: &Settings,
    auth: AuthScheme,
    keep: &mut impl FnMut(&str, String),
) -> Vec<(Secret, HeaderValue)> {
    if !auth.takes_keys() && !settings.keys.is_empty() {
        let auth = auth.as_str();
        keep(".keys", format!("`auth: {auth}` sends no key: remove `keys`, or choose a scheme"));
        return Vec::new();
    }
    let mut keys: Vec<(Secret, HeaderValue)> = Vec::new();
    for (at, source) in settings.keys.iter().enumerate() {
        let field = format!(".keys[{at}]");
        let secret = match source.resolve() {
            Ok(Some(secret)) => secret,
            Ok(None) => continue,
            Err(error) => {
                keep(&field, error.to_string());
                continue;
            }
        };
        let text = match auth {
            AuthScheme::Bearer => format!("Bearer {}", secret.expose()),
            _ => secret.expose().to_owned(),
        };
        match HeaderValue::try_from(text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                if keys.iter().all(|(known, _)| *known != secret) {
                    keys.push((secret, value));
                }
            }
            Err(_) => keep(&field, "it holds a character that no header can carry".into()),
        }
    }
    keys
}

/// Headers that belong to weir or to the connection, and what to do instead.
fn header_refusal(name: &HeaderName) -> Option<&'static str> {
    match name.as_str() {
        "authorization" | "x-api-key" | "api-key" | "x-goog-api-key" | "proxy-authorization" => {
            Some("it carries a credential: name it under `keys`, as {env: NAME} or {file: PATH}")
        }
        "host" => Some("it follows from `base_url`"),
        "content-length" | "transfer-encoding" | "connection" | "keep-alive" | "te" | "trailer"
        | "upgrade" | "proxy-connection" | "expect" => {
            Some("it belongs to the connection: remove it")
        }
        _ => None,
    }
}

/// Those of the settings, and those of the kind that the settings do not name.
fn static_headers(
    settings: &Settings,
    kind: Option<&Kind>,
    values: &mut Values<'_>,
    keep: &mut impl FnMut(&str, String),
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(settings.headers.len());
    let mut all = settings.headers.clone();
    for (name, text) in kind.into_iter().flat_map(|kind| &kind.headers) {
        match values.fill(text) {
            Ok(value) => drop(all.entry(name.clone()).or_insert(value)),
            Err(message) => keep("", message),
        }
    }
    for (name, value) in &all {
        let field = format!(".headers.{name}");
        let Ok(header) = HeaderName::try_from(name.as_str()) else {
            keep(&field, format!("`{name}` is not a header name: letters, digits and `-`"));
            continue;
        };
        if let Some(why) = header_refusal(&header) {
            keep(&field, format!("`{name}` cannot be set here: {why}"));
            continue;
        }
        match HeaderValue::try_from(value.as_str()) {
            Ok(value) => headers.push((header, value)),
            Err(_) => keep(&field, "the value holds a character that no header can carry".into()),
        }
    }
    headers
}

fn reuse_key(url: &BaseUrl, sni: &str, settings: &Settings) -> u64 {
    let ca = settings.tls.ca.as_ref().map(|path| path.as_os_str().as_encoded_bytes());
    hash::stable(&[
        &[
            u8::from(url.tls),
            u8::from(settings.tls.verify),
            settings.http as u8,
            u8::from(ca.is_some()),
        ],
        url.host.as_bytes(),
        &url.port.to_le_bytes(),
        sni.as_bytes(),
        ca.unwrap_or_default(),
    ])
}

#[cfg(test)]
mod tests;
