//! Members within messages and tools that no codec reads.
//!
//! A codec reads the members that it knows. What a client writes beside them must not vanish, so each
//! format lists what is known of its inner objects, and what is not in the list is accounted for as
//! lost, whatever the other format is.

use crate::wire::json::{Kind, Value};

/// What is known of the objects at a path: keys, and `[]` for every element of an array.
pub type Known = (&'static [&'static str], &'static str);

/// The most names that are reported.
const NAMES_MAX: usize = 32;

/// The names of members that are not known, by the path of their object. The document is walked over
/// once, whatever the number of paths.
pub fn unknown_members(body: Value<'_>, known: &[Known]) -> Vec<String> {
    debug_assert!(known.len() <= u64::BITS as usize, "a bit for each");
    let mut audit = Audit { known, found: Vec::new() };
    audit.visit(body, 0, (0..known.len()).fold(0, |all, at| all | 1 << at));
    audit.found.sort_by_key(|(at, _)| *at);
    audit.found.into_iter().map(|(_, name)| name).collect()
}

struct Audit<'k> {
    known: &'k [Known],
    /// The names, each with the number of what is known of its object.
    found: Vec<(usize, String)>,
}

impl Audit<'_> {
    /// Looks at what stands at `depth` steps of those paths whose bits are set.
    fn visit(&mut self, value: Value<'_>, depth: usize, paths: u64) {
        let kind = value.kind();
        if kind == Some(Kind::Array) {
            let inner = self.next(depth, paths, "[]");
            if inner != 0 {
                value.items().for_each(|item| self.visit(item, depth + 1, inner));
            }
        }
        if kind != Some(Kind::Object) {
            return;
        }
        for member in value.members() {
            let key = super::utf8(member.key);
            for at in bits(paths) {
                let (path, members) = self.known[at];
                if path.len() == depth && members.split(' ').all(|known| known != key) {
                    self.note(at, key, member.value);
                }
            }
            let inner = self.next(depth, paths, key);
            if inner != 0 {
                self.visit(member.value, depth + 1, inner);
            }
        }
    }

    /// Those of the paths that go on with this step.
    fn next(&self, depth: usize, paths: u64, step: &str) -> u64 {
        let goes_on = |at: &usize| self.known[*at].0.get(depth).is_some_and(|next| *next == step);
        bits(paths).filter(goes_on).fold(0, |inner, at| inner | 1 << at)
    }

    fn note(&mut self, at: usize, key: &str, value: Value<'_>) {
        if matches!(value.raw(), b"null" | b"[]" | b"{}") {
            return;
        }
        let name = format!("{}.{key}", self.known[at].0.join(".").replace(".[]", "[]"));
        let is_new = self.found.iter().all(|(_, noted)| *noted != name);
        if self.found.len() < NAMES_MAX && is_new {
            self.found.push((at, name));
        }
    }
}

/// The numbers of the bits that are set.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = set.trailing_zeros() as usize;
        (set != 0).then(|| {
            set &= set - 1;
            at
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::lazy;

    #[test]
    fn what_is_not_known_is_named_once() {
        let body =
            br#"{"tools":[{"name":"a","x":1},{"name":"b","x":2,"y":null,"z":[]}],"messages":"no"}"#;
        let known: [Known; 2] = [(&["tools", "[]"], "name"), (&["messages", "[]"], "role")];
        assert_eq!(unknown_members(lazy(body), &known), ["tools[].x"]);
        assert!(unknown_members(lazy(body), &[]).is_empty());
    }
}
