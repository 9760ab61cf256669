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
use http::Response;
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use serde::Serialize;

use crate::manage::Office;
use crate::plan::Plan;
use crate::telemetry::{Live, Metrics};

pub use access::Operators;

/// What operators may see and do.
#[async_trait]
pub trait View: Send + Sync {
    /// Who may use `/admin/v1`.
    fn operators(&self) -> &Operators;
    /// What administers keys; `None` where nothing is kept.
    fn desk(&self) -> Option<Desk>;
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

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let body = body(session).await;
        let head = session.req_header();
        let (method, uri, headers) = (head.method.clone(), head.uri.clone(), head.headers.clone());
        let asked = answer::Asked {
            method: &method,
            uri: &uri,
            headers: &headers,
            body: body.as_deref().unwrap_or_default(),
            too_long: body.is_none(),
        };
        answer::answer(&*self.view, &asked).await
    }
}

/// The longest body that is read.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The longest wait for a body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The body; `None` if it is too long, or did not come.
async fn body(session: &mut ServerSession) -> Option<Vec<u8>> {
    let reading = async {
        let mut body = Vec::new();
        while let Some(part) = session.read_request_body().await.ok()? {
            body.extend_from_slice(&part);
            if body.len() > BODY_BYTES_MAX {
                return None;
            }
        }
        Some(body)
    };
    tokio::time::timeout(BODY_TIME, reading).await.ok()?
}

#[cfg(test)]
mod tests;
