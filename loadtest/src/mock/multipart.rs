//! `multipart/form-data`, as clients send files (RFC 7578).

use bytes::Bytes;
use memchr::memmem;

/// The most parts of one form.
const PARTS_MAX: usize = 64;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) filename: Option<String>,
    pub(super) content: Bytes,
}

impl Part {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// The parts of a form, or what is wrong with it.
pub(super) fn parse(content_type: &str, body: &Bytes) -> Result<Vec<Part>, &'static str> {
    let boundary = parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty());
    let boundary = boundary.ok_or("the content type names no boundary")?;
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut at = memmem::find(body, delimiter.as_bytes()).ok_or("the boundary does not occur")?;
    let between = format!("\r\n{delimiter}");
    loop {
        at += delimiter.len();
        match body.get(at..at + 2) {
            Some(b"--") => return Ok(parts),
            Some(b"\r\n") => at += 2,
            _ => return Err("a boundary is followed by neither a part nor the end"),
        }
        if parts.len() >= PARTS_MAX {
            return Err("there are too many parts");
        }
        let end = memmem::find(&body[at..], b"\r\n\r\n").ok_or("a part has no end of its head")?;
        let head = String::from_utf8_lossy(&body[at..at + end]).into_owned();
        // The head may be followed at once by the delimiter's line break.
        let content = at + end + 4;
        let rest = &body[content - 2..];
        let length = memmem::find(rest, between.as_bytes()).ok_or("a part has no end")?;
        let length = length.saturating_sub(2);
        parts.push(part(&head, body.slice(content..content + length))?);
        at = content + length + 2;
    }
}

fn part(head: &str, content: Bytes) -> Result<Part, &'static str> {
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let disposition = disposition.ok_or("a part has no content disposition")?;
    let name = parameter(disposition, "name").ok_or("a part has no name")?;
    Ok(Part { name, filename: parameter(disposition, "filename"), content })
}

/// A parameter of a header value, without its quotes.
fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(parts: &[(String, Vec<u8>)]) -> Bytes {
        let mut body = Vec::new();
        for (name, content) in parts {
            body.extend_from_slice(
                format!("--XYZ\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.bin\"\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--XYZ--\r\n");
        body.into()
    }

    proptest! {
        #[test]
        fn reads_what_clients_write(
            parts in proptest::collection::vec(("[a-z_]{1,8}", proptest::collection::vec(any::<u8>(), 0..80)), 0..5),
        ) {
            let read = parse("multipart/form-data; boundary=XYZ", &form(&parts)).unwrap();
            prop_assert_eq!(read.len(), parts.len());
            for (read, (name, content)) in read.iter().zip(&parts) {
                prop_assert_eq!(&read.name, name);
                prop_assert_eq!(&read.content[..], &content[..]);
                prop_assert_eq!(read.filename.as_deref(), Some("a.bin"));
            }
        }

        #[test]
        fn anything_is_handled(body in "(--XYZ|\r\n|--|name=|content-disposition:|a){0,20}") {
            let _ = parse("multipart/form-data; boundary=\"XYZ\"", &Bytes::from(body));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (kind, body) in [
            ("multipart/form-data", "x"),
            ("a; boundary=b", "x"),
            ("a; boundary=b", "--bx"),
            ("a; boundary=b", "--b\r\n\r\n\r\nx"),
        ] {
            assert!(parse(kind, &Bytes::from(body)).is_err(), "{kind} {body}");
        }
    }
}
