//! CEL expressions over a request.
//!
//! `request` is one value whose fields are looked up when an expression asks for them, straight
//! from the request: nothing is copied or parsed before. What a request does not say is `""`, 0 or
//! an empty map, as in protocol buffers; a header, label or metadata key that is not there is an
//! error of CEL's kind (`has(request.labels.team)` and `"x-tier" in request.headers` ask first),
//! and an expression that ends in an error does not match.

use std::fmt;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::common::traits::{Container, Indexer};
use cel::common::types::{CelBool, CelDouble, CelInt, CelString, Type};
use cel::common::value::{CowVal, Val};
use cel::{Context, Env, ExecutionError, Program, Value};
use http::HeaderMap;

use super::query::{Caller, Query};
use crate::dialect::{Dialect, Endpoint};

/// Fields of `request`.
const FIELDS: [&str; 11] = [
    "model",
    "endpoint",
    "dialect",
    "stream",
    "headers",
    "caller",
    "labels",
    "user",
    "metadata",
    "max_tokens",
    "body_bytes",
];
/// Names of types that an expression may compare with.
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];
/// Longest expression.
const EXPRESSION_BYTES_MAX: usize = 4096;

/// A compiled expression.
pub(super) struct Expression {
    program: Program,
    environment: Arc<Env>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expression(…)")
    }
}

/// What an expression says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// It could not be worked out for a reason other than something that is not there.
    Failed,
}

impl Expression {
    /// Compiles an expression, and tries it on a sample request. The error says what is wrong and
    /// where in the expression.
    pub fn compile(source: &str, environment: &Arc<Env>) -> Result<Self, String> {
        if source.len() > EXPRESSION_BYTES_MAX {
            return Err(format!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes"));
        }
        let program = environment.compile(source).map_err(|errors| {
            let first = errors.errors.first();
            first.map_or_else(
                || "this is not a CEL expression".to_owned(),
                |error| {
                    let (line, column) = error.pos;
                    format!("not a CEL expression, at {line}:{column} of it: {}", error.msg)
                },
            )
        })?;
        check_names(program.expression(), &mut Vec::new())?;
        let expression = Self { program, environment: Arc::clone(environment) };
        expression.try_on_sample()?;
        Ok(expression)
    }

    /// Whether the request matches.
    pub fn answer(&self, query: &Query<'_>) -> Answer {
        match self.evaluate(query) {
            Ok(Value::Bool(true)) => Answer::Yes,
            Ok(Value::Bool(false)) | Err(ExecutionError::NoSuchKey(_)) => Answer::No,
            Ok(_) | Err(_) => Answer::Failed,
        }
    }

    fn evaluate(&self, query: &Query<'_>) -> Result<Value, ExecutionError> {
        let mut context = Context::with_env(Arc::clone(&self.environment));
        context.add_variable_as_val("request", Box::new(Part::Request(*query)));
        self.program.execute(&context)
    }

    /// Finds what only shows when it runs: unknown functions, types that do not go together, and
    /// a result that is neither true nor false.
    fn try_on_sample(&self) -> Result<(), String> {
        let (headers, labels) = (HeaderMap::new(), std::collections::BTreeMap::new());
        let sample = Query {
            model: Some("gpt-4o"),
            endpoint: Endpoint::ChatCompletions,
            dialect: Dialect::OpenAi,
            headers: &headers,
            caller: Some(Caller { id: "tenant/key", labels: &labels }),
            user: Some("user"),
            metadata: None,
            stream: true,
            max_tokens: Some(1),
            body_bytes: 1,
        };
        match self.evaluate(&sample) {
            Ok(Value::Bool(_)) => Ok(()),
            Ok(other) => Err(format!(
                "the expression must be true or false, this is of type {}: compare it with something",
                other.type_of()
            )),
            Err(ExecutionError::UndeclaredReference(name)) => {
                Err(format!("CEL has no function `{name}`"))
            }
            Err(error @ ExecutionError::NoSuchOverload(_)) => Err(error.to_string()),
            Err(_) => Ok(()),
        }
    }
}

/// Refuses names that no request can have. `scope` holds the variables of enclosing macros.
fn check_names<'e>(expression: &'e IdedExpr, scope: &mut Vec<&'e str>) -> Result<(), String> {
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => Ok(()),
        Expr::Ident(name) => {
            let known = name == "request"
                || name.starts_with('@')
                || scope.contains(&name.as_str())
                || TYPES.contains(&name.as_str());
            if known {
                return Ok(());
            }
            Err(if FIELDS.contains(&name.as_str()) {
                format!("`{name}` is not known: write `request.{name}`")
            } else {
                format!("`{name}` is not known: everything is a field of `request`")
            })
        }
        Expr::Select(select) => {
            if matches!(&select.operand.expr, Expr::Ident(name) if name == "request")
                && !FIELDS.contains(&select.field.as_str())
            {
                return Err(format!(
                    "`request.{}` does not exist; there are: {}",
                    select.field,
                    FIELDS.join(", ")
                ));
            }
            check_names(&select.operand, scope)
        }
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .try_for_each(|part| check_names(part, scope)),
        Expr::List(list) => list.elements.iter().try_for_each(|part| check_names(part, scope)),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| check_entry(&entry.expr, scope)),
        Expr::Struct(parts) => {
            parts.entries.iter().try_for_each(|entry| check_entry(&entry.expr, scope))
        }
        Expr::Comprehension(parts) => {
            check_names(&parts.iter_range, scope)?;
            check_names(&parts.accu_init, scope)?;
            let depth = scope.len();
            scope.push(&parts.iter_var);
            scope.push(&parts.accu_var);
            scope.extend(parts.iter_var2.as_deref());
            let inner = [&parts.loop_cond, &parts.loop_step, &parts.result];
            let result = inner.into_iter().try_for_each(|part| check_names(part, scope));
            scope.truncate(depth);
            result
        }
    }
}

fn check_entry<'e>(entry: &'e EntryExpr, scope: &mut Vec<&'e str>) -> Result<(), String> {
    match entry {
        EntryExpr::StructField(field) => check_names(&field.value, scope),
        EntryExpr::MapEntry(entry) => {
            check_names(&entry.key, scope)?;
            check_names(&entry.value, scope)
        }
    }
}

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
enum Part<'q> {
    Request(Query<'q>),
    Headers(&'q HeaderMap),
    Labels(Option<Caller<'q>>),
    Metadata(Option<&'q [u8]>),
}

impl<'q> Part<'q> {
    fn look_up(self, name: &str) -> Option<Box<dyn Val + 'q>> {
        match self {
            Part::Request(query) => field(query, name),
            Part::Headers(headers) => text(headers.get(name)?.to_str().ok()?),
            Part::Labels(caller) => text(caller?.labels.get(name)?),
            Part::Metadata(raw) => metadata(raw?, name),
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
    let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(raw).ok()?;
    Some(match parsed.get(name)? {
        serde_json::Value::String(text) => Box::new(CelString::from(text.clone())),
        serde_json::Value::Bool(truth) => Box::new(CelBool::from(*truth)),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Box::new(CelInt::from(number)),
            None => Box::new(CelDouble::from(number.as_f64()?)),
        },
        _ => return None,
    })
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

#[cfg(test)]
mod tests;
