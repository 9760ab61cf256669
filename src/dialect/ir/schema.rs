//! JSON Schema from the subset of `OpenAPI` that Gemini writes: types in capitals, `nullable`.

use super::Text;
use crate::wire::json::{self, Kind, Value};

/// Members whose values are data, not schemas.
const DATA: [&[u8]; 4] = [b"enum", b"default", b"example", b"const"];

/// The same schema in JSON Schema. Unchanged, and as it stands, if it is one already.
pub fn json_schema(schema: Value<'_>) -> Text<'_> {
    if !needs_change(schema) {
        return Text::Borrowed(super::raw(schema));
    }
    let mut out = Vec::with_capacity(schema.raw().len());
    write(schema, &mut out);
    Text::Owned(String::from_utf8(out).unwrap_or_default())
}

fn needs_change(value: Value<'_>) -> bool {
    match value.kind() {
        Some(Kind::Object) => value.members().any(|member| match member.key {
            b"type" if member.value.kind() == Some(Kind::String) => {
                member.value.raw().iter().any(u8::is_ascii_uppercase)
            }
            b"nullable" => true,
            key => !DATA.contains(&key) && needs_change(member.value),
        }),
        Some(Kind::Array) => value.items().any(needs_change),
        _ => false,
    }
}

fn write(value: Value<'_>, out: &mut Vec<u8>) {
    match value.kind() {
        Some(Kind::Object) => object(value, out),
        Some(Kind::Array) => {
            out.push(b'[');
            for (at, item) in value.items().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(value.raw()),
    }
}

fn object(value: Value<'_>, out: &mut Vec<u8>) {
    let nullable = value.get("nullable").and_then(|flag| flag.as_bool()) == Some(true);
    out.push(b'{');
    let mut some = false;
    for member in value
        .members()
        .filter(|member| !(member.key == b"nullable" && member.value.as_bool().is_some()))
    {
        if std::mem::replace(&mut some, true) {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(member.key);
        out.extend_from_slice(b"\":");
        match member.key {
            b"type" if member.value.kind() == Some(Kind::String) => {
                let name = member.value.as_str().unwrap_or_default().to_ascii_lowercase();
                if nullable {
                    out.push(b'[');
                }
                json::quote(&name, out);
                if nullable {
                    out.extend_from_slice(b",\"null\"]");
                }
            }
            key if DATA.contains(&key) => out.extend_from_slice(member.value.raw()),
            _ => write(member.value, out),
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_in_capitals_and_nullable() {
        let read = |text: &'static str| json_schema(json::lazy(text.as_bytes()));
        assert_eq!(
            read(
                r#"{"type":"OBJECT","properties":{"type":{"type":"STRING","nullable":true,"enum":["A"]}},"required":["type"]}"#
            ),
            r#"{"type":"object","properties":{"type":{"type":["string","null"],"enum":["A"]}},"required":["type"]}"#
        );
        let plain = r#"{ "type": "object" }"#;
        assert!(matches!(read(plain), Text::Borrowed(text) if text == plain));
    }
}
