//! The request as an upstream gets it: the client's own bytes, with the model that the route chose
//! and the option that makes a stream report its usage.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::adapt::Adapted;
use super::call::{BodyKind, Call};
use super::foreign;
use super::ir::Format;
use super::peek::{Peeked, UsageOption};
use super::place::Paths;
use super::{Dialect, Endpoint};
use crate::wire::json::{Edit, Segments, quote, splice};

/// What stays as it is in one segment of a path (RFC 3986, unreserved characters).
pub(super) const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Gemini names a model with its collection.
const GEMINI_COLLECTION: &str = "models/";

/// A body for an upstream.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The body, in slices of the client's.
    pub body: Segments,
    /// The upstream was asked for a usage frame that the client did not ask for, which must be kept
    /// from it.
    pub usage_injected: bool,
}

/// The body for an upstream: `model` in place of the client's, if there is another, the usage
/// option of a stream, what the upstream itself wants otherwise, and nothing that weir has put into
/// the conversation for another provider.
pub fn rewrite(
    call: &Call<'_>,
    peeked: &Peeked,
    body: &Bytes,
    model: Option<&str>,
    adapted: Option<Adapted>,
) -> Rewritten {
    let mut edits = Vec::with_capacity(peeked.model_spans.len() + 1);
    let adapted = adapted.unwrap_or_default();
    let model = model.filter(|model| !adapted.cuts_model && peeked.model.as_deref() != Some(model));
    if let Some(model) = model {
        edits.extend(peeked.model_spans.iter().map(|span| Edit {
            span: span.clone(),
            with: replacement(call, &body[span.clone()], model),
        }));
    }
    let usage_injected = if let UsageOption::Absent { span, with } = &peeked.usage
        && !adapted.cuts_stream_options
    {
        edits.push(Edit { span: span.clone(), with: Bytes::from_static(with.as_bytes()) });
        true
    } else {
        false
    };
    edits.extend(adapted.edits);
    if let Some(format) = Format::of(call.endpoint) {
        edits.extend(foreign::cuts(format, body));
    }
    let body =
        if edits.is_empty() { Segments::from(body.clone()) } else { splice(body, &mut edits) };
    Rewritten { body, usage_injected }
}

/// A model as it stands in a body, in place of what stands there.
fn replacement(call: &Call<'_>, original: &[u8], model: &str) -> Bytes {
    if call.body == BodyKind::Multipart {
        return Bytes::copy_from_slice(model.as_bytes());
    }
    let mut with = Vec::with_capacity(model.len() + GEMINI_COLLECTION.len() + 2);
    let in_collection = original.get(1..).is_some_and(|name| {
        call.dialect == Dialect::Gemini && name.starts_with(GEMINI_COLLECTION.as_bytes())
    });
    if in_collection {
        quote(&format!("{GEMINI_COLLECTION}{model}"), &mut with);
    } else {
        quote(model, &mut with);
    }
    Bytes::from(with)
}

/// The path and query for an upstream: the client's own, without its `?key=`, and with `model` where
/// the dialect or the upstream has it in the path.
pub fn upstream_path(
    call: &Call<'_>,
    paths: &Paths,
    query: Option<&str>,
    model: Option<&str>,
    stream: bool,
) -> String {
    let mut path = match paths.template(call.endpoint, stream) {
        Some(template) => {
            let model = model.or(call.model.as_deref());
            template.fill(model.unwrap_or_default(), call.tail)
        }
        None => below(call, &paths.base, model),
    };
    let Some(query) = query else { return path };
    let mut separator = if path.contains('?') { '&' } else { '?' };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        if name == "key" {
            continue;
        }
        path.push(separator);
        separator = '&';
        match model {
            Some(model) if name == "model" && call.endpoint == Endpoint::Realtime => {
                path.push_str("model=");
                path.extend(utf8_percent_encode(model, SEGMENT));
            }
            _ => path.push_str(pair),
        }
    }
    path
}

/// The dialect's own path below a base path.
fn below(call: &Call<'_>, base_path: &str, model: Option<&str>) -> String {
    let base = base_path.trim_end_matches('/');
    let mut path = String::with_capacity(base.len() + call.tail.len() + 64);
    if !base.is_empty() && !base.starts_with('/') {
        path.push('/');
    }
    path.push_str(base);
    let repeated = repeated_version(base, call.tail);
    match (&call.model_span, model.filter(|model| call.model.as_deref() != Some(model))) {
        (Some(span), Some(model)) => {
            path.push_str(&call.tail[repeated..span.start]);
            path.extend(utf8_percent_encode(model, SEGMENT));
            path.push_str(&call.tail[span.end..]);
        }
        _ => path.push_str(&call.tail[repeated..]),
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// How much of the tail repeats the version that the base address ends in: an operator may write
/// `https://api.anthropic.com/v1` as well as `https://api.anthropic.com`.
fn repeated_version(base: &str, tail: &str) -> usize {
    let last = base.rsplit_once('/').map_or("", |(_, last)| last);
    let is_version =
        last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let repeats = is_version
        && tail
            .strip_prefix('/')
            .and_then(|rest| rest.strip_prefix(last))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if repeats { last.len() + 1 } else { 0 }
}

#[cfg(test)]
mod tests;
