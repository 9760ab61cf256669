//! One way to write a set of names: exact (`gpt-4o`), glob (`gpt-*`, `?` for one character) or
//! regular expression between slashes (`/^gpt-[45]/`).

use regex::Regex;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub enum NamePattern {
    /// The whole text.
    Exact(Box<str>),
    /// `*` for any run of characters, `?` for one.
    Glob(Box<str>),
    /// A search, anchored only where the expression says so.
    Regex(Box<Regex>),
}

/// Largest compiled size of one expression, so that a configuration cannot take all memory.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl NamePattern {
    /// Compiles the written form. The error says what is wrong with a regular expression.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a pattern must not be empty: write `*` to match everything".into());
        }
        if let Some(expression) = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            return regex::RegexBuilder::new(expression)
                .size_limit(REGEX_BYTES_MAX)
                .build()
                .map(|regex| Self::Regex(Box::new(regex)))
                .map_err(|error| {
                    // The parser draws a picture over several lines; the last one says it.
                    let error = error.to_string();
                    let last = error.lines().last().unwrap_or_default();
                    let why = last.trim_start_matches("error: ");
                    format!("`{text}` is not a regular expression: {why}")
                });
        }
        Ok(if text.contains(['*', '?']) {
            Self::Glob(text.into())
        } else {
            Self::Exact(text.into())
        })
    }

    /// Whether the text is in the set.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *text,
            Self::Glob(glob) if **glob == *"*" => true,
            Self::Glob(glob) => glob_matches(glob.as_bytes(), text.as_bytes()),
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    /// The exact text, where the pattern is one.
    pub fn exact(&self) -> Option<&str> {
        match self {
            Self::Exact(exact) => Some(exact),
            Self::Glob(_) | Self::Regex(_) => None,
        }
    }
}

/// Linear in practice: on a mismatch only the last `*` takes one more byte.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(b'?') => {
                g += 1;
                // One character, not one byte.
                t += 1;
                while t < text.len() && text[t] & 0xc0 == 0x80 {
                    t += 1;
                }
            }
            Some(byte) if *byte == text[t] => {
                g += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    g = *at + 1;
                    t = *from;
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_forms() {
        let matches =
            |pattern, text| NamePattern::compile(pattern).expect("compiles").matches(text);
        assert!(matches("gpt-4o", "gpt-4o"));
        assert!(!matches("gpt-4o", "gpt-4o-mini"));
        assert!(matches("gpt-*", "gpt-4o"));
        assert!(matches("*", ""));
        assert!(matches("*-mini", "gpt-4o-mini"));
        assert!(matches("g?t-*-m*i", "gpt-4o-mini"));
        assert!(matches("?", "é"));
        assert!(!matches("gpt-*", "claude"));
        assert!(matches("/^gpt-[45]/", "gpt-4o"));
        assert!(!matches("/^gpt-[45]$/", "gpt-4o"));
        assert!(NamePattern::compile("/(/").is_err());
        assert!(NamePattern::compile("").is_err());
    }

    proptest! {
        #[test]
        fn glob_agrees_with_a_regex(glob in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let expression: String = glob.chars().map(|c| match c {
                '*' => ".*".to_owned(),
                '?' => ".".to_owned(),
                c => c.to_string(),
            }).collect();
            let regex = Regex::new(&format!("^{expression}$")).expect("compiles");
            prop_assert_eq!(glob_matches(glob.as_bytes(), text.as_bytes()), regex.is_match(&text));
        }
    }
}
