//! A member near the end of an object, found without reading what comes before it.
//!
//! A provider's answer ends with what it used; everything before that is for the client. Backwards a
//! string cannot be told from what is around it, but a key can: in a valid document a quoted word
//! with a comma or an opening bracket before it and a colon behind it is a key, because within a
//! string both its quotes would be escaped. And it is a key of the object itself, not of one within
//! it, when the members from it on lead to the object's last byte.

use std::fmt;

use memchr::memmem::Finder;

use super::is_space;
use super::value::{Cursor, Value};

/// How far from the end a key is looked for. Usage with all its details has some 400 bytes, and little
/// follows it.
const TAIL_BYTES_MAX: usize = 1024;

/// A key that is looked for from the end of an object. To be made once: what is known of it makes the
/// search fast.
pub struct LastKey {
    /// Of the key as it is written, in its quotes.
    finder: Finder<'static>,
}

impl LastKey {
    /// A key that is written without escapes.
    pub fn new(key: &str) -> Self {
        Self { finder: Finder::new(&format!("\"{key}\"")).into_owned() }
    }

    /// The key.
    pub(super) fn key(&self) -> &[u8] {
        let quoted = self.finder.needle();
        &quoted[1..quoted.len() - 1]
    }
}

impl fmt::Debug for LastKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LastKey").field(&self.key().escape_ascii().to_string()).finish()
    }
}

/// What `read` makes of the value of the last member with this key in the object's tail; `None` where
/// there is none, which does not say that there is none before. It leaves its cursor behind the value.
pub(super) fn last<'a, T>(
    object: Value<'a>,
    key: &LastKey,
    mut read: impl FnMut(&mut Cursor<'a>) -> Option<T>,
) -> Option<T> {
    let raw = object.raw();
    if raw.first() != Some(&b'{') {
        return None;
    }
    let from = raw.len().saturating_sub(TAIL_BYTES_MAX);
    let mut found = None;
    for at in key.finder.find_iter(&raw[from..]) {
        if begins_member(&raw[..from + at])
            && let Some(value) = Cursor::over(object, from + at).leads_to_end(&mut read)
        {
            found = Some(value);
        }
    }
    found
}

/// Whether a member may begin behind this.
fn begins_member(before: &[u8]) -> bool {
    let last = before.iter().rev().find(|byte| !is_space(**byte));
    matches!(last, Some(b',' | b'{'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value as Tree};

    use super::super::lazy;
    use super::*;

    fn found<'a>(document: &'a str, key: &str) -> Option<&'a str> {
        let value = last(lazy(document.as_bytes()), &LastKey::new(key), Cursor::value)?;
        assert_eq!(&document.as_bytes()[value.span()], value.raw());
        std::str::from_utf8(value.raw()).ok()
    }

    #[test]
    fn a_key_of_the_object_itself() {
        for (document, expected) in [
            (r#"{"usage":{"a":1}}"#, Some(r#"{"a":1}"#)),
            (r#" { "usage" : {"a": 1} , "x": [1, "}"] } "#, Some(r#"{"a": 1}"#)),
            (r#"{"x":1,"usage":null,"y":{"usage":2}}"#, Some("null")),
            (r#"{"usage":1,"usage":2}"#, Some("2")),
            (r#"{"x":{"usage":2}}"#, None),
            (r#"{"x":[{"usage":2}]}"#, None),
            (r#"{"x":["usage"]}"#, None),
            (r#"{"x":"usage"}"#, None),
            (r#"{"usages":1}"#, None),
            (r#"{"a\"usage":1}"#, None),
            (r#"{"x":", \"usage\":1"}"#, None),
            (r#"{"x":",\"usage"}"#, None),
            ("[1]", None),
            ("{", None),
            ("", None),
            (r#"{"usage""#, None),
            (r#"{"usage":"#, None),
            (r#"{"usage":1"#, None),
            (r#"{"usage":1}}"#, None),
        ] {
            assert_eq!(found(document, "usage"), expected, "{document}");
        }
    }

    #[test]
    fn what_is_far_from_the_end_is_left_to_others() {
        let document = format!(r#"{{"usage":1,"x":"{}"}}"#, "y".repeat(TAIL_BYTES_MAX));
        assert_eq!(found(&document, "usage"), None);
        assert_eq!(
            lazy(document.as_bytes()).get_last(&LastKey::new("usage")).map(|value| value.raw()),
            Some(&b"1"[..])
        );
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let text = prop::sample::select(vec!["usage", "a\"usage", ",", "{\"usage\":1}", "\\", "x"]);
        let leaf = prop_oneof![
            Just(Tree::Null),
            any::<u8>().prop_map(Tree::from),
            text.prop_map(Tree::from),
        ];
        leaf.prop_recursive(3, 24, 4, move |inner| {
            let key = prop::sample::select(vec!["usage", "a\"usage", "\\usage", "b"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::from),
                prop::collection::vec((key, inner), 0..4).prop_map(|members| {
                    let members = members.into_iter().map(|(key, value)| (key.to_owned(), value));
                    Tree::from(members.collect::<Map<_, _>>())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_parser_finds(tree in tree(), pretty in any::<bool>()) {
            let document =
                if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) };
            let document = document.expect("JSON");
            let value = found(&document, "usage").map(|raw| serde_json::from_str(raw).expect("JSON"));
            prop_assert_eq!(value.as_ref(), tree.get("usage"));
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(
            prop::sample::select(b"{}[]\":,\\usage 1".to_vec()), 0..64,
        )) {
            let _ = last(lazy(&bytes), &LastKey::new("usage"), Cursor::value);
        }
    }
}
