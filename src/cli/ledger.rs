//! `weir ledger`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::{CONFIG_DEFAULT, fail};
use crate::clock;
use crate::config::render;
use crate::database::{Connection, Error, Fault, Place};
use crate::ledger::export::{Export, Form};
use crate::ledger::query::{Field, Filter, Question};
use crate::ledger::reconcile::{self, Line, Used};
use crate::ledger::{books, verify};
use crate::plan::Source;
use crate::telemetry::timestamp;

/// Records that `query` shows, unless told otherwise.
const LIMIT: u64 = 1000;

const EXPORTS: &str = "\
The export is pages of OpenAI's usage API (grouped by model), or CSV with the columns date, model,
input_tokens, output_tokens and, if it has them, requests, cached_input_tokens and cost_usd.";

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Show records, or sums of them, on standard output
    Query(QueryArgs),
    /// Write records, or sums of them, to a file
    Export(ExportArgs),
    /// Compare the ledger with what a provider says was used
    ///
    /// Exit status 1 means that something differs.
    #[command(after_help = EXPORTS)]
    Reconcile(ReconcileArgs),
    /// Check that sums equal their records and that journals can be read
    Verify(Storage),
}

#[derive(Debug, Args)]
pub(super) struct Storage {
    /// The configuration file, whose `storage` is meant [default: conf/weir.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Selection {
    #[command(flatten)]
    storage: Storage,
    /// From this moment on: 2026-11-22, 2026-11-22T10:00:00Z, or 24h (ago)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<u64>,
    /// Before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<u64>,
    /// Of these alone, such as tenant=acme or status=429; may be given several times
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = condition)]
    with: Vec<(Field, String)>,
    /// Sums instead of records, by these: hour, day, tenant, team, key, user, route, pool, endpoint,
    /// dialect, model, provider, target, status, error, source, prices
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = field)]
    group_by: Vec<Field>,
    /// One sum of everything
    #[arg(long, conflicts_with = "group_by")]
    total: bool,
    /// The form
    #[arg(long, value_enum, default_value_t = FormArg::Jsonl)]
    format: FormArg,
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    selection: Selection,
    /// Most records [default: 1000; sums are never cut]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    selection: Selection,
    /// The file; it appears when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    #[command(flatten)]
    storage: Storage,
    /// The provider's name in the configuration
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// Difference that counts as none, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    tolerance: f64,
    /// Show days and models that do not differ, too
    #[arg(long)]
    all: bool,
    /// What the provider says was used
    #[arg(value_name = "FILE")]
    export: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormArg {
    /// One JSON object a line
    Jsonl,
    /// A line of names, and one a row
    Csv,
}

impl From<FormArg> for Form {
    fn from(form: FormArg) -> Self {
        match form {
            FormArg::Jsonl => Form::Jsonl,
            FormArg::Csv => Form::Csv,
        }
    }
}

fn moment(text: &str) -> Result<u64, String> {
    if let Some(moment) = reconcile::moment(text) {
        return Ok(moment);
    }
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let hours = match unit {
        "h" => 1,
        "d" => 24,
        _ => 0,
    };
    match number.parse::<u64>() {
        Ok(number) if hours > 0 => {
            Ok(clock::unix_ms().saturating_sub(number.saturating_mul(hours * 3_600_000)))
        }
        _ => Err("write a day (2026-11-22), a moment (2026-11-22T10:00:00Z), or 24h or 7d".into()),
    }
}

fn field(name: &str) -> Result<Field, String> {
    Field::named(name).ok_or_else(|| {
        let names = Field::ALL.map(Field::as_str).join(", ");
        format!("there are {names}")
    })
}

fn condition(text: &str) -> Result<(Field, String), String> {
    let (name, value) = text.split_once('=').ok_or("write FIELD=VALUE, such as tenant=acme")?;
    let field = field(name)?;
    match field {
        Field::Hour | Field::Day => Err("write --from and --to for a time".into()),
        Field::Status if value.parse::<u16>().is_err() => Err("a status is a number".into()),
        _ => Ok((field, value.to_owned())),
    }
}

pub(super) fn run(command: &LedgerCommand) -> ExitCode {
    let done = match command {
        LedgerCommand::Query(args) => query(args),
        LedgerCommand::Export(args) => export(args),
        LedgerCommand::Reconcile(args) => reconcile(args),
        LedgerCommand::Verify(storage) => verify(storage),
    };
    done.unwrap_or_else(fail)
}

/// The database that a configuration names, and the folder of its journals.
fn open(storage: &Storage) -> Result<(Connection, Option<PathBuf>), String> {
    let path = storage.config.as_deref().unwrap_or(Path::new(CONFIG_DEFAULT));
    let source = Source::load(path).map_err(|found| render(&found).trim_end().to_owned())?;
    let Some(settings) = &source.file.storage else {
        return Err(format!("{} has no `storage`: nothing is kept", path.display()));
    };
    let place = Place::of(settings).map_err(|(field, why)| format!("storage{field}: {why}"))?;
    if place.path().is_some_and(|file| !file.exists()) {
        return Err(format!("{place} is not there yet: weir makes it when it starts"));
    }
    let journals = books::folder(&place, &source.file.ledger).ok();
    let connection = Connection::open(&place).map_err(|error| format!("{place}: {error}"))?;
    Ok((connection, journals))
}

fn query(args: &QueryArgs) -> Result<ExitCode, String> {
    let (mut connection, _) = open(&args.selection.storage)?;
    let limit = args.limit.unwrap_or(LIMIT);
    let question = question(&mut connection, &args.selection, Some(limit))?;
    let out = BufWriter::new(io::stdout().lock());
    match write(&mut connection, &question, args.selection.format.into(), out) {
        Ok((rows, _)) => {
            if rows == limit && args.limit.is_none() && sums(&args.selection).is_none() {
                eprintln!(
                    "the first {limit} records; --limit shows more, `weir ledger export` all"
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        // A reader that closed the pipe early is no failure of ours.
        Err(Written::Pipe) => Ok(ExitCode::SUCCESS),
        Err(Written::Failed(message)) => Err(message),
    }
}

fn export(args: &ExportArgs) -> Result<ExitCode, String> {
    let (mut connection, _) = open(&args.selection.storage)?;
    let question = question(&mut connection, &args.selection, None)?;
    let mut part = args.output.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let explain = |error: io::Error| format!("{}: {error}", args.output.display());
    let file = File::create(&part).map_err(explain)?;
    let form = args.selection.format.into();
    let written = write(&mut connection, &question, form, BufWriter::new(file));
    let rows = match written {
        Ok((rows, file)) => file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&part, &args.output))
            .map(|()| rows)
            .map_err(explain),
        Err(Written::Failed(message)) => Err(message),
        Err(Written::Pipe) => Err("the file was closed".into()),
    };
    if rows.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    eprintln!("{} rows in {}", rows?, args.output.display());
    Ok(ExitCode::SUCCESS)
}

fn sums(selection: &Selection) -> Option<&[Field]> {
    (selection.total || !selection.group_by.is_empty()).then_some(&selection.group_by)
}

fn question(
    connection: &mut Connection,
    selection: &Selection,
    limit: Option<u64>,
) -> Result<Question, String> {
    let filter =
        Filter { from_ms: selection.from, to_ms: selection.to, with: selection.with.clone() };
    match sums(selection) {
        None => Ok(Question::records(&filter, limit)),
        Some(by) => Question::sums(connection, &filter, by).map_err(|error| error.to_string()),
    }
}

enum Written {
    Pipe,
    Failed(String),
}

fn write<W: Write>(
    connection: &mut Connection,
    question: &Question,
    form: Form,
    out: W,
) -> Result<(u64, W), Written> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => Written::Pipe,
        _ => Written::Failed(error.to_string()),
    };
    let mut export = Export::begin(out, form, question.columns()).map_err(failed)?;
    let (mut rows, mut broken) = (0, None);
    let asked = question.ask(connection, &mut |cells| {
        rows += 1;
        export.row(cells).map_err(|error| {
            broken = Some(error);
            Error::new(Fault::Other, "the rest is not wanted")
        })
    });
    match (broken, asked) {
        (Some(error), _) => Err(failed(error)),
        (None, Err(error)) => Err(Written::Failed(error.to_string())),
        (None, Ok(())) => Ok((rows, export.end().map_err(failed)?)),
    }
}

fn reconcile(args: &ReconcileArgs) -> Result<ExitCode, String> {
    let name = args.export.display();
    let file = File::open(&args.export).map_err(|error| format!("{name}: {error}"))?;
    let export = reconcile::Export::read(file).map_err(|error| format!("{name}: {error}"))?;
    let period = export.period_ms().ok_or_else(|| format!("{name} says nothing"))?;
    let (mut connection, _) = open(&args.storage)?;
    let lines = export
        .beside(&mut connection, &args.provider, period)
        .map_err(|error| error.to_string())?;
    let tolerance_ppm = (args.tolerance.max(0.0) * 10_000.0).round() as u64;
    let differs = |line: &&Line| line.differs(export.priced, tolerance_ppm);
    let different = lines.iter().filter(differs).count();
    let mut out = io::stdout().lock();
    for line in lines.iter().filter(|line| args.all || differs(line)) {
        if writeln!(out, "{}", said(line)).is_err() {
            break;
        }
    }
    eprintln!("{different} of {} days and models differ", lines.len());
    Ok(if different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn said(line: &Line) -> serde_json::Value {
    let used = |used: &Used| {
        serde_json::json!({
            "requests": used.requests,
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
            "cached_input_tokens": used.cached_input_tokens,
            "cost_nano_usd": used.cost_nano_usd,
        })
    };
    let day = timestamp(line.day_ms);
    serde_json::json!({
        "day": String::from_utf8_lossy(&day[..10]),
        "model": line.model,
        "provider": used(&line.provider),
        "ledger": used(&line.ledger),
    })
}

fn verify(storage: &Storage) -> Result<ExitCode, String> {
    let (mut connection, journals) = open(storage)?;
    let verified =
        verify::verify(&mut connection, journals.as_deref()).map_err(|error| error.to_string())?;
    println!(
        "{} records; {} hours equal their records and {} days their hours, but for {} problems",
        verified.records,
        verified.hours,
        verified.days,
        verified.problems.len()
    );
    println!(
        "{} records wait in journals, {} batches of them are torn; {} journals are in use",
        verified.waiting, verified.torn, verified.held
    );
    for problem in &verified.problems {
        eprintln!("{problem}");
    }
    if io::stdout().is_terminal() && verified.problems.is_empty() {
        println!("The ledger adds up.");
    }
    Ok(if verified.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
