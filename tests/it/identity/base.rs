//! Weirs over one database, of either engine, and what administrators ask of them.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::tokens::{UPSTREAM, bearer, chat, status};
use crate::database_server::Server;
use crate::stand::Weir;

pub const ROLES: [&str; 4] = ["owner", "operator", "auditor", "developer"];

/// A token of a role is its name, twice.
pub fn token(role: &str) -> String {
    format!("{role}-{role}")
}

/// A database, and where the files of all who use it are.
pub struct Base {
    folder: TempDir,
    server: Option<Server>,
}

impl Base {
    /// Runs a test over a file, and over a server where `PostgreSQL` is installed.
    pub fn each(test: impl Fn(&Base)) {
        let folder = || tempfile::tempdir().expect("a folder");
        test(&Base { folder: folder(), server: None });
        match Server::start() {
            Some(server) => test(&Base { folder: folder(), server: Some(server) }),
            None => eprintln!("PostgreSQL is not installed: only a file was tested"),
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    /// A weir with a token of each role, and two that are kept to the tenant `lab`.
    pub fn start(&self) -> Weir {
        let mut tokens: Vec<String> = ROLES
            .iter()
            .map(|role| {
                let path = self.file(role, &token(role));
                format!("{{ name: {role}, role: {role}, secret: {{ file: '{path}' }} }}")
            })
            .collect();
        for (name, role) in [("lab", "operator"), ("lab-owner", "owner")] {
            let path = self.file(name, &token(name));
            tokens.push(format!(
                "{{ name: {name}, role: {role}, tenant: lab, secret: {{ file: '{path}' }} }}"
            ));
        }
        let storage = match &self.server {
            None => format!("path: '{}'", self.folder.path().join("weir.db").display()),
            Some(server) => format!("url: {{ file: '{}' }}", self.file("url", &server.url())),
        };
        let rest = format!(
            "
storage: {{ {storage} }}
ledger: {{ journal: '{}', sync: 20ms, reserve: 1MiB }}
identity: {{ secret: {{ file: '{}' }} }}
access: keys
prices: {{ '*': {{ input: 1, output: 2 }} }}
tenants:
  acme: {{ teams: {{ research: {{}}, sales: {{ models: [gpt-4o] }} }} }}
  lab: {{}}
{UPSTREAM}",
            self.folder.path().join("journal").display(),
            self.file("secret", "a secret of at least sixteen characters")
        );
        Weir::start_as("", &format!("tokens: [{}]", tokens.join(", ")), &rest)
    }

    /// Changes the database behind the back of those who use it.
    pub fn change(&self, sql: &str) {
        if let Some(server) = &self.server {
            return server.run(sql);
        }
        let path = self.folder.path().join("weir.db");
        let database = rusqlite::Connection::open(path).expect("opened");
        database.busy_timeout(std::time::Duration::from_secs(5)).expect("patience");
        database.execute_batch(sql).expect("changed");
    }
}

/// What the admin API answers to a body as it is: the head and the body, put together where it came in
/// chunks.
pub fn send(weir: &Weir, role: &str, method: &str, path: &str, body: &str) -> (String, String) {
    let request = format!(
        "{method} /admin/v1/{path} HTTP/1.1\r\nhost: weir\r\n{}connection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        bearer(&token(role)),
        body.len()
    );
    let answer = String::from_utf8(weir.send_admin(request.as_bytes())).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    (head.to_owned(), body)
}

fn unchunked(mut chunks: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        if length == 0 {
            return whole;
        }
        whole.push_str(&rest[..length]);
        chunks = &rest[length + 2..];
    }
    panic!("the last chunk is missing after {} bytes", whole.len());
}

/// The status and the JSON that the admin API answers.
pub fn ask(weir: &Weir, role: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (head, body) = send(weir, role, method, path, &body);
    (status(head.as_bytes()), serde_json::from_str(&body).unwrap_or_default())
}

/// Makes a key of acme's, with more to say of it. Gives the key and its id.
pub fn create(weir: &Weir, name: &str, more: &Value) -> (String, String) {
    let mut body = json!({ "tenant": "acme", "name": name });
    for (key, value) in more.as_object().expect("an object") {
        body[key] = value.clone();
    }
    let (status, created) = ask(weir, "operator", "POST", "keys", &body);
    assert_eq!(status, 201, "{created}");
    let text = |name: &str| created[name].as_str().expect("a text").to_owned();
    (text("key"), text("id"))
}

/// The status of a chat with a key.
pub fn uses(weir: &Weir, key: &str) -> u16 {
    status(&weir.send(&chat(&bearer(key))))
}
