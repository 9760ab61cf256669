//! The expressions that cut a text into pieces, for spans without a seam.
//!
//! The expressions are those that the vocabularies were published with. They end in
//! `\s+(?!\S)|\s+`, whose look-ahead the linear-time `regex` crate leaves out; it is applied here.

use regex::Regex;

use super::vocabulary::Vocabulary;

const CL100K: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    r"|[^\r\n\p{L}\p{N}]?\p{L}+",
    r"|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+",
);

const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    r"|[^\r\n\p{L}\p{N}]?\p{L}+",
    r"|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+",
);

const O200K: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"|\s*[\r\n]+|\s+",
);

const MISTRAL_V3: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"|\s*[\r\n]+|\s+",
);

/// Published as three expressions that cut one after the other: numbers, then Chinese and Japanese,
/// then the rest. As one alternation the first two come first; the last alternative keeps what
/// nothing matches.
const DEEPSEEK_V3: &str = concat!(
    r"\p{N}{1,3}",
    r"|[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
    r"|[!-/:-@\[-`{-~][A-Za-z]+",
    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r"| ?[\p{P}\p{S}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+",
    r"|[\s\S]",
);

/// Cuts a text into pieces.
pub(super) struct Pieces {
    expression: Regex,
    /// Whether numbers and Chinese or Japanese end a text for the look-ahead of white space, because
    /// they were cut out before.
    staged: bool,
}

impl Pieces {
    pub fn new(vocabulary: Vocabulary) -> Self {
        let expression = match vocabulary {
            Vocabulary::O200k => O200K,
            Vocabulary::Cl100k | Vocabulary::Llama3 => CL100K,
            Vocabulary::Qwen2 => QWEN2,
            Vocabulary::DeepSeekV3 => DEEPSEEK_V3,
            Vocabulary::MistralV3 => MISTRAL_V3,
        };
        Self {
            expression: Regex::new(expression).expect("a constant expression"),
            staged: vocabulary == Vocabulary::DeepSeekV3,
        }
    }

    /// The end of the piece that begins at `start`.
    pub fn end(&self, text: &str, start: usize) -> usize {
        // Every character begins some alternative, so the match begins at `start`.
        let Some(found) = self.expression.find_at(text, start) else { return text.len() };
        let piece = found.as_str();
        let mut end = found.end();
        // `\s+(?!\S)`: of several spaces before something else the last one belongs to that.
        if let Some(next) = text[end..].chars().next()
            && let Some(last) = piece.chars().next_back()
            && last.is_whitespace()
            && !matches!(last, '\r' | '\n')
            && piece.len() > last.len_utf8()
            && piece.chars().all(char::is_whitespace)
            && !(self.staged && is_cut_out_before(next))
        {
            end -= last.len_utf8();
        }
        end
    }
}

fn is_cut_out_before(c: char) -> bool {
    c.is_numeric() || matches!(c, '\u{4e00}'..='\u{9fa5}' | '\u{3040}'..='\u{30ff}')
}
