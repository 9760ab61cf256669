//! `weir limits`: what was used of the limits of a running weir.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::admin::{Asked, Where};
use super::fail;

/// What is shown.
#[derive(Debug, Args)]
pub(super) struct LimitsArgs {
    #[command(flatten)]
    to: Where,
    /// Whose: `tenant NAME`, `team TENANT/NAME`, `key TENANT/NAME`, `provider NAME`, or how that begins
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// As the admin API has it
    #[arg(long)]
    json: bool,
}

const COLUMNS: [&str; 8] =
    ["LIMITS OF", "FOR", "IN FLIGHT", "LIMIT", "USED", "OF", "FORECAST", "UNTIL"];
/// Columns of numbers stand to the right.
const RIGHT: [bool; 8] = [false, false, true, false, true, true, true, false];

/// Runs the command.
pub(super) fn limits(args: LimitsArgs) -> ExitCode {
    match Asked::get(&["limits"]).query("owner", args.owner).send(&args.to) {
        Err(why) => fail(why),
        Ok(states) if args.json => {
            println!("{states:#}");
            ExitCode::SUCCESS
        }
        Ok(states) => {
            print!("{}", table(&states));
            ExitCode::SUCCESS
        }
    }
}

fn table(states: &Value) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    let mut scopes: Vec<&Value> = states["scopes"].as_array().into_iter().flatten().collect();
    scopes.sort_by_key(|scope| (text(&scope["set"]), counted_for(scope)));
    for scope in scopes {
        let (set, counted_for) = (text(&scope["set"]), counted_for(scope));
        let in_flight = scope["in_flight"].to_string();
        let counters = scope["counters"].as_array().into_iter().flatten();
        let mut any = false;
        for counter in counters {
            any = true;
            rows.push(row([set.clone(), counted_for.clone(), in_flight.clone()], counter));
        }
        if !any {
            let none = || "-".to_owned();
            rows.push([set, counted_for, in_flight, none(), none(), none(), none(), none()]);
        }
    }
    let mut page = aligned(&rows);
    if states["more"] == Value::Bool(true) {
        page.push_str("There are more: ask for those of one owner (--owner).\n");
    }
    page
}

fn row([set, counted_for, in_flight]: [String; 3], counter: &Value) -> [String; 8] {
    let amount = |value: &Value| match (value.as_u64(), counter["unit"] == "nano_usd") {
        (None, _) => "-".to_owned(),
        (Some(nanos), true) => {
            format!("${}.{:04}", nanos / 1_000_000_000, nanos / 100_000 % 10_000)
        }
        (Some(number), false) => number.to_string(),
    };
    let of = match (&counter["most"], &counter["warn_at"]) {
        (Value::Null, Value::Null) => "-".to_owned(),
        (Value::Null, soft) => format!("{} (soft)", amount(soft)),
        (most, _) => amount(most),
    };
    let until = counter["period_end_unix_s"].as_i64();
    let until = until.and_then(|s| jiff::Timestamp::from_second(s).ok());
    let until = until.map_or_else(|| "-".to_owned(), |until| until.to_string());
    let (used, forecast) = (amount(&counter["used"]), amount(&counter["forecast"]));
    [set, counted_for, in_flight, text(&counter["limit"]), used, of, forecast, until]
}

/// The user, the model and what else it is counted by.
fn counted_for(scope: &Value) -> String {
    let named = scope["named"].as_array().into_iter().flatten().map(text);
    let parts = [text(&scope["user"]), text(&scope["model"])].into_iter().chain(named);
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

/// A text without what would break the table; clients choose some of them.
fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn aligned(rows: &[[String; 8]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut page = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).zip(RIGHT).map(|((cell, width), right)| {
            if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        page.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        page.push('\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_shows_every_counter() {
        let states = json!({ "more": true, "scopes": [
            { "set": "tenant acme [] []", "in_flight": 2, "counters": [
                { "limit": "dollars for the month", "unit": "nano_usd", "used": 1_250_000_000_u64,
                  "warn_at": 2_000_000_000_u64, "period_end_unix_s": 1_796_083_200, "forecast": 3_000_000_000_u64 },
                { "limit": "tokens in a minute", "unit": "tokens", "used": 7, "most": 100 },
            ] },
            { "set": "key acme/ci [User] []", "user": "a\nb", "named": ["x"], "in_flight": 0, "counters": [] },
        ] });
        let expected = "\
LIMITS OF              FOR     IN FLIGHT  LIMIT                     USED              OF  FORECAST  UNTIL
key acme/ci [User] []  a?b, x          0  -                            -               -         -  -
tenant acme [] []      -               2  dollars for the month  $1.2500  $2.0000 (soft)   $3.0000  2026-12-01T00:00:00Z
tenant acme [] []      -               2  tokens in a minute           7             100         -  -
There are more: ask for those of one owner (--owner).
";
        assert_eq!(table(&states), expected);
    }
}
