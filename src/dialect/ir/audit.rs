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

/// The names of members that are not known, by the path of their object.
pub fn unknown_members(body: Value<'_>, known: &[Known]) -> Vec<String> {
    let mut names = Vec::new();
    for (path, members) in known {
        let mut at = |object: Value<'_>| {
            let says = |value: Value<'_>| !matches!(value.raw(), b"null" | b"[]" | b"{}");
            for member in object.members().filter(|member| says(member.value)) {
                let key = super::utf8(member.key);
                if members.split(' ').all(|known| known != key) {
                    let name = format!("{}.{key}", path.join(".").replace(".[]", "[]"));
                    if names.len() < NAMES_MAX && !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        };
        visit(body, path, &mut at);
    }
    names
}

fn visit(value: Value<'_>, path: &[&str], at: &mut dyn FnMut(Value<'_>)) {
    match path.split_first() {
        None if value.kind() == Some(Kind::Object) => at(value),
        None => {}
        Some((&"[]", rest)) => value.items().for_each(|item| visit(item, rest, at)),
        Some((key, rest)) => {
            if let Some(inner) = value.get(key) {
                visit(inner, rest, at);
            }
        }
    }
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
    }
}
