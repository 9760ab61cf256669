//! One connection, of either engine.

use super::place::At;
use super::postgres::Postgres;
use super::{Error, Fault, Place, Row, Value, sqlite};

/// What speaks SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Embedded, in a file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Engine {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Engine::Sqlite => "sqlite",
            Engine::Postgres => "postgresql",
        }
    }
}

/// A connection. What fails on it leaves its mark, from which its thread tells the database's
/// state.
pub struct Connection {
    inner: Inner,
    in_transaction: bool,
    used: bool,
    failed: Option<Error>,
}

enum Inner {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Postgres>),
}

/// What a piece of work has shown of the database.
pub(super) enum Shown {
    /// Nothing: it was not asked.
    Nothing,
    /// That it answers.
    Well,
    /// That it cannot be used as it is.
    Failed(Error),
}

impl Connection {
    /// Opens one of one's own. Tables are not brought up to date.
    pub fn open(place: &Place) -> Result<Self, Error> {
        let inner = match &place.at {
            At::File(path) => Inner::Sqlite(sqlite::open(path, place.synchronous, place.busy)?),
            At::Server { url, ca } => {
                Inner::Postgres(Box::new(Postgres::open(url.expose(), ca.as_deref())?))
            }
        };
        Ok(Self { inner, in_transaction: false, used: false, failed: None })
    }

    /// What it speaks to.
    pub fn engine(&self) -> Engine {
        match self.inner {
            Inner::Sqlite(_) => Engine::Sqlite,
            Inner::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs a statement. Gives the number of rows it changed.
    pub fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        let result = match &mut self.inner {
            Inner::Sqlite(connection) => sqlite::execute(connection, sql, values),
            Inner::Postgres(client) => client.execute(sql, values),
        };
        self.noted(result)
    }

    /// Runs a query and gives each row as it comes; none is kept. An error of `each` ends it.
    pub fn query(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let result = match &mut self.inner {
            Inner::Sqlite(connection) => sqlite::query(connection, sql, values, each),
            Inner::Postgres(client) => client.query(sql, values, each),
        };
        self.noted(result)
    }

    /// The first row of a query, if there is one.
    pub fn first<T>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut first = None;
        self.query(sql, values, &mut |row| {
            if first.is_none() {
                first = Some(read(row)?);
            }
            Ok(())
        })?;
        Ok(first)
    }

    /// Runs several statements without parameters.
    pub fn batch(&mut self, sql: &str) -> Result<(), Error> {
        let result = match &mut self.inner {
            Inner::Sqlite(connection) => connection.execute_batch(sql).map_err(Error::from),
            Inner::Postgres(client) => client.batch(sql),
        };
        self.noted(result)
    }

    /// All of the work or none of it. Transactions do not nest.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.in_transaction {
            return Err(Error::new(Fault::Other, "a transaction within a transaction"));
        }
        // A writer takes its place at once, so that it need not be refused halfway.
        self.batch(match self.inner {
            Inner::Sqlite(_) => "BEGIN IMMEDIATE",
            Inner::Postgres(_) => "BEGIN",
        })?;
        self.in_transaction = true;
        let result = work(self).and_then(|done| self.batch("COMMIT").map(|()| done));
        self.in_transaction = false;
        if result.is_err() {
            self.roll_back();
        }
        result
    }

    /// What failed is what counts, not how it was taken back.
    fn roll_back(&mut self) {
        let undone = match &mut self.inner {
            // Some failures have ended the transaction already.
            Inner::Sqlite(connection) if connection.is_autocommit() => Ok(()),
            Inner::Sqlite(connection) => connection.execute_batch("ROLLBACK").map_err(Error::from),
            Inner::Postgres(client) => client.batch("ROLLBACK"),
        };
        if let Err(error) = undone {
            log::debug!("a transaction could not be taken back: {error}");
            self.failed.get_or_insert(Error { fault: Fault::Away, ..error });
        }
    }

    /// Whether a server has closed it.
    pub(super) fn is_closed(&self) -> bool {
        match &self.inner {
            Inner::Sqlite(_) => false,
            Inner::Postgres(client) => client.is_closed(),
        }
    }

    /// What was shown since it was asked last.
    pub(super) fn shown(&mut self) -> Shown {
        let used = std::mem::take(&mut self.used);
        match self.failed.take() {
            Some(error) => Shown::Failed(error),
            None if used => Shown::Well,
            None => Shown::Nothing,
        }
    }

    fn noted<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.used = true;
        if let Err(error) = &result
            && error.fault.is_state()
        {
            self.failed = Some(error.clone());
        }
        result
    }
}
