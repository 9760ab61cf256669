//! One request's life: understand it, choose what goes wrong, answer it, write it into the books.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::answer::answer;
use super::books::{Books, Entry, Record};
use super::control;
use super::deliver::{Delivery, Fate};
use super::digits::Hex;
use super::fault::{Broken, Fault, Point};
use super::h1;
use super::outbound::{Gone, Head, Outbound};
use super::problem::Problem;
use super::replay::{Given, Known};
use super::reply::{Reply, Whole};
use super::request::{Fields, Knobs, Request};
use super::route::{Dialect, Endpoint, NoRoute, Route, route};
use super::scene::Scene;
use super::shared::{Command, Shared};

/// An entry of the books that is closed whatever happens.
struct Open<'a> {
    books: &'a Books,
    entry: Arc<Entry>,
    gone_after: Option<Duration>,
}

impl Open<'_> {
    /// Notes when the client went away, if it did.
    fn went(&mut self, fate: Fate, out: &Outbound<'_>) {
        if fate == Err(Gone) {
            self.went_since(out.last_write());
        }
    }

    fn went_since(&mut self, last_write: Option<Instant>) {
        let since = last_write.unwrap_or_else(|| self.entry.started());
        self.gone_after = Some(since.elapsed());
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.books.close(&self.entry, self.gone_after);
    }
}

fn open<'a>(
    shared: &'a Shared,
    request: &Request,
    found: Result<&Route, &NoRoute>,
    protocol: &'static str,
) -> Open<'a> {
    let endpoint = found.map_or(Endpoint::Unknown, |route| route.endpoint);
    // A key in the query is no matter for the books.
    let mut path = request.path.clone();
    if let Some(query) = &request.query {
        let shown: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("key=")).collect();
        if !shown.concat().is_empty() {
            path = format!("{path}?{}", shown.join("&"));
        }
    }
    let record = Record {
        request_id: request.fields.request_id.clone(),
        path,
        prefix: found.map(|route| route.prefix.clone()).unwrap_or_default(),
        protocol: protocol.into(),
        model: found.ok().and_then(|route| route.model.clone()).unwrap_or_default(),
        bytes_in: request.body.len() as u64,
        leaks: request.fields.leaks.clone(),
        ..Record::default()
    };
    Open { books: &shared.books, entry: shared.books.open(endpoint, record), gone_after: None }
}

/// Books a request whose client went away before its body was complete.
pub(super) fn lost(shared: &Shared, request: &Request, protocol: &'static str) {
    let found = route(&request.method, &request.path, &request.fields);
    open(shared, request, found.as_ref(), protocol).gone_after = Some(Duration::ZERO);
}

/// Answers before the body was read, and ends the connection.
pub(super) async fn early(shared: &Shared, request: &Request, status: u16, out: &mut Outbound<'_>) {
    let found = route(&request.method, &request.path, &request.fields);
    let open = open(shared, request, found.as_ref(), out.protocol());
    let dialect = found.map_or_else(|no| no.dialect, |route| route.endpoint.dialect());
    let problem = Problem::status(status);
    let body = problem.body(dialect, "req_early");
    open.entry.edit(|record| {
        record.status = status;
        record.fault = Some(Fault::EarlyResponse(status).to_string());
    });
    let headers = problem.headers(dialect);
    let head = Head {
        status,
        content_type: "application/json",
        headers: &headers,
        length: Some(body.len()),
    };
    out.close_after(true);
    if out.head(&head).await.is_ok() && out.data(&body).await.is_ok() {
        let _ = out.finish().await;
        open.entry.sent_bytes(&body, false);
        // Long enough for a client to read the answer before unread bytes turn the close into a reset.
        let _ = out.wait(Instant::now() + Duration::from_millis(100)).await;
    }
}

/// Answers a request; what was given, when the same request may get the same again.
pub(super) async fn run(
    shared: &Shared,
    request: &Request,
    headers: Vec<(String, String)>,
    out: &mut Outbound<'_>,
) -> Option<Given> {
    if request.path.starts_with("/__mock") {
        control::run(shared, request, out).await;
        return None;
    }
    let found = route(&request.method, &request.path, &request.fields);
    let mut open = open(shared, request, found.as_ref(), out.protocol());
    if request.fields.knobs.record {
        open.entry.keep_request(headers, &request.body);
    }
    let fate = serve(shared, request, found, &open.entry, out).await;
    open.went(fate.as_ref().map(drop).map_err(|gone| *gone), out);
    let whole = fate.ok().flatten()?;
    Some(Given { record: open.entry.record(), endpoint: open.entry.endpoint(), whole })
}

/// Answers a request as it was answered before.
pub(super) async fn replay(
    shared: &Shared,
    known: &Known,
    request_id: Option<String>,
    mut out: h1::Out<'_>,
) -> bool {
    let id = shared.rng().bits();
    let said = said(request_id.as_deref(), id);
    let record = Record { request_id, ..known.record.clone() };
    let entry = shared.books.open(known.endpoint, record);
    let mut open = Open { books: &shared.books, entry, gone_after: None };
    let created = super::books::unix_us() / 1_000_000;
    if out.answer(|wire| known.write(wire, &said, id, created)).await.is_ok() {
        known.book(&open.entry);
    } else {
        open.went_since(out.last_write);
    }
    out.may_follow()
}

/// The identifier that an answer bears: the request's own, if it has one.
fn said(given: Option<&str>, id: u64) -> String {
    given.map_or_else(|| ["req_", Hex::of(id).as_str()].concat(), str::to_owned)
}

async fn serve(
    shared: &Shared,
    request: &Request,
    found: Result<Route, NoRoute>,
    entry: &Entry,
    out: &mut Outbound<'_>,
) -> Result<Option<Whole>, Gone> {
    let dialect = found.as_ref().map_or_else(|no| no.dialect, |route| route.endpoint.dialect());
    let mut rng = shared.rng();
    let id = rng.bits();
    let request_id = said(request.fields.request_id.as_deref(), id);
    let understood = understand(shared, request, found);
    let (fault, reply) = match understood {
        Ok(route) => {
            let scene = Scene {
                settings: &shared.settings,
                world: &shared.world,
                request,
                route: &route,
                id,
                created: super::books::unix_us() / 1_000_000,
                request_id: &request_id,
            };
            let (model, reply) = answer(&scene);
            let fault = shared.fault(request, &model, &mut rng);
            entry.edit(|record| record.model = model);
            match fault {
                Ok(fault) => (fault, reply),
                Err(why) => (None, Err(Problem::invalid("x-mock-fault", why))),
            }
        }
        Err(problem) => (None, Err(problem)),
    };
    if let Some(fault) = fault {
        entry.edit(|record| record.fault = Some(fault.to_string()));
    }
    let reply = match (fault, reply) {
        (Some(Fault::Status(status, retry_after)), _) => {
            Err(Problem { retry_after, ..Problem::status(status) })
        }
        (Some(Fault::EarlyResponse(status)), _) => Err(Problem::status(status)),
        (_, reply) => reply,
    };
    let reply = reply.unwrap_or_else(|problem| {
        Reply::Whole(Whole {
            status: problem.status,
            headers: problem.headers(dialect),
            ..Whole::json(problem.body(dialect, &request_id))
        })
    });
    if before_head(shared, fault, out).await? {
        return Ok(None);
    }
    let again = match &reply {
        Reply::Whole(whole) if may_be_repeated(shared, request, fault, whole) => {
            Some(whole.clone())
        }
        _ => None,
    };
    let delivery = Delivery {
        settings: &shared.settings,
        streams_open: &shared.books.streams_open,
        knobs: &request.fields.knobs,
        fault,
        dialect,
        request_id: &request_id,
        entry,
        rng,
    };
    delivery.run(reply, &request.fields, out).await?;
    Ok(again)
}

/// Whether an answer depends on nothing but what was asked.
fn may_be_repeated(
    shared: &Shared,
    request: &Request,
    fault: Option<Fault>,
    whole: &Whole,
) -> bool {
    whole.varying.is_some()
        && fault.is_none()
        && request.fields.knobs == Knobs::default()
        && shared.is_plain()
}

/// What goes wrong before anything is sent; whether that was all.
async fn before_head(
    shared: &Shared,
    fault: Option<Fault>,
    out: &mut Outbound<'_>,
) -> Result<bool, Gone> {
    match fault {
        Some(Fault::Refuse(pause)) => {
            shared.tell(|| Command::Pause(Some(pause), None));
            out.reset();
        }
        Some(Fault::Reset(Point::BeforeHead)) => out.reset(),
        Some(Fault::BlackHole) => return Err(out.wait_for_client().await),
        Some(Fault::Malformed(Broken::Head)) => {
            out.cut();
            out.raw(b"HTTP/1.1 two hundred\r\n: nothing\r\n\x00\r\n\r\n").await?;
        }
        Some(Fault::Malformed(Broken::Length)) => {
            out.cut();
            out.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1x\r\n\r\n{}")
                .await?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Everything that is checked before the endpoint looks at the request.
fn understand(
    shared: &Shared,
    request: &Request,
    found: Result<Route, NoRoute>,
) -> Result<Route, Problem> {
    let fields = &request.fields;
    if let Some(why) = &fields.knob_error {
        return Err(Problem::invalid("", why.clone()));
    }
    if !fields.leaks.is_empty() && !shared.settings.accept_leaks {
        return Err(Problem::leak(&fields.leaks));
    }
    let dialect = found.as_ref().map_or_else(|no| no.dialect, |route| route.endpoint.dialect());
    check_key(shared, fields, dialect)?;
    found.map_err(|no| Problem {
        message: format!("Invalid URL ({} {})", request.method, request.path),
        code: Some("unknown_url"),
        ..Problem::status(no.status)
    })
}

fn check_key(shared: &Shared, fields: &Fields, dialect: Dialect) -> Result<(), Problem> {
    let settings = &shared.settings;
    if !settings.require_key {
        return Ok(());
    }
    let known = |key: &str| {
        settings.keys.is_empty()
            || settings.keys.iter().any(|known| {
                // A signature names the access key id and does not show the secret.
                key == known
                    || (dialect == Dialect::Bedrock
                        && key.contains(&format!("Credential={known}/")))
            })
    };
    match fields.key() {
        Some(key) if known(key) => Ok(()),
        Some(_) => Err(Problem::status(401)),
        None => Err(Problem {
            message: "You didn't provide an API key.".into(),
            ..Problem::status(401)
        }),
    }
}

/// Counts a stream as open while it lives.
pub(super) struct StreamOpen<'a>(&'a std::sync::atomic::AtomicI64);

impl<'a> StreamOpen<'a> {
    pub(super) fn new(counter: &'a std::sync::atomic::AtomicI64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for StreamOpen<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
