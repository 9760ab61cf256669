//! What a request loses or gains because its provider is not quite as its dialect has it.

use super::attempt::Order;
use crate::dialect::{Adapted, Dropped};
use crate::error::Error;
use crate::provider::Provider;

/// How the client's body is changed for a provider that speaks its format, and what is lost by that.
/// Nothing, and at no cost, for a provider that is as its dialect has it.
pub(super) fn to(
    order: Order<'_>,
    provider: &Provider,
    model: Option<&str>,
) -> Result<(Option<Adapted>, Option<Box<Dropped>>), Error> {
    let Some(adaptation) = &provider.adaptation else { return Ok((None, None)) };
    let Order { head, admitted, .. } = order;
    let model = model.or(admitted.model()).unwrap_or_default();
    let Some(mut adapted) = adaptation.of(head.endpoint, model, &admitted.body) else {
        return Ok((None, None));
    };
    let dropped = adapted.dropped(admitted.loss, &provider.name)?;
    Ok((Some(adapted), (!dropped.is_empty()).then(|| Box::new(dropped))))
}
