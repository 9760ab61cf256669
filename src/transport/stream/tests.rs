use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::*;
use crate::transport::runtime;

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (far, _) = listener.accept().expect("accept");
    far.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    (near, far)
}

/// Reads `count` bytes on a thread of its own.
fn reader(mut far: TcpStream, count: usize) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut got = vec![0; count];
        far.read_exact(&mut got).expect("all of it");
        got
    })
}

#[test]
fn small_writes_go_out_together_when_the_worker_waits() {
    let (near, mut far) = pair();
    runtime().expect("a runtime").block_on(async {
        let mut stream = Stream::new(near).expect("a stream");
        for piece in [&b"head"[..], b", ", b"body"] {
            stream.write_all(piece).await.expect("kept");
            stream.flush().await.expect("nothing to wait for");
        }
        far.set_nonblocking(true).expect("nonblocking");
        let mut got = [0; 32];
        let early = far.read(&mut got).map_err(|error| error.kind());
        assert_eq!(early, Err(io::ErrorKind::WouldBlock), "nothing is sent before the turn ends");
        tokio::time::sleep(Duration::from_millis(1)).await;
        let count = far.read(&mut got).expect("one packet");
        assert_eq!(&got[..count], b"head, body");
    });
}

#[test]
fn without_a_turn_to_end_writes_go_out_at_once() {
    let (near, mut far) = pair();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Another thread, since this one may have served a runtime that gathers.
    std::thread::spawn(move || {
        runtime.expect("a runtime").block_on(async {
            let mut stream = Stream::new(near).expect("a stream");
            stream.write_all(b"now").await.expect("sent");
            let mut got = [0; 3];
            far.read_exact(&mut got).expect("it is there");
            assert_eq!(&got, b"now");
        });
    })
    .join()
    .expect("no panic");
}

#[test]
fn a_slow_reader_gets_everything_in_order() {
    let (near, far) = pair();
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let reading = {
        let count = sent.len();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            reader(far, count).join().expect("read")
        })
    };
    runtime().expect("a runtime").block_on(async {
        let mut stream = Stream::new(near).expect("a stream");
        let (mut at, mut size) = (0, 1);
        while at < sent.len() {
            let end = (at + size).min(sent.len());
            stream.write_all(&sent[at..end]).await.expect("sent in time");
            (at, size) = (end, size * 7 % 99_991 + 1);
        }
        AsyncWriteExt::shutdown(&mut stream).await.expect("shut down");
    });
    assert!(reading.join().expect("read") == sent);
}

#[test]
fn a_dropped_stream_sends_what_it_has_kept() {
    let (near, far) = pair();
    // More than a socket takes at once, less than would be refused.
    let sent = vec![7; 6_000_000];
    let reading = reader(far, sent.len() + 4);
    runtime().expect("a runtime").block_on(async {
        let mut stream = Stream::new(near).expect("a stream");
        stream.write_all(&sent).await.expect("sent");
        stream.write_all(b"last").await.expect("kept");
        drop(stream);
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    assert!(reading.join().expect("read").ends_with(b"last"));
}

#[test]
fn a_worker_that_is_never_idle_sends_all_the_same() {
    let (near, mut far) = pair();
    let (busy, mut busy_far) = pair();
    runtime().expect("a runtime").block_on(async {
        let mut stream = Stream::new(near).expect("a stream");
        let mut busy = Stream::new(busy).expect("a stream");
        let mut byte = [0];
        // The first read waits for the event queue, and so does end a turn.
        Write::write_all(&mut busy_far, &[1; 100]).expect("sent");
        busy.read_exact(&mut byte).await.expect("read");
        stream.write_all(b"out").await.expect("kept");
        for _ in 0..=READS_PER_TURN_MAX {
            busy.read_exact(&mut byte).await.expect("read");
        }
        far.set_nonblocking(true).expect("nonblocking");
        let mut got = [0; 3];
        far.read_exact(&mut got).expect("it was sent although nothing waited");
    });
}

#[test]
fn a_peer_that_is_gone_is_an_error_of_a_later_write() {
    let (near, far) = pair();
    runtime().expect("a runtime").block_on(async {
        let mut stream = Stream::new(near).expect("a stream");
        SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("reset at close");
        drop(far);
        let mut failed = false;
        for _ in 0..100 {
            failed = stream.write_all(b"anybody?").await.is_err();
            if failed {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(failed);
    });
}

#[test]
fn silence_ends_with_data_and_with_the_end() {
    let (near, mut far) = pair();
    runtime().expect("a runtime").block_on(async {
        let mut stream = Stream::new(near).expect("a stream");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(stream.is_silent());
        Write::write_all(&mut far, b"x").expect("sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!stream.is_silent());
        let mut got = [0; 8];
        assert_eq!(stream.read(&mut got).await.expect("read"), 1);
        assert!(stream.is_silent());
        drop(far);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!stream.is_silent());
        assert_eq!(stream.read(&mut got).await.expect("the end"), 0);
    });
}
