//! Requests of the table, one after the other done by the [`Office`](crate::manage::Office).

use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Action, Operation, ledger};
use crate::admin::access::Operator;
use crate::admin::answer::{Answer, Asked};
use crate::admin::{Desk, View};
use crate::manage::{Access, Audited, Error, Outcome, PAGE_DEFAULT, PAGE_MAX, Page, Paged, Reason};
use crate::tenant::Status;

/// Does what is asked for.
pub(in crate::admin) async fn handle(
    view: &dyn View,
    operation: &Operation,
    id: &str,
    operator: &Operator,
    asked: &Asked<'_>,
) -> Answer {
    let answered = async {
        let pairs = pairs(operation, asked)?;
        if let Action::QueryLedger | Action::ExportLedger | Action::ReconcileLedger =
            operation.action
        {
            return ledger::answer(view, operation.action, &operator.actor, &pairs, asked).await;
        }
        let value = done(view, operation, id, operator, (asked, pairs)).await?;
        let status = StatusCode::from_u16(operation.status).unwrap_or(StatusCode::OK);
        Ok(Answer::json(status, &value))
    };
    answered.await.unwrap_or_else(|answer| answer)
}

/// Enters a refused request in the audit log, where there is one.
pub(in crate::admin) async fn refused(
    view: &dyn View,
    operation: Option<&Operation>,
    operator: Option<&Operator>,
    asked: &Asked<'_>,
    answer: &Answer,
) {
    let Some(desk) = view.desk() else { return };
    if !view.may_enter_refusal() {
        return;
    }
    let entry = Audited {
        actor: operator.map_or("", |operator| operator.actor.name.as_str()).to_owned(),
        role: operator.map_or("", |operator| operator.actor.role).to_owned(),
        action: operation.map_or("", |operation| operation.name).to_owned(),
        subject: bounded(asked.uri.path()),
        outcome: Outcome::Refused,
        detail: json!({ "method": asked.method.as_str(), "status": answer.status().as_u16() }),
    };
    if let Err(error) = desk.office.refused(entry).await {
        log::warn!("a refused request is missing in the audit log: {error}");
    }
}

/// What a client sent, as far as it goes into the log.
pub(super) fn bounded(path: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    path.chars().take(CHARACTERS_MAX).collect()
}

async fn done(
    view: &dyn View,
    operation: &Operation,
    id: &str,
    operator: &Operator,
    (asked, pairs): (&Asked<'_>, Vec<(&'static str, String)>),
) -> Result<Value, Answer> {
    let actor = &operator.actor;
    let query = Query::read(pairs)?;
    match operation.action {
        Action::State => return Ok(super::super::answer::state(view)),
        Action::Limits => return Ok(view.limits(query.owner.as_deref().unwrap_or_default())),
        Action::ConfigStatus => return value(&view.config_status()),
        Action::ConfigReload => return super::super::answer::reload(view).await,
        Action::Document => return Ok(super::document().clone()),
        _ => {}
    }
    let desk = view.desk().ok_or_else(no_storage)?;
    let Desk { office, plan } = &desk;
    let result = match operation.action {
        Action::ListKeys => {
            let keys = office.keys(actor, query.tenant, query.team, query.page).await;
            return page(keys.map_err(failed)?);
        }
        Action::ListRequests => {
            let requests = office.requests(actor, query.status, query.page).await;
            return page(requests.map_err(failed)?);
        }
        Action::ListAudit => return page(office.audit(query.page).await.map_err(failed)?),
        Action::ShowKey => return value(&office.key(actor, id).await.map_err(failed)?),
        Action::VerifyAudit => return value(&office.verify_audit().await.map_err(failed)?),
        Action::CreateKey => {
            let created = office.create_key(actor, body(asked)?, &plan.callers).await;
            value(&created.map_err(failed)?)
        }
        Action::RotateKey => {
            value(&office.rotate_key(actor, id, body(asked)?).await.map_err(failed)?)
        }
        Action::DisableKey => status(&desk, operator, id, Status::Disabled).await,
        Action::EnableKey => status(&desk, operator, id, Status::Active).await,
        Action::RevokeKey => status(&desk, operator, id, Status::Revoked).await,
        Action::CreateRequest => {
            let request = office.ask(actor, body(asked)?, &plan.callers).await;
            value(&request.map_err(failed)?)
        }
        Action::ApproveRequest => {
            let decided = office.decide(actor, id, Access::Approved, body(asked)?).await;
            value(&decided.map_err(failed)?)
        }
        Action::DeclineRequest => {
            let decided = office.decide(actor, id, Access::Declined, body(asked)?).await;
            value(&decided.map_err(failed)?)
        }
        Action::State
        | Action::Limits
        | Action::ConfigStatus
        | Action::ConfigReload
        | Action::Document
        | Action::QueryLedger
        | Action::ExportLedger
        | Action::ReconcileLedger => {
            return Ok(Value::Null);
        }
    };
    // Whoever reads the answer can rely on it.
    view.sync_keys().await;
    result
}

async fn status(
    desk: &Desk,
    operator: &Operator,
    id: &str,
    status: Status,
) -> Result<Value, Answer> {
    value(&desk.office.set_key_status(&operator.actor, id, status).await.map_err(failed)?)
}

pub(super) fn value<T: Serialize>(of: &T) -> Result<Value, Answer> {
    serde_json::to_value(of).map_err(|error| {
        log::error!("an answer of the admin API cannot be written: {error}");
        Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer cannot be written")
    })
}

fn page<T: Serialize>(page: Paged<T>) -> Result<Value, Answer> {
    let items = value(&page.items)?;
    Ok(match page.next {
        Some(next) => json!({ "items": items, "next": next }),
        None => json!({ "items": items }),
    })
}

fn no_storage() -> Answer {
    let message = "this needs `storage` and `identity` in the configuration";
    Answer::error(StatusCode::CONFLICT, "no_storage", message)
}

fn failed(error: Error) -> Answer {
    match error {
        Error::Refused(reason, message) => {
            let (status, code) = match reason {
                Reason::NotFound => (StatusCode::NOT_FOUND, "not_found"),
                Reason::Conflict => (StatusCode::CONFLICT, "conflict"),
                Reason::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            };
            Answer::error(status, code, message)
        }
        Error::Database(error) => {
            log::error!("admin API: the database: {error}");
            let message = "the database cannot do it now; nothing has changed";
            Answer::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}

pub(super) fn wrong(message: impl Into<String>) -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, "bad_request", message)
}

fn body<T: DeserializeOwned>(asked: &Asked<'_>) -> Result<T, Answer> {
    let body: &[u8] = if asked.body.is_empty() { b"{}" } else { asked.body };
    let text = std::str::from_utf8(body).map_err(|_| wrong("the body is not UTF-8"))?;
    if text.contains('\0') || text.contains("\\u0000") {
        return Err(wrong("a text holds NUL"));
    }
    serde_json::from_str(text).map_err(|error| wrong(format!("the body: {error}")))
}

/// The parameters of the query, of those that there are.
fn pairs(operation: &Operation, asked: &Asked<'_>) -> Result<Vec<(&'static str, String)>, Answer> {
    let pairs = asked.uri.query().unwrap_or_default().split('&');
    let read = |pair: &str| {
        let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
        let known = operation.parameters().find(|known| known.name == name);
        let unknown = || wrong(format!("there is no parameter `{}` here", bounded(name)));
        let name = known.ok_or_else(unknown)?.name;
        let text = raw.replace('+', " ");
        let text = percent_decode_str(&text).decode_utf8();
        let text = text.map_err(|_| wrong(format!("`{name}` is not UTF-8")))?.into_owned();
        if text.contains('\0') {
            return Err(wrong(format!("`{name}` holds NUL")));
        }
        Ok((name, text))
    };
    pairs.filter(|pair| !pair.is_empty()).map(read).collect()
}

/// What the query says.
struct Query {
    owner: Option<String>,
    tenant: Option<String>,
    team: Option<String>,
    status: Option<Access>,
    page: Page,
}

impl Query {
    fn read(pairs: Vec<(&'static str, String)>) -> Result<Self, Answer> {
        let mut query = Self {
            owner: None,
            tenant: None,
            team: None,
            status: None,
            page: Page { after: None, limit: PAGE_DEFAULT },
        };
        for (name, text) in pairs {
            query.take(name, text)?;
        }
        Ok(query)
    }

    fn take(&mut self, name: &str, text: String) -> Result<(), Answer> {
        match name {
            "owner" => self.owner = Some(text).filter(|text| !text.is_empty()),
            "tenant" => self.tenant = Some(text).filter(|text| !text.is_empty()),
            "team" => self.team = Some(text).filter(|text| !text.is_empty()),
            "after" => self.page.after = Some(text).filter(|text| !text.is_empty()),
            "status" => {
                let known = [Access::Open, Access::Approved, Access::Declined];
                let found = known.into_iter().find(|access| access.as_str() == text);
                let message = "`status` is `open`, `approved` or `declined`";
                self.status = Some(found.ok_or_else(|| wrong(message))?);
            }
            _ => {
                let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                let message = format!("`limit` is a number from 1 to {PAGE_MAX}");
                self.page.limit = limit.ok_or_else(|| wrong(message))?;
            }
        }
        Ok(())
    }
}
