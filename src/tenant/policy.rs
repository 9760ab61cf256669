//! Policies: which requests a tenant, a team or a key does not let through.
//!
//! Every policy that stands over a caller is asked, the tenant's before the team's before the key's,
//! and each can only refuse: nothing that stands below can let through what one above refuses. What a
//! policy cannot work out (a label that is not there, a division by nothing) it refuses, because to
//! let it through would make a rule that has a mistake in it no rule at all.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};
use crate::expression::{Answer, Expression, Query};
use crate::limit::Owner;

/// Most policies of one tenant, team or key.
const POLICIES_MAX: usize = 64;
/// Longest name of a policy.
const NAME_BYTES_MAX: usize = 64;
/// Longest message.
const MESSAGE_BYTES_MAX: usize = 512;

/// Requests that are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// Its name in logs and metrics. By default its place in the list, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A CEL expression over `request`, as in routes' `when`. A request is refused where it is true,
    /// and where it cannot be worked out.
    pub when: String,
    /// What the client is told.
    pub deny: String,
}

/// The policies of one owner.
pub(super) type Policies = Arc<[Policy]>;

/// One of them.
#[derive(Debug)]
pub(super) struct Policy {
    /// Whose it is: `tenant acme`.
    owner: Arc<str>,
    name: Box<str>,
    when: Expression,
    deny: Arc<str>,
}

/// A policy refused a request.
#[derive(Debug)]
pub struct Denied {
    /// Whose policy it is: `tenant acme`.
    pub owner: Arc<str>,
    /// The policy's name.
    pub policy: Box<str>,
    /// What the client and the log are told.
    pub error: Box<Error>,
}

/// Compiles an owner's policies. Each error comes with the path of the setting that caused it, from
/// the owner's own on.
pub(super) fn compile(
    owner: Owner<'_>,
    settings: &[PolicySettings],
) -> Result<Policies, Vec<(String, String)>> {
    let mut errors = Vec::new();
    if settings.len() > POLICIES_MAX {
        errors.push((".policies".into(), format!("there are more than {POLICIES_MAX}")));
    }
    let whose: Arc<str> = format!("{} {}", owner.kind, owner.id).into();
    let mut policies: Vec<Policy> = Vec::new();
    for (at, settings) in settings.iter().enumerate().take(POLICIES_MAX) {
        let path = format!(".policies[{at}]");
        let name = settings.name.clone().unwrap_or_else(|| at.to_string());
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let message = format!("must be 1 to {NAME_BYTES_MAX} characters that can be printed");
            errors.push((format!("{path}.name"), message));
        }
        if policies.iter().any(|other| *other.name == *name) {
            errors.push((format!("{path}.name"), format!("another policy is named `{name}`")));
        }
        if settings.deny.is_empty() || settings.deny.len() > MESSAGE_BYTES_MAX {
            let message =
                format!("write what the client is told, in 1 to {MESSAGE_BYTES_MAX} bytes");
            errors.push((format!("{path}.deny"), message));
        }
        match Expression::condition(&settings.when) {
            Ok(when) => policies.push(Policy {
                owner: Arc::clone(&whose),
                name: name.into(),
                when,
                deny: settings.deny.as_str().into(),
            }),
            Err(error) => errors.push((format!("{path}.when"), error)),
        }
    }
    if errors.is_empty() { Ok(policies.into()) } else { Err(errors) }
}

impl Policy {
    /// Why the request is refused, if it is.
    pub(super) fn check(&self, query: &Query<'_>) -> Result<(), Denied> {
        let Self { owner, name, .. } = self;
        let cause = match self.when.answer(query) {
            Answer::No => return Ok(()),
            Answer::Yes => format!("policy {name} of {owner}"),
            Answer::Absent => {
                format!(
                    "policy {name} of {owner} could not be worked out: it asks for something that the request does not have"
                )
            }
            Answer::Failed => format!("policy {name} of {owner} could not be worked out"),
        };
        let error = Box::new(Error::new(Kind::Forbidden, self.deny.to_string()).cause(cause));
        Err(Denied { owner: Arc::clone(owner), policy: name.clone(), error })
    }
}
