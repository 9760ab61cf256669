//! The proxies that are compared, each on one core in front of the same upstream.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use crate::process::{Child, Workspace, free_address};
use crate::stand::{Config, Settings, Upstream, Weir};

const NGINX: &str = include_str!("../../peers/nginx.conf");
const HAPROXY: &str = include_str!("../../peers/haproxy.cfg");
/// The key that clients send and that weir and `HAProxy` check.
pub const KEY: &str = "compare-key";
/// Name of the environment variable that weir reads the key from.
const KEY_VARIABLE: &str = "WEIR_COMPARE_KEY";
/// How long a proxy may take to listen.
const READY_WAIT: Duration = Duration::from_secs(10);

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// A bare `proxy_pass`.
    Nginx,
    /// A bearer check.
    Haproxy,
    /// weir, with a key, metering and metrics.
    Weir,
}

impl Name {
    /// The name in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Name::Nginx => "nginx",
            Name::Haproxy => "haproxy",
            Name::Weir => "weir",
        }
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Contestant {
    /// Who it is.
    pub name: Name,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is, as it says of itself.
    pub version: String,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Peer(Child),
    Weir(Box<Weir>),
}

impl Contestant {
    /// Starts a proxy on a core. None when the program is not installed.
    pub fn start(
        name: Name,
        settings: &Settings,
        workspace: &Workspace,
        upstream: &Upstream,
        core: usize,
    ) -> Result<Option<Self>, String> {
        if name == Name::Weir {
            return Self::weir(settings, workspace, upstream, core).map(Some);
        }
        let Some(program) = find(name.as_str()) else { return Ok(None) };
        let address = free_address().map_err(|error| error.to_string())?;
        let (template, flag, more): (_, _, &[&str]) = match name {
            Name::Haproxy => (HAPROXY, "-f", &["-db"]),
            _ => (NGINX, "-c", &[]),
        };
        let file = workspace.file(&format!("{}.conf", name.as_str()));
        let directory = file.parent().unwrap_or(Path::new("."));
        let text = template
            .replace("{{directory}}", &directory.display().to_string())
            .replace("{{listen}}", &address.to_string())
            .replace("{{upstream}}", &upstream.address.to_string())
            .replace("{{key}}", KEY);
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        let file = file.display().to_string();
        let mut arguments = vec![flag, file.as_str()];
        arguments.extend_from_slice(more);
        let log = workspace.file(&format!("{}.log", name.as_str()));
        let mut child = Child::start(name.as_str(), &program, &arguments, &[], &log, Some(core))
            .map_err(|error| format!("{}: {error}", program.display()))?;
        child.ready(address, READY_WAIT)?;
        let version = version(&program, "-v");
        Ok(Some(Self { name, address, version, running: Running::Peer(child) }))
    }

    fn weir(
        settings: &Settings,
        workspace: &Workspace,
        upstream: &Upstream,
        core: usize,
    ) -> Result<Self, String> {
        let key = json!({ "name": "client", "secret": { "env": KEY_VARIABLE } });
        let config = Config::new()
            .with("access", json!("keys"))
            .with("tenants", json!({ "clients": { "keys": [key] } }))
            .environment(KEY_VARIABLE, KEY)
            .upstream("one", upstream.address)
            .pool("main", &["one"], false, true, &json!({}));
        let weir = Weir::start(settings, workspace, &config, false, Some(core))?;
        Ok(Self {
            name: Name::Weir,
            address: weir.address,
            version: version(&settings.weir_program(), "--version"),
            running: Running::Weir(Box::new(weir)),
        })
    }

    /// The process whose time is measured, with its children's.
    pub fn pid(&self) -> u32 {
        match &self.running {
            Running::Peer(child) => child.pid(),
            Running::Weir(weir) => weir.child.pid(),
        }
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let beside = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    std::env::split_paths(&path)
        .chain(beside)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

fn version(program: &Path, flag: &str) -> String {
    let output = std::process::Command::new(program).arg(flag).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-anywhere").is_none());
    }

    #[test]
    fn templates_name_what_is_filled_in() {
        for template in [NGINX, HAPROXY] {
            assert!(template.contains("{{listen}}") && template.contains("{{upstream}}"));
        }
    }
}
