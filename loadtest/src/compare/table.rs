//! The comparison as tables: ratios to the first proxy first, medians, and how far rounds spread.

use std::fmt::Write as _;

use super::figures::{self, Spread};
use super::{Cores, Findings, LeftOut, Proxy, Requests, Streams, Work};
use crate::report::Table;

/// A table with what has to be said about it.
pub struct Section {
    /// Its heading.
    pub title: String,
    /// How it was measured.
    pub about: String,
    /// The figures.
    pub table: Table,
}

/// What stands where nothing was measured.
const NOTHING: &str = "–";

/// All tables that have figures.
pub fn sections(findings: &Findings) -> Vec<Section> {
    let mut sections = Vec::new();
    let counts: Vec<usize> = findings.proxies.iter().fold(Vec::new(), |mut counts, proxy| {
        for requests in &proxy.requests {
            if !counts.contains(&requests.connections) {
                counts.push(requests.connections);
            }
        }
        counts
    });
    sections.extend(counts.into_iter().map(|connections| requests(findings, connections)));
    let has = |measured: &dyn Fn(&Proxy) -> bool| findings.proxies.iter().any(measured);
    if has(&|proxy| !proxy.full_speed.is_empty()) {
        let about = "16 streams of 500 tokens, as fast as they come.";
        sections.push(streams(findings, "full speed", about, |proxy| &proxy.full_speed));
        let about = "100 streams of 200 tokens, one every 5 ms.";
        sections.push(streams(findings, "5 ms pace", about, |proxy| &proxy.paced));
    }
    if has(&|proxy| !proxy.latency.is_empty()) {
        sections.push(latency(findings));
    }
    if has(&|proxy| !proxy.frontier.is_empty()) {
        sections.push(frontier(findings));
    }
    if has(&|proxy| !proxy.sustained.is_empty()) {
        sections.push(sustained(findings));
    }
    sections.push(memory(findings));
    if has(&|proxy| proxy.syscalls.is_some()) {
        sections.push(syscalls(findings));
    }
    if has(&|proxy| !proxy.cores.is_empty()) {
        sections.push(cores(findings));
    }
    sections.push(who(findings));
    sections
}

/// All tables as text.
pub fn render(findings: &Findings) -> String {
    let mut text = String::new();
    for section in sections(findings) {
        let Section { title, about, table } = section;
        let _ = write!(text, "{title}\n  {about}\n\n{}\n", table.render());
    }
    for LeftOut { name, why } in &findings.left_out {
        let _ = writeln!(text, "{name} is left out: {why}");
    }
    for note in &findings.notes {
        let _ = writeln!(text, "{note}");
    }
    let _ = writeln!(
        text,
        "{} rounds of {} s; proxy on core {}, upstream and load on core {}; took {:.0} s\n\
        {}, {} cores, {}, {}",
        findings.rounds,
        findings.length_s,
        findings.proxy_core,
        findings.load_core,
        findings.took_s,
        findings.machine.cpu,
        findings.machine.cores,
        findings.machine.kernel,
        findings.machine.date,
    );
    text
}

/// The name of the proxy that the others are compared with.
pub fn base(findings: &Findings) -> &str {
    findings.proxies.first().map_or("the first", |proxy| proxy.name.as_str())
}

fn requests(findings: &Findings, connections: usize) -> Section {
    let of = |proxy: &Proxy, figure: &dyn Fn(&Work) -> f64| {
        let found = proxy.requests.iter().find(|found| found.connections == connections);
        let rounds = found.map_or(&[][..], |Requests { rounds, .. }| rounds);
        rounds.iter().map(figure).collect::<Vec<f64>>()
    };
    let middle = |proxy: &Proxy, figure: &dyn Fn(&Work) -> f64| Spread::of(&of(proxy, figure));
    let cpu = |work: &Work| work.user_us + work.system_us;
    let first = findings.proxies.first().map_or_else(Vec::new, |first| of(first, &cpu));
    let head = format!("× {}", base(findings));
    let mut table = Table::new([
        "proxy",
        &head,
        "µs/request",
        "user",
        "system",
        "low–high",
        "requests/s",
        "busy %",
    ]);
    for proxy in &findings.proxies {
        let total = middle(proxy, &cpu);
        table.row([
            proxy.name.clone(),
            times(&of(proxy, &cpu), &first),
            show(total, 1),
            show(middle(proxy, &|work| work.user_us), 1),
            show(middle(proxy, &|work| work.system_us), 1),
            spread(total, 1),
            show(middle(proxy, &|work| work.per_second), 0),
            show(middle(proxy, &|work| cpu(work) * work.per_second / 1e4), 0),
        ]);
    }
    Section {
        title: format!("CPU per request, {connections} connections, not streaming"),
        about: "Requests of 615 bytes, answers of about 1 KB, as fast as they come. Medians; ratios are each of one round, \
            and of these the median. Busy is a \
            proxy's share of its core: what is missing to 100 it waited for the load."
            .into(),
        table,
    }
}

fn streams(
    findings: &Findings,
    title: &str,
    about: &str,
    rounds: fn(&Proxy) -> &[Streams],
) -> Section {
    let of = |proxy: &Proxy, figure: &dyn Fn(&Streams) -> f64| {
        rounds(proxy).iter().map(figure).collect::<Vec<f64>>()
    };
    let middle = |proxy: &Proxy, figure: &dyn Fn(&Streams) -> f64| Spread::of(&of(proxy, figure));
    let cpu = |streams: &Streams| streams.user_ms + streams.system_ms;
    let first = findings.proxies.first().map_or_else(Vec::new, |first| of(first, &cpu));
    let head = format!("× {}", base(findings));
    let mut table = Table::new([
        "proxy",
        &head,
        "ms",
        "user",
        "system",
        "low–high",
        "frames/s",
        "busy %",
        "gap p50 µs",
        "gap p99 µs",
        "p99 low–high",
    ]);
    for proxy in findings.proxies.iter().chain([&findings.direct]) {
        let total = middle(proxy, &cpu);
        let gap_p99 = middle(proxy, &|streams| streams.gap_p99_us);
        table.row([
            proxy.name.clone(),
            times(&of(proxy, &cpu), &first),
            show(total, 0),
            show(middle(proxy, &|streams| streams.user_ms), 0),
            show(middle(proxy, &|streams| streams.system_ms), 0),
            spread(total, 0),
            show(middle(proxy, &|streams| streams.frames_per_second), 0),
            show(middle(proxy, &|streams| cpu(streams) * streams.frames_per_second / 1e6), 0),
            show_always(middle(proxy, &|streams| streams.gap_p50_us), 0),
            show_always(gap_p99, 0),
            spread(gap_p99, 0),
        ]);
    }
    Section {
        title: format!("CPU per 100,000 frames, {title}"),
        about: format!(
            "{about} Every frame is checked to arrive. A gap is the time between two frames."
        ),
        table,
    }
}

fn latency(findings: &Findings) -> Section {
    type Of = fn(&Proxy) -> Vec<f64>;
    let of = |proxy: &Proxy, figures: Of| Spread::of(&figures(proxy));
    let added = |proxy: &Proxy, figure: Of| {
        let floor = of(&findings.direct, figure);
        match (of(proxy, figure), floor) {
            (Some(own), Some(floor)) => format!("{:.0}", own.median - floor.median),
            _ => NOTHING.into(),
        }
    };
    let first = findings.proxies.first();
    let times =
        |proxy: &Proxy, figure: Of| times(&figure(proxy), &first.map_or_else(Vec::new, figure));
    let p50: Of = |proxy| proxy.latency.iter().map(|latency| latency.p50_us).collect();
    let p99: Of = |proxy| proxy.latency.iter().map(|latency| latency.p99_us).collect();
    let first_p50: Of = |proxy| proxy.first_token.iter().map(|first| first.p50_us).collect();
    let first_p99: Of = |proxy| proxy.first_token.iter().map(|first| first.p99_us).collect();
    let head = format!("p50 × {}", base(findings));
    let mut table = Table::new([
        "proxy",
        &head,
        "p50 µs",
        "added",
        "p99 ×",
        "p99 µs",
        "added",
        "low–high",
        "TTFT p50 ×",
        "p50 µs",
        "added",
        "p99 ×",
        "p99 µs",
        "added",
    ]);
    for proxy in findings.proxies.iter().chain([&findings.direct]) {
        table.row([
            proxy.name.clone(),
            times(proxy, p50),
            show(of(proxy, p50), 0),
            added(proxy, p50),
            times(proxy, p99),
            show(of(proxy, p99), 0),
            added(proxy, p99),
            spread(of(proxy, p99), 0),
            times(proxy, first_p50),
            show(of(proxy, first_p50), 0),
            added(proxy, first_p50),
            times(proxy, first_p99),
            show(of(proxy, first_p99), 0),
            added(proxy, first_p99),
        ]);
    }
    Section {
        title: "Latency, one request at a time".into(),
        about:
            "One connection. Added is what is beyond the upstream without a proxy (direct). TTFT \
            is the time to a stream's first frame with content; the second comes 5 ms after it."
                .into(),
        table,
    }
}

fn frontier(findings: &Findings) -> Section {
    let of = |proxy: &Proxy, bound: usize| {
        let rounds: Vec<f64> = proxy
            .frontier
            .iter()
            .filter_map(|points| points.get(bound).map(|point| point.per_second))
            .collect();
        rounds
    };
    let middle = |proxy: &Proxy, bound: usize| Spread::of(&of(proxy, bound));
    let first = findings.proxies.first().map_or_else(Vec::new, |first| of(first, 2));
    let head = format!("× {} at 10 ms", base(findings));
    let mut table = Table::new([
        "proxy",
        &head,
        "1 ms",
        "5 ms",
        "10 ms",
        "50 ms",
        "100 ms",
        "low–high at 10 ms",
    ]);
    for proxy in findings.proxies.iter().chain([&findings.direct]) {
        let at_ten = middle(proxy, 2);
        table.row([
            proxy.name.clone(),
            times(&of(proxy, 2), &first),
            show_always(middle(proxy, 0), 0),
            show_always(middle(proxy, 1), 0),
            show_always(at_ten, 0),
            show_always(middle(proxy, 3), 0),
            show_always(middle(proxy, 4), 0),
            spread(at_ten, 0),
        ]);
    }
    Section {
        title: "Requests a second under a bound of the 99 % latency".into(),
        about: "Arrivals follow the clock, on up to 256 connections, and latency counts from the moment \
            a request was due. Steps are short: a rate a few percent beyond what can last may still \
            stay under the wide bounds. Direct is what the load and the upstream reach by themselves."
            .into(),
        table,
    }
}

fn sustained(findings: &Findings) -> Section {
    let of =
        |proxy: &Proxy| proxy.sustained.iter().map(|streams| *streams as f64).collect::<Vec<f64>>();
    let first = findings.proxies.first().map_or_else(Vec::new, of);
    let most = Spread::of(&of(&findings.direct)).map_or(f64::INFINITY, |most| most.median);
    let head = format!("× {}", base(findings));
    let mut table = Table::new(["proxy", &head, "streams", "low–high"]);
    for proxy in findings.proxies.iter().chain([&findings.direct]) {
        let streams = Spread::of(&of(proxy));
        let whole = streams.is_some_and(|streams| streams.median >= most);
        let mark = if whole { "≥ " } else { "" };
        table.row([
            proxy.name.clone(),
            times(&of(proxy), &first),
            format!("{mark}{}", show_always(streams, 0)),
            spread(streams, 0),
        ]);
    }
    Section {
        title: "Streams sustained at a pace of 20 ms".into(),
        about: "The most at which every frame arrives, 99 % of them within twice the pace; they begin over a \
            second. ≥ is as many \
            as the load and the upstream sustain by themselves, or as were tried."
            .into(),
        table,
    }
}

fn memory(findings: &Findings) -> Section {
    let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let mut table = Table::new(["proxy", "idle MB", "most under load MB", "after MB"]);
    for proxy in &findings.proxies {
        let memory = &proxy.memory;
        table.row([
            proxy.name.clone(),
            mb(memory.idle_bytes),
            mb(memory.loaded_bytes),
            mb(memory.after_bytes),
        ]);
    }
    Section {
        title: "Resident memory".into(),
        about: "Before the first measurement, at most during any, and after the last.".into(),
        table,
    }
}

fn syscalls(findings: &Findings) -> Section {
    let mut table =
        Table::new(["proxy", "per request", "per frame, full speed", "per frame, 5 ms pace"]);
    for proxy in &findings.proxies {
        let show = |figure: &dyn Fn(&super::Syscalls) -> f64| {
            proxy.syscalls.as_ref().map_or(NOTHING.into(), |calls| format!("{:.2}", figure(calls)))
        };
        table.row([
            proxy.name.clone(),
            show(&|calls| calls.request),
            show(&|calls| calls.frame_full_speed),
            show(&|calls| calls.frame_paced),
        ]);
    }
    Section {
        title: "System calls".into(),
        about: "Counted by perf over one measurement each; requests on 64 connections.".into(),
        table,
    }
}

fn cores(findings: &Findings) -> Section {
    let mut table = Table::new([
        "proxy",
        "two × one, by CPU",
        "low–high",
        "by requests/s",
        "low–high",
        "µs/request, one",
        "shared",
        "two",
        "requests/s, shared",
        "two",
    ]);
    let cpu = |work: &Work| work.user_us + work.system_us;
    for proxy in &findings.proxies {
        let find = |count: usize, shared: bool| {
            proxy.cores.iter().find(|cores| (cores.count, cores.shared) == (count, shared))
        };
        let (Some(alone), Some(one), Some(two)) = (find(1, false), find(1, true), find(2, true))
        else {
            continue;
        };
        let of = |cores: &Cores, figure: &dyn Fn(&Work) -> f64| {
            Spread::of(&cores.rounds.iter().map(figure).collect::<Vec<_>>())
        };
        // Each round by itself, so that a drift of the machine hits both alike.
        let times = |one: &Cores, figure: &dyn Fn(&Work, &Work) -> f64| {
            let pairs = one.rounds.iter().zip(&two.rounds);
            Spread::of(&pairs.map(|(one, two)| figure(one, two)).collect::<Vec<_>>())
        };
        let by_cpu = times(alone, &|one, two| 2.0 * cpu(one) / cpu(two));
        let faster = times(one, &|one, two| two.per_second / one.per_second);
        table.row([
            proxy.name.clone(),
            show(by_cpu, 2),
            spread(by_cpu, 2),
            show(faster, 2),
            spread(faster, 2),
            show(of(alone, &cpu), 1),
            show(of(one, &cpu), 1),
            show(of(two, &cpu), 1),
            show(of(one, &|work| work.per_second), 0),
            show(of(two, &|work| work.per_second), 0),
        ]);
    }
    Section {
        title: "One core and two".into(),
        about: "64 connections for each core of the load, as fast as they come. By CPU: two workers, each \
            of which shares its core with load and upstream, against one that has a core to itself; what \
            they would do at that CPU per request with cores of their own. By requests a second: \
            everything on one core, which they share, and on two."
            .into(),
        table,
    }
}

fn who(findings: &Findings) -> Section {
    let mut table = Table::new(["proxy", "does", "version"]);
    for proxy in &findings.proxies {
        table.row([proxy.name.clone(), proxy.does.clone(), proxy.version.clone()]);
    }
    Section {
        title: "Who took part".into(),
        about: "Each is one process on one core, with connections to the upstream kept.".into(),
        table,
    }
}

/// A median; nothing where nothing was measured or counted.
fn show(spread: Option<Spread>, digits: usize) -> String {
    show_always(spread.filter(|spread| spread.high > 0.0), digits)
}

/// A median, also where it is 0.
fn show_always(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or(NOTHING.into(), |spread| format!("{:.digits$}", spread.median))
}

fn spread(spread: Option<Spread>, digits: usize) -> String {
    spread.filter(|spread| spread.high > 0.0).map_or(NOTHING.into(), |spread| {
        format!("{:.digits$}–{:.digits$}", spread.low, spread.high)
    })
}

/// Rounds as multiples of the first proxy's.
fn times(own: &[f64], first: &[f64]) -> String {
    let ratio = figures::ratio(own, first).filter(|ratio| *ratio > 0.0);
    ratio.map_or(NOTHING.into(), |ratio| format!("{ratio:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::page::tests::findings;

    #[test]
    fn ratios_come_first_and_the_first_proxy_is_one() {
        let section = requests(&findings(), 64);
        let rows = section.table.rows();
        assert_eq!(rows[0][1], "× nginx");
        assert_eq!((rows[1][1].as_str(), rows[2][1].as_str()), ("1.00", "0.50"));
        assert_eq!(rows[2][5], "9.0–11.0");
    }

    #[test]
    fn two_cores_are_compared_with_one_round_by_round() {
        let section = cores(&findings());
        let row = &section.table.rows()[1];
        assert_eq!(row[1..5], ["2.00", "2.00–2.00", "2.00", "2.00–2.00"]);
    }

    #[test]
    fn what_was_not_measured_has_no_table() {
        let mut findings = findings();
        for proxy in &mut findings.proxies {
            proxy.frontier.clear();
        }
        let titles: Vec<String> =
            sections(&findings).into_iter().map(|section| section.title).collect();
        assert!(!titles.iter().any(|title| title.contains("99 %")), "{titles:?}");
    }
}
