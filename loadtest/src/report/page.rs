//! One HTML page that needs nothing but itself: text, tables and plots.

use std::fmt::Write as _;
use std::path::Path;

use super::Table;
use super::machine::Machine;

/// Colours by class: `c0` to `c9` for series, readable on light and on dark.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5c6670; --paper: #ffffff; --edge: #d6dbe0;
  --good: #1a7f4b; --bad: #c0392b; --c0: #2f6fb5; --c1: #d9822b; --c2: #2a9d6f; --c3: #c2498d;
  --c4: #7a5bc4; --c5: #b08900; --c6: #1797a8; --c7: #8a6d5c; --c8: #6b7680; --c9: #d0503f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa5b0; --paper: #15191d;
  --edge: #353c44; --good: #4cc38a; --bad: #ff7b6b; --c0: #6aaaf0; --c1: #f0a657; --c2: #55c99b;
  --c3: #ea7dbb; --c4: #a78bf0; --c5: #d9b53c; --c6: #4cc6d8; --c7: #bd9c88; --c8: #a3aeb8;
  --c9: #f5806f; } }
@media print { :root { --ink: #000; --soft: #444; --paper: #fff; --edge: #bbb; color-scheme: light; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } body { margin: 0; }
  .plots { grid-template-columns: 1fr 1fr !important; } table { font-size: 10px; }
  th, td { padding: .2rem .35rem; } .scroll { overflow: visible; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.lead, .soft { color: var(--soft); } code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; white-space: pre-wrap; border: 1px solid var(--edge); border-radius: 6px; padding: .6rem .8rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .28rem .65rem; border-bottom: 1px solid var(--edge); text-align: left;
  vertical-align: top; } th { color: var(--soft); font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.held { color: var(--good); font-weight: 600; } .failed { color: var(--bad); font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(420px, 100%), 1fr)); gap: 1.2rem; }
figure { margin: 0; } figcaption { font-weight: 600; font-size: 14px; }
svg { width: 100%; height: auto; } .legend { margin: .1rem 0; font-size: 12px; }
.legend span { margin-right: .8rem; white-space: nowrap; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px;
  margin-right: .3rem; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.grid { stroke: var(--edge); stroke-width: 1; } .tick { fill: var(--soft); font-size: 11px; }
.name { fill: var(--ink); font-size: 12px; } .axis { fill: var(--soft); font-size: 12px; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .dashed { stroke-dasharray: 5 3; }
";

/// A page while it is written.
#[derive(Debug)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// An empty page: its title, and a sentence that says what it is about.
    pub fn new(title: &str, lead: &str) -> Self {
        let body = format!("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n", escape(title), escape(lead));
        Self { title: title.to_owned(), body }
    }

    /// Begins a section.
    pub fn section(&mut self, title: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escape(title));
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
    }

    /// Adds lines that a terminal showed or takes.
    pub fn code(&mut self, text: &str) {
        let _ = writeln!(self.body, "<pre>{}</pre>", escape(text));
    }

    /// Adds a list.
    pub fn list(&mut self, items: &[String]) {
        self.body.push_str("<ul>\n");
        for item in items {
            let _ = writeln!(self.body, "<li>{}</li>", escape(item));
        }
        self.body.push_str("</ul>\n");
    }

    /// Adds plots side by side; empty ones are left out.
    pub fn plots(&mut self, plots: &[String]) {
        let shown: String = plots.iter().map(String::as_str).collect();
        if !shown.is_empty() {
            let _ = writeln!(self.body, "<div class=\"plots\">\n{shown}</div>");
        }
    }

    /// Adds a table. Columns of figures are aligned to the right.
    pub fn table(&mut self, table: &Table) {
        let numeric = table.numeric();
        self.body.push_str("<div class=\"scroll\"><table>\n");
        for (index, row) in table.rows().iter().enumerate() {
            let tag = if index == 0 { "th" } else { "td" };
            self.body.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let class = match (cell.as_str(), numeric.get(column)) {
                    ("held", _) => " class=\"held\"",
                    ("FAILED", _) => " class=\"failed\"",
                    (_, Some(true)) => " class=\"number\"",
                    _ => "",
                };
                let _ = write!(self.body, "<{tag}{class}>{}</{tag}>", escape(cell));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</table></div>\n");
    }

    /// Adds what the figures were measured on, and how to repeat them.
    pub fn machine(&mut self, machine: &Machine) {
        self.section("Machine, and how to repeat this");
        let mut table = Table::new(["", "found"]);
        for (what, found) in machine.facts() {
            table.row([what.to_owned(), found]);
        }
        self.table(&table);
        self.code(&machine.command);
    }

    /// The finished page.
    pub fn render(&self) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
            <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
            <title>{}</title>\n<style>{STYLE}{}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
            escape(&self.title),
            colours(),
            self.body
        )
    }

    /// Writes the finished page.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        std::fs::write(path, self.render())
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }
}

/// What a class of colour means for each kind of mark.
fn colours() -> String {
    (0..10).fold(String::new(), |mut css, n| {
        let _ = writeln!(
            css,
            ".line.c{n} {{ stroke: var(--c{n}); }} .part.c{n} {{ fill: var(--c{n}); }} \
            i.c{n} {{ background: var(--c{n}); }}"
        );
        css
    })
}

/// Text as it may stand in HTML, also inside an attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Whether every tag is closed in turn, for tests: the pages are written to be well-formed XML.
#[cfg(test)]
pub fn balanced(html: &str) -> Result<(), String> {
    let mut open = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').ok_or("a tag without its end")? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap_or_default();
        if tag.starts_with('!') || tag.ends_with('/') {
            continue;
        }
        if !tag.starts_with('/') {
            open.push(name.to_owned());
        } else if open.pop().as_deref() != Some(name) {
            return Err(format!("</{name}> closes something else"));
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("never closed: {open:?}")) }
}

/// Whether nothing on a page comes from elsewhere, for tests.
#[cfg(test)]
pub fn self_contained(html: &str) -> bool {
    ["src=", "href=", "url(", "@import", "<script", "<link", "://"]
        .iter()
        .all(|mark| !html.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_well_formed_and_needs_nothing_else() {
        let mut page = Page::new("A & B", "what <it> is");
        page.section("One");
        page.text("\"quoted\"");
        let mut table = Table::new(["name", "count"]);
        table.row(["<b>".into(), "5".into()]);
        table.row(["held".into(), "6".into()]);
        page.table(&table);
        page.list(&["a".into()]);
        page.plots(&[String::new()]);
        page.machine(&Machine::here());
        let html = page.render();
        assert_eq!(balanced(&html), Ok(()));
        assert!(self_contained(&html));
        assert!(html.contains("&lt;b&gt;") && html.contains("A &amp; B"));
    }

    #[test]
    fn tags_that_do_not_match_are_seen() {
        assert!(balanced("<p><b></p></b>").is_err());
        assert!(balanced("<p>").is_err());
        assert!(balanced("<br/><p class=\"a\">x</p>").is_ok());
    }
}
