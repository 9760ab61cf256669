//! The matrix as a table of the documentation.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Outcome;
use super::ask::{FORMATS, Scenario};

/// How the cells of each pair came out, in the order of the scenarios.
#[derive(Default)]
pub struct Table(BTreeMap<(String, String), Vec<Outcome>>);

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/translation.md");
const BEGIN: &str = "<!-- matrix: written by `UPDATE_GOLDEN=1 cargo nextest run matrix` -->\n";
const END: &str = "<!-- end of matrix -->\n";

fn column(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Text => "text",
        Scenario::Stream => "stream",
        Scenario::Tool => "tool",
        Scenario::StreamTool => "tool, streamed",
        Scenario::ParallelTools => "two tools",
        Scenario::ToolResult => "results",
        Scenario::Image => "image",
        Scenario::Schema => "schema",
        Scenario::Thinking => "thinking",
        Scenario::StreamThinking => "thinking, streamed",
        Scenario::Length => "length",
        Scenario::StopSequence => "stop text",
        Scenario::Refusal => "refusal",
        Scenario::StreamRefusal => "refusal, streamed",
        Scenario::BadRequest => "400",
        Scenario::Unauthorized => "401",
        Scenario::RateLimited => "429",
        Scenario::ServerError => "500",
        Scenario::Overloaded => "overloaded",
    }
}

impl Table {
    pub fn enter(&mut self, client: &str, server: &str, outcome: Outcome) {
        self.0.entry((client.to_owned(), server.to_owned())).or_default().push(outcome);
    }

    /// Compares with what the documentation shows, or writes it there.
    pub fn compare(&self) {
        let mut text = String::from("| client | upstream |");
        for scenario in Scenario::ALL {
            let _ = write!(text, " {} |", column(scenario));
        }
        let _ = write!(text, "\n|---|---|{}", "---|".repeat(Scenario::ALL.len()));
        for client in FORMATS {
            for server in FORMATS {
                let _ = write!(text, "\n| {client} | {server} |");
                for outcome in &self.0[&(client.to_owned(), server.to_owned())] {
                    let word = match outcome {
                        Outcome::Passed => "✓",
                        Outcome::Refused => "refused",
                        Outcome::Absent => "–",
                    };
                    let _ = write!(text, " {word} |");
                }
            }
        }
        text.push('\n');
        let document = std::fs::read_to_string(FILE).expect("conf/translation.md");
        let (before, rest) = document.split_once(BEGIN).expect("the beginning of the matrix");
        let (shown, after) = rest.split_once(END).expect("the end of the matrix");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(FILE, format!("{before}{BEGIN}{text}{END}{after}")).expect("written");
            return;
        }
        assert_eq!(shown, text, "conf/translation.md differs (UPDATE_GOLDEN=1 rewrites it)");
    }
}
