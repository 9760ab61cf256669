//! Heads as they go over the wire (RFC 9112, sections 3 to 6).

use std::cell::RefCell;
use std::time::UNIX_EPOCH;

use http::StatusCode;

use crate::clock::{self, Duration};
use crate::wire::fields::{Fields, Name, Names, line};

/// What is said of a connection is for its two ends.
const OWN: Names = Names::of(&[Name::Connection, Name::TransferEncoding]);

/// Appends a response's head. What it says of the connection and of chunks is decided here alone.
pub(crate) fn write(
    to: &mut Vec<u8>,
    (status, headers): (StatusCode, &Fields),
    connection: Option<&str>,
    chunked: bool,
) {
    status_line(to, status);
    headers.write_without(OWN, to);
    if !status.is_informational() && !headers.contains(Name::Date) {
        date(to);
    }
    if let Some(connection) = connection {
        line(to, b"connection", connection.as_bytes());
    }
    if chunked {
        line(to, b"transfer-encoding", b"chunked");
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
        line(to, b"date", words.as_bytes());
    });
}

/// Appends the line before a chunk (RFC 9112, section 7.1).
pub(super) fn chunk_size(to: &mut Vec<u8>, bytes: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    const DIGIT_BITS: u32 = 4;
    // Zero has a digit too.
    let digits = (usize::BITS - (bytes | 1).leading_zeros()).div_ceil(DIGIT_BITS);
    let digit = |at: u32| DIGITS[bytes >> (at * DIGIT_BITS) & 0xf];
    to.extend((0..digits).rev().map(digit));
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_of_the_connection_only_what_it_is_told() {
        let headers = Fields::from_iter([("x-a", "1"), ("connection", "x-a"), ("date", "then")]);
        let mut head = Vec::new();
        let status = StatusCode::SERVICE_UNAVAILABLE;
        write(&mut head, (status, &headers), Some("close"), true);
        let expected = "HTTP/1.1 503 Service Unavailable\r\nx-a: 1\r\ndate: then\r\n\
                        connection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&head), expected);
    }

    #[test]
    fn a_date_is_added_and_can_be_read() {
        let mut head = Vec::new();
        write(&mut head, (StatusCode::OK, &Fields::default()), None, false);
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
        for bytes in [0, 1, 15, 16, 255, 256, usize::MAX] {
            lines.clear();
            chunk_size(&mut lines, bytes);
            assert_eq!(lines, format!("{bytes:x}\r\n").into_bytes());
        }
    }
}
