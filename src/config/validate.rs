//! Walks a document along a JSON Schema and reports everything that does not fit.
//!
//! It covers the part of JSON Schema (2020-12) that schemars derives from settings types: `$ref`,
//! `anyOf` and `oneOf`, `const` and `enum`, `type`, `properties`, `required`,
//! `additionalProperties`, `items`, bounds, `pattern`, and the formats of [`super::value`].

use std::fmt::Write as _;

use serde_json::Value as Schema;

use super::document::quoted;
use super::words::{self, nearest};
use super::{Entry, Node, Position, Report, Value, value};

/// Words that are listed before an ellipsis.
const WORDS_MAX: usize = 16;
/// References followed in a row; a schema that needs more refers to itself.
const REFERENCES_MAX: usize = 16;

type Findings = Vec<(Position, String)>;

/// Reports where `root` departs from `schema`.
pub fn against(root: &Node, schema: &Schema, report: &mut Report) {
    let walk = Walk { schema };
    let mut findings = Findings::new();
    match &root.value {
        Value::Null => {
            let keys = required(schema).map(|key| format!("`{key}`")).collect::<Vec<_>>();
            findings.push((
                Position::new(1, 1),
                format!("the file is empty: it needs {}", keys.join(", ")),
            ));
        }
        Value::Text(text) if text.contains(':') => findings.push((
            root.at,
            "this is one text and not a mapping: put a space after each `:`".to_owned(),
        )),
        _ => walk.check(root, &Spot { path: "", at: root.at }, schema, &mut findings),
    }
    for (at, message) in findings {
        report.add(at, message);
    }
}

/// A node's name in messages, and the place of what is said about it as a whole: its key where it
/// has one.
#[derive(Clone, Copy)]
struct Spot<'a> {
    path: &'a str,
    at: Position,
}

impl Spot<'_> {
    fn name(&self) -> &str {
        if self.path.is_empty() { "the file" } else { self.path }
    }

    /// ` in pools.chat`, or ` at the top level`.
    fn inside(&self) -> String {
        match self.path {
            "" => " at the top level".into(),
            path => format!(" in {path}"),
        }
    }

    fn key(&self, key: &str) -> String {
        match self.path {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

struct Walk<'s> {
    schema: &'s Schema,
}

impl<'s> Walk<'s> {
    /// Follows `$ref`.
    fn resolve(&self, mut schema: &'s Schema) -> &'s Schema {
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = schema.get("$ref").and_then(Schema::as_str) else { break };
            let target = reference.strip_prefix('#').and_then(|at| self.schema.pointer(at));
            let Some(target) = target else { break };
            schema = target;
        }
        schema
    }

    fn check(&self, node: &Node, spot: &Spot<'_>, schema: &'s Schema, out: &mut Findings) {
        let schema = self.resolve(schema);
        if let Some(alternatives) = alternatives(schema) {
            return self.check_alternatives(node, spot, alternatives, out);
        }
        if let Some(words) = allowed_words(schema) {
            let fits = matches!(&node.value, Value::Text(text) if words.contains(&text.as_str()));
            if !fits {
                out.push((scalar_at(node, spot), wrong_word(node, spot, &words)));
            }
            return;
        }
        if !accepts(schema, &node.value) {
            out.push((scalar_at(node, spot), self.wrong_type(node, spot, &[schema])));
            return;
        }
        match &node.value {
            Value::Text(text) => check_text(text, node.at, spot, schema, out),
            Value::Unsigned(number) => check_number(*number as f64, node, spot, schema, out),
            Value::Negative(number) => check_number(*number as f64, node, spot, schema, out),
            Value::Float(number) => check_number(*number, node, spot, schema, out),
            Value::List(items) => self.check_list(items, spot, schema, out),
            Value::Map(entries) => self.check_map(entries, spot, schema, out),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Fits if one alternative does. Otherwise the alternative that was most likely meant is the
    /// one whose findings are shown: of the same kind of value, with the fewest findings.
    fn check_alternatives(
        &self,
        node: &Node,
        spot: &Spot<'_>,
        alternatives: &'s [Schema],
        out: &mut Findings,
    ) {
        let alternatives: Vec<&Schema> =
            alternatives.iter().map(|alternative| self.resolve(alternative)).collect();
        let mut best: Option<Findings> = None;
        for alternative in &alternatives {
            let mut findings = Findings::new();
            self.check(node, spot, alternative, &mut findings);
            if findings.is_empty() {
                return;
            }
            let nearer = best.as_ref().is_none_or(|best| findings.len() < best.len());
            if accepts(alternative, &node.value) && nearer {
                best = Some(findings);
            }
        }
        let words: Vec<&str> =
            alternatives.iter().filter_map(|one| allowed_words(one)).flatten().collect();
        match (&node.value, best) {
            (Value::Text(_), _) if !words.is_empty() => {
                out.push((node.at, self.wrong_word_or_type(node, spot, &words, &alternatives)));
            }
            (_, Some(best)) => out.extend(best),
            (_, None) => {
                out.push((scalar_at(node, spot), self.wrong_type(node, spot, &alternatives)));
            }
        }
    }

    fn wrong_word_or_type(
        &self,
        node: &Node,
        spot: &Spot<'_>,
        words: &[&str],
        alternatives: &[&'s Schema],
    ) -> String {
        let mut message = wrong_word(node, spot, words);
        let near = matches!(&node.value, Value::Text(text) if nearest(text, words.iter().copied()).is_some());
        let other = alternatives.iter().find(|one| allowed_words(one).is_none());
        if let (false, Some(other)) = (near, other) {
            let _ = write!(message, ", or {}", self.expected(other));
        }
        message
    }

    fn check_list(&self, items: &[Node], spot: &Spot<'_>, schema: &'s Schema, out: &mut Findings) {
        let fewest = schema.get("minItems").and_then(Schema::as_u64).unwrap_or(0);
        if (items.len() as u64) < fewest {
            out.push((spot.at, format!("{} is empty: it needs at least one item", spot.path)));
        }
        let Some(schema) = schema.get("items") else { return };
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", spot.path);
            self.check(item, &Spot { path: &path, at: item.at }, schema, out);
        }
    }

    fn check_map(
        &self,
        entries: &[Entry],
        spot: &Spot<'_>,
        schema: &'s Schema,
        out: &mut Findings,
    ) {
        let rest = schema.get("additionalProperties");
        let mut meant = Vec::new();
        for entry in entries {
            let path = spot.key(&entry.key);
            let at = Spot { path: &path, at: entry.key_at };
            let known = properties(schema).find(|(key, _)| *key == entry.key);
            match (known.map(|(_, schema)| schema), rest) {
                (Some(schema), _) => self.check(&entry.node, &at, schema, out),
                (None, Some(Schema::Bool(false))) => {
                    let (message, near) = self.unknown_key(&entry.key, spot, schema);
                    out.push((entry.key_at, message));
                    meant.extend(near);
                }
                (None, Some(schema)) if schema.is_object() => {
                    self.check(&entry.node, &at, schema, out);
                }
                (None, _) => {}
            }
        }
        let given = |key: &str| entries.iter().any(|entry| entry.key == key);
        for key in required(schema).filter(|key| !given(key) && !meant.contains(key)) {
            let expected = properties(schema)
                .find(|(name, _)| *name == key)
                .map_or_else(String::new, |(_, schema)| self.expected(schema));
            out.push((
                spot.at,
                format!("missing key `{key}`{}: add `{key}:` with {expected}", spot.inside()),
            ));
        }
    }

    /// The message for a key that `schema` does not know, and the key that was probably meant.
    fn unknown_key(
        &self,
        key: &str,
        spot: &Spot<'_>,
        schema: &'s Schema,
    ) -> (String, Option<&'s str>) {
        let unknown = format!("unknown key {}{}", quoted(key), spot.inside());
        let deeper = || {
            properties(schema).find_map(|(name, schema)| {
                let inner = self.resolve(schema);
                properties(inner).any(|(inner, _)| inner == key).then_some(name)
            })
        };
        if let Some(near) = nearest(key, properties(schema).map(|(name, _)| name)) {
            (format!("{unknown}: did you mean `{near}`?"), Some(near))
        } else if let Some(parent) = deeper() {
            (format!("{unknown}: it belongs under `{parent}`"), None)
        } else {
            let known = words::list(properties(schema).map(|(name, _)| name), WORDS_MAX);
            (format!("{unknown}: the keys here are {}", known.replace(" or ", " and ")), None)
        }
    }

    /// What a schema wants, as a noun phrase.
    fn expected(&self, schema: &'s Schema) -> String {
        let schema = self.resolve(schema);
        if let Some(format) = format_of(schema) {
            return format.expected.into();
        }
        if let Some(alternatives) = alternatives(schema) {
            let each: Vec<&Schema> = alternatives.iter().collect();
            return self.expected_any(&each);
        }
        if let Some(words) = allowed_words(schema) {
            return words::list(words, WORDS_MAX);
        }
        match types(schema).next() {
            Some("string") => "a text".into(),
            Some("integer") => "a whole number".into(),
            Some("number") => "a number".into(),
            Some("boolean") => "`true` or `false`".into(),
            Some("array") => "a list".into(),
            Some("object") if properties(schema).next().is_some() => {
                let keys = words::list(properties(schema).map(|(name, _)| name), 4);
                format!("a mapping ({})", keys.replace(" or ", ", "))
            }
            Some("object") => "a mapping of names".into(),
            _ => "a value".into(),
        }
    }

    fn expected_any(&self, alternatives: &[&'s Schema]) -> String {
        let words: Vec<&str> =
            alternatives.iter().filter_map(|one| allowed_words(one)).flatten().collect();
        let mut each: Vec<String> = Vec::new();
        if !words.is_empty() {
            each.push(words::list(words, WORDS_MAX));
        }
        for alternative in alternatives {
            let resolved = self.resolve(alternative);
            if allowed_words(resolved).is_none() {
                each.push(self.expected(resolved));
            }
        }
        each.dedup();
        each.join(" or ")
    }

    fn wrong_type(&self, node: &Node, spot: &Spot<'_>, alternatives: &[&'s Schema]) -> String {
        if alternatives.iter().any(|one| is_secret(one)) {
            return format!(
                "{} must refer to a secret, {{env: NAME}} or {{file: PATH}}: the secret itself never \
                 stands in this file",
                spot.name()
            );
        }
        let expected = self.expected_any(alternatives);
        if matches!(node.value, Value::Null) {
            return format!("{} has no value: give it {expected}, or remove the line", spot.name());
        }
        let hint = match alternatives {
            [one] => self.hint(node, spot, one),
            _ => None,
        };
        let hint = hint.map_or_else(String::new, |hint| format!(": {hint}"));
        format!("{} must be {expected}, not {}{hint}", spot.name(), node.describe())
    }

    /// How to turn what was written into what is wanted.
    fn hint(&self, node: &Node, spot: &Spot<'_>, schema: &'s Schema) -> Option<String> {
        if let (Some(format), Value::Unsigned(number)) = (format_of(schema), &node.value) {
            return (format.check)(&number.to_string()).err();
        }
        let last = spot.path.rsplit('.').next().unwrap_or(spot.path);
        match (types(schema).next()?, &node.value) {
            (
                "string",
                Value::Bool(_) | Value::Unsigned(_) | Value::Negative(_) | Value::Float(_),
            ) => {
                let shown = node.describe();
                let literal = shown.rsplit(' ').next().unwrap_or_default();
                Some(format!("put it between quotes, \"{literal}\""))
            }
            ("integer", Value::Float(number)) if number.fract() == 0.0 => {
                Some("it is too large".into())
            }
            ("boolean", Value::Text(word)) => match word.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" => Some("write `true`".into()),
                "no" | "off" | "n" | "false" => Some("write `false`".into()),
                _ => None,
            },
            ("integer" | "number", Value::Text(text)) if text.trim().parse::<f64>().is_ok() => {
                Some(format!("write {} without quotes", text.trim()))
            }
            ("integer" | "number", Value::Text(text)) => {
                let digits = text.trim_end_matches(['%', ' ']);
                digits.parse::<f64>().ok().map(|_| format!("write {digits}"))
            }
            ("array", Value::Text(text)) => {
                let items = self.resolve(schema.get("items")?);
                accepts(items, &node.value).then(|| format!("write `{last}: [{text}]`"))
            }
            ("array", Value::Map(_)) => Some("begin each item with `- `".into()),
            ("object", Value::List(_)) => {
                Some("write `key: value` entries, without the `- `".into())
            }
            _ => None,
        }
    }
}

/// Scalars are pointed at themselves, everything else at its key.
fn scalar_at(node: &Node, spot: &Spot<'_>) -> Position {
    match node.value {
        Value::Null | Value::List(_) | Value::Map(_) => spot.at,
        _ => node.at,
    }
}

fn wrong_word(node: &Node, spot: &Spot<'_>, words: &[&str]) -> String {
    let Value::Text(word) = &node.value else {
        return format!(
            "{} must be {}, not {}",
            spot.name(),
            words::list(words.iter().copied(), WORDS_MAX),
            node.describe()
        );
    };
    let proposal = nearest(word, words.iter().copied()).map_or_else(
        || format!("write {}", words::list(words.iter().copied(), WORDS_MAX)),
        |near| format!("did you mean `{near}`?"),
    );
    format!("{} cannot be {}: {proposal}", spot.name(), quoted(word))
}

fn check_text(text: &str, at: Position, spot: &Spot<'_>, schema: &Schema, out: &mut Findings) {
    if let Some(format) = format_of(schema) {
        if let Err(why) = (format.check)(text) {
            out.push((at, format!("{}: {why}", spot.name())));
        }
    } else if let Some(pattern) = schema.get("pattern").and_then(Schema::as_str) {
        let fits = regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
        if !fits {
            out.push((
                at,
                format!("{} cannot be {}: it must match {pattern}", spot.name(), quoted(text)),
            ));
        }
    }
}

fn check_number(number: f64, node: &Node, spot: &Spot<'_>, schema: &Schema, out: &mut Findings) {
    if let Some(format) = format_of(schema) {
        // A size may be a bare number; a duration only as 0.
        let shown = node.describe();
        if let Err(why) = (format.check)(shown.trim_start_matches("the number ")) {
            out.push((node.at, format!("{}: {why}", spot.name())));
        }
        return;
    }
    let bound = |name: &str| schema.get(name).and_then(Schema::as_f64);
    let width_max = match schema.get("format").and_then(Schema::as_str) {
        Some("uint8") => Some(f64::from(u8::MAX)),
        Some("uint16") => Some(f64::from(u16::MAX)),
        Some("uint32") => Some(f64::from(u32::MAX)),
        _ => None,
    };
    let mut wrong =
        |rule: String| out.push((node.at, format!("{} is {number}: {rule}", spot.name())));
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        wrong(format!("it must be at least {least}"));
    } else if let Some(most) = bound("maximum").or(width_max).filter(|most| number > *most) {
        wrong(format!("it must be at most {most}"));
    } else if let Some(low) = bound("exclusiveMinimum").filter(|low| number <= *low) {
        wrong(format!("it must be more than {low}"));
    } else if let Some(high) = bound("exclusiveMaximum").filter(|high| number >= *high) {
        wrong(format!("it must be less than {high}"));
    }
}

/// A text with a syntax of its own.
struct Format {
    expected: &'static str,
    check: fn(&str) -> Result<(), String>,
}

fn format_of(schema: &Schema) -> Option<Format> {
    Some(match schema.get("format")?.as_str()? {
        "time-with-unit" => {
            Format { expected: value::TIME_EXPECTED, check: |text| value::check_time(text) }
        }
        "byte-size" => {
            Format { expected: value::SIZE_EXPECTED, check: |text| value::check_size(text) }
        }
        "socket-address" => {
            Format { expected: value::ADDRESS_EXPECTED, check: value::check_address }
        }
        _ => return None,
    })
}

/// A reference to a secret: what was written in its place may be the secret itself.
fn is_secret(schema: &Schema) -> bool {
    schema.get("writeOnly").and_then(Schema::as_bool) == Some(true)
}

fn alternatives(schema: &Schema) -> Option<&[Schema]> {
    schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array().map(Vec::as_slice)
}

/// The words of an `enum` or `const`.
fn allowed_words(schema: &Schema) -> Option<Vec<&str>> {
    if let Some(word) = schema.get("const") {
        return word.as_str().map(|word| vec![word]);
    }
    let words = schema.get("enum")?.as_array()?;
    Some(words.iter().filter_map(Schema::as_str).collect())
}

fn properties(schema: &Schema) -> impl Iterator<Item = (&str, &Schema)> {
    let map = schema.get("properties").and_then(Schema::as_object);
    map.into_iter().flatten().map(|(key, schema)| (key.as_str(), schema))
}

fn required(schema: &Schema) -> impl Iterator<Item = &str> {
    let list = schema.get("required").and_then(Schema::as_array);
    list.into_iter().flatten().filter_map(Schema::as_str)
}

/// The allowed types; empty means any.
fn types(schema: &Schema) -> impl Iterator<Item = &str> {
    let one = schema.get("type").and_then(Schema::as_str);
    let many = schema.get("type").and_then(Schema::as_array).into_iter().flatten();
    one.into_iter().chain(many.filter_map(Schema::as_str))
}

/// Whether the kind of a value is one that the schema takes.
fn accepts(schema: &Schema, value: &Value) -> bool {
    if alternatives(schema).is_some_and(|each| each.iter().any(|one| accepts(one, value))) {
        return true;
    }
    if allowed_words(schema).is_some() {
        return matches!(value, Value::Text(_));
    }
    let mut types = types(schema).peekable();
    if types.peek().is_none() {
        return alternatives(schema).is_none();
    }
    types.any(|kind| match value {
        Value::Null => kind == "null",
        Value::Bool(_) => kind == "boolean",
        Value::Unsigned(_) | Value::Negative(_) => matches!(kind, "integer" | "number"),
        Value::Float(_) => kind == "number",
        Value::Text(_) => kind == "string",
        Value::List(_) => kind == "array",
        Value::Map(_) => kind == "object",
    })
}
