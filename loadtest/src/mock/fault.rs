//! What a simulated upstream can do wrong, and who asks for it.
//!
//! A fault is chosen, in this order, by the request's `x-mock-fault` header, by a suffix of its
//! model (`sim-1+fault:stall=3`), by the global fault (`/__mock/fault`, [`super::Handle`]) and by
//! the seeded rules of the settings. The first that says something decides.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::latency::duration;
use super::words::Rng;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The listener is closed for this long, and the connection is reset.
    Refuse(Duration),
    /// The request is taken and never answered.
    BlackHole,
    /// The connection is reset (`RST`) at this point.
    Reset(Point),
    /// An error status in the format of the endpoint.
    Status(u16, RetryAfter),
    /// An error event inside a stream that began with 200, after this many tokens.
    ErrorInStream(u64),
    /// 200, then the end, without content.
    EmptyStream,
    /// 200 with a body of zero bytes.
    EmptyBody,
    /// Nothing more after this many tokens; the connection stays open.
    Stall(u64),
    /// The connection is closed in the middle of the frame after this many tokens.
    Cut(u64),
    /// The stream ends well-formed for HTTP but before its terminal event, after this many tokens.
    Truncate(u64),
    /// A broken piece of protocol.
    Malformed(Broken),
    /// One frame (or a body) of this many bytes.
    Oversized(usize),
    /// One byte per write, this long apart.
    Drip(Duration),
    /// The status line, a wait of this long, then the rest of the head.
    SlowHead(Duration),
    /// This status is sent before the body was read, then the connection is closed.
    EarlyResponse(u16),
    /// A response head with this many bytes of extra headers.
    HugeHeaders(usize),
    /// An interim response (103) before the real one.
    Interim,
    /// A correct answer; the connection is closed right after it without saying so.
    CloseAfter,
    /// A correct answer with bytes after its end that nobody asked for.
    ExtraBytes,
    /// HTTP/2: `GOAWAY` with this answer; HTTP/1.1: the same as `close_after`.
    GoAway,
}

/// Where a connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before any byte of the answer.
    BeforeHead,
    /// After the response head.
    AfterHead,
    /// After this many tokens.
    MidStream(u64),
}

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The JSON inside a frame.
    Json,
    /// The framing of HTTP chunks.
    Chunk,
    /// The HTTP response head.
    Head,
    /// A frame holds bytes that are not UTF-8.
    Utf8,
    /// The declared `Content-Length` is not a number.
    Length,
    /// The answer is not what its content type says: a page of HTML.
    Html,
    /// Event streams: a checksum is wrong. Others: the same as `Json`.
    Checksum,
}

/// How an error says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// It does not.
    Unsaid,
    /// `Retry-After` in seconds.
    Seconds(u32),
    /// `retry-after-ms`.
    Millis(u32),
    /// `Retry-After` as an HTTP date this many seconds from now.
    Date(u32),
    /// The reset headers that the provider sends, this many seconds from now.
    Reset(u32),
}

/// A fault with the share of requests it hits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// How often, from 0 to 1.
    pub probability: f64,
}

impl Rule {
    /// Whether it hits this time.
    pub(super) fn hits(&self, rng: &mut Rng) -> bool {
        self.probability >= 1.0 || rng.unit() < self.probability
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (fault, probability) = text.split_once('@').unwrap_or((text, "1"));
        let number: f64 = match probability.trim().strip_suffix('%') {
            Some(percent) => percent.parse().map(|percent: f64| percent / 100.0),
            None => probability.trim().parse(),
        }
        .map_err(|_| format!("`{probability}` is not a probability, such as 0.05 or 5%"))?;
        if !(0.0..=1.0).contains(&number) {
            return Err(format!("`{probability}` is not between 0 and 1"));
        }
        Ok(Self { fault: fault.parse()?, probability: number })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.fault, self.probability)
    }
}

fn count<T: FromStr>(name: &str, argument: Option<&str>, default: T) -> Result<T, String> {
    argument.map_or(Ok(default), |text| {
        text.parse().map_err(|_| format!("`{text}` is not a number that `{name}` takes"))
    })
}

fn delay(argument: Option<&str>, default_ms: u64) -> Result<Duration, String> {
    argument.map_or(Ok(Duration::from_millis(default_ms)), duration)
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, argument) = match text.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        if name.len() == 3 && name.bytes().all(|byte| byte.is_ascii_digit()) {
            return status(name, argument);
        }
        Ok(match name {
            "refuse" => Self::Refuse(delay(argument, 1000)?),
            "black_hole" => Self::BlackHole,
            "reset" => Self::Reset(argument.map_or(Ok(Point::BeforeHead), str::parse)?),
            "error_in_stream" => Self::ErrorInStream(count(name, argument, 0)?),
            "empty_stream" => Self::EmptyStream,
            "empty_body" => Self::EmptyBody,
            "stall" => Self::Stall(count(name, argument, 3)?),
            "cut" => Self::Cut(count(name, argument, 3)?),
            "truncate" => Self::Truncate(count(name, argument, 3)?),
            "malformed" => Self::Malformed(argument.map_or(Ok(Broken::Json), str::parse)?),
            "oversized" => Self::Oversized(count::<usize>(name, argument, 20 << 20)?.min(1 << 30)),
            "drip" => Self::Drip(delay(argument, 1)?),
            "slow_head" => Self::SlowHead(delay(argument, 1000)?),
            "early_response" => match count(name, argument, 413)? {
                status @ 200..=599 => Self::EarlyResponse(status),
                status => return Err(format!("`{status}` is not a final status")),
            },
            "huge_headers" => {
                Self::HugeHeaders(count::<usize>(name, argument, 128 << 10)?.min(64 << 20))
            }
            "interim" => Self::Interim,
            "close_after" => Self::CloseAfter,
            "extra_bytes" => Self::ExtraBytes,
            "goaway" => Self::GoAway,
            _ => return Err(format!("`{name}` is not a fault: one of {}", NAMES.join(", "))),
        })
    }
}

/// The names of all faults, for messages.
pub const NAMES: [&str; 20] = [
    "refuse",
    "black_hole",
    "reset",
    "400 … 599",
    "error_in_stream",
    "empty_stream",
    "empty_body",
    "stall",
    "cut",
    "truncate",
    "malformed",
    "oversized",
    "drip",
    "slow_head",
    "early_response",
    "huge_headers",
    "interim",
    "close_after",
    "extra_bytes",
    "goaway",
];

fn status(name: &str, argument: Option<&str>) -> Result<Fault, String> {
    let status: u16 = name.parse().map_err(|_| format!("`{name}` is not a status"))?;
    if !(400..600).contains(&status) {
        return Err(format!("`{name}` is not an error status"));
    }
    let retry_after = match argument {
        None if status == 429 => RetryAfter::Seconds(1),
        None | Some("none") => RetryAfter::Unsaid,
        Some(text) => {
            let (kind, number) = text.split_once(':').unwrap_or(("", text));
            match (kind, number.strip_suffix("ms")) {
                ("", Some(ms)) => RetryAfter::Millis(count("retry-after-ms", Some(ms), 0)?),
                ("", None) => RetryAfter::Seconds(count("Retry-After", Some(number), 0)?),
                ("date", None) => RetryAfter::Date(count("Retry-After", Some(number), 0)?),
                ("reset", None) => RetryAfter::Reset(count("a reset", Some(number), 0)?),
                _ => {
                    return Err(format!(
                        "`{text}` does not say when to come back: 2, 1500ms, date:2, reset:2 or none"
                    ));
                }
            }
        }
    };
    Ok(Fault::Status(status, retry_after))
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "before_head" => Ok(Self::BeforeHead),
            "after_head" => Ok(Self::AfterHead),
            "mid_stream" => Ok(Self::MidStream(3)),
            _ => match text.strip_prefix("mid_stream:").unwrap_or(text).parse() {
                Ok(tokens) => Ok(Self::MidStream(tokens)),
                Err(_) => Err(format!(
                    "`{text}` is not a point: before_head, after_head, mid_stream or a number of tokens"
                )),
            },
        }
    }
}

impl FromStr for Broken {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "json" => Self::Json,
            "chunk" => Self::Chunk,
            "head" => Self::Head,
            "utf8" => Self::Utf8,
            "length" => Self::Length,
            "html" => Self::Html,
            "checksum" => Self::Checksum,
            _ => {
                return Err(format!(
                    "`{text}` cannot be broken: json, chunk, head, utf8, length, html or checksum"
                ));
            }
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |delay: Duration| delay.as_secs_f64() * 1e3;
        match *self {
            Self::Refuse(delay) => write!(f, "refuse={}ms", ms(delay)),
            Self::BlackHole => f.write_str("black_hole"),
            Self::Reset(Point::BeforeHead) => f.write_str("reset=before_head"),
            Self::Reset(Point::AfterHead) => f.write_str("reset=after_head"),
            Self::Reset(Point::MidStream(tokens)) => write!(f, "reset=mid_stream:{tokens}"),
            Self::Status(status, after) => match after {
                RetryAfter::Unsaid => write!(f, "{status}=none"),
                RetryAfter::Seconds(s) => write!(f, "{status}={s}"),
                RetryAfter::Millis(ms) => write!(f, "{status}={ms}ms"),
                RetryAfter::Date(s) => write!(f, "{status}=date:{s}"),
                RetryAfter::Reset(s) => write!(f, "{status}=reset:{s}"),
            },
            Self::ErrorInStream(tokens) => write!(f, "error_in_stream={tokens}"),
            Self::EmptyStream => f.write_str("empty_stream"),
            Self::EmptyBody => f.write_str("empty_body"),
            Self::Stall(tokens) => write!(f, "stall={tokens}"),
            Self::Cut(tokens) => write!(f, "cut={tokens}"),
            Self::Truncate(tokens) => write!(f, "truncate={tokens}"),
            Self::Malformed(what) => {
                let what = match what {
                    Broken::Json => "json",
                    Broken::Chunk => "chunk",
                    Broken::Head => "head",
                    Broken::Utf8 => "utf8",
                    Broken::Length => "length",
                    Broken::Html => "html",
                    Broken::Checksum => "checksum",
                };
                write!(f, "malformed={what}")
            }
            Self::Oversized(bytes) => write!(f, "oversized={bytes}"),
            Self::Drip(delay) => write!(f, "drip={}ms", ms(delay)),
            Self::SlowHead(delay) => write!(f, "slow_head={}ms", ms(delay)),
            Self::EarlyResponse(status) => write!(f, "early_response={status}"),
            Self::HugeHeaders(bytes) => write!(f, "huge_headers={bytes}"),
            Self::Interim => f.write_str("interim"),
            Self::CloseAfter => f.write_str("close_after"),
            Self::ExtraBytes => f.write_str("extra_bytes"),
            Self::GoAway => f.write_str("goaway"),
        }
    }
}

/// The fault in a model's name (`sim-1+fault:stall=3`), if there is one.
pub(super) fn of_model(model: &str) -> Result<Option<Fault>, String> {
    model.split_once("+fault:").map(|(_, fault)| fault.parse()).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in [
            "refuse=250ms",
            "black_hole",
            "reset=before_head",
            "reset=after_head",
            "reset=mid_stream:4",
            "429=2",
            "429=1500ms",
            "429=date:3",
            "503=reset:9",
            "500=none",
            "error_in_stream=0",
            "empty_stream",
            "empty_body",
            "stall=3",
            "cut=9",
            "truncate=2",
            "malformed=json",
            "malformed=chunk",
            "malformed=head",
            "malformed=utf8",
            "malformed=length",
            "malformed=html",
            "malformed=checksum",
            "oversized=70000",
            "drip=2ms",
            "slow_head=400ms",
            "early_response=413",
            "huge_headers=4096",
            "interim",
            "close_after",
            "extra_bytes",
            "goaway",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("429".parse(), Ok(Fault::Status(429, RetryAfter::Seconds(1))));
        assert_eq!("stall@5%".parse(), Ok(Rule { fault: Fault::Stall(3), probability: 0.05 }));
    }

    #[test]
    fn refuses_nonsense_and_names_the_choices() {
        for text in [
            "",
            "explode",
            "200",
            "99",
            "stall=x",
            "429=soon",
            "malformed=soul",
            "stall@2",
            "stall@x",
            "early_response=100",
        ] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
        assert!("explode".parse::<Fault>().unwrap_err().contains("black_hole"));
    }

    #[test]
    fn a_model_may_carry_a_fault() {
        assert_eq!(of_model("sim-1"), Ok(None));
        assert_eq!(of_model("sim-1+fault:cut=7"), Ok(Some(Fault::Cut(7))));
        assert!(of_model("sim-1+fault:nope").is_err());
    }

    #[test]
    fn rules_hit_their_share() {
        let rule: Rule = "stall@0.25".parse().unwrap();
        let mut rng = Rng::new(11);
        let hits = (0..10_000).filter(|_| rule.hits(&mut rng)).count();
        assert!((2300..2700).contains(&hits), "{hits}");
    }
}
