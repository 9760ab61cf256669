//! The head of a request: which endpoint it is for, who asks, what it is called.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Uri};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::dialect::{self, Call, Dialect, Endpoint, Kept};
use crate::error::{Error, Kind};
use crate::plan::Plan;
use crate::tenant::{Caller, Presented, Refused, Secret};
use crate::transport::ClientCertificate;
use crate::transport::downstream::{self, Session};
use crate::wire::fields::{Fields, Name};

/// Longest request id taken from a client.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Longest request target.
const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Longest wait for an issuer's keys.
const KEYS_WAIT: Duration = Duration::from_secs(3);

/// What the request line and the headers said.
pub(super) struct Head {
    pub(super) method: Method,
    target: Uri,
    pub(super) headers: Fields,
    pub(super) request_id: RequestId,
    pub(super) endpoint: Endpoint,
    pub(super) dialect: Dialect,
    /// The endpoint as which body and answer are read: the same, but for a passthrough to an
    /// endpoint that is known, whose tokens count like any other's.
    pub(super) read_as: Endpoint,
    call: Kept,
    /// Such a passthrough, as its provider gets it.
    known: Option<(Box<str>, Kept)>,
    upgrade: bool,
    /// What the client has shown in the TLS handshake.
    certificate: Option<ClientCertificate>,
    /// Where it comes from.
    address: Option<IpAddr>,
}

/// A request that was refused before its endpoint was understood.
pub(super) struct Refusal {
    pub(super) error: Error,
    pub(super) request_id: RequestId,
    pub(super) path: Box<str>,
    /// The dialect that the path looks like.
    pub(super) dialect: Dialect,
}

impl Head {
    /// Takes the head, and checks it against the bounds.
    pub(super) fn read(session: &mut Session<'_>, plan: &Plan) -> Result<Self, Box<Refusal>> {
        let downstream::Head { method, target, headers, upgrade } = session.take_head();
        let request_id = RequestId::of(&headers);
        let (path, query) = (target.path(), target.query());
        let refuse = |error| {
            let (request_id, path) = (request_id.clone(), path.into());
            let dialect = dialect::guess(target.path(), &headers);
            Box::new(Refusal { error, request_id, path, dialect })
        };
        check_bounds(&target, &headers, plan).map_err(refuse)?;
        let call = dialect::classify(&method, path, query, &headers).map_err(refuse)?;
        let (endpoint, dialect) = (call.endpoint, call.dialect);
        let known = known_passthrough((&method, query, &headers), &call, plan);
        let call = call.keep();
        Ok(Self {
            method,
            target,
            headers,
            endpoint,
            dialect,
            read_as: known.as_ref().map_or(endpoint, |(_, _, endpoint)| *endpoint),
            known: known.map(|(path, call, _)| (path, call)),
            call,
            upgrade: upgrade && endpoint == Endpoint::Realtime,
            request_id,
            certificate: session.certificate(),
            address: session.client_address(),
        })
    }

    /// The call, as its dialect reads it.
    pub(super) fn call(&self) -> Call<'_> {
        self.call.call(self.path(), &self.headers)
    }

    /// The call as which body and answer are read.
    pub(super) fn read_call(&self) -> Call<'_> {
        match &self.known {
            Some((path, call)) => call.call(path, &self.headers),
            None => self.call(),
        }
    }

    /// The same with all that it is made of, for another thread.
    pub(super) fn keep_read_call(&self) -> (Kept, Box<str>, Fields) {
        let (path, call) = match &self.known {
            Some((path, call)) => (&**path, call),
            None => (self.path(), &self.call),
        };
        (call.clone(), path.into(), self.headers.clone())
    }

    pub(super) fn path(&self) -> &str {
        self.target.path()
    }

    pub(super) fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// Whether the connection is to be upgraded to a WebSocket.
    pub(super) fn upgrade(&self) -> bool {
        self.upgrade
    }

    /// Who asks.
    pub(super) async fn authenticate(&self, plan: &Plan) -> Result<Arc<Caller>, Error> {
        match self.identify(plan) {
            Ok(caller) => Ok(caller),
            Err(Refused::Error(error)) => Err(error),
            // After a rotation, or at start: the exception, kept out of every request's own state.
            Err(Refused::Unread(source)) => {
                Box::pin(async move {
                    source.read_again(KEYS_WAIT).await;
                    self.identify(plan).map_err(Refused::into_error)
                })
                .await
            }
        }
    }

    fn identify(&self, plan: &Plan) -> Result<Arc<Caller>, Refused> {
        let in_url = self.dialect == Dialect::Gemini || self.read_dialect() == Dialect::Gemini;
        let found = dialect::credential(&self.headers, self.query(), in_url);
        let secret = match &found {
            Ok(found) => Secret::of(found.as_ref().map(|found| found.secret.as_bytes())),
            Err(dialect::Ambiguous) => Secret::Several,
        };
        plan.callers.authenticate(&Presented {
            secret,
            certificate: self.certificate.as_ref(),
            endpoint: self.endpoint,
            address: self.address,
        })
    }

    /// The format as which body and answer are read.
    fn read_dialect(&self) -> Dialect {
        self.known
            .as_ref()
            .map_or(self.dialect, |(path, call)| call.call(path, &self.headers).dialect)
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.text(name)
    }
}

/// The upstream's path of a passthrough, and which endpoint of its provider's format that is.
fn known_passthrough(
    (method, query, headers): (&Method, Option<&str>, &Fields),
    call: &Call<'_>,
    plan: &Plan,
) -> Option<(Box<str>, Kept, Endpoint)> {
    let pool = plan.passthrough.get(call.provider?)?;
    let provider = &pool.targets.first()?.provider;
    let path = dialect::upstream_path(call, &provider.paths, None, None, false);
    let known = dialect::classify(method, &path, query, headers).ok()?;
    let readable = known.dialect == provider.dialect && known.endpoint != Endpoint::Realtime;
    let (call, endpoint) = (known.keep(), known.endpoint);
    readable.then(|| (path.into_boxed_str(), call, endpoint))
}

fn check_bounds(target: &Uri, headers: &Fields, plan: &Plan) -> Result<(), Error> {
    let bounds = &plan.bounds;
    let target = target.path_and_query().map_or(0, |target| target.as_str().len());
    if target > TARGET_BYTES_MAX {
        return Err(Error::new(
            Kind::HeadTooLarge,
            format!("The request target is longer than {TARGET_BYTES_MAX} bytes."),
        ));
    }
    let count = headers.len();
    if count > bounds.headers as usize {
        return Err(Error::new(
            Kind::HeadTooLarge,
            format!("The request has {count} headers; at most {} are accepted.", bounds.headers),
        ));
    }
    let left = bounds.head.as_usize().checked_sub(target);
    if !left.is_some_and(|left| headers.fit(left)) {
        return Err(Error::new(
            Kind::HeadTooLarge,
            format!("The request's headers are larger than the {} that are accepted.", bounds.head),
        ));
    }
    Ok(())
}

/// What a request is called: the client's `x-request-id` where it is a sane one, else a random UUID
/// (RFC 9562, version 4).
#[derive(Clone)]
pub(super) struct RequestId(Box<str>);

impl RequestId {
    fn of(headers: &Fields) -> Self {
        let sane = |id: &&str| {
            let graphic = || id.bytes().all(|byte| byte.is_ascii_graphic());
            !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && graphic()
        };
        let theirs = headers.text(Name::XRequestId).filter(sane);
        theirs.map_or_else(Self::random, |theirs| Self(theirs.into()))
    }

    pub(super) fn random() -> Self {
        thread_local! {
            // Ids are told apart by them, nothing is guarded by them: a fast generator will do.
            static BITS: RefCell<SmallRng> = RefCell::new(SmallRng::from_os_rng());
        }
        Self(uuid(BITS.with_borrow_mut(SmallRng::random)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A UUID of version 4 with these random bits.
fn uuid(mut bits: [u8; 16]) -> Box<str> {
    bits[6] = bits[6] & 0x0f | 0x40;
    bits[8] = bits[8] & 0x3f | 0x80;
    let [a, b, c, d] = std::array::from_fn(|at| {
        hex(u32::from_be_bytes(std::array::from_fn(|byte| bits[4 * at + byte])))
    });
    let mut text = [b'-'; 36];
    text[..8].copy_from_slice(&a);
    text[9..13].copy_from_slice(&b[..4]);
    text[14..18].copy_from_slice(&b[4..]);
    text[19..23].copy_from_slice(&c[..4]);
    text[24..28].copy_from_slice(&c[4..]);
    text[28..].copy_from_slice(&d);
    std::str::from_utf8(&text).unwrap_or_default().into()
}

/// The eight digits of a number, all at once.
fn hex(number: u32) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut digits = u64::from(number);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // Those from ten on stand behind `9` by so many characters.
    let letters = (digits + 6 * EACH) >> 4 & EACH;
    let behind = u64::from(b'a' - b'9' - 1);
    (digits + u64::from(b'0') * EACH + letters * behind).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(theirs: Option<&str>) -> String {
        let headers: Fields = theirs.iter().map(|theirs| ("x-request-id", *theirs)).collect();
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        assert_eq!(&*uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(&*uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let bits = std::array::from_fn(|at| at as u8 * 0x11);
        assert_eq!(&*uuid(bits), "00112233-4455-4677-8899-aabbccddeeff");
    }

    #[test]
    fn digits_are_those_that_are_written() {
        for number in (0..32).map(|bit| 0x1234_5678_9abc_def0_u64 >> bit) {
            let number = number as u32;
            assert_eq!(hex(number)[..], *format!("{number:08x}").as_bytes());
        }
    }

    #[test]
    fn a_sane_id_of_the_client_is_kept() {
        assert_eq!(id(Some("req_1/a")), "req_1/a");
        for other in [None, Some(""), Some("a b"), Some(&*"x".repeat(REQUEST_ID_BYTES_MAX + 1))] {
            assert_eq!(id(other).len(), 36);
        }
        assert_ne!(id(None), id(None));
    }
}
