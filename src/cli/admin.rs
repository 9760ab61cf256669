//! The commands that administer a running weir: each is one request to its admin API, whose answer it
//! prints as JSON.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::fail;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// All but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the admin API is, and who asks.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// Address of the admin listener
    #[arg(long, global = true, value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    admin: String,
    /// The environment variable that holds the admin token; where it is not set none is sent
    #[arg(long, global = true, value_name = "NAME", default_value = "WEIR_ADMIN_TOKEN")]
    token_env: String,
}

/// Which part of a list.
#[derive(Debug, Args)]
pub(super) struct PageArgs {
    /// After this item: the `next` of the page before
    #[arg(long)]
    after: Option<String>,
    /// Items of the page, 1 to 1000
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

/// What a new key is good for.
#[derive(Debug, Args)]
pub(super) struct NewKeyArgs {
    /// Its tenant, one of the configuration's
    #[arg(long)]
    tenant: String,
    /// Its team, one of the tenant's
    #[arg(long)]
    team: Option<String>,
    /// Its name, unique within the tenant
    #[arg(long)]
    name: String,
    /// How long it may be used, such as 90d; for ever by default
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,
    /// A label, as NAME=VALUE; as often as there are labels
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// A model that it may use, by name, glob or regex; all by default
    #[arg(long = "model", value_name = "PATTERN")]
    models: Vec<String>,
    /// An endpoint that it may use, such as `chat_completions`; all by default
    #[arg(long = "endpoint", value_name = "NAME")]
    endpoints: Vec<String>,
    /// An address or a network that it may be used from; all by default
    #[arg(long = "source", value_name = "NETWORK")]
    sources: Vec<String>,
    /// A limit as JSON, as in the configuration: '{"budgets": [{"period": "month", "usd": 100}]}'
    #[arg(long = "limit", value_name = "JSON")]
    limits: Vec<String>,
    /// A policy as JSON, as in the configuration: '{"name": "hours", "when": "request.time.hour < 6",
    /// "deny": "Closed until the morning."}'
    #[arg(long = "policy", value_name = "JSON")]
    policies: Vec<String>,
}

/// `weir keys …` of a running weir.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Print the form in which a key stands in the configuration (`hash: sha256:…`)
    ///
    /// The key is read from standard input, so that it does not show in the process list:
    ///
    ///   weir keys hash < key.txt
    #[command(verbatim_doc_comment)]
    Hash,
    /// Make a key, which is shown this once
    Create(NewKeyArgs),
    /// List keys
    List {
        /// Of this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// Of this team
        #[arg(long)]
        team: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a key
    Show {
        /// Its id
        id: String,
    },
    /// Make a new key in place of a key, which may go on for a while
    Rotate {
        /// Its id
        id: String,
        /// How long the old one may go on, such as 24h; not at all by default
        #[arg(long, value_name = "TIME")]
        overlap: Option<String>,
    },
    /// Refuse a key until it is enabled again
    Disable {
        /// Its id
        id: String,
    },
    /// Accept a disabled key again
    Enable {
        /// Its id
        id: String,
    },
    /// Refuse a key for good
    Revoke {
        /// Its id
        id: String,
    },
}

/// `weir access …`.
#[derive(Debug, Subcommand)]
pub(super) enum AccessCommand {
    /// Ask for more models or other limits for a key
    Request {
        /// The key's id
        key: String,
        /// A model that it may use beside those it may use already
        #[arg(long = "model", value_name = "PATTERN")]
        models: Vec<String>,
        /// A limit as JSON, in place of all that the key has
        #[arg(long = "limit", value_name = "JSON")]
        limits: Vec<String>,
        /// No limit in place of all that the key has
        #[arg(long, conflicts_with = "limits")]
        no_limits: bool,
        /// What for
        #[arg(long)]
        reason: String,
    },
    /// List requests
    List {
        /// Only those that are open, approved or declined
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Grant a request, which holds at once
    Approve(Decide),
    /// Decline a request
    Decline(Decide),
}

/// A decision.
#[derive(Debug, Args)]
pub(super) struct Decide {
    /// The request's id
    id: String,
    /// Why so
    #[arg(long, default_value = "")]
    note: String,
}

/// `weir audit …`.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// List entries, the oldest first
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Check the whole chain; exit status 1 where it is broken
    Verify,
}

/// Runs a command on keys.
pub(super) fn keys(to: &Where, command: KeysCommand) -> ExitCode {
    let change = |id: &str, what: &str| Ok(Asked::post(&["keys", id, what], Value::Null));
    let asked = match command {
        KeysCommand::Hash => return super::keys::hash(),
        KeysCommand::Create(new) => new_key(new),
        KeysCommand::List { tenant, team, page } => {
            Ok(Asked::get(&["keys"]).query("tenant", tenant).query("team", team).page(page))
        }
        KeysCommand::Show { id } => Ok(Asked::get(&["keys", &id])),
        KeysCommand::Rotate { id, overlap } => {
            let body = overlap.map_or(json!({}), |overlap| json!({ "overlap": overlap }));
            Ok(Asked::post(&["keys", &id, "rotate"], body))
        }
        KeysCommand::Disable { id } => change(&id, "disable"),
        KeysCommand::Enable { id } => change(&id, "enable"),
        KeysCommand::Revoke { id } => change(&id, "revoke"),
    };
    answer(asked.and_then(|asked| asked.send(to)))
}

/// Runs a command on access requests.
pub(super) fn access(to: &Where, command: AccessCommand) -> ExitCode {
    let decide = |decide: Decide, what: &str| {
        Ok(Asked::post(&["requests", &decide.id, what], json!({ "note": decide.note })))
    };
    let asked = match command {
        AccessCommand::Request { key, models, limits, no_limits, reason } => {
            parsed(&limits).map(|limits| {
                let mut wanted = json!({ "models": models });
                if no_limits || !limits.is_empty() {
                    wanted["limits"] = limits.into();
                }
                let body = json!({ "key": key, "wanted": wanted, "reason": reason });
                Asked::post(&["requests"], body)
            })
        }
        AccessCommand::List { status, page } => {
            Ok(Asked::get(&["requests"]).query("status", status).page(page))
        }
        AccessCommand::Approve(decision) => decide(decision, "approve"),
        AccessCommand::Decline(decision) => decide(decision, "decline"),
    };
    answer(asked.and_then(|asked| asked.send(to)))
}

/// Runs a command on the audit log.
pub(super) fn audit(to: &Where, command: AuditCommand) -> ExitCode {
    match command {
        AuditCommand::List { page } => answer(Asked::get(&["audit"]).page(page).send(to)),
        AuditCommand::Verify => {
            let checked = Asked::get(&["audit", "verify"]).send(to);
            let broken = checked.as_ref().is_ok_and(|checked| checked.get("broken").is_some());
            let printed = answer(checked);
            if broken { fail("the chain of the audit log is broken") } else { printed }
        }
    }
}

/// Shows what there is at a path.
pub(super) fn get(to: &Where, path: &[&str]) -> ExitCode {
    answer(Asked::get(path).send(to))
}

/// Has the configuration read again.
pub(super) fn reload(to: &Where) -> ExitCode {
    answer(Asked::post(&["config", "reload"], Value::Null).send(to))
}

fn answer(answer: Result<Value, String>) -> ExitCode {
    match answer {
        Ok(value) => {
            println!("{value:#}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(why),
    }
}

fn new_key(new: NewKeyArgs) -> Result<Asked, String> {
    let mut labels = Map::new();
    for label in &new.labels {
        let (name, value) =
            label.split_once('=').ok_or_else(|| format!("`{label}` is not NAME=VALUE"))?;
        labels.insert(name.to_owned(), value.into());
    }
    let mut body = json!({
        "tenant": new.tenant,
        "name": new.name,
        "terms": {
            "labels": labels,
            "models": new.models,
            "endpoints": new.endpoints,
            "sources": new.sources,
            "limits": parsed(&new.limits)?,
            "policies": parsed(&new.policies)?,
        },
    });
    for (name, value) in [("team", new.team), ("expires_in", new.expires_in)] {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
    Ok(Asked::post(&["keys"], body))
}

fn parsed(texts: &[String]) -> Result<Vec<Value>, String> {
    let parse = |text: &String| {
        serde_json::from_str(text).map_err(|error| format!("`{text}` is not JSON: {error}"))
    };
    texts.iter().map(parse).collect()
}

/// A request to the admin API.
pub(super) struct Asked {
    method: &'static str,
    path: String,
    query: Vec<String>,
    body: Option<Value>,
}

impl Asked {
    pub(super) fn get(parts: &[&str]) -> Self {
        let encoded = parts.iter().map(|part| encode(part).to_string());
        let path = format!("/admin/v1/{}", encoded.collect::<Vec<_>>().join("/"));
        Self { method: "GET", path, query: Vec::new(), body: None }
    }

    fn post(parts: &[&str], body: Value) -> Self {
        Self { method: "POST", body: Some(body).filter(|it| !it.is_null()), ..Self::get(parts) }
    }

    pub(super) fn query(mut self, name: &str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| format!("{name}={}", encode(&value))));
        self
    }

    fn page(self, page: PageArgs) -> Self {
        self.query("after", page.after).query("limit", Some(page.limit.to_string()))
    }

    /// What it is answered, or why not.
    pub(super) fn send(&self, to: &Where) -> Result<Value, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", to.admin);
        let mut stream = TcpStream::connect(&to.admin).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.write_all(self.text(to)?.as_bytes()).map_err(failed)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(failed)?;
        read(&answer)
    }

    fn text(&self, to: &Where) -> Result<String, String> {
        let token = std::env::var(&to.token_env).unwrap_or_default();
        if token.chars().any(char::is_control) {
            return Err(format!("the token in {} holds a line end", to.token_env));
        }
        let authorization = match token.as_str() {
            "" => String::new(),
            token => format!("authorization: Bearer {token}\r\n"),
        };
        let query = if self.query.is_empty() { "" } else { "?" };
        let body = self.body.as_ref().map_or_else(String::new, Value::to_string);
        Ok(format!(
            "{} {}{query}{} HTTP/1.1\r\nhost: {}\r\n{authorization}content-type: application/json\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.method,
            self.path,
            self.query.join("&"),
            to.admin,
            body.len()
        ))
    }
}

fn encode(text: &str) -> percent_encoding::PercentEncode<'_> {
    utf8_percent_encode(text, ENCODED)
}

/// The body of an answer of weir's own, which always has a length.
fn read(answer: &[u8]) -> Result<Value, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(begins)) = response.parse(answer) else {
        return Err("that is not the admin API of a weir".into());
    };
    let value: Value = serde_json::from_slice(&answer[begins..])
        .map_err(|_| "that is not the admin API of a weir".to_owned())?;
    if let Some(200..300) = response.code {
        return Ok(value);
    }
    let Some(message) = value["error"]["message"].as_str() else { return Err(value.to_string()) };
    let details = value["error"]["diagnostics"].as_array().into_iter().flatten();
    let lines = details.filter_map(Value::as_str);
    Err([message].into_iter().chain(lines).collect::<Vec<_>>().join("\n"))
}
