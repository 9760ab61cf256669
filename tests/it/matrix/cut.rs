//! Streams that a limit ends: for the client's library a complete answer that reached its length.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use weir::meter::estimate_tokens;
use weir::tenant::hash_form;
use weir_loadtest::mock;

use super::ask::{FORMATS, Scenario, request};
use super::{events, finish, finished, read, send};
use crate::stand::Weir;

/// Tokens of the answer that each budget has room for.
const ROOM: u64 = 41;
/// Tokens that the upstreams would say.
const ANSWER: u32 = 400;

struct Cell {
    client: &'static str,
    server: &'static str,
    scenario: Scenario,
}

impl Cell {
    fn all() -> impl Iterator<Item = Cell> {
        let scenarios = [Scenario::Stream, Scenario::StreamThinking];
        FORMATS.into_iter().flat_map(move |client| {
            FORMATS
                .into_iter()
                .flat_map(move |server| scenarios.map(|scenario| Cell { client, server, scenario }))
        })
    }

    /// Names its tenant, its key and its request.
    fn name(&self) -> String {
        format!("{}-{}-{:?}", self.client, self.server, self.scenario)
    }

    fn request(&self) -> (String, Value) {
        request(self.client, self.scenario, &format!("{}-claude", self.server))
    }

    /// What the prompt holds, and so much for the answer.
    fn budget(&self) -> u64 {
        estimate_tokens(self.request().1.to_string().as_bytes()) + ROOM
    }
}

fn weir(base: &str) -> Weir {
    let (mut providers, mut pools, mut routes) = (String::new(), String::new(), String::new());
    for format in FORMATS {
        let (dialect, path) = match format {
            "chat_completions" | "responses" => ("openai", "/v1"),
            other => (other, ""),
        };
        let formats =
            if dialect == "openai" { format!(", formats: [{format}]") } else { String::new() };
        let _ = writeln!(
            providers,
            "  {format}: {{ dialect: {dialect}, base_url: '{base}{path}'{formats}, headers: {{ x-mock-itl-ms: '1' }} }}"
        );
        let _ = writeln!(pools, "  {format}: {{ targets: [{{ provider: {format} }}] }}");
        let _ = writeln!(routes, "  - {{ match: {{ model: '{format}*' }}, pool: {format} }}");
    }
    let tenants = Cell::all().fold(String::new(), |mut text, cell| {
        let (name, hash) = (cell.name(), hash_form(&cell.name()));
        let _ = writeln!(
            text,
            "  {name}: {{ limits: [{{ budgets: [{{ period: total, tokens: {} }}] }}], keys: [{{ name: k, hash: '{hash}' }}] }}",
            cell.budget()
        );
        text
    });
    Weir::start(&format!(
        "access: keys\nruntime: {{ threads: 1 }}\nadmission: {{ stream: 8, step: 4 }}\n\
         tenants:\n{tenants}providers:\n{providers}pools:\n{pools}routes:\n{routes}"
    ))
}

#[test]
fn a_stream_ends_where_its_budget_does_in_every_format() {
    let settings =
        mock::Settings { tokens: mock::Tokens::fixed(ANSWER), ..mock::Settings::default() };
    let upstream = mock::spawn(settings).expect("a simulated upstream");
    let weir = weir(&format!("http://{}", upstream.address()));
    let mut read_of = BTreeMap::new();
    for cell in Cell::all() {
        let (path, body) = cell.request();
        let name = cell.name();
        let headers = format!("authorization: Bearer {name}\r\nx-request-id: {name}");
        let (status, _, answer) = send(&weir, "POST", &path, &headers, Some(&body));
        let shown = String::from_utf8_lossy(&answer);
        assert_eq!(status, 200, "{name}: {shown}");
        let read = read::stream(cell.client, &events(cell.client, &answer));
        let length = finish(cell.client, cell.server, Scenario::Length);
        assert_eq!(read.finish, length, "{name}: {shown}");
        assert!(!read.text.is_empty() || !read.thought.is_empty(), "{name}: {shown}");
        let (_, output, _, _) = read.usage;
        assert!((ROOM - 8..=ROOM).contains(&output), "{name}: {output} of {ROOM}\n{shown}");
        // The upstream was told to stop.
        let theirs = finished(&upstream, &name);
        assert!(theirs.client_gone, "{name}: {theirs:?}");
        assert!(theirs.completion_tokens < u64::from(ANSWER), "{name}: {theirs:?}");
        read_of.insert(name, read);
    }
    crate::limits::wait_until_all_is_logged(&weir);
    let log = weir.access_log();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut cells = 0;
    for record in records {
        cells += 1;
        let name = record["request_id"].as_str().expect("an id");
        assert_eq!(record["cut_off"], json!(true), "{record}");
        assert!(record["error"].is_null() && record["attempts"][0]["outcome"] == "ok", "{record}");
        assert_eq!(record["output_tokens"], read_of[name].usage.1, "{record}");
    }
    assert_eq!(cells, Cell::all().count());
    let metrics = weir.metrics();
    let counted = metrics.lines().filter(|line| line.starts_with("weir_limit_cut_offs_total{"));
    assert_eq!(counted.filter(|line| line.ends_with("limit=\"token_budget\"} 1")).count(), cells);
}
