//! Requests. What could be read in two ways is refused (RFC 9112, section 11.2: request smuggling).

use std::cell::RefCell;
use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};

use super::body::content_length;
use super::known::Heads;
use super::{Body, Fields, HEAD_BYTES_MAX, Malformed, Name, keeps};

/// Headers of a request.
const HEADERS_MAX: usize = 256;

/// The head of a request.
#[derive(Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its target: path and query; for `CONNECT`, nothing of use.
    pub target: Uri,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Its headers.
    pub headers: Fields,
    /// The body that follows.
    pub body: Body,
    /// Whether the client lets the connection carry another request.
    pub keeps: bool,
}

impl Request {
    /// Whether so much was read without a head's end that none is waited for any more.
    pub fn is_too_long(read: &[u8]) -> bool {
        read.len() >= HEAD_BYTES_MAX
    }

    /// Takes a head out of what was read, once it is complete.
    ///
    /// # Errors
    ///
    /// [`Malformed`]; nothing after it can be trusted.
    pub fn take(read: &mut Bytes) -> Result<Option<Self>, Malformed> {
        KNOWN.with_borrow_mut(|known| Self::take_knowing(known, read))
    }

    pub(super) fn take_knowing(
        known: &mut Heads<FirstLine>,
        read: &mut Bytes,
    ) -> Result<Option<Self>, Malformed> {
        let (first_line, headers) = match known.take(read) {
            Some(head) => head,
            None => match parse(read)? {
                Some(head) => {
                    known.add(|| head.0.detached(), &head.1);
                    head
                }
                None => return Ok(None),
            },
        };
        let FirstLine { method, target, minor } = first_line;
        let body = body(minor, &headers)?;
        let version = if minor == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
        let keeps = keeps(minor, &headers);
        Ok(Some(Self { method, target, version, headers, body, keeps }))
    }
}

thread_local! {
    static KNOWN: RefCell<Heads<FirstLine>> = const { RefCell::new(Heads::new()) };
}

/// What the first line of a request says.
#[derive(Clone, Debug)]
pub(super) struct FirstLine {
    method: Method,
    target: Uri,
    minor: u8,
}

impl FirstLine {
    /// The same in memory of its own.
    fn detached(&self) -> Option<Self> {
        let target = self.target.to_string().parse().ok()?;
        Some(Self { method: self.method.clone(), target, minor: self.minor })
    }
}

/// Parses the head that what was read begins with, and takes it out of that.
fn parse(read: &mut Bytes) -> Result<Option<(FirstLine, Fields)>, Malformed> {
    // Left as they are: filling in all of them would take longer than parsing a usual head.
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let head = read.clone();
    let length = match request.parse_with_uninit_headers(&head, &mut slots) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if !Request::is_too_long(read) => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Malformed::HeadTooLong);
        }
        Err(_) => return Err(Malformed::Head),
    };
    let method = request.method.unwrap_or_default();
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Malformed::Head)?;
    let minor = request.version.unwrap_or_default();
    let path = request.path.unwrap_or_default().as_bytes();
    let headers = Fields::parsed(head.slice(..length), request.headers);
    let headers = headers.ok_or(Malformed::Head)?;
    let target = target(&method, head.slice_ref(path), &headers)?;
    read.advance(length);
    Ok(Some((FirstLine { method, target, minor }, headers)))
}

/// What is asked for (RFC 9112, section 3.2), once it is certain of whom.
fn target(method: &Method, raw: Bytes, headers: &Fields) -> Result<Uri, Malformed> {
    let mut hosts = headers.all(Name::Host);
    let host = hosts.next();
    if hosts.next().is_some() || host.is_some_and(|host| host.contains(&b'@')) {
        return Err(Malformed::Ambiguous);
    }
    if method == Method::CONNECT {
        return Ok(Uri::default());
    }
    if raw.first() == Some(&b'/') || &raw[..] == b"*" {
        return PathAndQuery::from_maybe_shared(raw).map(Uri::from).map_err(|_| Malformed::Head);
    }
    let uri = Uri::from_maybe_shared(raw).map_err(|_| Malformed::Head)?;
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Malformed::Head);
    };
    let authority = authority.as_str();
    let differs = host.is_some_and(|host| host != authority.as_bytes());
    if differs || authority.contains('@') {
        return Err(Malformed::Ambiguous);
    }
    Ok(uri)
}

/// How the body is delimited (RFC 9112, section 6.3).
fn body(minor: u8, headers: &Fields) -> Result<Body, Malformed> {
    let mut codings = headers.all(Name::TransferEncoding);
    if let Some(coding) = codings.next() {
        let chunked = coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
        if !chunked || codings.next().is_some() {
            return Err(Malformed::TransferEncoding);
        }
        if minor == 0 || headers.contains(Name::ContentLength) {
            return Err(Malformed::Ambiguous);
        }
        return Ok(Body::ChunkSize);
    }
    Ok(match content_length(headers)? {
        None | Some(0) => Body::Done,
        Some(length) => Body::Length(length),
    })
}

#[cfg(test)]
mod tests;
