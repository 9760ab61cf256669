//! `conf/metrics.md`, the reference of all metrics, is what a scrape says of itself.
//!
//! `UPDATE_GOLDEN=1` rewrites it.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use weir::dialect::{Endpoint, Usage};
use weir::error::Kind;
use weir::ledger::{AttemptOutcome, AttemptRecord, Ledger, Record};
use weir::telemetry::{
    Breaker, Format, HedgeResult, Live, LiveLedger, LivePool, LiveStorage, LiveTarget, Metrics,
};

const REFERENCE: &str = "conf/metrics.md";

const PREFACE: &str = "\
# Metrics

`GET /metrics` on the admin address, as Prometheus text or, with `Accept:
application/openmetrics-text`, as OpenMetrics. Names that begin with `gen_ai_` are those of
OpenTelemetry's semantic conventions for generative AI, with their buckets.

Label values are bounded. `gen_ai_request_model` and `model` are names that the configuration holds,
or that an upstream has answered for (at most 100 of those); everything else is `other`. A metric
has at most 2,000 series; what is beyond them is counted in one whose labels are all `other`. A label
without a value is left out.

An autoscaler wants `weir_tokens_in_flight` and `weir_event_loop_lag_seconds`. Worth an alert:
`weir_ready == 0`, `weir_config_last_reload_successful == 0`, `weir_storage_state == 2`,
`weir_ledger_state >= 2`, and a growing `weir_log_dropped_total`.
";

/// A process in which everything has happened once.
fn eventful() -> (Arc<Metrics>, Live) {
    let metrics = Metrics::new();
    let (ledger, _writer) = Ledger::start(Arc::clone(&metrics), "off").expect("a ledger");
    let attempt = AttemptRecord {
        target: "openai/gpt-4o".into(),
        outcome: AttemptOutcome::Ok,
        status: Some(200),
        hedge: false,
        duration: Duration::from_secs(1),
    };
    ledger.attempt("chat", &attempt);
    let usage = Usage { input: 10, output: 20, cached_input: 5, ..Usage::default() };
    let answered = Record {
        endpoint: Some(Endpoint::ChatCompletions),
        pool: Some("chat".into()),
        provider: Some("openai".into()),
        model_asked: Some("gpt-4o".into()),
        model_served: Some("gpt-4o".into()),
        status: 200,
        stream: true,
        attempts: vec![attempt.clone(), attempt].into(),
        usage,
        usage_source: "provider",
        cost_nano_usd: Some(1),
        ttft: Some(Duration::from_millis(100)),
        duration: Duration::from_secs(1),
        ..Record::default()
    };
    let broken = Record { error: Some(Kind::UpstreamCut), stream_broken: true, ..answered.clone() };
    ledger.count(&answered);
    ledger.enter(&answered);
    ledger.count(&broken);
    ledger.enter(&broken);
    metrics.hedge("chat", HedgeResult::Won);
    metrics.upstream_connection("openai", true);
    metrics.reload(true);
    metrics.sockets_driven_by("io_uring", None);
    metrics.log_dropped("access", 1);
    metrics.limit_refusal("acme", "tokens");
    metrics.limit_cut_off("acme", "tokens");
    metrics.policy_refusal("acme", "office-hours");
    metrics.budget_event("sent");
    metrics.upstream_full("openai", "tokens");
    metrics.budget_warning("acme", "budget");
    metrics.credential_renewed("vertex", true);
    metrics.issuer_read("corp", true);
    metrics.storage_error("locked");
    // A sampler takes its first sample after a while; the series is there at once.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let sampler = metrics.event_loop(0).run();
    runtime.expect("a runtime").block_on(async {
        let _ = tokio::time::timeout(Duration::from_millis(150), sampler).await;
    });
    let target = LiveTarget {
        id: "openai/gpt-4o".into(),
        in_flight: 0,
        breaker: Breaker::Closed,
        healthy: true,
        usable: true,
        ttft_ms: Some(1.0),
    };
    let pool = LivePool { name: "chat".into(), queued: 0, usable: true, targets: vec![target] };
    let storage = LiveStorage { state: "ok", reason: String::new(), since_unix_ms: 0 };
    let ledger = LiveLedger::default();
    let (storage, ledger) = (Some(storage), Some(ledger));
    (metrics, Live { pools: vec![pool], storage, ledger, ..Live::default() })
}

#[derive(Default)]
struct Described {
    help: String,
    kind: String,
    labels: Vec<String>,
    bounds: Vec<String>,
}

/// What a page of the Prometheus format says of each metric, in its order.
fn describe(page: &str) -> Vec<(String, Described)> {
    let mut order: Vec<String> = Vec::new();
    let mut metrics: BTreeMap<String, Described> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            order.push(name.to_owned());
            help.clone_into(&mut metrics.entry(name.to_owned()).or_default().help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            kind.clone_into(&mut metrics.entry(name.to_owned()).or_default().kind);
        } else if let Some(described) = order.last().and_then(|name| metrics.get_mut(name)) {
            let labels = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
            for pair in labels.map_or("", |(labels, _)| labels).split(',').filter(|p| !p.is_empty())
            {
                let (label, value) = pair.split_once('=').expect("a label");
                let into =
                    if label == "le" { &mut described.bounds } else { &mut described.labels };
                let entry = if label == "le" { value.trim_matches('"') } else { label };
                if entry != "+Inf" && !into.iter().any(|known| known == entry) {
                    into.push(entry.to_owned());
                }
            }
        }
    }
    order.into_iter().filter_map(|name| metrics.remove_entry(&name)).collect()
}

fn reference(page: &str) -> String {
    let mut text = format!("{PREFACE}\n| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    let described = describe(page);
    for (name, Described { help, kind, labels, .. }) in &described {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    text.push_str("\n## Buckets\n\n| histogram | upper bounds |\n|---|---|\n");
    for (name, Described { bounds, .. }) in described.iter().filter(|d| d.1.kind == "histogram") {
        let _ = writeln!(text, "| `{name}` | {} |", bounds.join(", "));
    }
    text
}

#[test]
fn the_reference_is_what_a_scrape_says() {
    let (metrics, live) = eventful();
    let actual = reference(&metrics.render(&live, Format::Prometheus));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(REFERENCE, &actual).expect("written");
    }
    let kept = fs::read_to_string(REFERENCE).unwrap_or_default();
    assert_eq!(kept, actual, "{REFERENCE} differs (UPDATE_GOLDEN=1 rewrites it)");
}
