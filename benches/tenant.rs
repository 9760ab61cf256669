//! Who a key or a token belongs to, among a hundred thousand keys of which ten thousand have a budget,
//! and whether its request is admitted.
//!
//! `cargo bench --bench tenant`. Goal: under 1 µs at the median for the two together, and the same for two
//! threads with different keys: no lock is shared by all cores.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use weir::dialect::Endpoint;
use weir::limit::{Actual, Estimate, Hold, Limits, Subject};
use weir::telemetry::Metrics;
use weir::tenant::{
    Access, Caller, Directory, KeyHasher, Presented, Record, Secret, Settings, Status, Terms,
    Written,
};

const KEYS: u32 = 100_000;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

/// All keys, and those with a budget, each of which was used once.
struct Stand {
    directory: Directory,
    limits: Limits,
    with_budget: Vec<String>,
}

impl Stand {
    fn new() -> Self {
        let hasher = KeyHasher::new(b"a secret of sixteen characters");
        let directory = directory(&hasher);
        directory.apply((0..KEYS).map(|number| record(&hasher, number)).collect());
        let with_budget = (0..KEYS).step_by(10).map(key).collect();
        let stand = Self { directory, limits: Limits::new(Metrics::new()), with_budget };
        for number in 0..stand.with_budget.len() {
            stand.admit(&stand.find(number)).settle(ACTUAL);
        }
        stand
    }

    /// Callers with a budget, found by their key.
    fn find(&self, number: usize) -> Arc<Caller> {
        let key = &self.with_budget[number % self.with_budget.len()];
        find(&self.directory, key).unwrap_or_else(|| unreachable!())
    }

    fn callers(&self) -> Vec<Arc<Caller>> {
        (0..self.with_budget.len()).map(|number| self.find(number)).collect()
    }

    fn admit(&self, caller: &Caller) -> Hold {
        let subject = Subject { model: Some("gpt-4o"), user: None, request: None };
        let estimate = Estimate { tokens: 1200, cost_nano_usd: 12 };
        let held = self.limits.reserve(caller.limits.as_ref(), &subject, estimate);
        held.unwrap_or_else(|_| unreachable!())
    }
}

const ACTUAL: Actual = Actual { tokens: 900, cost_nano_usd: 9 };

fn find(directory: &Directory, key: &str) -> Option<Arc<Caller>> {
    let presented = Presented {
        secret: Secret::One(key.as_bytes()),
        certificate: None,
        endpoint: Endpoint::ChatCompletions,
        address: None,
    };
    directory.authenticate(black_box(&presented)).ok()
}

/// One of them, in no order, as they come.
fn any() -> usize {
    rand::random_range(0..usize::MAX)
}

/// Of all keys, in no order.
#[divan::bench(threads = [1, 2], sample_count = 1000, sample_size = 100)]
fn find_a_virtual_key(bencher: Bencher<'_, '_>) {
    let stand = Stand::new();
    bencher
        .with_inputs(|| key(rand::random_range(0..KEYS)))
        .bench_refs(|key| find(&stand.directory, key));
}

/// What is admitted is given back outside of what is measured.
#[divan::bench(threads = [1, 2], sample_count = 1000, sample_size = 100)]
fn admit_under_a_budget(bencher: Bencher<'_, '_>) {
    let stand = Stand::new();
    let callers = stand.callers();
    bencher.with_inputs(any).bench_values(|number| stand.admit(&callers[number % callers.len()]));
}

#[divan::bench(threads = [1, 2], sample_count = 1000, sample_size = 100)]
fn settle_under_a_budget(bencher: Bencher<'_, '_>) {
    let stand = Stand::new();
    let callers = stand.callers();
    bencher
        .with_inputs(|| stand.admit(&callers[any() % callers.len()]))
        .bench_values(|hold| hold.settle(ACTUAL));
}

/// A whole request's share: who it is, whether it may, and what it has used.
#[divan::bench(threads = [1, 2], sample_count = 1000, sample_size = 100)]
fn find_admit_and_settle(bencher: Bencher<'_, '_>) {
    let stand = Stand::new();
    bencher.with_inputs(any).bench_values(|number| {
        stand.admit(&stand.find(number)).settle(ACTUAL);
    });
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
