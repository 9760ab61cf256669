//! Texts with placeholders: `https://{region}.example.com`.

use std::collections::{BTreeMap, BTreeSet};

/// Placeholders that are filled for each request.
pub(super) const OF_REQUESTS: [&str; 2] = ["model", "tail"];

/// Fills the placeholders for which there is a value; the others stay.
///
/// # Errors
///
/// A bracket that is not closed, or a name that cannot be one.
pub(super) fn fill(
    text: &str,
    mut value: impl FnMut(&str) -> Option<String>,
) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = behind.split_once('}') else {
            return Err(format!("`{text}` has a placeholder that is not closed: add `}}`"));
        };
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("`{{{name}}}` is not a placeholder: lower-case letters and `_`"));
        }
        if let Some(value) = value(name) {
            filled.push_str(&value);
        } else {
            filled.push('{');
            filled.push_str(name);
            filled.push('}');
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The values of a provider's placeholders, and which were asked for.
pub(super) struct Values<'a> {
    given: &'a BTreeMap<String, String>,
    defaults: Option<&'a BTreeMap<String, String>>,
    asked: BTreeSet<String>,
}

impl<'a> Values<'a> {
    pub(super) fn new(
        given: &'a BTreeMap<String, String>,
        defaults: Option<&'a BTreeMap<String, String>>,
    ) -> Self {
        Self { given, defaults, asked: BTreeSet::new() }
    }

    /// The value of one.
    pub(super) fn get(&mut self, name: &str) -> Option<&'a str> {
        self.asked.insert(name.to_owned());
        let given = self.given.get(name);
        given.or_else(|| self.defaults?.get(name)).map(String::as_str)
    }

    /// Takes note of what a text would ask for, were it used.
    pub(super) fn know(&mut self, text: &str) {
        // What is wrong with the text itself is told where it is used.
        let _ = fill(text, |name| {
            self.asked.insert(name.to_owned());
            None
        });
    }

    /// Fills a text.
    ///
    /// # Errors
    ///
    /// A placeholder has no value, or a value that cannot stand in an address.
    pub(super) fn fill(&mut self, text: &str) -> Result<String, String> {
        let mut wrong = None;
        let filled = fill(text, |name| {
            if OF_REQUESTS.contains(&name) {
                return None;
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
            match self.get(name) {
                Some(value) if !value.is_empty() && value.chars().all(plain) => {
                    return Some(value.to_owned());
                }
                Some(value) => {
                    wrong = Some(format!(
                        "`{name}` cannot be `{value}`: letters, digits, `-`, `.`, `_` and `:`"
                    ));
                }
                None => {
                    wrong = Some(format!(
                        "`{name}` is missing: write it under `with`, as `with: {{ {name}: … }}`"
                    ));
                }
            }
            None
        })?;
        wrong.map_or(Ok(filled), Err)
    }

    /// Names that were given and that nothing asked for, each with what was asked for.
    pub(super) fn unused(&self) -> impl Iterator<Item = (&'a str, &BTreeSet<String>)> {
        let given = self.given.keys().filter(|name| !self.asked.contains(*name));
        given.map(|name| (name.as_str(), &self.asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_mistakes_are_told() {
        let given = BTreeMap::from([("region".into(), "eu".into()), ("evil".into(), "a/b".into())]);
        let defaults = BTreeMap::from([("version".into(), "v1".into())]);
        let mut values = Values::new(&given, Some(&defaults));
        assert_eq!(values.fill("/{region}/{version}/{model}").as_deref(), Ok("/eu/v1/{model}"));
        assert!(values.fill("{project}").expect_err("missing").contains("`project` is missing"));
        assert_eq!(values.unused().map(|(name, _)| name).collect::<Vec<_>>(), ["evil"]);
        assert!(values.fill("{evil}").expect_err("a slash").contains("cannot be `a/b`"));
        assert!(values.fill("{region").is_err());
        assert!(values.fill("{Region}").is_err());
    }
}
