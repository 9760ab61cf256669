//! How likely each token of an answer was.

use super::Text;

/// A token, and how likely it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprob<'a> {
    /// The one that was chosen.
    pub token: Likely<'a>,
    /// The ones that were likely in its place, it among them.
    pub top: Vec<Likely<'a>>,
}

/// A token that was likely.
#[derive(Clone, Debug, PartialEq)]
pub struct Likely<'a> {
    /// Its text.
    pub text: Text<'a>,
    /// The natural logarithm of its probability, a number as it was written.
    pub logprob: Text<'a>,
    /// Its bytes, an array of numbers, where the format has them: a token may be a part of a
    /// character.
    pub bytes: Option<Text<'a>>,
}
