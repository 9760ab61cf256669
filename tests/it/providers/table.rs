//! `conf/providers.md`: the table of the catalogue, written from it. `UPDATE_GOLDEN=1` rewrites it.

use std::fmt::Write as _;
use std::fs;

use weir::provider::{Catalogue, Kind};

const PAGE: &str = "conf/providers.md";
/// What stands before the table is written by hand.
const FROM_HERE: &str = "<!-- Written from conf/providers.yaml by a test. -->\n";

fn table() -> String {
    let mut text = String::from(
        "| kind | | speaks | address | authentication | left out, renamed, quirks of models |\n|---|---|---|---|---|---|\n",
    );
    for (name, kind) in Catalogue::builtin().iter() {
        let address = kind.base_url.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} | `{address}` | {} | {} |",
            kind.title,
            speaks(kind),
            words(kind.auth.iter().map(|auth| format!("`{}`", auth.as_str()))),
            parameters(kind),
        );
    }
    text
}

fn words(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn speaks(kind: &Kind) -> String {
    if kind.formats.is_empty() {
        return kind.dialect.to_string();
    }
    format!("{}: {}", kind.dialect, words(kind.formats.iter().map(ToString::to_string)))
}

fn parameters(kind: &Kind) -> String {
    let mut rules = Vec::new();
    for rule in &kind.parameters {
        let dropped = rule.drop.iter().map(|name| format!("`{name}`"));
        let renamed = rule.rename.iter().map(|(old, new)| format!("`{old}` → `{new}`"));
        let quirks = rule.quirks.iter().map(|quirk| format!("*{}*", quirk.as_str()));
        let mut said = words(dropped.chain(renamed).chain(quirks));
        if !rule.models.is_empty() {
            let models =
                words(rule.models.iter().map(|model| format!("`{}`", model.replace('|', "\\|"))));
            said = format!("{models}: {said}");
        }
        rules.push(said);
    }
    rules.join("; ")
}

#[test]
fn the_table_in_the_documentation_is_the_catalogue() {
    let page = fs::read_to_string(PAGE).expect("the page");
    let (written, kept) = page.split_once(FROM_HERE).expect("the mark");
    let table = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(PAGE, format!("{written}{FROM_HERE}{table}")).expect("written");
        return;
    }
    assert_eq!(kept, table, "UPDATE_GOLDEN=1 rewrites it");
}

/// The examples on the page are configurations that weir accepts.
#[test]
fn every_example_on_the_page_is_valid() {
    let page = fs::read_to_string(PAGE).expect("the page");
    let examples: Vec<&str> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```").map(|(example, _)| example))
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        let text = format!(
            "listeners: [{{ address: '127.0.0.1:0' }}]\naccess: open\n{example}\npools: {{ p: {{ targets: [{{ provider: simulated }}] }} }}\nroutes: [{{ pool: p }}]\n"
        )
        .replacen("providers:\n", "providers:\n  simulated: { dialect: openai, simulated: {} }\n", 1);
        let found = weir::plan::Source::parse("the page", &text).and_then(|source| {
            weir::plan::compile(&source, &weir::plan::Environment::default(), None)
        });
        let wrong: Vec<_> = found
            .err()
            .unwrap_or_default()
            .into_iter()
            .filter(|found| {
                !found.message.contains("is not set") && !found.message.contains("cannot be read")
            })
            .collect();
        assert!(wrong.is_empty(), "{}\n{text}", weir::config::render(&wrong));
    }
}
