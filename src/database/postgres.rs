//! `PostgreSQL`, over cleartext or TLS.

use std::collections::HashMap;
use std::error::Error as _;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use pingora_core::tls::{
    ClientConfig, RootCertStore, install_default_crypto_provider, load_ca_file_into_store,
    load_platform_certs_incl_env_into_store, version,
};
use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator as _;
use postgres::types::private::BytesMut;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::value::Inner;
use super::{Error, Fault, Row, Value};

/// How long connecting may take, where the URL does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what was sent may stay without an acknowledgement before the server counts as gone.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest statement: beyond it the server gives up, and the work is done again later.
const STATEMENT_TIMEOUT_MS: u32 = 60_000;
/// Statements that one connection keeps prepared.
const STATEMENTS_MAX: usize = 128;

/// A connection and the statements that it has prepared.
pub(super) struct Postgres {
    client: Client,
    statements: HashMap<Box<str>, Statement>,
}

/// Whether the URL can be read at all.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    match Config::from_str(url) {
        Ok(config) if config.get_hosts().is_empty() => {
            Err("it names no server: write postgres://user:password@host/database".into())
        }
        Ok(_) => Ok(()),
        // What is wrong may quote the password.
        Err(_) => {
            Err("it is no URL of PostgreSQL: write postgres://user:password@host/database".into())
        }
    }
}

/// The servers and the database's name.
pub(super) fn without_password(url: &str) -> String {
    use postgres::config::Host;
    let Ok(config) = Config::from_str(url) else { return "PostgreSQL".into() };
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    format!("PostgreSQL {}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

impl Postgres {
    pub(super) fn open(url: &str, ca: Option<&Path>) -> Result<Self, Error> {
        let mut config = Config::from_str(url)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(ACKNOWLEDGE_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("weir");
        }
        let client = if config.get_ssl_mode() == SslMode::Disable {
            config.connect(NoTls)
        } else {
            config.connect(tls(ca)?)
        };
        let mut client = client?;
        client.batch_execute(&format!("SET statement_timeout = {STATEMENT_TIMEOUT_MS}"))?;
        Ok(Self { client, statements: HashMap::new() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn batch(&mut self, sql: &str) -> Result<(), Error> {
        Ok(self.client.batch_execute(sql)?)
    }

    pub(super) fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        let statement = self.prepared(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        Ok(self.client.execute(&statement, &values)?)
    }

    pub(super) fn query(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let statement = self.prepared(sql)?;
        let mut rows = self.client.query_raw(&statement, values)?;
        while let Some(row) = rows.next()? {
            each(&Row(Inner::Postgres(&row)))?;
        }
        Ok(())
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        let statement = self.client.prepare(&sql.replace('?', "$"))?;
        self.statements.insert(sql.into(), statement.clone());
        Ok(statement)
    }
}

fn tls(ca: Option<&Path>) -> Result<MakeRustlsConnect, Error> {
    install_default_crypto_provider();
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => load_ca_file_into_store(path, &mut roots),
        None => load_platform_certs_incl_env_into_store(&mut roots),
    }
    .map_err(|error| Error::new(Fault::Away, format!("TLS authorities: {error}")))?;
    let config = ClientConfig::builder_with_protocol_versions(&[&version::TLS12, &version::TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match *self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(number) if *kind == Type::INT4 => i32::try_from(number)?.to_sql(kind, out),
            Value::Int(number) => number.to_sql_checked(kind, out),
            // A file takes any text, the server none with a zero byte in it.
            Value::Text(text) if text.contains('\0') => {
                text.replace('\0', "\u{fffd}").to_sql_checked(kind, out)
            }
            Value::Text(text) => text.to_sql_checked(kind, out),
            Value::Blob(bytes) => bytes.to_sql_checked(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl From<postgres::Error> for Error {
    fn from(error: postgres::Error) -> Self {
        let fault = match error.code() {
            Some(code) => fault(code),
            None if error.is_closed() => Fault::Away,
            // The connection broke, or could not be made; else a value that does not fit.
            None if error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>) => {
                Fault::Away
            }
            None if error.to_string().contains("connect") => Fault::Away,
            None => Fault::Other,
        };
        let message = match error.as_db_error() {
            Some(said) => said.message().to_owned(),
            None => match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        };
        Error::new(fault, message)
    }
}

/// Error classes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn fault(code: &SqlState) -> Fault {
    if *code == SqlState::DISK_FULL {
        Fault::Full
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        Fault::ReadOnly
    } else if *code == SqlState::QUERY_CANCELED {
        Fault::Timeout
    } else if matches!(code.code(), "40001" | "40P01" | "55P03") {
        Fault::Locked
    } else {
        match &code.code()[..2] {
            "23" => Fault::Constraint,
            // Connections, resources, an operator's intervention, the system itself, a refused login.
            "08" | "53" | "57" | "28" | "3D" => Fault::Away,
            "58" => Fault::Io,
            "XX" => Fault::Corrupt,
            _ => Fault::Other,
        }
    }
}
