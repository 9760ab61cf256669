//! The operators' listener: health, metrics, and the interface that administers weir.
//!
//! | path | method | answers |
//! |---|---|---|
//! | `/healthz` | GET | 200 while the process runs |
//! | `/readyz` | GET | 200 when a pool is usable and weir is not draining, else 503 and why |
//! | `/metrics` | GET | `OpenMetrics` or Prometheus text, by `Accept` |
//! | `/admin/v1/…` | | what `/admin/v1/openapi.json` describes |
//!
//! What it shows comes through [`View`], so that this room does not know who assembles the server.
//! `/admin/v1` needs a bearer token where one is configured, whose role says what it may do. Where none
//! is, which the plan allows on loopback only, pages of a browser on the same machine must not reach
//! it either: requests that a foreign site sends and names that merely resolve to loopback are refused.

mod access;
mod answer;
mod api;
mod schemas;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri, Version, header};
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use serde::Serialize;

use crate::ledger::archive::Archive;
use crate::manage::Office;
use crate::plan::Plan;
use crate::telemetry::{Live, Metrics};
use crate::tenant::Caller;

use answer::Body;

pub use access::Operators;

/// What operators may see and do.
#[async_trait]
pub trait View: Send + Sync {
    /// Who may use `/admin/v1`.
    fn operators(&self) -> &Operators;
    /// Who shows this token of an issuer; `None` where it is not believed.
    async fn person(&self, token: &[u8]) -> Option<Arc<Caller>>;
    /// What administers keys; `None` where nothing is kept.
    fn desk(&self) -> Option<Desk>;
    /// Reads the ledger; `None` where nothing is recorded.
    fn archive(&self) -> Option<Archive>;
    /// Takes over what has changed of keys.
    async fn sync_keys(&self);
    /// Whether one more refused request goes into the audit log: nobody can fill it at will.
    fn may_enter_refusal(&self) -> bool;
    /// The process's metrics.
    fn metrics(&self) -> &Arc<Metrics>;
    /// The live plan's state.
    fn live(&self) -> Live;
    /// Every pool in detail.
    fn pools(&self) -> serde_json::Value;
    /// How limits stand whose owner's name begins like this.
    fn limits(&self, owner: &str) -> serde_json::Value;
    /// The live configuration and how its last reload went.
    fn config_status(&self) -> ConfigStatus;
    /// Reads the configuration again.
    async fn reload(&self) -> Result<ConfigStatus, ReloadFailure>;
}

/// What administers keys.
pub struct Desk {
    /// Where changes are made.
    pub office: Office,
    /// What they must fit.
    pub plan: Arc<Plan>,
}

/// Which configuration is live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConfigStatus {
    /// Version of the plan; grows by one with every successful reload.
    pub plan_version: u64,
    /// When it was loaded.
    pub loaded_unix_ms: u64,
    /// The last reload, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<ReloadFailure>,
}

/// Why a reload changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReloadFailure {
    /// When it was tried.
    pub time_unix_ms: u64,
    /// Everything that is wrong, as `file:line:column: what`.
    pub diagnostics: Vec<String>,
}

/// The HTTP application of the admin listener.
pub struct Admin {
    view: Arc<dyn View>,
}

impl Admin {
    /// Serves `view`.
    pub fn new(view: Arc<dyn View>) -> Self {
        Self { view }
    }
}

/// The longest wait for a body, and for a client to take a part of an answer.
const BODY_TIME: Duration = Duration::from_secs(10);
const TAKE_TIME: Duration = Duration::from_secs(60);
/// How long a connection may be idle, in seconds.
const KEEP_ALIVE_S: u64 = 60;

#[async_trait]
impl HttpServerApp for Admin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !session.read_request().await.ok()? {
            return None;
        }
        session.set_keepalive((!*shutdown.borrow()).then_some(KEEP_ALIVE_S));
        session.set_write_timeout(Some(TAKE_TIME));
        let (head, body) = self.response(&mut session).await.into_parts();
        let mut head = ResponseHeader::from(head);
        if session.req_header().version < Version::HTTP_11 && matches!(body, Body::Parts(_)) {
            // It knows no chunks: the file ends with the connection.
            head.remove_header(&header::TRANSFER_ENCODING);
            session.set_keepalive(None);
        }
        if let Err(error) = send(&mut session, head, body).await {
            log::warn!("an answer of the operators' listener was not sent to its end: {error}");
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

impl Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Body> {
        let head = session.req_header();
        let (method, uri, headers) = (head.method.clone(), head.uri.clone(), head.headers.clone());
        let bytes_max = self.body_bytes_max(&method, &uri, &headers).await;
        let body = body(session, bytes_max).await;
        let asked = answer::Asked {
            method: &method,
            uri: &uri,
            headers: &headers,
            body: body.as_deref().unwrap_or_default(),
            too_long: body.is_none(),
        };
        answer::answer(&*self.view, &asked).await
    }

    /// Long ones are read of those alone who may use the interface.
    async fn body_bytes_max(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> usize {
        match api::find(method, uri.path()) {
            api::Found::Operation(operation, _)
                if operation.body_bytes_max > api::BODY_BYTES_MAX
                    && access::who(&*self.view, uri, headers).await.is_ok() =>
            {
                operation.body_bytes_max
            }
            _ => api::BODY_BYTES_MAX,
        }
    }
}

/// Sends an answer. A file that ends with an error is cut off before its last chunk, so that its reader
/// knows.
async fn send(session: &mut ServerSession, head: ResponseHeader, body: Body) -> Result<(), String> {
    let failed = |error: Box<pingora_core::Error>| error.to_string();
    session.write_response_header(Box::new(head)).await.map_err(failed)?;
    let mut parts = match body {
        Body::Whole(body) if body.is_empty() => return Ok(()),
        Body::Whole(body) => {
            return session.write_response_body(body.into(), true).await.map_err(failed);
        }
        Body::Parts(parts) => parts,
    };
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| error.to_string())?;
        session.write_response_body(part, false).await.map_err(failed)?;
    }
    session.write_response_body(Bytes::new(), true).await.map_err(failed)
}

/// The body; `None` if it is too long, or did not come.
async fn body(session: &mut ServerSession, bytes_max: usize) -> Option<Vec<u8>> {
    let reading = async {
        let mut body = Vec::new();
        while let Some(part) = session.read_request_body().await.ok()? {
            body.extend_from_slice(&part);
            if body.len() > bytes_max {
                return None;
            }
        }
        Some(body)
    };
    tokio::time::timeout(BODY_TIME, reading).await.ok()?
}

#[cfg(test)]
mod tests;
