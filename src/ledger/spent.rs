//! What was used in a period, for budgets that go on after a restart.

use super::books::{DAY_MS, HOUR_MS, HOURS_FROM, SUMS, block_from, kept_from};
use super::query::{Cell, Field, Filter, Part, Question};
use crate::database::{Connection, Error, Row, Value};

/// By what the amounts are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Tenant, team and key: read from the sums by hour and day.
    Caller,
    /// The same and the model that was asked for, which only the records know: as far back as they are
    /// kept.
    CallerAndModel,
    /// The provider, and the model that it was asked for: read from the sums.
    Provider,
    /// What expressions named, the end user, and the model that was asked for: as the second.
    Name,
}

/// A part of what was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The tenant.
    pub tenant: String,
    /// The team.
    pub team: String,
    /// The key.
    pub key: String,
    /// The end user, where users are told apart.
    pub user: String,
    /// The model.
    pub model: String,
    /// The provider.
    pub provider: String,
    /// What expressions named of its requests, as the records have it.
    pub named: String,
    /// Tokens of prompts and answers.
    pub tokens: u64,
    /// Money.
    pub cost_nano_usd: u64,
}

/// What was used between two moments.
///
/// # Errors
///
/// The database cannot be asked, or no longer knows.
pub fn spent(
    connection: &mut Connection,
    (by, by_user): (By, bool),
    (from_ms, to_ms): (Option<u64>, Option<u64>),
    each: &mut dyn FnMut(Spent),
) -> Result<(), Error> {
    let mut fields = match by {
        By::Caller => vec![Field::Tenant, Field::Team, Field::Key],
        By::Provider => vec![Field::Provider, Field::Model],
        By::CallerAndModel => {
            return by_model(connection, by_user, (from_ms, to_ms), each);
        }
        By::Name => return by_name(connection, (from_ms, to_ms), each),
    };
    fields.extend(by_user.then_some(Field::User));
    let aligned = from_ms.is_none_or(|from| from % HOUR_MS == 0);
    if aligned
        && to_ms.is_none()
        && from_ms.unwrap_or(u64::MAX) >= kept_from(connection, HOURS_FROM)?
    {
        return by_days(connection, (by, by_user), from_ms.unwrap_or_default(), each);
    }
    let filter = Filter { from_ms, to_ms, ..Filter::default() };
    let question = Question::sums(connection, &filter, &fields, Part::default())?;
    question.ask(connection, &mut |cells| {
        let (names, sums) = cells.split_at(fields.len());
        let text = |field: Field| match fields.iter().position(|other| *other == field) {
            Some(at) => match &names[at] {
                Cell::Text(text) => text.clone(),
                _ => String::new(),
            },
            None => String::new(),
        };
        let sum = |name: &str| match SUMS.iter().position(|sum| *sum == name).map(|at| &sums[at]) {
            Some(Cell::Number(number)) => number.cast_unsigned(),
            _ => 0,
        };
        each(Spent {
            tenant: text(Field::Tenant),
            team: text(Field::Team),
            key: text(Field::Key),
            user: text(Field::User),
            model: text(Field::Model),
            provider: text(Field::Provider),
            named: String::new(),
            tokens: sum("input_tokens").saturating_add(sum("output_tokens")),
            cost_nano_usd: sum("cost_nano_usd"),
        });
        Ok(())
    })
}

/// From a whole hour until now: by day, and by hour until the first day begins. Added up before it is
/// told whose it is: there are many more rows than callers.
fn by_days(
    connection: &mut Connection,
    (by, by_user): (By, bool),
    from_ms: u64,
    each: &mut dyn FnMut(Spent),
) -> Result<(), Error> {
    let (user, group) = if by_user { ("user_name", ", user_name") } else { ("''", "") };
    let sums = format!(
        "dims, {user} AS user_name, SUM(input_tokens + output_tokens) AS tokens, \
         SUM(cost_nano_usd) AS cost"
    );
    let names = match by {
        By::Provider => "'', '', '', d.model, d.provider",
        By::Caller | By::CallerAndModel | By::Name => "d.tenant, d.team, d.key_name, '', ''",
    };
    let whose = match by {
        By::Provider => "d.model, d.provider",
        By::Caller | By::CallerAndModel | By::Name => "d.tenant, d.team, d.key_name",
    };
    let sql = format!(
        "SELECT {names}, s.user_name, CAST(SUM(s.tokens) AS BIGINT), CAST(SUM(s.cost) AS BIGINT) \
         FROM (SELECT {sums} FROM ledger_days WHERE from_ms >= CAST(?1 AS BIGINT) \
         GROUP BY dims{group} UNION ALL SELECT {sums} FROM ledger_hours \
         WHERE from_ms >= CAST(?2 AS BIGINT) AND from_ms < CAST(?1 AS BIGINT) \
         GROUP BY dims{group}) s JOIN ledger_dims d ON d.number = s.dims \
         GROUP BY {whose}, s.user_name"
    );
    let days = from_ms.next_multiple_of(DAY_MS);
    connection.query(&sql, &[Value::from(days), Value::from(from_ms)], &mut |row| {
        each(Spent {
            tenant: text(row, 0)?,
            team: text(row, 1)?,
            key: text(row, 2)?,
            model: text(row, 3)?,
            provider: text(row, 4)?,
            user: text(row, 5)?,
            named: String::new(),
            tokens: number(row, 6)?,
            cost_nano_usd: number(row, 7)?,
        });
        Ok(())
    })
}

/// The model that was asked for is in the records alone.
fn by_model(
    connection: &mut Connection,
    by_user: bool,
    (from_ms, to_ms): (Option<u64>, Option<u64>),
    each: &mut dyn FnMut(Spent),
) -> Result<(), Error> {
    let user = if by_user { "s.user_name" } else { "''" };
    let model = "COALESCE(s.model_asked, d.model)";
    let group = if by_user { ", s.user_name" } else { "" };
    let sql = format!(
        "SELECT d.tenant, d.team, d.key_name, {user}, {model}, \
         CAST(SUM(s.input_tokens + s.output_tokens) AS BIGINT), \
         CAST(SUM(COALESCE(s.cost_nano_usd, 0)) AS BIGINT) \
         FROM ledger_rows s JOIN ledger_dims d ON d.number = s.dims \
         WHERE s.time_ms >= CAST(?1 AS BIGINT) AND s.time_ms < CAST(?2 AS BIGINT) \
         AND s.first_ms >= CAST(?3 AS BIGINT) AND s.first_ms < CAST(?2 AS BIGINT) \
         GROUP BY d.tenant, d.team, d.key_name, {model}{group}"
    );
    let from = from_ms.unwrap_or_default();
    let to = to_ms.unwrap_or(i64::MAX.cast_unsigned());
    let values = [Value::from(from), Value::from(to), Value::from(block_from(from))];
    connection.query(&sql, &values, &mut |row| {
        each(Spent {
            tenant: text(row, 0)?,
            team: text(row, 1)?,
            key: text(row, 2)?,
            user: text(row, 3)?,
            model: text(row, 4)?,
            provider: String::new(),
            named: String::new(),
            tokens: number(row, 5)?,
            cost_nano_usd: number(row, 6)?,
        });
        Ok(())
    })
}

fn by_name(
    connection: &mut Connection,
    (from_ms, to_ms): (Option<u64>, Option<u64>),
    each: &mut dyn FnMut(Spent),
) -> Result<(), Error> {
    let model = "COALESCE(s.model_asked, d.model)";
    let sql = format!(
        "SELECT s.named, s.user_name, {model}, CAST(SUM(s.input_tokens + s.output_tokens) AS BIGINT), \
         CAST(SUM(COALESCE(s.cost_nano_usd, 0)) AS BIGINT) \
         FROM ledger_rows s JOIN ledger_dims d ON d.number = s.dims \
         WHERE s.named IS NOT NULL AND s.some_named > 0 \
         AND s.time_ms >= CAST(?1 AS BIGINT) AND s.time_ms < CAST(?2 AS BIGINT) \
         AND s.first_ms >= CAST(?3 AS BIGINT) AND s.first_ms < CAST(?2 AS BIGINT) GROUP BY s.named, s.user_name, {model}"
    );
    let from = from_ms.unwrap_or_default();
    let to = to_ms.unwrap_or(i64::MAX.cast_unsigned());
    let values = [Value::from(from), Value::from(to), Value::from(block_from(from))];
    connection.query(&sql, &values, &mut |row| {
        each(Spent {
            named: text(row, 0)?,
            user: text(row, 1)?,
            model: text(row, 2)?,
            tokens: number(row, 3)?,
            cost_nano_usd: number(row, 4)?,
            ..Spent::default()
        });
        Ok(())
    })
}

fn text(row: &Row<'_>, at: usize) -> Result<String, Error> {
    Ok(row.text_or_null(at)?.unwrap_or_default())
}

fn number(row: &Row<'_>, at: usize) -> Result<u64, Error> {
    Ok(row.int_or_null(at)?.unwrap_or_default().cast_unsigned())
}
