//! The byte stream of an upstream connection: in cleartext, or under TLS.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use pingora_core::tls::{
    CertificateDer, ClientConfig, ClientTlsStream, DigitallySignedStruct, HandshakeSignatureValid,
    RootCertStore, RusTlsError, ServerCertVerified, ServerCertVerifier, ServerName,
    SignatureScheme, TlsConnector, UnixTime, install_default_crypto_provider,
    load_ca_file_into_store, load_platform_certs_incl_env_into_store, version,
};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Address, Tls, Version};
use crate::error::{Error, Kind};
use crate::transport::{Arrived, Stream, block};

/// What ALPN calls the versions of HTTP (RFC 7301, RFC 9113).
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// A connection to an upstream.
#[derive(Debug)]
pub(super) enum Io {
    Plain(Stream),
    Tls(Box<ClientTlsStream<Stream>>),
}

impl Io {
    /// Whether TLS has negotiated HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Io::Plain(_) => false,
            Io::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(HTTP2),
        }
    }

    /// Whether nothing has come since the last read: no byte, no end, no error.
    pub(super) fn is_silent(&mut self) -> bool {
        match self {
            Io::Plain(stream) => stream.is_silent(),
            Io::Tls(tls) if tls.get_ref().0.is_silent() => true,
            // A record may be for TLS itself, such as a ticket for the next session.
            Io::Tls(tls) => {
                let mut context = Context::from_waker(Waker::noop());
                let mut byte = [0];
                Pin::new(tls).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }

    /// The next bytes; none at the end.
    pub(super) fn poll_read_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        match self {
            Io::Plain(stream) => stream.poll_read_bytes(cx),
            Io::Tls(tls) => block::poll_read_bytes(Pin::new(tls), cx),
        }
    }

    /// The same, for whoever may only pass them on.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Arrived>> {
        match self {
            Io::Plain(stream) => stream.poll_receive(cx),
            Io::Tls(tls) => block::poll_read_bytes(Pin::new(tls), cx).map_ok(Arrived::Bytes),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// What TLS connections are made with: one configuration for each way to verify and to offer
/// versions, so that sessions are resumed.
#[derive(Default)]
pub(super) struct Connector {
    configs: Mutex<HashMap<Way, TlsConnector>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Way {
    ca: Option<PathBuf>,
    verify: bool,
    version: Version,
}

impl Connector {
    /// Connects, with TLS where the address says so.
    pub(super) async fn open(&self, to: &Address, at: SocketAddr) -> Result<Io, Error> {
        let stream = Stream::connect(at).await.map_err(|error| {
            Error::new(Kind::UpstreamConnect, "The upstream could not be reached.").cause(error)
        })?;
        let Some(tls) = &to.tls else { return Ok(Io::Plain(stream)) };
        let connector = self.tls(tls, to.version)?;
        let name = ServerName::try_from(tls.sni.to_string()).map_err(|error| failed(&error))?;
        let stream = connector.connect(name, stream).await.map_err(|error| failed(&error))?;
        Ok(Io::Tls(Box::new(stream)))
    }

    fn tls(&self, tls: &Tls, version: Version) -> Result<TlsConnector, Error> {
        let way = Way { ca: tls.ca.clone(), verify: tls.verify, version };
        let mut configs = self.configs.lock();
        if let Some(known) = configs.get(&way) {
            return Ok(known.clone());
        }
        let connector = TlsConnector::from(Arc::new(config(&way)?));
        configs.insert(way, connector.clone());
        Ok(connector)
    }
}

fn config(way: &Way) -> Result<ClientConfig, Error> {
    install_default_crypto_provider();
    let mut roots = RootCertStore::empty();
    match &way.ca {
        Some(path) => load_ca_file_into_store(path, &mut roots),
        None => load_platform_certs_incl_env_into_store(&mut roots),
    }
    .map_err(|error| {
        Error::new(Kind::UpstreamTls, "The upstream's TLS authorities cannot be loaded.")
            .cause(error)
    })?;
    let builder = ClientConfig::builder_with_protocol_versions(&[&version::TLS12, &version::TLS13]);
    let mut config = if way.verify {
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        let verifier = Arc::new(AnyCertificate::new()?);
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    };
    config.alpn_protocols = match way.version {
        Version::Auto => vec![HTTP2.to_vec(), HTTP1.to_vec()],
        Version::Http1 => vec![HTTP1.to_vec()],
        Version::Http2 => vec![HTTP2.to_vec()],
    };
    Ok(config)
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::UpstreamTls, "The TLS handshake with the upstream failed.").cause(error)
}

/// Takes any certificate, where the operator has said `verify: false`. The handshake's signatures are
/// checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl AnyCertificate {
    fn new() -> Result<Self, Error> {
        CryptoProvider::get_default()
            .map(|provider| Self(Arc::clone(provider)))
            .ok_or_else(|| Error::new(Kind::Internal, "TLS is not available."))
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, RusTlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RusTlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RusTlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
