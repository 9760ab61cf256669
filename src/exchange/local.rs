//! What weir answers by itself: the list of models, and counts of tokens where no provider of the
//! model counts them.

use bytes::Bytes;

use super::admit::Admitted;
use super::head::Head;
use super::translate;
use crate::dialect::{self, Endpoint};
use crate::error::{Error, Kind};
use crate::meter::{self, UsageSource};
use crate::plan::Plan;
use crate::tenant::Caller;

/// An answer without an upstream.
pub(super) struct Local {
    pub(super) body: Bytes,
    /// Who counted the tokens of an answer that is a count.
    pub(super) counted: Option<UsageSource>,
}

/// The models that the caller may use, in the shape of the client that asks. `None` where an
/// upstream has to answer (a model that this configuration does not name).
pub(super) fn answer(plan: &Plan, head: &Head, caller: &Caller) -> Option<Local> {
    if head.endpoint != Endpoint::Models {
        return None;
    }
    let call = head.call();
    let models: Vec<&str> =
        plan.models.iter().map(|model| &**model).filter(|model| caller.may_use(model)).collect();
    let body = dialect::models_list(head.dialect, &models, call.model.as_deref())?;
    Some(Local { body, counted: None })
}

/// Whether a request asks for nothing but a count.
pub(super) fn is_token_count(head: &Head) -> bool {
    match head.endpoint {
        Endpoint::CountTokens | Endpoint::GeminiCountTokens => true,
        Endpoint::Responses => dialect::counts_tokens(&head.call()),
        _ => false,
    }
}

/// The tokens of a prompt in our own count, in the vocabulary of the model that would get it. `None`
/// where a provider can say it.
pub(super) async fn token_count(
    head: &Head,
    admitted: &Admitted<'_>,
) -> Result<Option<Local>, Error> {
    let call = head.call();
    let mut targets = admitted.pools.iter().flat_map(|pool| pool.targets.iter());
    if targets.clone().any(|target| translate::serves(&target.provider, head)) {
        return Ok(None);
    }
    let target = targets.next().and_then(|target| target.model.as_deref());
    let model = target.or(admitted.alias.as_deref()).or(admitted.model());
    let counted =
        meter::count_chat_off_worker(model.unwrap_or_default(), admitted.body.clone()).await;
    let report = counted.map_err(|error| {
        Error::new(Kind::BadRequest, format!("The tokens cannot be counted: {error}."))
    })?;
    let source = if report.exact { UsageSource::Counted } else { UsageSource::Estimated };
    let body = dialect::token_count(&call, report.tokens);
    Ok(body.map(|body| Local { body, counted: Some(source) }))
}
