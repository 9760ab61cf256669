//! Heads as they go over the wire (RFC 9112, sections 3 to 6).

use std::cell::RefCell;
use std::io::Write;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, DATE, TRANSFER_ENCODING};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::clock::{self, Duration};
use crate::exchange::Levels;

/// Appends a response's head. What it says of the connection and of chunks is decided here alone.
pub(super) fn write(
    to: &mut Vec<u8>,
    response: &ResponseHeader,
    connection: Option<&str>,
    chunked: bool,
) {
    status_line(to, response.status);
    for (name, value) in &response.headers {
        if name != CONNECTION && name != TRANSFER_ENCODING {
            field(to, name.as_str(), value.as_bytes());
        }
    }
    if let Some(levels) = response.extensions.get::<Levels>() {
        levels.write(to);
    }
    if !response.status.is_informational() && !response.headers.contains_key(DATE) {
        date(to);
    }
    if let Some(connection) = connection {
        field(to, "connection", connection.as_bytes());
    }
    if chunked {
        field(to, "transfer-encoding", b"chunked");
    }
    to.extend_from_slice(b"\r\n");
}

fn status_line(to: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        to.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    to.extend_from_slice(b"HTTP/1.1 ");
    to.extend_from_slice(status.as_str().as_bytes());
    to.push(b' ');
    // The space stays where a status has no name.
    to.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    to.extend_from_slice(b"\r\n");
}

fn field(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

/// The present second (RFC 9110, section 6.6.1), put into words once for all answers within it.
fn date(to: &mut Vec<u8>) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = RefCell::default();
    }
    let now = clock::unix_s();
    SECOND.with_borrow_mut(|(second, words)| {
        if *second != now {
            *second = now;
            *words = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
        }
        field(to, DATE.as_str(), words.as_bytes());
    });
}

/// Appends the line before a chunk.
pub(super) fn chunk_size(to: &mut Vec<u8>, bytes: usize) {
    // A vector takes everything.
    let _ = write!(to, "{bytes:x}\r\n");
}

/// A request's head as it would stand on the wire.
pub(super) fn request(header: &RequestHeader) -> Bytes {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(header.method.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(header.raw_path());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &header.headers {
        field(&mut head, name.as_str(), value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_of_the_connection_only_what_it_is_told() {
        let mut response = ResponseHeader::build(503, None).expect("a status");
        for (name, value) in [("x-a", "1"), ("connection", "x-a"), ("date", "then")] {
            response.append_header(name, value).expect("a header");
        }
        let mut head = Vec::new();
        write(&mut head, &response, Some("close"), true);
        let expected = "HTTP/1.1 503 Service Unavailable\r\nx-a: 1\r\ndate: then\r\n\
                        connection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&head), expected);
    }

    #[test]
    fn a_date_is_added_and_can_be_read() {
        let response = ResponseHeader::build(200, None).expect("a status");
        let mut head = Vec::new();
        write(&mut head, &response, None, false);
        let text = String::from_utf8(head).expect("ASCII");
        let date = text.strip_prefix("HTTP/1.1 200 OK\r\ndate: ").expect("a date");
        assert!(httpdate::parse_http_date(date.trim_end()).is_ok(), "{date}");
    }

    #[test]
    fn a_status_without_a_name_keeps_its_space() {
        let mut head = Vec::new();
        status_line(&mut head, StatusCode::from_u16(599).expect("a status"));
        assert_eq!(head, b"HTTP/1.1 599 \r\n");
    }

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        let mut lines = Vec::new();
        chunk_size(&mut lines, 10);
        chunk_size(&mut lines, 0x10_00f);
        assert_eq!(lines, b"a\r\n1000f\r\n");
    }
}
