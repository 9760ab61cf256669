use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::clock::Duration;
use crate::config::{Size, Time};
use crate::database::{Database, Migrations, Place};
use crate::dialect::Usage;
use crate::ledger::books::{Books, MIGRATIONS};
use crate::ledger::listing::list;
use crate::ledger::spent::{By, spent};
use crate::ledger::verify::verify;
use crate::ledger::{Record, Settings};
use crate::telemetry::Metrics;

static ROOMS: [&Migrations; 1] = [&MIGRATIONS];

/// 2023-11-14, midnight.
const DAY: u64 = 1_699_920_000_000;
/// Between two records; three hours of them are less than a day.
const STEP_MS: u64 = 97_000;
const RECORDS: u64 = 2000;

fn record(number: u64) -> Record {
    let tenant = ["acme", "umbrella", "initech"][(number % 3) as usize];
    let error = number.is_multiple_of(7).then_some(crate::error::Kind::RateLimited);
    Record {
        time_unix_ms: DAY + number * STEP_MS,
        request_id: format!("req-{number}"),
        tenant: Some(tenant.into()),
        user: number.is_multiple_of(2).then(|| format!("user-{}", number % 4)),
        model_asked: Some("gpt".into()),
        model_served: Some(if number.is_multiple_of(5) { "gpt-4o".into() } else { "o3".into() }),
        provider: Some("openai".into()),
        status: if error.is_some() { 429 } else { 200 },
        error,
        usage: Usage { input: number, output: 1, ..Usage::default() },
        usage_source: "provider",
        cost_nano_usd: Some(number * 3),
        ..Record::default()
    }
}

fn filled(folder: &Path) -> Place {
    filled_with(folder, record)
}

fn filled_with(folder: &Path, record: impl Fn(u64) -> Record) -> Place {
    let place = Place::file(folder.join("weir.db"));
    let ever = Time::s(3_000_000_000);
    let settings = Settings {
        reserve: Size(0),
        keep: ever,
        keep_hours: ever,
        keep_days: ever,
        ..Settings::default()
    };
    let database = Database::open(place.clone(), &ROOMS, Metrics::new()).expect("opens");
    let (books, thread) = Books::start(&database, &settings).expect("starts");
    (0..RECORDS).for_each(|number| books.enter(&record(number)));
    assert!(thread.stop(Duration::from_secs(30)));
    place
}

fn rows(connection: &mut Connection, question: &Question) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    let each = &mut |cells: &[Cell]| {
        rows.push(cells.to_vec());
        Ok(())
    };
    question.ask(connection, each).expect("asked");
    rows
}

/// Requests, input tokens and cost.
fn total(connection: &mut Connection, filter: &Filter) -> [i64; 3] {
    let question = Question::sums(connection, filter, &[], Part::default()).expect("kept");
    let rows = rows(connection, &question);
    let number = |at: usize| match &rows[0][at] {
        Cell::Number(number) => *number,
        other => panic!("{other:?}"),
    };
    [number(0), number(2), number(10)]
}

fn expected(of: impl Fn(&u64) -> bool) -> [i64; 3] {
    let numbers: Vec<u64> = (0..RECORDS).filter(of).collect();
    let sum: u64 = numbers.iter().sum();
    [numbers.len() as i64, sum as i64, sum as i64 * 3]
}

#[test]
fn records_and_sums_are_what_was_entered() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut connection = Connection::open(&filled(folder.path())).expect("opens");
    let connection = &mut connection;
    assert_eq!(total(connection, &Filter::default()), expected(|_| true));
    let acme = vec![(Field::Tenant, "acme".to_owned()), (Field::Status, "429".to_owned())];
    let filter = Filter { with: acme, ..Filter::default() };
    assert_eq!(
        total(connection, &filter),
        expected(|n| n.is_multiple_of(3) && n.is_multiple_of(7))
    );
    let records = rows(connection, &Question::records(&filter, Part::default()));
    assert_eq!(records.len() as i64, expected(|n| n.is_multiple_of(3) && n.is_multiple_of(7))[0]);
    assert_eq!(records[1][2], Cell::Text("req-21".into()));
    let three = Part { after: None, limit: Some(3) };
    assert_eq!(rows(connection, &Question::records(&filter, three)).len(), 3);
    let by = [Field::Day, Field::Model];
    let question = Question::sums(connection, &Filter::default(), &by, Part::default());
    let by_day = rows(connection, &question.expect("kept"));
    assert_eq!(by_day[0][..2], [Cell::Number(DAY as i64), Cell::Text("gpt-4o".into())]);
    assert_eq!(by_day.len(), 6);
    let mut spending = Vec::new();
    let mine = expected(|n| n.is_multiple_of(3) && n.is_multiple_of(4));
    for by in [By::Caller, By::CallerAndModel] {
        spending.clear();
        let each = &mut |one| spending.push(one);
        spent(connection, (by, true), (Some(DAY), None), each).expect("kept");
        let users = spending.iter().filter(|one| (&*one.tenant, &*one.user) == ("acme", "user-0"));
        let sums = users
            .fold([0, 0], |[tokens, cost], one| [tokens + one.tokens, cost + one.cost_nano_usd]);
        assert_eq!(sums, [(mine[0] + mine[1]) as u64, mine[2] as u64], "{by:?}");
        let models = spending.iter().any(|one| !one.model.is_empty());
        assert_eq!(models, by == By::CallerAndModel);
    }
    for hour in (0..60).step_by(7) {
        let from_ms = Some(DAY + hour * HOUR_MS);
        let all = total(connection, &Filter { from_ms, ..Filter::default() });
        // By days and hours, by the sums of the same period with an end, and by provider.
        for (by, to_ms) in
            [(By::Caller, None), (By::Caller, Some(u64::MAX >> 1)), (By::Provider, None)]
        {
            let mut cost = 0;
            let each = &mut |one: crate::ledger::spent::Spent| cost += one.cost_nano_usd;
            spent(connection, (by, false), (from_ms, to_ms), each).expect("kept");
            assert_eq!(cost, all[2] as u64, "{by:?} {hour}");
        }
    }
}

#[test]
fn any_period_gives_the_sums_of_its_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let connection = Connection::open(&filled(folder.path())).expect("opens");
    let connection = std::cell::RefCell::new(connection);
    let end = DAY + RECORDS * STEP_MS;
    let moment = prop_oneof![
        DAY..end,
        (DAY / HOUR_MS..end / HOUR_MS).prop_map(|hour| hour * HOUR_MS),
        (DAY / DAY_MS..=end / DAY_MS).prop_map(|day| day * DAY_MS),
    ];
    let period = (proptest::option::of(moment.clone()), proptest::option::of(moment));
    let config = ProptestConfig { cases: 200, ..ProptestConfig::default() };
    proptest!(config, |((from_ms, to_ms) in period)| {
        let filter = Filter { from_ms, to_ms, with: Vec::new() };
        let within = |n: &u64| {
            let time = DAY + n * STEP_MS;
            from_ms.is_none_or(|from| time >= from) && to_ms.is_none_or(|to| time < to)
        };
        prop_assert_eq!(total(&mut connection.borrow_mut(), &filter), expected(within));
    });
}

#[test]
fn a_sum_that_is_wrong_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = filled(folder.path());
    let mut connection = Connection::open(&place).expect("opens");
    let journals = folder.path().join("weir.db.journal");
    let verified = verify(&mut connection, Some(&journals)).expect("verified");
    assert_eq!(verified.problems, Vec::<String>::new());
    assert_eq!((verified.records, verified.days, verified.waiting), (RECORDS, 3, 0));
    let sql = "UPDATE ledger_hours SET input_tokens = input_tokens + 1 WHERE from_ms = ?1";
    connection.execute(sql, &[DAY.into()]).expect("changed");
    connection.execute("DELETE FROM ledger_blocks WHERE id % 5 = 3", &[]).expect("gone");
    let verified = verify(&mut connection, None).expect("verified");
    assert!(verified.problems.len() >= 5, "{:?}", verified.problems);
}

#[test]
fn what_is_gone_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut connection = Connection::open(&filled(folder.path())).expect("opens");
    let mark = "INSERT INTO ledger_state (name, value) VALUES (?1, ?2) \
                ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let noon = DAY + 12 * HOUR_MS;
    connection.execute(mark, &["records_from_ms".into(), noon.into()]).expect("marked");
    let ask = |connection: &mut Connection, from_ms: u64, by: &[Field]| {
        let filter = Filter { from_ms: Some(from_ms), ..Filter::default() };
        Question::sums(connection, &filter, by, Part::default()).map(drop)
    };
    assert!(ask(&mut connection, DAY + HOUR_MS, &[Field::Hour]).is_ok());
    assert!(ask(&mut connection, noon + 1, &[]).is_ok());
    let error = ask(&mut connection, DAY + 1, &[]).expect_err("gone");
    assert!(error.message.contains("whole hours may go further back"), "{error}");
    connection.execute(mark, &["hours_from_ms".into(), (DAY + DAY_MS).into()]).expect("marked");
    let error = ask(&mut connection, DAY, &[Field::Hour]).expect_err("gone");
    assert!(error.message.contains("2023-11-15T00:00:00.000Z"), "{error}");
    assert!(ask(&mut connection, DAY, &[Field::Day]).is_ok());
}

/// The columns of both tables.
const COLUMNS: &str = "time_ms, number, dims, request_id, user_name, model_asked, attempts, tried, \
    input_tokens, output_tokens, cached_input_tokens, cache_creation_5m_tokens, \
    cache_creation_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, \
    cost_nano_usd, duration_us, ttft_us, body_in_bytes, body_out_bytes, named";

#[test]
fn pages_are_in_the_order_of_time_whichever_table_has_the_records() {
    let folder = tempfile::tempdir().expect("a folder");
    // What ends together began within a minute.
    let place = filled_with(folder.path(), |number| Record {
        time_unix_ms: DAY + number * 20 + number * 7919 % 60_000,
        ..record(number)
    });
    let mut connection = Connection::open(&place).expect("opens");
    let listed = |connection: &mut Connection, filter: &Filter, limit| {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let mut page: Vec<Vec<Cell>> = Vec::new();
            let part = Part { after, limit: Some(limit) };
            list(connection, filter, part, &mut |cells| {
                page.push(cells.to_vec());
                Ok(())
            })
            .expect("listed");
            after = page.last().and_then(|last| Mark::of_record(last));
            let ended = page.len() < limit as usize;
            all.extend(page);
            if ended {
                return all;
            }
        }
    };
    let user = vec![(Field::User, "user-2".to_owned())];
    let period = (Some(DAY + 30_000), Some(DAY + 60_000));
    let filters = [
        Filter::default(),
        Filter { with: user, ..Filter::default() },
        Filter { from_ms: period.0, to_ms: period.1, with: Vec::new() },
    ];
    let all = filters.each_ref().map(|filter| listed(&mut connection, filter, RECORDS + 1));
    let place = |row: &Vec<Cell>| match row[..2] {
        [Cell::Number(time), Cell::Number(number)] => (time, number),
        _ => panic!("{row:?}"),
    };
    assert!(all.iter().all(|rows| rows.is_sorted_by_key(place)));
    assert_eq!((all[0].len(), all[1].len()), (RECORDS as usize, RECORDS as usize / 4));
    assert!((100..RECORDS as usize).contains(&all[2].len()), "{}", all[2].len());
    let of_period = total(&mut connection, &filters[2]);
    assert_eq!(of_period[0], all[2].len() as i64);
    // As if a part of them had been entered before there were blocks.
    let moved = format!(
        "INSERT INTO ledger_records ({COLUMNS}) SELECT {COLUMNS} FROM ledger_rows WHERE first_ms IN \
         (SELECT first_ms FROM ledger_blocks WHERE id % 3 = 0)"
    );
    for sql in [&*moved, "DELETE FROM ledger_blocks WHERE id % 3 = 0"] {
        assert!(connection.execute(sql, &[]).expect("moved") > 3);
    }
    for (filter, all) in filters.iter().zip(&all) {
        assert_eq!(&listed(&mut connection, filter, 7), all);
        assert_eq!(&listed(&mut connection, filter, 500), all);
    }
    assert_eq!(total(&mut connection, &filters[2]), of_period);
    assert_eq!(verify(&mut connection, None).expect("verified").problems, Vec::<String>::new());
}
