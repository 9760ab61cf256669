//! What becomes of many reads and writes in one turn of a worker.

use super::*;

#[test]
fn small_writes_go_out_together_when_the_worker_waits() {
    on_each(|_| async {
        let (near, mut far) = pair();
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
    runtime.expect("a runtime").block_on(async {
        let mut stream = Stream::new(near).expect("a stream");
        stream.write_all(b"now").await.expect("sent");
        let mut got = [0; 3];
        far.read_exact(&mut got).expect("it is there");
        assert_eq!(&got, b"now");
    });
}

#[test]
fn frames_of_a_sender_that_changes_its_pace_come_in_order() {
    const FRAMES: u32 = 30_000;
    let frame = |n: u32| {
        let length = if n % 5000 == 4999 { 20_000 } else { 20 + n % 200 };
        vec![(n % 251) as u8; length as usize]
    };
    let sent: Vec<u8> = (0..FRAMES).flat_map(frame).collect();
    on_each(|_| async {
        let (near, mut far) = pair();
        far.set_nodelay(true).expect("at once");
        let writing = std::thread::spawn(move || {
            for n in 0..FRAMES {
                far.write_all(&frame(n)).expect("taken");
                // Fast for a while, then frame by frame.
                if n / 3000 % 3 == 2 && n % 10 == 0 {
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        });
        let mut stream = Stream::new(near).expect("a stream");
        let mut got = Vec::with_capacity(sent.len());
        loop {
            let next = poll_fn(|cx| stream.poll_receive(cx)).await.expect("no error");
            if next.as_ref().is_empty() {
                break;
            }
            got.extend_from_slice(next.as_ref());
            if got.len() % 3 == 0 {
                tokio::task::yield_now().await;
            }
        }
        writing.join().expect("written");
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    });
}

#[test]
fn more_streams_receive_at_once_than_there_are_blocks() {
    on_each(|_| async {
        const STREAMS: usize = 300;
        let (mut streams, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..STREAMS {
            let (near, far) = pair();
            streams.push(Stream::new(near).expect("a stream"));
            peers.push(far);
        }
        // What waits for most of them is put into less memory, in which two of these pieces find room.
        let piece = |n: usize, round: u8| [[n as u8, round]; 200].concat();
        for _ in 0..2 {
            for round in 0..3 {
                for (n, peer) in peers.iter_mut().enumerate() {
                    peer.write_all(&piece(n, round)).expect("sent");
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            for (n, stream) in streams.iter_mut().enumerate() {
                let mut got = vec![0; 1200];
                stream.read_exact(&mut got).await.expect("read");
                assert_eq!(got, [piece(n, 0), piece(n, 1), piece(n, 2)].concat());
            }
        }
    });
}

#[test]
fn upstreams_are_heard_before_most_of_many_callers_and_every_caller_is() {
    const CALLERS: usize = 5 * CALLERS_PER_LOOK;
    on_each(|_| async {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = |mut stream: Stream, who: usize| {
            let heard = Arc::clone(&heard);
            tokio::spawn(async move {
                for _ in 0..2 {
                    stream.read_u8().await.expect("a byte");
                    heard.lock().push(who);
                }
            })
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let upstream = Stream::connect(address).await.expect("connected");
        let (mut peer, _) = listener.accept().expect("accepted");
        let (nears, mut fars): (Vec<_>, Vec<_>) = (0..CALLERS).map(|_| pair()).unzip();
        for far in fars.iter_mut().chain([&mut peer]) {
            far.write_all(b"a").expect("sent");
        }
        let mut reading: Vec<_> = nears
            .into_iter()
            .enumerate()
            .map(|(who, near)| hear(Stream::new(near).expect("a stream"), who))
            .collect();
        reading.push(hear(upstream, CALLERS));
        until(|| heard.lock().len() > CALLERS).await;
        let place = heard.lock().iter().position(|who| *who == CALLERS).expect("it was heard");
        assert!(place <= CALLERS_PER_LOOK, "{place}");
        // Once more, and nobody is forgotten.
        for far in fars.iter_mut().chain([&mut peer]) {
            far.write_all(b"b").expect("sent");
        }
        for reading in reading {
            reading.await.expect("no panic");
        }
        let mut heard = std::mem::take(&mut *heard.lock());
        heard.sort_unstable();
        assert!(heard.into_iter().eq((0..=CALLERS).flat_map(|who| [who, who])));
    });
}

#[test]
fn pieces_that_pile_up_are_read_together_and_in_order() {
    on_each(|_| async {
        let (near, mut far) = pair();
        far.set_nodelay(true).expect("at once");
        let mut stream = Stream::new(near).expect("a stream");
        // Small ones share a block; the large one does not fit behind them.
        let pieces = [&[1; 200][..], &[2; 3000], &[3; 1], &[4; 8000], &[5; 500]];
        for piece in pieces {
            far.write_all(piece).expect("sent");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let (mut got, mut reads) = (Vec::new(), 0);
        while got.len() < pieces.concat().len() {
            got.extend_from_slice(&stream.read_bytes().await.expect("read"));
            reads += 1;
        }
        assert_eq!(got, pieces.concat());
        assert!(reads <= 3, "{reads} reads");
    });
}

#[test]
fn a_worker_that_is_never_idle_sends_all_the_same() {
    on_each(|_| async {
        let (near, mut far) = pair();
        let (busy, mut busy_far) = pair();
        let mut stream = Stream::new(near).expect("a stream");
        let mut busy = Stream::new(busy).expect("a stream");
        let mut byte = [0];
        // The first read waits for the event queue, and so does end a turn.
        busy_far.write_all(&[1; 100]).expect("sent");
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
fn who_is_alone_sends_before_the_worker_waits() {
    on_each(|_| async {
        let (near, mut far) = pair();
        let mut stream = Stream::new(near).expect("a stream");
        far.set_nonblocking(true).expect("nonblocking");
        stream.write_all(b"kept").await.expect("kept");
        let mut got = [0; 8];
        assert!(far.read(&mut got).is_err(), "the worker has not waited");
        send_ahead();
        assert_eq!(far.read(&mut got).expect("sent"), 4);
    });
}

#[test]
fn of_many_at_most_the_first_sends_ahead() {
    const MANY: usize = 4;
    fn answered(fars: &[TcpStream]) -> usize {
        let has = |mut far: &TcpStream| far.read(&mut [0; 6]).is_ok_and(|count| count == 6);
        fars.iter().filter(|far| has(far)).count()
    }
    on_each(|_| async {
        let (nears, fars): (Vec<_>, Vec<_>) = (0..MANY).map(|_| pair()).unzip();
        for far in &fars {
            far.set_nonblocking(true).expect("nonblocking");
        }
        let (fars, early) = (Arc::new(fars), Arc::new(Mutex::new(Vec::new())));
        let answering = nears.into_iter().map(|near| {
            let mut stream = Stream::new(near).expect("a stream");
            let (fars, early) = (Arc::clone(&fars), Arc::clone(&early));
            tokio::spawn(async move {
                stream.read_u8().await.expect("a byte");
                stream.write_all(b"answer").await.expect("kept");
                send_ahead();
                early.lock().push(answered(&fars));
                stream
            })
        });
        let answering: Vec<_> = answering.collect();
        // All of them wait before anything comes, and all of it comes before the worker looks.
        tokio::time::sleep(Duration::from_millis(5)).await;
        for mut far in &fars[..] {
            far.write_all(b"?").expect("sent");
        }
        let mut streams = Vec::new();
        for task in answering {
            streams.push(task.await.expect("it answers"));
        }
        let early: usize = early.lock().iter().sum();
        assert!(early <= 1, "{early} were sent before the worker waited");
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(early + answered(&fars), MANY);
    });
}
