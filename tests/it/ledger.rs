//! The ledger of record while its disk, its file or its server fails: requests keep flowing, memory
//! stays bounded, the state is visible, and nothing is lost once the failure is over.
#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::database_server::Server;
use crate::stand::Weir;

/// How long anything here may take to become so.
const PATIENCE: Duration = Duration::from_secs(40);
/// The longest that a request may take whatever the database does.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// More than weir ever takes in these tests, and far less than what would pile up without a bound.
const RESIDENT_BYTES_MAX: f64 = 200e6;

fn config(storage: &str, ledger: &str) -> String {
    format!(
        "
access: open
runtime: {{ threads: 1 }}
storage: {{ {storage} }}
ledger: {{ sync: 20ms, reserve: 8MiB, {ledger} }}
providers: {{ up: {{ dialect: openai, simulated: {{ ttft: 1ms, inter_token: 0ms }} }} }}
pools: {{ up: {{ targets: [{{ provider: up }}] }} }}
routes: [{{ pool: up }}]
"
    )
}

/// Sends so many requests, each of which must be answered in time.
fn ask(weir: &Weir, requests: u64) -> u64 {
    let json = r#"{"model":"sim-1","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}"#;
    let wire = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    );
    for _ in 0..requests {
        let begun = Instant::now();
        let answer = weir.send(wire.as_bytes());
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        assert!(begun.elapsed() < ANSWER_WITHIN, "{:?}", begun.elapsed());
    }
    requests
}

fn metric(weir: &Weir, name: &str) -> f64 {
    let page = weir.metrics();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{page}"))
}

fn until(weir: &Weir, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let ready = weir.readyz();
        if holds(&ready) {
            return ready;
        }
        assert!(Instant::now() < give_up, "never {what}: {ready}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Keeps asking until `/readyz` shows the state; it stays ready, and metric and memory say the same.
fn ask_until(weir: &Weir, storage: &str, ledger: &str) -> u64 {
    let give_up = Instant::now() + PATIENCE;
    let mut asked = 0;
    loop {
        asked += ask(weir, 20);
        let ready = weir.readyz();
        assert_eq!(ready["ready"], true);
        if ready["storage"]["state"] == storage && ready["ledger"]["state"] == ledger {
            assert!(!ready["storage"]["reason"].as_str().unwrap_or_default().is_empty(), "{ready}");
            assert!(ready["storage"]["since_unix_ms"].as_u64().is_some_and(|ms| ms > 0), "{ready}");
            let number = if storage == "slow" { 1.0 } else { 2.0 };
            assert!((metric(weir, "weir_storage_state") - number).abs() < f64::EPSILON);
            assert!(metric(weir, "process_resident_memory_bytes") < RESIDENT_BYTES_MAX);
            return asked;
        }
        assert!(Instant::now() < give_up, "never {storage} and {ledger}: {ready}");
    }
}

/// Everything is in the database, and nothing was lost.
fn all_there(weir: &Weir, asked: u64) {
    until(weir, "all in the database", |ready| {
        ready["ledger"]["state"] == "ok"
            && ready["ledger"]["waiting"] == 0
            && ready["storage"]["state"] != "away"
    });
    assert!(metric(weir, "weir_ledger_lost_total") == 0.0);
    let total = query(weir, &["--total"]);
    assert_eq!(total["requests"], asked, "{total}");
    let verified = weir_ledger(weir, &["verify"]);
    assert!(verified.contains("0 problems"), "{verified}");
}

/// In a namespace of its own is its disk, too.
fn beside(weir: &Weir) -> Command {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("a link");
    let pid = weir.pid().to_string();
    if namespace(&pid) == namespace("self") {
        return Command::new("env");
    }
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "-U", "-m", "--preserve-credentials"]);
    command
}

fn weir_ledger(weir: &Weir, arguments: &[&str]) -> String {
    let output = beside(weir)
        .args([env!("CARGO_BIN_EXE_weir"), "ledger"])
        .args(arguments)
        .arg("--config")
        .arg(weir.config())
        .output()
        .expect("weir ledger");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn query(weir: &Weir, arguments: &[&str]) -> Value {
    let said = weir_ledger(weir, &[&["query"], arguments].concat());
    serde_json::from_str(said.lines().next().unwrap_or_default()).expect("a line of JSON")
}

/// A file, which it may take so long to get to.
fn file(folder: &TempDir) -> String {
    format!("path: '{}', busy: 300ms, slow: 1s", folder.path().join("weir.db").display())
}

#[test]
fn a_locked_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let weir = Weir::start(&config(&file(&folder), ""));
    let mut asked = ask(&weir, 20);
    let other = Connection::open(folder.path().join("weir.db")).expect("opens");
    let give_up = Instant::now() + PATIENCE;
    while other.execute_batch("BEGIN EXCLUSIVE").is_err() {
        assert!(Instant::now() < give_up);
    }
    asked += ask_until(&weir, "away", "behind");
    other.execute_batch("ROLLBACK").expect("let go");
    all_there(&weir, asked);
}

#[test]
fn a_file_that_takes_two_seconds_for_every_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = file(&folder).replace("300ms", "10s");
    let weir = Weir::start(&config(&storage, ""));
    let path = folder.path().join("weir.db");
    let done = std::sync::atomic::AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = Connection::open(&path).expect("opens");
            other.busy_timeout(PATIENCE).expect("set");
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                other.execute_batch("BEGIN IMMEDIATE").expect("locked");
                std::thread::sleep(Duration::from_secs(2));
                other.execute_batch("COMMIT").expect("let go");
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let asked = ask_until(&weir, "slow", "ok") + ask(&weir, 200);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        asked
    });
    all_there(&weir, asked);
}

/// Becomes the command in a namespace of its own after this script.
fn apart(script: &str) -> Vec<String> {
    let script = format!("{script} && exec \"$@\"");
    ["unshare", "-rm", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

fn start_apart(script: &str, rest: &str) -> Weir {
    let by = apart(script);
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    Weir::start_by(&by, "", "", rest)
}

#[test]
fn a_full_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = format!("mount -t tmpfs -o size=32m tmpfs '{}'", folder.path().display());
    let weir = start_apart(&mount, &config(&file(&folder), ""));
    let mut asked = ask(&weir, 20);
    until(&weir, "entered", |ready| ready["ledger"]["entered"] == asked);
    let disk = format!("/proc/{}/root{}", weir.pid(), folder.path().display());
    let filler = Path::new(&disk).join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    asked += ask_until(&weir, "away", "behind");
    // The journal goes on in the space that it has taken in advance.
    asked += ask(&weir, 500);
    let ready = weir.readyz();
    assert_eq!(ready["ledger"]["state"], "behind", "{ready}");
    std::fs::remove_file(filler).expect("space again");
    drop(file);
    all_there(&weir, asked);
}

#[test]
fn a_read_only_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&file(&folder), "");
    let weir = Weir::start(&config);
    let mut asked = ask(&weir, 20);
    weir.end();
    let path = folder.path().display();
    let mount = format!("mount --bind '{path}' '{path}' && mount -o remount,ro,bind '{path}'");
    let weir = start_apart(&mount, &config);
    asked += ask_until(&weir, "away", "memory");
    assert!(metric(&weir, "weir_ledger_state") >= 2.0);
    let mended = beside(&weir)
        .args(["mount", "-o", "remount,rw,bind"])
        .arg(folder.path())
        .status()
        .expect("nsenter");
    assert!(mended.success());
    all_there(&weir, asked);
}

#[test]
fn a_server_that_goes_away_and_one_that_is_slow() {
    let Some(mut server) = Server::start() else {
        eprintln!("PostgreSQL is not installed: nothing was tested");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let url = folder.path().join("url");
    std::fs::write(&url, server.url()).expect("written");
    let storage = format!("url: {{ file: '{}' }}, slow: 1s", url.display());
    let journal = format!("journal: '{}'", folder.path().join("journal").display());
    let weir = Weir::start(&config(&storage, &journal));
    let mut asked = ask(&weir, 50);
    until(&weir, "entered", |ready| ready["ledger"]["entered"] == asked);
    server.kill();
    asked += ask_until(&weir, "away", "behind");
    asked += ask(&weir, 200);
    server.again();
    all_there(&weir, asked);
    server.run(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_sleep(2); RETURN NULL; END'; \
         CREATE TRIGGER slow AFTER INSERT ON ledger_hours FOR EACH STATEMENT EXECUTE FUNCTION slow()",
    );
    asked += ask_until(&weir, "slow", "ok");
    all_there(&weir, asked);
    weir.end();
    // weir also starts while its server is away.
    server.kill();
    let weir = Weir::start(&config(&storage, &journal));
    asked += ask_until(&weir, "away", "behind");
    server.again();
    server.run("DROP TRIGGER slow ON ledger_hours");
    all_there(&weir, asked);
}
