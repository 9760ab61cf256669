//! The one upstream that stands behind every proxy, always at the same address.
//!
//! How fast it sends is set by starting it again with another pace, because a gateway that builds
//! its requests anew passes no header on by which each request could ask for its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::process::{Child, Workspace, free_address};

/// More tokens than any request asks for, so that the request alone decides.
const TOKENS: &str = "1000000";
/// How long it may take to listen.
const READY_WAIT: Duration = Duration::from_secs(10);
/// Time for proxies to notice that their kept connections are closed.
const NOTICE: Duration = Duration::from_millis(200);

/// The upstream's place.
#[derive(Debug)]
pub struct Stage {
    /// Where it serves.
    pub address: SocketAddr,
    log: std::path::PathBuf,
    cores: Vec<usize>,
    act: Act,
}

#[derive(Debug)]
enum Act {
    Empty,
    Upstream { _child: Child, pace: Duration },
    Greeter { _greeter: Greeter },
}

impl Stage {
    /// A place on some cores, with nobody there yet.
    pub fn new(workspace: &Workspace, cores: &[usize]) -> Result<Self, String> {
        let address = free_address().map_err(|error| error.to_string())?;
        let log = workspace.file("upstream.log");
        Ok(Self { address, log, cores: cores.to_vec(), act: Act::Empty })
    }

    /// The simulated upstream serves with this pace between two tokens.
    pub fn play(&mut self, pace: Duration) -> Result<(), String> {
        if matches!(&self.act, Act::Upstream { pace: now, .. } if *now == pace) {
            return Ok(());
        }
        self.act = Act::Empty;
        let explain = |error: std::io::Error| format!("the simulated upstream: {error}");
        let (address, pace_ms) = (self.address.to_string(), format!("{}ms", pace.as_millis()));
        let threads = self.cores.len().max(1).to_string();
        let mut arguments = vec![
            "mock",
            "--address",
            &address,
            "--tokens",
            TOKENS,
            "--itl",
            &pace_ms,
            "--threads",
            &threads,
            "--model",
            "gpt-4o",
            "--records-max",
            "16",
        ];
        let cores: Vec<String> = self.cores.iter().map(usize::to_string).collect();
        if cores.len() > 1 {
            arguments.extend(cores.iter().flat_map(|core| ["--core", core]));
        }
        let program = std::env::current_exe().map_err(explain)?;
        let mut child =
            Child::start("the upstream", &program, &arguments, &[], &self.log, &self.cores)
                .map_err(explain)?;
        child.ready(self.address, READY_WAIT)?;
        self.act = Act::Upstream { _child: child, pace };
        std::thread::sleep(NOTICE);
        Ok(())
    }

    /// Something answers every request with 200 and an empty object, as an inference server would
    /// that is asked for its health, until the upstream plays again.
    pub fn greet(&mut self) -> Result<(), String> {
        if matches!(self.act, Act::Greeter { .. }) {
            return Ok(());
        }
        self.act = Act::Empty;
        let greeter = Greeter::start(self.address).map_err(|error| error.to_string())?;
        self.act = Act::Greeter { _greeter: greeter };
        Ok(())
    }
}

#[derive(Debug)]
struct Greeter {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Greeter {
    fn start(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = std::thread::Builder::new().name("greeter".into()).spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                if let Ok(stream) = stream {
                    // Whoever asks again when an answer is lost.
                    let _ = greet(stream);
                }
            }
        })?;
        Ok(Self { address, over, thread: Some(thread) })
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // A connection wakes it, so that it sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn greet(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") && request.len() < 64 * 1024 {
        match stream.read(&mut chunk)? {
            0 => break,
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
    stream.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
        connection: close\r\n\r\n{}",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::blocking::call;

    #[test]
    fn a_greeter_answers_until_it_is_over() {
        let address = free_address().expect("a port");
        let greeter = Greeter::start(address).expect("it listens");
        assert_eq!(call(address, "GET", "/health", ""), Ok(b"{}".to_vec()));
        assert_eq!(call(address, "GET", "/v1/models", ""), Ok(b"{}".to_vec()));
        drop(greeter);
        assert!(TcpListener::bind(address).is_ok());
    }
}
