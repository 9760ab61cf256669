//! `/__mock/*`: reading the books and steering faults from outside the process.
//!
//! | call | effect |
//! |---|---|
//! | `GET /__mock/stats?records=N` | totals, and the last N requests |
//! | `GET /__mock/records?after=SEQUENCE&records=N` | the next N requests after that one |
//! | `GET /__mock/request?id=X` | the request with this `x-request-id` |
//! | `DELETE /__mock/stats` | forgets both |
//! | `GET`, `POST`, `DELETE /__mock/fault?prefix=P` | the global fault, as text (`stall=3@0.5`) |
//! | `POST /__mock/pause?ms=N`, `/__mock/resume` | closes and opens the listener |
//! | `POST /__mock/disconnect` | closes every connection |

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::outbound::{Gone, Head, Outbound};
use super::request::{Request, decode};
use super::shared::{Command, Shared};

/// How many records are shown unless the query says otherwise.
const RECORDS_SHOWN: usize = 100;

/// Answers a control request.
pub(super) async fn run(shared: &Shared, request: &Request, out: &mut Outbound<'_>) {
    let (status, body) = match act(shared, request) {
        Ok(body) => (200, body),
        Err((status, why)) => (status, json!({ "error": why }).to_string()),
    };
    // Whether the client still reads it is its own matter.
    let _: Result<(), Gone> = async {
        let length = Some(body.len());
        let head = Head { status, content_type: "application/json", headers: &[], length };
        out.head(&head).await?;
        out.data(body.as_bytes()).await?;
        out.finish().await
    }
    .await;
}

fn act(shared: &Shared, request: &Request) -> Result<String, (u16, String)> {
    let query = |name: &str| {
        let pairs = request.query.as_deref().unwrap_or_default().split('&');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| decode(value))
    };
    let number = |name: &str| {
        query(name)
            .map(|text| text.parse::<u64>().map_err(|_| (400, format!("`{name}` is not a number"))))
            .transpose()
    };
    let ok = || Ok(json!({ "ok": true }).to_string());
    let prefix = query("prefix").unwrap_or_default();
    match (&request.method, request.path.trim_end_matches('/')) {
        (&Method::GET, "/__mock" | "/__mock/stats") => {
            let limit = number("records")?.map_or(RECORDS_SHOWN, |number| number as usize);
            let stats = serde_json::to_value(shared.books.stats()).unwrap_or_default();
            let records = shared.books.records(limit);
            Ok(json!({ "stats": stats, "faults": shared.faults(), "records": records }).to_string())
        }
        (&Method::GET, "/__mock/records") => {
            let limit = number("records")?.map_or(RECORDS_SHOWN, |number| number as usize);
            let records = shared.books.records_after(number("after")?.unwrap_or_default(), limit);
            serde_json::to_string(&records).map_err(|why| (500, why.to_string()))
        }
        (&Method::GET, "/__mock/request") => {
            let id = query("id").ok_or((400, "which `id`?".to_owned()))?;
            let record = shared.books.by_request_id(&id);
            let record = record.ok_or_else(|| (404, format!("no request with id `{id}`")))?;
            serde_json::to_string(&record).map_err(|why| (500, why.to_string()))
        }
        (&Method::DELETE, "/__mock/stats") => {
            shared.books.clear();
            ok()
        }
        (&Method::GET, "/__mock/fault") => Ok(json!({ "faults": shared.faults() }).to_string()),
        (&Method::POST | &Method::PUT, "/__mock/fault") => {
            let text = String::from_utf8_lossy(&request.body);
            let rule = text.trim().parse().map_err(|why| (400, why))?;
            shared.set_fault(&prefix, Some(rule));
            ok()
        }
        (&Method::DELETE, "/__mock/fault") => {
            if prefix.is_empty() {
                shared.clear_faults();
            } else {
                shared.set_fault(&prefix, None);
            }
            ok()
        }
        (&Method::POST, "/__mock/pause") => {
            let pause = number("ms")?.map(Duration::from_millis);
            shared.tell(|| Command::Pause(pause, None));
            ok()
        }
        (&Method::POST, "/__mock/resume") => {
            shared.tell(|| Command::Resume(None));
            ok()
        }
        (&Method::POST, "/__mock/disconnect") => {
            shared.tell(|| Command::Disconnect(None));
            ok()
        }
        _ => Err((404, "see the documentation of mock::control".to_owned())),
    }
}
