use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::clock::Duration;
use crate::error::Kind;

fn page(metrics: &Arc<Metrics>) -> String {
    metrics.render(&Live::default(), Format::Prometheus)
}

/// The value of a sample, by its name and labels exactly as they are written.
fn sample(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn stream() -> Settled<'static> {
    let mut tokens = [0; TOKEN_KINDS.len()];
    tokens[TokenKind::Input as usize] = 100;
    tokens[TokenKind::Output as usize] = 41;
    Settled {
        endpoint: "chat_completions",
        operation: "chat",
        pool: "chat",
        provider: "openai",
        model_asked: "gpt-4o",
        model_served: "gpt-4o",
        status: 200,
        stream: true,
        duration: Duration::from_millis(2150),
        ttft: Some(Duration::from_millis(150)),
        tokens,
        usage_source: "provider",
        cost_nano_usd: 660_000,
        body_in_bytes: 600,
        body_out_bytes: 9000,
        ..Settled::default()
    }
}

const CHAT: &str =
    r#"gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o""#;

#[test]
fn a_stream_is_counted_under_the_names_of_the_conventions() {
    let metrics = Metrics::new();
    metrics.settled(&stream());
    let page = page(&metrics);
    let value = |name: &str| sample(&page, name).unwrap_or_else(|| panic!("no {name} in\n{page}"));
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
    close(value(&format!("gen_ai_client_operation_duration_seconds_sum{{{CHAT}}}")), 2.15);
    close(value(&format!("gen_ai_server_time_to_first_token_seconds_sum{{{CHAT}}}")), 0.15);
    // Two seconds for the forty tokens after the first.
    close(value(&format!("gen_ai_server_time_per_output_token_seconds_sum{{{CHAT}}}")), 0.05);
    for (kind, tokens) in [("input", 100.0), ("output", 41.0)] {
        let labels = format!("{{{CHAT},gen_ai_token_type=\"{kind}\"}}");
        close(value(&format!("gen_ai_client_token_usage_sum{labels}")), tokens);
    }
    let bucket = format!("gen_ai_server_time_to_first_token_seconds_bucket{{le=\"0.25\",{CHAT}}}");
    close(value(&bucket), 1.0);
    close(value(r#"weir_body_bytes_total{direction="out"}"#), 9000.0);
    close(value(r#"weir_cost_nano_usd_total{provider="openai",model="gpt-4o"}"#), 660_000.0);
}

#[test]
fn what_was_not_a_stream_has_no_time_to_first_token() {
    let metrics = Metrics::new();
    metrics.settled(&Settled { stream: false, ..stream() });
    let page = page(&metrics);
    assert!(!page.contains("time_to_first_token_seconds_sum"));
    assert!(!page.contains("time_per_output_token_seconds_sum"));
    assert!(page.contains("gen_ai_client_operation_duration_seconds_sum"));
}

#[test]
fn a_failure_says_its_kind() {
    let metrics = Metrics::new();
    metrics.settled(&Settled {
        error: Some(Kind::InterTokenTimeout),
        stream_broken: true,
        retries: 2,
        ..stream()
    });
    let page = page(&metrics);
    for name in [
        r#"weir_requests_total{endpoint="chat_completions",pool="chat",status="200",error="inter_token_timeout"}"#,
        r#"weir_stream_errors_total{pool="chat",error="inter_token_timeout"}"#,
    ] {
        assert_eq!(sample(&page, name), Some(1.0), "{name}");
    }
    assert_eq!(sample(&page, r#"weir_retries_total{pool="chat"}"#), Some(2.0));
    let failed = format!(
        "gen_ai_client_operation_duration_seconds_count{{{CHAT},error_type=\"inter_token_timeout\"}}"
    )
    .replace("gpt-4o", "other");
    assert_eq!(sample(&page, &failed), Some(1.0), "{failed} in\n{page}");
    assert!(!page.contains("time_per_output_token_seconds_sum"), "only successes are timed");
}

#[test]
fn a_request_that_reached_no_provider_is_only_a_request() {
    let metrics = Metrics::new();
    metrics.settled(&Settled {
        endpoint: "messages",
        status: 401,
        error: Some(Kind::Unauthorized),
        model_asked: "whatever a stranger writes",
        ..Settled::default()
    });
    let page = page(&metrics);
    let name = r#"weir_requests_total{endpoint="messages",status="401",error="unauthorized"}"#;
    assert_eq!(sample(&page, name), Some(1.0));
    assert!(!page.contains("stranger") && !page.contains("gen_ai_operation_name"));
}

#[test]
fn usage_that_nobody_counted_is_not_zero_tokens() {
    let metrics = Metrics::new();
    metrics.settled(&Settled { usage_source: "", ..stream() });
    let page = page(&metrics);
    assert!(!page.contains("gen_ai_client_token_usage_count"));
    assert!(!page.contains("weir_tokens_total{"));
}

#[test]
fn gauges_fall_back_when_their_guards_go() {
    let metrics = Metrics::new();
    let (request, connection) = (metrics.request_started(), metrics.connection_opened());
    assert_eq!((metrics.requests_in_flight(), metrics.connections_open()), (1, 1));
    std::thread::scope(|scope| {
        scope.spawn(move || drop((request, connection)));
    });
    assert_eq!((metrics.requests_in_flight(), metrics.connections_open()), (0, 0));
    assert_eq!(sample(&page(&metrics), "weir_connections_total"), Some(1.0));
}

#[test]
fn reloads_leave_a_trace() {
    let metrics = Metrics::new();
    metrics.reload(true);
    metrics.reload(false);
    let page = page(&metrics);
    assert_eq!(sample(&page, r#"weir_config_reloads_total{result="ok"}"#), Some(1.0));
    assert_eq!(sample(&page, r#"weir_config_reloads_total{result="error"}"#), Some(1.0));
    assert_eq!(sample(&page, "weir_config_last_reload_successful"), Some(0.0));
    let when = sample(&page, "weir_config_last_reload_success_timestamp_seconds");
    assert!(when.is_some_and(|when| when > 1.7e9));
}

#[test]
fn a_strangers_models_do_not_become_series() {
    let metrics = Metrics::new();
    let refused = Settled { status: 404, error: Some(Kind::UpstreamRejected), ..stream() };
    for n in 0..5000 {
        let name = format!("made-up-{n}");
        metrics.settled(&Settled { model_asked: &name, model_served: &name, ..refused });
        // Answered, but there are more of them than are told apart.
        metrics.settled(&Settled { model_asked: &name, model_served: &name, ..stream() });
    }
    let page = page(&metrics);
    let series = page.lines().filter(|line| line.starts_with("weir_tokens_total{")).count();
    assert!(series <= 2 * 101, "{series}");
}

/// Name, labels and value.
type Sample = (String, Vec<(String, String)>, f64);

/// Reads one sample line of the Prometheus text format; `None` when it breaks the format.
fn parse(line: &str) -> Option<Sample> {
    let (head, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = head.split_once('{') else {
        return Some((head.to_owned(), Vec::new(), value));
    };
    let mut rest = rest.strip_suffix('}')?;
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (label, quoted) = rest.split_once("=\"")?;
        let mut text = String::new();
        let mut chars = quoted.char_indices();
        rest = loop {
            match chars.next()? {
                (_, '\\') => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    _ => return None,
                }),
                (at, '"') => break &quoted[at + 1..],
                (_, '\n') => return None,
                (_, c) => text.push(c),
            }
        };
        labels.push((label.to_owned(), text));
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some((name.to_owned(), labels, value))
}

proptest! {
    #[test]
    fn whatever_stands_in_a_label_reads_back(pool in "\\PC{1,40}|[\"\\\\\n,{}= a]{1,10}") {
        let metrics = Metrics::new();
        metrics.hedge(&pool, HedgeResult::Won);
        let page = page(&metrics);
        let hedges = page.lines().find(|line| line.starts_with("weir_hedges_total{"));
        let (_, labels, value) = parse(hedges.expect("a sample")).expect("the format");
        prop_assert_eq!(&labels[0], &("pool".to_owned(), pool));
        prop_assert!((value - 1.0).abs() < f64::EPSILON);
    }
}

#[test]
fn both_formats_are_well_formed() {
    let metrics = Metrics::new();
    metrics.settled(&stream());
    metrics.attempt("chat", "openai/gpt-4o", "ok");
    metrics.reload(true);
    let live = Live {
        pools: vec![LivePool {
            name: "chat".into(),
            queued: 3,
            usable: true,
            targets: vec![LiveTarget {
                id: "openai/gpt-4o".into(),
                in_flight: 2,
                breaker: Breaker::Open,
                healthy: false,
                usable: false,
                ttft_ms: Some(12.5),
            }],
        }],
        ..Live::default()
    };
    let page = metrics.render(&live, Format::Prometheus);
    let mut announced = String::new();
    let mut seen = HashSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, _) = rest.split_once(' ').expect("a type");
            assert!(seen.insert(name.to_owned()), "{name} stands twice");
            name.clone_into(&mut announced);
        } else if !line.starts_with("# HELP ") {
            let (name, ..) = parse(line).unwrap_or_else(|| panic!("malformed: {line}"));
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known = name == announced || base == Some(&announced);
            assert!(known, "{name} stands below {announced}");
        }
    }
    assert_eq!(sample(&page, r#"weir_pool_queued{pool="chat"}"#), Some(3.0));
    let target = r#"{pool="chat",target="openai/gpt-4o"}"#;
    assert_eq!(sample(&page, &format!("weir_target_breaker_state{target}")), Some(2.0));
    assert_eq!(sample(&page, &format!("weir_target_ttft_seconds{target}")), Some(0.0125));
    let open = metrics.render(&live, Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n") && !page.contains("# EOF"));
    assert!(open.contains("# TYPE weir_attempts counter\n"));
    assert!(page.contains("# TYPE weir_attempts_total counter\n"));
    assert!(page.contains("# HELP weir_attempts_total "));
}

#[test]
fn draining_and_unusable_pools_are_reasons_not_to_be_ready() {
    let mut live = Live::default();
    assert_eq!(live.not_ready(), ["no pool is usable ()"]);
    live.pools.push(LivePool { name: "chat".into(), queued: 0, usable: true, targets: Vec::new() });
    assert!(live.not_ready().is_empty());
    live.draining = true;
    assert_eq!(live.not_ready(), ["draining"]);
}
