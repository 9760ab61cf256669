//! Responses that weir keeps: requests that continue one, answers that become one, and the endpoints
//! about them.
//!
//! A response is kept if its upstream has no Responses API of its own and the request does not say
//! `store: false`. A request that continues a kept one gets the whole conversation put into it before
//! it is routed, so that any target can answer it; one that continues a response weir does not know
//! goes on as it came, to an upstream that may.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use rand::Rng;

use super::admit::{self, Admitted};
use super::head::Head;
use super::local::Local;
use super::settle::Settlement;
use crate::dialect::{self, Endpoint, KeptAs, KeptTurn, Page, Reference};
use crate::error::{Error, Kind};
use crate::plan::Plan;
use crate::store::{Kept, Store, StoreError, Turn};
use crate::tenant::Caller;

/// Input items that a list has, unless it is asked for another number.
const ITEMS: usize = 20;
/// The most that may be asked for.
const ITEMS_MAX: usize = 100;

/// What a request continues.
pub(super) struct Continued {
    pub(super) previous: Box<str>,
    /// The body as it came.
    body: Bytes,
}

/// What is known of a response before it is answered, to be kept once it is.
#[derive(Clone)]
pub(super) struct Keeping {
    store: Arc<Store>,
    plan: Arc<Plan>,
    kept: Kept,
}

impl Keeping {
    /// What is to be kept of the answer to a request. `None` if nothing is.
    pub(super) fn of(admitted: &Admitted<'_>, store: &Arc<Store>) -> Option<Box<Self>> {
        let continued = admitted.continued.as_ref();
        let body = continued.map_or(&admitted.body, |continued| &continued.body);
        let keeps = admitted.plan.responses.size.0 > 0 && dialect::may_be_kept(body);
        keeps.then(|| {
            Box::new(Self {
                store: Arc::clone(store),
                plan: Arc::clone(admitted.plan),
                kept: Kept {
                    owner: Arc::clone(&admitted.caller.id),
                    id: format!("resp_{:032x}", rand::rng().random::<u128>()).into(),
                    previous: continued.map(|continued| continued.previous.clone()),
                    input: dialect::input_items(body).into(),
                    response: Bytes::new(),
                },
            })
        })
    }

    /// As what the response is kept.
    pub(super) fn known_as(&self) -> KeptAs<'_> {
        KeptAs { id: &self.kept.id, previous: self.kept.previous.as_deref() }
    }

    /// Keeps the response, which is complete.
    pub(super) fn keep(self, response: Bytes) {
        self.store.keep(Kept { response, ..self.kept }, &self.plan.responses);
    }
}

/// The request with the conversation that it continues, if that is kept here.
pub(super) async fn continued(
    store: &Store,
    plan: &Plan,
    head: &Head,
    caller: &Caller,
    body: Bytes,
) -> Result<(Bytes, Option<Continued>), Error> {
    if !head.call().is_json() {
        return Ok((body, None));
    }
    let body = with_references(store, plan, caller, body).await?;
    let Some(previous) = dialect::previous_response(&body).filter(|_| store.is_used()) else {
        return Ok((body, None));
    };
    let found = store.conversation(&caller.id, &previous, plan.bounds.body.0).await;
    let Some(turns) = found.map_err(failed)? else { return Ok((body, None)) };
    let whole = dialect::continued(&body, &kept_turns(&turns));
    let previous = previous.into_owned().into();
    Ok((whole, Some(Continued { previous, body })))
}

/// The request with the items that it refers to by their ids, if they are kept here.
async fn with_references(
    store: &Store,
    plan: &Plan,
    caller: &Caller,
    body: Bytes,
) -> Result<Bytes, Error> {
    if !store.is_used() {
        return Ok(body);
    }
    let mut found: Vec<(Reference, Bytes)> = Vec::new();
    let mut bytes = body.len() as u64;
    for reference in dialect::references(&body) {
        let known = found.iter().find(|(other, _)| other.response == reference.response);
        let response = if let Some((_, response)) = known {
            Some(response.clone())
        } else {
            let kept = store.response(&caller.id, &reference.response).await;
            let response = kept.map_err(failed)?.map(|turn| turn.response);
            bytes += response.as_ref().map_or(0, |response| response.len() as u64);
            response
        };
        if bytes > plan.bounds.body.0 {
            return Err(failed(StoreError::TooLong));
        }
        found.extend(response.map(|response| (reference, response)));
    }
    Ok(if found.is_empty() { body } else { dialect::resolved(&body, &found) })
}

fn kept_turns(turns: &[Turn]) -> Vec<KeptTurn<'_>> {
    turns.iter().map(|turn| KeptTurn { input: &turn.input, response: &turn.response }).collect()
}

fn failed(error: StoreError) -> Error {
    match error {
        StoreError::TooLong => Error::new(
            Kind::BadRequest,
            "The conversation of `previous_response_id` is longer than a request may be.",
        )
        .param("previous_response_id"),
        StoreError::Busy => Error::new(Kind::Overloaded, "Too many kept responses are asked for."),
        StoreError::Failed => Error::new(Kind::Internal, "The kept responses cannot be read."),
    }
}

/// The response that a request is about, if it is about one that was given before.
pub(super) fn response_id(head: &Head) -> Option<&str> {
    if head.endpoint != Endpoint::Responses || head.call().is_json() {
        return None;
    }
    let (_, rest) = head.path().split_once("/responses/")?;
    rest.split('/').next()
}

/// Answers a request about a kept response. `None` if it is about none that is kept here.
pub(super) async fn answer(
    store: &Store,
    plan: &Plan,
    head: &Head,
    caller: &Caller,
    settlement: &mut Settlement<'_>,
) -> Result<Option<Local>, Error> {
    if head.method == Method::POST {
        return Ok(None);
    }
    let call = head.call();
    let Some(rest) = call.tail.strip_prefix("/responses/") else { return Ok(None) };
    admit::permit_bare(plan, head, caller, settlement)?;
    let (id, below) = rest.split_once('/').unwrap_or((rest, ""));
    let body = match (&head.method, below) {
        (&Method::GET, "") => {
            store.response(&caller.id, id).await.map_err(failed)?.map(|turn| turn.response)
        }
        (&Method::DELETE, "") => {
            let deleted = store.delete(&caller.id, id).await.map_err(failed)?;
            deleted.then(|| dialect::deleted(id))
        }
        (&Method::GET, "input_items") => {
            let turns = store.conversation(&caller.id, id, plan.bounds.body.0).await;
            let page = page(head.query())?;
            turns.map_err(failed)?.map(|turns| dialect::input_list(id, &kept_turns(&turns), page))
        }
        _ => None,
    };
    Ok(body.map(|body| Local { body, counted: None }))
}

/// What the query says of the items.
fn page(query: Option<&str>) -> Result<Page<'_>, Error> {
    let mut page = Page { limit: ITEMS, ascending: false, after: None };
    for (name, value) in
        query.into_iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.split_once('='))
    {
        match name {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=ITEMS_MAX).contains(limit));
                page.limit = limit.ok_or_else(|| {
                    Error::new(Kind::BadRequest, "`limit` is a number from 1 to 100.")
                        .param("limit")
                })?;
            }
            "order" => page.ascending = value == "asc",
            "after" => page.after = Some(value),
            _ => {}
        }
    }
    Ok(page)
}
