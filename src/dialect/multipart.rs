//! Finding form fields in a `multipart/form-data` body (RFC 7578) without taking it apart.
//!
//! The boundary comes from the header and from nowhere else: a body that names another one must not
//! show weir a different model than it shows the upstream.

use std::ops::Range;

use memchr::memmem;

/// Parts of one upload.
const PARTS_MAX: usize = 128;

/// The head of one part.
const PART_HEAD_BYTES_MAX: usize = 8 * 1024;

/// A part that is a form field or a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The name of the field.
    pub name: &'a str,
    /// Whether it is a file.
    pub is_file: bool,
    /// Where its content is in the body.
    pub span: Range<usize>,
}

/// The boundary that a content type states.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (media_type, parameters) = content_type.split_once(';')?;
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameter(parameters, "boundary")?;
    (1..=70).contains(&value.len()).then_some(value)
}

/// The parts of a body. What is wrong with it, otherwise.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, &'static str> {
    let delimiter = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(delimiter.as_bytes());
    // The first delimiter may stand at the very beginning.
    let mut at = if body.starts_with(&delimiter.as_bytes()[2..]) {
        delimiter.len() - 2
    } else {
        finder.find(body).ok_or("the boundary does not occur")? + delimiter.len()
    };
    let mut parts = Vec::new();
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let line_end = memmem::find(rest, b"\r\n").ok_or("the closing boundary is missing")?;
        if !rest[..line_end].trim_ascii().is_empty() {
            return Err("a boundary is followed by something else");
        }
        let head = at + line_end;
        let near = &body[head..body.len().min(head + PART_HEAD_BYTES_MAX)];
        let head_bytes =
            memmem::find(near, b"\r\n\r\n").ok_or("the head of a part does not end")?;
        let content = head + head_bytes + 4;
        // The empty line that ends a head may be the beginning of the next delimiter.
        let from = content - 2;
        let end = from + finder.find(&body[from..]).ok_or("the closing boundary is missing")?;
        if parts.len() == PARTS_MAX {
            return Err("there are too many parts");
        }
        let lines = std::str::from_utf8(&body[head..content]).map_err(|_| "a head is not UTF-8")?;
        if let Some((name, is_file)) = disposition(lines) {
            parts.push(Part { name, is_file, span: content.min(end)..end });
        }
        at = end + delimiter.len();
    }
}

/// The name in a part's `content-disposition`, and whether there is a file name, too.
fn disposition(head: &str) -> Option<(&str, bool)> {
    let value = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let (_, parameters) = value.split_once(';')?;
    let is_file =
        parameter(parameters, "filename").is_some() || parameter(parameters, "filename*").is_some();
    Some((parameter(parameters, "name")?, is_file))
}

/// The value of a parameter: `; name="value"; other=value`.
fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = parameters;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(';').map_or((after.trim_end(), ""), |(value, _)| {
                (value.trim_end(), &after[value.len()..])
            }),
        };
        if name.trim_matches(|c: char| c == ';' || c.is_whitespace()).eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: &str = "--X1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\
        whisper-1\r\n--X1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a; name=b\"\
        \r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--X\r\n\r\n--X1\r\n\
        content-disposition: form-data; name=empty\r\n\r\n\r\n--X1--\r\n";

    #[test]
    fn fields_and_files() {
        let parts = parts(BODY.as_bytes(), "X1").expect("is well-formed");
        let got: Vec<_> =
            parts.iter().map(|part| (part.name, part.is_file, &BODY[part.span.clone()])).collect();
        assert_eq!(
            got,
            [
                ("model", false, "whisper-1"),
                ("file", true, "RIFF\r\n--X\r\n"),
                ("empty", false, "")
            ]
        );
    }

    #[test]
    fn the_boundary_of_a_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("multipart/form-data"), None);
        assert_eq!(boundary("multipart/form-data; boundary="), None);
        assert_eq!(boundary("application/json; boundary=abc"), None);
    }

    #[test]
    fn broken_bodies() {
        for body in
            ["", "--Y--", "--X1", "--X1\r\n", "--X1\r\nno end", "--X1 junk\r\n\r\n\r\n--X1--"]
        {
            assert!(parts(body.as_bytes(), "X1").is_err(), "{body:?}");
        }
        assert_eq!(parts(b"--X1--", "X1"), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parts(&body, "X");
        }

        #[test]
        fn no_cut_of_a_good_body_panics(end in 0_usize..BODY.len()) {
            let _ = parts(&BODY.as_bytes()[..end], "X1");
        }

        #[test]
        fn no_content_type_panics(value in "\\PC{0,60}") {
            let _ = boundary(&value);
            let _ = boundary(&format!("multipart/form-data;{value}"));
        }
    }
}
