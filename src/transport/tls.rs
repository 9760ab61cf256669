//! TLS of a listener: certificate and client verification from files, read again at every reload.

use std::path::Path;
use std::sync::Arc;

use pingora_core::listeners::tls::Acceptor;
use pingora_core::tls::{
    CertificateDer, PrivateKeyDer, RootCertStore, ServerConfig, WebPkiClientVerifier,
    install_default_crypto_provider, load_ca_file_into_store, load_certs_and_key_files, version,
};

use super::settings::{ClientAuth, ListenerTls};

/// Builds what a listener needs to accept TLS. HTTP/2 and HTTP/1.1 are offered (ALPN, RFC 7301).
pub fn acceptor(settings: &ListenerTls) -> Result<Acceptor, String> {
    install_default_crypto_provider();
    let (chain, key) = certificate(&settings.cert.file, &settings.key.file)?;
    let builder = ServerConfig::builder_with_protocol_versions(&[&version::TLS12, &version::TLS13]);
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            load_ca_file_into_store(&authority.file, &mut roots)
                .map_err(|error| unreadable("client_ca", &authority.file, &error))?;
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
            let verifier = match settings.client_auth {
                ClientAuth::Required => verifier,
                ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier
                .build()
                .map_err(|error| unreadable("client_ca", &authority.file, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("the certificate and its key do not fit: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Acceptor::from_server_config(Arc::new(config)))
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
