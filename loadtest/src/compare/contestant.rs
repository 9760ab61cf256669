//! A proxy that is up: on its core, in front of the one upstream.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::peer::{Name, Peer};
use super::stage::Stage;
use crate::client::{Endpoint, Shape, blocking};
use crate::process::{Child, Workspace, free_address, resident_bytes};
use crate::stand::{Config, Settings, Weir};

/// The key that clients send and that weir and some of the others check.
pub const KEY: &str = "sk-compare-0123456789";
/// Name of the environment variable that weir reads the key from.
const KEY_VARIABLE: &str = "WEIR_COMPARE_KEY";
/// Routes that weir looks past before the one that matches.
const ROUTES: usize = 1000;
/// How long a proxy may take to answer its first request.
const READY_WAIT: Duration = Duration::from_secs(60);
/// How long one of these first requests may take.
const ASK_WAIT: Duration = Duration::from_secs(5);
/// Connections that a proxy has room for beyond those of the streams.
const SPARE_CONNECTIONS: usize = 1024;
/// Longest text that counts as a version.
const VERSION_CHARS: usize = 80;
/// Time from listening until memory counts as idle.
const CALM: Duration = Duration::from_millis(300);

/// Where requests go, and what they carry.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address.
    pub address: SocketAddr,
    /// Headers of every request, as `name: value`.
    pub headers: Vec<String>,
}

/// A running proxy.
#[derive(Debug)]
pub struct Contestant {
    /// Who it is.
    pub name: Name,
    /// Where it listens.
    pub target: Target,
    /// What it is, as it says of itself.
    pub version: String,
    /// What it does with each request.
    pub does: &'static str,
    /// Resident memory before the first request, in bytes.
    pub idle_bytes: u64,
    running: Running,
}

/// What the run asks of every proxy.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// Directories in which programs are looked for first.
    pub programs: &'a [PathBuf],
    /// Where configurations and logs go.
    pub workspace: &'a Workspace,
    /// The cores, with a worker on each where it can be told.
    pub cores: &'a [usize],
    /// Streams that must fit, each with a connection on either side.
    pub streams_max: usize,
}

#[derive(Debug)]
enum Running {
    Peer(Child),
    Weir(Box<Weir>),
}

impl Contestant {
    /// Starts a proxy on a core and waits for its first answer.
    pub fn start(
        name: Name,
        settings: &Settings,
        conditions: Conditions<'_>,
        stage: &mut Stage,
    ) -> Result<Self, String> {
        let Conditions { programs, workspace, cores, .. } = conditions;
        let Some(peer) = name.peer() else {
            stage.play(Duration::ZERO)?;
            return weir(name, settings, workspace, stage.address, cores);
        };
        let program = find(peer.program, programs)
            .ok_or_else(|| format!("not installed ({})", peer.install))?;
        let setting = Setting::new(name, peer, conditions, stage.address)?;
        if peer.asks_health {
            stage.greet()?;
        } else {
            stage.play(Duration::ZERO)?;
        }
        let log = workspace.file(&format!("{}.log", name.as_str()));
        let arguments: Vec<String> = peer.arguments.iter().map(|word| setting.fill(word)).collect();
        let mut child =
            Child::start(name.as_str(), &program, &arguments, &setting.environment(), &log, cores)
                .map_err(|error| format!("{}: {error}", program.display()))?;
        let target = Target {
            address: setting.address,
            headers: peer.headers.iter().map(|header| setting.fill(header)).collect(),
        };
        let version = version(&program, peer, &setting);
        let said = |error| format!("{error}\n{}", last_line(&log));
        child.ready(target.address, READY_WAIT).map_err(said)?;
        let idle_bytes = idle(child.pid());
        let mut running = Running::Peer(child);
        answers(&target, &mut running).map_err(said)?;
        Ok(Self { name, target, version, does: peer.does, idle_bytes, running })
    }

    /// The process whose time is measured, with its children's.
    pub fn pid(&self) -> u32 {
        match &self.running {
            Running::Peer(child) => child.pid(),
            Running::Weir(weir) => weir.child.pid(),
        }
    }
}

/// What is filled into a template.
struct Setting {
    address: SocketAddr,
    values: Vec<(&'static str, String)>,
    environment: &'static [(&'static str, &'static str)],
}

impl Setting {
    /// Chooses ports and writes the configuration.
    fn new(
        name: Name,
        peer: &Peer,
        Conditions { workspace, cores, streams_max, .. }: Conditions<'_>,
        upstream: SocketAddr,
    ) -> Result<Self, String> {
        let port = || free_address().map_err(|error| error.to_string());
        let (address, spare) = (port()?, port()?);
        let file = workspace.file(peer.template.map_or(name.as_str(), |(file, _)| file));
        let directory = file.parent().unwrap_or(Path::new("."));
        let setting = Self {
            address,
            values: vec![
                ("{{directory}}", directory.display().to_string()),
                ("{{file}}", file.display().to_string()),
                ("{{listen}}", address.to_string()),
                ("{{host}}", address.ip().to_string()),
                ("{{port}}", address.port().to_string()),
                ("{{spare_port}}", spare.port().to_string()),
                ("{{upstream}}", upstream.to_string()),
                ("{{upstream_host}}", upstream.ip().to_string()),
                ("{{upstream_port}}", upstream.port().to_string()),
                ("{{key}}", KEY.to_owned()),
                ("{{workers}}", cores.len().max(1).to_string()),
                ("{{affinity}}", affinity(cores)),
                ("{{connections}}", (2 * streams_max + SPARE_CONNECTIONS).to_string()),
            ],
            environment: peer.environment,
        };
        if let Some((_, template)) = peer.template {
            std::fs::write(&file, setting.fill(template))
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(setting)
    }

    fn fill(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn environment(&self) -> Vec<(String, String)> {
        let filled = |(name, value): &(&str, &str)| ((*name).to_owned(), self.fill(value));
        self.environment.iter().map(filled).collect()
    }
}

/// weir with everything on that a gateway is there for: a key, routing, token accounting, metrics
/// and an access log.
fn weir(
    name: Name,
    settings: &Settings,
    workspace: &Workspace,
    upstream: SocketAddr,
    cores: &[usize],
) -> Result<Contestant, String> {
    let directory = workspace.part(name.as_str()).map_err(|error| format!("weir: {error}"))?;
    let mut config = Config::new()
        .with("access", json!("keys"))
        .with("tenants", tenants(name))
        .with("routes", routes("main-openai"))
        .environment(KEY_VARIABLE, KEY)
        .upstream("one", upstream)
        .pool("main", &["one"], false, true, &json!({}));
    let mut settings = settings.clone();
    if cores.len() > 1 {
        settings.weir_threads = u16::try_from(cores.len()).unwrap_or(u16::MAX);
        config = config.with("runtime", json!({ "pin": true, "incoming_cpu": true }));
    }
    if name == Name::WeirEpoll {
        settings.weir_io = "epoll".into();
    }
    if name == Name::WeirLedger {
        config = config
            .with("storage", json!({ "path": directory.file("weir.db") }))
            .with("prices", json!({ "*": { "input": 1, "output": 2 } }));
    }
    let weir = Weir::start(&settings, &directory, &config, true, cores)?;
    let target = Target { address: weir.address, headers: Vec::new() };
    let idle_bytes = idle(weir.child.pid());
    let mut running = Running::Weir(Box::new(weir));
    answers(&target, &mut running)?;
    let program = settings.weir_program();
    Ok(Contestant {
        name,
        target,
        version: first_line(Command::new(program).arg("--version")),
        does: if name == Name::WeirLedger {
            "the same; limits and budgets on tenant, team and key; ledger"
        } else {
            "key, 1,000 routes, token accounting, metrics, access log"
        },
        idle_bytes,
        running,
    })
}

/// A mask for each of several cores, as nginx wants it.
fn affinity(cores: &[usize]) -> String {
    if cores.len() < 2 {
        return String::new();
    }
    let masks = cores.iter().map(|core| format!(" 1{}", "0".repeat(*core)));
    format!("worker_cpu_affinity{};", masks.collect::<String>())
}

/// The one key; limits that nothing reaches, where they are part of what is measured.
fn tenants(name: Name) -> Value {
    let mut key = json!({ "name": "client", "secret": { "env": KEY_VARIABLE } });
    if name != Name::WeirLedger {
        return json!({ "clients": { "keys": [key] } });
    }
    let limits = json!([{
        "requests": { "minute": 100_000_000 },
        "tokens": { "minute": 1_000_000_000 },
        "budgets": [{ "period": "month", "usd": 1_000_000 }],
    }]);
    key["team"] = json!("team");
    key["limits"] = limits.clone();
    json!({ "clients": { "limits": &limits, "teams": { "team": { "limits": &limits } }, "keys": [key] } })
}

/// Routes for models that nobody asks for: aliases by name and families by their beginning.
fn routes(pool: &str) -> Value {
    (0..ROUTES)
        .map(|n| {
            let model = if n % 2 == 0 { format!("alias-{n}") } else { format!("family-{n}-*") };
            json!({
                "name": format!("rule-{n}"),
                "match": { "model": model, "endpoint": ["chat_completions", "completions"] },
                "model": format!("model-{n}"),
                "pool": pool,
            })
        })
        .collect()
}

/// Resident memory of a proxy that listens and was asked nothing yet.
fn idle(pid: u32) -> u64 {
    std::thread::sleep(CALM);
    resident_bytes(pid).unwrap_or_default()
}

/// Asks until the proxy answers with a success: it may listen before it is ready.
fn answers(target: &Target, running: &mut Running) -> Result<(), String> {
    let shape = Shape {
        tokens: 1,
        key: Some(KEY.into()),
        headers: target.headers.clone(),
        ..Shape::new(Endpoint::Chat, false)
    };
    let wire = shape.http1(&target.address.to_string());
    let until = Instant::now() + READY_WAIT;
    loop {
        let reply = blocking::ask(target.address, &wire, Endpoint::Chat, ASK_WAIT);
        if (200..300).contains(&reply.status()) {
            return Ok(());
        }
        if let Running::Peer(child) = running
            && !child.runs()
        {
            return Err("ended before it answered".into());
        }
        if Instant::now() >= until {
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            return Err(format!("no answer: status {} {body}", reply.status()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// An executable in one of these directories, on the path, or where system programs are.
fn find(program: &str, programs: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    programs
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path))
        .chain(beside)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

fn version(program: &Path, peer: &Peer, setting: &Setting) -> String {
    if peer.version.is_empty() {
        return String::new();
    }
    let said = first_line(Command::new(program).args(peer.version).envs(setting.environment()));
    // Some give the path they were started by before their version.
    let said = said.strip_prefix(&program.display().to_string()).unwrap_or(&said);
    said.trim().chars().take(VERSION_CHARS).collect()
}

fn first_line(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or_default().to_owned()
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or_default().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        assert!(find("sh", &[]).is_some());
        assert!(find("no-such-program-anywhere", &[]).is_none());
    }

    #[test]
    fn nothing_in_double_braces_is_left() {
        // Not the directory of this process, which other tests use and remove.
        let path = std::env::temp_dir().join(format!("weir-compare-{}", std::process::id()));
        let workspace = Workspace::new(Some(path.clone())).expect("a temporary directory");
        let upstream = SocketAddr::from(([127, 0, 0, 1], 9));
        for name in Name::DEFAULT {
            let Some(peer) = name.peer() else { continue };
            let conditions =
                Conditions { programs: &[], workspace: &workspace, cores: &[0], streams_max: 64 };
            let setting =
                Setting::new(name, peer, conditions, upstream).expect("it can be written");
            let mut filled: Vec<String> =
                peer.arguments.iter().chain(peer.headers).map(|word| setting.fill(word)).collect();
            filled.extend(setting.environment().into_iter().map(|(_, value)| value));
            if let Some((_, template)) = peer.template {
                let text = setting.fill(template);
                // The comments at the top speak of double braces; nothing else may have them left.
                filled.push(text.lines().filter(|line| !line.starts_with('#')).collect());
            }
            assert!(filled.iter().all(|text| !text.contains("{{")), "{}", name.as_str());
        }
        std::fs::remove_dir_all(path).expect("it can be removed");
    }

    #[test]
    fn there_are_a_thousand_routes_and_none_takes_the_model_that_is_asked_for() {
        let routes = routes("p");
        assert_eq!(routes.as_array().map(Vec::len), Some(ROUTES));
        assert!(!routes.to_string().contains(Endpoint::Chat.default_model()));
    }
}
