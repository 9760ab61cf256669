//! Who a key or a token belongs to, among a hundred thousand keys of which ten thousand have a budget,
//! and whether its request is admitted.
//!
//! `cargo bench --bench tenant`. Goal: under 1 µs at the median for each of the two.

use std::collections::BTreeMap;
use std::hint::black_box;

use divan::Bencher;
use weir::dialect::Endpoint;
use weir::limit::{Actual, Estimate, Limits, Subject};
use weir::telemetry::Metrics;
use weir::tenant::{
    Access, Directory, KeyHasher, Presented, Record, Secret, Settings, Status, Terms, Written,
};

const KEYS: u32 = 100_000;

fn main() {
    divan::main();
}

fn key(number: u32) -> String {
    format!("weir-{number:08}-{number:048}")
}

/// Every tenth key has a budget of money.
fn terms(number: u32) -> Terms {
    let limits = if number.is_multiple_of(10) {
        serde_saphyr::from_str("[{ budgets: [{ period: month, usd: 100000 }] }]").expect("limits")
    } else {
        Vec::new()
    };
    Terms { models: vec!["gpt-*".into()], limits, ..Terms::default() }
}

fn record(hasher: &KeyHasher, number: u32) -> Record {
    Record {
        id: format!("{number:08}").into(),
        hash: hasher.hash(key(number).as_bytes()),
        previous: None,
        tenant: "acme".into(),
        team: None,
        name: format!("key-{number}").into(),
        status: Status::Active,
        expires_s: None,
        terms: terms(number),
    }
}

fn directory(hasher: &KeyHasher) -> Directory {
    let tenants = BTreeMap::from([("acme".to_owned(), Settings::default())]);
    let written = Written {
        access: Access::Keys,
        tenants: &tenants,
        issuers: &BTreeMap::new(),
        hasher: Some(hasher),
    };
    Directory::compile(written, None).unwrap_or_else(|found| panic!("{found:?}"))
}

#[divan::bench(sample_count = 1000, sample_size = 100)]
fn find_a_virtual_key(bencher: Bencher<'_, '_>) {
    let hasher = KeyHasher::new(b"a secret of sixteen characters");
    let directory = directory(&hasher);
    directory.apply((0..KEYS).map(|number| record(&hasher, number)).collect());
    let keys: Vec<String> = (0..KEYS).step_by(97).map(key).collect();
    let mut next = keys.iter().cycle();
    bencher.bench_local(move || {
        let secret = next.next().map_or(Secret::None, |key| Secret::One(key.as_bytes()));
        directory
            .authenticate(black_box(&Presented {
                secret,
                certificate: None,
                endpoint: Endpoint::ChatCompletions,
                address: None,
            }))
            .is_ok()
    });
}

/// Keys with a budget alone, in no order, after each of them was used once.
#[divan::bench(threads = [1, 2], sample_count = 1000, sample_size = 100)]
fn admit_and_settle_under_a_budget(bencher: Bencher<'_, '_>) {
    let hasher = KeyHasher::new(b"a secret of sixteen characters");
    let directory = directory(&hasher);
    directory.apply((0..KEYS).map(|number| record(&hasher, number)).collect());
    let limits = Limits::new(Metrics::new());
    let callers: Vec<_> = (0..KEYS)
        .step_by(10)
        .filter_map(|number| {
            let key = key(number);
            let presented = Presented {
                secret: Secret::One(key.as_bytes()),
                certificate: None,
                endpoint: Endpoint::ChatCompletions,
                address: None,
            };
            directory.authenticate(&presented).ok()
        })
        .collect();
    let subject = Subject { model: Some("gpt-4o"), user: None, request: None };
    let estimate = Estimate { tokens: 1200, cost_nano_usd: 12 };
    let admit = |number: usize| {
        let caller = &callers[number % callers.len()];
        let hold = limits.reserve(caller.limits.as_ref(), &subject, estimate);
        hold.map(|hold| hold.settle(Actual { tokens: 900, cost_nano_usd: 9 })).is_ok()
    };
    assert!((0..callers.len()).all(admit));
    bencher.with_inputs(|| rand::random_range(0..usize::MAX)).bench_values(admit);
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn apply_all_keys(bencher: Bencher<'_, '_>) {
    let hasher = KeyHasher::new(b"a secret of sixteen characters");
    bencher
        .with_inputs(|| {
            let records = (0..KEYS).map(|number| record(&hasher, number)).collect::<Vec<_>>();
            (directory(&hasher), records)
        })
        .bench_local_values(|(directory, records)| {
            directory.apply(records);
            directory
        });
}

#[divan::bench(sample_count = 1000, sample_size = 1)]
fn change_one_key(bencher: Bencher<'_, '_>) {
    let hasher = KeyHasher::new(b"a secret of sixteen characters");
    let directory = directory(&hasher);
    directory.apply((0..KEYS).map(|number| record(&hasher, number)).collect());
    let mut number = 0;
    bencher.bench_local(move || {
        number = (number + 1) % KEYS;
        directory.apply(vec![record(&hasher, number)]);
    });
}
