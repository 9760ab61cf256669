//! What the steps around one answer cost that have no benchmark of their own: time, and allocations.
//!
//! `cargo bench --bench exchange`. Each figure is for one small request: its head, the hold that
//! admits it, what its whole answer used, the head of that answer, and its settling. The frames of a
//! stream are in `relay` and `dialect`.

use std::sync::Arc;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use http::Method;
use weir::clock::Duration;
use weir::database::{Database, Migrations, Place};
use weir::dialect::{self, Dialect, Endpoint, NoText, Usage};
use weir::ledger::books::{self, Books};
use weir::ledger::{AttemptOutcome, AttemptRecord, Ledger, Record};
use weir::limit::{Actual, Estimate, Limits, Subject};
use weir::meter;
use weir::telemetry::Metrics;
use weir::tenant::{
    Access, Directory, KeySettings, Presented, Secret, Settings, Written, hash_form,
};
use weir::wire::fields::Fields;
use weir::wire::http1::{Decoder, Part};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const KEY: &str = "sk-0123456789abcdef0123456789abcdef";
const TENANTS: usize = 100;

const ANSWER: &str = concat!(
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_571bcec2d4c3f118\r\n",
    "openai-organization: acme\r\nopenai-processing-ms: 412\r\nopenai-version: 2020-10-01\r\n",
    "x-ratelimit-limit-requests: 10000\r\nx-ratelimit-limit-tokens: 2000000\r\n",
    "x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-remaining-tokens: 1999000\r\n",
    "content-length: 567\r\n\r\n",
    r#"{"id":"chatcmpl-571bcec2d4c3f118","object":"chat.completion","created":1795290294,"#,
    r#""model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"#,
    r#""A edge pool","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"#,
    r#""usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"#,
    r#""prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"#,
    r#""completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"#,
    r#""accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"#,
    r#""service_tier":"default","system_fingerprint":"fp_sim"}"#,
);

fn main() {
    divan::main();
}

fn directory() -> Directory {
    let key = |secret: &str| KeySettings {
        name: "client".into(),
        team: None,
        secret: None,
        hash: Some(hash_form(secret)),
        certificate: None,
        labels: [("team".to_owned(), "research".to_owned())].into(),
        models: Vec::new(),
        policies: Vec::new(),
        limits: Vec::new(),
        class: weir::config::Class::default(),
    };
    let other = |n| {
        (
            format!("tenant-{n}"),
            Settings { keys: vec![key(&format!("{KEY}-{n}"))], ..Settings::default() },
        )
    };
    let mut tenants: std::collections::BTreeMap<_, _> = (1..TENANTS).map(other).collect();
    tenants.insert("acme".into(), Settings { keys: vec![key(KEY)], ..Settings::default() });
    let written = Written {
        access: Access::Keys,
        tenants: &tenants,
        issuers: &std::collections::BTreeMap::new(),
        hasher: None,
    };
    Directory::compile(written, None).expect("keys that can be used")
}

fn request_headers() -> Fields {
    Fields::from_iter([
        ("host", "gateway.example"),
        ("user-agent", "OpenAI/Python 1.99.0"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("content-length", "615"),
        ("authorization", &format!("Bearer {KEY}")),
    ])
}

/// Which call a request is, and who makes it.
#[divan::bench]
fn head(bencher: Bencher<'_, '_>) {
    let (directory, headers) = (directory(), request_headers());
    bencher.bench(|| {
        let path = black_box("/v1/chat/completions");
        let call = dialect::classify(&Method::POST, path, None, &headers).expect("an endpoint");
        let found = dialect::credential(&headers, None, false).expect("one").expect("a key");
        let presented = Presented {
            secret: Secret::One(found.secret.as_bytes()),
            certificate: None,
            endpoint: call.endpoint,
            address: None,
        };
        let caller = directory.authenticate(&presented).expect("a known one");
        (call.endpoint, caller)
    });
}

/// What a request holds while it runs, taken and given back.
#[divan::bench]
fn reserve(bencher: Bencher<'_, '_>) {
    let limits = Limits::new(Metrics::new());
    let body = vec![b'a'; 615];
    bencher.bench(|| {
        let tokens = meter::estimate_tokens(black_box(&body)) + 1024;
        let hold = limits
            .reserve(None, &Subject::default(), Estimate { tokens, cost_nano_usd: 0 })
            .unwrap_or_else(|refusal| panic!("{}", refusal.error));
        hold.settle(Actual { tokens: 200, cost_nano_usd: 1 });
    });
}

/// From the upstream's bytes to the head and the body of its answer.
#[divan::bench]
fn answer(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(|| Bytes::from_static(ANSWER.as_bytes()))
        .counter(BytesCount::of_str(ANSWER))
        .bench_values(|mut read| {
            let mut decoder = Decoder::default();
            let head = decoder.head(&mut read, false).expect("well-formed").expect("whole");
            let Ok(Part::Data(body)) = decoder.body(&mut read) else { panic!("no body") };
            (head, body)
        });
}

/// What a whole answer used, in its provider's words.
#[divan::bench]
fn observe(bencher: Bencher<'_, '_>) {
    let body = &ANSWER[ANSWER.find("\r\n\r\n").expect("a head") + 4..];
    let (endpoint, dialect) = (Endpoint::ChatCompletions, Dialect::OpenAi);
    bencher.counter(BytesCount::of_str(body)).bench(|| {
        dialect::body_usage(endpoint, dialect, black_box(body.as_bytes()), &mut NoText)
            .expect("usage")
    });
}

fn record() -> Record {
    Record {
        time_unix_ms: 1_795_290_294_123,
        request_id: "571bcec2-d4c3-4118-8f0a-0123456789ab".into(),
        client: Some([10, 1, 2, 3].into()),
        caller: Some("client".into()),
        tenant: Some("acme".into()),
        route: Some("chat".into()),
        pool: Some("main".into()),
        endpoint: Some(Endpoint::ChatCompletions),
        dialect: Some(Dialect::OpenAi),
        model_asked: Some("gpt-4o-mini".into()),
        model_served: Some("gpt-4o-mini".into()),
        provider: Some("openai".into()),
        status: 200,
        attempts: std::iter::once(AttemptRecord {
            target: Arc::from("openai/gpt-4o-mini"),
            outcome: AttemptOutcome::Ok,
            status: Some(200),
            hedge: false,
            duration: Duration::from_micros(412_345),
        })
        .collect(),
        usage: Usage { input: 5, output: 3, ..Usage::default() },
        usage_source: "provider",
        cost_nano_usd: Some(2_550),
        ttft: Some(Duration::from_micros(412_345)),
        duration: Duration::from_micros(412_678),
        body_in_bytes: 615,
        body_out_bytes: 567,
        ..Record::default()
    }
}

/// The end of a request: metrics, and its line in the access log or none.
#[divan::bench(args = ["/dev/null", "off"])]
fn settle(bencher: Bencher<'_, '_>, log: &str) {
    let (ledger, _writer) = Ledger::start(Metrics::new(), log).expect("a ledger");
    let record = record();
    bencher.bench_local(|| {
        ledger.attempt("main", &record.attempts[0]);
        ledger.count(black_box(&record));
        ledger.enter(black_box(&record));
    });
}

/// The same with a ledger of record in a file, whose own threads work beside it.
#[divan::bench]
fn settle_recorded(bencher: Bencher<'_, '_>) {
    static ROOMS: [&Migrations; 1] = [&books::MIGRATIONS];
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::file(folder.path().join("weir.db"));
    let metrics = Metrics::new();
    let database = Database::open(place, &ROOMS, Arc::clone(&metrics)).expect("opens");
    let settings = weir::ledger::Settings::default();
    let (books, _thread) = Books::start(&database, &settings).expect("starts");
    let (ledger, _writer) = Ledger::start_with(metrics, "off", Some(books)).expect("a ledger");
    let record = record();
    bencher.bench_local(|| {
        ledger.attempt("main", &record.attempts[0]);
        ledger.count(black_box(&record));
        ledger.enter(black_box(&record));
    });
}
