//! Client certificates identify their callers, and only those that were made for it do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use weir::tenant::hash_form;

use super::tokens::{UPSTREAM, bearer, chat, status};
use crate::stand::Weir;

const KEY: &str = "Weir-Key-0123456789";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).expect("an authority").pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn with_uris(&self, uris: &[&str]) -> Identity {
        self.issue(|parameters| {
            let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("a URI"));
            parameters.subject_alt_names = uris.iter().map(uri).collect();
        })
    }

    fn with_subject(&self, parts: &[(DnType, &str)]) -> Identity {
        self.issue(|parameters| {
            for (kind, value) in parts {
                parameters.distinguished_name.push(kind.clone(), *value);
            }
        })
    }
}

struct Identity {
    certificate: String,
    key: String,
}

/// The status of the answer; 0 where the handshake fails.
fn ask(weir: &Weir, ca: &str, identity: Option<&Identity>, headers: &str) -> u16 {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(vec![chain], key).expect("they fit")
        }
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut socket = TcpStream::connect(weir.address).expect("connected");
    let mut stream = Stream::new(&mut connection, &mut socket);
    let mut answer = Vec::new();
    // A refused handshake is an error of either.
    if stream.write_all(&chat(headers)).is_ok() {
        let _ = stream.read_to_end(&mut answer);
    }
    status(&answer)
}

fn start(directory: &Path, ours: &Authority, client_auth: &str) -> Weir {
    let server = ours.issue(|parameters| {
        parameters.subject_alt_names =
            vec![SanType::DnsName("localhost".try_into().expect("a name"))];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let tls = format!(
        "tls: {{ cert: {{ file: {} }}, key: {{ file: {} }}, client_ca: {{ file: {} }}, client_auth: {client_auth} }}",
        file("cert.pem", &server.certificate),
        file("key.pem", &server.key),
        file("ca.pem", &ours.pem)
    );
    let tenants = format!(
        "
access: keys
tenants:
  acme:
    keys:
      - {{ name: batch, certificate: {{ spiffe: 'spiffe://acme.example/ns/ml/*' }} }}
      - {{ name: desk, certificate: {{ subject: {{ CN: desk, O: Acme }} }} }}
      - {{ name: ci, hash: '{}' }}
  lab:
    keys: [{{ name: ci, hash: '{}' }}]
{UPSTREAM}",
        hash_form(KEY),
        hash_form(&format!("{KEY}-lab"))
    );
    Weir::start_with(&tls, &tenants)
}

#[test]
fn certificates_are_callers_and_nothing_like_them_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let weir = start(directory.path(), &ours, "optional");
    let good = "spiffe://acme.example/ns/ml/sa/batch";
    let desk = [(DnType::CommonName, "desk"), (DnType::OrganizationName, "Acme")];
    let o_with_cn = [(DnType::OrganizationName, "Acme, CN=desk"), (DnType::CommonName, "x")];
    let expired = ours.issue(|parameters| {
        parameters.subject_alt_names = vec![SanType::URI(good.try_into().expect("a URI"))];
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2021, 1, 1);
    });
    let of_a_server = ours.issue(|parameters| {
        parameters.subject_alt_names = vec![SanType::URI(good.try_into().expect("a URI"))];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let mine = ours.with_uris(&[good]);
    let lab = bearer(&format!("{KEY}-lab"));
    let table: [(&str, Option<Identity>, &str, u16); 17] = [
        ("a SPIFFE id", Some(ours.with_uris(&[good])), "", 200),
        ("a subject", Some(ours.with_subject(&desk)), "", 200),
        ("a key without a certificate", None, &bearer(KEY), 200),
        ("a key and a certificate of one tenant", Some(mine), &bearer(KEY), 200),
        ("an empty key, as some clients send", Some(ours.with_uris(&[good])), &bearer(""), 200),
        ("nothing", None, "", 401),
        ("a key of another tenant", Some(ours.with_uris(&[good])), &lab, 401),
        ("a wrong key", Some(ours.with_uris(&[good])), &bearer("wrong-key-1"), 401),
        (
            "another trust domain",
            Some(ours.with_uris(&["spiffe://evil.example/ns/ml/sa/batch"])),
            "",
            401,
        ),
        (
            "another name space",
            Some(ours.with_uris(&["spiffe://acme.example/ns/web/sa/x"])),
            "",
            401,
        ),
        ("another scheme", Some(ours.with_uris(&["https://acme.example/ns/ml/sa/batch"])), "", 401),
        ("two SPIFFE ids", Some(ours.with_uris(&["spiffe://acme.example/x", good])), "", 401),
        ("half a subject", Some(ours.with_subject(&desk[..1])), "", 401),
        ("one part of a subject inside another", Some(ours.with_subject(&o_with_cn)), "", 401),
        ("an authority that is not ours", Some(theirs.with_uris(&[good])), "", 0),
        ("expired", Some(expired), "", 0),
        ("a server's certificate", Some(of_a_server), "", 0),
    ];
    for (name, identity, headers, wanted) in &table {
        assert_eq!(ask(&weir, &ours.pem, identity.as_ref(), headers), *wanted, "{name}");
    }
    let log = weir.access_log_of(14);
    assert!(log.contains(r#""caller":"batch""#) && log.contains(r#""caller":"desk""#), "{log}");
}

#[test]
fn where_a_certificate_is_required_nothing_is_answered_without() {
    let directory = tempfile::tempdir().expect("a directory");
    let ours = Authority::new();
    let weir = start(directory.path(), &ours, "required");
    assert_eq!(ask(&weir, &ours.pem, None, &bearer(KEY)), 0);
    let batch = ours.with_uris(&["spiffe://acme.example/ns/ml/sa/batch"]);
    assert_eq!(ask(&weir, &ours.pem, Some(&batch), ""), 200);
}
