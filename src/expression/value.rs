//! What of a request expressions can ask for, as CEL's values.

use std::fmt;
use std::sync::Arc;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer};
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelNull, CelString, Type};
use cel::common::value::{CowVal, Val};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::query::{Caller, Query};
use crate::wire::fields::Fields;

type Object = serde_json::Map<String, Json>;

/// Longest list of a request that is looked at.
const LIST_MAX: usize = 256;
/// Longest `metadata` that is looked at.
const METADATA_BYTES_MAX: usize = 64 << 10;

fn no_such_key(key: &str) -> ExecutionError {
    ExecutionError::NoSuchKey(Arc::new(key.to_owned()))
}

fn name_of(key: &dyn Val) -> Result<&str, ExecutionError> {
    key.downcast_ref::<CelString<'_>>().map(CelString::inner).ok_or_else(|| {
        ExecutionError::UnexpectedType {
            got: key.get_type().name().to_owned(),
            want: "string".to_owned(),
        }
    })
}

/// `request` or one of its maps: looked up by name, borrowed from the request.
#[derive(Clone, Copy)]
pub(super) enum Part<'q> {
    Request(Query<'q>),
    Headers(&'q Fields),
    Labels(Option<Caller<'q>>),
    Metadata(Option<&'q [u8]>),
    /// What a token says, or an object in it. `None` where there is no token.
    Claims(Option<&'q Object>),
    Time(Query<'q>),
}

impl<'q> Part<'q> {
    fn look_up(self, name: &str) -> Option<Box<dyn Val + 'q>> {
        match self {
            Part::Request(query) => field(query, name),
            Part::Headers(headers) => text(headers.text(name)?),
            Part::Labels(caller) => text(caller?.labels.get(name)?),
            Part::Metadata(raw) => metadata(raw?, name),
            Part::Claims(object) => json(object?.get(name)?),
            Part::Time(query) => time(query, name),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every look-up gives an option")]
fn text<'q>(text: &'q str) -> Option<Box<dyn Val + 'q>> {
    Some(Box::new(CelString::from(text)))
}

fn field<'q>(query: Query<'q>, name: &str) -> Option<Box<dyn Val + 'q>> {
    let number = |number: u64| -> Option<Box<dyn Val + 'q>> {
        Some(Box::new(CelInt::from(i64::try_from(number).unwrap_or(i64::MAX))))
    };
    match name {
        "model" => text(query.model.unwrap_or_default()),
        "endpoint" => text(query.endpoint.as_str()),
        "dialect" => text(query.dialect.as_str()),
        "stream" => Some(Box::new(CelBool::from(query.stream))),
        "headers" => Some(Box::new(Part::Headers(query.headers))),
        "caller" => text(query.caller.map_or("", |caller| caller.id)),
        "tenant" => text(query.caller.map_or("", |caller| caller.tenant)),
        "team" => text(query.caller.and_then(|caller| caller.team).unwrap_or_default()),
        "key" => text(query.caller.map_or("", |caller| caller.key)),
        "region" => text(query.region),
        "time" => Some(Box::new(Part::Time(query))),
        "claims" => Some(Box::new(Part::Claims(query.caller.and_then(|caller| caller.claims)))),
        "labels" => Some(Box::new(Part::Labels(query.caller))),
        "user" => text(query.user.unwrap_or_default()),
        "metadata" => Some(Box::new(Part::Metadata(query.metadata))),
        "max_tokens" => number(query.max_tokens.unwrap_or_default()),
        "body_bytes" => number(query.body_bytes),
        _ => None,
    }
}

/// Read only when asked for, and as often as asked for: few expressions ask twice.
fn metadata<'q>(raw: &[u8], name: &str) -> Option<Box<dyn Val + 'q>> {
    if raw.len() > METADATA_BYTES_MAX {
        return None;
    }
    let parsed: Object = serde_json::from_slice(raw).ok()?;
    Some(match parsed.get(name)? {
        Json::String(text) => Box::new(CelString::from(text.clone())),
        other => scalar(other)?,
    })
}

fn scalar<'q>(value: &Json) -> Option<Box<dyn Val + 'q>> {
    Some(match value {
        Json::Bool(truth) => Box::new(CelBool::from(*truth)),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Box::new(CelInt::from(number)),
            None => Box::new(CelDouble::from(number.as_f64()?)),
        },
        _ => return None,
    })
}

/// A claim's value. A list that is too long is as one that is not there.
fn json(value: &Json) -> Option<Box<dyn Val + '_>> {
    Some(match value {
        Json::String(text) => Box::new(CelString::from(text.as_str())),
        Json::Null => Box::new(CelNull),
        Json::Object(object) => Box::new(Part::Claims(Some(object))),
        Json::Array(items) if items.len() <= LIST_MAX => {
            let items: Vec<_> = items.iter().map(json).collect::<Option<_>>()?;
            Box::new(CelList::from(items))
        }
        other => scalar(other)?,
    })
}

/// The moment in the tenant's time zone.
fn time<'q>(query: Query<'q>, name: &str) -> Option<Box<dyn Val + 'q>> {
    let zone = query.caller.and_then(|caller| caller.zone).cloned().unwrap_or(TimeZone::UTC);
    let now = Timestamp::from_second(query.unix_s).ok()?.to_zoned(zone);
    let part = match name {
        "year" => i64::from(now.year()),
        "month" => now.month().into(),
        "day" => now.day().into(),
        "hour" => now.hour().into(),
        "minute" => now.minute().into(),
        // ISO 8601: Monday is 1, Sunday 7.
        "weekday" => now.weekday().to_monday_one_offset().into(),
        _ => return None,
    };
    Some(Box::new(CelInt::from(part)))
}

static PART: Type = Type::new_unspecified_type("weir.Request");

impl fmt::Debug for Part<'_> {
    /// Says nothing: what a client sent does not belong in an error message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request")
    }
}

impl Val for Part<'_> {
    fn get_type(&self) -> &Type {
        &PART
    }

    fn cel_type() -> &'static Type {
        &PART
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Indexer for Part<'_> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = name_of(key)?;
        self.look_up(name).map(CowVal::Owned).ok_or_else(|| no_such_key(name))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = name_of(key)?;
        self.look_up(name).map(|value| value as Box<dyn Val + 'v>).ok_or_else(|| no_such_key(name))
    }
}

impl Container for Part<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.look_up(name_of(key)?).is_some())
    }
}
