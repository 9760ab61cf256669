//! The operators' listener: health, metrics, live state.
//!
//! | path | method | answers |
//! |---|---|---|
//! | `/healthz` | GET | 200 while the process runs |
//! | `/readyz` | GET | 200 when a pool is usable and weir is not draining, else 503 and why |
//! | `/metrics` | GET | `OpenMetrics` or Prometheus text, by `Accept` |
//! | `/admin/v1/state` | GET | plan, pools, targets, breakers, what is in flight |
//! | `/admin/v1/config/status` | GET | plan version, when it was loaded, the last failure |
//! | `/admin/v1/config/reload` | POST | reads the configuration again: 200, or 422 and why not |
//!
//! What it shows comes through [`View`], so that this room does not know who assembles the server.
//! `/admin/v1` needs the bearer token where one is configured. Where none is, which the plan allows
//! on loopback only, pages of a browser on the same machine must not reach it either: requests that
//! a foreign site sends and names that merely resolve to loopback are refused.

mod access;
mod answer;

use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use serde::Serialize;

use crate::config::Secret;
use crate::telemetry::{Live, Metrics};

/// What operators may see and do.
#[async_trait]
pub trait View: Send + Sync {
    /// The bearer token of `/admin/v1`, where one is configured.
    fn token(&self) -> Option<Secret>;
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
        let head = session.req_header();
        let (method, uri, headers) = (head.method.clone(), head.uri.clone(), head.headers.clone());
        let asked = answer::Asked { method: &method, uri: &uri, headers: &headers };
        answer::answer(&*self.view, &asked).await
    }
}

#[cfg(test)]
mod tests;
