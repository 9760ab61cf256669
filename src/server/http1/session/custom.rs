//! What Pingora asks of a session of our own kind.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::UPGRADE;
use http::{HeaderMap, Version};
use pingora_core::Result;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::custom::{CustomMessageWrite, server};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_http::{RequestHeader, ResponseHeader};

use super::super::connection::Connection;
use super::super::head;
use super::{AHEAD_BYTES_MAX, Answer, Session, WHOLE_BYTES, WRITE_TIMEOUT, closed};
use crate::wire::http1::Body;

#[async_trait]
impl server::Session for Session {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        let large = matches!(self.body, Body::Length(left) if WHOLE_BYTES.contains(&left));
        if large || !self.whole.is_empty() {
            self.whole_body().await
        } else {
            self.next_part().await
        }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        // What is rarely needed is kept out of the state of every answer.
        if let Some(limit) = self.drain_timeout.filter(|_| !self.body.is_done()) {
            Box::pin(self.drain(limit)).await;
        }
        self.keep &= self.body.is_done();
        Ok(())
    }

    async fn write_response_header(
        &mut self,
        mut resp: Box<ResponseHeader>,
        end: bool,
    ) -> Result<()> {
        if let Some(rest) = self.write_head(&resp)? {
            Box::pin(self.write_rest(rest)).await?;
        }
        // Once it is written, nobody asks for more than its status, and a stream may be open for long.
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = resp.status;
        *resp = parts.into();
        self.response = Some(resp);
        if end { self.write_body(Bytes::new(), true).await } else { Ok(()) }
    }

    async fn write_response_header_ref(&mut self, resp: &ResponseHeader, end: bool) -> Result<()> {
        self.write_response_header(Box::new(resp.clone()), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        if data.is_empty() && !end {
            return Ok(());
        }
        // Written at once, nearly always: no state is made for the rest.
        match self.write_data(data, end)? {
            None => Ok(()),
            Some(rest) => Box::pin(self.write_rest(rest)).await,
        }
    }

    async fn write_trailers(&mut self, _trailers: HeaderMap) -> Result<()> {
        // No endpoint has any, and a client would have to say that it takes them.
        self.write_body(Bytes::new(), true).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        for task in tasks {
            let end = match task {
                HttpTask::Header(head, end) => {
                    self.write_response_header(head, end).await?;
                    end
                }
                HttpTask::Body(data, end) | HttpTask::UpgradedBody(data, end) => {
                    self.write_body(data.unwrap_or_default(), end).await?;
                    end
                }
                HttpTask::Trailer(_) | HttpTask::Done => {
                    self.write_body(Bytes::new(), true).await?;
                    true
                }
                HttpTask::Failed(error) => return Err(error),
            };
            if end {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout.unwrap_or(WRITE_TIMEOUT);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        Some(self.write_timeout)
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    fn request_summary(&self) -> String {
        format!("{} {}", self.request.method, self.request.uri.path())
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.response.as_deref()
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        if let Some(io) = &mut self.io {
            io.shutdown().await;
        }
        self.keep = false;
    }

    fn is_body_done(&mut self) -> bool {
        self.body.is_done()
    }

    /// Ends the answer, and gives the connection back where it can carry another request.
    async fn finish(&mut self) -> Result<()> {
        if self.answer != Answer::Done {
            self.write_body(Bytes::new(), true).await?;
        }
        if !self.body.is_done() {
            self.drain_request_body().await?;
        }
        // An answer that is shorter than announced has no end.
        if self.answer == Answer::Done
            && let Some(mut io) = self.io.take()
        {
            if self.keep {
                let read = std::mem::take(&mut self.read);
                *self.returned.lock() = Some(Connection { io, read });
            } else {
                io.shutdown().await;
            }
        }
        Ok(())
    }

    fn is_body_empty(&mut self) -> bool {
        self.body.is_done() && self.body_bytes_read == 0
    }

    /// Cancel safe.
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && !self.body.is_done() {
            return self.next_part().await;
        }
        // A request sent ahead waits for its turn (RFC 9112, section 9.3.2).
        while self.read.len() < AHEAD_BYTES_MAX {
            if !std::future::poll_fn(|cx| self.poll_fill(cx)).await? {
                return closed();
            }
        }
        std::future::pending().await
    }

    fn body_bytes_sent(&self) -> usize {
        self.body_bytes_sent
    }

    fn body_bytes_read(&self) -> usize {
        self.body_bytes_read
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Some(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        head::request(&self.request)
    }

    fn enable_retry_buffering(&mut self) {
        // The exchange keeps the whole body itself.
    }

    fn retry_buffer_truncated(&self) -> bool {
        true
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        None
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures_util::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>>
    {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<
            dyn futures_util::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static,
        >,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }

    fn is_upgrade_req(&self) -> bool {
        self.request.version == Version::HTTP_11 && self.request.headers.contains_key(UPGRADE)
    }

    fn was_upgraded(&self) -> bool {
        self.is_upgraded()
    }
}
