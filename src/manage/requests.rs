//! Access requests: somebody asks for more than a key allows, an owner decides.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Actor, Error, Office, Page, Paged, keys, random_text};
use crate::clock;
use crate::database::{self, Connection, Fault, Row, Value};
use crate::limit;
use crate::tenant::{Directory, Terms};

/// Characters of a request's id.
const ID_CHARACTERS: usize = 10;
/// Longest reason and longest note.
const TEXT_BYTES_MAX: usize = 2000;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    /// Models that the key may use beside those it may use already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Limits in place of those that the key has, such as a higher budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Vec<limit::Settings>>,
}

impl Wanted {
    /// What a key's terms become.
    fn applied(&self, terms: &Terms) -> Terms {
        let mut terms = terms.clone();
        // Without any model it may use all of them.
        if !terms.models.is_empty() {
            let new = self.models.iter().filter(|model| !terms.models.contains(model));
            let new: Vec<String> = new.cloned().collect();
            terms.models.extend(new);
        }
        if let Some(limits) = &self.limits {
            terms.limits.clone_from(limits);
        }
        terms
    }
}

/// A request to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// The id of the key.
    pub key: String,
    /// What is asked for.
    pub wanted: Wanted,
    /// What for.
    #[schemars(length(min = 1, max = 2000))]
    pub reason: String,
}

/// A decision.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Why so.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub note: String,
}

/// Whether something was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Not yet.
    Open,
    /// It is done.
    Approved,
    /// It is not.
    Declined,
}

impl Access {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Access::Open => "open",
            Access::Approved => "approved",
            Access::Declined => "declined",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "open" => Access::Open,
            "approved" => Access::Approved,
            _ => Access::Declined,
        }
    }
}

/// An access request.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AccessRequest {
    /// Its id.
    pub id: String,
    /// The id of the key.
    pub key: String,
    /// The key's tenant.
    pub tenant: String,
    /// What is asked for.
    pub wanted: Wanted,
    /// What for.
    pub reason: String,
    /// Whether it was decided.
    pub status: Access,
    /// When it was asked for, in milliseconds of Unix time.
    pub asked_unix_ms: u64,
    /// Who asks.
    pub asked_by: String,
    /// When it was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_unix_ms: Option<u64>,
    /// Who decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Why so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

const COLUMNS: &str = "id, key_id, tenant, wanted, reason, status, asked_ms, asked_by, \
                       decided_ms, decided_by, note";

fn read(row: &Row<'_>) -> Result<AccessRequest, database::Error> {
    let wanted = serde_json::from_str(&row.text(3)?).map_err(|error| {
        database::Error::new(Fault::Other, format!("a request cannot be read: {error}"))
    })?;
    Ok(AccessRequest {
        id: row.text(0)?,
        key: row.text(1)?,
        tenant: row.text(2)?,
        wanted,
        reason: row.text(4)?,
        status: Access::of(&row.text(5)?),
        asked_unix_ms: row.int(6)? as u64,
        asked_by: row.text(7)?,
        decided_unix_ms: row.int_or_null(8)?.map(|at| at as u64),
        decided_by: row.text_or_null(9)?,
        note: row.text_or_null(10)?,
    })
}

fn find(connection: &mut Connection, actor: &Actor, id: &str) -> Result<AccessRequest, Error> {
    let sql = format!("SELECT {COLUMNS} FROM identity_requests WHERE id = ?1");
    let found = connection.first(&sql, &[id.into()], read)?;
    found
        .filter(|request| actor.reaches(&request.tenant))
        .ok_or_else(|| Error::not_found(format!("there is no request `{id}`")))
}

fn check_text(text: &str) -> Result<(), Error> {
    if text.len() > TEXT_BYTES_MAX || text.contains('\0') {
        return Err(Error::invalid(format!("a text has at most {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

impl Office {
    /// Asks for more than a key allows.
    pub async fn ask(
        &self,
        actor: &Actor,
        new: NewRequest,
        directory: &Directory,
    ) -> Result<AccessRequest, Error> {
        check_text(&new.reason)?;
        if new.reason.trim().is_empty() {
            return Err(Error::invalid("say what it is for in `reason`"));
        }
        if new.wanted == Wanted::default() {
            return Err(Error::invalid("nothing is asked for: give `models` or `limits`"));
        }
        if let Some(record) = directory.record(&new.key) {
            let wanted = keys::with_terms(&record, new.wanted.applied(&record.terms));
            directory.check(&wanted).map_err(Error::invalid)?;
        }
        self.change(actor, move |change| {
            let key = keys::find(change.connection, change.actor, &new.key)?;
            let request = AccessRequest {
                id: random_text(ID_CHARACTERS),
                key: new.key.clone(),
                tenant: key.record.tenant.to_string(),
                wanted: new.wanted.clone(),
                reason: new.reason.clone(),
                status: Access::Open,
                asked_unix_ms: clock::unix_ms(),
                asked_by: change.actor.name.clone(),
                decided_unix_ms: None,
                decided_by: None,
                note: None,
            };
            let wanted = serde_json::to_string(&request.wanted).unwrap_or_default();
            change.execute(
                "INSERT INTO identity_requests \
                 (id, key_id, tenant, wanted, reason, status, asked_ms, asked_by) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                &[
                    (&request.id).into(),
                    (&request.key).into(),
                    (&request.tenant).into(),
                    (&wanted).into(),
                    (&request.reason).into(),
                    request.status.as_str().into(),
                    request.asked_unix_ms.into(),
                    (&request.asked_by).into(),
                ],
            )?;
            change.audit("access.request", &key.subject(), &json!({ "request": request }))?;
            Ok(request)
        })
        .await
    }

    /// Requests by id, of one status where it is named.
    pub async fn requests(
        &self,
        actor: &Actor,
        status: Option<Access>,
        page: Page,
    ) -> Result<Paged<AccessRequest>, Error> {
        let (after, rows) = (page.after.clone().unwrap_or_default(), page.rows());
        let tenant = actor.tenant.clone().unwrap_or_default();
        let status = status.map_or("", Access::as_str);
        let sql = format!(
            "SELECT {COLUMNS} FROM identity_requests WHERE id > ?1 AND (?2 = '' OR tenant = ?2) \
             AND (?3 = '' OR status = ?3) ORDER BY id LIMIT ?4"
        );
        let call = self.database.call(move |connection| {
            let values = [Value::from(&after), (&tenant).into(), status.into(), rows.into()];
            let mut requests = Vec::new();
            connection.query(&sql, &values, &mut |row| {
                requests.push(read(row)?);
                Ok(())
            })?;
            Ok(requests)
        });
        Ok(page.of(call.await?, |request| request.id.clone()))
    }

    /// Decides on a request. What is approved holds at once.
    pub async fn decide(
        &self,
        actor: &Actor,
        id: &str,
        status: Access,
        decision: Decision,
    ) -> Result<AccessRequest, Error> {
        check_text(&decision.note)?;
        let id = id.to_owned();
        self.change(actor, move |change| {
            let mut request = find(change.connection, change.actor, &id)?;
            if request.status != Access::Open {
                let was = request.status.as_str();
                return Err(Error::conflict(format!("the request is {was} already")));
            }
            request.status = status;
            request.decided_unix_ms = Some(clock::unix_ms());
            request.decided_by = Some(change.actor.name.clone());
            request.note = Some(decision.note.clone());
            change.execute(
                "UPDATE identity_requests SET status = ?2, decided_ms = ?3, decided_by = ?4, \
                 note = ?5 WHERE id = ?1",
                &[
                    (&request.id).into(),
                    status.as_str().into(),
                    request.decided_unix_ms.into(),
                    request.decided_by.as_ref().into(),
                    request.note.as_ref().into(),
                ],
            )?;
            let mut key = keys::find(change.connection, change.actor, &request.key)?;
            let before = key.record.terms.clone();
            if status == Access::Approved {
                key.record.terms = request.wanted.applied(&before);
                keys::update(change, &key.record)?;
            }
            let action =
                if status == Access::Approved { "access.approve" } else { "access.decline" };
            let detail = json!({
                "request": request,
                "before": keys::told(&before),
                "after": keys::told(&key.record.terms),
            });
            change.audit(action, &key.subject(), &detail)?;
            Ok(request)
        })
        .await
    }
}
