//! What an operator chooses about a simulated upstream.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use super::fault::Rule;
use super::latency::Latency;
use super::words::Rng;

/// Settings of a simulated upstream.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    #[cfg_attr(feature = "cli", arg(long, default_value = "127.0.0.1:8000", value_name = "ADDR"))]
    pub address: SocketAddr,
    /// A second address that never fails: `/__mock/*` stays reachable there while faults are on.
    #[cfg_attr(feature = "cli", arg(long, value_name = "ADDR"))]
    pub control: Option<SocketAddr>,
    /// Threads, each with its own listener on the same port.
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 1))]
    pub threads: usize,
    /// A core for each thread to stay on, which then accepts what comes in on that core. Linux. May be
    /// repeated.
    #[cfg_attr(feature = "cli", arg(long = "core", value_name = "CPU"))]
    pub cores: Vec<usize>,
    /// The seed of every text, delay and random fault.
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 1))]
    pub seed: u64,
    /// Time to the first token: `20ms`, `uniform:10ms,50ms`, `jitter:20ms,5ms`, `lognormal:200ms,0.5`.
    #[cfg_attr(feature = "cli", arg(long, default_value = "0ms", value_name = "LATENCY"))]
    pub ttft: Latency,
    /// Time between two tokens, in the same notation.
    #[cfg_attr(feature = "cli", arg(long, default_value = "0ms", value_name = "LATENCY"))]
    pub itl: Latency,
    /// Tokens of an answer: `32`, or a range such as `16..64`.
    #[cfg_attr(feature = "cli", arg(long, default_value = "32", value_name = "N|LOW..HIGH"))]
    pub tokens: Tokens,
    /// A fault with its share of requests, such as `stall=3@0.01` or `429=2@5%`. May be repeated.
    #[cfg_attr(feature = "cli", arg(long = "fault", value_name = "NAME[=ARG][@SHARE]"))]
    pub faults: Vec<Rule>,
    /// Refuse requests without a credential.
    #[cfg_attr(feature = "cli", arg(long))]
    pub require_key: bool,
    /// The keys that are accepted; any, when none is given. May be repeated.
    #[cfg_attr(feature = "cli", arg(long = "key", value_name = "KEY"))]
    pub keys: Vec<String>,
    /// Accept requests that carry what no proxy may forward (two different credentials, its own
    /// headers). They are counted either way.
    #[cfg_attr(feature = "cli", arg(long))]
    pub accept_leaks: bool,
    /// The models that are listed. May be repeated.
    #[cfg_attr(feature = "cli", arg(long = "model", value_name = "NAME"))]
    pub models: Vec<String>,
    /// The largest request body, in bytes.
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 256 << 20, value_name = "BYTES"))]
    pub body_bytes_max: usize,
    /// How many requests the books remember.
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 10_000, value_name = "N"))]
    pub records_max: usize,
    /// Close a connection that was idle for this long; 0 keeps it.
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 0, value_name = "MS"))]
    pub idle_timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            control: None,
            threads: 1,
            cores: Vec::new(),
            seed: 1,
            ttft: Latency::Zero,
            itl: Latency::Zero,
            tokens: Tokens::fixed(32),
            faults: Vec::new(),
            require_key: false,
            keys: Vec::new(),
            accept_leaks: false,
            models: Vec::new(),
            body_bytes_max: 256 << 20,
            records_max: 10_000,
            idle_timeout_ms: 0,
        }
    }
}

impl Settings {
    /// The models that are listed.
    pub(super) fn model_names(&self) -> Vec<&str> {
        if self.models.is_empty() {
            vec!["sim-1", "sim-1-mini", "sim-embed"]
        } else {
            self.models.iter().map(String::as_str).collect()
        }
    }
}

/// How many tokens an answer has: evenly between two bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    low: u32,
    high: u32,
}

impl Tokens {
    /// Always the same number.
    pub const fn fixed(tokens: u32) -> Self {
        Self { low: tokens, high: tokens }
    }

    pub(super) fn sample(self, rng: &mut Rng) -> u32 {
        self.low + rng.below(u64::from(self.high - self.low) + 1) as u32
    }
}

impl FromStr for Tokens {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        match (low.trim().parse(), high.trim().parse()) {
            (Ok(low), Ok(high)) if low <= high => Ok(Self { low, high }),
            _ => Err(format!("`{text}` is not a number of tokens: write 32 or 16..64")),
        }
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}..{}", self.low, self.high)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_counts_read_and_write() {
        for text in ["32", "0", "16..64"] {
            assert_eq!(text.parse::<Tokens>().unwrap().to_string(), text);
        }
        for text in ["", "x", "64..16", "-1", "1..x"] {
            assert!(text.parse::<Tokens>().is_err(), "{text}");
        }
        let mut rng = Rng::new(1);
        let range: Tokens = "4..6".parse().unwrap();
        assert!((0..100).all(|_| (4..=6).contains(&range.sample(&mut rng))));
    }
}
