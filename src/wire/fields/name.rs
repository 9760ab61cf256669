//! Names of fields that weir itself reads, writes or keeps back: told apart once, when a head is read,
//! and from then on by a number.

use super::COLON;

/// A field's name, if it is one of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it says")]
pub enum Name {
    /// Any other.
    Other,
    Accept,
    AcceptEncoding,
    AltSvc,
    AnthropicVersion,
    ApiKey,
    Authorization,
    CacheControl,
    CfConnectingIp,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentLocation,
    ContentType,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    KeepAlive,
    Location,
    Nel,
    OpenaiOrganization,
    OpenaiProject,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Refresh,
    ReportTo,
    RetryAfter,
    RetryAfterMs,
    SecWebsocketExtensions,
    SecWebsocketProtocol,
    Server,
    SetCookie,
    StrictTransportSecurity,
    Te,
    Trailer,
    TransferEncoding,
    TrueClientIp,
    Upgrade,
    UserAgent,
    Via,
    XAmzContentSha256,
    XAmzDate,
    XAmzSecurityToken,
    XApiKey,
    XClientIp,
    XGoogApiKey,
    XGoogUserProject,
    XRatelimitLimitRequests,
    XRatelimitLimitTokens,
    XRatelimitRemainingRequests,
    XRatelimitRemainingTokens,
    XRatelimitResetRequests,
    XRatelimitResetTokens,
    XRealIp,
    XRequestId,
    XShouldRetry,
    XWeirAttempts,
    XWeirBudgetPool,
    XWeirBudgetWarning,
    XWeirCache,
    XWeirDropped,
    XWeirError,
    XWeirModel,
    XWeirProvider,
    XWeirTokenCount,
    XWeirUpstreamRequestId,
}

/// How many there are, with [`Name::Other`].
pub(super) const COUNT: usize = 69;

/// Each with what its line begins with, in the order of the enum.
const BEGINNINGS: [(Name, &str); COUNT] = [
    (Name::Other, ": "),
    (Name::Accept, "accept: "),
    (Name::AcceptEncoding, "accept-encoding: "),
    (Name::AltSvc, "alt-svc: "),
    (Name::AnthropicVersion, "anthropic-version: "),
    (Name::ApiKey, "api-key: "),
    (Name::Authorization, "authorization: "),
    (Name::CacheControl, "cache-control: "),
    (Name::CfConnectingIp, "cf-connecting-ip: "),
    (Name::Connection, "connection: "),
    (Name::ContentEncoding, "content-encoding: "),
    (Name::ContentLength, "content-length: "),
    (Name::ContentLocation, "content-location: "),
    (Name::ContentType, "content-type: "),
    (Name::Cookie, "cookie: "),
    (Name::Date, "date: "),
    (Name::Expect, "expect: "),
    (Name::Forwarded, "forwarded: "),
    (Name::Host, "host: "),
    (Name::KeepAlive, "keep-alive: "),
    (Name::Location, "location: "),
    (Name::Nel, "nel: "),
    (Name::OpenaiOrganization, "openai-organization: "),
    (Name::OpenaiProject, "openai-project: "),
    (Name::ProxyAuthenticate, "proxy-authenticate: "),
    (Name::ProxyAuthorization, "proxy-authorization: "),
    (Name::ProxyConnection, "proxy-connection: "),
    (Name::Refresh, "refresh: "),
    (Name::ReportTo, "report-to: "),
    (Name::RetryAfter, "retry-after: "),
    (Name::RetryAfterMs, "retry-after-ms: "),
    (Name::SecWebsocketExtensions, "sec-websocket-extensions: "),
    (Name::SecWebsocketProtocol, "sec-websocket-protocol: "),
    (Name::Server, "server: "),
    (Name::SetCookie, "set-cookie: "),
    (Name::StrictTransportSecurity, "strict-transport-security: "),
    (Name::Te, "te: "),
    (Name::Trailer, "trailer: "),
    (Name::TransferEncoding, "transfer-encoding: "),
    (Name::TrueClientIp, "true-client-ip: "),
    (Name::Upgrade, "upgrade: "),
    (Name::UserAgent, "user-agent: "),
    (Name::Via, "via: "),
    (Name::XAmzContentSha256, "x-amz-content-sha256: "),
    (Name::XAmzDate, "x-amz-date: "),
    (Name::XAmzSecurityToken, "x-amz-security-token: "),
    (Name::XApiKey, "x-api-key: "),
    (Name::XClientIp, "x-client-ip: "),
    (Name::XGoogApiKey, "x-goog-api-key: "),
    (Name::XGoogUserProject, "x-goog-user-project: "),
    (Name::XRatelimitLimitRequests, "x-ratelimit-limit-requests: "),
    (Name::XRatelimitLimitTokens, "x-ratelimit-limit-tokens: "),
    (Name::XRatelimitRemainingRequests, "x-ratelimit-remaining-requests: "),
    (Name::XRatelimitRemainingTokens, "x-ratelimit-remaining-tokens: "),
    (Name::XRatelimitResetRequests, "x-ratelimit-reset-requests: "),
    (Name::XRatelimitResetTokens, "x-ratelimit-reset-tokens: "),
    (Name::XRealIp, "x-real-ip: "),
    (Name::XRequestId, "x-request-id: "),
    (Name::XShouldRetry, "x-should-retry: "),
    (Name::XWeirAttempts, "x-weir-attempts: "),
    (Name::XWeirBudgetPool, "x-weir-budget-pool: "),
    (Name::XWeirBudgetWarning, "x-weir-budget-warning: "),
    (Name::XWeirCache, "x-weir-cache: "),
    (Name::XWeirDropped, "x-weir-dropped: "),
    (Name::XWeirError, "x-weir-error: "),
    (Name::XWeirModel, "x-weir-model: "),
    (Name::XWeirProvider, "x-weir-provider: "),
    (Name::XWeirTokenCount, "x-weir-token-count: "),
    (Name::XWeirUpstreamRequestId, "x-weir-upstream-request-id: "),
];

/// Entries of [`PLACES`]: few of them are taken, so that a multiplier is soon found.
const PLACES_BITS: u32 = 9;
/// With it, each name has a place of its own, which the compiler checks. Where another name is added
/// and has none, another odd number will do.
const MULTIPLIER: u32 = 0xa46d_6753;
/// Index into [`BEGINNINGS`] by a name's [`place`]; 0 where none has it.
const PLACES: [u8; 1 << PLACES_BITS] = {
    let mut places = [0; 1 << PLACES_BITS];
    let mut index = 1;
    while index < BEGINNINGS.len() {
        assert!(BEGINNINGS[index].0 as usize == index, "in the order of the enum");
        let place = place(text(BEGINNINGS[index].1).as_bytes());
        assert!(places[place] == 0, "two names have one place");
        places[place] = index as u8;
        index += 1;
    }
    places
};

/// The name that a line begins with.
const fn text(beginning: &'static str) -> &'static str {
    beginning.split_at(beginning.len() - COLON.len()).0
}

/// Where a name of this length and with these letters would be, in upper or lower case.
const fn place(name: &[u8]) -> usize {
    let length = name.len();
    if length == 0 {
        return 0;
    }
    let key = [length as u8, name[0] | 0x20, name[length - 1] | 0x20, name[length / 2] | 0x20];
    (u32::from_le_bytes(key).wrapping_mul(MULTIPLIER) >> (u32::BITS - PLACES_BITS)) as usize
}

impl Name {
    /// The name of this text, in upper or lower case (RFC 9110, section 5.1).
    pub fn of(name: &[u8]) -> Self {
        let (known, beginning) = BEGINNINGS[usize::from(PLACES[place(name)])];
        let text = text(beginning).as_bytes();
        if name == text || name.eq_ignore_ascii_case(text) { known } else { Name::Other }
    }

    /// Its text in lower case; nothing for [`Name::Other`].
    pub fn as_str(self) -> &'static str {
        text(self.beginning())
    }

    /// The same with what stands between a name and its value.
    pub(super) fn beginning(self) -> &'static str {
        BEGINNINGS[self as usize].1
    }
}

/// A set of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names([u64; 2]);

impl Names {
    /// These.
    pub const fn of(names: &[Name]) -> Self {
        let (mut set, mut index) = (Self([0; 2]), 0);
        while index < names.len() {
            set.add(names[index]);
            index += 1;
        }
        set
    }

    /// All that begin with this text.
    pub const fn beginning_with(text: &str) -> Self {
        let (mut set, mut index) = (Self([0; 2]), 0);
        while index < BEGINNINGS.len() {
            let (name, known) = BEGINNINGS[index];
            if let Some((beginning, _)) = known.as_bytes().split_at_checked(text.len())
                && is_same(beginning, text.as_bytes())
            {
                set.add(name);
            }
            index += 1;
        }
        set
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self([self.0[0] | others.0[0], self.0[1] | others.0[1]])
    }

    /// Whether some of them are among the others.
    pub const fn meets(self, others: Self) -> bool {
        self.0[0] & others.0[0] | self.0[1] & others.0[1] != 0
    }

    /// Whether it is one of them.
    pub const fn has(self, name: Name) -> bool {
        self.0[name as usize / 64] & Self::bit(name) != 0
    }

    pub(super) const fn add(&mut self, name: Name) {
        self.0[name as usize / 64] |= Self::bit(name);
    }

    /// These but for some.
    pub(super) const fn without(self, some: Self) -> Self {
        Self([self.0[0] & !some.0[0], self.0[1] & !some.0[1]])
    }

    const fn bit(name: Name) -> u64 {
        1 << (name as u32 % 64)
    }
}

/// As `==`, which is not for constants.
const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    one.len() == other.len()
}
