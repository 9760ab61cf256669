//! TLS of a listener: certificate and client verification from files, read again at every reload.

use std::path::Path;
use std::sync::Arc;

use pingora_core::listeners::tls::{Acceptor, TlsSettings};
use pingora_core::protocols::ALPN;
use pingora_core::tls::{
    CertificateDer, ClientCertVerifier, PrivateKeyDer, RootCertStore, WebPkiClientVerifier,
    install_default_crypto_provider, load_ca_file_into_store, load_certs_and_key_files,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::certificate::Reader;
use super::settings::{ClientAuth, FileRef, ListenerTls};

/// Builds what a listener needs to accept TLS. HTTP/2 and HTTP/1.1 are offered (ALPN, RFC 7301).
pub fn acceptor(settings: &ListenerTls) -> Result<Acceptor, String> {
    install_default_crypto_provider();
    let (chain, key) = certificate(&settings.cert.file, &settings.key.file)?;
    let provider = rustls::crypto::ring::default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| format!("the certificate and its key do not fit: {error}"))?;
    let mut tls = TlsSettings::with_callbacks(Box::new(Reader))
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    tls.set_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    tls.set_alpn(ALPN::H2H1);
    if let Some(authority) = &settings.client_ca {
        tls.set_client_cert_verifier(verifier(authority, settings.client_auth)?);
    }
    Ok(tls.build())
}

fn verifier(
    authority: &FileRef,
    client_auth: ClientAuth,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    load_ca_file_into_store(&authority.file, &mut roots)
        .map_err(|error| unreadable("client_ca", &authority.file, &error))?;
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
    let verifier = match client_auth {
        ClientAuth::Required => verifier,
        ClientAuth::Optional => verifier.allow_unauthenticated(),
    };
    verifier.build().map_err(|error| unreadable("client_ca", &authority.file, &error))
}

type ChainAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificate(cert: &Path, key: &Path) -> Result<ChainAndKey, String> {
    let (cert_text, key_text) = (text(cert)?, text(key)?);
    match load_certs_and_key_files(cert_text, key_text) {
        Ok(Some(loaded)) => Ok(loaded),
        Ok(None) => Err(format!(
            "{} holds no certificate, or {} no private key, in PEM form",
            cert.display(),
            key.display()
        )),
        Err(error) => Err(format!(
            "the certificate {} or its key {} cannot be read: {error}",
            cert.display(),
            key.display()
        )),
    }
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("the path {} is not UTF-8", path.display()))
}

fn unreadable(what: &str, path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{what} {} cannot be used: {error}", path.display())
}
