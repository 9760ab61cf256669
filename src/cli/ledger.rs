//! `weir ledger`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{CONFIG_DEFAULT, fail};
use crate::clock;
use crate::config::render;
use crate::database::{Connection, Place};
use crate::ledger::books::{self, MIGRATIONS};
use crate::ledger::export::{self, Export, Failed, Form};
use crate::ledger::query::{Field, Filter};
use crate::ledger::reconcile::{self, Comparison};
use crate::ledger::{select, verify};
use crate::plan::Source;

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
    /// All of this month (UTC), such as 2026-11
    #[arg(long, conflicts_with_all = ["from", "to"], value_parser = select::month)]
    month: Option<(u64, u64)>,
    /// Of these alone, such as tenant=acme or status=429; may be given several times
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = condition)]
    with: Vec<(Field, String)>,
    /// Sums instead of records, by these: hour, day, tenant, team, key, user, route, pool, endpoint,
    /// dialect, model, provider, target, status, error, source, prices
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = select::field)]
    group_by: Vec<Field>,
    /// One sum of everything
    #[arg(long, conflicts_with = "group_by")]
    total: bool,
    /// The form: jsonl, csv or parquet
    #[arg(long, value_name = "FORM", default_value = "jsonl")]
    format: Form,
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    selection: Selection,
    /// Most rows [default: 1000 records; all sums]
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

fn moment(text: &str) -> Result<u64, String> {
    select::moment(text, clock::unix_ms())
}

fn condition(text: &str) -> Result<(Field, String), String> {
    let (name, value) = text.split_once('=').ok_or("write FIELD=VALUE, such as tenant=acme")?;
    select::condition(select::field(name)?, value)
}

impl Selection {
    fn wanted(&self) -> select::Selection {
        let (from_ms, to_ms) =
            self.month.map_or((self.from, self.to), |(from, to)| (Some(from), Some(to)));
        let by = (self.total || !self.group_by.is_empty()).then(|| self.group_by.clone());
        select::Selection { filter: Filter { from_ms, to_ms, with: self.with.clone() }, by }
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
    let failed = |error| format!("{place}: {error}");
    let mut connection = Connection::open(&place).map_err(failed)?;
    if !MIGRATIONS.are_taken(&mut connection).map_err(failed)? {
        return Err(format!(
            "{place}: its tables are those of an older weir; this one brings them up to date when it \
             is started with it"
        ));
    }
    Ok((connection, journals))
}

fn query(args: &QueryArgs) -> Result<ExitCode, String> {
    let (mut connection, _) = open(&args.selection.storage)?;
    let wanted = args.selection.wanted();
    let limit = match wanted.by {
        None => Some(args.limit.unwrap_or(LIMIT)),
        Some(_) => args.limit,
    };
    let out = BufWriter::new(io::stdout());
    match write(&mut connection, &wanted, limit, args.selection.format, out) {
        Ok((rows, _)) => {
            if wanted.by.is_none() && args.limit.is_none() && rows == LIMIT {
                eprintln!(
                    "the first {LIMIT} records; --limit shows more, `weir ledger export` all"
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        // A reader that closed the pipe early is no failure of ours.
        Err(Failed::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        Err(failed) => Err(explained(&failed)),
    }
}

fn explained(failed: &Failed) -> String {
    match failed {
        Failed::Out(error) => error.to_string(),
        Failed::Database(error) => error.to_string(),
    }
}

fn export(args: &ExportArgs) -> Result<ExitCode, String> {
    let (mut connection, _) = open(&args.selection.storage)?;
    let mut part = args.output.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let explain = |error: io::Error| format!("{}: {error}", args.output.display());
    let file = File::create(&part).map_err(explain)?;
    let form = args.selection.format;
    let wanted = args.selection.wanted();
    let written = write(&mut connection, &wanted, None, form, BufWriter::new(file));
    let rows = match written {
        Ok((rows, file)) => file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&part, &args.output))
            .map(|()| rows)
            .map_err(explain),
        Err(failed) => Err(explained(&failed)),
    };
    if rows.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    eprintln!("{} rows in {}", rows?, args.output.display());
    Ok(ExitCode::SUCCESS)
}

fn write<W: Write + Send>(
    connection: &mut Connection,
    wanted: &select::Selection,
    limit: Option<u64>,
    form: Form,
    out: W,
) -> Result<(u64, W), Failed> {
    let mut export = Export::begin(out, form, &wanted.columns()).map_err(Failed::Out)?;
    let rows = export::copy(connection, wanted, limit, &mut export)?;
    Ok((rows, export.end().map_err(Failed::Out)?))
}

fn reconcile(args: &ReconcileArgs) -> Result<ExitCode, String> {
    let name = args.export.display();
    let file = File::open(&args.export).map_err(|error| format!("{name}: {error}"))?;
    let export = reconcile::Export::read(file).map_err(|error| format!("{name}: {error}"))?;
    if export.period_ms().is_none() {
        return Err(format!("{name} says nothing"));
    }
    let (mut connection, _) = open(&args.storage)?;
    let comparison = Comparison {
        provider: args.provider.clone(),
        tolerance_percent: args.tolerance,
        all: args.all,
        lines_max: usize::MAX,
    };
    let found =
        export.reconcile(&mut connection, &comparison).map_err(|error| error.to_string())?;
    let mut out = io::stdout().lock();
    for line in &found.lines {
        let line = serde_json::to_string(line).map_err(|error| error.to_string())?;
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    eprintln!("{} of {} days and models differ", found.different, found.compared);
    Ok(if found.different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
