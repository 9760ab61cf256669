//! The comparison for people: medians, how far the rounds spread, and ratios to the first proxy.

use super::{Findings, Proxy, Round};
use crate::report::{Table, median};

/// Both tables.
pub fn render(findings: &Findings) -> String {
    let mut cpu = Table::new([
        "proxy",
        "CPU µs/request",
        "user",
        "system",
        "spread",
        "ratio",
        "requests/s",
        "SSE ms/100k frames",
        "ratio",
        "paced ms/100k frames",
        "user",
        "system",
        "ratio",
    ]);
    let mut other =
        Table::new(["proxy", "added p50 µs", "added p99 µs", "MB idle", "MB after", "version"]);
    let Some(first) = findings.proxies.first() else { return String::new() };
    let request = |round: &Round| round.requests.user_us + round.requests.system_us;
    let full = |round: &Round| round.full_speed.user_ms + round.full_speed.system_ms;
    let paced = |round: &Round| round.paced.user_ms + round.paced.system_ms;
    let ratio = |proxy: &Proxy, of: &dyn Fn(&Round) -> f64| {
        format!("{:.2}", middle(proxy, of) / middle(first, of).max(f64::MIN_POSITIVE))
    };
    let direct_p50 = median(&findings.direct.iter().map(|l| l.p50_us).collect::<Vec<_>>());
    let direct_p99 = median(&findings.direct.iter().map(|l| l.p99_us).collect::<Vec<_>>());
    for proxy in &findings.proxies {
        let show = |of: &dyn Fn(&Round) -> f64| format!("{:.1}", middle(proxy, of));
        cpu.row([
            proxy.name.as_str().into(),
            show(&request),
            show(&|round| round.requests.user_us),
            show(&|round| round.requests.system_us),
            spread(proxy, &request),
            ratio(proxy, &request),
            format!("{:.0}", middle(proxy, &|round| round.requests.per_second)),
            show(&full),
            ratio(proxy, &full),
            show(&paced),
            show(&|round| round.paced.user_ms),
            show(&|round| round.paced.system_ms),
            ratio(proxy, &paced),
        ]);
        other.row([
            proxy.name.as_str().into(),
            format!("{:.0}", middle(proxy, &|round| round.latency.p50_us) - direct_p50),
            format!("{:.0}", middle(proxy, &|round| round.latency.p99_us) - direct_p99),
            format!("{:.1}", proxy.resident_idle_bytes as f64 / 1e6),
            format!("{:.1}", proxy.resident_after_bytes as f64 / 1e6),
            proxy.version.clone(),
        ]);
    }
    format!(
        "{}\n{}\n{} rounds; {} connections; latency at {} requests/s, direct p50 {direct_p50:.0} µs, \
        p99 {direct_p99:.0} µs\n",
        cpu.render(),
        other.render(),
        first.rounds.len(),
        findings.connections,
        findings.latency_rate,
    )
}

fn figures(proxy: &Proxy, of: &dyn Fn(&Round) -> f64) -> Vec<f64> {
    proxy.rounds.iter().map(of).collect()
}

fn middle(proxy: &Proxy, of: &dyn Fn(&Round) -> f64) -> f64 {
    median(&figures(proxy, of))
}

fn spread(proxy: &Proxy, of: &dyn Fn(&Round) -> f64) -> String {
    let figures = figures(proxy, of);
    let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let high = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{low:.1}–{high:.1}")
}
