use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pingora_core::protocols::l4::stream::Stream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::telemetry::{Breaker, LivePool, LiveTarget};

struct Fake {
    metrics: Arc<Metrics>,
    operators: Operators,
    live: Live,
    valid: bool,
    version: AtomicU64,
}

impl Fake {
    fn new() -> Self {
        let target = LiveTarget {
            id: "openai/gpt-4o".into(),
            in_flight: 2,
            breaker: Breaker::Closed,
            healthy: true,
            usable: true,
            ttft_ms: None,
        };
        let pool = LivePool { name: "chat".into(), queued: 0, usable: true, targets: vec![target] };
        Self {
            metrics: Metrics::new(),
            operators: Operators::default(),
            live: Live { plan_version: 7, pools: vec![pool], ..Live::default() },
            valid: true,
            version: AtomicU64::new(7),
        }
    }
}

#[async_trait]
impl View for Fake {
    fn operators(&self) -> &Operators {
        &self.operators
    }
    async fn person(&self, _token: &[u8]) -> Option<Arc<Caller>> {
        None
    }
    fn desk(&self) -> Option<Desk> {
        None
    }
    fn archive(&self) -> Option<Archive> {
        None
    }
    async fn sync_keys(&self) {}
    fn may_enter_refusal(&self) -> bool {
        true
    }
    fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
    fn live(&self) -> Live {
        self.live.clone()
    }
    fn pools(&self) -> Value {
        json!([{ "name": "chat" }])
    }
    fn limits(&self, owner: &str) -> Value {
        json!({ "scopes": [{ "set": owner }], "more": false })
    }
    fn config_status(&self) -> ConfigStatus {
        let plan_version = self.version.load(Ordering::Relaxed);
        ConfigStatus { plan_version, loaded_unix_ms: 1, last_failure: None }
    }
    async fn reload(&self) -> Result<ConfigStatus, ReloadFailure> {
        if self.valid {
            self.version.fetch_add(1, Ordering::Relaxed);
            return Ok(self.config_status());
        }
        let wrong = "weir.yaml:3:5: unknown key `pol`; did you mean `pool`?".to_owned();
        Err(ReloadFailure { time_unix_ms: 2, diagnostics: vec![wrong] })
    }
}

/// A file with a secret, for as long as the process lives.
fn secret(text: &str) -> std::path::PathBuf {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
    file.into_temp_path().keep().expect("kept")
}

async fn ask(
    view: &Fake,
    method: Method,
    path: &str,
    pairs: &[(&'static str, &str)],
) -> (u16, HeaderMap, Vec<u8>) {
    let uri: Uri = path.parse().expect("a path");
    let headers = pairs
        .iter()
        .map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value")))
        .collect();
    let asked =
        answer::Asked { method: &method, uri: &uri, headers: &headers, body: b"", too_long: false };
    let (head, body) = answer::answer(view, &asked).await.into_parts();
    let Body::Whole(body) = body else { panic!("a file") };
    (head.status.as_u16(), head.headers, body)
}

async fn get(view: &Fake, path: &str) -> (u16, Value) {
    let (status, headers, body) = ask(view, Method::GET, path, &[]).await;
    assert_eq!(headers["content-type"], "application/json");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn health_and_readiness() {
    let mut view = Fake::new();
    assert_eq!(get(&view, "/healthz").await, (200, json!({ "healthy": true })));
    assert_eq!(get(&view, "/readyz").await, (200, json!({ "ready": true, "reasons": [] })));
    view.live.pools[0].usable = false;
    let why = json!({ "ready": false, "reasons": ["no pool is usable (chat)"] });
    assert_eq!(get(&view, "/readyz").await, (503, why));
    view.live.pools[0].usable = true;
    view.live.draining = true;
    let why = json!({ "ready": false, "reasons": ["draining"] });
    assert_eq!(get(&view, "/readyz").await, (503, why));
    assert_eq!(get(&view, "/healthz").await.0, 200);
}

#[tokio::test]
async fn limits_of_one_owner() {
    let view = Fake::new();
    let (status, body) = get(&view, "/admin/v1/limits?owner=key%20acme/ci").await;
    assert_eq!((status, &body["scopes"][0]["set"]), (200, &json!("key acme/ci")));
    let (_, body) = get(&view, "/admin/v1/limits").await;
    assert_eq!(body["scopes"][0]["set"], "");
}

#[tokio::test]
async fn metrics_in_the_format_that_is_accepted() {
    let view = Fake::new();
    let (status, headers, body) = ask(&view, Method::GET, "/metrics", &[]).await;
    let text = String::from_utf8(body).expect("text");
    assert_eq!(
        (status, &headers["content-type"]),
        (200, &"text/plain; version=0.0.4; charset=utf-8".parse().expect("value"))
    );
    assert!(text.contains("weir_target_in_flight{pool=\"chat\",target=\"openai/gpt-4o\"} 2\n"));
    assert!(text.contains("# TYPE weir_connections_total counter\n"));
    let accept = [("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
    let (_, headers, body) = ask(&view, Method::GET, "/metrics", &accept).await;
    let text = String::from_utf8(body).expect("text");
    assert!(
        headers["content-type"].to_str().is_ok_and(|t| t.starts_with("application/openmetrics"))
    );
    assert!(text.contains("# TYPE weir_connections counter\n") && text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn state_and_configuration() {
    let mut view = Fake::new();
    let _request = view.metrics.request_started();
    let (status, state) = get(&view, "/admin/v1/state").await;
    assert_eq!(status, 200);
    assert_eq!(state["plan_version"], 7);
    assert_eq!(state["requests_in_flight"], 1);
    assert_eq!(state["pools"][0]["name"], "chat");
    let (_, _, body) = ask(&view, Method::POST, "/admin/v1/config/reload", &[]).await;
    let reloaded: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(reloaded, json!({ "plan_version": 8, "loaded_unix_ms": 1 }));
    assert_eq!(get(&view, "/admin/v1/config/status").await.1["plan_version"], 8);
    view.valid = false;
    let (status, _, body) = ask(&view, Method::POST, "/admin/v1/config/reload", &[]).await;
    let failed: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(status, 422);
    assert!(failed["error"]["diagnostics"][0].as_str().is_some_and(|d| d.contains("3:5")));
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_allowed() {
    let view = Fake::new();
    let (status, body) = get(&view, "/nothing").await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")));
    let (status, headers, body) = ask(&view, Method::GET, "/admin/v1/config/reload", &[]).await;
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status, &headers["allow"]), (405, &"POST".parse().expect("value")));
    assert_eq!(body["error"]["code"], "method_not_allowed");
    let (status, headers, _) = ask(&view, Method::DELETE, "/metrics", &[]).await;
    assert_eq!((status, &headers["allow"]), (405, &"GET, HEAD".parse().expect("value")));
}

#[tokio::test]
async fn the_token_guards_the_interface_and_nothing_else() {
    let settings = json!({ "token": { "file": secret("s3cret") } });
    let settings = serde_json::from_value(settings).expect("settings");
    let operators = Operators::read(&settings).expect("a token");
    let view = Fake { operators, ..Fake::new() };
    for path in ["/admin/v1/state", "/admin/v1/config/reload", "/admin/v1/nothing"] {
        let (status, headers, _) = ask(&view, Method::GET, path, &[]).await;
        assert_eq!(
            (status, &headers["www-authenticate"]),
            (401, &"Bearer".parse().expect("value"))
        );
    }
    let right = [("authorization", "Bearer s3cret"), ("host", "weir.internal")];
    assert_eq!(ask(&view, Method::GET, "/admin/v1/state", &right).await.0, 200);
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(&view, Method::GET, open, &[]).await.0, 200);
    }
}

#[tokio::test]
async fn a_page_of_another_site_cannot_reload() {
    let view = Fake::new();
    let crossing = [("host", "127.0.0.1:9090"), ("sec-fetch-site", "cross-site")];
    let (status, _, _) = ask(&view, Method::POST, "/admin/v1/config/reload", &crossing).await;
    assert_eq!((status, view.version.load(Ordering::Relaxed)), (403, 7));
}

/// Serves connections one after the other until the test ends.
async fn listen() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = Arc::new(Admin::new(Arc::new(Fake::new())));
    tokio::spawn(async move {
        let (_keep, shutdown) = tokio::sync::watch::channel(false);
        while let Ok((stream, _)) = listener.accept().await {
            let mut next: Option<pingora_core::protocols::Stream> =
                Some(Box::new(Stream::from(stream)));
            while let Some(stream) = next.take() {
                let session = ServerSession::new_http1(stream);
                let reused = app.process_new_http(session, &shutdown).await;
                next = reused.map(|reused| reused.consume().0);
            }
        }
    });
    address
}

#[tokio::test]
async fn over_a_socket_with_keep_alive_and_head() {
    let address = listen().await;
    let mut client = TcpStream::connect(address).await.expect("connected");
    let head = b"HEAD /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.write_all(head).await.expect("sent");
    let mut first = Vec::new();
    while !first.ends_with(b"\r\n\r\n") {
        first.push(client.read_u8().await.expect("a byte"));
    }
    let get = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    client.write_all(get).await.expect("sent");
    let mut second = String::new();
    client.read_to_string(&mut second).await.expect("answered");
    let first = String::from_utf8(first).expect("text");
    // Had the HEAD been answered with a body, it would stand here.
    assert!(second.starts_with("HTTP/1.1 200 OK\r\n"), "{second}");
    assert!(second.ends_with("\r\n\r\n{\"healthy\":true}\n"), "{second}");
    for answer in [first, second] {
        let head = answer.to_ascii_lowercase();
        assert!(head.contains("content-length: 17\r\n"), "{answer}");
        assert!(head.contains("x-content-type-options: nosniff\r\n"), "{answer}");
        assert!(head.contains("cache-control: no-store\r\n"), "{answer}");
    }
}
