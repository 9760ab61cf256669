//! Results as tables for people and as JSON for programs.
//!
//! Every scenario returns a value that serialises; what is printed is made from the same value, so
//! that the table, the JSON and the HTML page of a run cannot disagree.

mod checks;
pub mod machine;
pub mod page;
pub mod plot;

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::drive::{Quantiles, Summary};
use crate::units::show_ns;

pub use checks::{checks_page, soak_page};

/// A table of text with aligned columns.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub fn new<const N: usize>(heads: [&str; N]) -> Self {
        Self { rows: vec![heads.iter().map(|&head| head.to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Rows of cells; the first are the heads.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Which columns hold figures.
    pub fn numeric(&self) -> Vec<bool> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let figure = |text: &str| {
            text.is_empty()
                || text == "–"
                || text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '≥'))
        };
        (0..columns)
            .map(|column| {
                let cells = || self.rows.iter().skip(1).filter_map(|row| row.get(column));
                cells().all(|cell| figure(cell)) && cells().any(|cell| !cell.is_empty())
            })
            .collect()
    }

    /// The table as text. Columns of numbers are aligned to the right.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell =
            |row: usize, column: usize| self.rows[row].get(column).map_or("", String::as_str);
        let rows = 0..self.rows.len();
        let numeric = self.numeric();
        let layout: Vec<(usize, bool)> = (0..columns)
            .map(|column| {
                let width = rows.clone().map(|row| cell(row, column).chars().count()).max();
                (width.unwrap_or(0), numeric[column])
            })
            .collect();
        let mut text = String::new();
        for row in rows {
            let mut line = String::new();
            for (column, &(width, numeric)) in layout.iter().enumerate() {
                let pad = " ".repeat(width.saturating_sub(cell(row, column).chars().count()));
                let (before, after) = if numeric { (pad.as_str(), "") } else { ("", pad.as_str()) };
                let _ = write!(line, "{before}{}{after}  ", cell(row, column));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The final table of a run of load.
pub fn summary(summary: &Summary) -> String {
    let mut counts = Table::new(["requests", "per second", "of"]);
    let mut count = |name: &str, number: u64, per_second: f64| {
        counts.row([name.into(), format!("{per_second:.0}"), number.to_string()]);
    };
    let per_second = |number: u64| number as f64 / summary.seconds.max(f64::MIN_POSITIVE);
    count("due", summary.due, per_second(summary.due));
    count("ok", summary.ok, summary.ok_per_second);
    count("failed", summary.failed, per_second(summary.failed));
    count("tokens", summary.tokens, summary.tokens_per_second);
    count("frames", summary.frames, summary.frames_per_second);
    count("streams complete", summary.streams_complete, per_second(summary.streams_complete));
    count("body bytes in", summary.body_bytes_in, per_second(summary.body_bytes_in));
    count("bytes out", summary.bytes_out, per_second(summary.bytes_out));
    count("connects", summary.connects, per_second(summary.connects));
    count("stale, sent again", summary.stale_resent, per_second(summary.stale_resent));
    let mut latencies =
        Table::new(["latency", "count", "mean", "p50", "p90", "p99", "p99.9", "max"]);
    for (name, quantiles) in [
        ("due to first token", &summary.ttft),
        ("frame to frame", &summary.frame_gap),
        ("due to end", &summary.total),
        ("sent to end", &summary.service),
    ] {
        latencies.row(quantile_row(name, quantiles));
    }
    let mut text = format!("{}\n{}", counts.render(), latencies.render());
    if !summary.errors.is_empty() {
        let mut errors = Table::new(["error", "count"]);
        for (kind, count) in &summary.errors {
            errors.row([kind.clone(), count.to_string()]);
        }
        let _ = write!(text, "\n{}", errors.render());
    }
    text
}

fn quantile_row(name: &str, quantiles: &Quantiles) -> [String; 8] {
    [
        name.into(),
        quantiles.count.to_string(),
        show_ns(quantiles.mean_ns),
        show_ns(quantiles.p50_ns),
        show_ns(quantiles.p90_ns),
        show_ns(quantiles.p99_ns),
        show_ns(quantiles.p999_ns),
        show_ns(quantiles.max_ns),
    ]
}

/// Writes a result as JSON.
pub fn write_json(path: &Path, result: &impl Serialize) -> Result<(), String> {
    let mut text = serde_json::to_string_pretty(result).map_err(|error| error.to_string())?;
    text.push('\n');
    std::fs::write(path, text)
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// The middle of some figures; 0 of none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_numbers_are_aligned_to_the_right() {
        let mut table = Table::new(["name", "count"]);
        table.row(["a".into(), "5".into()]);
        table.row(["long name".into(), "12345".into()]);
        assert_eq!(table.render(), "name       count\na              5\nlong name  12345\n");
    }

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
    }
}
