//! Virtual keys, access requests and the audit log, through the admin API and the command line.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::base::{Base, ROLES, ask, create, token, uses};

#[test]
fn a_key_lives_from_its_making_to_its_end() {
    Base::each(|base| {
        let weir = base.start();
        let (key, id) = create(&weir, "ci", &json!({ "team": "research", "expires_in": "90d" }));
        assert!(key.starts_with(&format!("weir-{id}-")) && key.len() > 50, "{key}");
        assert_eq!(uses(&weir, &key), 200);
        for wrong in
            [&key[..key.len() - 1], &format!("{key}a"), &format!("weir-{id}-"), &key.to_uppercase()]
        {
            assert_eq!(uses(&weir, wrong), 401, "{wrong}");
        }
        let (_, shown) = ask(&weir, "auditor", "GET", &format!("keys/{id}"), &Value::Null);
        assert_eq!(
            (shown["name"].as_str(), shown["team"].as_str()),
            (Some("ci"), Some("research"))
        );
        assert!(!shown.to_string().contains(&key), "a key is shown once");
        let post = |what: &str, body: &Value| {
            ask(&weir, "operator", "POST", &format!("keys/{id}/{what}"), body)
        };
        let (_, rotated) = post("rotate", &json!({ "overlap": "1h" }));
        let second = rotated["key"].as_str().expect("a key").to_owned();
        assert_eq!((uses(&weir, &key), uses(&weir, &second)), (200, 200), "both, for an hour");
        let (_, rotated) = post("rotate", &json!({}));
        let third = rotated["key"].as_str().expect("a key").to_owned();
        let all = [uses(&weir, &key), uses(&weir, &second), uses(&weir, &third)];
        assert_eq!(all, [401, 401, 200], "without an overlap only the new one");
        assert_eq!(post("disable", &Value::Null).0, 200);
        assert_eq!(uses(&weir, &third), 401);
        assert_eq!(post("enable", &Value::Null).0, 200);
        assert_eq!(uses(&weir, &third), 200);
        assert_eq!(post("revoke", &Value::Null).0, 200);
        assert_eq!(uses(&weir, &third), 401);
        assert_eq!(post("enable", &Value::Null).0, 409, "revoked is for good");
        create(&weir, "ci", &json!({}));
        let (status, _) =
            ask(&weir, "operator", "POST", "keys", &json!({ "tenant": "acme", "name": "ci" }));
        assert_eq!(status, 409, "a name is one key's");
    });
}

#[test]
fn a_key_is_good_for_what_it_was_made_for() {
    Base::each(|base| {
        let weir = base.start();
        let terms = |terms: &Value| json!({ "terms": terms });
        let table = [
            ("models", json!({ "models": ["claude-*"] }), 403),
            ("model", json!({ "models": ["gpt-*"] }), 200),
            ("endpoints", json!({ "endpoints": ["messages"] }), 403),
            ("endpoint", json!({ "endpoints": ["chat_completions"] }), 200),
            ("sources", json!({ "sources": ["10.0.0.0/8"] }), 403),
            ("source", json!({ "sources": ["127.0.0.0/8"] }), 200),
            (
                "budget",
                json!({ "limits": [{ "budgets": [{ "period": "day", "tokens": 1 }] }] }),
                429,
            ),
        ];
        for (name, wanted, expected) in table {
            let (key, _) = create(&weir, name, &terms(&wanted));
            assert_eq!(uses(&weir, &key), expected, "{name}");
        }
        let (short, _) = create(&weir, "short", &json!({ "expires_in": "0s" }));
        assert_eq!(uses(&weir, &short), 401, "it has expired");
        for wrong in [
            json!({ "tenant": "nobody", "name": "x" }),
            json!({ "tenant": "acme", "name": "x", "team": "nobody" }),
            json!({ "tenant": "acme", "name": "a/b" }),
            json!({ "tenant": "acme", "name": "" }),
            json!({ "tenant": "acme", "name": "x", "terms": { "sources": ["10.0.0.0/99"] } }),
            json!({ "tenant": "acme", "name": "x", "terms": { "endpoints": ["nothing"] } }),
            json!({ "tenant": "acme", "name": "x", "terms": { "models": ["/(/"] } }),
            json!({ "tenant": "acme", "name": "x", "terms": { "limits": [{}] } }),
        ] {
            let (status, answer) = ask(&weir, "owner", "POST", "keys", &wrong);
            assert_eq!(status, 422, "{wrong}: {answer}");
        }
    });
}

#[test]
fn each_role_does_what_is_its_own() {
    Base::each(|base| {
        let weir = base.start();
        let (_, id) = create(&weir, "one", &json!({}));
        // In the order of `ROLES`.
        let table = [
            ("GET", "state".to_owned(), [200, 200, 200, 403]),
            ("GET", "keys".to_owned(), [200, 200, 200, 200]),
            ("POST", "keys".to_owned(), [400, 400, 403, 403]),
            ("POST", format!("keys/{id}/enable"), [200, 200, 403, 403]),
            ("POST", "requests".to_owned(), [400, 400, 403, 400]),
            ("POST", "requests/none/approve".to_owned(), [404, 403, 403, 403]),
            ("GET", "audit".to_owned(), [200, 403, 200, 403]),
            ("GET", "audit/verify".to_owned(), [200, 403, 200, 403]),
            ("POST", "config/reload".to_owned(), [200, 200, 403, 403]),
        ];
        for (method, path, expected) in table {
            let got = ROLES.map(|role| ask(&weir, role, method, &path, &Value::Null).0);
            assert_eq!(got, expected, "{method} {path}");
        }
        assert_eq!(ask(&weir, "nobody", "GET", "keys", &Value::Null).0, 401);
        // A token of one tenant neither sees nor changes another's.
        assert_eq!(ask(&weir, "lab", "GET", "keys", &Value::Null).1["items"], json!([]));
        assert_eq!(ask(&weir, "lab", "GET", &format!("keys/{id}"), &Value::Null).0, 404);
        assert_eq!(ask(&weir, "lab", "POST", &format!("keys/{id}/revoke"), &Value::Null).0, 404);
        let of_acme = json!({ "tenant": "acme", "name": "x" });
        assert_eq!(ask(&weir, "lab", "POST", "keys", &of_acme).0, 404);
        assert_eq!(ask(&weir, "lab", "GET", "state", &Value::Null).0, 403);
        let (_, log) = ask(&weir, "owner", "GET", "audit?limit=1000", &Value::Null);
        let refused = |entry: &&Value| entry["outcome"] == "refused";
        let entries = log["items"].as_array().expect("entries");
        assert!(entries.iter().filter(refused).count() >= 20, "{log}");
        assert_eq!(entries[0]["action"], "key.create");
        assert_eq!(entries[0]["actor"], "operator");
    });
}

#[test]
fn more_access_is_asked_for_and_decided_on() {
    Base::each(|base| {
        let weir = base.start();
        let (key, id) = create(&weir, "one", &json!({ "terms": { "models": ["claude-*"] } }));
        assert_eq!(uses(&weir, &key), 403);
        let wanted = json!({ "key": id, "wanted": { "models": ["gpt-4o"] }, "reason": "a trial" });
        let (_, asked) = ask(&weir, "developer", "POST", "requests", &wanted);
        let decide = |what: &str| {
            let path = format!("requests/{}/{what}", asked["id"].as_str().expect("an id"));
            ask(&weir, "owner", "POST", &path, &json!({ "note": "for a month" }))
        };
        let (_, open) = ask(&weir, "owner", "GET", "requests?status=open", &Value::Null);
        assert_eq!(open["items"][0]["reason"], "a trial");
        assert_eq!(decide("approve").0, 200);
        assert_eq!(uses(&weir, &key), 200, "it holds at once");
        assert_eq!(decide("decline").0, 409, "it is decided");
        let budget = json!([{ "budgets": [{ "period": "month", "tokens": 1 }] }]);
        let wanted = json!({ "key": id, "wanted": { "limits": budget }, "reason": "less" });
        let (_, asked) = ask(&weir, "developer", "POST", "requests", &wanted);
        let path = format!("requests/{}/decline", asked["id"].as_str().expect("an id"));
        assert_eq!(ask(&weir, "owner", "POST", &path, &Value::Null).1["status"], "declined");
        assert_eq!(uses(&weir, &key), 200, "nothing has changed");
        let (_, log) = ask(&weir, "auditor", "GET", "audit", &Value::Null);
        let actions = log["items"].as_array().expect("entries").iter();
        let actions: Vec<&str> = actions.filter_map(|entry| entry["action"].as_str()).collect();
        let wanted = [
            "key.create",
            "access.request",
            "access.approve",
            "access.decline",
            "access.request",
            "access.decline",
        ];
        assert_eq!(actions, wanted, "with the decision that came too late");
    });
}

#[test]
fn another_weir_with_the_same_database_knows_within_a_second_and_after_a_restart() {
    Base::each(|base| {
        let (first, second) = (base.start(), base.start());
        let (key, id) = create(&first, "one", &json!({}));
        let within_a_second = |expected: u16| {
            let begun = Instant::now();
            while uses(&second, &key) != expected {
                assert!(begun.elapsed() < Duration::from_secs(1), "{expected} after a second");
                std::thread::sleep(Duration::from_millis(10));
            }
            println!("{expected} on the other after {:?}", begun.elapsed());
        };
        within_a_second(200);
        let (status, _) = ask(&first, "owner", "POST", &format!("keys/{id}/disable"), &Value::Null);
        assert_eq!(status, 200);
        within_a_second(401);
        assert_eq!(
            ask(&second, "owner", "POST", &format!("keys/{id}/enable"), &Value::Null).0,
            200
        );
        drop((first, second));
        assert_eq!(uses(&base.start(), &key), 200);
    });
}

#[test]
fn the_audit_log_shows_that_it_was_changed() {
    Base::each(|base| {
        let weir = base.start();
        for name in ["a", "b", "c"] {
            create(&weir, name, &json!({}));
        }
        let verify = || ask(&weir, "auditor", "GET", "audit/verify", &Value::Null).1;
        assert_eq!((verify()["entries"].as_u64(), &verify()["broken"]), (Some(3), &Value::Null));
        let change = |sql: &str| base.change(sql);
        change("UPDATE identity_audit SET actor = 'nobody' WHERE number = 2");
        assert_eq!(verify()["broken"]["number"], 2);
        change("UPDATE identity_audit SET actor = 'operator' WHERE number = 2");
        assert_eq!(verify()["broken"], Value::Null);
        change("DELETE FROM identity_audit WHERE number = 3");
        assert_eq!(verify()["broken"]["why"], "the end of the log is missing");
    });
}

#[test]
fn what_policies_refuse_is_in_the_audit_log() {
    Base::each(|base| {
        let weir = base.start();
        let policies = json!([
            { "name": "closed", "when": "request.model == \"gpt-4o\"", "deny": "Closed." },
        ]);
        let (key, _) = create(&weir, "ci", &json!({ "terms": { "policies": policies } }));
        assert_eq!(uses(&weir, &key), 403);
        let deadline = Instant::now() + Duration::from_secs(10);
        let entry = loop {
            let (_, log) = ask(&weir, "auditor", "GET", "audit", &Value::Null);
            let entries = log["items"].as_array().expect("entries");
            if let Some(entry) = entries.iter().find(|entry| entry["action"] == "policy.refuse") {
                break entry.clone();
            }
            assert!(Instant::now() < deadline, "{log}");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!((&entry["actor"], &entry["role"]), (&json!("acme/ci"), &json!("caller")));
        assert_eq!(entry["subject"], "policy closed of key acme/ci");
        assert_eq!(
            (&entry["outcome"], &entry["detail"]["model"]),
            (&json!("refused"), &json!("gpt-4o"))
        );
        assert_eq!(entry["detail"]["endpoint"], "chat_completions");
        // A flood is bounded: what is beyond is a number.
        for _ in 0..100 {
            assert_eq!(uses(&weir, &key), 403);
        }
        let begun = Instant::now();
        let told = loop {
            let (_, log) = ask(&weir, "auditor", "GET", "audit?limit=1000", &Value::Null);
            let entries = log["items"].as_array().expect("entries").clone();
            let of = |action: &str| {
                entries
                    .iter()
                    .filter(|entry| entry["action"] == action)
                    .cloned()
                    .collect::<Vec<_>>()
            };
            let (each, beyond) = (of("policy.refuse").len() as u64, of("refusals.unrecorded"));
            let beyond: u64 =
                beyond.iter().filter_map(|entry| entry["detail"]["requests"].as_u64()).sum();
            if each + beyond == 101 {
                break (each, beyond);
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{each} and {beyond}");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!((60..101).contains(&told.0), "{told:?}");
        assert!(
            ask(&weir, "auditor", "GET", "audit/verify", &Value::Null).1.get("broken").is_none()
        );
        // What has just been refused is not lost with an orderly end.
        let (other, _) = create(&weir, "other", &json!({ "terms": { "policies": policies } }));
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(uses(&weir, &other), 403);
        weir.end();
        let weir = base.start();
        let (_, log) = ask(&weir, "auditor", "GET", "audit?limit=1000", &Value::Null);
        assert!(log.to_string().contains("policy closed of key acme/other"), "{log}");
    });
}

#[test]
fn the_command_line_does_the_same() {
    Base::each(|base| {
        let weir = base.start();
        let run = |role: &str, arguments: &[&str]| -> (bool, Value) {
            let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
            let admin = weir.admin.to_string();
            command.args(&arguments[..1]).args(["--admin", &admin]).args(&arguments[1..]);
            let output = command.env("WEIR_ADMIN_TOKEN", token(role)).output().expect("it runs");
            let answer = serde_json::from_slice(&output.stdout);
            (output.status.success(), answer.unwrap_or_default())
        };
        let policy = r#"{"name":"large","when":"request.max_tokens > 9","deny":"At most nine."}"#;
        let budget = r#"{"budgets":[{"period":"month","usd":100}]}"#;
        let (ok, made) = run(
            "operator",
            &[
                "keys",
                "create",
                "--tenant",
                "acme",
                "--team",
                "research",
                "--name",
                "cli",
                "--expires-in",
                "30d",
                "--label",
                "tier=gold",
                "--model",
                "gpt-*",
                "--limit",
                budget,
                "--policy",
                policy,
            ],
        );
        assert!(ok, "{made}");
        assert_eq!(made["terms"]["limits"][0]["budgets"][0]["usd"], 100.0);
        assert_eq!(made["terms"]["policies"][0]["name"], "large");
        let (key, id) = (made["key"].as_str().expect("a key"), made["id"].as_str().expect("an id"));
        assert_eq!(uses(&weir, key), 200);
        assert_eq!(run("auditor", &["keys", "show", id]).1["name"], "cli");
        let listed = run("auditor", &["keys", "list", "--tenant", "acme", "--limit", "1"]).1;
        assert_eq!(listed["items"][0]["id"], id);
        let (_, rotated) = run("operator", &["keys", "rotate", id, "--overlap", "1h"]);
        assert_eq!(uses(&weir, rotated["key"].as_str().expect("a key")), 200);
        assert!(run("operator", &["keys", "disable", id]).0);
        assert_eq!(uses(&weir, key), 401);
        assert!(run("operator", &["keys", "enable", id]).0);
        let ask = ["access", "request", id, "--model", "claude-*", "--reason", "a trial"];
        let (_, asked) = run("developer", &ask);
        let request = asked["id"].as_str().expect("an id");
        assert!(!run("developer", &["access", "approve", request]).0, "not for a developer");
        assert!(run("owner", &["access", "approve", request, "--note", "yes"]).0);
        assert_eq!(run("owner", &["access", "list", "--status", "open"]).1["items"], json!([]));
        let ask = ["access", "request", id, "--no-limits", "--reason", "no bounds"];
        let request = run("developer", &ask).1["id"].as_str().expect("an id").to_owned();
        let (_, granted) = run("owner", &["access", "approve", &request]);
        assert_eq!(granted["wanted"]["limits"], json!([]), "{granted}");
        assert_eq!(run("auditor", &["keys", "show", id]).1["terms"].get("limits"), None);
        assert!(run("operator", &["keys", "revoke", id]).0);
        assert!(run("auditor", &["audit", "verify"]).0);
        assert!(
            run("auditor", &["audit", "list"]).1["items"].as_array().is_some_and(|it| it.len() > 6)
        );
        assert!(!run("nobody", &["keys", "list"]).0);
        assert_eq!(run("auditor", &["state"]).1["ready"], true);
        let version = &run("auditor", &["status"]).1["plan_version"];
        let reloaded = run("operator", &["reload"]);
        assert!(reloaded.0 && reloaded.1["plan_version"].as_u64() > version.as_u64());
        assert!(!run("developer", &["reload"]).0);
        let (_, document) = run("developer", &["openapi"]);
        let paths = document["paths"].as_object().expect("paths").values();
        let operations = paths.flat_map(|path| path.as_object().expect("methods").values());
        for operation in operations {
            let id = operation["operationId"].as_str().expect("an id");
            let help = Command::new(env!("CARGO_BIN_EXE_weir"))
                .args(command_of(id))
                .arg("--help")
                .output()
                .expect("it runs");
            assert!(help.status.success(), "{id}: {}", String::from_utf8_lossy(&help.stderr));
        }
    });
}

/// The command that does what an operation of the admin API does.
fn command_of(operation: &str) -> Vec<&str> {
    match operation {
        "state.show" => vec!["state"],
        "limits.show" => vec!["limits"],
        "config.status" => vec!["status"],
        "config.reload" => vec!["reload"],
        "document.show" => vec!["openapi"],
        _ => {
            let (room, what) = operation.split_once('.').expect("a room and what is done");
            vec![if room == "key" { "keys" } else { room }, what]
        }
    }
}
