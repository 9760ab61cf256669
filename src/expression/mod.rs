//! CEL expressions over a request.
//!
//! `request` is one value whose fields are looked up when an expression asks for them, straight
//! from the request: nothing is copied or parsed before. What a request does not say is `""`, 0 or
//! an empty map, as in protocol buffers; a header, label, claim or metadata key that is not there is
//! an error of CEL's kind (`has(request.labels.team)` and `"x-tier" in request.headers` ask first).
//!
//! Evaluation is bounded by what is compiled: an expression's length, how deep its macros stand in
//! each other ([`DEPTH_MAX`]), and how long the lists are that a request brings.

mod query;
mod value;

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Env, ExecutionError, Program, Value};

pub use query::{Caller, Query};
use value::Part;

use crate::config::Labels;
use crate::dialect::{Dialect, Endpoint};
use crate::wire::fields::Fields;

/// Fields of `request`.
const FIELDS: [&str; 17] = [
    "model",
    "endpoint",
    "dialect",
    "stream",
    "headers",
    "caller",
    "tenant",
    "team",
    "key",
    "labels",
    "claims",
    "user",
    "metadata",
    "max_tokens",
    "body_bytes",
    "time",
    "region",
];
/// Names of types that an expression may compare with.
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];
/// Longest expression.
const EXPRESSION_BYTES_MAX: usize = 4096;
/// How many macros may stand in each other (`exists`, `all`, `map`, …).
const DEPTH_MAX: usize = 2;
/// Longest text that stands for what a request is counted by.
const NAME_BYTES_MAX: usize = 128;

/// A compiled expression.
pub struct Expression {
    program: Program,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expression(…)")
    }
}

/// What an expression says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is true.
    Yes,
    /// It is false.
    No,
    /// It could not be worked out because a header, label, claim or the like is not there.
    Absent,
    /// It could not be worked out for another reason.
    Failed,
}

/// The functions and operators of CEL, made when the first expression is compiled.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

impl Expression {
    /// Compiles an expression that is true or false, and tries it on a sample request. The error says
    /// what is wrong and where in the expression.
    pub fn condition(source: &str) -> Result<Self, String> {
        let what = "the expression must be true or false";
        Self::compile(source, |value| matches!(value, Value::Bool(_)), what)
    }

    /// Compiles an expression that names something: a text, a whole number, or true or false.
    pub fn name(source: &str) -> Result<Self, String> {
        let what = "the expression must be a text or a whole number";
        Self::compile(source, |value| name_of(value).is_some(), what)
    }

    fn compile(source: &str, fits: fn(&Value) -> bool, what: &str) -> Result<Self, String> {
        if source.len() > EXPRESSION_BYTES_MAX {
            return Err(format!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes"));
        }
        let program = STANDARD.compile(source).map_err(|errors| {
            let first = errors.errors.first();
            first.map_or_else(
                || "this is not a CEL expression".to_owned(),
                |error| {
                    let (line, column) = error.pos;
                    format!("not a CEL expression, at {line}:{column} of it: {}", error.msg)
                },
            )
        })?;
        Names::default().check(program.expression())?;
        let expression = Self { program };
        match expression.try_on_sample()? {
            Tried::Value(value) if !fits(&value) => Err(format!(
                "{what}, this is of type {}: compare it with something",
                value.type_of()
            )),
            Tried::Whole => Err(format!("{what}, this is a whole part of the request")),
            Tried::Value(_) | Tried::Lacking => Ok(expression),
        }
    }

    /// Whether the request matches a condition.
    pub fn answer(&self, query: &Query<'_>) -> Answer {
        match self.evaluate(query) {
            Ok(Value::Bool(true)) => Answer::Yes,
            Ok(Value::Bool(false)) => Answer::No,
            Err(ExecutionError::NoSuchKey(_)) => Answer::Absent,
            Ok(_) | Err(_) => Answer::Failed,
        }
    }

    /// What the expression names. The empty text where that cannot be worked out or is longer than
    /// 128 bytes, so that all such requests are one.
    pub fn named(&self, query: &Query<'_>) -> String {
        let name = self.evaluate(query).ok().and_then(|value| name_of(&value));
        name.filter(|name| name.len() <= NAME_BYTES_MAX).unwrap_or_default()
    }

    fn evaluate(&self, query: &Query<'_>) -> Result<Value, ExecutionError> {
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        context.add_variable_as_val("request", Box::new(Part::Request(*query)));
        self.program.execute(&context)
    }

    /// Finds what only shows when it runs: unknown functions and types that do not go together.
    fn try_on_sample(&self) -> Result<Tried, String> {
        let (headers, labels) = (Fields::default(), Labels::default());
        let sample = Query {
            model: Some("gpt-4o"),
            endpoint: Endpoint::ChatCompletions,
            dialect: Dialect::OpenAi,
            headers: &headers,
            caller: Some(Caller::of("tenant/key", &labels)),
            user: Some("user"),
            metadata: None,
            stream: true,
            max_tokens: Some(1),
            body_bytes: 1,
            unix_s: 0,
            region: "region",
        };
        match self.evaluate(&sample) {
            Ok(value) => Ok(Tried::Value(value)),
            Err(ExecutionError::UndeclaredReference(name)) => {
                Err(format!("CEL has no function `{name}`"))
            }
            // Headers, labels and the like are no value that an expression could end in.
            Err(ExecutionError::UnexpectedType { want, .. }) if want != "string" => {
                Ok(Tried::Whole)
            }
            Err(
                error @ (ExecutionError::NoSuchOverload(_) | ExecutionError::UnexpectedType { .. }),
            ) => Err(error.to_string()),
            Err(_) => Ok(Tried::Lacking),
        }
    }
}

/// What the sample request comes to.
enum Tried {
    Value(Value),
    Whole,
    /// It lacks something that other requests may have.
    Lacking,
}

/// A value as a name.
fn name_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Refuses names that no request can have, and macros that stand too deep in each other.
#[derive(Default)]
struct Names<'e> {
    /// The variables of enclosing macros.
    scope: Vec<&'e str>,
    depth: usize,
}

impl<'e> Names<'e> {
    fn check(&mut self, expression: &'e IdedExpr) -> Result<(), String> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => {
                let known = name == "request"
                    || name.starts_with('@')
                    || self.scope.contains(&name.as_str())
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
                self.check(&select.operand)
            }
            Expr::Call(call) => call
                .target
                .as_deref()
                .into_iter()
                .chain(&call.args)
                .try_for_each(|part| self.check(part)),
            Expr::List(list) => list.elements.iter().try_for_each(|part| self.check(part)),
            Expr::Map(map) => {
                map.entries.iter().try_for_each(|entry| self.check_entry(&entry.expr))
            }
            Expr::Struct(parts) => {
                parts.entries.iter().try_for_each(|entry| self.check_entry(&entry.expr))
            }
            Expr::Comprehension(parts) => {
                self.check(&parts.iter_range)?;
                self.check(&parts.accu_init)?;
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(format!("more than {DEPTH_MAX} macros stand in each other"));
                }
                let before = self.scope.len();
                self.scope.push(&parts.iter_var);
                self.scope.push(&parts.accu_var);
                self.scope.extend(parts.iter_var2.as_deref());
                let inner = [&parts.loop_cond, &parts.loop_step, &parts.result];
                let result = inner.into_iter().try_for_each(|part| self.check(part));
                self.scope.truncate(before);
                self.depth -= 1;
                result
            }
        }
    }

    fn check_entry(&mut self, entry: &'e EntryExpr) -> Result<(), String> {
        match entry {
            EntryExpr::StructField(field) => self.check(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.check(&entry.key)?;
                self.check(&entry.value)
            }
        }
    }
}

#[cfg(test)]
mod tests;
