//! `/admin/v1`: which requests there are, who may send them, what they carry and what they answer. The
//! `OpenAPI` document is made of the same table.

mod handle;
mod ledger;
mod openapi;

use http::Method;
use schemars::{Schema, SchemaGenerator};

use super::schemas;
use crate::ledger::reconcile::Reconciled;
use crate::manage::{
    AccessRequest, Created, Decision, Entry, KeyView, NewKey, NewRequest, Overlap, Verified,
};
use crate::plan::Role;

pub(super) use handle::{handle, refused};
pub(super) use openapi::document;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    State,
    Limits,
    ConfigStatus,
    ConfigReload,
    Document,
    ListKeys,
    CreateKey,
    ShowKey,
    RotateKey,
    DisableKey,
    EnableKey,
    RevokeKey,
    ListRequests,
    CreateRequest,
    ApproveRequest,
    DeclineRequest,
    ListAudit,
    VerifyAudit,
    QueryLedger,
    ExportLedger,
    ReconcileLedger,
}

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One method of one path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// With `{id}` for a part that names something.
    pub(super) path: &'static str,
    pub(super) action: Action,
    pub(super) roles: &'static [Role],
    /// Not for tokens that are kept to one tenant.
    pub(super) global: bool,
    /// What goes into the audit log where it is refused.
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: &'static [&'static [Parameter]],
    pub(super) body: Option<SchemaOf>,
    /// Media types of the body.
    pub(super) takes: &'static [&'static str],
    /// The longest body that is read.
    pub(super) body_bytes_max: usize,
    pub(super) answer: SchemaOf,
    /// Media types of the answer.
    pub(super) gives: &'static [&'static str],
    pub(super) status: u16,
}

impl Operation {
    /// The parameters of its query.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        self.query.iter().copied().flatten()
    }
}

/// A parameter of the query.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: SchemaOf,
}

const OWNER: &[Role] = &[Role::Owner];
const CHANGE: &[Role] = &[Role::Owner, Role::Operator];
const SEE: &[Role] = &[Role::Owner, Role::Operator, Role::Auditor];
const AUDIT: &[Role] = &[Role::Owner, Role::Auditor];
const ASK: &[Role] = &[Role::Owner, Role::Operator, Role::Developer];
const ALL: &[Role] = &[Role::Owner, Role::Operator, Role::Auditor, Role::Developer];

const JSON: &[&str] = &["application/json"];
/// What a body is, unless told otherwise.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
/// What a provider says was used.
const EXPORT_BYTES_MAX: usize = 4 << 20;

const PAGE: &[Parameter] = &[
    Parameter {
        name: "after",
        description: "The `next` of the page before",
        schema: schemas::text,
    },
    Parameter {
        name: "limit",
        description: "Items of the page, 1 to 1000; 100 by default",
        schema: schemas::page_limit,
    },
];
const OF: Parameter = Parameter {
    name: "owner",
    description: "Only of this one, as `tenant acme` or `key acme/ci`",
    schema: schemas::text,
};
const TENANT: Parameter =
    Parameter { name: "tenant", description: "Of this tenant", schema: schemas::text };
const TEAM: Parameter =
    Parameter { name: "team", description: "Of this team", schema: schemas::text };
const STATUS: Parameter = Parameter {
    name: "status",
    description: "Only requests that stand like this",
    schema: schemas::access,
};

/// A request without parameters and body that every role may send; others say what is different.
const PLAIN: Operation = Operation {
    method: "GET",
    path: "",
    action: Action::State,
    roles: ALL,
    global: false,
    name: "",
    summary: "",
    query: &[],
    body: None,
    takes: JSON,
    body_bytes_max: BODY_BYTES_MAX,
    answer: schemas::any,
    gives: JSON,
    status: 200,
};

/// What there is.
pub(super) static OPERATIONS: [Operation; 21] = [
    Operation {
        path: "/admin/v1/state",
        action: Action::State,
        roles: SEE,
        global: true,
        name: "state.show",
        summary: "Pools, targets, breakers, what is in flight",
        ..PLAIN
    },
    Operation {
        path: "/admin/v1/limits",
        action: Action::Limits,
        roles: SEE,
        global: true,
        name: "limits.show",
        summary: "What was used of limits, when periods end, a forecast of budgets",
        query: &[&[OF]],
        ..PLAIN
    },
    Operation {
        path: "/admin/v1/config/status",
        action: Action::ConfigStatus,
        roles: SEE,
        global: true,
        name: "config.status",
        summary: "Which configuration is live",
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/admin/v1/config/reload",
        action: Action::ConfigReload,
        roles: CHANGE,
        global: true,
        name: "config.reload",
        summary: "Read the configuration again",
        ..PLAIN
    },
    Operation {
        path: "/admin/v1/openapi.json",
        action: Action::Document,
        name: "document.show",
        summary: "This document",
        ..PLAIN
    },
    Operation {
        path: "/admin/v1/keys",
        action: Action::ListKeys,
        name: "key.list",
        summary: "Virtual keys",
        query: &[&[TENANT, TEAM], PAGE],
        answer: schemas::page::<KeyView>,
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/admin/v1/keys",
        action: Action::CreateKey,
        roles: CHANGE,
        name: "key.create",
        summary: "Make a virtual key, which is shown this once",
        body: Some(schemas::of::<NewKey>),
        answer: schemas::of::<Created>,
        status: 201,
        ..PLAIN
    },
    Operation {
        path: "/admin/v1/keys/{id}",
        action: Action::ShowKey,
        name: "key.show",
        summary: "A virtual key",
        answer: schemas::of::<KeyView>,
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/admin/v1/keys/{id}/rotate",
        action: Action::RotateKey,
        roles: CHANGE,
        name: "key.rotate",
        summary: "A new key in place of a key, which may go on for a while",
        body: Some(schemas::of::<Overlap>),
        answer: schemas::of::<Created>,
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/admin/v1/keys/{id}/disable",
        action: Action::DisableKey,
        roles: CHANGE,
        name: "key.disable",
        summary: "Refuse a key until it is enabled again",
        answer: schemas::of::<KeyView>,
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/admin/v1/keys/{id}/enable",
        action: Action::EnableKey,
        roles: CHANGE,
        name: "key.enable",
        summary: "Accept a disabled key again",
        answer: schemas::of::<KeyView>,
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/admin/v1/keys/{id}/revoke",
        action: Action::RevokeKey,
        roles: CHANGE,
        name: "key.revoke",
        summary: "Refuse a key for good",
        answer: schemas::of::<KeyView>,
        ..PLAIN
    },
    Operation {
        path: "/admin/v1/requests",
        action: Action::ListRequests,
        name: "access.list",
        summary: "Access requests",
        query: &[&[STATUS], PAGE],
        answer: schemas::page::<AccessRequest>,
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/admin/v1/requests",
        action: Action::CreateRequest,
        roles: ASK,
        name: "access.request",
        summary: "Ask for more models or other limits for a key",
        body: Some(schemas::of::<NewRequest>),
        answer: schemas::of::<AccessRequest>,
        status: 201,
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/admin/v1/requests/{id}/approve",
        action: Action::ApproveRequest,
        roles: OWNER,
        name: "access.approve",
        summary: "Grant an access request, which holds at once",
        body: Some(schemas::of::<Decision>),
        answer: schemas::of::<AccessRequest>,
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/admin/v1/requests/{id}/decline",
        action: Action::DeclineRequest,
        roles: OWNER,
        name: "access.decline",
        summary: "Decline an access request",
        body: Some(schemas::of::<Decision>),
        answer: schemas::of::<AccessRequest>,
        ..PLAIN
    },
    Operation {
        path: "/admin/v1/audit",
        action: Action::ListAudit,
        roles: AUDIT,
        global: true,
        name: "audit.list",
        summary: "The audit log, the oldest entry first",
        query: &[PAGE],
        answer: schemas::page::<Entry>,
        ..PLAIN
    },
    Operation {
        path: "/admin/v1/audit/verify",
        action: Action::VerifyAudit,
        roles: AUDIT,
        global: true,
        name: "audit.verify",
        summary: "Check the chain of the audit log",
        answer: schemas::of::<Verified>,
        ..PLAIN
    },
    Operation {
        path: "/admin/v1/ledger",
        action: Action::QueryLedger,
        roles: SEE,
        name: "ledger.query",
        summary: "Records of the ledger, the oldest first, or sums of them",
        query: &[ledger::SELECTION, PAGE],
        answer: schemas::rows,
        ..PLAIN
    },
    Operation {
        path: "/admin/v1/ledger/export",
        action: Action::ExportLedger,
        roles: SEE,
        name: "ledger.export",
        summary: "Records of the ledger, or sums of them, as a file of any length",
        query: &[ledger::SELECTION, ledger::FORM],
        answer: schemas::text,
        gives: &["application/jsonl", "text/csv", "application/vnd.apache.parquet"],
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/admin/v1/ledger/reconcile",
        action: Action::ReconcileLedger,
        roles: SEE,
        global: true,
        name: "ledger.reconcile",
        summary: "The ledger beside what a provider says was used (pages of OpenAI's usage API, or CSV)",
        query: &[ledger::COMPARISON],
        body: Some(schemas::text),
        takes: &["text/csv", "application/json"],
        body_bytes_max: EXPORT_BYTES_MAX,
        answer: schemas::of::<Reconciled>,
        ..PLAIN
    },
];

/// What a path and a method lead to.
pub(super) enum Found<'p> {
    /// This, of what the path names.
    Operation(&'static Operation, &'p str),
    /// The path has other methods only.
    Methods(String),
    Nothing,
}

/// Looks a request up.
pub(super) fn find<'p>(method: &Method, path: &'p str) -> Found<'p> {
    // HEAD is answered as GET is, without the body.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let mut methods = Vec::new();
    for operation in &OPERATIONS {
        let Some(id) = matches(operation.path, path) else { continue };
        if operation.method == method {
            return Found::Operation(operation, id);
        }
        methods.push(operation.method);
        if operation.method == "GET" {
            methods.push("HEAD");
        }
    }
    if methods.is_empty() { Found::Nothing } else { Found::Methods(methods.join(", ")) }
}

/// What stands for a template's `{id}` in a path that is of it; nothing where it has none.
fn matches<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, after)) = template.split_once("{id}") else {
        return (template == path).then_some("");
    };
    let id = path.strip_prefix(before)?.strip_suffix(after)?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}
