//! A configuration document whose nodes know where they stand.

use super::Position;

/// A document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its outermost node.
    pub root: Node,
}

/// A node: a value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the value begins; where it is used, if it came through an alias.
    pub at: Position,
    /// The value.
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing: an empty value, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that is not negative.
    Unsigned(u64),
    /// A negative number.
    Negative(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// Text, quoted or not.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file; keys are unique.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_at: Position,
    /// The value.
    pub node: Node,
}

impl Document {
    /// The place of what `path` names (`pools.chat.targets[0].provider`): of the value where it is
    /// a scalar, of its key where it is a list or a mapping. Where the path leads beyond what the
    /// file holds, the place of the last part that exists.
    ///
    /// Keys may hold dots (`prices.gpt-4.1`): at every step the longest key that fits wins.
    pub fn at(&self, path: &str) -> Position {
        let mut at = Position::new(1, 1);
        let mut node = &self.root;
        let mut rest = path;
        while !rest.is_empty() {
            let Some((next, place, tail)) = step(node, rest) else { break };
            at = place;
            node = next;
            rest = tail.strip_prefix('.').unwrap_or(tail);
        }
        at
    }

    /// The place of the key of the last part of `path`, for what concerns the key and not its value.
    pub fn key_at(&self, path: &str) -> Position {
        let mut at = Position::new(1, 1);
        let mut node = &self.root;
        let mut rest = path;
        while !rest.is_empty() {
            let Some((next, place, tail)) = step(node, rest) else { break };
            at = match &node.value {
                Value::Map(entries) => entries
                    .iter()
                    .find(|entry| std::ptr::eq(&raw const entry.node, next))
                    .map_or(place, |entry| entry.key_at),
                _ => place,
            };
            node = next;
            rest = tail.strip_prefix('.').unwrap_or(tail);
        }
        at
    }
}

/// One step along a path: the node it leads to, that node's place, and the rest of the path.
fn step<'n, 'p>(node: &'n Node, path: &'p str) -> Option<(&'n Node, Position, &'p str)> {
    match &node.value {
        Value::List(items) => {
            let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            Some((item, item.at, rest))
        }
        Value::Map(entries) => {
            let ends = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
            let entry = entries
                .iter()
                .filter(|entry| path.strip_prefix(entry.key.as_str()).is_some_and(ends))
                .max_by_key(|entry| entry.key.len())?;
            let place = match entry.node.value {
                Value::List(_) | Value::Map(_) | Value::Null => entry.key_at,
                _ => entry.node.at,
            };
            Some((&entry.node, place, &path[entry.key.len()..]))
        }
        _ => None,
    }
}

impl Node {
    /// The entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// What kind of value it is, in words: `a number (5)`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Unsigned(number) => format!("the number {number}"),
            Value::Negative(number) => format!("the number {number}"),
            Value::Float(number) => format!("the number {number}"),
            Value::Text(text) => format!("the text {}", quoted(text)),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
        }
    }
}

/// `text` between backticks, cut where it is long, control characters made visible.
pub fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    // What needs no escape inside backticks reads better without it.
    format!("`{}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}
