//! Tokens of Microsoft Entra for Azure, by client credentials (RFC 6749, section 4.4).

use super::{EntraSettings, Issued, bearer, form};
use crate::config::Secret;
use crate::transport::upstream::{Question, Upstreams, place};

const AUTHORITY: &str = "https://login.microsoftonline.com";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// An application with its secret.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Source {
    url: Box<str>,
    client_id: Box<str>,
    client_secret: Secret,
    scope: Box<str>,
}

impl Source {
    pub(super) fn of(settings: Option<&EntraSettings>) -> Result<Self, (&'static str, String)> {
        let Some(settings) = settings else {
            return Err((
                "",
                "`entra` is missing: write `tenant`, `client_id` and `client_secret` under it"
                    .into(),
            ));
        };
        let secret = settings.client_secret.resolve();
        let secret = secret.map_err(|error| (".entra.client_secret", error.to_string()))?;
        let client_secret = secret.ok_or_else(|| {
            (".entra.client_secret", "the secret is missing and cannot be left out".to_owned())
        })?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if settings.tenant.is_empty() || !settings.tenant.chars().all(plain) {
            return Err((".entra.tenant", "write the directory's id or its domain".into()));
        }
        let authority = settings.authority.as_deref().unwrap_or(AUTHORITY).trim_end_matches('/');
        let url = format!("{authority}/{}/oauth2/v2.0/token", settings.tenant);
        place(&url).map_err(|message| (".entra.authority", message))?;
        Ok(Self {
            url: url.into(),
            client_id: settings.client_id.as_str().into(),
            client_secret,
            scope: settings.scope.as_deref().unwrap_or(SCOPE).into(),
        })
    }

    pub(super) async fn issue(&self, upstreams: &Upstreams) -> Result<Issued, String> {
        let body = form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose()),
            ("scope", &self.scope),
        ]);
        bearer(&Question::form(&self.url, body).ask(upstreams).await?)
    }
}
