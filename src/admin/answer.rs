//! Requests to answers, without a socket.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde::Serialize;
use serde_json::{Value, json};

use super::access::{self, Refusal};
use super::{ConfigStatus, View};
use crate::telemetry::Format;

/// A request's head. No path reads a body.
pub struct Asked<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
}

/// On every answer: it is for a program or for this page alone, and nobody keeps it.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
];

const JSON: &str = "application/json";

/// What a path answers.
#[derive(Clone, Copy)]
enum Page {
    Healthz,
    Readyz,
    Metrics,
    State,
    ConfigStatus,
    ConfigReload,
}

impl Page {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/healthz" => Page::Healthz,
            "/readyz" => Page::Readyz,
            "/metrics" => Page::Metrics,
            "/admin/v1/state" => Page::State,
            "/admin/v1/config/status" => Page::ConfigStatus,
            "/admin/v1/config/reload" => Page::ConfigReload,
            _ => return None,
        })
    }

    /// Its method, and what `Allow` says.
    fn method(self) -> (Method, &'static str) {
        match self {
            Page::ConfigReload => (Method::POST, "POST"),
            _ => (Method::GET, "GET, HEAD"),
        }
    }
}

/// An answer before it is an HTTP response.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    extra: Option<(HeaderName, &'static str)>,
}

/// Answers a request.
pub async fn answer(view: &dyn View, asked: &Asked<'_>) -> Response<Vec<u8>> {
    let answer = match route(view, asked) {
        Ok(page) => render(view, page, asked).await,
        Err(refused) => refused,
    };
    answer.into_response(asked.method == Method::HEAD)
}

fn route(view: &dyn View, asked: &Asked<'_>) -> Result<Page, Answer> {
    let path = asked.uri.path();
    // Before anything is said about what exists.
    if path.starts_with("/admin/") {
        access::check(view.token().as_ref(), asked.uri, asked.headers).map_err(refusal)?;
    }
    let page = Page::at(path).ok_or_else(|| {
        Answer::error(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path}"))
    })?;
    let (method, allow) = page.method();
    if *asked.method == method || (method == Method::GET && *asked.method == Method::HEAD) {
        return Ok(page);
    }
    let message = format!("{path} answers {allow}, not {}", asked.method);
    let answer = Answer::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    Err(answer.with(header::ALLOW, allow))
}

fn refusal(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Unauthorized => {
            let message = "this needs the token of `admin.token` as `Authorization: Bearer …`";
            Answer::error(StatusCode::UNAUTHORIZED, "unauthorized", message)
                .with(header::WWW_AUTHENTICATE, "Bearer")
        }
        Refusal::CrossSite => Answer::error(
            StatusCode::FORBIDDEN,
            "forbidden",
            "requests that another site's page sends are refused",
        ),
        Refusal::ForeignHost => Answer::error(
            StatusCode::FORBIDDEN,
            "forbidden",
            "without `admin.token` only requests to an address or to localhost are answered",
        ),
    }
}

async fn render(view: &dyn View, page: Page, asked: &Asked<'_>) -> Answer {
    match page {
        Page::Healthz => Answer::json(StatusCode::OK, &json!({ "healthy": true })),
        Page::Readyz => readyz(view),
        Page::Metrics => metrics(view, asked.headers),
        Page::State => Answer::json(StatusCode::OK, &state(view)),
        Page::ConfigStatus => Answer::json(StatusCode::OK, &view.config_status()),
        Page::ConfigReload => reload(view).await,
    }
}

fn readyz(view: &dyn View) -> Answer {
    let live = view.live();
    let reasons = live.not_ready();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut said = json!({ "ready": reasons.is_empty(), "reasons": reasons });
    if let Some(storage) = &live.storage {
        said["storage"] = json!(storage);
    }
    Answer::json(status, &said)
}

fn metrics(view: &dyn View, headers: &HeaderMap) -> Answer {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    Answer {
        status: StatusCode::OK,
        content_type: format.content_type(),
        body: view.metrics().render(&view.live(), format),
        extra: None,
    }
}

fn state(view: &dyn View) -> Value {
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

async fn reload(view: &dyn View) -> Answer {
    match view.reload().await {
        Ok(status) => Answer::json::<ConfigStatus>(StatusCode::OK, &status),
        Err(failure) => Answer::json(
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!({
                "error": {
                    "code": "invalid_configuration",
                    "message": "the configuration is not valid; nothing has changed",
                    "diagnostics": failure.diagnostics,
                },
            }),
        ),
    }
}

impl Answer {
    fn json<T: Serialize>(status: StatusCode, value: &T) -> Self {
        // Only maps with keys that are no strings fail, and there are none.
        let mut body = serde_json::to_string(value).unwrap_or_default();
        body.push('\n');
        Self { status, content_type: JSON, body, extra: None }
    }

    fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self::json(status, &json!({ "error": { "code": code, "message": message } }))
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.extra = Some((name, value));
        self
    }

    fn into_response(self, head_only: bool) -> Response<Vec<u8>> {
        let body = self.body.into_bytes();
        let mut response = Response::new(Vec::new());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        for (name, value) in HEADERS.into_iter().chain(self.extra) {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if !head_only {
            *response.body_mut() = body;
        }
        response
    }
}
