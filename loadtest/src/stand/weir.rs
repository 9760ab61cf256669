//! weir in a process of its own, under a configuration made here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{Metrics, Settings};
use crate::client::blocking::call;
use crate::process::{Child, Signal, Workspace, free_address};

/// How long weir may take to get ready.
const READY_WAIT: Duration = Duration::from_secs(15);

/// A configuration. It is written as JSON, which is YAML too.
#[derive(Clone, Debug)]
pub struct Config {
    root: Map<String, Value>,
    environment: Vec<(String, String)>,
}

impl Config {
    /// Open access, no log; providers, pools and routes are still to come.
    pub fn new() -> Self {
        let mut root = Map::new();
        root.insert("access".into(), json!("open"));
        root.insert("log".into(), json!({ "access": "off", "level": "warn" }));
        Self { root, environment: Vec::new() }
    }

    /// Sets a top-level key.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.root.insert(key.into(), value);
        self
    }

    /// Sets an environment variable of the process, for secrets.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Adds one provider per dialect for an upstream, named `NAME-DIALECT`.
    #[must_use]
    pub fn upstream(mut self, name: &str, address: SocketAddr) -> Self {
        let providers = self.root.entry("providers").or_insert_with(|| json!({}));
        for (dialect, base) in
            [("openai", "/v1"), ("anthropic", ""), ("gemini", ""), ("cohere", ""), ("bedrock", "")]
        {
            providers[format!("{name}-{dialect}")] = json!({
                "dialect": dialect,
                "base_url": format!("http://{address}{base}"),
                "http": "http1",
            });
        }
        self
    }

    /// Sets how long every provider so far keeps an idle connection.
    #[must_use]
    pub fn upstream_idle(mut self, idle: &str) -> Self {
        if let Some(Value::Object(providers)) = self.root.get_mut("providers") {
            providers.values_mut().for_each(|provider| provider["idle"] = idle.into());
        }
        self
    }

    /// Adds a pool per dialect, named `NAME-DIALECT`, with these upstreams in order of priority (or
    /// all alike), and the given settings; and routes to them, for requests with `x-pool: NAME` or
    /// for all.
    #[must_use]
    pub fn pool(
        mut self,
        name: &str,
        upstreams: &[&str],
        by_priority: bool,
        default: bool,
        settings: &Value,
    ) -> Self {
        let pools = self.root.entry("pools").or_insert_with(|| json!({}));
        let mut routes = Vec::new();
        for (dialect, endpoints) in DIALECTS {
            let targets: Vec<Value> = upstreams
                .iter()
                .enumerate()
                .map(|(index, upstream)| {
                    let priority = if by_priority { index } else { 0 };
                    json!({ "provider": format!("{upstream}-{dialect}"), "priority": priority })
                })
                .collect();
            let mut pool = settings.clone();
            pool["targets"] = targets.into();
            pools[format!("{name}-{dialect}")] = pool;
            let mut matches = json!({ "endpoint": endpoints });
            if !default {
                matches["headers"] = json!({ "x-pool": name });
            }
            routes.push(json!({ "match": matches, "pool": format!("{name}-{dialect}") }));
        }
        if let Some(Value::Array(known)) = self.root.get_mut("routes") {
            known.extend(routes);
        } else {
            self.root.insert("routes".into(), routes.into());
        }
        self
    }

    fn text(&self, address: SocketAddr, admin: SocketAddr, runtime: &Runtime) -> String {
        let mut root = self.root.clone();
        root.insert("listeners".into(), json!([{ "address": address }]));
        root.insert("admin".into(), json!({ "address": admin }));
        let section = root.entry("runtime").or_insert_with(|| json!({}));
        section["threads"] = runtime.threads.into();
        section["io"] = runtime.io.as_str().into();
        // A map of values that came from `json!` always serialises.
        serde_json::to_string_pretty(&root).unwrap_or_default()
    }
}

/// Endpoints by the dialect whose pool answers them.
const DIALECTS: [(&str, &[&str]); 5] = [
    (
        "openai",
        &[
            "chat_completions",
            "completions",
            "responses",
            "embeddings",
            "rerank",
            "moderations",
            "images",
            "audio",
            "files",
            "batches",
            "realtime",
            "models",
        ],
    ),
    ("anthropic", &["messages", "count_tokens"]),
    (
        "gemini",
        &["generate_content", "stream_generate_content", "gemini_count_tokens", "embed_content"],
    ),
    ("cohere", &["cohere_chat", "cohere_embed"]),
    ("bedrock", &["converse", "converse_stream"]),
];

/// What a scenario says of weir's workers.
#[derive(Debug)]
struct Runtime {
    threads: u16,
    io: String,
}

/// weir.
#[derive(Debug)]
pub struct Weir {
    /// Its process.
    pub child: Child,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    /// The configuration file.
    pub file: PathBuf,
    access_log: PathBuf,
    program: PathBuf,
    log: PathBuf,
    runtime: Runtime,
    environment: Vec<(String, String)>,
}

impl Weir {
    /// Starts it and waits until it is ready. With `logged`, every request leaves a line.
    pub fn start(
        settings: &Settings,
        workspace: &Workspace,
        config: &Config,
        logged: bool,
        cores: &[usize],
    ) -> Result<Self, String> {
        let explain = |error: std::io::Error| format!("weir: {error}");
        let address = free_address().map_err(explain)?;
        let admin = free_address().map_err(explain)?;
        let (file, access_log) = (workspace.file("weir.yaml"), workspace.file("access.log"));
        let mut config = config.clone();
        if logged {
            config = config.with("log", json!({ "access": access_log, "level": "info" }));
        }
        let runtime = Runtime { threads: settings.weir_threads, io: settings.weir_io.clone() };
        let text = config.text(address, admin, &runtime);
        std::fs::write(&file, text).map_err(explain)?;
        let (program, log) = (settings.weir_program(), workspace.file("weir.log"));
        let arguments = ["run".into(), "--config".into(), file.clone().into_os_string()];
        let child = Child::start("weir", &program, &arguments, &config.environment, &log, cores)
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let environment = config.environment;
        let mut weir =
            Self { child, address, admin, file, access_log, program, log, runtime, environment };
        weir.wait_ready().map_err(|error| {
            let said = std::fs::read_to_string(&weir.log).unwrap_or_default();
            format!("{error}\n{said}")
        })?;
        Ok(weir)
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        self.child.ready(self.admin, READY_WAIT)?;
        self.child.ready(self.address, READY_WAIT)?;
        let until = Instant::now() + READY_WAIT;
        while let Err(error) = call(self.admin, "GET", "/readyz", "") {
            if Instant::now() >= until {
                return Err(format!("weir is not ready: {error}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts it again with the same configuration, after it was killed.
    pub fn restart(&mut self) -> Result<(), String> {
        self.child.wait(READY_WAIT);
        let arguments = ["run".into(), "--config".into(), self.file.clone().into_os_string()];
        self.child =
            Child::start("weir", &self.program, &arguments, &self.environment, &self.log, &[])
                .map_err(|error| format!("{}: {error}", self.program.display()))?;
        self.wait_ready()
    }

    /// Replaces its configuration file, in one step.
    pub fn write(&self, config: &Config) -> Result<(), String> {
        self.write_text(&config.text(self.address, self.admin, &self.runtime))
    }

    /// Replaces its configuration file with this text, in one step.
    pub fn write_text(&self, text: &str) -> Result<(), String> {
        let new = self.file.with_extension("new");
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &self.file))
            .map_err(|error| format!("{}: {error}", self.file.display()))
    }

    /// Scrapes its metrics.
    pub fn metrics(&self) -> Result<Metrics, String> {
        Metrics::scrape(self.admin)
    }

    /// The live state that the admin API shows.
    pub fn state(&self) -> Result<Value, String> {
        let body = call(self.admin, "GET", "/admin/v1/state", "")?;
        serde_json::from_slice(&body).map_err(|error| format!("/admin/v1/state: {error}"))
    }

    /// What the admin API says of the live configuration. Every reload changes it.
    pub fn config_status(&self) -> Result<Vec<u8>, String> {
        call(self.admin, "GET", "/admin/v1/config/status", "")
    }

    /// State of every breaker, by target.
    pub fn breakers(&self) -> Result<BTreeMap<String, String>, String> {
        let mut found = BTreeMap::new();
        collect_breakers(&self.state()?, &mut found);
        Ok(found)
    }

    /// Starts a second process that is to take over the sockets.
    pub fn successor(&self) -> Result<Child, String> {
        let file = self.file.clone().into_os_string();
        let arguments = ["run".into(), "--upgrade".into(), "--config".into(), file];
        Child::start("weir (new)", &self.program, &arguments, &[], &self.log, &[])
            .map_err(|error| format!("{}: {error}", self.program.display()))
    }

    /// Asks it to read its configuration again.
    pub fn reload(&self) -> Result<(), String> {
        self.child.signal(Signal::HUP).map_err(|error| format!("SIGHUP: {error}"))
    }

    /// The line that the access log has on a request; waits a moment for it.
    pub fn logged(&self, request_id: &str) -> Option<Value> {
        let until = Instant::now() + Duration::from_secs(3);
        loop {
            let text = std::fs::read_to_string(&self.access_log).unwrap_or_default();
            let line = text.lines().rev().find(|line| line.contains(request_id));
            if let Some(value) = line.and_then(|line| serde_json::from_str(line).ok()) {
                return Some(value);
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn collect_breakers(value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            if let (Some(Value::String(id)), Some(Value::String(state))) =
                (object.get("id"), object.get("breaker"))
            {
                found.insert(id.clone(), state.clone());
            }
            object.values().for_each(|value| collect_breakers(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_breakers(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breakers_are_found_wherever_they_stand() {
        let state = json!({ "pools": [{ "name": "p", "targets": [
            { "id": "a/m", "breaker": "open" }, { "id": "b/m", "breaker": "closed" }] }] });
        let mut found = BTreeMap::new();
        collect_breakers(&state, &mut found);
        assert_eq!(found["a/m"], "open");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_configuration_has_a_pool_and_a_route_for_every_dialect() {
        let config = Config::new()
            .upstream("one", SocketAddr::from(([127, 0, 0, 1], 1)))
            .pool("alone", &["one"], false, false, &json!({}))
            .pool("rest", &["one"], false, true, &json!({}));
        let text = config.text(
            SocketAddr::from(([127, 0, 0, 1], 2)),
            SocketAddr::from(([127, 0, 0, 1], 3)),
            &Runtime { threads: 1, io: "auto".into() },
        );
        let root: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(root["pools"].as_object().map(Map::len), Some(10));
        assert_eq!(root["routes"].as_array().map(Vec::len), Some(10));
        assert_eq!(root["routes"][0]["match"]["headers"]["x-pool"], "alone");
    }
}
