//! What administrators ask of the ledger. A token that is kept to one tenant sees that tenant's records
//! alone.

use http::StatusCode;

use super::handle::{bounded, value, wrong};
use super::{Action, Parameter};
use crate::admin::answer::{Answer, Asked};
use crate::admin::{View, schemas};
use crate::clock;
use crate::database::{Error, Fault};
use crate::ledger::archive::{Archive, Rows};
use crate::ledger::export::{Form, json_row};
use crate::ledger::query::{Field, Mark};
use crate::ledger::reconcile::Comparison;
use crate::ledger::select::{self, Selection};
use crate::manage::{Actor, PAGE_DEFAULT, PAGE_MAX};

/// Lines of a comparison that are told.
const LINES_MAX: usize = 10_000;

const fn text(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, description, schema: schemas::text }
}

/// Which records.
pub(super) const SELECTION: &[Parameter] = &[
    text("from", "From this moment on: 2026-11-22, 2026-11-22T10:00:00Z, or 24h (ago)"),
    text("to", "Before this moment"),
    text("month", "All of this month (UTC), such as 2026-11"),
    text(
        "group_by",
        "Sums instead of records, by these fields, with commas between; also hour, day",
    ),
    Parameter { name: "total", description: "One sum of everything", schema: schemas::flag },
    text("tenant", "Of this tenant"),
    text("team", "Of this team"),
    text("key", "Of the key of this name"),
    text("user", "Of this end user"),
    text("route", "By this route"),
    text("pool", "By this pool"),
    text("endpoint", "To this endpoint"),
    text("dialect", "In this format"),
    text("model", "Served by this model"),
    text("provider", "Served by this provider"),
    text("target", "Served by this target"),
    Parameter { name: "status", description: "With this status", schema: schemas::number },
    text("error", "With this error"),
    text("source", "Whose tokens were counted so: provider, counted, estimated"),
    text("prices", "With this version of the prices"),
];
/// The form of a file.
pub(super) const FORM: &[Parameter] = &[Parameter {
    name: "format",
    description: "The form; jsonl by default",
    schema: schemas::form,
}];
/// How the ledger is compared.
pub(super) const COMPARISON: &[Parameter] = &[
    text("provider", "The provider's name in the configuration"),
    Parameter {
        name: "tolerance",
        description: "Difference that counts as none, in percent; 0 by default",
        schema: schemas::percent,
    },
    Parameter {
        name: "all",
        description: "Days and models that do not differ, too",
        schema: schemas::flag,
    },
];

/// Does what is asked for.
pub(super) async fn answer(
    view: &dyn View,
    action: Action,
    actor: &Actor,
    pairs: &[(&'static str, String)],
    asked: &Asked<'_>,
) -> Result<Answer, Answer> {
    let archive = view.archive().ok_or_else(nothing_kept)?;
    match action {
        Action::ExportLedger => export(&archive, Wanted::read(actor, pairs)?).await,
        Action::ReconcileLedger => reconcile(&archive, pairs, asked).await,
        _ => query(&archive, Wanted::read(actor, pairs)?).await,
    }
}

async fn query(archive: &Archive, wanted: Wanted) -> Result<Answer, Answer> {
    let Wanted { selection, after, rows, .. } = wanted;
    Ok(page(&archive.page(selection, after, rows).await.map_err(failed)?))
}

async fn export(archive: &Archive, wanted: Wanted) -> Result<Answer, Answer> {
    let parts = archive.export(wanted.selection, wanted.form).await.map_err(failed)?;
    Ok(Answer::file(wanted.form.media_type(), parts))
}

async fn reconcile(
    archive: &Archive,
    pairs: &[(&'static str, String)],
    asked: &Asked<'_>,
) -> Result<Answer, Answer> {
    let mut comparison = Comparison {
        provider: String::new(),
        tolerance_percent: 0.0,
        all: false,
        lines_max: LINES_MAX,
    };
    for (name, text) in pairs {
        match *name {
            "provider" => comparison.provider.clone_from(text),
            "tolerance" => {
                let percent = text.parse().ok().filter(|it| (0.0..=100.0).contains(it));
                let message = "`tolerance` is a number from 0 to 100";
                comparison.tolerance_percent = percent.ok_or_else(|| wrong(message))?;
            }
            _ => comparison.all = flag(name, text)?,
        }
    }
    if comparison.provider.is_empty() {
        return Err(wrong("`provider` is missing: whose export is it?"));
    }
    let compared = archive.reconcile(asked.body.to_vec(), comparison).await.map_err(failed)?;
    let compared = compared.map_err(|why| invalid(format!("the export: {why}")))?;
    Ok(Answer::json(StatusCode::OK, &value(&compared)?))
}

/// What a query says.
struct Wanted {
    selection: Selection,
    after: Option<Mark>,
    rows: u32,
    form: Form,
}

impl Wanted {
    fn read(actor: &Actor, pairs: &[(&'static str, String)]) -> Result<Self, Answer> {
        let mut wanted = Self {
            selection: Selection::default(),
            after: None,
            rows: PAGE_DEFAULT,
            form: Form::default(),
        };
        for (name, text) in pairs.iter().filter(|(_, text)| !text.is_empty()) {
            wanted.take(name, text).map_err(|why| wrong(format!("`{name}`: {why}")))?;
        }
        let sums = wanted.selection.by.is_some();
        if wanted.after.is_some_and(|mark| matches!(mark, Mark::Sums(_)) != sums) {
            return Err(wrong("`after` is of another question"));
        }
        wanted.keep_to(actor)?;
        Ok(wanted)
    }

    fn take(&mut self, name: &str, text: &str) -> Result<(), String> {
        let now_ms = clock::unix_ms();
        let filter = &mut self.selection.filter;
        match name {
            "from" => filter.from_ms = Some(select::moment(text, now_ms)?),
            "to" => filter.to_ms = Some(select::moment(text, now_ms)?),
            "month" => {
                let (from_ms, to_ms) = select::month(text)?;
                (filter.from_ms, filter.to_ms) = (Some(from_ms), Some(to_ms));
            }
            "group_by" => self.selection.by = Some(select::fields(text)?),
            "total" => {
                if flag(name, text).map_err(|_| "write true or false")? {
                    self.selection.by.get_or_insert_default();
                }
            }
            "after" => self.after = Some(text.parse()?),
            "limit" => {
                let rows = text.parse().ok().filter(|rows| (1..=PAGE_MAX).contains(rows));
                self.rows = rows.ok_or(format!("it is a number from 1 to {PAGE_MAX}"))?;
            }
            "format" => self.form = text.parse()?,
            field => {
                let field = select::field(field)?;
                filter.with.push(select::condition(field, text)?);
            }
        }
        Ok(())
    }

    /// Nobody who is kept to a tenant learns anything of another.
    fn keep_to(&mut self, actor: &Actor) -> Result<(), Answer> {
        let Some(own) = &actor.tenant else { return Ok(()) };
        let with = &mut self.selection.filter.with;
        let other = with.iter().find(|(field, value)| *field == Field::Tenant && value != own);
        if let Some((_, other)) = other {
            let message = format!("there is no tenant `{}`", bounded(other));
            return Err(Answer::error(StatusCode::NOT_FOUND, "not_found", message));
        }
        with.push((Field::Tenant, own.clone()));
        Ok(())
    }
}

fn flag(name: &str, text: &str) -> Result<bool, Answer> {
    text.parse().map_err(|_| wrong(format!("`{name}` is `true` or `false`")))
}

fn page(rows: &Rows) -> Answer {
    let mut body = b"{\"items\":[".to_vec();
    for (at, row) in rows.rows.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        json_row(&rows.columns, row, &mut body);
    }
    body.push(b']');
    if let Some(next) = rows.next {
        // Digits and a dash: nothing in it needs an escape.
        body.extend_from_slice(format!(",\"next\":\"{next}\"").as_bytes());
    }
    body.extend_from_slice(b"}\n");
    Answer::written(body)
}

fn nothing_kept() -> Answer {
    let message = "nothing is recorded: this needs `storage` in the configuration";
    Answer::error(StatusCode::CONFLICT, "no_storage", message)
}

fn invalid(message: String) -> Answer {
    Answer::error(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
}

fn failed(error: Error) -> Answer {
    match error.fault {
        Fault::Gone => invalid(error.message),
        Fault::Busy => Answer::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.message),
        _ => {
            log::error!("admin API: the ledger: {error}");
            let message = "the database cannot answer now";
            Answer::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}
