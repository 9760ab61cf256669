//! JSON Schema for providers that follow one to the letter: their objects are closed, and there are
//! no bounds on numbers and lengths in them.

use super::{Loss, Text};
use crate::wire::json::{self, Kind, Member, Value};

/// Members whose values are schemas by name.
const NAMED: [&[u8]; 4] = [b"properties", b"$defs", b"definitions", b"patternProperties"];

/// Members whose values are schemas.
const SCHEMAS: [&[u8]; 8] =
    [b"items", b"anyOf", b"allOf", b"oneOf", b"not", b"if", b"then", b"else"];

/// Bounds that these providers refuse.
const BOUNDS: [&[u8]; 9] = [
    b"minimum",
    b"maximum",
    b"exclusiveMinimum",
    b"exclusiveMaximum",
    b"multipleOf",
    b"minLength",
    b"maxLength",
    b"maxItems",
    b"uniqueItems",
];

/// The same schema with every object closed that does not say whether it is, and without bounds, which
/// are reported. Unchanged, and as it stands, if there is nothing to do.
pub fn closed_schema<'a>(schema: &'a str, loss: &mut Loss) -> Text<'a> {
    let root = json::lazy(schema.as_bytes());
    if !any(root, &|members| is_open(members) || members.iter().any(is_bound)) {
        return Text::Borrowed(schema);
    }
    let mut out = Vec::with_capacity(schema.len() + 64);
    write(root, &mut out, loss);
    Text::Owned(String::from_utf8(out).unwrap_or_default())
}

/// Whether this is true of a schema or of one within it.
fn any(schema: Value<'_>, test: &dyn Fn(&[Member<'_>]) -> bool) -> bool {
    match schema.kind() {
        Some(Kind::Array) => schema.items().any(|item| any(item, test)),
        Some(Kind::Object) => {
            let members: Vec<Member<'_>> = schema.members().collect();
            let within = |member: &Member<'_>| match member.key {
                key if NAMED.contains(&key) => {
                    member.value.members().any(|named| any(named.value, test))
                }
                key if SCHEMAS.contains(&key) => any(member.value, test),
                _ => false,
            };
            test(&members) || members.iter().any(within)
        }
        _ => false,
    }
}

/// An object that may have members besides those that are named.
fn is_open(members: &[Member<'_>]) -> bool {
    let of_objects = members.iter().any(|member| match member.key {
        b"type" => member.value.raw() == b"\"object\"",
        b"properties" => true,
        _ => false,
    });
    of_objects && !members.iter().any(|member| member.key == b"additionalProperties")
}

fn is_bound(member: &Member<'_>) -> bool {
    let few = || member.value.as_u64().is_some_and(|items| items <= 1);
    BOUNDS.contains(&member.key) || member.key == b"minItems" && !few()
}

fn write(schema: Value<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
    match schema.kind() {
        Some(Kind::Array) => {
            out.push(b'[');
            for (at, item) in schema.items().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out, loss);
            }
            out.push(b']');
        }
        Some(Kind::Object) => object(schema, out, loss),
        _ => out.extend_from_slice(schema.raw()),
    }
}

fn object(schema: Value<'_>, out: &mut Vec<u8>, loss: &mut Loss) {
    let members: Vec<Member<'_>> = schema.members().collect();
    let mut open = b'{';
    for member in &members {
        if is_bound(member) {
            loss.drop(format!("response_format.schema.{}", super::utf8(member.key)));
            continue;
        }
        key(member.key, &mut open, out);
        match member.key {
            name if NAMED.contains(&name) && member.value.kind() == Some(Kind::Object) => {
                let mut open = b'{';
                for named in member.value.members() {
                    key(named.key, &mut open, out);
                    write(named.value, out, loss);
                }
                if open == b'{' {
                    out.push(b'{');
                }
                out.push(b'}');
            }
            name if SCHEMAS.contains(&name) => write(member.value, out, loss),
            _ => out.extend_from_slice(member.value.raw()),
        }
    }
    if is_open(&members) {
        key(b"additionalProperties", &mut open, out);
        out.extend_from_slice(b"false");
    }
    if open == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

/// A key, as it stands, behind the brace or the comma in front of it.
fn key(key: &[u8], before: &mut u8, out: &mut Vec<u8>) {
    out.push(std::mem::replace(before, b','));
    out.push(b'"');
    out.extend_from_slice(key);
    out.extend_from_slice(b"\":");
}

#[cfg(test)]
mod tests {
    use super::super::LossPolicy;
    use super::*;

    fn closed(schema: &str) -> (String, String) {
        let mut loss = Loss::new("anthropic", LossPolicy::Lenient);
        let schema = closed_schema(schema, &mut loss).into_owned();
        (schema, loss.into_report().expect("lenient").header_value())
    }

    #[test]
    fn objects_that_do_not_say_so_are_closed() {
        for (open, want) in [
            (
                r#"{"type":"object","properties":{"a":{"type":"string"},"properties":{"type":"object"}}}"#,
                r#"{"type":"object","properties":{"a":{"type":"string"},"properties":{"type":"object","additionalProperties":false}},"additionalProperties":false}"#,
            ),
            (
                r##"{ "anyOf": [{"properties":{}}, {"$ref":"#/$defs/x"}], "$defs": {"x":{"type":"object"}} }"##,
                r##"{"anyOf":[{"properties":{},"additionalProperties":false},{"$ref":"#/$defs/x"}],"$defs":{"x":{"type":"object","additionalProperties":false}}}"##,
            ),
            // What is data stays what it is.
            (
                r#"{"type":"object","additionalProperties":false,"default":{"type":"object","minimum":1}}"#,
                r#"{"type":"object","additionalProperties":false,"default":{"type":"object","minimum":1}}"#,
            ),
            (r#"{ "type": "string" }"#, r#"{ "type": "string" }"#),
            (
                r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
                r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
            ),
        ] {
            assert_eq!(closed(open), (want.to_owned(), String::new()));
        }
    }

    #[test]
    fn bounds_are_left_out_and_reported() {
        let (schema, dropped) = closed(
            r#"{"type":"object","additionalProperties":false,"properties":{"minimum":{"type":
            "integer","minimum":1},"b":{"type":"array","items":{"maxLength":3},"minItems":1},
            "c":{"minItems":2}}}"#,
        );
        assert_eq!(
            schema,
            r#"{"type":"object","additionalProperties":false,"properties":{"minimum":{"type":"integer"},"b":{"type":"array","items":{},"minItems":1},"c":{}}}"#
        );
        let names = ["minimum", "maxLength", "minItems"];
        assert_eq!(dropped, names.map(|name| format!("response_format.schema.{name}")).join(", "));
    }
}
