//! A running weir: the real binary with a configuration of the test's own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How often a weir is started whose ports turn out to be taken.
const STARTS_MAX: usize = 3;

/// A weir process that is ended with the test.
pub struct Weir {
    process: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    directory: TempDir,
}

/// A loopback address that was free a moment ago.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

impl Weir {
    /// Starts weir with a configuration that has everything but `listeners`, `admin` and `log`.
    pub fn start(rest: &str) -> Self {
        Self::start_with("", rest)
    }

    /// The same with more to say of its listener.
    pub fn start_with(listener: &str, rest: &str) -> Self {
        Self::start_by(&[], listener, "", rest)
    }

    /// The same with more to say of its admin listener.
    pub fn start_as(listener: &str, admin: &str, rest: &str) -> Self {
        Self::start_by(&[], listener, admin, rest)
    }

    /// The same, started by another program that gets the command as its last arguments and becomes it.
    pub fn start_by(by: &[&str], listener: &str, admin: &str, rest: &str) -> Self {
        // A port that was free may be taken by a connection of another test before weir has it.
        let start = |_| Self::try_start(by, listener, admin, rest);
        (0..STARTS_MAX).find_map(start).expect("weir starts")
    }

    /// `None` if it ended before it was ready.
    fn try_start(by: &[&str], listener: &str, more: &str, rest: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let (address, admin) = (free(), free());
        let file = directory.path().join("weir.yaml");
        let log = directory.path().join("access.jsonl");
        // All of these tests hold for whatever drives the sockets.
        let rest = match std::env::var("WEIR_TEST_IO") {
            Ok(io) => rest.replace("runtime: { ", &format!("runtime: {{ io: {io}, ")),
            Err(_) => rest.to_owned(),
        };
        let text = format!(
            "listeners: [{{ address: '{address}', {listener} }}]\nadmin: {{ address: '{admin}', {more} }}\nlog: {{ access: {}, level: warn }}\n{rest}",
            log.display()
        );
        std::fs::write(&file, text).expect("the configuration");
        let mut command: Vec<&str> = by.to_vec();
        command.extend([env!("CARGO_BIN_EXE_weir"), "run", "--config"]);
        let process = Command::new(command[0])
            .args(&command[1..])
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .expect("weir starts");
        let mut weir = Self { process, address, admin, directory };
        weir.wait_until_ready().then_some(weir)
    }

    /// False if the process has ended.
    fn wait_until_ready(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let answer = std::panic::catch_unwind(|| {
                exchange(
                    self.admin,
                    b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
                )
            });
            if answer.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200")) {
                return true;
            }
            if self.process.try_wait().expect("a state").is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("weir is not ready");
    }

    /// Sends bytes as they are and reads until the connection closes or falls silent.
    pub fn send(&self, request: &[u8]) -> Vec<u8> {
        exchange(self.address, request)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its configuration file.
    pub fn config(&self) -> std::path::PathBuf {
        self.directory.path().join("weir.yaml")
    }

    /// Ends it as an operator does, and waits for the end.
    pub fn end(mut self) {
        let pid = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        assert!(asked.success());
        self.process.wait().expect("its end");
    }

    /// What `/readyz` says now.
    pub fn readyz(&self) -> serde_json::Value {
        let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = String::from_utf8(exchange(self.admin, request)).expect("text");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        serde_json::from_str(body).expect("JSON")
    }

    /// The same to its admin listener.
    pub fn send_admin(&self, request: &[u8]) -> Vec<u8> {
        exchange(self.admin, request)
    }

    /// What the metrics say now.
    pub fn metrics(&self) -> String {
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        String::from_utf8(exchange(self.admin, request)).expect("text")
    }

    /// What the operators' listener answers to bytes as they are.
    pub fn ask_admin(&self, request: &[u8]) -> String {
        String::from_utf8(exchange(self.admin, request)).expect("text")
    }

    /// The access log, once it has so many lines: they are written after the answers.
    pub fn access_log_of(&self, lines: usize) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let log = self.access_log();
            if log.lines().count() >= lines || Instant::now() > deadline {
                return log;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The access log so far.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("access.jsonl")).unwrap_or_default()
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One connection, one request, everything that comes back within two seconds of silence.
fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
    // A server that answers early may close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut part = [0; 16 * 1024];
    while let Ok(count) = stream.read(&mut part) {
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&part[..count]);
        if complete(&answer) {
            break;
        }
    }
    answer
}

/// Whether a whole response with a `content-length` is there.
fn complete(answer: &[u8]) -> bool {
    let Some(head_end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..head_end]).to_ascii_lowercase();
    if head.starts_with("http/1.1 100") {
        return false;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|text| text.trim().parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= head_end + 4 + length)
}
