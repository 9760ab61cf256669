//! What a provider wants back as it gave it: signatures, encrypted reasoning.
//!
//! A seal is of one format and means nothing to another. A client of another format gets it in the
//! place that its own format has for such things, wrapped so that weir knows it again: a base64 text
//! whose first bytes are a mark, the format and the name of the thing. So a conversation with tools
//! and thinking goes on with the provider that it began with, through any client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Format, Text, Thought};

/// What a wrapped seal begins with, before it is in base64.
const PLAIN_MARK: &str = "weir1:";

/// An opaque text of one format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal<'a> {
    /// Whose it is.
    pub origin: Format,
    /// The name of the thing that it seals, where the format has one.
    pub id: Option<Text<'a>>,
    /// The text.
    pub value: Text<'a>,
}

impl<'a> Seal<'a> {
    /// What a wrapped seal begins with.
    pub const MARK: &'static str = "d2VpcjE6";

    /// The name of a seal that belongs to the call behind it.
    pub const OF_CALL: &'static str = "call";

    /// The name of a seal without a text: the thought comes back in plain words.
    pub const PLAIN: &'static str = "plain";

    /// A thought that carries the seal of the call behind it.
    pub fn for_call(&self) -> Thought<'_> {
        let seal = Seal {
            origin: self.origin,
            id: Some(Text::Borrowed(Self::OF_CALL)),
            value: Text::Borrowed(&self.value),
        };
        Thought { text: Text::Borrowed(""), seal: Some(seal) }
    }

    /// A seal that stands in a place of `format`: its own, or one of another format that was wrapped
    /// there.
    pub fn found(format: Format, value: Text<'a>) -> Self {
        Self::unwrap(&value).unwrap_or(Self { origin: format, id: None, value })
    }

    /// Its own text in its own format, the wrapped one in any other.
    pub fn text_in(&self, format: Format) -> Text<'_> {
        if self.origin == format { Text::Borrowed(&self.value) } else { self.wrapped().into() }
    }

    /// The text that stands for it in another format.
    pub fn wrapped(&self) -> String {
        let id = self.id.as_deref().unwrap_or_default();
        STANDARD.encode(format!("{PLAIN_MARK}{}:{}:{id}{}", self.origin, id.len(), self.value))
    }

    fn unwrap(text: &str) -> Option<Self> {
        if !text.starts_with(Seal::MARK) {
            return None;
        }
        let bytes = STANDARD.decode(text).ok()?;
        let plain = std::str::from_utf8(&bytes).ok()?.strip_prefix(PLAIN_MARK)?;
        let (origin, rest) = plain.split_once(':')?;
        let (id_bytes, rest) = rest.split_once(':')?;
        let (id, value) = rest.split_at_checked(id_bytes.parse().ok()?)?;
        Some(Self {
            origin: Format::named(origin)?,
            id: (!id.is_empty()).then(|| Text::Owned(id.to_owned())),
            value: Text::Owned(value.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_comes_back_through_any_other_format() {
        for origin in Format::ALL {
            let seal = Seal { origin, id: Some("rs_1".into()), value: "x:y/+=é".into() };
            for format in Format::ALL.into_iter().filter(|format| *format != origin) {
                let carried = Text::Owned(seal.text_in(format).into_owned());
                assert!(carried.starts_with(Seal::MARK));
                assert_eq!(Seal::found(format, carried), seal);
            }
        }
    }

    #[test]
    fn what_only_looks_like_one_stays_what_it_is() {
        for text in ["EqQBCgMNAhJM", "d2VpcjE6", "d2VpcjE6!!", "d2VpcjE6bm9ib2R5OjA6eA=="] {
            let seal = Seal::found(Format::Anthropic, text.into());
            assert_eq!((seal.origin, &*seal.value), (Format::Anthropic, text));
        }
    }
}
