//! The ledger beside what a provider says was used.
//!
//! Two forms are read: the pages of `OpenAI`'s usage API (`GET /v1/organization/usage/completions`), and
//! CSV with a line of names. Both are added up by day (UTC) and model, which is the detail in which
//! providers tell it.

use std::collections::BTreeMap;
use std::io::Read;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::books::DAY_MS;
use super::query::{Cell, Field, Filter, Part, Question};
use crate::database::{Connection, Error};

/// The year 10000.
const MOMENT_MS_MAX: u64 = 253_402_300_800_000;
/// Days and models that an export may have.
const ROWS_MAX: usize = 1_000_000;

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Used {
    /// Requests.
    pub requests: u64,
    /// Tokens of prompts.
    pub input_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// Tokens of prompts that were read from a cache.
    pub cached_input_tokens: u64,
    /// What it cost, where the export says so.
    pub cost_nano_usd: u64,
}

impl Used {
    fn add(&mut self, other: &Used) {
        let add = |sum: &mut u64, part: u64| *sum = sum.saturating_add(part);
        add(&mut self.requests, other.requests);
        add(&mut self.input_tokens, other.input_tokens);
        add(&mut self.output_tokens, other.output_tokens);
        add(&mut self.cached_input_tokens, other.cached_input_tokens);
        add(&mut self.cost_nano_usd, other.cost_nano_usd);
    }
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reconciled {
    /// Days and models that were compared.
    pub compared: u64,
    /// How many of them differ.
    pub different: u64,
    /// Those that differ, or all where they are asked for.
    pub lines: Vec<Line>,
    /// There are more, which are not told.
    pub more: bool,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The provider's name in the configuration.
    pub provider: String,
    /// Difference that counts as none, in percent.
    pub tolerance_percent: f64,
    /// Lines that do not differ are told, too.
    pub all: bool,
    /// So many lines at most.
    pub lines_max: usize,
}

/// What a provider says was used, by day and model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    rows: BTreeMap<(u64, String), Used>,
    /// It says what things cost.
    pub priced: bool,
}

/// A day and model of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Line {
    /// The day, in UTC.
    #[serde(rename = "day", serialize_with = "day")]
    #[schemars(with = "String")]
    pub day_ms: u64,
    /// The model.
    pub model: String,
    /// What the provider says.
    pub provider: Used,
    /// What the ledger says.
    pub ledger: Used,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn day<S: Serializer>(ms: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&String::from_utf8_lossy(&crate::telemetry::timestamp(*ms)[..10]))
}

impl Line {
    /// Whether tokens differ, and cost where both tell it, by more than so many parts of a million.
    pub fn differs(&self, priced: bool, tolerance_ppm: u64) -> bool {
        let apart = |theirs: u64, ours: u64| {
            let more = u128::from(theirs.abs_diff(ours)) * 1_000_000;
            more > u128::from(theirs.max(ours)) * u128::from(tolerance_ppm)
        };
        let (theirs, ours) = (&self.provider, &self.ledger);
        apart(theirs.input_tokens, ours.input_tokens)
            || apart(theirs.output_tokens, ours.output_tokens)
            || (priced && apart(theirs.cost_nano_usd, ours.cost_nano_usd))
    }
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    start_time: u64,
    results: Vec<Tally>,
}

#[derive(Deserialize)]
struct Tally {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    input_cached_tokens: u64,
    #[serde(default)]
    num_model_requests: u64,
}

impl Export {
    /// Reads an export.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the line where there is one.
    pub fn read(source: impl Read) -> Result<Self, String> {
        let mut source = std::io::BufReader::new(source);
        let first = std::io::BufRead::fill_buf(&mut source).map_err(|error| error.to_string())?;
        let json = first.trim_ascii_start().starts_with(b"{");
        if json { Self::read_pages(source) } else { Self::read_csv(source) }
    }

    /// One page after the other, as they were answered.
    fn read_pages(source: impl Read) -> Result<Self, String> {
        let mut export = Self::default();
        for page in serde_json::Deserializer::from_reader(source).into_iter::<Page>() {
            let page = page.map_err(|error| format!("no page of a usage API: {error}"))?;
            for bucket in page.data {
                for tally in bucket.results {
                    let model = tally.model.ok_or("no `model`: ask with group_by=model")?;
                    let used = Used {
                        requests: tally.num_model_requests,
                        input_tokens: tally.input_tokens,
                        output_tokens: tally.output_tokens,
                        cached_input_tokens: tally.input_cached_tokens,
                        cost_nano_usd: 0,
                    };
                    let time_ms = of_seconds(bucket.start_time);
                    export.add(time_ms.ok_or("`start_time` is no moment")?, model, &used)?;
                }
            }
        }
        Ok(export)
    }

    fn read_csv(source: impl Read) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(source);
        let names = reader.headers().map_err(|error| error.to_string())?.clone();
        let column = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.trim()));
        let needed = |wanted: &[&str]| {
            column(wanted).ok_or_else(|| format!("there is no column `{}`", wanted[0]))
        };
        let time = needed(&["date", "day", "start", "start_time"])?;
        let model = needed(&["model"])?;
        let input = needed(&["input_tokens", "n_context_tokens_total", "prompt_tokens"])?;
        let output = needed(&["output_tokens", "n_generated_tokens_total", "completion_tokens"])?;
        let requests = column(&["requests", "num_model_requests", "n_requests"]);
        let cached = column(&["cached_input_tokens", "input_cached_tokens"]);
        let cost = column(&["cost_usd"]);
        let mut export = Self { priced: cost.is_some(), ..Self::default() };
        for row in reader.records() {
            let row = row.map_err(|error| error.to_string())?;
            let line = row.position().map_or(0, csv::Position::line);
            let text = |at: usize| row.get(at).unwrap_or_default().trim();
            let number = |at: Option<usize>| match at.map_or("", text) {
                "" => Ok(0),
                digits => digits
                    .parse::<u64>()
                    .map_err(|_| format!("line {line}: `{digits}` is not a whole number")),
            };
            let day_ms = moment(text(time))
                .ok_or_else(|| format!("line {line}: `{}` is not a day", text(time)))?;
            let used = Used {
                requests: number(requests)?,
                input_tokens: number(Some(input))?,
                output_tokens: number(Some(output))?,
                cached_input_tokens: number(cached)?,
                cost_nano_usd: match cost.map_or("", text) {
                    "" => 0,
                    dollars => nano(dollars)
                        .ok_or_else(|| format!("line {line}: `{dollars}` is not an amount"))?,
                },
            };
            export.add(day_ms, text(model).to_owned(), &used)?;
        }
        Ok(export)
    }

    fn add(&mut self, time_ms: u64, model: String, used: &Used) -> Result<(), String> {
        if self.rows.len() >= ROWS_MAX {
            return Err(format!("more than {ROWS_MAX} days and models"));
        }
        self.rows.entry((time_ms - time_ms % DAY_MS, model)).or_default().add(used);
        Ok(())
    }

    /// From the first of its days to the end of its last.
    pub fn period_ms(&self) -> Option<(u64, u64)> {
        let (first, _) = self.rows.keys().next()?;
        let (last, _) = self.rows.keys().next_back()?;
        Some((*first, last + DAY_MS))
    }

    /// Compares it with the ledger.
    pub fn reconcile(
        &self,
        connection: &mut Connection,
        comparison: &Comparison,
    ) -> Result<Reconciled, Error> {
        let Some(period_ms) = self.period_ms() else { return Ok(Reconciled::default()) };
        let lines = self.beside(connection, &comparison.provider, period_ms)?;
        // As in other casts of a float: what does not fit is as large as fits.
        let tolerance_ppm = (comparison.tolerance_percent.max(0.0) * 10_000.0).round() as u64;
        let compared = lines.len() as u64;
        let (mut different, mut more, mut told) = (0, false, Vec::new());
        for line in lines {
            let differs = line.differs(self.priced, tolerance_ppm);
            different += u64::from(differs);
            if (differs || comparison.all) && told.len() < comparison.lines_max {
                told.push(line);
            } else if differs || comparison.all {
                more = true;
            }
        }
        Ok(Reconciled { compared, different, lines: told, more })
    }

    /// Puts it beside the ledger: every day and model that either has.
    pub fn beside(
        &self,
        connection: &mut Connection,
        provider: &str,
        period_ms: (u64, u64),
    ) -> Result<Vec<Line>, Error> {
        let filter = Filter {
            from_ms: Some(period_ms.0),
            to_ms: Some(period_ms.1),
            with: vec![(Field::Provider, provider.to_owned())],
        };
        let mut lines: Vec<Line> = self
            .rows
            .iter()
            .map(|((day_ms, model), used)| Line {
                day_ms: *day_ms,
                model: model.clone(),
                provider: *used,
                ledger: Used::default(),
            })
            .collect();
        let by = [Field::Day, Field::Model];
        let question = Question::sums(connection, &filter, &by, Part::default())?;
        question.ask(connection, &mut |cells| {
            let Some((day_ms, model, used)) = ours(cells) else { return Ok(()) };
            let of_day = |line: &&mut Line| line.day_ms == day_ms;
            let same = lines.iter_mut().filter(of_day).find(|line| same_model(&line.model, &model));
            match same {
                Some(line) => line.ledger.add(&used),
                // What came to nothing has neither model nor tokens.
                None if used.input_tokens == 0 && used.output_tokens == 0 => {}
                None => {
                    lines.push(Line { day_ms, model, provider: Used::default(), ledger: used });
                }
            }
            Ok(())
        })?;
        lines.sort_by(|a, b| (a.day_ms, &a.model).cmp(&(b.day_ms, &b.model)));
        Ok(lines)
    }
}

fn ours(cells: &[Cell]) -> Option<(u64, String, Used)> {
    let number = |at: usize| match cells.get(at) {
        Some(Cell::Number(number)) => *number as u64,
        _ => 0,
    };
    let Some(Cell::Text(model)) = cells.get(1) else { return None };
    // Behind the day and the model stand the sums.
    let used = Used {
        requests: number(2),
        input_tokens: number(4),
        output_tokens: number(5),
        cached_input_tokens: number(6),
        cost_nano_usd: number(12),
    };
    Some((number(0), model.clone(), used))
}

/// The same name, or one with the date of its release.
fn same_model(theirs: &str, ours: &str) -> bool {
    let released = |long: &str, short: &str| {
        long.strip_prefix(short).is_some_and(|rest| {
            let digits = rest.bytes().filter(u8::is_ascii_digit).count();
            rest.starts_with('-')
                && digits >= 4
                && rest.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
        })
    };
    theirs == ours || released(theirs, ours) || released(ours, theirs)
}

/// A day (`2026-11-22`), a moment (RFC 3339), or seconds since 1970.
pub fn moment(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return of_seconds(seconds);
    }
    let timestamp = if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        timestamp
    } else {
        let day: jiff::civil::Date = text.parse().ok()?;
        day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()
    };
    u64::try_from(timestamp.as_millisecond()).ok().filter(|ms| *ms < MOMENT_MS_MAX)
}

fn of_seconds(seconds: u64) -> Option<u64> {
    seconds.checked_mul(1000).filter(|ms| *ms < MOMENT_MS_MAX)
}

/// Dollars with up to nine decimals, exactly.
fn nano(dollars: &str) -> Option<u64> {
    let (whole, fraction) = dollars.split_once('.').unwrap_or((dollars, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return dollars
            .parse::<f64>()
            .ok()
            .filter(|d| (0.0..1e9).contains(d))
            .map(|d| (d * 1e9).round() as u64);
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_usage_api() {
        let page = r#"{"object": "page", "data": [{"object": "bucket", "start_time": 1730419200,
            "end_time": 1730505600, "results": [
              {"object": "organization.usage.completions.result", "input_tokens": 1000,
               "output_tokens": 500, "input_cached_tokens": 800, "num_model_requests": 5,
               "model": "gpt-4o-mini-2024-07-18", "project_id": null},
              {"input_tokens": 1, "output_tokens": 2, "num_model_requests": 1, "model": "o3"}]}],
            "has_more": false, "next_page": null}"#;
        let export = Export::read(format!("{page}\n{page}").as_bytes()).expect("read");
        assert_eq!(export.period_ms(), Some((1_730_419_200_000, 1_730_505_600_000)));
        let used = export.rows[&(1_730_419_200_000, "gpt-4o-mini-2024-07-18".into())];
        assert_eq!((used.requests, used.input_tokens, used.cached_input_tokens), (10, 2000, 1600));
        assert!(Export::read(&b"{\"data\": 1}"[..]).is_err());
    }

    #[test]
    fn csv_with_the_documented_columns() {
        let text = "date,model,requests,input_tokens,output_tokens,cost_usd\n\
                    2024-11-01,gpt-4o,2,30,40,0.000000001\n\
                    2024-11-01T23:59:59Z,gpt-4o,1,1,1,1.5\n";
        let export = Export::read(text.as_bytes()).expect("read");
        let used = export.rows[&(1_730_419_200_000, "gpt-4o".into())];
        assert_eq!((used.requests, used.output_tokens), (3, 41));
        assert_eq!((used.cost_nano_usd, export.priced), (1_500_000_001, true));
        for (wrong, why) in [
            ("model,input_tokens,output_tokens\n", "no column `date`"),
            ("date,model,input_tokens,output_tokens\n2024-11-01,m,x,1\n", "line 2: `x`"),
            ("date,model,input_tokens,output_tokens\nyesterday,m,1,1\n", "line 2: `yesterday`"),
        ] {
            let error = Export::read(wrong.as_bytes()).expect_err("wrong");
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_release_is_the_same_model() {
        assert!(same_model("gpt-4o-2024-11-20", "gpt-4o"));
        assert!(same_model("gpt-4o", "gpt-4o-20241120"));
        assert!(!same_model("gpt-4o-mini", "gpt-4o"));
        assert!(!same_model("gpt-4", "gpt-4o"));
    }

    #[test]
    fn a_difference_within_the_tolerance_is_none() {
        let used = |tokens| Used { input_tokens: tokens, ..Used::default() };
        let (provider, ledger) = (used(1_000_000), used(999_000));
        let line = Line { day_ms: 0, model: "m".into(), provider, ledger };
        assert!(line.differs(false, 0) && line.differs(false, 999) && !line.differs(false, 1000));
    }
}
