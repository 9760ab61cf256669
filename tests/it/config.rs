//! Malformed configurations and exactly what weir says about each; the configurations that ship;
//! damaged ones.
//!
//! `UPDATE_GOLDEN=1` rewrites the expected files; the diff is then read by a person.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use weir::config::{Diagnostic, render};
use weir::plan::{self, Environment, Source};

use super::properties;

/// Everything weir says about a file, by whichever step finds it.
fn diagnostics(path: &Path) -> Vec<Diagnostic> {
    Source::load(path)
        .and_then(|source| plan::compile(&source, &Environment::default(), None))
        .err()
        .unwrap_or_default()
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// Compares with a file that is kept in the repository, or rewrites it.
fn same_as_kept(kept: &Path, actual: &str) -> Result<(), String> {
    if updating() {
        fs::write(kept, actual).map_err(|error| format!("{}: {error}", kept.display()))?;
        return Ok(());
    }
    let expected = fs::read_to_string(kept).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    Err(format!(
        "{} differs (UPDATE_GOLDEN=1 rewrites it)\n--- expected\n{expected}--- actual\n{actual}",
        kept.display()
    ))
}

#[test]
fn every_malformed_configuration_gets_exactly_its_diagnostics() {
    let cases = files("tests/golden/config", "yaml");
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    let mut failures = Vec::new();
    for case in cases {
        let found = diagnostics(&case);
        assert!(!found.is_empty(), "{} is accepted", case.display());
        for diagnostic in &found {
            let text = diagnostic.to_string();
            assert!(!text.contains("sk-"), "a secret shows: {text}");
            assert!(!text.contains('\n'), "more than one line: {text}");
        }
        if let Err(failure) = same_as_kept(&case.with_extension("txt"), &render(&found)) {
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_default_configuration_is_valid_and_is_the_built_in_one() {
    let found = diagnostics(Path::new("conf/weir.yaml"));
    assert!(found.is_empty(), "{}", render(&found));
    let file = Source::load(Path::new("conf/weir.yaml")).expect("valid").file;
    assert_eq!(file, Source::builtin().expect("valid").file);
}

#[test]
fn the_schema_that_ships_is_the_one_that_is_derived() {
    let derived = serde_json::to_string_pretty(plan::schema()).expect("serialises") + "\n";
    same_as_kept(Path::new("conf/schema.json"), &derived).unwrap_or_else(|why| panic!("{why}"));
}

/// What an example may lack on the machine that tests it: credentials, certificates, folders.
const OF_THE_MACHINE: [&str; 3] = ["is not set", "cannot be read", "is not a directory"];

#[test]
fn every_example_is_valid_but_for_what_only_its_machine_has() {
    let examples = files("conf/examples", "yaml");
    assert!(examples.len() >= 4, "only {} examples", examples.len());
    for example in examples {
        let wrong: Vec<Diagnostic> = diagnostics(&example)
            .into_iter()
            .filter(|found| !OF_THE_MACHINE.iter().any(|part| found.message.contains(part)))
            .collect();
        assert!(wrong.is_empty(), "{}", render(&wrong));
    }
}

#[test]
fn the_corpus_of_the_fuzz_target_is_answered() {
    let corpus = fs::read_dir("tests/fuzz/corpus/config").expect("the corpus");
    for entry in corpus {
        properties::config(&fs::read(entry.expect("a readable entry").path()).expect("readable"));
    }
}

#[test]
fn every_beginning_of_the_default_configuration_is_answered() {
    let text = fs::read_to_string("conf/weir.yaml").expect("the default configuration");
    for (end, _) in text.char_indices().step_by(7) {
        properties::config(&text.as_bytes()[..end]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        properties::config(text.as_bytes());
    }

    #[test]
    fn anything_made_of_yaml_is_answered(text in r#"[a-c0-9:\-\[\]{}\n \t"'#&*!|>%@`,?~.]{0,120}"#) {
        properties::config(text.as_bytes());
    }

    #[test]
    fn a_damaged_configuration_is_answered(at in 0.0..1.0f64, cut in 0usize..6, put in ".{0,3}") {
        let text = include_str!("../../conf/weir.yaml");
        let chars: Vec<char> = text.chars().collect();
        let start = (at * chars.len() as f64) as usize;
        let end = (start + cut).min(chars.len());
        let damaged: String =
            chars[..start].iter().copied().chain(put.chars()).chain(chars[end..].iter().copied()).collect();
        properties::config(damaged.as_bytes());
    }
}
