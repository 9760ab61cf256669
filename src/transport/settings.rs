//! What the operator writes about listeners and runtimes.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::Time;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerSettings {
    /// Address and port (`127.0.0.1:8080`, `[::1]:8080`).
    #[schemars(with = "String", extend("format" = "socket-address", "examples" = ["127.0.0.1:8080"]))]
    pub address: SocketAddr,
    /// TLS. Cleartext without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
}

/// TLS of a listener. The files are read again at every reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// The certificate chain.
    pub cert: FileRef,
    /// Its private key.
    pub key: FileRef,
    /// Authorities whose client certificates are accepted. Without it none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<FileRef>,
    /// Whether a client certificate is required. Default `required` where `client_ca` is given.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// A file in PEM form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Its path.
    pub file: PathBuf,
}

/// Whether a client certificate is required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// The handshake fails without one.
    #[default]
    Required,
    /// Verified when one is sent.
    Optional,
}

/// The runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeSettings {
    /// How sockets are driven.
    pub io: Io,
    /// Worker threads, each with its own runtime, listener sockets and upstream connections.
    pub threads: Threads,
    /// Pin each worker to a core. Default false.
    pub pin: bool,
    /// Let each connection be accepted by the worker on the core that its first packet came in on, so
    /// that core, cache and queue of the network card stay the same all the way. For cards with a queue
    /// for every core: cores without one get no connections. Linux, with `pin`. Default false.
    pub incoming_cpu: bool,
    /// How long open streams may go on after SIGTERM or an upgrade. Default 60s.
    pub drain: Time,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            io: Io::Auto,
            threads: Threads::default(),
            pin: false,
            incoming_cpu: false,
            drain: Time::s(60),
        }
    }
}

/// How sockets are driven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Io {
    /// The best that this kernel allows.
    #[default]
    Auto,
    /// `io_uring`.
    IoUring,
    /// epoll.
    Epoll,
}

/// Number of worker threads: `auto` (one a core) or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// One a core.
    #[default]
    Auto,
    /// This many.
    Count(u16),
}

impl Threads {
    /// The number of workers on this machine.
    pub fn count(self) -> usize {
        match self {
            Threads::Auto => std::thread::available_parallelism().map_or(1, usize::from),
            Threads::Count(count) => usize::from(count.max(1)),
        }
    }
}

impl Serialize for Threads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Threads::Auto => serializer.serialize_str("auto"),
            Threads::Count(count) => serializer.serialize_u16(*count),
        }
    }
}

impl<'de> Deserialize<'de> for Threads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Threads;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto` or a number from 1 to 1024")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Threads, E> {
                match word {
                    "auto" => Ok(Threads::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Threads, E> {
                match u16::try_from(count) {
                    Ok(count @ 1..=1024) => Ok(Threads::Count(count)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(count), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Threads {
    fn schema_name() -> Cow<'static, str> {
        "Threads".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Number of worker threads: `auto` (one a core) or a number.",
            "oneOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": 1024 }],
        })
    }
}
