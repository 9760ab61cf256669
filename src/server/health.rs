//! Runs the pools' health checks from the control thread, over the same connectors as requests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use tokio::task::JoinSet;

use crate::clock::{self, Instant};
use crate::dialect;
use crate::plan::Plan;
use crate::pool::{self, Check, HealthKind, Prober, Target};
use crate::transport::upstream::{Request, Upstreams};
use crate::wire::fields::{Fields, Name};

/// Idle connections that health checks keep.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// Longest answer to a check that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The running checks of one plan. Dropping it stops them.
pub(super) struct Checks(#[expect(dead_code, reason = "held for its drop")] JoinSet<()>);

/// Starts the checks of every pool that wants them.
pub(super) fn start(plan: &Plan, prober: &Arc<UpstreamProber>) -> Checks {
    let mut checks = JoinSet::new();
    for pool in plan.pools.iter().filter(|pool| pool.health.is_some()) {
        let prober: Arc<dyn Prober> = Arc::clone(prober) as _;
        checks.spawn(pool::watch(Arc::clone(pool), prober));
    }
    Checks(checks)
}

/// Checks targets over the network.
pub(super) struct UpstreamProber {
    upstreams: Upstreams,
}

impl UpstreamProber {
    pub(super) fn new() -> Self {
        Self { upstreams: Upstreams::new(IDLE_CONNECTIONS_MAX) }
    }

    async fn ask(
        &self,
        target: &Target,
        timeout: Duration,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(), String> {
        let provider = &target.provider;
        let mut headers = Fields::default();
        headers.set_first(Name::Host, &provider.authority);
        for (name, value) in &provider.headers {
            headers.set_field(name, value);
        }
        if !body.is_empty() {
            headers.set(Name::ContentType, "application/json");
            headers.set_number(Name::ContentLength, body.len() as u64);
        }
        let mut request = Request { method, target: path.to_owned(), headers };
        let failed = |error: crate::error::Error| error.to_string();
        let credential = provider.credential(Instant::now(), &mut None).map_err(failed)?;
        credential.apply(&mut request, std::slice::from_ref(&body)).map_err(failed)?;
        let mut session = self
            .upstreams
            .connect(&provider.address, timeout, Instant::now())
            .await
            .map_err(failed)?;
        session.send(&request, &[body]).await.map_err(failed)?;
        let status = session.head().await.map_err(failed)?.status;
        let mut read = 0;
        while let Some(part) = session.body().await.map_err(failed)? {
            read += part.len();
            if read > ANSWER_BYTES_MAX {
                return Err("the answer is too long".into());
            }
        }
        self.upstreams.keep(session, &provider.address, clock::now());
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    }
}

#[async_trait]
impl Prober for UpstreamProber {
    async fn probe(&self, target: &Target, check: &Check) -> Result<(), String> {
        let provider = &target.provider;
        match check.kind {
            HealthKind::Tcp => {
                let to = (&*provider.host, provider.port);
                tokio::net::TcpStream::connect(to)
                    .await
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
            HealthKind::Http => {
                let path = check.path.as_deref().unwrap_or("/");
                let path = format!("{}{path}", provider.paths.base);
                self.ask(target, check.timeout, Method::GET, &path, Bytes::new()).await
            }
            HealthKind::Completion => {
                let model = target.model.as_deref().or(provider.probe_model.as_deref());
                let Some(model) = model else {
                    return Err("no model to ask: set `probe_model` of the provider".into());
                };
                let adaptation = provider.adaptation.as_deref();
                let (path, body) =
                    dialect::one_token(provider.dialect, &provider.paths, adaptation, model);
                self.ask(target, check.timeout, Method::POST, &path, body).await
            }
        }
    }
}
