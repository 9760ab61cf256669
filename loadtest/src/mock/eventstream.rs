//! The binary framing of AWS event streams: two lengths, headers, a payload, two checksums.
//!
//! Layout as in the Amazon Transcribe and Bedrock documentation of `vnd.amazon.eventstream`: total length,
//! headers length, CRC-32 of these eight bytes, headers, payload, CRC-32 of everything before.

/// Bytes before the headers.
const PRELUDE_BYTES: usize = 12;
/// Bytes after the payload.
const CHECKSUM_BYTES: usize = 4;
/// The type tag of a string header.
const STRING: u8 = 7;

/// Appends a message.
pub(super) fn message(headers: &[(&str, &str)], payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE_BYTES]);
    for (name, value) in headers {
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
        out.push(STRING);
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    let headers_bytes = (out.len() - start - PRELUDE_BYTES) as u32;
    out[start + 4..start + 8].copy_from_slice(&headers_bytes.to_be_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(&[0; CHECKSUM_BYTES]);
    seal(&mut out[start..]);
}

/// Sets the length and both checksums of a message after its bytes were changed.
pub(super) fn seal(message: &mut [u8]) {
    let length = message.len();
    if length < PRELUDE_BYTES + CHECKSUM_BYTES {
        return;
    }
    message[..4].copy_from_slice(&(length as u32).to_be_bytes());
    let prelude = crc32fast::hash(&message[..8]);
    message[8..PRELUDE_BYTES].copy_from_slice(&prelude.to_be_bytes());
    let body = length - CHECKSUM_BYTES;
    let checksum = crc32fast::hash(&message[..body]);
    message[body..].copy_from_slice(&checksum.to_be_bytes());
}

/// A message as a test reads it: its headers and its payload.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Message {
    pub(super) headers: std::collections::BTreeMap<String, String>,
    pub(super) payload: Vec<u8>,
}

/// Reads all messages. An error names the offset of the one that is not valid.
#[cfg(test)]
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Message>, usize> {
    let mut messages = Vec::new();
    let mut at = 0;
    let number = |at: usize| -> Option<usize> {
        Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
    };
    while at < bytes.len() {
        let message = (|| {
            let (length, headers_bytes) = (number(at)?, number(at + 4)?);
            let whole = bytes.get(at..at + length)?;
            let body = length.checked_sub(CHECKSUM_BYTES)?;
            let intact = number(at + 8)? == crc32fast::hash(whole.get(..8)?) as usize
                && number(at + body)? == crc32fast::hash(&whole[..body]) as usize;
            let mut list = whole.get(PRELUDE_BYTES..PRELUDE_BYTES + headers_bytes)?;
            let mut headers = std::collections::BTreeMap::new();
            while let [name_bytes, rest @ ..] = list {
                let (name, rest) = rest.split_at_checked(*name_bytes as usize)?;
                let [STRING, high, low, rest @ ..] = rest else { return None };
                let (value, rest) =
                    rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                headers.insert(text(name), text(value));
                list = rest;
            }
            let payload = whole.get(PRELUDE_BYTES + headers_bytes..body)?.to_vec();
            intact.then_some((length, Message { headers, payload }))
        })();
        let (length, message) = message.ok_or(at)?;
        at += length;
        messages.push(message);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The message without headers and payload from the SDK's own test vectors is sixteen bytes.
    #[test]
    fn an_empty_message() {
        let mut out = Vec::new();
        message(&[], &[], &mut out);
        assert_eq!(out, [0, 0, 0, 16, 0, 0, 0, 0, 5, 194, 72, 235, 125, 152, 200, 255]);
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(
            messages in proptest::collection::vec(("[a-z:]{1,20}", "\\PC{0,20}", proptest::collection::vec(any::<u8>(), 0..60)), 0..5),
            flipped: prop::sample::Index,
        ) {
            let mut out = Vec::new();
            for (name, value, payload) in &messages {
                message(&[(name, value)], payload, &mut out);
            }
            let read_back = read(&out).unwrap();
            prop_assert_eq!(read_back.len(), messages.len());
            for (read, (name, value, payload)) in read_back.iter().zip(&messages) {
                prop_assert_eq!(&read.headers[name], value);
                prop_assert_eq!(&read.payload, payload);
            }
            if !out.is_empty() {
                let at = flipped.index(out.len());
                out[at] ^= 1;
                prop_assert!(read(&out).is_err());
            }
        }
    }
}
