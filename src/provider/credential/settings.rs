//! What the operator writes about credentials that are issued.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::SecretSource;

/// Where keys for signatures (`auth: aws-sigv4`) come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AwsSettings {
    /// One source, or `auto` (the default): the first that there is, in the order of this list.
    pub source: AwsSource,
    /// The profile in the shared credentials file. Default `AWS_PROFILE`, or `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The shared credentials file. Default `AWS_SHARED_CREDENTIALS_FILE`, or `~/.aws/credentials`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// The role to take on with a web identity. Default `AWS_ROLE_ARN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// The token of the web identity. Default `AWS_WEB_IDENTITY_TOKEN_FILE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Where web identities become keys. Default `https://sts.amazonaws.com`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sts_url: Option<String>,
    /// Where the instance's role is asked for. Default `http://169.254.169.254`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_url: Option<String>,
}

/// A source of keys for signatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AwsSource {
    /// The first of the following that there is.
    #[default]
    Auto,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    Environment,
    /// A profile of the shared credentials file.
    Profile,
    /// A role, taken on with the token of a web identity (`EKS`).
    WebIdentity,
    /// The role of the machine (`EC2` instance metadata, version 2).
    Instance,
}

/// Where tokens of Google (`auth: google`) come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GoogleSettings {
    /// The key file of a service account (JSON). Default `GOOGLE_APPLICATION_CREDENTIALS`; without
    /// either, the metadata server of the machine is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The metadata server. Default `http://metadata.google.internal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_url: Option<String>,
}

/// The application as which tokens of Entra (`auth: entra`) are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntraSettings {
    /// The directory.
    pub tenant: String,
    /// The application.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretSource,
    /// What the token is for. Default `https://cognitiveservices.azure.com/.default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Who issues tokens. Default `https://login.microsoftonline.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}
