//! Hours of mixed load with faults: memory stays flat, no descriptor is lost, gauges come back to
//! zero.
//!
//! Memory is judged after a warm-up (a tenth of the time, at least half a minute): the slope of a
//! straight line through the samples may add a few percent over the rest of the run, and the largest
//! sample may not stand far above the median. A leak of even one small object a request fails both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::Check;
use crate::client::{Endpoint, Shape};
use crate::drive::{Load, Mix, Pace, Stats, Summary};
use crate::process::{open_fds, resident_bytes};
use crate::report::{Table, median};
use crate::stand::{Config, Settings, Upstream, Weir};
use crate::units;

/// What the flaky upstream does wrong, each with its share of requests.
const FAULTS: [&str; 9] = [
    "429=100ms@0.5%",
    "500@1%",
    "reset=before_head@0.5%",
    "error_in_stream=0@0.5%",
    "empty_stream@0.5%",
    "cut=3@0.5%",
    "stall=2@0.1%",
    "malformed=json@0.2%",
    "truncate=2@0.5%",
];
/// Growth of memory over the measured time that is still flat, as a share of the median.
const GROWTH_MAX: f64 = 0.05;
/// The largest sample over the median that is still flat.
const PEAK_MAX: f64 = 1.25;
/// Memory that never counts as growth: an allocator's own rounding.
const SLACK_BYTES: f64 = 4.0 * 1024.0 * 1024.0;
/// Descriptors beyond those before the load that a weir at rest may hold: a connection to its
/// metrics, a log that was opened late.
const FDS_KEPT_MAX: usize = 4;
/// How long weir keeps an idle connection to an upstream.
const UPSTREAM_IDLE: &str = "5s";
/// Time for the last requests to end, and for idle connections to be closed, before gauges and
/// descriptors are read.
const SETTLE: Duration = Duration::from_secs(15);

/// A process that has just become ready is at rest when it has opened nothing more for so long.
const REST: Duration = Duration::from_secs(1);
/// Longest wait for that.
const REST_WAIT: Duration = Duration::from_secs(20);

/// How long and how hard.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// How long.
    #[arg(long, default_value = "1h", value_parser = units::duration)]
    duration: Duration,
    /// Requests a second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Time between two samples.
    #[arg(long, default_value = "5s", value_parser = units::duration)]
    interval: Duration,
    /// Endpoints that take part; by default chat and messages.
    #[arg(long = "endpoint", value_enum, default_values_t = [Endpoint::Chat, Endpoint::Messages])]
    endpoints: Vec<Endpoint>,
}

/// One look at the process.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Since the load began.
    pub at_s: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub fds: usize,
    /// Requests in flight, as weir's metrics say.
    pub in_flight: f64,
    /// Requests answered so far.
    pub answered: u64,
    /// Requests failed so far.
    pub failed: u64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// What the clients saw.
    pub load: Summary,
    /// Every look.
    pub samples: Vec<Sample>,
    /// Median of resident memory after the warm-up.
    pub resident_median_bytes: f64,
    /// Growth of resident memory after the warm-up, by the fitted line.
    pub resident_growth_bytes: f64,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Runs the load and watches.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let workspace = settings.workspace()?;
    let base = ["--tokens", "4..40", "--ttft", "jitter:10ms,8ms", "--itl", "jitter:4ms,3ms"];
    let mut flaky = base.to_vec();
    for fault in FAULTS {
        flaky.extend(["--fault", fault]);
    }
    let flaky = Upstream::start(&workspace, "flaky", &flaky, &[])?;
    let steady = Upstream::start(&workspace, "steady", &base, &[])?;
    let pool = json!({
        "strategy": "least_busy",
        "timeouts": { "connect": "1s", "first_token": "2s", "inter_token": "1s", "total": "20s" },
    });
    let config = Config::new()
        .upstream("flaky", flaky.address)
        .upstream("steady", steady.address)
        .pool("both", &["flaky", "steady"], false, true, &pool)
        .upstream_idle(UPSTREAM_IDLE);
    let weir = Weir::start(settings, &workspace, &config, false, &[])?;
    let pid = weir.child.pid();
    let fds_before = fds_at_rest(pid);
    let load = load(&weir, plan)?;
    let running = load.start();
    let samples = watch(&weir, plan, || running.stats());
    let summary = running.finish();
    std::thread::sleep(SETTLE);
    let mut checks = vec![clients_check(&summary)];
    let warmup_s =
        (plan.duration.as_secs_f64() / 10.0).max(30.0).min(plan.duration.as_secs_f64() / 2.0);
    let warm: Vec<Sample> = samples.iter().copied().filter(|s| s.at_s >= warmup_s).collect();
    let (resident_median_bytes, resident_growth_bytes) = memory_checks(&warm, &mut checks);
    let fds_after = open_fds(pid).unwrap_or(usize::MAX);
    checks.push(Check::new(
        "no descriptor is lost",
        fds_after <= fds_before + FDS_KEPT_MAX && fds_flat(&warm),
        format!("{fds_before} before, {fds_after} after, steady: {}", fds_flat(&warm)),
    ));
    let metrics = weir.metrics()?;
    for gauge in [
        "weir_requests_in_flight",
        "weir_admitted_in_flight",
        "weir_tokens_in_flight",
        "weir_target_in_flight",
        "weir_pool_queued",
    ] {
        let left = metrics.nonzero(gauge);
        checks.push(Check::new(
            format!("{gauge} is back to zero"),
            left.is_empty(),
            format!("{left:?}"),
        ));
    }
    Ok(Findings { load: summary, samples, resident_median_bytes, resident_growth_bytes, checks })
}

fn load(weir: &Weir, plan: &Plan) -> Result<Load, String> {
    let mut shapes = Vec::new();
    for &endpoint in &plan.endpoints {
        for (stream, body_bytes, weight) in
            [(true, 600, 5), (false, 600, 3), (true, 20_000, 1), (false, 200_000, 1)]
        {
            if !stream || endpoint.streams() {
                let shape = Shape::new(endpoint, stream);
                shapes.push(Shape { tokens: 64, body_bytes, weight, ..shape });
            }
        }
    }
    let mix = Arc::new(Mix::new(&shapes, &weir.address.to_string(), None)?);
    Ok(Load {
        pace: Pace::Open { per_second: plan.rate },
        duration: plan.duration,
        connections: 256,
        validate: true,
        timeout: Duration::from_secs(30),
        ..Load::new(weir.address, mix)
    })
}

fn watch(weir: &Weir, plan: &Plan, stats: impl Fn() -> Stats) -> Vec<Sample> {
    let started = Instant::now();
    let pid = weir.child.pid();
    let mut samples = Vec::new();
    let mut said = Instant::now();
    while started.elapsed() + plan.interval < plan.duration {
        std::thread::sleep(plan.interval);
        let counted = stats();
        let sample = Sample {
            at_s: started.elapsed().as_secs_f64(),
            resident_bytes: resident_bytes(pid).unwrap_or_default(),
            fds: open_fds(pid).unwrap_or_default(),
            in_flight: weir.metrics().map_or(f64::NAN, |m| m.sum("weir_requests_in_flight", &[])),
            answered: counted.ok,
            failed: counted.failed(),
        };
        samples.push(sample);
        if samples.len() == 1 || said.elapsed() >= Duration::from_secs(30) {
            said = Instant::now();
            eprintln!(
                "{:>6.0}s  {:>6.1} MB resident  {:>4} descriptors  {:>4} in flight  {} answered  {} failed",
                sample.at_s,
                sample.resident_bytes as f64 / 1e6,
                sample.fds,
                sample.in_flight,
                sample.answered,
                sample.failed
            );
        }
    }
    samples
}

/// Descriptors of a process that was just started, once its workers have opened theirs: on a busy
/// machine they come up after it says that it is ready.
fn fds_at_rest(pid: u32) -> usize {
    let begun = Instant::now();
    let (mut fds, mut since) = (open_fds(pid).unwrap_or_default(), begun);
    while since.elapsed() < REST && begun.elapsed() < REST_WAIT {
        std::thread::sleep(REST / 10);
        let now = open_fds(pid).unwrap_or_default();
        if now != fds {
            (fds, since) = (now, Instant::now());
        }
    }
    fds
}

/// Requests may fail only after their first byte, where the flaky upstream broke off.
fn clients_check(summary: &Summary) -> Check {
    let allowed = ["error_event"];
    let other: Vec<_> =
        summary.errors.iter().filter(|(kind, _)| !allowed.contains(&kind.as_str())).collect();
    Check::new(
        "requests fail only by an error event after their first frame",
        other.is_empty() && summary.ok > 0,
        format!("{} ok, {:?}", summary.ok, summary.errors),
    )
}

fn memory_checks(warm: &[Sample], checks: &mut Vec<Check>) -> (f64, f64) {
    let bytes: Vec<f64> = warm.iter().map(|sample| sample.resident_bytes as f64).collect();
    let middle = median(&bytes);
    let largest = bytes.iter().copied().fold(0.0, f64::max);
    let span_s = warm.last().map_or(0.0, |last| last.at_s - warm[0].at_s);
    let growth = slope(warm) * span_s;
    let mb = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
    checks.push(Check::new(
        "enough samples to judge",
        warm.len() >= 5,
        format!("{} after the warm-up", warm.len()),
    ));
    checks.push(Check::new(
        "resident memory does not grow",
        growth <= (middle * GROWTH_MAX).max(SLACK_BYTES),
        format!("{} over {span_s:.0} s, median {}", mb(growth), mb(middle)),
    ));
    checks.push(Check::new(
        "resident memory has no peaks",
        largest <= (middle * PEAK_MAX).max(middle + SLACK_BYTES),
        format!("largest {}, median {}", mb(largest), mb(middle)),
    ));
    (middle, growth)
}

/// The second half of the run needs no more descriptors than the first, but for a few. Medians are
/// compared: a burst opens connections for a while, a leak keeps them.
fn fds_flat(warm: &[Sample]) -> bool {
    let (first, second) = warm.split_at(warm.len() / 2);
    let middle = |samples: &[Sample]| {
        median(&samples.iter().map(|sample| sample.fds as f64).collect::<Vec<_>>())
    };
    middle(second) <= middle(first) * 1.1 + 16.0
}

/// Bytes a second, by least squares.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let mean_at = mean(&|sample| sample.at_s);
    let mean_bytes = mean(&|sample| sample.resident_bytes as f64);
    let (mut both, mut square) = (0.0, 0.0);
    for sample in samples {
        let at = sample.at_s - mean_at;
        both += at * (sample.resident_bytes as f64 - mean_bytes);
        square += at * at;
    }
    if square > 0.0 { both / square } else { 0.0 }
}

/// A few samples over the run.
pub fn render(findings: &Findings) -> String {
    let mut table =
        Table::new(["second", "resident MB", "descriptors", "in flight", "answered", "failed"]);
    let step = (findings.samples.len() / 12).max(1);
    for sample in findings.samples.iter().step_by(step) {
        table.row([
            format!("{:.0}", sample.at_s),
            format!("{:.1}", sample.resident_bytes as f64 / 1e6),
            sample.fds.to_string(),
            sample.in_flight.to_string(),
            sample.answered.to_string(),
            sample.failed.to_string(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(bytes: impl Fn(u64) -> u64) -> Vec<Sample> {
        (0..100)
            .map(|n| Sample {
                at_s: n as f64,
                resident_bytes: bytes(n),
                fds: 50,
                in_flight: 0.0,
                answered: 0,
                failed: 0,
            })
            .collect()
    }

    fn held(samples: &[Sample]) -> bool {
        let mut checks = Vec::new();
        memory_checks(samples, &mut checks);
        checks.iter().all(|check| check.held)
    }

    #[test]
    fn flat_memory_passes_and_a_leak_does_not() {
        assert!(held(&samples(|n| 60_000_000 + (n % 7) * 100_000)));
        assert!(!held(&samples(|n| 60_000_000 + n * 100_000)));
        assert!(!held(&samples(|n| if n == 50 { 90_000_000 } else { 60_000_000 })));
        assert!((slope(&samples(|n| 1_000 + n * 10)) - 10.0).abs() < 1e-6);
    }

    #[test]
    fn a_burst_of_descriptors_is_no_leak() {
        let with_fds = |fds: &dyn Fn(usize) -> usize| {
            let mut samples = samples(|_| 1);
            samples.iter_mut().enumerate().for_each(|(n, sample)| sample.fds = fds(n));
            samples
        };
        assert!(fds_flat(&with_fds(&|n| if n / 10 == 6 { 500 } else { 286 })));
        assert!(!fds_flat(&with_fds(&|n| 286 + n)));
    }

    #[test]
    fn every_fault_is_one_that_the_mock_knows() {
        for fault in FAULTS {
            assert!(fault.parse::<weir_loadtest::mock::Rule>().is_ok(), "{fault}");
        }
    }
}
