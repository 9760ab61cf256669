//! The ledger beside the upstreams' own books, after faults and a SIGKILL in the middle of the load.
//!
//! Two upstreams fail at random, each request is different in shape, weir is killed halfway and
//! started again. Every record whose tokens the provider told must be in the books of an upstream with
//! the same numbers, under the same request id; every answer that an upstream gave to its end must be
//! in the ledger once, but for those of the moment of the kill; tokens and money must add up.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::json;
use weir_loadtest::mock::Record;

use super::Check;
use crate::client::{Endpoint, Shape};
use crate::drive::{Load, Mix, Pace, Summary};
use crate::process::Signal;
use crate::stand::{Config, Settings, Upstream, Weir};
use crate::units;

/// Random faults of both upstreams.
const FAULTS: [&str; 7] = [
    "500@0.02",
    "429=100ms@0.01",
    "reset=before_head@0.01",
    "error_in_stream=0@0.01",
    "cut=3@0.01",
    "truncate=3@0.01",
    "empty_body@0.01",
];
/// What a token costs, in billionths of a dollar.
const INPUT_NANO_USD: u64 = 1000;
const OUTPUT_NANO_USD: u64 = 2000;
/// How long the database may take to have everything.
const SETTLE_WAIT: Duration = Duration::from_secs(60);
/// Between the end of an answer upstream and its record in a journal, beside the journal's interval:
/// the answer's way through weir, and the disk.
const SLACK: Duration = Duration::from_millis(900);

/// The load.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Requests.
    #[arg(long, default_value_t = 200_000)]
    requests: u64,
    /// Requests a second.
    #[arg(long, default_value_t = 1500.0)]
    rate: f64,
    /// Most connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How often the journal is brought to the disk: `ledger.sync`.
    #[arg(long, default_value = "100ms", value_parser = units::duration)]
    sync: Duration,
}

/// A record of the ledger, as far as it is compared.
#[derive(Debug, Deserialize)]
struct Row {
    request_id: String,
    input_tokens: u64,
    output_tokens: u64,
    cost_nano_usd: Option<u64>,
    source: String,
}

/// Sums of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Answers.
    answers: u64,
    /// Tokens of prompts.
    input_tokens: u64,
    /// Tokens of answers.
    output_tokens: u64,
    /// Money.
    cost_nano_usd: u64,
}

impl Sums {
    fn add(&mut self, input: u64, output: u64) {
        self.answers += 1;
        self.input_tokens += input;
        self.output_tokens += output;
        self.cost_nano_usd += input * INPUT_NANO_USD + output * OUTPUT_NANO_USD;
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// What the clients saw.
    pub load: Summary,
    /// Records in the ledger.
    pub records: u64,
    /// Records whose tokens a provider told.
    pub told: Sums,
    /// The same answers in the providers' books.
    pub booked: Sums,
    /// Answers that upstreams gave to their end and that the ledger does not have.
    pub missing: Sums,
    /// How long before the kill the earliest of them ended.
    pub missing_since_ms: f64,
    /// Records whose tokens weir counted itself, because the answer broke.
    pub counted: u64,
    /// Records that the second process took over from the journal.
    pub recovered: f64,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Runs the load, kills weir halfway, starts it again and compares.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let workspace = settings.workspace()?;
    let records = plan.requests.to_string();
    let mut flags = vec!["--tokens", "4..24", "--ttft", "2ms", "--records-max", &records];
    flags.extend(FAULTS.iter().flat_map(|fault| ["--fault", fault]));
    let upstreams = [
        Upstream::start(&workspace, "one", &flags, &[])?,
        Upstream::start(&workspace, "two", &flags, &[])?,
    ];
    let config = config(&upstreams, &workspace.file("ledger.db"), plan);
    let mut weir = Weir::start(settings, &workspace, &config, false, &[])?;
    let mix = Arc::new(Mix::new(&shapes(), &weir.address.to_string(), None)?);
    let load = Load {
        pace: Pace::Open { per_second: plan.rate },
        duration: Duration::from_secs_f64(plan.requests as f64 / plan.rate),
        connections: plan.connections,
        progress: true,
        ..Load::new(weir.address, mix)
    };
    let running = load.start();
    std::thread::sleep(load.duration / 2);
    let killed_us = unix_us();
    weir.child.signal(Signal::KILL).map_err(|error| format!("SIGKILL: {error}"))?;
    weir.restart()?;
    let summary = running.finish();
    settled(&weir)?;
    let recovered = weir.metrics()?.sum("weir_ledger_recovered_total", &[]);
    let lost = weir.metrics()?.sum("weir_ledger_lost_total", &[]);
    let rows = rows(settings, &weir, &workspace.file("ledger.jsonl"))?;
    let verified = ledger(settings, &weir, &["verify"])?;
    let books = books(&upstreams)?;
    let mut compared = compare(&rows, &books, killed_us);
    compared.checks.push(Check::new("`weir ledger verify` finds nothing", verified.0, verified.1));
    compared.checks.push(Check::new(
        "no record was lost for want of room",
        lost == 0.0,
        lost.to_string(),
    ));
    let window = (plan.sync + SLACK).as_secs_f64() * 1e3;
    compared.checks.push(Check::new(
        format!("what is missing ended in the {window:.0} ms before the kill"),
        compared.missing_since_ms <= window,
        format!("{:?}, the first {:.0} ms before it", compared.missing, compared.missing_since_ms),
    ));
    Ok(Findings {
        load: summary,
        records: rows.len() as u64,
        told: compared.told,
        booked: compared.booked,
        missing: compared.missing,
        missing_since_ms: compared.missing_since_ms,
        counted: compared.counted,
        recovered,
        checks: compared.checks,
    })
}

fn config(upstreams: &[Upstream; 2], database: &Path, plan: &Plan) -> Config {
    let pool = json!({
        "timeouts": { "connect": "500ms", "first_token": "2s", "inter_token": "2s", "total": "10s" },
        "retry": { "attempts": 3, "budget_percent": 100, "budget_min_per_second": 1000 },
        "breaker": { "consecutive_failures": 0, "error_percent": 0 },
    });
    let dollars = |nano: u64| nano as f64 / 1e3;
    Config::new()
        .upstream("one", upstreams[0].address)
        .upstream("two", upstreams[1].address)
        .pool("both", &["one", "two"], false, true, &pool)
        .with(
            "prices",
            json!({ "*": {
            "input": dollars(INPUT_NANO_USD), "output": dollars(OUTPUT_NANO_USD) } }),
        )
        .with("storage", json!({ "path": database }))
        .with("ledger", json!({ "sync": format!("{}ms", plan.sync.as_millis()) }))
}

/// Streams and whole answers of every dialect.
fn shapes() -> Vec<Shape> {
    let endpoints = [
        Endpoint::Chat,
        Endpoint::Messages,
        Endpoint::Generate,
        Endpoint::CohereChat,
        Endpoint::Responses,
    ];
    let mut shapes = Vec::new();
    for endpoint in endpoints {
        for stream in [false, true] {
            for body_bytes in [200, 900] {
                shapes.push(Shape { body_bytes, tokens: 16, ..Shape::new(endpoint, stream) });
            }
        }
    }
    shapes
}

fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Waits until the database has everything.
fn settled(weir: &Weir) -> Result<(), String> {
    let until = Instant::now() + SETTLE_WAIT;
    // What was settled last may not have been counted as waiting yet.
    std::thread::sleep(Duration::from_secs(2));
    loop {
        let waiting = weir.metrics()?.sum("weir_ledger_waiting", &[]);
        if waiting == 0.0 {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(format!("{waiting} records still wait for the database"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs `weir ledger …`. Whether it went well, and what it said.
fn ledger(settings: &Settings, weir: &Weir, arguments: &[&str]) -> Result<(bool, String), String> {
    let output = Command::new(settings.weir_program())
        .arg("ledger")
        .args(arguments)
        .arg("--config")
        .arg(&weir.file)
        .output()
        .map_err(|error| format!("weir ledger: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).trim().to_owned()))
}

fn rows(settings: &Settings, weir: &Weir, file: &Path) -> Result<Vec<Row>, String> {
    let name = file.display().to_string();
    let (well, said) = ledger(settings, weir, &["export", "--output", &name])?;
    if !well {
        return Err(format!("weir ledger export: {said}"));
    }
    let explain = |error: &dyn std::fmt::Display| format!("{name}: {error}");
    let lines = BufReader::new(std::fs::File::open(file).map_err(|error| explain(&error))?).lines();
    lines
        .map(|line| {
            let line = line.map_err(|error| explain(&error))?;
            serde_json::from_str(&line).map_err(|error| explain(&error))
        })
        .collect()
}

/// What the upstreams have written down, by request id: one request may have been tried several
/// times.
fn books(upstreams: &[Upstream; 2]) -> Result<HashMap<String, Vec<Record>>, String> {
    let mut books: HashMap<String, Vec<Record>> = HashMap::new();
    for upstream in upstreams {
        for record in upstream.records()? {
            books.entry(record.request_id.clone().unwrap_or_default()).or_default().push(record);
        }
    }
    Ok(books)
}

struct Compared {
    told: Sums,
    booked: Sums,
    missing: Sums,
    missing_since_ms: f64,
    counted: u64,
    checks: Vec<Check>,
}

fn compare(rows: &[Row], books: &HashMap<String, Vec<Record>>, killed_us: u64) -> Compared {
    let (mut told, mut booked, mut missing) = (Sums::default(), Sums::default(), Sums::default());
    let mut cost = 0;
    let (mut strangers, mut twice, mut counted) = (Vec::new(), Vec::new(), 0);
    let mut known: HashMap<&str, u64> = HashMap::new();
    for row in rows {
        let times = known.entry(&row.request_id).or_default();
        *times += 1;
        if *times > 1 {
            twice.push(row.request_id.as_str());
        }
        if row.source != "provider" {
            counted += u64::from(!row.source.is_empty());
            continue;
        }
        told.add(row.input_tokens, row.output_tokens);
        cost += row.cost_nano_usd.unwrap_or_default();
        let same = books.get(&row.request_id).into_iter().flatten().find(|record| {
            (record.prompt_tokens, record.completion_tokens)
                == (row.input_tokens, row.output_tokens)
        });
        match same {
            Some(record) => booked.add(record.prompt_tokens, record.completion_tokens),
            None => strangers.push(row.request_id.as_str()),
        }
    }
    let mut earliest = killed_us;
    for (id, records) in books {
        if known.contains_key(id.as_str()) {
            continue;
        }
        for record in records.iter().filter(|record| answered(record)) {
            missing.add(record.prompt_tokens, record.completion_tokens);
            let ended = record.duration_ms.unwrap_or_default() * 1e3;
            earliest = earliest.min(record.time_unix_us + ended as u64);
        }
    }
    let none = |what: &str, offenders: &[&str]| {
        let some: Vec<&str> = offenders.iter().take(5).copied().collect();
        Check::new(what, offenders.is_empty(), format!("{}: {some:?}", offenders.len()))
    };
    let checks = vec![
        none("no request is in the ledger twice", &twice),
        none("every record has the tokens of an upstream's books", &strangers),
        Check::new(
            "tokens and money of the ledger equal those of the books",
            told == booked && cost == booked.cost_nano_usd && told.answers > 0,
            format!("ledger {told:?}, its own cost {cost}; books {booked:?}"),
        ),
    ];
    let missing_since_ms = killed_us.saturating_sub(earliest) as f64 / 1e3;
    Compared { told, booked, missing, missing_since_ms, counted, checks }
}

/// Whether an upstream gave this answer to its end.
fn answered(record: &Record) -> bool {
    record.status == 200 && record.done && record.fault.is_none() && !record.client_gone
}

/// The figures in short.
pub fn render(findings: &Findings) -> String {
    format!(
        "{} requests were due, {} answered; {} records, {} taken over from the journal\n\
         told by the provider: {:?}\nthe same in its books: {:?}\ncounted by weir: {} records\n\
         not in the ledger: {:?}, ended up to {:.0} ms before the kill\n",
        findings.load.due,
        findings.load.ok,
        findings.records,
        findings.recovered,
        findings.told,
        findings.booked,
        findings.counted,
        findings.missing,
        findings.missing_since_ms,
    )
}
