//! What translation costs: the CPU time of weir for every client's format and every upstream's.
//!
//! One weir on a core of its own stands before one simulated upstream that speaks all six formats.
//! The thirty-six pairs take turns, round after round, another one first each time, so that a drift
//! of the machine hits all alike. A pair of the same format is forwarded byte for byte; a pair of two
//! reads as the one and writes as the other, so it is set against the mean of the two that are
//! forwarded. Medians count.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use crate::client::{Endpoint, Shape};
use crate::compare::{Spread, Streams, Subject, Target, Work};
use crate::drive::{Load, Mix};
use crate::report::Table;
use crate::report::machine::Machine;
use crate::stand::{Config, Settings, Upstream, Weir};
use crate::units;

/// More tokens than any request asks for, so that the request alone decides.
const TOKENS: &str = "1000000";
/// Connections of whole answers, and tokens of each: about 1 KB.
const WHOLE: (usize, u32) = (64, 150);
/// Connections of streams at full speed, and tokens of each.
const STREAMS: (usize, u32) = (16, 500);
/// Length of a request's body.
const BODY_BYTES: usize = 615;
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Length of the load that opens connections before anything is measured.
const WARM_UP: Duration = Duration::from_millis(200);

/// A format of chats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Format {
    /// `OpenAI` Chat Completions.
    ChatCompletions,
    /// `OpenAI` Responses.
    Responses,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini `generateContent`.
    Gemini,
    /// Cohere's second chat API.
    Cohere,
    /// Bedrock Converse.
    Bedrock,
}

impl Format {
    const ALL: [Format; 6] = [
        Format::ChatCompletions,
        Format::Responses,
        Format::Anthropic,
        Format::Gemini,
        Format::Cohere,
        Format::Bedrock,
    ];

    const fn name(self) -> &'static str {
        match self {
            Format::ChatCompletions => "chat_completions",
            Format::Responses => "responses",
            Format::Anthropic => "anthropic",
            Format::Gemini => "gemini",
            Format::Cohere => "cohere",
            Format::Bedrock => "bedrock",
        }
    }

    const fn endpoint(self) -> Endpoint {
        match self {
            Format::ChatCompletions => Endpoint::Chat,
            Format::Responses => Endpoint::Responses,
            Format::Anthropic => Endpoint::Messages,
            Format::Gemini => Endpoint::Generate,
            Format::Cohere => Endpoint::CohereChat,
            Format::Bedrock => Endpoint::Converse,
        }
    }

    const fn dialect(self) -> (&'static str, &'static str) {
        match self {
            Format::ChatCompletions | Format::Responses => ("openai", "/v1"),
            other => (other.name(), ""),
        }
    }
}

/// What is measured, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Rounds; each measures every pair once, and the first is not counted.
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Length of one measurement.
    #[arg(long, default_value = "1s", value_parser = units::duration)]
    length: Duration,
    /// Formats of clients; by default all. May be repeated.
    #[arg(long = "client", value_enum, default_values_t = Format::ALL)]
    clients: Vec<Format>,
    /// Formats of upstreams; by default all. May be repeated.
    #[arg(long = "upstream", value_enum, default_values_t = Format::ALL)]
    upstreams: Vec<Format>,
    /// Let the answers of Responses clients be kept, which is their default: the cost of keeping is
    /// added to that of translating.
    #[arg(long)]
    store: bool,
    /// Core of weir.
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// Core of the upstream and the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// End with 1 if the median of all ratios, of requests or of frames, is higher than this.
    #[arg(long)]
    ratio_max: Option<f64>,
}

/// One pair.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The client's format.
    pub client: Format,
    /// The upstream's format.
    pub upstream: Format,
    /// Whole answers, by round.
    pub requests: Vec<Work>,
    /// Streams at full speed, by round.
    pub streams: Vec<Streams>,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// What it was measured on.
    pub machine: Machine,
    /// Rounds that count.
    pub rounds: u32,
    /// Length of one measurement, in seconds.
    pub length_s: f64,
    /// Every pair.
    pub pairs: Vec<Pair>,
}

impl Plan {
    /// The pairs that are asked for, and those that they are set against.
    fn pairs(&self) -> Vec<Pair> {
        let all = Format::ALL.into_iter().flat_map(|a| Format::ALL.map(|b| (a, b)));
        let asked = |client: Format, upstream: Format| {
            if client == upstream {
                self.clients.contains(&client) || self.upstreams.contains(&client)
            } else {
                self.clients.contains(&client) && self.upstreams.contains(&upstream)
            }
        };
        all.filter(|&(client, upstream)| asked(client, upstream))
            .map(|(client, upstream)| Pair {
                client,
                upstream,
                requests: Vec::new(),
                streams: Vec::new(),
            })
            .collect()
    }

    /// Whether the medians are within the bound, where there is one.
    pub fn is_within_bound(&self, findings: &Findings) -> bool {
        let Some(most) = self.ratio_max else { return true };
        [Pair::request_us as fn(&Pair) -> Option<Spread>, Pair::frames_ms].iter().all(|figure| {
            let ratios: Vec<f64> = findings.ratios(*figure).collect();
            Spread::of(&ratios).is_none_or(|ratios| ratios.median <= most)
        })
    }
}

impl Pair {
    fn request_us(&self) -> Option<Spread> {
        let sum = |work: &Work| work.user_us + work.system_us;
        Spread::of(&self.requests.iter().map(sum).collect::<Vec<_>>())
    }

    fn frames_ms(&self) -> Option<Spread> {
        let sum = |streams: &Streams| streams.user_ms + streams.system_ms;
        Spread::of(&self.streams.iter().map(sum).collect::<Vec<_>>())
    }
}

impl Findings {
    /// A figure as a multiple of what forwarding costs in the two formats.
    fn ratio(&self, pair: &Pair, figure: fn(&Pair) -> Option<Spread>) -> Option<f64> {
        let forwarded = |format: Format| {
            let own = |pair: &&Pair| pair.client == format && pair.upstream == format;
            self.pairs.iter().find(own).and_then(figure).map(|spread| spread.median)
        };
        let base = f64::midpoint(forwarded(pair.client)?, forwarded(pair.upstream)?);
        (base > 0.0).then_some(figure(pair)?.median / base)
    }

    fn ratios(&self, figure: fn(&Pair) -> Option<Spread>) -> impl Iterator<Item = f64> {
        let translated = self.pairs.iter().filter(|pair| pair.client != pair.upstream);
        translated.filter_map(move |pair| self.ratio(pair, figure))
    }
}

/// Measures every pair, round after round.
pub fn run(settings: &Settings, plan: &Plan) -> Result<Findings, String> {
    let workspace = settings.workspace()?;
    let flags = ["--tokens", TOKENS, "--itl", "0ms", "--records-max", "16"];
    let upstream = Upstream::start(&workspace, "upstream", &flags, &[plan.load_core])?;
    let config = configuration(&upstream);
    let weir = Weir::start(settings, &workspace, &config, true, &[plan.proxy_core])?;
    let target = Target { address: weir.address, headers: Vec::new() };
    let subject = Subject { target: &target, pid: Some(weir.child.pid()) };
    let mut pairs = plan.pairs();
    let explain = |pair: &Pair, error: String| {
        format!("{} to {}: {error}", pair.client.name(), pair.upstream.name())
    };
    for round in 0..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        let (count, first) = (pairs.len(), round as usize * 5);
        for pair in (0..count).map(|at| (at + first) % count) {
            let pair = &mut pairs[pair];
            // The first round opens connections and loads vocabularies.
            let length = if round == 0 { WARM_UP } else { plan.length };
            let whole = load(plan, &target, pair, false, length)?;
            let work = Work::of(&whole, subject).map_err(|error| explain(pair, error))?;
            let stream = load(plan, &target, pair, true, length)?;
            let (streams, _) =
                Streams::of(&stream, subject).map_err(|error| explain(pair, error))?;
            if round > 0 {
                pair.requests.push(work);
                pair.streams.push(streams);
            }
        }
    }
    Ok(Findings {
        machine: Machine::here(),
        rounds: plan.rounds,
        length_s: plan.length.as_secs_f64(),
        pairs,
    })
}

/// A closed loop of a client's requests for an upstream's model.
fn load(
    plan: &Plan,
    target: &Target,
    pair: &Pair,
    stream: bool,
    length: Duration,
) -> Result<Load, String> {
    let (connections, tokens) = if stream { STREAMS } else { WHOLE };
    let shape = Shape {
        model: Some(format!("{}-model", pair.upstream.name())),
        tokens,
        body_bytes: BODY_BYTES,
        store: plan.store,
        ..Shape::new(pair.client.endpoint(), stream)
    };
    let frames = stream.then_some(tokens);
    let mix = Arc::new(Mix::new(&[shape], &target.address.to_string(), frames)?);
    Ok(Load {
        duration: length,
        cores: vec![plan.load_core],
        validate: true,
        connections,
        timeout: TIMEOUT,
        ..Load::new(target.address, mix)
    })
}

/// A provider, a pool and a route for each format; the model says which.
fn configuration(upstream: &Upstream) -> Config {
    let (mut providers, mut pools, mut routes) = (json!({}), json!({}), Vec::<Value>::new());
    for format in Format::ALL {
        let (name, (dialect, path)) = (format.name(), format.dialect());
        providers[name] = json!({
            "dialect": dialect,
            "base_url": format!("http://{}{path}", upstream.address),
            "http": "http1",
        });
        if dialect == "openai" {
            providers[name]["formats"] = json!([name]);
        }
        pools[name] = json!({ "targets": [{ "provider": name }] });
        routes.push(json!({ "match": { "model": format!("{name}-*") }, "pool": name }));
    }
    Config::new().with("providers", providers).with("pools", pools).with("routes", routes.into())
}

/// Everything as text.
pub fn render(findings: &Findings) -> String {
    let mut table = Table::new([
        "client",
        "upstream",
        "CPU a request, µs",
        "ratio",
        "100,000 frames, ms",
        "ratio",
        "frames a second",
    ]);
    let shown = |figure: Option<f64>, digits: usize| {
        figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.digits$}"))
    };
    for pair in &findings.pairs {
        let forwarded = pair.client == pair.upstream;
        let ratio = |figure| findings.ratio(pair, figure).filter(|_| !forwarded);
        let speed: Vec<f64> = pair.streams.iter().map(|it| it.frames_per_second).collect();
        let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
        table.row([
            pair.client.name().into(),
            pair.upstream.name().into(),
            shown(median(pair.request_us()), 1),
            shown(ratio(Pair::request_us), 2),
            shown(median(pair.frames_ms()), 0),
            shown(ratio(Pair::frames_ms), 2),
            shown(median(Spread::of(&speed)), 0),
        ]);
    }
    let middle = |figure| {
        let ratios: Vec<f64> = findings.ratios(figure).collect();
        Spread::of(&ratios).map_or_else(
            || "–".to_owned(),
            |all| format!("{:.2} ({:.2} to {:.2})", all.median, all.low, all.high),
        )
    };
    format!(
        "{}\nratios to forwarding, the mean of both formats': requests {}, frames {}\n",
        table.render(),
        middle(Pair::request_us),
        middle(Pair::frames_ms)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(clients: &[Format], upstreams: &[Format]) -> Plan {
        Plan {
            rounds: 1,
            length: Duration::from_secs(1),
            clients: clients.into(),
            upstreams: upstreams.into(),
            store: false,
            proxy_core: 0,
            load_core: 1,
            ratio_max: Some(1.5),
        }
    }

    fn streams(user_ms: f64) -> Streams {
        let (frames, system_ms) = (1, 0.0);
        Streams {
            frames,
            frames_per_second: 1.0,
            user_ms,
            system_ms,
            gap_p50_us: 0.0,
            gap_p99_us: 0.0,
        }
    }

    #[test]
    fn every_pair_and_what_it_is_set_against() {
        assert_eq!(plan(&Format::ALL, &Format::ALL).pairs().len(), 36);
        let one = plan(&[Format::Gemini], &[Format::Cohere]).pairs();
        let named: Vec<_> = one.iter().map(|pair| (pair.client, pair.upstream)).collect();
        let (gemini, cohere) = (Format::Gemini, Format::Cohere);
        assert_eq!(named, [(gemini, gemini), (gemini, cohere), (cohere, cohere)]);
    }

    #[test]
    fn a_ratio_is_to_the_mean_of_both_formats() {
        let plan = plan(&[Format::Gemini], &[Format::Cohere]);
        let mut pairs = plan.pairs();
        for (pair, ms) in pairs.iter_mut().zip([100.0, 320.0, 300.0]) {
            pair.streams.push(streams(ms));
        }
        let machine = Machine::here();
        let mut findings = Findings { machine, rounds: 1, length_s: 1.0, pairs };
        assert_eq!(findings.ratios(Pair::frames_ms).collect::<Vec<_>>(), [1.6]);
        assert!(findings.ratios(Pair::request_us).next().is_none());
        assert!(!plan.is_within_bound(&findings));
        findings.pairs[1].streams = vec![streams(280.0)];
        assert!(plan.is_within_bound(&findings));
        assert!(render(&findings).contains("1.40"));
    }
}
