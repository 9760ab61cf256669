//! Many keys and a long audit log, in a file.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::database::{Migrations, Place};
use crate::dialect::Endpoint;
use crate::telemetry::Metrics;
use crate::tenant::{self, Directory, Presented, Secret, Written};

static ROOMS: [&Migrations; 1] = [&MIGRATIONS];
const KEYS: u32 = 100_000;

fn key(number: u32) -> String {
    format!("weir-{number:08}-{number:048}")
}

/// Enters keys as they are after they were made, all in one transaction.
fn fill(database: &Database, hasher: KeyHasher) {
    let filled = database.call_blocking(move |connection| {
        connection.transaction(|connection| {
            let sql = "INSERT INTO identity_keys (id, hash, tenant, team, name, status, terms, \
                       created_ms, created_by, changed) \
                       VALUES (?1, ?2, 'acme', 'research', ?3, 'active', ?4, 0, 'test', 1)";
            let plain = r#"{"labels":{"tier":"gold"},"models":["gpt-*"]}"#;
            let budget = r#"{"limits":[{"budgets":[{"period":"month","usd":100}]}]}"#;
            for number in 0..KEYS {
                // Ten thousand of them have a budget.
                let terms = if number.is_multiple_of(10) { budget } else { plain };
                let (id, name) = (format!("{number:08}"), format!("key-{number}"));
                let hash = hasher.hash(key(number).as_bytes());
                let values = [Value::from(&id), hash[..].into(), (&name).into(), terms.into()];
                connection.execute(sql, &values)?;
            }
            connection.execute("UPDATE identity_state SET version = 1", &[])
        })
    });
    filled.expect("filled");
}

fn directory(hasher: &KeyHasher) -> Directory {
    let teams = BTreeMap::from([("research".to_owned(), tenant::TeamSettings::default())]);
    let settings = tenant::Settings { teams, ..tenant::Settings::default() };
    let tenants = BTreeMap::from([("acme".to_owned(), settings)]);
    let written = Written {
        access: tenant::Access::Keys,
        tenants: &tenants,
        issuers: &BTreeMap::new(),
        hasher: Some(hasher),
    };
    Directory::compile(written, None).expect("right")
}

#[test]
fn a_hundred_thousand_keys_are_read_in_two_seconds_and_found_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::file(folder.path().join("weir.db"));
    let database = Database::open(place, &ROOMS, Metrics::new()).expect("opened");
    let hasher = KeyHasher::new(b"a secret of sixteen characters");
    fill(&database, hasher.clone());
    let office = Office::new(database, hasher.clone());
    let directory = directory(&hasher);
    let begun = Instant::now();
    let (version, changed) = office.changes_blocking(0).expect("read");
    directory.apply(changed);
    let took = begun.elapsed();
    assert_eq!((version, directory.len()), (1, KEYS as usize));
    let mut times: Vec<Duration> =
        (0..KEYS).step_by(7).map(|number| look_up(&directory, number)).collect();
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!("{KEYS} keys: read in {took:?}, found in {median:?} (median)");
    assert!(took < Duration::from_secs(2) * slack(), "{took:?}");
    assert!(median < Duration::from_micros(1) * slack(), "{median:?}");
}

#[tokio::test]
async fn a_long_audit_log_is_checked_page_by_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::file(folder.path().join("weir.db"));
    let database = Database::open(place, &ROOMS, Metrics::new()).expect("opened");
    let hasher = KeyHasher::new(b"a secret of sixteen characters");
    let office = Office::new(database.clone(), hasher.clone());
    let none = office.verify_audit().await.expect("checked");
    assert_eq!((none.entries, none.broken), (0, None));
    // Two pages exactly, and then a part of a third.
    for (entries, all) in [(2000, 2000), (345, 2345)] {
        let hasher = hasher.clone();
        let appended = database.call(move |connection| {
            connection.transaction(|connection| {
                let entry = Audited {
                    actor: "otto".into(),
                    role: "operator".into(),
                    action: "key.create".into(),
                    subject: "acme/ci".into(),
                    outcome: Outcome::Done,
                    detail: serde_json::json!({ "after": null }),
                };
                (0..entries).try_for_each(|_| audit::append(connection, &hasher, &entry))
            })
        });
        appended.await.expect("entered");
        let checked = office.verify_audit().await.expect("checked");
        assert_eq!((checked.entries, checked.broken), (all, None));
    }
    office.unrecorded(7, "callers").await.expect("entered");
    let last = office.audit(Page { after: Some("2345".into()), limit: 10 }).await.expect("read");
    assert_eq!(last.items[0].detail, serde_json::json!({ "requests": 7, "of": "callers" }));
    let change = async |sql: &'static str| {
        let done = database.call(move |connection| connection.batch(sql));
        done.await.expect("changed");
        office.verify_audit().await.expect("checked").broken.map(|broken| broken.number)
    };
    assert_eq!(change("DELETE FROM identity_audit WHERE number = 2346").await, Some(2346));
    assert_eq!(
        change("UPDATE identity_audit SET actor = 'x' WHERE number = 2001").await,
        Some(2001)
    );
    assert_eq!(change("DELETE FROM identity_audit WHERE number = 1000").await, Some(1000));
}

/// Builds without optimisation are several times slower than those that people run.
fn slack() -> u32 {
    if cfg!(debug_assertions) { 20 } else { 1 }
}

fn look_up(directory: &Directory, number: u32) -> Duration {
    let key = key(number);
    let presented = Presented {
        secret: Secret::One(key.as_bytes()),
        certificate: None,
        endpoint: Endpoint::ChatCompletions,
        address: None,
    };
    let begun = Instant::now();
    let caller = directory.authenticate(&presented);
    let took = begun.elapsed();
    assert!(caller.is_ok_and(|caller| *caller.id == *format!("acme/key-{number}")));
    took
}
