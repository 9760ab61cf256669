//! The ledger as administrators ask it: pages, sums, files, and the comparison with a provider's own.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::base::{Base, ask, create, send, uses};
use super::tokens::status;
use crate::stand::Weir;

/// Requests of each key that is answered; each is answered with 5 tokens.
const ANSWERED: [(&str, u64); 3] = [("one", 7), ("two", 4), ("lab", 2)];
const ALL: u64 = 13;

fn get(weir: &Weir, role: &str, question: &str) -> (u16, Value) {
    ask(weir, role, "GET", &format!("ledger{question}"), &Value::Null)
}

fn items(weir: &Weir, role: &str, question: &str) -> Vec<Value> {
    let (status, answer) = get(weir, role, question);
    assert_eq!(status, 200, "{question}: {answer}");
    answer["items"].as_array().expect("items").clone()
}

/// Three keys of two tenants have been used, and the database has every record.
fn used(base: &Base) -> Weir {
    let weir = base.start();
    for (name, requests) in ANSWERED {
        let tenant = if name == "lab" { "lab" } else { "acme" };
        let (key, _) = create(&weir, name, &json!({ "tenant": tenant }));
        (0..requests).for_each(|_| assert_eq!(uses(&weir, &key), 200));
    }
    let give_up = Instant::now() + Duration::from_secs(40);
    loop {
        let sum = items(&weir, "auditor", "?total=true&status=200");
        if sum[0]["requests"] == ALL {
            return weir;
        }
        assert!(Instant::now() < give_up, "{sum:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn records_in_pages_and_sums_by_field() {
    Base::each(|base| {
        let weir = used(base);
        let mut found = BTreeSet::new();
        let (mut after, mut last) = (String::new(), String::new());
        loop {
            let (_, page) = get(&weir, "owner", &format!("?limit=2&status=200{after}"));
            for record in page["items"].as_array().expect("items") {
                let time = record["time"].as_str().expect("a time").to_owned();
                assert!(time >= last, "{time} after {last}");
                last = time;
                found.insert(record["request_id"].as_str().expect("an id").to_owned());
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(found.len() as u64, ALL);
        let sums = items(&weir, "operator", "?group_by=tenant,key&from=1h&status=200");
        let told: Vec<_> = sums.iter().map(|row| (&row["key"], &row["requests"])).collect();
        assert_eq!(
            told,
            [(&json!("one"), &json!(7)), (&json!("two"), &json!(4)), (&json!("lab"), &json!(2))]
        );
        assert_eq!(sums[0]["output_tokens"], 35);
        // The second of three rows, in pages of one.
        let (_, first) = get(&weir, "owner", "?group_by=key&limit=1&tenant=acme");
        let next = first["next"].as_str().expect("a next page");
        let second =
            items(&weir, "owner", &format!("?group_by=key&limit=1&tenant=acme&after={next}"));
        assert_eq!((&first["items"][0]["key"], &second[0]["key"]), (&json!("one"), &json!("two")));
        let month = &last[..7];
        assert_eq!(
            items(&weir, "auditor", &format!("?month={month}&key=two&total=true"))[0]["requests"],
            4
        );
        assert_eq!(items(&weir, "auditor", "?month=2020-01&total=true")[0]["requests"], 0);
        assert_eq!(items(&weir, "auditor", "?to=2001-01-01"), Vec::<Value>::new());
        // Sums of days are kept for ten years.
        assert_eq!(get(&weir, "auditor", "?month=2001-01&total=true").0, 422);
        for wrong in [
            "?group_by=nothing",
            "?group_by=key,key",
            "?from=yesterday",
            "?month=11",
            "?status=x",
            "?limit=0",
            "?limit=1001",
            "?after=x",
            "?after=5",
            "?group_by=key&after=1-2",
            "?hour=1",
            "?total=maybe",
            "?format=csv",
        ] {
            assert_eq!(get(&weir, "owner", wrong).0, 400, "{wrong}");
        }
    });
}

#[test]
fn each_sees_what_is_its_own() {
    Base::each(|base| {
        let weir = used(base);
        assert_eq!(get(&weir, "developer", "").0, 403);
        assert_eq!(get(&weir, "nobody", "").0, 401);
        for role in ["lab", "lab-owner"] {
            let records = items(&weir, role, "");
            assert_eq!(records.len(), 2);
            assert!(records.iter().all(|record| record["tenant"] == "lab"), "{records:?}");
            assert_eq!(items(&weir, role, "?total=true")[0]["requests"], 2);
            assert_eq!(items(&weir, role, "?group_by=tenant").len(), 1);
            assert_eq!(get(&weir, role, "?tenant=acme").0, 404);
            let (_, file) = send(&weir, role, "GET", "ledger/export", "");
            assert_eq!(file.lines().count(), 2);
            assert_eq!(
                ask(&weir, role, "POST", "ledger/reconcile?provider=sim", &Value::Null).0,
                403
            );
        }
    });
}

#[test]
fn whole_files() {
    Base::each(|base| {
        let weir = used(base);
        let (head, lines) = send(&weir, "auditor", "GET", "ledger/export?status=200", "");
        assert!(head.contains("application/jsonl"), "{head}");
        let keys: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["key"].clone())
            .collect();
        assert_eq!(keys.len() as u64, ALL);
        assert_eq!(keys.iter().filter(|key| *key == "two").count(), 4);
        let question = "ledger/export?format=csv&group_by=tenant,key&status=200";
        let (head, table) = send(&weir, "auditor", "GET", question, "");
        assert!(head.contains("text/csv"), "{head}");
        let rows: Vec<&str> = table.lines().collect();
        assert!(rows[0].starts_with("tenant,key,requests,"), "{table}");
        assert!(rows[1].starts_with("acme,one,7,") && rows.len() == 4, "{table}");
        let question = b"GET /admin/v1/ledger/export?format=parquet HTTP/1.0\r\n\
            authorization: Bearer auditor-auditor\r\n\r\n";
        let file = weir.send_admin(question);
        let begin = file.windows(4).position(|it| it == b"\r\n\r\n").expect("a body") + 4;
        assert!(file[begin..].starts_with(b"PAR1") && file.ends_with(b"PAR1"), "it is not whole");
        let (_, none) = send(&weir, "auditor", "GET", "ledger/export?to=2001-01-01", "");
        assert_eq!(none, "");
        assert_eq!(ask(&weir, "auditor", "GET", "ledger/export?limit=1", &Value::Null).0, 400);
    });
}

#[test]
fn beside_what_a_provider_says() {
    Base::each(|base| {
        let weir = used(base);
        let sum = items(&weir, "auditor", "?group_by=day,model&provider=sim").remove(0);
        let day = &sum["day"].as_str().expect("a day")[..10];
        let (input, output) =
            (&sum["input_tokens"], sum["output_tokens"].as_u64().expect("tokens"));
        let model = sum["model"].as_str().expect("a model");
        let export = |output: u64| {
            format!("date,model,input_tokens,output_tokens\n{day},{model},{input},{output}\n")
        };
        let compare = |question: &str, export: &str| {
            let path = format!("ledger/reconcile?provider=sim{question}");
            let (head, body) = send(&weir, "auditor", "POST", &path, export);
            (status(head.as_bytes()), serde_json::from_str::<Value>(&body).expect("JSON"))
        };
        let (code, same) = compare("&all=true", &export(output));
        assert_eq!(
            (code, &same["different"], &same["compared"]),
            (200, &json!(0), &json!(1)),
            "{same}"
        );
        assert_eq!(same["lines"][0]["day"], day);
        let (_, differs) = compare("", &export(output + 1));
        assert_eq!(
            (&differs["different"], &differs["lines"][0]["ledger"]["output_tokens"]),
            (&json!(1), &json!(output))
        );
        assert_eq!(compare("&tolerance=50", &export(output + 1)).1["different"], 0);
        assert_eq!(compare("&tolerance=x", "").0, 400);
        assert_eq!(compare("", "nothing").0, 422);
        let hostile = r#"{"data":[{"start_time":18446744073709551615,"results":[{"model":"m"}]}]}"#;
        assert_eq!(compare("", hostile).0, 422);
        // Longer than what is read of other requests.
        let long = format!("{}{}", export(output), "\n".repeat(100_000));
        assert_eq!(compare("", &long).1["different"], 0);
    });
}
