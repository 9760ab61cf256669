//! One request over cleartext HTTP/2, read until enough of the answer is there, then given up.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::{Framing, Mark, Scanner, Shape};

/// How long a connection is kept after its stream was reset, so that the reset gets out.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

/// What there was of an answer when it was given up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Left {
    /// Frames with content that had come.
    pub content: u32,
    /// The moment it was given up, in microseconds since 1970.
    pub at_unix_us: u64,
}

/// Sends a request, waits for `content` frames with content (or, when that is 0, for `wait`), and
/// resets the stream; the connection stays.
pub fn ask_and_leave(
    address: SocketAddr,
    shape: &Shape,
    content: u32,
    wait: Duration,
    now_unix_us: fn() -> u64,
) -> Result<Left, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let limit = wait + Duration::from_secs(10);
        match tokio::time::timeout(limit, exchange(address, shape, content, wait, now_unix_us))
            .await
        {
            Ok(left) => left,
            Err(_) => Err("the answer did not come far enough".into()),
        }
    })
}

async fn exchange(
    address: SocketAddr,
    shape: &Shape,
    content: u32,
    wait: Duration,
    now_unix_us: fn() -> u64,
) -> Result<Left, String> {
    let explain = |error: h2::Error| format!("HTTP/2: {error}");
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (mut client, connection) = h2::client::handshake(stream).await.map_err(explain)?;
    let mut connection = tokio::spawn(connection);
    poll_fn(|cx| client.poll_ready(cx)).await.map_err(explain)?;
    let parts = shape.parts();
    let mut request = http::Request::builder()
        .method(parts.method)
        .uri(format!("http://{address}{}", parts.path))
        .version(http::Version::HTTP_2);
    for (name, value) in &parts.headers {
        request = request.header(name, value);
    }
    let request = request.body(()).map_err(|error| error.to_string())?;
    let (response, mut body) =
        client.send_request(request, parts.body.is_empty()).map_err(explain)?;
    if !parts.body.is_empty() {
        body.send_data(Bytes::from(parts.body), true).map_err(explain)?;
    }
    let mut left = Left::default();
    if content == 0 {
        // Dropping the response in flight resets the stream.
        let _ = tokio::time::timeout(wait, response).await;
    } else {
        let mut response = response.await.map_err(explain)?;
        let kind = response.headers().get(http::header::CONTENT_TYPE);
        let framing = kind.and_then(|kind| kind.to_str().ok()).map_or(Framing::Whole, Framing::of);
        let mut scanner = Scanner::new(shape.endpoint, framing);
        while left.content < content {
            let data = response.body_mut().data().await.ok_or("the stream ended early")?;
            let data = data.map_err(explain)?;
            let _ = response.body_mut().flow_control().release_capacity(data.len());
            scanner.push(&data, |mark, _| left.content += u32::from(mark == Mark::Content));
        }
    }
    drop(body);
    left.at_unix_us = now_unix_us();
    let _ = tokio::time::timeout(FLUSH_WAIT, &mut connection).await;
    connection.abort();
    Ok(left)
}
