//! HTTP/2 in clear text with prior knowledge. The same answers as over HTTP/1.1; faults that need a
//! broken byte stream become stream resets.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep_until};

use super::exchange;
use super::outbound::{Gone, Head, Outbound};
use super::request::{Fields, Request};
use super::shared::Shared;

/// Flow-control windows: large enough that the mock is never what a test waits for.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// The largest request head.
const HEAD_BYTES_MAX: u32 = 1 << 20;
/// How long queued frames take to be written to a connection whose window is open.
const TIME_TO_WRITE: Duration = Duration::from_millis(2);
/// How long streams may take to notice that their connection is gone.
const TIME_TO_END: Duration = Duration::from_secs(1);
/// Streams at the same time on one connection.
const STREAMS_MAX: u32 = 10_000;

/// Serves one connection whose first bytes were already read.
pub(super) async fn serve(io: TcpStream, read: Bytes, shared: Arc<Shared>) -> io::Result<()> {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_send_buffer_size(1 << 20);
    let mut connection =
        builder.handshake::<_, Bytes>(Rewound { io, read }).await.map_err(io::Error::other)?;
    let mut streams = JoinSet::new();
    let result = loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    streams.spawn(one(request, respond, Arc::clone(&shared)));
                }
                Some(Err(error)) => break Err(io::Error::other(error)),
                None => break Ok(()),
            },
            Some(ended) = streams.join_next(), if !streams.is_empty() => {
                if matches!(ended, Ok(After::GoAway)) {
                    connection.graceful_shutdown();
                }
            }
        }
    };
    // The streams see that their connection is gone, and book it.
    drop(connection);
    let ending = async { while streams.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(TIME_TO_END, ending).await;
    result
}

/// What a stream wants of its connection when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Nothing,
    GoAway,
}

async fn one(
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
    shared: Arc<Shared>,
) -> After {
    let (head, mut incoming) = request.into_parts();
    let mut fields = Fields::default();
    let query = head.uri.query().map(str::to_owned);
    fields.note_query(query.as_deref());
    for (name, value) in &head.headers {
        fields.note(name.as_str(), value.as_bytes());
    }
    fields.finish();
    let recorded = if fields.knobs.record { record(&head) } else { Vec::new() };
    let path = head.uri.path().to_owned();
    let mut request = Request { method: head.method, path, query, fields, body: Bytes::new() };
    let mut out = Outbound::H2(Out::new(respond));
    if let Some(status) = shared.early_response(&request) {
        exchange::early(&shared, &request, status, &mut out).await;
        return After::Nothing;
    }
    match read_body(&mut incoming, shared.settings.body_bytes_max).await {
        Ok(body) => request.body = body,
        Err(BodyError::Gone) => {
            exchange::lost(&shared, &request, out.protocol());
            return After::Nothing;
        }
        Err(BodyError::TooLarge) => {
            exchange::early(&shared, &request, 413, &mut out).await;
            return After::Nothing;
        }
    }
    exchange::run(&shared, &request, recorded, &mut out).await;
    match out {
        Outbound::H2(out) if out.last => After::GoAway,
        _ => After::Nothing,
    }
}

fn record(head: &http::request::Parts) -> Vec<(String, String)> {
    let pseudo = [
        (":method", head.method.to_string()),
        (":scheme", head.uri.scheme_str().unwrap_or_default().to_owned()),
        (":authority", head.uri.authority().map(ToString::to_string).unwrap_or_default()),
        (":path", head.uri.path_and_query().map(ToString::to_string).unwrap_or_default()),
    ];
    let ordinary = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    pseudo.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(ordinary).collect()
}

enum BodyError {
    Gone,
    TooLarge,
}

async fn read_body(incoming: &mut RecvStream, bytes_max: usize) -> Result<Bytes, BodyError> {
    let mut body = BytesMut::new();
    let mut first = None;
    while let Some(chunk) = incoming.data().await {
        let chunk = chunk.map_err(|_| BodyError::Gone)?;
        // What was taken may be sent again by the peer.
        let _ = incoming.flow_control().release_capacity(chunk.len());
        if chunk.len() > bytes_max - body.len() {
            return Err(BodyError::TooLarge);
        }
        match first.take() {
            None if body.is_empty() => first = Some(chunk),
            None => body.extend_from_slice(&chunk),
            Some(begin) => {
                body.extend_from_slice(&begin);
                body.extend_from_slice(&chunk);
            }
        }
    }
    Ok(first.unwrap_or_else(|| body.freeze()))
}

/// The way back over one stream.
pub(super) struct Out {
    respond: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
    over: bool,
    /// Whether the connection should end after this stream.
    last: bool,
    pub(super) drip: Option<Duration>,
    /// A pause before the head; HTTP/2 has no half of a head.
    pub(super) slow_head: Option<Duration>,
    pub(super) last_write: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Out {
    fn new(respond: SendResponse<Bytes>) -> Self {
        Self {
            respond,
            stream: None,
            over: false,
            last: false,
            drip: None,
            slow_head: None,
            last_write: None,
            sleep: None,
        }
    }

    pub(super) async fn head(&mut self, head: &Head<'_>) -> Result<(), Gone> {
        if let Some(pause) = self.slow_head.take() {
            self.wait(Instant::now() + pause).await?;
        }
        let mut response = Response::new(());
        *response.status_mut() =
            StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fields = response.headers_mut();
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                fields.append(HeaderName::from_static(name), value);
            }
        };
        put("content-type", head.content_type);
        for (name, value) in head.headers {
            put(name, value);
        }
        if let Some(length) = head.length {
            put("content-length", &length.to_string());
        }
        self.stream = Some(self.respond.send_response(response, false).map_err(|_| Gone)?);
        self.last_write = Some(Instant::now());
        Ok(())
    }

    pub(super) async fn data(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let Some(pause) = self.drip else { return self.send(Bytes::copy_from_slice(bytes)).await };
        for byte in bytes {
            self.send(Bytes::copy_from_slice(std::slice::from_ref(byte))).await?;
            self.wait(Instant::now() + pause).await?;
        }
        Ok(())
    }

    async fn send(&mut self, mut bytes: Bytes) -> Result<(), Gone> {
        let stream = self.stream.as_mut().ok_or(Gone)?;
        while !bytes.is_empty() {
            stream.reserve_capacity(bytes.len());
            let room = poll_fn(|cx| {
                if stream.poll_reset(cx).is_ready() {
                    return Poll::Ready(None);
                }
                stream.poll_capacity(cx)
            })
            .await;
            let Some(Ok(room)) = room else { return Err(Gone) };
            let piece = bytes.split_to(room.min(bytes.len()));
            stream.send_data(piece, false).map_err(|_| Gone)?;
        }
        self.last_write = Some(Instant::now());
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Gone> {
        self.over = true;
        let stream = self.stream.as_mut().ok_or(Gone)?;
        stream.send_data(Bytes::new(), true).map_err(|_| Gone)
    }

    /// Lets the connection's own task write what is queued: a reset would throw it away, and nothing
    /// tells when it is written.
    pub(super) async fn settle(&mut self) {
        tokio::time::sleep(TIME_TO_WRITE).await;
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.over = true;
        match &mut self.stream {
            Some(stream) => stream.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    pub(super) fn close_after(&mut self) {
        self.last = true;
    }

    pub(super) async fn wait(&mut self, until: Instant) -> Result<(), Gone> {
        let mut sleep = self.sleep.take().unwrap_or_else(|| Box::pin(sleep_until(until.into())));
        sleep.as_mut().reset(until.into());
        let result = poll_fn(|cx| {
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.poll_gone(cx).map(Err)
        })
        .await;
        self.sleep = Some(sleep);
        result
    }

    pub(super) async fn gone(&mut self) -> Gone {
        poll_fn(|cx| self.poll_gone(cx)).await
    }

    /// Ready when the client reset the stream or the connection is over.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        match &mut self.stream {
            Some(stream) => stream.poll_reset(cx).map(|_| Gone),
            None => self.respond.poll_reset(cx).map(|_| Gone),
        }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if !self.over {
            self.reset(Reason::INTERNAL_ERROR);
        }
    }
}

/// A connection whose first bytes are read once more.
struct Rewound {
    io: TcpStream,
    read: Bytes,
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let count = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
