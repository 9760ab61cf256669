//! One scrape: every metric as text, in the order in which they stand here.

mod page;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use page::{Page, pairs};

use super::live::{Live, LiveLedger};
use super::metrics::Metrics;
use super::process::Process;
use super::settled::{Operation, TOKEN_KINDS, TOKEN_TOTALS};

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus 0.0.4.
    Prometheus,
}

impl Format {
    /// What to answer to an `Accept` header. Prometheus, unless `OpenMetrics` is asked for.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        }
    }

    /// The `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Metrics {
    /// Everything counted, everything live, and what the operating system says of the process.
    pub fn render(self: &Arc<Self>, live: &Live, format: Format) -> String {
        self.render_with(live, Process::read(), format)
    }

    fn render_with(self: &Arc<Self>, live: &Live, process: Process, format: Format) -> String {
        let scrape = Scrape { metrics: Arc::clone(self), live: live.clone(), process };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(scrape));
        let mut page = String::with_capacity(64 * 1024);
        // Writing to a string cannot fail.
        let _ = text::encode(&mut page, &registry);
        match format {
            Format::OpenMetrics => page,
            Format::Prometheus => prometheus(&page),
        }
    }
}

/// `OpenMetrics` text as Prometheus 0.0.4 text: there a counter's `_total` belongs to its name, and
/// there is no end mark.
fn prometheus(page: &str) -> String {
    let counters: HashSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(page.len() + 1024);
    for line in page.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                out.extend(["# ", what, " ", name, "_total ", rest]);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

struct Scrape {
    metrics: Arc<Metrics>,
    live: Live,
    process: Process,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.gen_ai(&mut page)?;
        self.requests(&mut page)?;
        self.usage(&mut page)?;
        self.upstreams(&mut page)?;
        self.live(&mut page)?;
        self.control(&mut page)?;
        self.storage(&mut page)?;
        self.process(&mut page)
    }
}

impl Scrape {
    fn gen_ai(&self, page: &mut Page<'_>) -> fmt::Result {
        let operations = &self.metrics.operations;
        let mut usage = page.metric(
            "gen_ai_client_token_usage",
            "Input and output tokens used by an operation",
            MetricType::Histogram,
        )?;
        for (labels, operation) in operations.read() {
            let histograms = [&operation.input_tokens, &operation.output_tokens];
            for (kind, histogram) in TOKEN_KINDS.iter().zip(histograms) {
                let mut labels = pairs(&labels);
                labels.push(("gen_ai_token_type", kind));
                usage.histogram(&labels, histogram)?;
            }
        }
        page.histograms(
            "gen_ai_client_operation_duration_seconds",
            "Duration of an operation, from the request's head to the end of the answer",
            &self.metrics.durations,
            |duration| duration,
        )?;
        page.histograms(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from a streaming request's head to its first token",
            operations,
            |operation: &Operation| &operation.first_token,
        )?;
        page.histograms(
            "gen_ai_server_time_per_output_token_seconds",
            "Mean time between the output tokens of a stream after the first",
            operations,
            |operation: &Operation| &operation.per_output_token,
        )
    }

    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        page.counters(
            "weir_requests",
            "Requests by the status that the client got and by what went wrong",
            &metrics.requests,
        )?;
        page.gauge(
            "weir_requests_in_flight",
            "Requests whose head has arrived and that are not settled",
            metrics.requests_in_flight.get(),
        )?;
        page.gauge(
            "weir_admitted_in_flight",
            "Requests that were admitted and hold tokens",
            metrics.admitted_in_flight.get(),
        )?;
        page.gauge(
            "weir_tokens_in_flight",
            "Tokens held by admitted requests",
            metrics.tokens_in_flight.get(),
        )?;
        page.gauge(
            "weir_cost_in_flight_nano_usd",
            "Money held by admitted requests under a limit on it, in billionths of a dollar",
            metrics.cost_in_flight.get(),
        )?;
        self.limits(page)?;
        page.counters(
            "weir_stream_errors",
            "Streams that broke after their first byte had reached the client",
            &metrics.stream_errors,
        )?;
        let mut bytes = page.metric(
            "weir_body_bytes",
            "Body bytes read from clients (in) and written to them (out)",
            MetricType::Counter,
        )?;
        bytes.counter(&[("direction", "in")], metrics.body_in_bytes.get())?;
        bytes.counter(&[("direction", "out")], metrics.body_out_bytes.get())?;
        page.counter("weir_connections", "Client connections", metrics.connections.get())?;
        page.gauge(
            "weir_connections_open",
            "Client connections that are open",
            metrics.connections_open.get(),
        )
    }

    fn limits(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        page.counters(
            "weir_limit_refusals",
            "Requests refused by a limit of a tenant or of one of its keys",
            &metrics.limit_refusals,
        )?;
        page.counters(
            "weir_policy_refusals",
            "Requests refused by a policy of a tenant, of one of its teams or of one of its keys",
            &metrics.policy_refusals,
        )?;
        page.counters(
            "weir_upstream_limit_passed_over",
            "Targets passed over because a limit of their provider had no room",
            &metrics.upstream_full,
        )?;
        page.counters(
            "weir_limit_cut_offs",
            "Streams ended because a limit had no room for more of them",
            &metrics.limit_cut_offs,
        )?;
        page.counters(
            "weir_budget_warnings",
            "Requests admitted although a soft budget is used up",
            &metrics.budget_warnings,
        )?;
        page.counters(
            "weir_budget_events",
            "Events of budgets that are used up: sent, failed, or dropped because too many waited",
            &metrics.budget_events,
        )?;
        page.gauge(
            "weir_limit_store_away",
            "1 while the store of shared limits is away",
            metrics.limit_store_away.load(Relaxed).cast_signed(),
        )?;
        page.gauge(
            "weir_limit_scopes",
            "Keys, tenants, users and models whose use is remembered for limits",
            metrics.limit_scopes.get(),
        )?;
        page.counter(
            "weir_limit_scopes_shared",
            "Requests of users or models for which there was no room, counted together",
            metrics.limit_scopes_shared.get(),
        )
    }

    fn usage(&self, page: &mut Page<'_>) -> fmt::Result {
        let series = self.metrics.tokens.read();
        let mut totals = page.metric(
            "weir_tokens",
            "Tokens of prompts (input) and answers (output), by who counted them",
            MetricType::Counter,
        )?;
        for (labels, kinds) in &series {
            for (kind, counter) in TOKEN_KINDS.iter().zip(kinds.iter()).take(TOKEN_TOTALS) {
                let mut labels = pairs(labels);
                labels.push(("type", kind));
                totals.counter(&labels, counter.get())?;
            }
        }
        let mut parts = page.metric(
            "weir_token_parts",
            "Tokens that are a part of weir_tokens_total: cached, reasoning, audio",
            MetricType::Counter,
        )?;
        for (labels, kinds) in &series {
            for (kind, counter) in TOKEN_KINDS.iter().zip(kinds.iter()).skip(TOKEN_TOTALS) {
                let mut labels = pairs(labels);
                labels.push(("type", kind));
                if counter.get() > 0 {
                    parts.counter(&labels, counter.get())?;
                }
            }
        }
        page.counters(
            "weir_cost_nano_usd",
            "What the tokens cost, in billionths of a dollar",
            &self.metrics.cost,
        )
    }

    fn upstreams(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        page.counters(
            "weir_attempts",
            "Attempts on targets by outcome: ok, cancelled, or the kind of error",
            &metrics.attempts,
        )?;
        page.counters("weir_retries", "Attempts beyond a request's first", &metrics.retries)?;
        page.counters("weir_hedges", "Hedged requests by result", &metrics.hedges)?;
        page.counters(
            "weir_translations",
            "Answered requests by the client's format and another one of the upstream",
            &metrics.translations,
        )?;
        page.counters(
            "weir_translation_dropped",
            "Members that the upstream or the other format does not know, by format of client and upstream",
            &metrics.translation_dropped,
        )?;
        page.counters(
            "weir_upstream_connections",
            "Connections used for attempts, newly made or reused",
            &metrics.upstream_connections,
        )
    }

    fn live(&self, page: &mut Page<'_>) -> fmt::Result {
        let live = &self.live;
        page.pools(
            "weir_pool_usable",
            "Whether the pool has a target that may be used now",
            live,
            |pool| i64::from(pool.usable),
        )?;
        page.pools("weir_pool_queued", "Requests waiting for a concurrency slot", live, |pool| {
            pool.queued as i64
        })?;
        page.targets("weir_target_in_flight", "Attempts running on the target", live, |target| {
            target.in_flight as i64
        })?;
        page.targets(
            "weir_target_breaker_state",
            "Circuit breaker: 0 closed, 1 half open, 2 open",
            live,
            |target| target.breaker.number(),
        )?;
        page.targets(
            "weir_target_healthy",
            "Whether the last health checks passed",
            live,
            |target| i64::from(target.healthy),
        )?;
        page.targets(
            "weir_target_usable",
            "Whether the target may be chosen now",
            live,
            |target| i64::from(target.usable),
        )?;
        let mut ttft = page.metric(
            "weir_target_ttft_seconds",
            "Decayed time to first token, as balancing sees it",
            MetricType::Gauge,
        )?;
        for pool in &live.pools {
            for target in &pool.targets {
                let Some(ms) = target.ttft_ms else { continue };
                let labels = &[("pool", &*pool.name), ("target", &*target.id)][..];
                ttft.real(labels, ms / 1000.0)?;
            }
        }
        Ok(())
    }

    fn control(&self, page: &mut Page<'_>) -> fmt::Result {
        let (metrics, live) = (&self.metrics, &self.live);
        page.gauge(
            "weir_ready",
            "Whether /readyz says yes",
            i64::from(live.not_ready().is_empty()),
        )?;
        page.gauge("weir_draining", "Whether weir is draining", i64::from(live.draining))?;
        page.gauge("weir_plan_version", "Version of the live plan", live.plan_version as i64)?;
        page.counters(
            "weir_config_reloads",
            "Times the configuration was read again, by result",
            &metrics.reloads,
        )?;
        page.gauge(
            "weir_config_last_reload_successful",
            "Whether the configuration was valid when it was read last",
            metrics.reload_ok.load(Relaxed) as i64,
        )?;
        page.gauge(
            "weir_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read with success; 0 before the first reload",
            metrics.reload_success_s.load(Relaxed) as i64,
        )?;
        page.counter(
            "weir_route_condition_errors",
            "CEL conditions of routes that failed to evaluate and so did not match",
            live.route_condition_errors,
        )?;
        page.counters(
            "weir_credential_renewals",
            "Renewals of credentials that are issued for a time, by result",
            &metrics.credential_renewals,
        )?;
        page.counters(
            "weir_issuer_readings",
            "Readings of the keys of issuers of tokens, by result",
            &metrics.issuer_readings,
        )?;
        page.counters(
            "weir_log_dropped",
            "Log lines lost because a queue was full or writing failed",
            &metrics.log_dropped,
        )?;
        page.histograms(
            "weir_event_loop_lag_seconds",
            "How late a worker's event loop runs",
            &metrics.loop_lag,
            |lag| lag,
        )?;
        if let Some((io, refused)) = metrics.io.get() {
            page.metric(
                "weir_io_info",
                "What drives the sockets, and why io_uring does not",
                MetricType::Gauge,
            )?
            .gauge(&[("io", io), ("refused", refused)], 1)?;
        }
        page.metric("weir_build_info", "The running version", MetricType::Gauge)?
            .gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1)
    }

    fn storage(&self, page: &mut Page<'_>) -> fmt::Result {
        if let Some(storage) = &self.live.storage {
            page.gauge(
                "weir_storage_state",
                "The database: 0 ok, 1 slow, 2 away; requests flow whatever it is",
                storage.number(),
            )?;
        }
        page.counters(
            "weir_storage_errors",
            "Failures of the database by kind",
            &self.metrics.storage_errors,
        )?;
        self.live.ledger.as_ref().map_or(Ok(()), |ledger| Self::ledger(page, ledger))
    }

    /// The ledger of record.
    fn ledger(page: &mut Page<'_>, ledger: &LiveLedger) -> fmt::Result {
        page.gauge(
            "weir_ledger_state",
            "Records go to the database (0), wait in the journal (1), wait in memory alone (2), are lost (3)",
            ledger.state as i64,
        )?;
        page.counter("weir_ledger_entered", "Records that the database has taken", ledger.entered)?;
        page.gauge(
            "weir_ledger_waiting",
            "Records that wait for the database",
            ledger.waiting as i64,
        )?;
        page.gauge(
            "weir_ledger_memory_bytes",
            "Memory that waiting records take",
            ledger.memory_bytes as i64,
        )?;
        page.gauge(
            "weir_ledger_journal_bytes",
            "What waiting records take of the journal",
            ledger.journal_bytes as i64,
        )?;
        page.counter(
            "weir_ledger_recovered",
            "Records of an earlier process that were found in its journal",
            ledger.recovered,
        )?;
        page.counter(
            "weir_ledger_torn",
            "Batches that an earlier process had not written to their end",
            ledger.torn,
        )?;
        page.counter(
            "weir_ledger_lost",
            "Records lost because journal and memory were full",
            ledger.lost,
        )
    }

    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let process = &self.process;
        if let Some(cpu_s) = process.cpu_s {
            let mut cpu =
                page.metric("process_cpu_seconds", "User and system time", MetricType::Counter)?;
            cpu.real_counter(cpu_s)?;
        }
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory", process.resident_bytes),
            ("process_open_fds", "Open file descriptors", process.open_fds),
            ("process_max_fds", "Most file descriptors it may open", process.max_fds),
            ("process_threads", "Threads", process.threads),
            ("process_start_time_seconds", "When it started, Unix time", process.started_unix_s),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                page.gauge(name, help, value as i64)?;
            }
        }
        Ok(())
    }
}
