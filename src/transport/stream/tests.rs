mod turns;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::AsyncReadExt;

use super::*;
use crate::transport::{
    CALLERS_PER_LOOK, Drive, GATHERED_BYTES_MAX, Io, Listener, READS_PER_TURN_MAX, Runtime, choose,
    send_ahead,
};

/// Every drive that this machine has. Where it has no ring, that is said.
fn drives() -> Vec<Drive> {
    match choose(Io::IoUring) {
        Ok(_) => vec![Drive::Epoll, Drive::Ring],
        Err(reason) => {
            eprintln!("only epoll is tested: {reason}");
            vec![Drive::Epoll]
        }
    }
}

/// Runs the same on every drive, each on a thread of its own.
fn on_each<F: Future<Output = ()>>(test: impl Fn(Drive) -> F + Sync) {
    for drive in drives() {
        std::thread::scope(|scope| {
            let test = &test;
            scope
                .spawn(move || Runtime::new(drive).expect("a runtime").block_on(test(drive)))
                .join()
                .unwrap_or_else(|_| panic!("it fails with {drive}"));
        });
    }
}

/// Waits, while the runtime turns, until something is so.
async fn until(mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < end, "it never came to be");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

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
fn a_stream_that_is_dropped_while_frames_rush_in_closes_its_socket() {
    on_each(|_| async {
        let (near, mut far) = pair();
        far.set_nodelay(true).expect("at once");
        let writing = std::thread::spawn(move || while far.write_all(&[b'x'; 100]).is_ok() {});
        let mut stream = Stream::new(near).expect("a stream");
        let mut got = 0;
        while got < 3_000_000 {
            got += poll_fn(|cx| stream.poll_receive(cx)).await.expect("no error").as_ref().len();
        }
        drop(stream);
        until(|| writing.is_finished()).await;
    });
}

#[test]
fn who_waits_to_read_is_woken_although_silence_was_asked_for() {
    on_each(|_| async {
        let (near, mut far) = pair();
        let mut stream = Stream::new(near).expect("a stream");
        let saying = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            far.write_all(b"here").expect("sent");
            far
        });
        let read = poll_fn(|cx| {
            let read = stream.poll_read_bytes(cx);
            assert!(read.is_ready() || stream.is_silent());
            read
        });
        let began = Instant::now();
        let read = tokio::time::timeout(Duration::from_secs(5), read).await;
        assert_eq!(read.expect("read in time").expect("no error"), "here");
        // At the end of that time it is read by whoever was woken by that.
        assert!(began.elapsed() < Duration::from_secs(4), "nobody was woken");
        drop(saying.join().expect("said"));
    });
}

#[test]
fn a_slow_reader_gets_everything_in_order() {
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    on_each(|_| async {
        let (near, far) = pair();
        let count = sent.len();
        let reading = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            reader(far, count).join().expect("read")
        });
        let mut stream = Stream::new(near).expect("a stream");
        let (mut at, mut size) = (0, 1);
        while at < sent.len() {
            let end = (at + size).min(sent.len());
            stream.write_all(&sent[at..end]).await.expect("sent in time");
            (at, size) = (end, size * 7 % 99_991 + 1);
        }
        AsyncWriteExt::shutdown(&mut stream).await.expect("shut down");
        assert!(reading.join().expect("read") == sent);
    });
}

#[test]
fn a_fast_writer_waits_for_a_slow_reader() {
    on_each(|drive| async move {
        const BYTES: usize = 12_000_000;
        let (near, mut far) = pair();
        let writing = std::thread::spawn(move || {
            let sent: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
            far.write_all(&sent).expect("taken in the end");
            sent
        });
        let mut stream = Stream::new(near).expect("a stream");
        let (mut got, mut copied) = (Vec::new(), [0; 700]);
        while got.len() < BYTES {
            if got.len() % 3 == 0 {
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
            // Both ways to read see the same bytes.
            if got.len() % 2 == 0 {
                let bytes = stream.read_bytes().await.expect("read");
                assert!(!bytes.is_empty(), "it ends early with {drive}");
                got.extend_from_slice(&bytes);
            } else {
                let count = stream.read(&mut copied).await.expect("read");
                got.extend_from_slice(&copied[..count]);
            }
        }
        assert!(got == writing.join().expect("written"));
        assert!(stream.read_bytes().await.expect("the end").is_empty());
    });
}

#[test]
fn what_was_read_may_be_kept_for_long() {
    on_each(|_| async {
        const BYTES: usize = 40_000_000;
        let (near, mut far) = pair();
        let writing = std::thread::spawn(move || {
            for n in 0..BYTES / 4 {
                let number = u32::try_from(n).expect("small").to_le_bytes();
                if n % 4096 == 0 {
                    far.flush().expect("flushed");
                }
                NUMBERS.with_borrow_mut(|numbers: &mut Vec<u8>| {
                    numbers.extend_from_slice(&number);
                    if numbers.len() >= 60_000 || n + 1 == BYTES / 4 {
                        far.write_all(numbers).expect("taken");
                        numbers.clear();
                    }
                });
            }
        });
        let mut stream = Stream::new(near).expect("a stream");
        // More than the ring has blocks for.
        let (mut kept, mut count) = (Vec::new(), 0);
        while count < BYTES {
            let bytes = stream.read_bytes().await.expect("read");
            assert!(!bytes.is_empty());
            count += bytes.len();
            kept.push(bytes);
        }
        writing.join().expect("written");
        let whole = kept.concat();
        let right = whole
            .chunks_exact(4)
            .enumerate()
            .all(|(n, bytes)| bytes == u32::try_from(n).expect("small").to_le_bytes());
        assert!(right, "a block was written to while it was kept");
    });
}

thread_local! {
    static NUMBERS: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[test]
fn a_dropped_stream_sends_what_it_has_kept() {
    on_each(|_| async {
        let (near, far) = pair();
        // More than a socket takes at once, less than would be refused.
        let sent = vec![7; 6_000_000];
        let reading = reader(far, sent.len() + 4);
        let mut stream = Stream::new(near).expect("a stream");
        stream.write_all(&sent).await.expect("sent");
        stream.write_all(b"last").await.expect("kept");
        drop(stream);
        until(|| reading.is_finished()).await;
        assert!(reading.join().expect("read").ends_with(b"last"));
    });
}

#[test]
fn what_is_written_last_goes_out_when_the_runtime_ends() {
    for drive in drives() {
        let (near, mut far) = pair();
        std::thread::spawn(move || {
            Runtime::new(drive).expect("a runtime").block_on(async {
                let mut stream = Stream::new(near).expect("a stream");
                stream.write_all(b"bye").await.expect("kept");
                if drive == Drive::Epoll {
                    // A worker does it, see its end.
                    crate::transport::send_gathered();
                }
            });
        })
        .join()
        .expect("no panic");
        let mut got = Vec::new();
        far.read_to_end(&mut got).expect("closed");
        assert_eq!(got, b"bye", "with {drive}");
    }
}

#[test]
fn a_dropped_stream_closes_its_socket() {
    on_each(|_| async {
        for read_first in [false, true] {
            let (near, mut far) = pair();
            let mut stream = Stream::new(near).expect("a stream");
            far.write_all(b"x").expect("sent");
            if read_first {
                stream.read_bytes().await.expect("read");
            }
            far.set_nonblocking(true).expect("nonblocking");
            tokio::time::sleep(Duration::from_millis(2)).await;
            drop(stream);
            let mut got = [0];
            // The end, or a reset where something was not read.
            until(|| match far.read(&mut got) {
                Ok(count) => count == 0,
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            })
            .await;
        }
    });
}

#[test]
fn a_peer_that_is_gone_is_an_error_of_a_later_write() {
    on_each(|_| async {
        let (near, far) = pair();
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
fn a_reset_is_an_error_of_a_read() {
    on_each(|_| async {
        let (near, far) = pair();
        let mut stream = Stream::new(near).expect("a stream");
        let reset = async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("reset at close");
            drop(far);
        };
        let (read, ()) = tokio::join!(stream.read_bytes(), reset);
        assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_half_closed_peer_still_gets_its_answer() {
    on_each(|_| async {
        let (near, mut far) = pair();
        let mut stream = Stream::new(near).expect("a stream");
        far.write_all(b"question").expect("sent");
        far.shutdown(std::net::Shutdown::Write).expect("half closed");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.expect("read");
        assert_eq!(got, b"question");
        tokio::time::sleep(Duration::from_millis(2)).await;
        stream.write_all(b"answer").await.expect("kept");
        AsyncWriteExt::shutdown(&mut stream).await.expect("shut down");
        let reading = reader(far, 6);
        until(|| reading.is_finished()).await;
        assert_eq!(reading.join().expect("read"), b"answer");
    });
}

#[test]
fn silence_ends_with_data_and_with_the_end() {
    on_each(|_| async {
        let (near, mut far) = pair();
        let mut stream = Stream::new(near).expect("a stream");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(stream.is_silent());
        far.write_all(b"x").expect("sent");
        until(|| !stream.is_silent()).await;
        let mut got = [0; 8];
        assert_eq!(stream.read(&mut got).await.expect("read"), 1);
        assert!(stream.is_silent());
        drop(far);
        until(|| !stream.is_silent()).await;
        assert_eq!(stream.read(&mut got).await.expect("the end"), 0);
    });
}

#[test]
fn what_is_peeked_is_read_again() {
    on_each(|_| async {
        let (near, mut far) = pair();
        let mut stream = Stream::new(near).expect("a stream");
        far.write_all(b"P").expect("sent");
        assert_eq!(stream.peek(1).await.expect("peeked"), b"P");
        far.write_all(b"RI").expect("sent");
        assert_eq!(stream.peek(3).await.expect("peeked"), b"PRI");
        assert!(!stream.is_silent());
        let mut got = [0; 2];
        stream.read_exact(&mut got).await.expect("read");
        assert_eq!(&got, b"PR");
        assert_eq!(stream.read_bytes().await.expect("read"), "I");
        drop(far);
        assert_eq!(stream.peek(1).await.expect("the end"), b"");
    });
}

#[test]
fn a_read_that_is_given_up_loses_nothing() {
    on_each(|_| async {
        let (near, mut far) = pair();
        let mut stream = Stream::new(near).expect("a stream");
        let mut got = Vec::new();
        for n in 0..50_u8 {
            let read = tokio::time::timeout(Duration::from_micros(100), stream.read_bytes());
            if let Ok(bytes) = read.await {
                got.extend_from_slice(&bytes.expect("read"));
            }
            far.write_all(&[n]).expect("sent");
        }
        drop(far);
        stream.read_to_end(&mut got).await.expect("read");
        assert_eq!(got, (0..50).collect::<Vec<u8>>());
    });
}

#[test]
fn connections_are_made_and_accepted() {
    on_each(|_| async {
        let tcp = crate::transport::listen::bind(([127, 0, 0, 1], 0).into()).expect("bind");
        let address = tcp.local_addr().expect("address");
        let mut listener = Listener::new(tcp).expect("a listener");
        for _ in 0..20 {
            let (near, far) = tokio::join!(Stream::connect(address), listener.accept());
            let (mut near, mut far) =
                (near.expect("connected"), far.expect("on").expect("accepted"));
            near.write_all(&[7; GATHERED_BYTES_MAX]).await.expect("kept");
            near.write_all(b"end").await.expect("kept");
            let mut got = vec![0; GATHERED_BYTES_MAX + 3];
            far.read_exact(&mut got).await.expect("read");
            assert!(got.ends_with(b"\x07end"));
        }
        // What was accepted before it stopped is not lost.
        let waiting: Vec<_> =
            (0..5).map(|_| TcpStream::connect(address).expect("connected")).collect();
        tokio::time::sleep(Duration::from_millis(5)).await;
        listener.stop();
        let mut accepted = 0;
        while let Some(stream) = listener.accept().await {
            stream.expect("accepted");
            accepted += 1;
        }
        assert!(accepted <= waiting.len());
        assert!(listener.accept().await.is_none());
    });
}

#[test]
fn a_port_without_a_listener_refuses() {
    on_each(|_| async {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = tcp.local_addr().expect("address");
        drop(tcp);
        let refused = Stream::connect(address).await.map(drop).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused));
    });
}

#[test]
fn a_connect_that_is_given_up_leaves_nothing() {
    on_each(|_| async {
        // A backlog that is full answers nobody.
        let socket = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )
        .expect("a socket");
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&any.into()).expect("bound");
        socket.listen(0).expect("listening");
        let address = socket.local_addr().expect("address").as_socket().expect("an address");
        let mut filling = Vec::new();
        for _ in 0..8 {
            let connecting = Stream::connect(address);
            if let Ok(stream) = tokio::time::timeout(Duration::from_millis(20), connecting).await {
                filling.push(stream);
            }
        }
        assert!(filling.len() < 8, "the backlog was never full");
    });
}

#[test]
fn a_stream_on_another_thread_fails() {
    for drive in drives().into_iter().filter(|drive| *drive == Drive::Ring) {
        let (near, _far) = pair();
        let stream = Runtime::new(drive).expect("a runtime").block_on(async {
            let mut stream = Stream::new(near).expect("a stream");
            stream.write_all(b"x").await.expect("kept");
            stream
        });
        // The ring is gone, and with it the socket.
        let mut stream = stream;
        let read = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(stream.read_bytes());
        assert!(read.is_err());
    }
}
