//! The comparison as one HTML page: the tables of the terminal, and plots.

use super::figures::{histogram, ratio};
use super::measure::BOUNDS_MS;
use super::table::{base, sections};
use super::{Findings, LeftOut, Proxy, Streams, Work};
use crate::report::median;
use crate::report::page::Page;
use crate::report::plot::{Axes, Bar, Line, bars, lines};

/// Bins of a histogram.
const BINS: u32 = 60;

/// The page.
pub fn page(findings: &Findings) -> Page {
    let names: Vec<&str> = findings.proxies.iter().map(|proxy| proxy.name.as_str()).collect();
    let lead = format!(
        "{}. {} rounds of {} s, interleaved; each proxy on core {}, upstream and load on core {}. \
        Figures are medians of the rounds; ratios are to {}, each of one round, and their medians.",
        names.join(", "),
        findings.rounds,
        findings.length_s,
        findings.proxy_core,
        findings.load_core,
        base(findings),
    );
    let mut page = Page::new("weir beside other proxies", &lead);
    page.section("At a glance");
    page.plots(&cpu(findings));
    page.plots(&distributions(findings));
    page.plots(&[throughput(findings), memory(findings)]);
    for section in sections(findings) {
        page.section(&section.title);
        page.text(&section.about);
        page.table(&section.table);
    }
    if !findings.left_out.is_empty() {
        page.section("Left out");
        let left_out = findings.left_out.iter();
        page.list(
            &left_out.map(|LeftOut { name, why }| format!("{name}: {why}")).collect::<Vec<_>>(),
        );
    }
    if !findings.notes.is_empty() {
        page.section("Notes");
        page.list(&findings.notes);
    }
    page.machine(&findings.machine);
    page
}

/// User and kernel time, one on the other.
fn cpu(findings: &Findings) -> Vec<String> {
    let counts = findings.proxies.first().map_or(&[][..], |first| &first.requests);
    let mut plots: Vec<String> = counts
        .iter()
        .map(|requests| {
            let connections = requests.connections;
            let rounds = |proxy: &Proxy| -> Vec<Work> {
                let found = proxy.requests.iter().find(|found| found.connections == connections);
                found.map(|found| found.rounds.clone()).unwrap_or_default()
            };
            stacked(
                findings,
                &format!("CPU per request, {connections} connections"),
                "µs a request",
                &|proxy| rounds(proxy).iter().map(|work| (work.user_us, work.system_us)).collect(),
            )
        })
        .collect();
    let of = |rounds: &[Streams]| -> Vec<(f64, f64)> {
        rounds.iter().map(|streams| (streams.user_ms, streams.system_ms)).collect()
    };
    let unit = "ms per 100,000 frames";
    plots.push(stacked(
        findings,
        "CPU per frame, full speed",
        unit,
        &|proxy| of(&proxy.full_speed),
    ));
    plots.push(stacked(findings, "CPU per frame, 5 ms pace", unit, &|proxy| of(&proxy.paced)));
    plots
}

/// Bars of user and kernel time. Those beyond eight times the first are cut there: the figure says
/// what they are, and the others stay to be told apart.
fn stacked(
    findings: &Findings,
    title: &str,
    unit: &str,
    of: &dyn Fn(&Proxy) -> Vec<(f64, f64)>,
) -> String {
    // The middle of the sums, as in the tables; its parts in the proportion of their own middles.
    let middle = |proxy: &Proxy| {
        let rounds = of(proxy);
        let part = |of: fn(&(f64, f64)) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
        let (user, total) = (part(|round| round.0), part(|round| round.0 + round.1));
        let parts = user + part(|round| round.1);
        let share = if parts > 0.0 { user / parts } else { 0.0 };
        (total * share, total * (1.0 - share))
    };
    let sums = |proxy: &Proxy| -> Vec<f64> {
        of(proxy).iter().map(|(user, system)| user + system).collect()
    };
    let Some(yardstick) = findings.proxies.first() else { return String::new() };
    let (firsts, first) = (sums(yardstick), median(&sums(yardstick)));
    let limit = if first > 0.0 { first * 8.0 } else { f64::INFINITY };
    let bar = |proxy: &Proxy| {
        let (user, system) = middle(proxy);
        let total = user + system;
        let shrink = if total > limit { limit / total } else { 1.0 };
        let cut = if total > limit { " (cut)" } else { "" };
        let times = ratio(&sums(proxy), &firsts).unwrap_or_default();
        Bar {
            name: proxy.name.clone(),
            parts: vec![user * shrink, system * shrink],
            note: format!("{total:.1} · {times:.2} ×{cut}"),
        }
    };
    let shown: Vec<Bar> =
        findings.proxies.iter().filter(|proxy| !of(proxy).is_empty()).map(bar).collect();
    bars(title, unit, &["user", "kernel"], &shown)
}

fn distributions(findings: &Findings) -> Vec<String> {
    let all = || findings.proxies.iter().chain([&findings.direct]);
    let axes = Axes { x: "µs", y: "% of requests", log_x: true, log_y: false };
    let cumulative: Vec<Line> = all()
        .filter(|proxy| !proxy.curves.whole.is_empty())
        .map(|proxy| Line {
            name: proxy.name.clone(),
            points: proxy.curves.whole.iter().map(|[share, us]| (*us, share * 100.0)).collect(),
        })
        .collect();
    let steps = |title: &str, what, of: &dyn Fn(&Proxy) -> &[[f64; 2]]| {
        let curves = || all().map(of).filter(|curve| !curve.is_empty());
        let edge = |place: usize| move |curve: &[[f64; 2]]| curve[place.min(curve.len() - 1)][1];
        // From what 5 % of anybody stay under to what 99.5 % do.
        let low = curves().map(edge(10)).fold(f64::INFINITY, f64::min).max(1.0) * 0.9;
        let high = curves().map(edge(199)).fold(0.0, f64::max);
        let lines_of = all().filter(|proxy| !of(proxy).is_empty()).map(|proxy| Line {
            name: proxy.name.clone(),
            points: histogram(of(proxy), low, high.max(low * 2.0), BINS),
        });
        let axes = Axes { x: "µs", y: what, log_x: true, log_y: false };
        lines(title, axes, &lines_of.collect::<Vec<_>>())
    };
    vec![
        lines("Latency, one request at a time: share answered within", axes, &cumulative),
        steps("Time to first token of a stream", "% of streams", &|proxy| &proxy.curves.first),
        steps(
            "Between two frames, full speed (of those not read together)",
            "% of gaps",
            &|proxy| &proxy.curves.gap_full_speed,
        ),
        steps("Between two frames, 5 ms pace", "% of gaps", &|proxy| &proxy.curves.gap_paced),
    ]
}

fn throughput(findings: &Findings) -> String {
    let all = findings.proxies.iter().chain([&findings.direct]);
    let shown: Vec<Line> = all
        .filter(|proxy| !proxy.frontier.is_empty())
        .map(|proxy| {
            let at = |bound: usize| {
                let rounds = proxy.frontier.iter().filter_map(|points| points.get(bound));
                median(&rounds.map(|point| point.per_second).collect::<Vec<_>>())
            };
            let points = BOUNDS_MS.iter().enumerate().map(|(bound, ms)| (*ms, at(bound)));
            Line { name: proxy.name.clone(), points: points.collect() }
        })
        .collect();
    let axes =
        Axes { x: "bound of the 99 % latency, ms", y: "requests/s", log_x: true, log_y: false };
    lines("Throughput under a bound of latency", axes, &shown)
}

fn memory(findings: &Findings) -> String {
    let shown: Vec<Line> = findings
        .proxies
        .iter()
        .map(|proxy| Line {
            name: proxy.name.clone(),
            points: proxy.memory.samples.iter().map(|[at, bytes]| (*at, bytes / 1e6)).collect(),
        })
        .collect();
    let axes = Axes { x: "seconds", y: "MB", log_x: false, log_y: true };
    lines("Resident memory over the run", axes, &shown)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::compare::{Cores, Curves, Latency, Memory, Point, Requests, Syscalls};
    use crate::report::machine::Machine;
    use crate::report::page::{balanced, self_contained};

    fn proxy(name: &str, us: f64) -> Proxy {
        let work = |user_us| Work { requests: 10, per_second: 1e6 / us, user_us, system_us: 0.0 };
        let streams = Streams {
            frames: 10,
            frames_per_second: 10.0,
            user_ms: us,
            system_ms: us,
            gap_p50_us: 5000.0,
            gap_p99_us: 5100.0,
        };
        let curve: Vec<[f64; 2]> =
            (0..204).map(|n| [f64::from(n) / 204.0, us + f64::from(n)]).collect();
        Proxy {
            name: name.into(),
            version: format!("{name} <1.0> & more"),
            does: "its work".into(),
            requests: vec![Requests {
                connections: 64,
                rounds: vec![work(us * 0.9), work(us), work(us * 1.1)],
            }],
            full_speed: vec![streams],
            paced: vec![streams],
            latency: vec![Latency { p50_us: us, p99_us: us * 2.0 }],
            first_token: vec![Latency { p50_us: us, p99_us: us * 2.0 }],
            frontier: vec![
                BOUNDS_MS.map(|bound_ms| Point { bound_ms, per_second: bound_ms * us }).to_vec(),
            ],
            sustained: vec![100],
            memory: Memory { samples: vec![[0.0, 1e6], [1.0, 2e6]], ..Memory::default() },
            cores: vec![
                Cores { count: 1, shared: false, rounds: vec![work(us)] },
                Cores { count: 1, shared: true, rounds: vec![work(us)] },
                Cores {
                    count: 2,
                    shared: true,
                    rounds: vec![Work { per_second: 2e6 / us, ..work(us) }],
                },
            ],
            syscalls: Some(Syscalls { request: 6.0, frame_full_speed: 1.0, frame_paced: 2.0 }),
            curves: Curves {
                whole: curve.clone(),
                first: curve.clone(),
                gap_full_speed: curve.clone(),
                gap_paced: curve,
            },
        }
    }

    /// nginx at 20 µs a request, weir at 10.
    pub fn findings() -> Findings {
        Findings {
            machine: Machine::here(),
            rounds: 3,
            length_s: 1.0,
            proxy_core: 0,
            load_core: 1,
            took_s: 60.0,
            direct: Proxy { requests: Vec::new(), ..proxy("direct", 5.0) },
            proxies: vec![proxy("nginx", 20.0), proxy("weir", 10.0)],
            left_out: vec![LeftOut { name: "envoy", why: "not installed (a <way>)".into() }],
            notes: vec!["one & two".into()],
        }
    }

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        let html = page(&findings()).render();
        assert_eq!(balanced(&html), Ok(()));
        assert!(self_contained(&html));
        assert!(html.contains("0.50 ×") && html.contains("not installed (a &lt;way&gt;)"));
    }

    #[test]
    fn every_plot_is_there() {
        let html = page(&findings()).render();
        assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
        assert_eq!(html.matches("<svg").count(), 9);
    }

    #[test]
    fn a_page_of_nothing_is_a_page() {
        let nothing = Findings {
            proxies: Vec::new(),
            direct: Proxy::default(),
            left_out: Vec::new(),
            ..findings()
        };
        assert_eq!(balanced(&page(&nothing).render()), Ok(()));
    }
}
