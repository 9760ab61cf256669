//! The certificate that a client has shown, read once for its connection.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::listeners::TlsAccept;
use pingora_core::protocols::tls::TlsRef;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How a SPIFFE id begins.
const SPIFFE: &str = "spiffe://";

/// What a verified certificate says of its owner.
#[derive(Clone, Debug)]
pub struct ClientCertificate(Arc<Names>);

#[derive(Debug, Default)]
struct Names {
    spiffe: Option<Box<str>>,
    subject: Vec<(&'static str, Box<str>)>,
}

impl ClientCertificate {
    /// Reads a certificate in DER form. `None` if it is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut subject = Vec::new();
        for attribute in certificate.subject().iter_attributes() {
            let name = match attribute.attr_type().to_id_string().as_str() {
                "2.5.4.3" => "CN",
                "2.5.4.6" => "C",
                "2.5.4.7" => "L",
                "2.5.4.8" => "ST",
                "2.5.4.10" => "O",
                "2.5.4.11" => "OU",
                _ => continue,
            };
            // What is no text cannot be what an operator wrote, but it is there.
            subject.push((name, attribute.as_str().unwrap_or_default().into()));
        }
        Some(Self(Arc::new(Names { spiffe: spiffe(&certificate), subject })))
    }

    /// The SPIFFE id.
    pub fn spiffe(&self) -> Option<&str> {
        self.0.spiffe.as_deref()
    }

    /// A part of the subject (`CN`, `O`, …), if it is there exactly once.
    pub fn subject(&self, name: &str) -> Option<&str> {
        let mut found = self.0.subject.iter().filter(|(part, _)| *part == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }
}

/// An X.509-SVID has exactly one URI among its alternative names (SPIFFE, X509-SVID, section 2).
fn spiffe(certificate: &X509Certificate<'_>) -> Option<Box<str>> {
    let names = certificate.subject_alternative_name().ok().flatten()?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let only = uris.next().filter(|_| uris.next().is_none())?;
    only.starts_with(SPIFFE).then(|| only.into())
}

/// Reads the certificate when a handshake is over.
pub(super) struct Reader;

#[async_trait]
impl TlsAccept for Reader {
    async fn handshake_complete_callback(
        &self,
        tls: &TlsRef,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        let certificate = ClientCertificate::read(tls.peer_certificate_der()?)?;
        Some(Arc::new(certificate))
    }
}
