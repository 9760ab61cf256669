//! `weir-loadtest drive`

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::client::{Endpoint, Shape};
use crate::drive::{Load, Mix, Pace};
use crate::{report, units};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Arguments {
    /// Host and port of the server.
    #[arg(long, default_value = "127.0.0.1:8080")]
    target: String,
    /// Requests a second, by the clock.
    #[arg(long, default_value_t = 100.0, conflicts_with = "closed")]
    rate: f64,
    /// Instead of a rate: on every connection, the next request as soon as the last was answered.
    /// For CPU measurements; latencies mean nothing then.
    #[arg(long)]
    closed: bool,
    /// How long requests are sent.
    #[arg(long, default_value = "10s", value_parser = units::duration)]
    duration: Duration,
    /// The first part of the duration, which is not counted.
    #[arg(long, default_value = "0s", value_parser = units::duration)]
    warmup: Duration,
    /// Most connections. Requests that find none free wait, and that counts as latency.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Keep the threads on this core. May be repeated: then on one after the other.
    #[arg(long = "core", value_name = "CORE")]
    cores: Vec<usize>,
    /// Longest time from a request being due to the end of its answer.
    #[arg(long, default_value = "60s", value_parser = units::duration)]
    timeout: Duration,
    /// What is asked for.
    #[arg(long, value_enum, default_value_t = Endpoint::Chat)]
    endpoint: Endpoint,
    /// Ask for a stream.
    #[arg(long)]
    stream: bool,
    /// The model; by default one that fits the endpoint.
    #[arg(long)]
    model: Option<String>,
    /// At least this long is the body of a request.
    #[arg(long, default_value = "600", value_parser = units::size)]
    body_bytes: usize,
    /// Tokens asked for.
    #[arg(long, default_value_t = 32)]
    tokens: u32,
    /// API key, sent where the endpoint's own clients send it.
    #[arg(long, env = "WEIR_LOADTEST_KEY", hide_env_values = true)]
    key: Option<String>,
    /// A header of every request, as `name: value`. May be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A JSON array of kinds of request, each with the fields `endpoint`, `stream`, `model`,
    /// `body_bytes`, `tokens`, `key`, `headers` and `weight`. Takes the place of the flags above.
    #[arg(long, value_name = "FILE")]
    mix: Option<PathBuf>,
    /// Check that every answer is complete and well-formed: streams have their terminal event and
    /// nothing after the last frame, other answers are JSON.
    #[arg(long)]
    validate: bool,
    /// With `--validate`: frames with content that every stream must have.
    #[arg(long, requires = "validate")]
    content_frames: Option<u32>,
    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// No line every second.
    #[arg(long)]
    quiet: bool,
    /// Allow a target that is not on this machine. Load on what is not yours is an attack.
    #[arg(long)]
    allow_remote: bool,
}

impl Arguments {
    /// Runs the load and prints the result. False when a request failed.
    pub fn run(&self) -> Result<bool, String> {
        let load = self.load()?;
        let summary = load.run();
        print!("{}", report::summary(&summary));
        if let Some(path) = &self.json {
            report::write_json(path, &summary)?;
        }
        Ok(summary.failed == 0)
    }

    fn load(&self) -> Result<Load, String> {
        if self.connections == 0 || self.connections > 100_000 {
            return Err("--connections is between 1 and 100000".into());
        }
        if !(self.rate > 0.0 && self.rate <= 1e6) {
            return Err("--rate is above 0 and at most 1000000".into());
        }
        if self.warmup >= self.duration {
            return Err("--warmup is shorter than --duration".into());
        }
        let pace = if self.closed { Pace::Closed } else { Pace::Open { per_second: self.rate } };
        let target = resolve(&self.target, self.allow_remote)?;
        let mix = Arc::new(Mix::new(&self.shapes()?, &self.target, self.content_frames)?);
        Ok(Load {
            pace,
            duration: self.duration,
            warmup: self.warmup,
            connections: self.connections,
            threads: self.threads,
            cores: self.cores.clone(),
            timeout: self.timeout,
            validate: self.validate,
            progress: !self.quiet,
            ..Load::new(target, mix)
        })
    }

    fn shapes(&self) -> Result<Vec<Shape>, String> {
        if let Some(path) = &self.mix {
            return Mix::shapes(path);
        }
        Ok(vec![Shape {
            endpoint: self.endpoint,
            stream: self.stream,
            model: self.model.clone(),
            body_bytes: self.body_bytes,
            tokens: self.tokens,
            key: self.key.clone(),
            headers: self.headers.clone(),
            store: true,
            weight: 1,
        }])
    }
}

fn resolve(target: &str, allow_remote: bool) -> Result<SocketAddr, String> {
    let address = target
        .to_socket_addrs()
        .map_err(|error| format!("{target}: {error}"))?
        .next()
        .ok_or_else(|| format!("{target} has no address"))?;
    if address.ip().is_loopback() || allow_remote {
        Ok(address)
    } else {
        Err(format!("{target} is not on this machine; --allow-remote if it is yours"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_unless_allowed() {
        assert!(resolve("127.0.0.1:80", false).is_ok());
        assert!(resolve("192.0.2.1:80", false).is_err());
        assert!(resolve("192.0.2.1:80", true).is_ok());
    }
}
