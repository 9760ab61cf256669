//! Pages of scenarios: what had to hold, and memory over time.

use super::Table;
use super::machine::Machine;
use super::page::Page;
use super::plot::{Axes, Line, lines};
use crate::scenario::{Check, soak};

/// A page of checks, with the text that the terminal showed.
pub fn checks_page(title: &str, checks: &[Check], shown: &str) -> Page {
    let mut page = begin(title, checks);
    end(&mut page, shown);
    page
}

fn begin(title: &str, checks: &[Check]) -> Page {
    let held = checks.iter().filter(|check| check.held).count();
    let mut page = Page::new(title, &format!("{held} of {} checks held.", checks.len()));
    page.section("Checks");
    let mut table = Table::new(["what must hold", "", "found"]);
    for check in checks {
        let mark = if check.held { "held" } else { "FAILED" };
        table.row([check.what.clone(), mark.into(), check.found.clone()]);
    }
    page.table(&table);
    page
}

fn end(page: &mut Page, shown: &str) {
    if !shown.is_empty() {
        page.section("Figures");
        page.code(shown);
    }
    page.machine(&Machine::here());
}

/// A page of a soak run: checks, and how memory and descriptors went.
pub fn soak_page(findings: &soak::Findings, shown: &str) -> Page {
    let mut page = begin("weir: soak", &findings.checks);
    let line = |name: &str, of: &dyn Fn(&soak::Sample) -> f64| Line {
        name: name.to_owned(),
        points: findings.samples.iter().map(|sample| (sample.at_s, of(sample))).collect(),
    };
    let axes = |y| Axes { x: "seconds", y, log_x: false, log_y: false };
    page.section("Over time");
    page.plots(&[
        lines(
            "Resident memory",
            axes("MB"),
            &[line("weir", &|sample| sample.resident_bytes as f64 / 1e6)],
        ),
        lines(
            "Descriptors and requests in flight",
            axes("count"),
            &[
                line("descriptors", &|sample| sample.fds as f64),
                line("in flight", &|sample| sample.in_flight),
            ],
        ),
    ]);
    end(&mut page, shown);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::{balanced, self_contained};

    #[test]
    fn a_page_of_checks_shows_what_failed() {
        let checks = [Check::new("a < b", true, "1 < 2"), Check::new("c", false, "&")];
        let html = checks_page("t", &checks, "a table\n").render();
        assert_eq!(balanced(&html), Ok(()));
        assert!(self_contained(&html));
        assert!(html.contains("1 of 2 checks held") && html.contains("class=\"failed\""));
    }
}
