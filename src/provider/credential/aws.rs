//! Keys for signatures, from where AWS's own tools take them.

use std::path::{Path, PathBuf};

use aws_credential_types::Credentials;
use http::{HeaderValue, Method};

use super::{AwsSettings, AwsSource, Issued, Value, form};
use crate::clock::{self, Duration};
use crate::config::read_file;
use crate::transport::upstream::{Question, Upstreams, place};

const STS: &str = "https://sts.amazonaws.com";
const METADATA: &str = "http://169.254.169.254";
const ROLES_PATH: &str = "/latest/meta-data/iam/security-credentials/";
/// How long a session with the metadata service lasts, in seconds: long enough for three questions.
const METADATA_SESSION_S: HeaderValue = HeaderValue::from_static("60");
/// Longest credentials file, and longest token of a web identity.
const FILE_BYTES_MAX: u64 = 256 << 10;
const SESSION_NAME: &str = "weir";

/// Where keys come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    Environment,
    Profile { file: PathBuf, name: String },
    WebIdentity { token_file: PathBuf, role_arn: String, sts_url: String },
    Instance { metadata_url: String },
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl Source {
    pub(super) fn of(settings: &AwsSettings) -> Result<Self, (&'static str, String)> {
        let source = match settings.source {
            AwsSource::Auto if environment().is_ok() => Self::Environment,
            AwsSource::Auto if profile(settings).is_some_and(|file| file.1) => {
                Self::of_profile(settings)?
            }
            AwsSource::Auto => match Self::of_web_identity(settings) {
                Ok(source) => source,
                // What was written is meant, and what is wrong with it is told.
                Err(wrong) if settings.role_arn.is_some() || settings.token_file.is_some() => {
                    return Err(wrong);
                }
                Err(_) => Self::of_instance(settings)?,
            },
            AwsSource::Environment => {
                environment().map_err(|message| (".aws.source", message))?;
                Self::Environment
            }
            AwsSource::Profile => Self::of_profile(settings)?,
            AwsSource::WebIdentity => Self::of_web_identity(settings)?,
            AwsSource::Instance => Self::of_instance(settings)?,
        };
        if let Self::Profile { file, name } = &source {
            read_profile(file, name).map_err(|message| (".aws", message))?;
        }
        Ok(source)
    }

    fn of_profile(settings: &AwsSettings) -> Result<Self, (&'static str, String)> {
        let (file, _) = profile(settings).ok_or_else(|| {
            (".aws", "no credentials file: write `credentials_file`, or set HOME".to_owned())
        })?;
        let name = settings.profile.clone().or_else(|| variable("AWS_PROFILE"));
        Ok(Self::Profile { file, name: name.unwrap_or_else(|| "default".into()) })
    }

    fn of_web_identity(settings: &AwsSettings) -> Result<Self, (&'static str, String)> {
        let token_file = settings.token_file.clone();
        let of_machine = || variable("AWS_WEB_IDENTITY_TOKEN_FILE").map(PathBuf::from);
        let token_file = token_file.or_else(of_machine).ok_or_else(|| {
            (
                ".aws",
                "no web identity: write `token_file`, or set AWS_WEB_IDENTITY_TOKEN_FILE"
                    .to_owned(),
            )
        })?;
        let role_arn = settings.role_arn.clone().or_else(|| variable("AWS_ROLE_ARN"));
        let role_arn = role_arn.ok_or_else(|| {
            (".aws", "no role to take on: write `role_arn`, or set AWS_ROLE_ARN".to_owned())
        })?;
        let sts_url = settings.sts_url.as_deref().unwrap_or(STS).trim_end_matches('/').to_owned();
        place(&sts_url).map_err(|message| (".aws.sts_url", message))?;
        Ok(Self::WebIdentity { token_file, role_arn, sts_url })
    }

    fn of_instance(settings: &AwsSettings) -> Result<Self, (&'static str, String)> {
        let url = settings.metadata_url.as_deref().unwrap_or(METADATA).trim_end_matches('/');
        place(url).map_err(|message| (".aws.metadata_url", message))?;
        Ok(Self::Instance { metadata_url: url.to_owned() })
    }

    /// Keys that take no question over the network.
    pub(super) fn at_once(&self) -> Option<Issued> {
        self.local()?.ok()
    }

    fn local(&self) -> Option<Result<Issued, String>> {
        let keys = match self {
            Self::Environment => environment(),
            Self::Profile { file, name } => read_profile(file, name),
            Self::WebIdentity { .. } | Self::Instance { .. } => return None,
        };
        Some(keys.map(|keys| Issued { value: Value::Aws(keys), until: None }))
    }

    pub(super) async fn issue(&self, upstreams: &Upstreams) -> Result<Issued, String> {
        if let Some(local) = self.local() {
            return local;
        }
        match self {
            Self::Environment | Self::Profile { .. } => Err("no keys".into()),
            Self::WebIdentity { token_file, role_arn, sts_url } => {
                let token = read_file(token_file, FILE_BYTES_MAX)
                    .map_err(|error| format!("{}: {error}", token_file.display()))?;
                let token = String::from_utf8(token)
                    .map_err(|_| format!("{}: it is not text", token_file.display()))?;
                let session = variable("AWS_ROLE_SESSION_NAME");
                let body = form(&[
                    ("Action", "AssumeRoleWithWebIdentity"),
                    ("Version", "2011-06-15"),
                    ("RoleArn", role_arn),
                    ("RoleSessionName", session.as_deref().unwrap_or(SESSION_NAME)),
                    ("WebIdentityToken", token.trim()),
                ]);
                of_sts(&Question::form(sts_url, body).ask(upstreams).await?)
            }
            Self::Instance { metadata_url } => of_instance(metadata_url, upstreams).await,
        }
    }
}

fn environment() -> Result<Credentials, String> {
    let wanted = |name: &str| variable(name).ok_or_else(|| format!("{name} is not set"));
    let (id, secret) = (wanted("AWS_ACCESS_KEY_ID")?, wanted("AWS_SECRET_ACCESS_KEY")?);
    Ok(Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "environment"))
}

/// The credentials file, and whether it is there.
fn profile(settings: &AwsSettings) -> Option<(PathBuf, bool)> {
    let home = || Some(PathBuf::from(variable("HOME")?).join(".aws/credentials"));
    let of_machine = || variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(home);
    let file = settings.credentials_file.clone().or_else(of_machine)?;
    let there = file.is_file();
    Some((file, there))
}

fn read_profile(file: &Path, name: &str) -> Result<Credentials, String> {
    let text = read_file(file, FILE_BYTES_MAX)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let text = String::from_utf8(text).map_err(|_| format!("{} is not text", file.display()))?;
    let mut inside = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = section.trim() == name;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            let value = Some(value.trim().to_owned());
            match key.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Credentials::new(id, secret, token, None, "profile")),
        _ => Err(format!("{} has no keys in a profile `{name}`", file.display())),
    }
}

/// What the security token service answers: one element of each name.
fn of_sts(answer: &[u8]) -> Result<Issued, String> {
    let text = std::str::from_utf8(answer).unwrap_or_default();
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.trim().to_owned())
    };
    let found = (|| {
        let (id, secret) = (element("AccessKeyId")?, element("SecretAccessKey")?);
        Some((id, secret, element("SessionToken")?, element("Expiration")?))
    })();
    let (id, secret, token, until) =
        found.ok_or_else(|| "the answer is not that of a token service".to_owned())?;
    issued(id, secret, token, &until)
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleKeys {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

async fn of_instance(metadata_url: &str, upstreams: &Upstreams) -> Result<Issued, String> {
    let url = format!("{metadata_url}/latest/api/token");
    let session = Question { method: Method::PUT, ..Question::get(&url) }
        .with("x-aws-ec2-metadata-token-ttl-seconds", METADATA_SESSION_S);
    let session = HeaderValue::from_bytes(session.ask(upstreams).await?.trim_ascii())
        .map_err(|_| "the metadata service's session is malformed".to_owned())?;
    let url = format!("{metadata_url}{ROLES_PATH}");
    let roles = Question::get(&url).with("x-aws-ec2-metadata-token", session.clone());
    let roles = roles.ask(upstreams).await?;
    let role = std::str::from_utf8(&roles).ok().and_then(|text| text.lines().next());
    let role = role.map(str::trim).filter(|role| !role.is_empty());
    let role = role.ok_or_else(|| "the machine has no role".to_owned())?;
    let url = format!("{url}{role}");
    let keys = Question::get(&url).with("x-aws-ec2-metadata-token", session);
    let keys: RoleKeys = serde_json::from_slice(&keys.ask(upstreams).await?)
        .map_err(|_| "the answer is not that of the metadata service".to_owned())?;
    issued(keys.access_key_id, keys.secret_access_key, keys.token, &keys.expiration)
}

fn issued(id: String, secret: String, token: String, until: &str) -> Result<Issued, String> {
    let end_s = unix_s(until).ok_or_else(|| "the end of the keys is malformed".to_owned())?;
    let left_s = end_s.checked_sub(clock::unix_s()).filter(|left| *left > 0);
    let left_s = left_s.ok_or_else(|| "the keys have ended already".to_owned())?;
    let until = clock::now() + Duration::from_secs(left_s.min(7 * 24 * 3600));
    let keys = Credentials::new(id, secret, Some(token), None, "issued");
    Ok(Issued { value: Value::Aws(keys), until: Some(until) })
}

/// Seconds since 1970 of a moment like `2026-01-31T23:59:59Z` (RFC 3339, in UTC).
pub(super) fn unix_s(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let in_range = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 || !text.ends_with('Z') {
        return None;
    }
    // Years that begin in March, so that a leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // Days from 1 March of the year 0 to 1 January 1970.
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}
