//! Replays the fuzz corpora through the properties that the fuzz targets assert.

use std::fs;
use std::path::Path;

use super::properties;

/// Calls `property` with every file of a corpus, and with every prefix of the shorter ones.
fn replay(target: &str, property: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut seeds = 0;
    for seed in fs::read_dir(&corpus).expect("a corpus for each target") {
        let path = seed.expect("readable").path();
        let bytes = fs::read(&path).expect("readable");
        println!("{}", path.display());
        property(&bytes);
        for end in 0..bytes.len().min(400) {
            property(&bytes[..end]);
        }
        seeds += 1;
    }
    assert!(seeds >= 10, "{target} has {seeds} seeds");
}

#[test]
fn http1() {
    replay("http1", properties::http1);
}

#[test]
fn sse() {
    replay("sse", properties::sse);
}

#[test]
fn json() {
    replay("json", properties::json);
}

#[test]
fn eventstream() {
    replay("eventstream", properties::eventstream);
}

#[test]
fn jsonarray() {
    replay("jsonarray", properties::jsonarray);
}

#[test]
fn websocket() {
    replay("websocket", properties::websocket);
}

#[test]
fn request() {
    replay("request", properties::request);
}

#[test]
fn answer() {
    replay("answer", properties::answer);
}

#[test]
fn stream() {
    replay("stream", properties::stream);
}

#[test]
fn vectors() {
    replay("vectors", properties::vectors);
}
