//! Labels, for values that there are many of.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Texts by name, few of them: they lie side by side, and copies share them. A `BTreeMap` takes half a
/// kilobyte for the first, which is most of what is known of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(Option<Arc<Texts>>);

/// By name.
type Texts = [(Box<str>, Box<str>)];

impl Labels {
    /// The text of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|all| all.iter()).map(|(name, text)| (&**name, &**text))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        let all = labels.into_iter().map(|(name, text)| (name.into(), text.into()));
        Self(Some(all.collect::<Arc<Texts>>()).filter(|all| !all.is_empty()))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_and_written_as_a_map() {
        let text = r#"{"env":"prod","tier":"gold"}"#;
        let labels: Labels = serde_json::from_str(text).expect("labels");
        assert_eq!((labels.get("tier"), labels.get("env")), (Some("gold"), Some("prod")));
        assert_eq!(labels.get("nothing"), None);
        assert_eq!(serde_json::to_string(&labels).expect("text"), text);
        let none: Labels = serde_json::from_str("{}").expect("labels");
        assert!(none.is_empty() && none == Labels::default() && none.iter().next().is_none());
    }
}
