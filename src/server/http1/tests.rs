use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::wire::fields::Fields;

/// Answers by the path that is asked for.
struct Echo;

impl Answer for Echo {
    async fn answer(&self, session: downstream::Session<'_>) -> bool {
        echo(session).await.is_ok()
    }
}

fn sized(bytes: usize) -> Fields {
    Fields::from_iter([("content-length", &*bytes.to_string())])
}

async fn echo(mut session: downstream::Session<'_>) -> pingora_core::Result<()> {
    let ok = StatusCode::OK;
    let path = session.take_head().target.path().to_owned();
    match path.as_str() {
        "/body" => {
            let mut body = Vec::new();
            while let Some(part) = session.read_body().await? {
                body.extend_from_slice(&part);
            }
            session.write_head(ok, &sized(body.len())).await?;
            session.write_body(body.into(), true).await
        }
        "/stream" => {
            session.write_head(ok, &Fields::default()).await?;
            for part in ["one ", "two"] {
                session.write_body(Bytes::from(part), false).await?;
            }
            session.write_body(Bytes::from(vec![b'x'; 20_000]), true).await
        }
        "/short" => {
            session.write_head(ok, &sized(10)).await?;
            session.write_body(Bytes::from_static(b"12345"), false).await
        }
        "/upgrade" => {
            let headers = Fields::from_iter([("upgrade", "echo")]);
            session.write_head(StatusCode::SWITCHING_PROTOCOLS, &headers).await?;
            while let Some(part) = session.read_body().await? {
                session.write_body(part, false).await?;
            }
            Ok(())
        }
        "/slow" => {
            sleep(Duration::from_secs(40)).await;
            session.write_head(ok, &sized(4)).await?;
            session.write_body(Bytes::from_static(b"slow"), true).await
        }
        "/wait" => {
            let gone = session.gone().await;
            assert!(gone.is_err(), "a client that is there is not noticed");
            gone
        }
        _ => {
            session.set_drain_timeout(Duration::from_secs(1));
            session.write_head(ok, &sized(path.len())).await?;
            session.write_body(path.into(), true).await
        }
    }
}

/// A client and, in the background, the server that it talks to.
fn connected() -> (DuplexStream, tokio::task::JoinHandle<()>, watch::Sender<bool>) {
    let (client, server) = duplex(256 * 1024);
    let (stop, shutdown) = watch::channel(false);
    let serving = tokio::spawn(async move {
        let http1 = Http1::new(Echo);
        http1.serve(Io::Secured(Box::new(server)), Duration::from_secs(30), &shutdown).await;
    });
    (client, serving, stop)
}

/// All that comes back for these pieces from a client that sends nothing more, without dates.
async fn exchange(pieces: &[&[u8]]) -> String {
    let (mut client, serving, _stop) = connected();
    for piece in pieces {
        client.write_all(piece).await.expect("taken");
        tokio::task::yield_now().await;
    }
    client.shutdown().await.expect("half closed");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("an end");
    serving.await.expect("no panic");
    let text = String::from_utf8(answer).expect("text");
    let dates = regex::Regex::new("(?m)^(date: .*|x-request-id: .*)\r\n").expect("a constant");
    dates.replace_all(&text, "").into_owned()
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_turn() {
    let both = b"GET /a HTTP/1.1\r\n\r\nPOST /body HTTP/1.1\r\ncontent-length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n\r\n";
    assert_eq!(exchange(&[both]).await, answer("/a") + &answer("hi") + &answer("/b"));
}

#[tokio::test]
async fn any_cutting_of_a_request_is_the_same_request() {
    let request: &[u8] = b"POST /body HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                           3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nt: 1\r\n\r\n";
    for cut in 1..request.len() {
        let (left, right) = request.split_at(cut);
        assert_eq!(exchange(&[left, right]).await, answer("abcde"), "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = request.chunks(1).collect();
    assert_eq!(exchange(&bytes).await, answer("abcde"));
}

#[tokio::test]
async fn a_stream_is_chunked_or_ends_with_its_connection() {
    let large = "x".repeat(20_000);
    let chunked = exchange(&[b"GET /stream HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n"]).await;
    let body = format!("4\r\none \r\n3\r\ntwo\r\n4e20\r\n{large}\r\n0\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(chunked, format!("{head}{body}{}", answer("/a")));
    let old = exchange(&[b"GET /stream HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"]).await;
    assert_eq!(old, format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\none two{large}"));
}

#[tokio::test]
async fn a_connection_is_kept_as_the_client_says() {
    let then = "GET /b HTTP/1.1\r\n\r\n";
    for (request, said, kept) in [
        ("GET /a HTTP/1.1\r\nconnection: close\r\n\r\n", "connection: close\r\n", false),
        ("GET /a HTTP/1.0\r\n\r\n", "connection: close\r\n", false),
        ("GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", "connection: keep-alive\r\n", true),
    ] {
        let first = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{said}\r\n/a");
        let second = if kept { answer("/b") } else { String::new() };
        let both = format!("{request}{then}");
        assert_eq!(exchange(&[both.as_bytes()]).await, first + &second, "{request}");
    }
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let head = exchange(&[b"HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"]).await;
    assert_eq!(head, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n".to_owned() + &answer("/b"));
}

#[tokio::test]
async fn a_body_that_nobody_wanted_is_drained_where_it_is_small() {
    let request = |bytes: usize| {
        let body = "x".repeat(bytes);
        format!("POST /a HTTP/1.1\r\ncontent-length: {bytes}\r\n\r\n{body}GET /b HTTP/1.1\r\n\r\n")
    };
    let small = exchange(&[request(1000).as_bytes()]).await;
    assert_eq!(small, answer("/a") + &answer("/b"));
    let large = exchange(&[request(100_000).as_bytes()]).await;
    assert_eq!(large, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/a");
}

/// Seen with a body of 70 MB against a bound of 64 MiB: closing while the client still sends resets the
/// connection, and the answer that says what is wrong is lost.
#[tokio::test]
async fn a_client_that_sends_all_of_a_large_body_first_reads_its_answer() {
    let (mut client, serving, _stop) = connected();
    let bytes = 4 * 1024 * 1024;
    let head = format!("POST /a HTTP/1.1\r\ncontent-length: {bytes}\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("taken");
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..bytes / piece.len() {
        client.write_all(&piece).await.expect("taken, though nobody wants it");
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("an end");
    assert!(answer.ends_with("connection: close\r\n\r\n/a"), "{answer}");
    serving.await.expect("no panic");
}

#[tokio::test]
async fn an_answer_that_is_cut_ends_its_connection() {
    let cut = exchange(&[b"GET /short HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n"]).await;
    assert_eq!(cut, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_reason() {
    for (request, status, reason) in [
        ("CONNECT a:1 HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "Not allowed: CONNECT."),
        ("nonsense\r\n\r\n", "400 Bad Request", "not valid HTTP/1.1"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400 Bad Request", "more than one way"),
    ] {
        let refusal = exchange(&[request.as_bytes(), b"GET /a HTTP/1.1\r\n\r\n"]).await;
        assert!(refusal.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{refusal}");
        assert!(refusal.contains(reason) && refusal.contains("connection: close"), "{refusal}");
        assert_eq!(refusal.matches("HTTP/1.1 ").count(), 1, "nothing after it is answered");
    }
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let (mut client, serving, _stop) = connected();
    let request = b"GET /upgrade HTTP/1.1\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nearly";
    client.write_all(request).await.expect("taken");
    let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: Upgrade\r\n\r\n";
    let mut answer = vec![0; head.len() + "early".len()];
    client.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, [head.as_bytes(), b"early"].concat());
    client.write_all(b"later").await.expect("taken");
    let mut later = [0; 5];
    client.read_exact(&mut later).await.expect("an echo");
    assert_eq!(&later, b"later");
    drop(client);
    serving.await.expect("no panic");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_also_behind_a_request_sent_ahead() {
    for request in
        ["GET /wait HTTP/1.1\r\n\r\n", "GET /wait HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n"]
    {
        let (mut client, serving, _stop) = connected();
        client.write_all(request.as_bytes()).await.expect("taken");
        tokio::task::yield_now().await;
        drop(client);
        serving.await.expect("no panic");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_in_has_one_time_for_all_of_it() {
    let (mut client, serving, _stop) = connected();
    let started = Instant::now();
    let mut sent = 0;
    while client.write_all(b"a").await.is_ok() && sent < 200 {
        sent += 1;
        sleep(Duration::from_secs(1)).await;
        if serving.is_finished() {
            break;
        }
    }
    assert!(started.elapsed() < HEAD_TIME + Duration::from_secs(5), "{:?}", started.elapsed());
    serving.await.expect("no panic");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("an end");
    assert!(answer.starts_with(b"HTTP/1.1 408 Request Timeout\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_a_waiting_connection_send_once_more() {
    let (mut client, serving, stop) = connected();
    client.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.expect("taken");
    sleep(Duration::from_millis(1)).await;
    stop.send(true).expect("a server");
    sleep(IDLE_GRACE / 2).await;
    client.write_all(b"GET /b HTTP/1.1\r\n\r\n").await.expect("taken");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("an end");
    serving.await.expect("no panic");
    let text = String::from_utf8(answer).expect("text");
    assert_eq!(text.matches("connection: close").count(), 1, "{text}");
    assert!(text.ends_with("/b"), "{text}");
}

/// What an open stream holds of its own, beside its buffers.
#[test]
fn the_state_of_a_request_is_small() {
    fn bytes<F: Future>(
        _: impl FnOnce(&'static Http1<Gateway>, Connection, &'static ShutdownWatch) -> F,
    ) -> usize {
        size_of::<F>()
    }
    let request = bytes(Http1::request);
    assert!(request <= 5 * 1024, "{request}");
}

/// What wakes a connection while it answers is not lost: its idle time that runs out, and a drain.
#[tokio::test(start_paused = true)]
async fn what_happens_while_a_request_is_answered_is_known_behind_it() {
    for drains in [false, true] {
        let (mut client, serving, stop) = connected();
        let started = Instant::now();
        for (path, body) in [("/a", "/a"), ("/slow", "slow")] {
            let request = format!("GET {path} HTTP/1.1\r\n\r\n");
            client.write_all(request.as_bytes()).await.expect("taken");
            if path == "/slow" && drains {
                sleep(Duration::from_secs(1)).await;
                stop.send(true).expect("it listens");
            }
            let mut answer = Vec::new();
            while !answer.ends_with(body.as_bytes()) {
                assert!(client.read_buf(&mut answer).await.expect("an answer") > 0);
            }
        }
        assert_eq!(started.elapsed().as_secs(), 40);
        serving.await.expect("no panic");
        // Idle for so long, or for no longer than a drain lets it be.
        let most = if drains { 46 } else { 72 };
        assert!(started.elapsed() <= Duration::from_secs(most), "{:?}", started.elapsed());
        assert!(drains || started.elapsed() >= Duration::from_secs(69));
    }
}
