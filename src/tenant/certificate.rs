//! Callers who are known by the certificate of their connection.

use std::sync::Arc;

use super::caller::Caller;
use super::settings::CertificateSettings;
use crate::config::NamePattern;
use crate::transport::ClientCertificate;

/// Parts of a subject that can be named.
const ATTRIBUTES: [&str; 6] = ["C", "CN", "L", "O", "OU", "ST"];

/// Which certificates are whose, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Certificates(Vec<(Pattern, Arc<Caller>)>);

#[derive(Debug)]
pub(super) struct Pattern {
    spiffe: Option<NamePattern>,
    subject: Vec<(Box<str>, Box<str>)>,
}

impl Pattern {
    /// Compiles what the operator wrote. The error comes with the path of the setting.
    pub(super) fn compile(settings: &CertificateSettings) -> Result<Self, (String, String)> {
        if settings.spiffe.is_none() && settings.subject.is_empty() {
            return Err((String::new(), "it has neither `spiffe` nor `subject`".into()));
        }
        if let Some(unknown) =
            settings.subject.keys().find(|key| !ATTRIBUTES.contains(&key.as_str()))
        {
            let known = ATTRIBUTES.join(", ");
            return Err((".subject".into(), format!("`{unknown}` is not one of {known}")));
        }
        let spiffe = settings.spiffe.as_deref().map(NamePattern::compile).transpose();
        let part =
            |(name, value): (&String, &String)| (name.as_str().into(), value.as_str().into());
        Ok(Self {
            spiffe: spiffe.map_err(|error| (".spiffe".to_owned(), error))?,
            subject: settings.subject.iter().map(part).collect(),
        })
    }

    fn matches(&self, certificate: &ClientCertificate) -> bool {
        let spiffe =
            |pattern: &NamePattern| certificate.spiffe().is_some_and(|id| pattern.matches(id));
        let attribute = |(name, value): &(Box<str>, Box<str>)| {
            certificate.subject(name).is_some_and(|theirs| *theirs == **value)
        };
        self.spiffe.as_ref().is_none_or(spiffe) && self.subject.iter().all(attribute)
    }
}

impl Certificates {
    pub(super) fn add(&mut self, pattern: Pattern, caller: Arc<Caller>) {
        self.0.push((pattern, caller));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whose certificates are known.
    pub(super) fn callers(&self) -> impl Iterator<Item = &Arc<Caller>> {
        self.0.iter().map(|(_, caller)| caller)
    }

    /// Whose certificate it is: the first that fits.
    pub(super) fn identify(&self, certificate: &ClientCertificate) -> Option<&Arc<Caller>> {
        let found = self.0.iter().find(|(pattern, _)| pattern.matches(certificate));
        found.map(|(_, caller)| caller)
    }
}
