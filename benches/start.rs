//! How long it takes from the start of the process until it is ready, and what it takes of memory then:
//! with 100,000 virtual keys, and 10,000 budgets of which each goes on from the ledger.
//!
//! `cargo bench --bench start`. Goal: under two seconds.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weir::config::Time;
use weir::database::{Connection, Database, Error, Migrations, Place, Settings as Storage};
use weir::dialect::Usage;
use weir::ledger::books::{self, Books};
use weir::ledger::{Record, Settings as LedgerSettings};
use weir::manage;
use weir::telemetry::Metrics;
use weir::tenant::KeyHasher;

const KEYS: usize = 100_000;
const BUDGETS: usize = 10_000;
const STARTS: usize = 5;
/// Far above the goal.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "a secret of sixteen characters";
static TABLES: &[&Migrations] = &[&manage::MIGRATIONS, &books::MIGRATIONS];

/// Whose the budgets are.
#[derive(Clone, Copy)]
enum Of {
    /// Virtual keys of a hundred tenants.
    Keys,
    /// Tenants of the configuration.
    Tenants,
}

impl Of {
    fn tenants(self) -> usize {
        match self {
            Of::Keys => 100,
            Of::Tenants => BUDGETS,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Of::Keys => "budgets of virtual keys",
            Of::Tenants => "budgets of tenants of the configuration",
        }
    }
}

fn main() {
    for of in [Of::Keys, Of::Tenants] {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::write(of, folder.path());
        fill(of, folder.path());
        let starts: Vec<Started> = (0..STARTS).map(|_| config.start()).collect();
        let mut times: Vec<Duration> = starts.iter().map(|started| started.ready).collect();
        times.sort_unstable();
        let memory = starts.iter().map(|started| started.resident_mb).max().unwrap_or_default();
        println!(
            "{KEYS} keys, {BUDGETS} {}: ready after {:?} (median of {STARTS}; {:?} at most), {memory} MB resident",
            of.words(),
            times[STARTS / 2],
            times[STARTS - 1],
        );
    }
}

struct Config {
    file: std::path::PathBuf,
    listener: String,
    admin: String,
    /// Of whom a budget is looked at.
    owner: &'static str,
}

struct Started {
    ready: Duration,
    resident_mb: u64,
}

impl Config {
    fn write(of: Of, folder: &Path) -> Self {
        let (listener, admin) = (free(), free());
        let secret = folder.join("secret");
        std::fs::write(&secret, SECRET).expect("written");
        let limits = match of {
            Of::Keys => "{}",
            Of::Tenants => "{ limits: [{ budgets: [{ period: month, usd: 1000 }] }] }",
        };
        let tenants = (0..of.tenants()).map(|n| format!("  t{n}: {limits}\n"));
        let tenants = tenants.collect::<Vec<_>>().concat();
        let text = format!(
            "
listeners: [{{ address: '{listener}' }}]
admin: {{ address: '{admin}' }}
log: {{ access: 'off', level: warn }}
storage: {{ path: '{}' }}
identity: {{ secret: {{ file: '{}' }} }}
providers: {{ sim: {{ dialect: openai, simulated: {{ tokens: 1 }} }} }}
pools: {{ sim: {{ targets: [{{ provider: sim }}] }} }}
routes: [{{ pool: sim }}]
tenants:
{tenants}",
            folder.join("weir.db").display(),
            secret.display()
        );
        let file = folder.join("weir.yaml");
        std::fs::write(&file, text).expect("written");
        let owner = match of {
            Of::Keys => "key t9/key-9",
            Of::Tenants => "tenant t9",
        };
        Self { file, listener, admin, owner }
    }

    /// Starts, waits until it is ready, and checks that a budget has gone on by then.
    fn start(&self) -> Started {
        // The kernel lets go of what a killed process had in an io_uring some milliseconds after its end.
        for address in [&self.listener, &self.admin] {
            let begun = Instant::now();
            while TcpListener::bind(address).is_err() {
                assert!(begun.elapsed() < PATIENCE, "{address} stays in use");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let begun = Instant::now();
        let command = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["run", "--config"])
            .arg(&self.file)
            .stdout(Stdio::null())
            .spawn();
        let mut process = Process(command.expect("it starts"));
        let ready = loop {
            if self.ask("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                break begun.elapsed();
            }
            assert!(begun.elapsed() < PATIENCE, "it is not ready");
            assert!(process.0.try_wait().expect("a process").is_none(), "it has ended");
            std::thread::sleep(Duration::from_millis(2));
        };
        let owner = self.owner.replace(' ', "%20");
        let limits = self.ask(&format!("/admin/v1/limits?owner={owner}")).unwrap_or_default();
        assert!(limits.contains(r#""used":1000000000"#), "{} of {limits}", self.owner);
        Started { ready, resident_mb: process.resident_mb() }
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.admin).ok()?;
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin);
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

struct Process(Child);

impl Process {
    fn resident_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kb.unwrap_or_default() / 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that nothing listens on. Not one of those that the system gives to connections: one that is
/// tried again and again until something listens there would get its own, and connect to itself.
fn free() -> String {
    let free = |port: u16| {
        let listener = TcpListener::bind(("127.0.0.1", port)).ok()?;
        Some(listener.local_addr().ok()?.to_string())
    };
    (0..1000).find_map(|_| free(rand::random_range(10_000..30_000))).expect("a port")
}

/// Makes the keys and what was used under the budgets.
fn fill(of: Of, folder: &Path) {
    let storage = Storage { path: Some(folder.join("weir.db")), ..Storage::default() };
    let place = Place::of(&storage).expect("a place");
    let database = Database::open(place, TABLES, Metrics::new()).expect("a database");
    database.call_blocking(move |connection| make_keys(of, connection)).expect("keys");
    let settings = LedgerSettings { sync: Time::ms(10), ..LedgerSettings::default() };
    let (books, thread) = Books::start(&database, &settings).expect("a ledger");
    for number in 0..BUDGETS {
        books.enter(&used(of, number));
        if number.is_multiple_of(1000) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let begun = Instant::now();
    while books.standing().entered < BUDGETS as u64 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", books.standing());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(thread.stop(PATIENCE));
}

/// Every tenth has a budget, where budgets are those of keys.
fn make_keys(of: Of, connection: &mut Connection) -> Result<(), Error> {
    let hasher = KeyHasher::new(SECRET.as_bytes());
    let budget = r#","limits":[{"budgets":[{"period":"month","usd":1000}]}]"#;
    connection.transaction(|connection| {
        for number in 0..KEYS {
            let key = format!("weir-{number:08}-{number:048}");
            let limits = if matches!(of, Of::Keys) && number < BUDGETS { budget } else { "" };
            let terms = format!(
                r#"{{"labels":{{"owner":"user-{number}","env":"prod"}},"models":["gpt-*"]{limits}}}"#
            );
            let tenant = format!("t{}", number % of.tenants());
            connection.execute(
                "INSERT INTO identity_keys (id, hash, tenant, name, status, terms, created_ms, \
                 created_by, changed) VALUES (?1, ?2, ?3, ?4, 'active', ?5, 0, 'bench', 1)",
                &[
                    (&format!("{number:08}")).into(),
                    hasher.hash(key.as_bytes())[..].into(),
                    (&tenant).into(),
                    (&format!("key-{number}")).into(),
                    (&terms).into(),
                ],
            )?;
        }
        connection.execute("UPDATE identity_state SET version = 1 WHERE one = 1", &[]).map(drop)
    })
}

/// A request that cost a dollar.
fn used(of: Of, number: usize) -> Record {
    Record {
        time_unix_ms: weir::clock::unix_ms(),
        request_id: format!("request-{number}"),
        tenant: Some(format!("t{}", number % of.tenants()).into()),
        caller: Some(format!("key-{number}").into()),
        model_served: Some("gpt-4o".into()),
        provider: Some("sim".into()),
        status: 200,
        usage: Usage { input: 100, output: 200, ..Usage::default() },
        usage_source: "provider",
        cost_nano_usd: Some(1_000_000_000),
        ..Record::default()
    }
}
