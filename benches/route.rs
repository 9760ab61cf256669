//! Choosing where a request goes: the route among 1,000, and the target of a pool.
//!
//! `cargo bench --bench route`. Goal: well below 1 µs each, and no allocation as long as no
//! expression is involved.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use weir::clock;
use weir::dialect::{Dialect, Endpoint};
use weir::expression::{Caller, Query};
use weir::pool::{Environment, Outcome, Pick, Pool};
use weir::provider::{Catalogue, Provider};
use weir::route::{PoolRef, Table};
use weir::wire::fields::Fields;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const ROUTES: usize = 1000;

fn main() {
    divan::main();
}

/// 1,000 routes, of every kind in turn, and one for everything at the end.
fn table() -> Table {
    let mut yaml = String::new();
    for number in 0..ROUTES {
        let matches = match number % 6 {
            0 => format!("model: model-{number}"),
            1 => format!("model: 'family-{number}-*'"),
            2 => format!("model: [alias-{number}, 'group-{number}-*'], endpoint: chat_completions"),
            3 => format!("labels: {{ team: team-{number} }}"),
            4 => format!("headers: {{ x-tier: tier-{number} }}"),
            _ => format!("model: 'vendor-{number}/*', headers: {{ x-zone: 'eu-*' }}"),
        };
        let _ = writeln!(yaml, "- {{ match: {{ {matches} }}, pool: p }}");
    }
    yaml.push_str("- { match: { model: asked-by-expression, when: 'request.max_tokens > 1000 && request.labels.team == \"edge\"' }, pool: p }\n");
    yaml.push_str("- { pool: p }\n");
    let settings: Vec<weir::route::Settings> = serde_saphyr::from_str(&yaml).expect("settings");
    Table::compile(&settings, &|_| PoolRef::Index(0)).expect("compiles")
}

fn headers() -> Fields {
    ["host", "user-agent", "accept", "authorization", "content-type", "x-request-id"]
        .map(|name| (name, "something"))
        .into_iter()
        .collect()
}

#[divan::bench(args = [
    "model-0", "model-996", "family-997-large", "group-998-mini", "vendor-995/any", "none-matches",
    "asked-by-expression",
])]
fn route(bencher: Bencher<'_, '_>, model: &str) {
    let table = table();
    let headers = headers();
    let labels = BTreeMap::from([("team".to_owned(), "edge".to_owned())]).into();
    let query = Query {
        model: Some(model),
        endpoint: Endpoint::ChatCompletions,
        dialect: Dialect::OpenAi,
        headers: &headers,
        caller: Some(Caller::of("tenant/key", &labels)),
        user: None,
        metadata: None,
        stream: true,
        max_tokens: Some(2000),
        body_bytes: 615,
        unix_s: 0,
        region: "",
    };
    bencher
        .counter(ItemsCount::new(1u32))
        .bench_local(|| black_box(table.select(black_box(&query))));
}

fn pool(strategy: &str, targets: usize) -> Pool {
    let providers: BTreeMap<Arc<str>, Arc<Provider>> = (0..targets)
        .map(|number| {
            let yaml =
                format!("{{dialect: openai, base_url: 'http://127.0.0.1:{}'}}", 9000 + number);
            let settings = serde_saphyr::from_str(&yaml).expect("settings");
            let name = format!("p{number}");
            (
                name.as_str().into(),
                Provider::compile(&name, &settings, Catalogue::builtin(), None, None)
                    .expect("compiles"),
            )
        })
        .collect();
    let targets: Vec<String> = (0..targets)
        .map(|number| {
            format!("{{provider: p{number}, weight: {}, max_concurrent: 100}}", number % 3 + 1)
        })
        .collect();
    let yaml = format!("{{strategy: {strategy}, targets: [{}]}}", targets.join(", "));
    let environment = Environment {
        providers: &providers,
        pool_index: &|_| None,
        price: &|_, _| Some(1),
        previous: None,
        now: clock::now(),
    };
    let settings = serde_saphyr::from_str(&yaml).expect("settings");
    Pool::compile("bench", &settings, &environment).expect("compiles")
}

const STRATEGIES: [&str; 6] =
    ["weighted", "round_robin", "least_busy", "least_latency", "least_cost", "hash"];

/// A whole turn: a new pick, a lease, its end.
#[divan::bench(args = STRATEGIES, consts = [2, 8])]
fn select<const TARGETS: usize>(bencher: Bencher<'_, '_>, strategy: &str) {
    let pool = pool(strategy, TARGETS);
    let mut key = 0u64;
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut pick = Pick::new(Some(key));
        let lease = pool.try_select(&mut pick, clock::now()).expect("a target");
        lease.finish(black_box(Outcome::Success));
    });
}

/// The same through the waiting path, which does not wait here.
#[divan::bench]
fn select_async(bencher: Bencher<'_, '_>) {
    let pool = pool("least_busy", 8);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("ok");
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        runtime.block_on(async {
            let now = clock::now();
            let deadline = now + clock::Duration::from_secs(10);
            let lease = pool.select(&mut Pick::new(None), deadline).await.expect("a target");
            lease.finish(black_box(Outcome::Success));
        });
    });
}
