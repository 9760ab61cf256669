//! One error type, with two messages: what the caller may see and what the log needs.
//!
//! [`Kind`] is a bounded set: it decides the HTTP status, is the metric label, and says whether
//! another candidate may be tried and whether the target is to blame. Failover reads these fields,
//! never strings. Rendering in the client's wire format belongs to [`crate::dialect`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What went wrong, as a bounded set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed or names something that does not exist.
    BadRequest,
    /// No credential, or one that is not known.
    Unauthorized,
    /// A known caller asks for something it may not use.
    Forbidden,
    /// No such endpoint, or no route for the model.
    NotFound,
    /// The endpoint exists, the method does not.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The body is over its bound.
    BodyTooLarge,
    /// The request head is over its bound.
    HeadTooLarge,
    /// The caller's own limit.
    RateLimited,
    /// The caller's budget is used up.
    BudgetSpent,
    /// Every concurrency slot is taken and the queue is full or the wait was too long.
    Overloaded,
    /// The pool has no target left that may be used now.
    NoTarget,
    /// weir is draining.
    Draining,
    /// The client went away.
    ClientGone,
    /// Connecting to the upstream failed (refused, unreachable, name not resolved).
    UpstreamConnect,
    /// The connect timeout passed.
    UpstreamConnectTimeout,
    /// The TLS handshake with the upstream failed.
    UpstreamTls,
    /// The upstream refused weir's credential (401, 403).
    UpstreamAuth,
    /// The upstream answered 429.
    UpstreamRateLimited,
    /// The upstream answered with a 5xx.
    UpstreamStatus,
    /// The upstream answered with a 4xx that the client caused.
    UpstreamRejected,
    /// The upstream's format has no words for what the request asks for.
    NotExpressible,
    /// No first token within the first-token timeout.
    FirstTokenTimeout,
    /// No next frame within the inter-token timeout.
    InterTokenTimeout,
    /// The exchange took longer than the total timeout.
    TotalTimeout,
    /// An error event inside a stream that began with 200.
    UpstreamStreamError,
    /// A stream that ended without any content, or a body that is empty.
    UpstreamEmpty,
    /// The connection broke, or the stream ended before its terminal event.
    UpstreamCut,
    /// The upstream broke its own protocol (malformed HTTP, framing, oversized frame).
    UpstreamProtocol,
    /// A defect in weir.
    Internal,
}

impl Kind {
    /// Every kind, in declaration order.
    pub const ALL: [Kind; 30] = [
        Kind::BadRequest,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::RequestTimeout,
        Kind::BodyTooLarge,
        Kind::HeadTooLarge,
        Kind::RateLimited,
        Kind::BudgetSpent,
        Kind::Overloaded,
        Kind::NoTarget,
        Kind::Draining,
        Kind::ClientGone,
        Kind::UpstreamConnect,
        Kind::UpstreamConnectTimeout,
        Kind::UpstreamTls,
        Kind::UpstreamAuth,
        Kind::UpstreamRateLimited,
        Kind::UpstreamStatus,
        Kind::UpstreamRejected,
        Kind::NotExpressible,
        Kind::FirstTokenTimeout,
        Kind::InterTokenTimeout,
        Kind::TotalTimeout,
        Kind::UpstreamStreamError,
        Kind::UpstreamEmpty,
        Kind::UpstreamCut,
        Kind::UpstreamProtocol,
        Kind::Internal,
    ];

    /// The label used in metrics, logs and `x-weir-error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::BadRequest => "bad_request",
            Kind::Unauthorized => "unauthorized",
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not_found",
            Kind::MethodNotAllowed => "method_not_allowed",
            Kind::RequestTimeout => "request_timeout",
            Kind::BodyTooLarge => "body_too_large",
            Kind::HeadTooLarge => "head_too_large",
            Kind::RateLimited => "rate_limited",
            Kind::BudgetSpent => "budget_spent",
            Kind::Overloaded => "overloaded",
            Kind::NoTarget => "no_target",
            Kind::Draining => "draining",
            Kind::ClientGone => "client_gone",
            Kind::UpstreamConnect => "upstream_connect",
            Kind::UpstreamConnectTimeout => "upstream_connect_timeout",
            Kind::UpstreamTls => "upstream_tls",
            Kind::UpstreamAuth => "upstream_auth",
            Kind::UpstreamRateLimited => "upstream_rate_limited",
            Kind::UpstreamStatus => "upstream_status",
            Kind::UpstreamRejected => "upstream_rejected",
            Kind::NotExpressible => "not_expressible",
            Kind::FirstTokenTimeout => "first_token_timeout",
            Kind::InterTokenTimeout => "inter_token_timeout",
            Kind::TotalTimeout => "total_timeout",
            Kind::UpstreamStreamError => "upstream_stream_error",
            Kind::UpstreamEmpty => "upstream_empty",
            Kind::UpstreamCut => "upstream_cut",
            Kind::UpstreamProtocol => "upstream_protocol",
            Kind::Internal => "internal",
        }
    }

    /// The HTTP status a client gets for it (RFC 9110; 499 is the customary mark for a client that
    /// went away and is only ever logged).
    pub const fn status(self) -> u16 {
        match self {
            Kind::BadRequest | Kind::UpstreamRejected | Kind::NotExpressible => 400,
            Kind::Unauthorized => 401,
            Kind::Forbidden => 403,
            Kind::NotFound => 404,
            Kind::MethodNotAllowed => 405,
            Kind::RequestTimeout => 408,
            Kind::BodyTooLarge => 413,
            Kind::RateLimited | Kind::BudgetSpent | Kind::UpstreamRateLimited => 429,
            Kind::HeadTooLarge => 431,
            Kind::ClientGone => 499,
            Kind::Internal => 500,
            Kind::UpstreamConnect
            | Kind::UpstreamTls
            | Kind::UpstreamAuth
            | Kind::UpstreamStatus
            | Kind::UpstreamStreamError
            | Kind::UpstreamEmpty
            | Kind::UpstreamCut
            | Kind::UpstreamProtocol => 502,
            Kind::Overloaded | Kind::NoTarget | Kind::Draining => 503,
            Kind::UpstreamConnectTimeout
            | Kind::FirstTokenTimeout
            | Kind::InterTokenTimeout
            | Kind::TotalTimeout => 504,
        }
    }

    /// Whether another candidate may answer the same request.
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Kind::UpstreamConnect
                | Kind::UpstreamConnectTimeout
                | Kind::UpstreamTls
                | Kind::UpstreamAuth
                | Kind::UpstreamRateLimited
                | Kind::UpstreamStatus
                | Kind::NotExpressible
                | Kind::FirstTokenTimeout
                | Kind::UpstreamStreamError
                | Kind::UpstreamEmpty
                | Kind::UpstreamCut
                | Kind::UpstreamProtocol
        )
    }

    /// Whether the target is to blame, so that it counts for outlier detection and the breaker.
    /// What a client causes never does.
    pub const fn blames_target(self) -> bool {
        matches!(
            self,
            Kind::UpstreamConnect
                | Kind::UpstreamConnectTimeout
                | Kind::UpstreamTls
                | Kind::UpstreamStatus
                | Kind::FirstTokenTimeout
                | Kind::InterTokenTimeout
                | Kind::UpstreamStreamError
                | Kind::UpstreamEmpty
                | Kind::UpstreamCut
                | Kind::UpstreamProtocol
        )
    }
}

/// An error on its way to the client and to the log.
#[derive(Debug)]
pub struct Error {
    /// What went wrong.
    pub kind: Kind,
    /// What the client may see. Never holds a credential or an internal address.
    pub public: Cow<'static, str>,
    /// The offending parameter, where there is one (`model`, `messages`, a header name).
    pub param: Option<Cow<'static, str>>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// What the log needs. Never sent to a client.
    pub cause: Option<String>,
}

impl Error {
    /// An error with a message for the client.
    pub fn new(kind: Kind, public: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, public: public.into(), param: None, retry_after: None, cause: None }
    }

    /// Names the offending parameter.
    #[must_use]
    pub fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// Adds what the log needs.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.public)?;
        if let Some(cause) = &self.cause {
            write!(f, " ({cause})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
