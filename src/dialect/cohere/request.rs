//! What a request of this dialect says of itself.

use super::super::peek::{Peeked, first, first_span, missing_model, model, stream};
use crate::error::Error;
use crate::wire::json::Object;

pub(in crate::dialect) fn peek(object: &Object<'_>, peeked: &mut Peeked) -> Result<(), Error> {
    model(object, peeked)?;
    if peeked.model.is_none() {
        return Err(missing_model());
    }
    stream(object, peeked)?;
    peeked.max_output_tokens = first(object, ["max_tokens"]).and_then(|value| value.as_u64());
    peeked.prompt_prefix = first_span(object, ["messages", "texts", "inputs", "query"]);
    Ok(())
}

pub(in crate::dialect) use super::super::shared::prompt::prompt;
