//! Who a request comes from.

use std::sync::Arc;

use super::issuer::Claims;
use super::policy::{Denied, Policies};
use crate::config::{Class, Labels, NamePattern};
use crate::expression::{self, Query};
use crate::limit::{Applicable, TimeZone};

/// Whoever a key, a token or a certificate stands for. Its limits stand first, beside the counts of
/// references: who is found among a hundred thousand is in no cache, and this way one line of it is
/// fetched for both.
#[derive(Debug)]
#[repr(C)]
pub struct Caller {
    /// The limits that it is under, if any.
    pub limits: Option<Applicable>,
    /// Its tenant.
    pub tenant: Arc<str>,
    /// Its team within the tenant.
    pub team: Option<Arc<str>>,
    /// The key's name; of a token `@issuer/user`.
    pub name: Arc<str>,
    /// `tenant/name`, for logs, metrics and sticky choices.
    pub id: Arc<str>,
    /// The issuer of its token, by its name in the configuration.
    pub issuer: Option<Arc<str>>,
    /// The user that a token was issued to.
    pub user: Option<Arc<str>>,
    /// Roles that a token names.
    pub roles: Vec<Box<str>>,
    /// All that a token says.
    pub claims: Option<Arc<Claims>>,
    /// Labels that routes can match.
    pub labels: Labels,
    /// Which of its requests wait first.
    pub class: Class,
    /// Each must allow a model.
    pub(super) models: Vec<Arc<[NamePattern]>>,
    /// Each may refuse a request.
    pub(super) policies: Vec<Policies>,
    /// The tenant's time zone.
    pub(super) zone: TimeZone,
}

impl Caller {
    /// Whether the caller may use every model.
    pub fn may_use_all(&self) -> bool {
        self.models.is_empty()
    }

    /// Whether the caller may use the model.
    pub fn may_use(&self, model: &str) -> bool {
        let any = |patterns: &Arc<[NamePattern]>| patterns.iter().any(|one| one.matches(model));
        self.models.iter().all(any)
    }

    /// Whether policies stand over the caller, or models are kept from it, so that what its requests
    /// ask for has to be known.
    pub fn is_free(&self) -> bool {
        self.may_use_all() && self.policies.is_empty()
    }

    /// Whether its token is for this audience.
    pub fn is_for(&self, audience: &str) -> bool {
        let named = self.claims.as_deref().and_then(|claims| claims.get("aud"));
        match named {
            Some(serde_json::Value::String(one)) => one == audience,
            Some(serde_json::Value::Array(all)) => all.iter().any(|one| one == audience),
            _ => false,
        }
    }

    /// Whether all policies let the request through.
    pub fn permits(&self, query: &Query<'_>) -> Result<(), Denied> {
        self.policies
            .iter()
            .flat_map(|policies| policies.iter())
            .try_for_each(|one| one.check(query))
    }

    /// The caller as expressions see it.
    pub fn as_asked_for(&self) -> expression::Caller<'_> {
        expression::Caller {
            id: &self.id,
            labels: &self.labels,
            tenant: &self.tenant,
            team: self.team.as_deref(),
            key: &self.name,
            claims: self.claims.as_deref(),
            zone: Some(&self.zone),
        }
    }

    /// Who calls where nobody has to say so.
    pub(super) fn anonymous() -> Self {
        Self {
            tenant: "default".into(),
            team: None,
            name: "anonymous".into(),
            id: "anonymous".into(),
            issuer: None,
            user: None,
            roles: Vec::new(),
            claims: None,
            labels: Labels::default(),
            limits: None,
            class: Class::default(),
            models: Vec::new(),
            policies: Vec::new(),
            zone: TimeZone::UTC,
        }
    }
}
