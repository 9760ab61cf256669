//! Signatures of requests to AWS (Signature Version 4), by AWS's own crate.

use std::fmt::Write as _;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign as signature};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::transport::upstream::Request;
use crate::wire::fields::Name;

/// The service in a signature, the same for all of Bedrock's hosts.
const SERVICE: &str = "bedrock";

/// Signs a request with the body that is sent.
pub(super) fn sign(
    request: &mut Request,
    body: &[Bytes],
    keys: Credentials,
    region: &str,
    now: SystemTime,
) -> Result<(), String> {
    let identity = keys.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    // What may change on the way, or is not ours, is not signed.
    let host = request.headers.text(Name::Host).ok_or("the host is no text")?;
    let mut signed = vec![(Name::Host.as_str(), host)];
    for value in request.headers.all(Name::ContentType) {
        let value = std::str::from_utf8(value).map_err(|error| error.to_string())?;
        signed.push((Name::ContentType.as_str(), value));
    }
    let url = format!("https://{host}{}", request.target);
    let body = SignableBody::Precomputed(hash(body));
    let asked = SignableRequest::new(request.method.as_str(), url, signed.iter().copied(), body)
        .map_err(|error| error.to_string())?;
    let (instructions, _) =
        signature(asked, &params).map_err(|error| error.to_string())?.into_parts();
    for (name, value) in instructions.headers() {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
        request.set(&name, &value);
    }
    Ok(())
}

/// The hash of a body in pieces, in hexadecimal digits.
fn hash(body: &[Bytes]) -> String {
    let mut hash = Sha256::new();
    for piece in body {
        hash.update(piece);
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
