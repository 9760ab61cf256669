//! A simulated upstream in a process of its own.

use std::net::SocketAddr;
use std::time::Duration;

use weir_loadtest::mock::Record;

use crate::client::blocking::call;
use crate::process::{Child, Workspace, free_address};

/// A simulated upstream.
#[derive(Debug)]
pub struct Upstream {
    /// Its process.
    pub child: Child,
    /// Where it serves.
    pub address: SocketAddr,
    control: SocketAddr,
}

impl Upstream {
    /// Starts one with these flags of `weir-loadtest mock`.
    pub fn start(
        workspace: &Workspace,
        name: &str,
        flags: &[&str],
        cores: &[usize],
    ) -> Result<Self, String> {
        let explain = |error: std::io::Error| format!("{name}: {error}");
        let address = free_address().map_err(explain)?;
        let control = free_address().map_err(explain)?;
        let (own, to) = (address.to_string(), control.to_string());
        let mut arguments = vec!["mock", "--address", &own, "--control", &to];
        arguments.extend_from_slice(flags);
        let program = std::env::current_exe().map_err(explain)?;
        let log = workspace.file(&format!("{name}.log"));
        let mut child =
            Child::start(name, &program, &arguments, &[], &log, cores).map_err(explain)?;
        child.ready(control, Duration::from_secs(10))?;
        child.ready(address, Duration::from_secs(10))?;
        Ok(Self { child, address, control })
    }

    /// Every request meets this fault from now on.
    pub fn fault(&self, fault: &str) -> Result<(), String> {
        call(self.control, "POST", "/__mock/fault", fault).map(drop)
    }

    /// No request meets a fault any more.
    pub fn heal(&self) -> Result<(), String> {
        call(self.control, "DELETE", "/__mock/fault", "").map(drop)
    }

    /// Closes the listener and every connection.
    pub fn refuse(&self) -> Result<(), String> {
        call(self.control, "POST", "/__mock/pause?ms=600000", "")?;
        call(self.control, "POST", "/__mock/disconnect", "").map(drop)
    }

    /// Listens again.
    pub fn listen(&mut self) -> Result<(), String> {
        call(self.control, "POST", "/__mock/resume", "")?;
        self.child.ready(self.address, Duration::from_secs(5))
    }

    /// Every request that its books remember, the oldest first.
    pub fn records(&self) -> Result<Vec<Record>, String> {
        let mut records: Vec<Record> = Vec::new();
        loop {
            let after = records.last().map_or(0, |record| record.sequence);
            let path = format!("/__mock/records?after={after}&records=2000");
            let body = call(self.control, "GET", &path, "")?;
            let more: Vec<Record> = serde_json::from_slice(&body)
                .map_err(|error| format!("the books cannot be read: {error}"))?;
            if more.is_empty() {
                return Ok(records);
            }
            records.extend(more);
        }
    }

    /// The last request with this `x-request-id`.
    pub fn record(&self, request_id: &str) -> Result<Record, String> {
        let path = format!("/__mock/request?id={request_id}");
        let body = call(self.control, "GET", &path, "")?;
        serde_json::from_slice(&body).map_err(|error| format!("the books cannot be read: {error}"))
    }
}
