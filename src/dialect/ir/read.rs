//! Reading members with a message for whoever wrote them wrong.

use super::Text;
use crate::error::{Error, Kind};
use crate::wire::json::{self, Value};

/// A member that is not what its format says.
pub fn refused_shape(field: &str, want: &str) -> Error {
    Error::new(Kind::BadRequest, format!("Invalid value for `{field}`: expected {want}."))
        .param(field.to_owned())
}

/// A string.
pub fn string<'a>(value: Value<'a>, field: &str) -> Result<Text<'a>, Error> {
    value.as_str().ok_or_else(|| refused_shape(field, "a string"))
}

/// A boolean.
pub fn boolean(value: Value<'_>, field: &str) -> Result<bool, Error> {
    value.as_bool().ok_or_else(|| refused_shape(field, "a boolean"))
}

/// A whole number.
pub fn unsigned(value: Value<'_>, field: &str) -> Result<u64, Error> {
    super::super::usage::count(value)
        .ok_or_else(|| refused_shape(field, "a whole number that is not negative"))
}

/// The elements of an array.
pub fn items<'a>(value: Value<'a>, field: &str) -> Result<json::Items<'a>, Error> {
    match value.kind() {
        Some(json::Kind::Array) => Ok(value.items()),
        _ => Err(refused_shape(field, "an array")),
    }
}

/// The members of an object that are not null.
pub fn members<'a>(
    value: Value<'a>,
    field: &str,
) -> Result<impl Iterator<Item = json::Member<'a>>, Error> {
    match value.kind() {
        Some(json::Kind::Object) => Ok(value.members().filter(|member| !member.value.is_null())),
        _ => Err(refused_shape(field, "an object")),
    }
}

/// A value as it stands in its document, which is UTF-8.
pub fn raw(value: Value<'_>) -> &str {
    utf8(value.raw())
}

/// Bytes of a document, which is UTF-8.
pub fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// A number as it stands in its document, if it is one that every document may have.
pub fn number(value: Value<'_>) -> Option<&str> {
    value.kind().filter(|kind| *kind == json::Kind::Number)?;
    json::validate(value.raw(), json::Limits { depth_max: 1 }).is_ok().then(|| raw(value))
}

/// An array of whole numbers as it stands in its document.
pub fn numbers(value: Value<'_>) -> Option<&str> {
    let inner = value.raw().strip_prefix(b"[")?.strip_suffix(b"]")?;
    let plain = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b',' | b' ');
    let valid = inner.iter().all(plain)
        && json::validate(value.raw(), json::Limits { depth_max: 1 }).is_ok();
    valid.then(|| raw(value))
}

/// Texts as one, where a format has room for one only.
pub fn joined<'t>(mut texts: impl Iterator<Item = &'t str>) -> Text<'t> {
    let Some(first) = texts.next() else { return Text::Borrowed("") };
    let Some(second) = texts.next() else { return Text::Borrowed(first) };
    let mut all = format!("{first}{second}");
    all.extend(texts);
    Text::Owned(all)
}

/// An id in the characters that every format accepts. The same id always becomes the same.
pub fn id_for_tool(id: &str) -> Text<'_> {
    const BYTES_MAX: usize = 64;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !id.is_empty() && id.len() <= BYTES_MAX && id.chars().all(plain) {
        return Text::Borrowed(id);
    }
    let sum = crate::hash::stable(&[id.as_bytes()]);
    let short: String = id.chars().take(40).map(|c| if plain(c) { c } else { '_' }).collect();
    Text::Owned(format!("{short}_{sum:016x}"))
}

/// A text that is a JSON object.
pub fn as_object(text: &str) -> Option<&str> {
    let text = text.trim();
    let object = text.starts_with('{')
        && json::validate(text.as_bytes(), json::Limits { depth_max: json::DEPTH_MAX }).is_ok();
    object.then_some(text)
}

/// The arguments of a tool as an object: an empty one for none, and one around what is no object, so
/// that a model's slip is seen by whoever runs the tool and breaks no document.
pub fn object_of(arguments: &str) -> Text<'_> {
    if arguments.trim().is_empty() {
        return Text::Borrowed("{}");
    }
    if let Some(object) = as_object(arguments) {
        return Text::Borrowed(object);
    }
    let mut out = Vec::with_capacity(arguments.len() + 16);
    json::write_object(&mut out, |object| object.text("arguments", arguments));
    Text::Owned(String::from_utf8(out).unwrap_or_default())
}
