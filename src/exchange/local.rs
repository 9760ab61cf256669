//! What weir answers by itself: the list of models.

use bytes::Bytes;

use super::head::Head;
use crate::dialect::{self, Endpoint};
use crate::plan::Plan;
use crate::tenant::Caller;

/// An answer without an upstream.
pub(super) struct Local {
    pub(super) body: Bytes,
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
    Some(Local { body })
}
