//! Requests to answers, without a socket.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde::Serialize;
use serde_json::{Value, json};

use super::View;
use super::access::{self, Refusal};
use super::api::{self, Found};
use crate::ledger::archive::Parts;
use crate::telemetry::Format;

/// A request.
pub struct Asked<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    /// Its body; none where it was too long.
    pub body: &'a [u8],
    /// The body was longer than what is read.
    pub too_long: bool,
}

/// On every answer: it is for a program or for this page alone, and nobody keeps it.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
];

const JSON: &str = "application/json";

/// What a path beside `/admin/v1` answers.
#[derive(Clone, Copy)]
enum Page {
    Healthz,
    Readyz,
    Metrics,
}

impl Page {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/healthz" => Page::Healthz,
            "/readyz" => Page::Readyz,
            "/metrics" => Page::Metrics,
            _ => return None,
        })
    }
}

/// What an answer carries.
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// A file of any length.
    Parts(Box<Parts>),
}

/// An answer before it is an HTTP response.
pub struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Body,
    extra: Option<(HeaderName, HeaderValue)>,
}

/// Answers a request.
pub async fn answer(view: &dyn View, asked: &Asked<'_>) -> Response<Body> {
    let answer = if asked.uri.path().starts_with("/admin/") {
        interface(view, asked).await
    } else {
        page(view, asked)
    };
    answer.into_response(asked.method == Method::HEAD)
}

fn page(view: &dyn View, asked: &Asked<'_>) -> Answer {
    let Some(page) = Page::at(asked.uri.path()) else { return nothing(asked) };
    if *asked.method != Method::GET && *asked.method != Method::HEAD {
        return methods(asked, "GET, HEAD");
    }
    match page {
        Page::Healthz => Answer::json(StatusCode::OK, &json!({ "healthy": true })),
        Page::Readyz => readyz(view),
        Page::Metrics => metrics(view, asked.headers),
    }
}

/// `/admin/v1`. Nothing is said about what exists before it is known who asks, and whoever is refused
/// is in the audit log.
async fn interface(view: &dyn View, asked: &Asked<'_>) -> Answer {
    let operator = match access::who(view, asked.uri, asked.headers).await {
        Ok(operator) => operator,
        Err(why) => {
            let answer = refusal(why);
            api::refused(view, None, None, asked, &answer).await;
            return answer;
        }
    };
    let (operation, id) = match api::find(asked.method, asked.uri.path()) {
        Found::Operation(operation, id) => (operation, id),
        Found::Methods(allowed) => return methods(asked, &allowed),
        Found::Nothing => return nothing(asked),
    };
    let kept_out = operation.global && operator.actor.tenant.is_some();
    let answer = if kept_out || !operation.roles.contains(&operator.role) {
        let message = "this is not for the role of your token";
        Answer::error(StatusCode::FORBIDDEN, "forbidden", message)
    } else if asked.too_long {
        Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too long")
    } else {
        api::handle(view, operation, id, &operator, asked).await
    };
    let change = operation.method != "GET" && answer.status.is_client_error();
    if change || answer.status == StatusCode::FORBIDDEN {
        api::refused(view, Some(operation), Some(&operator), asked, &answer).await;
    }
    answer
}

fn nothing(asked: &Asked<'_>) -> Answer {
    let message = format!("there is nothing at {}", asked.uri.path());
    Answer::error(StatusCode::NOT_FOUND, "not_found", message)
}

fn methods(asked: &Asked<'_>, allowed: &str) -> Answer {
    let message = format!("{} answers {allowed}, not {}", asked.uri.path(), asked.method);
    let answer = Answer::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    match HeaderValue::from_str(allowed) {
        Ok(allowed) => answer.with(header::ALLOW, allowed),
        Err(_) => answer,
    }
}

fn refusal(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Unauthorized => {
            let message = "this needs a token of `admin` as `Authorization: Bearer …`";
            Answer::error(StatusCode::UNAUTHORIZED, "unauthorized", message)
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
        }
        Refusal::NoRole => Answer::error(
            StatusCode::FORBIDDEN,
            "forbidden",
            "your token names no role that may do anything here",
        ),
        Refusal::CrossSite => Answer::error(
            StatusCode::FORBIDDEN,
            "forbidden",
            "requests that another site's page sends are refused",
        ),
        Refusal::ForeignHost => Answer::error(
            StatusCode::FORBIDDEN,
            "forbidden",
            "without a token of `admin` only requests to an address or to localhost are answered",
        ),
    }
}

fn readyz(view: &dyn View) -> Answer {
    let live = view.live();
    let reasons = live.not_ready();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut page = json!({ "ready": reasons.is_empty(), "reasons": reasons });
    let degraded = live.degraded();
    if !degraded.is_empty() {
        page["degraded"] = degraded.into();
    }
    if let Some(storage) = &live.storage {
        page["storage"] = json!(storage);
    }
    if let Some(ledger) = &live.ledger {
        page["ledger"] = json!(ledger);
    }
    Answer::json(status, &page)
}

fn metrics(view: &dyn View, headers: &HeaderMap) -> Answer {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    Answer {
        status: StatusCode::OK,
        content_type: format.content_type(),
        body: Body::Whole(view.metrics().render(&view.live(), format).into_bytes()),
        extra: None,
    }
}

/// What there is and how it is doing.
pub(super) fn state(view: &dyn View) -> Value {
    let (live, metrics, config) = (view.live(), view.metrics(), view.config_status());
    let reasons = live.not_ready();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "plan_version": live.plan_version,
        "ready": reasons.is_empty(),
        "not_ready_reasons": reasons,
        "draining": live.draining,
        "requests_in_flight": metrics.requests_in_flight(),
        "admitted_in_flight": metrics.admitted_in_flight(),
        "tokens_in_flight": metrics.tokens_in_flight(),
        "connections_open": metrics.connections_open(),
        "config": config,
        "pools": view.pools(),
    })
}

/// Reads the configuration again.
pub(super) async fn reload(view: &dyn View) -> Result<Value, Answer> {
    match view.reload().await {
        Ok(status) => Ok(json!(status)),
        Err(failure) => Err(Answer::json(
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!({
                "error": {
                    "code": "invalid_configuration",
                    "message": "the configuration is not valid; nothing has changed",
                    "diagnostics": failure.diagnostics,
                },
            }),
        )),
    }
}

impl Answer {
    pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Self {
        // Only maps with keys that are no strings fail, and there are none.
        let mut body = serde_json::to_vec(value).unwrap_or_default();
        body.push(b'\n');
        Self { status, content_type: JSON, body: Body::Whole(body), extra: None }
    }

    /// JSON that is written already.
    pub(super) fn written(body: Vec<u8>) -> Self {
        let body = Body::Whole(body);
        Self { status: StatusCode::OK, content_type: JSON, body, extra: None }
    }

    /// A file.
    pub(super) fn file(content_type: &'static str, parts: Parts) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body: Body::Parts(Box::new(parts)),
            extra: None,
        }
    }

    pub(super) fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self::json(status, &json!({ "error": { "code": code, "message": message } }))
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.extra = Some((name, value));
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    fn into_response(self, head_only: bool) -> Response<Body> {
        let length = match &self.body {
            Body::Whole(body) => Some(body.len()),
            Body::Parts(_) => None,
        };
        let body = if head_only { Body::Whole(Vec::new()) } else { self.body };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        match length {
            Some(length) => headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length)),
            None => headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        };
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some((name, value)) = self.extra {
            headers.insert(name, value);
        }
        response
    }
}
