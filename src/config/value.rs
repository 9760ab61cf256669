//! Values with units, and references to secrets.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration written with its unit: `250ms`, `2s`, `10m`, `1h`, `7d`. A bare `0` is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Duration);

/// A size in bytes: `4096`, `64KiB`, `32MiB`, `1GiB` (powers of 1024), or `64kB`, `32MB` (of 1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Time {
    /// From milliseconds.
    pub const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// From seconds.
    pub const fn s(s: u64) -> Self {
        Self(Duration::from_secs(s))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| duration_hint(text))?;
        let seconds = match unit.trim() {
            "us" | "µs" => number / 1e6,
            "ms" => number / 1e3,
            "s" => number,
            "m" => number * 60.0,
            "h" => number * 3600.0,
            "d" => number * 86_400.0,
            "" if number == 0.0 => 0.0,
            _ => return Err(duration_hint(text)),
        };
        // A century: far above any timeout, far below what `Duration` cannot hold.
        if seconds > 3.2e9 {
            return Err(format!("`{text}` is too long: at most 36500d"));
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}

fn duration_hint(text: &str) -> String {
    format!("`{text}` is not a duration: write a number and a unit, such as 250ms, 2s, 10m or 1h")
}

impl Size {
    /// From kibibytes.
    pub const fn kib(n: u64) -> Self {
        Self(n * 1024)
    }

    /// From mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// As a `usize`, saturating on narrow machines.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let hint = || {
            format!("`{text}` is not a size: write bytes, or a unit such as 64KiB, 32MiB or 1GiB")
        };
        let number: u64 = number.parse().map_err(|_| hint())?;
        let factor = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(hint()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(|| format!("`{text}` is too large"))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms > 0 && ms.is_multiple_of(60_000) {
            write!(f, "{}m", ms / 60_000)
        } else if ms.is_multiple_of(1000) {
            write!(f, "{}s", ms / 1000)
        } else {
            write!(f, "{ms}ms")
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n.is_multiple_of(1 << 20) => write!(f, "{}MiB", n >> 20),
            n if n > 0 && n.is_multiple_of(1 << 10) => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}"),
        }
    }
}

/// What a [`Time`] is, in words.
pub(super) const TIME_EXPECTED: &str = "a duration with its unit, such as 250ms, 2s, 10m or 1h";
/// What a [`Size`] is, in words.
pub(super) const SIZE_EXPECTED: &str = "a size in bytes, such as 4096, 64KiB or 32MiB";
/// What a socket address is, in words.
pub(super) const ADDRESS_EXPECTED: &str = "an address and a port, such as 127.0.0.1:8080";

/// Whether `text` is a [`Time`], and what would be right if not.
pub(super) fn check_time(text: &str) -> Result<(), String> {
    Time::parse(text).map(drop)
}

/// Whether `text` is a [`Size`], and what would be right if not.
pub(super) fn check_size(text: &str) -> Result<(), String> {
    Size::parse(text).map(drop)
}

/// Whether `text` is a socket address, and what would be right if not.
pub(super) fn check_address(text: &str) -> Result<(), String> {
    if text.parse::<SocketAddr>().is_ok() {
        return Ok(());
    }
    let port = |text: &str| text.parse::<u16>().is_ok();
    let host = text.rsplit_once(':').filter(|(_, tail)| port(tail)).map(|(host, _)| host);
    let right = match host {
        _ if port(text) => format!("write the address too, such as 127.0.0.1:{text}"),
        Some("localhost") => format!("write 127.0.0.1{}", &text["localhost".len()..]),
        Some("" | "*") => format!("write 0.0.0.0:{}", text.rsplit(':').next().unwrap_or(text)),
        Some(host) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
            "put the IPv6 address between brackets, such as [::1]:8080".into()
        }
        None if text.parse::<std::net::IpAddr>().is_ok() => {
            format!("add the port, such as {text}:8080")
        }
        _ => "write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".into(),
    };
    Err(format!("`{text}` is not an address to listen on: {right}"))
}

macro_rules! text_value {
    ($name:ident, $expecting:expr, $format:literal, $pattern:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        $name::parse(&number.to_string()).map_err(E::custom)
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        $name::parse(&number.to_string()).map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": ["string", "integer"],
                    "format": $format,
                    "pattern": $pattern,
                    "description": $expecting,
                    "examples": [$example],
                })
            }
        }
    };
}

text_value!(Time, TIME_EXPECTED, "time-with-unit", r"^[0-9.]+ *(us|µs|ms|s|m|h|d)?$", "2s");
text_value!(Size, SIZE_EXPECTED, "byte-size", r"^[0-9]+ *(B|KiB|MiB|GiB|kB|KB|MB|GB)?$", "64KiB");

/// A reference to a secret. The value itself never stands in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("writeOnly" = true))]
pub struct SecretSource {
    /// Name of an environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Path of a file; one trailing line break is not part of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// With `true`, a missing secret is no error: what needs it is left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// Longest file with a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// A secret in memory. `Debug` and `Display` never show it; dropping it does not print it either.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Box<str>);

/// Why a secret could not be resolved. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretError {
    /// Not exactly one of `env` and `file`.
    NotOneSource,
    /// What should be an environment variable's name cannot be one.
    NotAName,
    /// The environment variable is not set, or is empty.
    EnvMissing(String),
    /// The file cannot be read, or is empty.
    FileUnreadable(PathBuf, String),
    /// It holds a control character or something that is not ASCII, which no header can carry.
    NotPrintable(String),
}

impl SecretSource {
    /// What is wrong with the reference itself, without reading the secret. A key pasted in place
    /// of a variable's name is told apart and never shown.
    pub fn check(&self) -> Result<(), SecretError> {
        match (&self.env, &self.file) {
            (Some(name), None) if is_variable_name(name) => Ok(()),
            (Some(_), None) => Err(SecretError::NotAName),
            (None, Some(_)) => Ok(()),
            _ => Err(SecretError::NotOneSource),
        }
    }

    /// Reads the secret. `Ok(None)` when it is missing and optional.
    pub fn resolve(&self) -> Result<Option<Secret>, SecretError> {
        self.check()?;
        let (value, origin) = match (&self.env, &self.file) {
            (Some(name), None) => match std::env::var(name) {
                Ok(value) if !value.trim().is_empty() => (value, name.clone()),
                _ if self.optional => return Ok(None),
                _ => return Err(SecretError::EnvMissing(name.clone())),
            },
            (None, Some(path)) => match read_file(path, SECRET_BYTES_MAX).and_then(text) {
                Ok(value) if !value.trim().is_empty() => (value, path.display().to_string()),
                Ok(_) if self.optional => return Ok(None),
                Ok(_) => {
                    return Err(SecretError::FileUnreadable(path.clone(), "it is empty".into()));
                }
                Err(error) if self.optional && error.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                Err(error) => {
                    return Err(SecretError::FileUnreadable(path.clone(), error.to_string()));
                }
            },
            _ => return Err(SecretError::NotOneSource),
        };
        let value = value.trim_end_matches(['\n', '\r']);
        if value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            Ok(Some(Secret(value.into())))
        } else {
            Err(SecretError::NotPrintable(origin))
        }
    }
}

/// Reads a file that an operator named. The bound is there for what never ends, such as a device.
///
/// # Errors
///
/// It cannot be read, or is longer than `bytes_max`.
pub fn read_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Secret {
    /// For tests and for values that are made at run time.
    pub fn new(value: impl Into<Box<str>>) -> Self {
        Self(value.into())
    }

    /// The value itself. Every use of this is a place where a secret leaves its wrapper.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOneSource => {
                f.write_str("a secret names exactly one source: {env: NAME} or {file: PATH}")
            }
            Self::NotAName => f.write_str(
                "`env` is not the name of an environment variable (letters, digits and `_`): the \
                 secret itself never stands in this file",
            ),
            Self::EnvMissing(name) => write!(
                f,
                "environment variable {name} is not set: export it, or mark the secret `optional: true`"
            ),
            Self::FileUnreadable(path, why) => {
                write!(f, "secret file {} cannot be read: {why}", path.display())
            }
            Self::NotPrintable(origin) => {
                write!(f, "the secret in {origin} holds a character that no header can carry")
            }
        }
    }
}

impl std::error::Error for SecretError {}
