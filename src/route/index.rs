//! Which routes are worth looking at for a request.
//!
//! Every route is filed once, under the most telling thing that it demands: exact models, the
//! beginning of a model, one exact label, one exact header. A request looks up what it has and
//! gets a few short lists, each in the order of the file; the first of them that matches in full
//! is the first that matches at all. Routes that demand nothing of the kind (a regular expression,
//! `*-mini`, an expression alone) are looked at for every request.

use ahash::AHashMap;
use http::HeaderName;
use smallvec::SmallVec;

use super::table::Rule;
use crate::config::NamePattern;
use crate::expression::Query;

/// Numbers of routes, ascending.
type Numbers = Vec<u32>;
/// Numbers of routes, by an exact text.
type ByText = AHashMap<Box<[u8]>, Numbers>;

#[derive(Debug, Default)]
pub(super) struct Index {
    models: ByText,
    /// Beginnings of models, by their length in bytes.
    beginnings: Vec<(usize, ByText)>,
    labels: Vec<(Box<str>, ByText)>,
    headers: Vec<(HeaderName, ByText)>,
    always: Numbers,
}

impl Index {
    pub fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (number, rule) in rules.iter().enumerate() {
            index.file(rule, number as u32);
        }
        index
    }

    fn file(&mut self, rule: &Rule, number: u32) {
        if !rule.models.is_empty() && rule.models.iter().all(|model| beginning(model).is_some()) {
            for model in &rule.models {
                let text = beginning(model).unwrap_or_default();
                let by_text = match model {
                    NamePattern::Exact(_) => &mut self.models,
                    _ => entry(&mut self.beginnings, &text.len()),
                };
                push(by_text, text, number);
            }
        } else if let Some((name, value)) = exact(&rule.labels) {
            push(entry(&mut self.labels, name), value, number);
        } else if let Some((name, value)) = exact(&rule.headers) {
            push(entry(&mut self.headers, name), value, number);
        } else {
            self.always.push(number);
        }
    }

    /// The first number, in order, that `matches` accepts.
    pub fn first<'a>(
        &'a self,
        query: &Query<'_>,
        mut matches: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let mut lists: SmallVec<[&[u32]; 12]> = SmallVec::new();
        let mut add = |list: Option<&'a Numbers>| lists.extend(list.map(Vec::as_slice));
        if let Some(model) = query.model {
            add(self.models.get(model.as_bytes()));
            for (length, by_beginning) in &self.beginnings {
                let beginning = model.as_bytes().get(..*length);
                add(beginning.and_then(|beginning| by_beginning.get(beginning)));
            }
        }
        for (name, by_value) in &self.labels {
            let value = query.caller.and_then(|caller| caller.labels.get(name));
            add(value.and_then(|value| by_value.get(value.as_bytes())));
        }
        for (name, by_value) in &self.headers {
            for value in query.headers.all(name.as_str()) {
                add(by_value.get(value));
            }
        }
        add(Some(&self.always));
        loop {
            let next = lists.iter().filter_map(|list| list.first()).min().copied()?;
            if matches(next) {
                return Some(next);
            }
            for list in &mut lists {
                if list.first() == Some(&next) {
                    *list = &list[1..];
                }
            }
        }
    }
}

/// What every text that matches begins with. None where nothing is known of it.
fn beginning(pattern: &NamePattern) -> Option<&str> {
    match pattern {
        NamePattern::Exact(exact) => Some(exact),
        NamePattern::Glob(glob) => {
            let literal = &glob[..glob.find(['*', '?']).unwrap_or(glob.len())];
            (!literal.is_empty()).then_some(literal)
        }
        NamePattern::Regex(_) => None,
    }
}

fn exact<N>(demands: &[(N, NamePattern)]) -> Option<(&N, &str)> {
    demands.iter().find_map(|(name, pattern)| Some((name, pattern.exact()?)))
}

fn entry<'l, N, K, V>(list: &'l mut Vec<(K, V)>, name: &N) -> &'l mut V
where
    N: Clone + PartialEq<K> + Into<K>,
    V: Default,
{
    let at = list.iter().position(|(known, _)| name == known).unwrap_or_else(|| {
        list.push((name.clone().into(), V::default()));
        list.len() - 1
    });
    &mut list[at].1
}

fn push(lists: &mut ByText, text: &str, number: u32) {
    let list = lists.entry(text.as_bytes().into()).or_default();
    // A route that names a model twice is filed once.
    if list.last() != Some(&number) {
        list.push(number);
    }
}
