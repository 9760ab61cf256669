//! From YAML text to a [`Document`].

use std::collections::HashMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use super::document::quoted;
use super::{Document, Entry, FILE_BYTES_MAX, Node, Position, Report, Value, syntax};

/// Deepest nesting: several times what a configuration has, and nothing that any stack minds.
const DEPTH_MAX: usize = 24;
/// Nodes that aliases may add; far beyond what a thousand routes repeat.
const ALIASED_NODES_MAX: usize = 50_000;

/// Reads `text`. `None` when it is not YAML; what is wrong is in the report either way.
pub fn document(text: &str, report: &mut Report) -> Option<Document> {
    if text.len() > FILE_BYTES_MAX {
        report.add(
            Position::FILE,
            format!("the file has {} bytes: at most {FILE_BYTES_MAX} are read", text.len()),
        );
        return None;
    }
    if syntax::tabs(text, report) {
        return None;
    }
    let options = serde_saphyr::options! {
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: ALIASED_NODES_MAX, },
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX, },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => {
            let mut root = node(raw, report);
            drop_extensions(&mut root);
            Some(Document { root })
        }
        Err(error) => {
            let (at, message) = syntax::explain(text, &error);
            report.add(at, message);
            None
        }
    }
}

/// Top-level keys that begin with `x-` hold what the file itself refers to (YAML anchors).
fn drop_extensions(root: &mut Node) {
    if let Value::Map(entries) = &mut root.value {
        entries.retain(|entry| !entry.key.starts_with("x-"));
    }
}

/// A value as the parser hands it out.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, report: &mut Report) -> Node {
    let at = position(raw.referenced);
    let value = match raw.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, report)).collect()),
        Raw::Map(pairs) => Value::Map(entries(pairs, report)),
    };
    Node { at, value }
}

/// The entries of a mapping, each key once; the first one counts, the others are reported.
fn entries(pairs: Vec<(Spanned<String>, Spanned<Raw>)>, report: &mut Report) -> Vec<Entry> {
    let mut seen: HashMap<String, Position> = HashMap::with_capacity(pairs.len());
    let mut entries = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let key_at = position(key.referenced);
        let node = node(value, report);
        if let Some(first) = seen.get(&key.value) {
            report.add(
                key_at,
                format!(
                    "duplicate key {}: it is already given at line {}; keep one of the two",
                    quoted(&key.value),
                    first.line
                ),
            );
            continue;
        }
        seen.insert(key.value.clone(), key_at);
        entries.push(Entry { key: key.value, key_at, node });
    }
    entries
}

pub(super) fn position(location: Location) -> Position {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Position::new(narrow(location.line()), narrow(location.column()))
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> de::Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Bool(value)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Unsigned(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        let value = u64::try_from(number).map_or(Value::Negative(number), Value::Unsigned);
        Ok(Raw::Scalar(value))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Float(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(text.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            map.push(pair);
        }
        Ok(Raw::Map(map))
    }
}
