//! Where a value ends, found without reading what is in it.

use memchr::memchr2;

use super::word;

/// A byte that ends a number or a word.
const ENDS: u8 = 1;
/// A byte that counts while the end of a container is looked for: a bracket or a quote.
const NESTS: u8 = 2;

/// What a byte outside of a string means for where a value ends. One look at a table is a third of
/// the comparisons that say the same.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let (ends, nests) = (b" \t\n\r,:]}\"", b"\"{[}]");
    let mut at = 0;
    while at < ends.len() {
        classes[ends[at] as usize] |= ENDS;
        at += 1;
    }
    at = 0;
    while at < nests.len() {
        classes[nests[at] as usize] |= NESTS;
        at += 1;
    }
    classes
}

/// How many bytes come before the first of a class. `None` if none comes.
#[inline]
fn before(bytes: &[u8], class: u8) -> Option<usize> {
    bytes.iter().position(|&byte| CLASSES[usize::from(byte)] & class != 0)
}

/// Where the value that starts at `from` ends. `None` if nothing starts there or it does not end.
#[inline]
pub(in crate::wire) fn value_end(bytes: &[u8], from: usize) -> Option<usize> {
    match bytes.get(from)? {
        b'"' | b'{' | b'[' => bounded_end(bytes, from),
        _ => word_end(bytes, from),
    }
}

/// Where the string, object or array that starts at `from` ends.
pub(super) fn bounded_end(bytes: &[u8], from: usize) -> Option<usize> {
    if bytes.get(from)? == &b'"' { string_end(bytes, from) } else { container_end(bytes, from) }
}

/// Where the number or word that starts at `from` ends.
#[inline]
pub(super) fn word_end(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let length = before(rest, ENDS).unwrap_or(rest.len());
    (length > 0).then_some(from + length)
}

/// Where the string whose opening quote is at `from` ends, closing quote included.
#[inline]
pub(super) fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let inside = bytes.get(from + 1..)?;
    // A quote is part of the string only with a backslash before it.
    if let Some(length) = word::near_quote(inside)
        && bytes.get(from + length) != Some(&b'\\')
    {
        return Some(from + 1 + length + 1);
    }
    long_string_end(bytes, from)
}

/// The same of a string that is long or has a quote in it.
fn long_string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    loop {
        let rest = bytes.get(at..)?;
        let found = memchr2(b'"', b'\\', rest)?;
        if rest[found] == b'"' {
            return Some(at + found + 1);
        }
        at += found + 2;
    }
}

/// Where the object or array that opens at `from` ends. Only counts brackets.
fn container_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = from;
    loop {
        at += before(bytes.get(at..)?, NESTS)?;
        match bytes[at] {
            b'"' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            _ => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
        }
        at += 1;
    }
}
