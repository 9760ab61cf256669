//! Whether the ledger adds up.

use std::path::{Path, PathBuf};

use super::books::{self, DAYS_FROM, HOURS_FROM, RECORDS_FROM, SUMS, kept_from};
use crate::database::{Connection, Engine, Error, Value};

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records in the database.
    pub records: u64,
    /// Hours whose sums were compared with their records.
    pub hours: u64,
    /// Days whose sums were compared with their hours.
    pub days: u64,
    /// Records that wait in journals.
    pub waiting: u64,
    /// Batches of journals that were not written to their end.
    pub torn: u64,
    /// Journals that a running process holds, which were not read.
    pub held: u64,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// Most problems that are told one by one.
const PROBLEMS_MAX: usize = 20;

/// Compares sums with what they are sums of, and reads the journals that nobody holds.
pub fn verify(connection: &mut Connection, journals: Option<&Path>) -> Result<Verified, Error> {
    let mut verified = Verified::default();
    if connection.engine() == Engine::Sqlite {
        connection.query("PRAGMA quick_check", &[], &mut |row| {
            let said = row.text(0)?;
            if said != "ok" {
                verified.problem(format!("the file is damaged: {said}"));
            }
            Ok(())
        })?;
    }
    // One moment for all: a running weir goes on entering records.
    connection.batch(match connection.engine() {
        Engine::Sqlite => "BEGIN",
        Engine::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    })?;
    let compared = compare_all(connection, &mut verified);
    connection.batch("ROLLBACK")?;
    compared?;
    if let Some(root) = journals {
        read_journals(connection, root, &mut verified)?;
    }
    Ok(verified)
}

fn compare_all(connection: &mut Connection, verified: &mut Verified) -> Result<(), Error> {
    let sql = "SELECT COUNT(*) FROM ledger_rows";
    let records = connection.first(sql, &[], |row| row.int(0))?;
    verified.records = records.unwrap_or_default() as u64;
    let from_records = kept_from(connection, RECORDS_FROM)?;
    let from_hours = kept_from(connection, HOURS_FROM)?;
    let record_sums = [
        "1",
        "r.attempts",
        "r.input_tokens",
        "r.output_tokens",
        "r.cached_input_tokens",
        "r.cache_creation_5m_tokens",
        "r.cache_creation_1h_tokens",
        "r.reasoning_tokens",
        "r.audio_input_tokens",
        "r.audio_output_tokens",
        "COALESCE(r.cost_nano_usd, 0)",
        "CASE WHEN r.cost_nano_usd IS NULL AND d.source <> '' THEN 1 ELSE 0 END",
        "r.duration_us",
    ];
    let hours = Comparison {
        what: "hour",
        table: "ledger_hours",
        parts: "ledger_rows r JOIN ledger_dims d ON d.number = r.dims",
        at: "r.time_ms - r.time_ms % 3600000",
        time: "r.time_ms",
        sums: record_sums.map(str::to_owned),
    };
    verified.hours = compare(connection, &hours, from_records.max(from_hours), verified)?;
    let days = Comparison {
        what: "day",
        table: "ledger_days",
        parts: "ledger_hours h",
        at: "h.from_ms - h.from_ms % 86400000",
        time: "h.from_ms",
        sums: SUMS.map(|sum| format!("h.{sum}")),
    };
    let from_days = kept_from(connection, DAYS_FROM)?;
    verified.days = compare(connection, &days, from_hours.max(from_days), verified)?;
    Ok(())
}

struct Comparison {
    what: &'static str,
    table: &'static str,
    parts: &'static str,
    at: &'static str,
    time: &'static str,
    sums: [String; SUMS.len()],
}

/// Both sides in the order of time, one row a period; a period that only one side has is wrong.
fn compare(
    connection: &mut Connection,
    comparison: &Comparison,
    from_ms: u64,
    verified: &mut Verified,
) -> Result<u64, Error> {
    let Comparison { what, table, parts, at, time, sums } = comparison;
    let of_parts: Vec<String> = sums
        .iter()
        .zip(SUMS)
        .map(|(sum, name)| format!("CAST(SUM({sum}) AS BIGINT) AS {name}"))
        .collect();
    let of_table: Vec<String> =
        SUMS.iter().map(|sum| format!("CAST(SUM(t.{sum}) AS BIGINT) AS {sum}")).collect();
    let differs: Vec<String> =
        SUMS.iter().map(|sum| format!("COALESCE(a.{sum}, 0) <> COALESCE(b.{sum}, 0)")).collect();
    let sql = format!(
        "SELECT COALESCE(a.at_ms, b.at_ms), CASE WHEN {} THEN 1 ELSE 0 END, \
         COALESCE(a.requests, 0), COALESCE(b.requests, 0), COALESCE(a.cost_nano_usd, 0), \
         COALESCE(b.cost_nano_usd, 0) FROM \
         (SELECT t.from_ms AS at_ms, {} FROM {table} t WHERE t.from_ms >= CAST(?1 AS BIGINT) GROUP BY t.from_ms) a \
         FULL JOIN \
         (SELECT {at} AS at_ms, {} FROM {parts} WHERE {time} >= CAST(?1 AS BIGINT) GROUP BY {at}) b \
         ON a.at_ms = b.at_ms",
        differs.join(" OR "),
        of_table.join(", "),
        of_parts.join(", "),
    );
    let mut periods = 0;
    connection.query(&sql, &[Value::from(from_ms)], &mut |row| {
        periods += 1;
        if row.int(1)? != 0 {
            let at = crate::telemetry::timestamp(row.int(0)? as u64);
            verified.problem(format!(
                "the {what} from {} says {} requests and {} nano-dollars, its parts {} and {}",
                String::from_utf8_lossy(&at),
                row.int(2)?,
                row.int(4)?,
                row.int(3)?,
                row.int(5)?
            ));
        }
        Ok(())
    })?;
    Ok(periods)
}

fn read_journals(
    connection: &mut Connection,
    root: &Path,
    verified: &mut Verified,
) -> Result<(), Error> {
    let folders: Vec<PathBuf> = match books::journals(root) {
        Ok(folders) => folders,
        Err(error) => {
            verified.problem(format!("{}: {error}", root.display()));
            return Ok(());
        }
    };
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let before = books::applied(connection, &name)?;
        match books::waiting(&folder, before) {
            Ok(None) => verified.held += 1,
            Ok(Some((waiting, torn))) => {
                verified.waiting += waiting;
                verified.torn += torn;
            }
            Err(error) => verified.problem(format!("the journal {}: {error}", folder.display())),
        }
    }
    Ok(())
}

impl Verified {
    fn problem(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else if self.problems.len() == PROBLEMS_MAX {
            self.problems.push("and more".into());
        }
    }
}
