//! Sending an answer: at its pace, cut as the test wants it, and with the fault it has.

use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use super::books::Entry;
use super::exchange::StreamOpen;
use super::fault::{Broken, Fault, Point};
use super::latency::Latency;
use super::outbound::{Gone, Head, Outbound};
use super::problem::Problem;
use super::reply::{Frames, Reply, Stream, Whole, break_json, stretch};
use super::request::{Chunking, Fields, Knobs};
use super::route::Dialect;
use super::script::Step;
use super::settings::Settings;
use super::words::Rng;

/// How a delivery went.
pub(super) type Fate = Result<(), Gone>;

/// Everything that decides how an answer is sent.
pub(super) struct Delivery<'a> {
    pub(super) settings: &'a Settings,
    pub(super) streams_open: &'a AtomicI64,
    pub(super) knobs: &'a Knobs,
    pub(super) fault: Option<Fault>,
    pub(super) dialect: Dialect,
    pub(super) request_id: &'a str,
    pub(super) entry: &'a Entry,
    pub(super) rng: Rng,
}

/// How much one write takes when frames are joined.
const JOINED_BYTES: usize = 16 << 10;
/// A character of private use; its bytes are found again in the frame and made invalid.
const STAND_IN: &str = "\u{f8ff}";

impl Delivery<'_> {
    pub(super) async fn run(
        mut self,
        reply: Reply,
        fields: &Fields,
        out: &mut Outbound<'_>,
    ) -> Fate {
        match self.fault {
            Some(Fault::Drip(pause)) => out.drip(pause),
            Some(Fault::CloseAfter | Fault::GoAway) => out.close_after(false),
            Some(Fault::Interim) => out.interim().await?,
            Some(Fault::SlowHead(pause)) => out.slow_head(pause),
            _ => {}
        }
        match reply {
            Reply::Whole(whole) => self.whole(whole, out).await,
            Reply::Stream(stream) => self.stream(stream, out).await,
            Reply::Realtime { model } => self.realtime(&model, fields, out).await,
        }
    }

    pub(super) fn ttft(&mut self) -> Duration {
        self.knobs.ttft.unwrap_or_else(|| self.settings.ttft.sample(&mut self.rng))
    }

    pub(super) fn itl(&self) -> Latency {
        match self.knobs.itl {
            Some(Duration::ZERO) => Latency::Zero,
            Some(delay) => Latency::Fixed(delay),
            None => self.settings.itl,
        }
    }

    /// The header fields of the answer.
    fn headers(&self, mut headers: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
        headers.push((self.dialect.request_id_header(), self.request_id.to_owned()));
        if let Some(Fault::HugeHeaders(bytes)) = self.fault {
            // Lines of 4 KiB: below what parsers allow for one field, above it in sum.
            let mut left = bytes;
            while left > 0 {
                let length = left.min(4096);
                headers.push(("x-padding", "p".repeat(length)));
                left -= length;
            }
        }
        headers
    }

    pub(super) async fn whole(&mut self, mut whole: Whole, out: &mut Outbound<'_>) -> Fate {
        let headers = self.headers(std::mem::take(&mut whole.headers));
        let mut content_type = whole.content_type;
        self.spoil(&mut whole, &mut content_type);
        let tokens = whole.usage.map_or(0, |usage| usage.completion);
        self.entry.edit(|record| {
            record.status = whole.status;
            if let Some(usage) = whole.usage {
                record.prompt_tokens = usage.prompt;
                record.cached_tokens = usage.cached;
                record.completion_tokens_planned = tokens;
            }
        });
        let length = Some(whole.body.len());
        let head = Head { status: whole.status, content_type, headers: &headers, length };
        if self.knobs.early_head {
            out.head(&head).await?;
            out.flush().await?;
        }
        if whole.status < 400 {
            self.think(tokens, out).await?;
        }
        if !self.knobs.early_head {
            out.head(&head).await?;
        }
        if !self.half(&whole, out).await? {
            return Ok(());
        }
        self.send(&whole.body, out).await?;
        self.entry.sent_tokens(tokens);
        out.finish().await?;
        if self.fault == Some(Fault::ExtraBytes) {
            out.cut();
            out.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nextra").await?;
        }
        Ok(())
    }

    /// Waits as long as a model needs for a whole answer.
    async fn think(&mut self, tokens: u64, out: &mut Outbound<'_>) -> Fate {
        let mut pause = self.ttft();
        let itl = self.itl();
        if !itl.is_zero() {
            for _ in 0..tokens.min(100_000) {
                pause += itl.sample(&mut self.rng);
            }
        }
        if pause.is_zero() { Ok(()) } else { out.wait(Instant::now() + pause).await }
    }

    /// Faults that change a whole body.
    fn spoil(&self, whole: &mut Whole, content_type: &mut &'static str) {
        match self.fault {
            Some(Fault::EmptyBody | Fault::EmptyStream) => whole.body.clear(),
            Some(Fault::Malformed(Broken::Html)) => {
                whole.body = b"<html><body><h1>It works!</h1></body></html>".to_vec();
                *content_type = "text/html";
            }
            Some(Fault::Malformed(Broken::Utf8)) => {
                if let Some(byte) = whole.body.iter_mut().find(|byte| **byte == b' ') {
                    *byte = 0xff;
                }
            }
            Some(Fault::Malformed(Broken::Json | Broken::Chunk | Broken::Checksum)) => {
                whole.body.pop();
                whole.body.extend_from_slice(b"!!");
            }
            Some(Fault::Oversized(bytes)) => whole.body.resize(whole.body.len().max(bytes), b' '),
            Some(Fault::ErrorInStream(_)) => {
                let problem = Problem::status(500);
                whole.status = problem.status;
                whole.body = problem.body(self.dialect, self.request_id);
                whole.usage = None;
            }
            _ => {}
        }
    }

    /// Faults that end a whole answer in its middle; whether it goes on.
    async fn half(&mut self, whole: &Whole, out: &mut Outbound<'_>) -> Result<bool, Gone> {
        let middle = &whole.body[..whole.body.len() / 2];
        match self.fault {
            Some(Fault::Reset(Point::AfterHead)) => {
                out.flush().await?;
                out.reset();
            }
            Some(Fault::Reset(Point::MidStream(_))) => {
                self.send(middle, out).await?;
                out.flush().await?;
                out.reset();
            }
            Some(Fault::Cut(_) | Fault::Truncate(_)) => {
                self.send(middle, out).await?;
                out.flush().await?;
                out.cut();
            }
            Some(Fault::Stall(_)) => {
                self.send(middle, out).await?;
                return Err(out.wait_for_client().await);
            }
            _ => return Ok(true),
        }
        Ok(false)
    }

    async fn stream(&mut self, mut stream: Stream, out: &mut Outbound<'_>) -> Fate {
        let _open = StreamOpen::new(self.streams_open);
        let usage = stream.script.usage();
        self.entry.edit(|record| {
            record.status = 200;
            record.stream = true;
            record.prompt_tokens = usage.prompt;
            record.cached_tokens = usage.cached;
            record.completion_tokens_planned = usage.completion;
        });
        if matches!(self.fault, Some(Fault::Malformed(Broken::Html) | Fault::EmptyBody)) {
            let whole = Whole { content_type: stream.content_type, ..Whole::json("") };
            return self.whole(whole, out).await;
        }
        let headers = self.headers(vec![("cache-control", "no-cache".to_owned())]);
        let content_type = stream.content_type;
        out.head(&Head { status: 200, content_type, headers: &headers, length: None }).await?;
        if self.knobs.early_head {
            out.flush().await?;
        }
        let first = self.ttft();
        if !first.is_zero() {
            out.wait(Instant::now() + first).await?;
        }
        if self.fault == Some(Fault::Reset(Point::AfterHead)) {
            out.flush().await?;
            out.reset();
            return Ok(());
        }
        if self.fault == Some(Fault::EmptyStream) {
            return out.finish().await;
        }
        self.frames(&mut stream, out).await
    }

    async fn frames(&mut self, stream: &mut Stream, out: &mut Outbound<'_>) -> Fate {
        let (finish, usage) = (stream.script.finish(), stream.script.usage());
        let mut cutter = Cutter::new(self.knobs.chunking);
        let mut frames = Frames::default();
        stream.encoder.open(&mut frames);
        let mut at = 0_u64;
        let mut due = Instant::now();
        loop {
            if self.breaks_at(at) {
                self.send_frames(&frames, &mut cutter, out).await?;
                frames.clear();
                cutter.rest(self, out).await?;
                if !self.break_stream(stream, out).await? {
                    return Ok(());
                }
            }
            let Some((choice, step)) = stream.script.next() else { break };
            if at > 0 {
                self.pause(&mut due, &mut cutter, out).await?;
            }
            stream.encoder.step(choice, step, &mut frames);
            self.send_frames(&frames, &mut cutter, out).await?;
            frames.clear();
            self.entry.sent_tokens(1);
            at += 1;
        }
        if let Some(Fault::Truncate(_)) = self.fault {
            cutter.rest(self, out).await?;
            return out.finish().await;
        }
        stream.encoder.close(finish, &usage, &mut frames);
        self.send_frames(&frames, &mut cutter, out).await?;
        cutter.rest(self, out).await?;
        out.finish().await
    }

    /// Waits until the next token is due. Streams that do not wait take turns, token by token, as those
    /// of different providers would.
    async fn pause(
        &mut self,
        due: &mut Instant,
        cutter: &mut Cutter,
        out: &mut Outbound<'_>,
    ) -> Fate {
        let itl = self.itl();
        if !itl.is_zero() {
            *due += itl.sample(&mut self.rng);
            cutter.rest(self, out).await?;
            if *due > Instant::now() {
                return out.wait(*due).await;
            }
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Whether the fault strikes before the token with this number.
    fn breaks_at(&self, at: u64) -> bool {
        match self.fault {
            Some(
                Fault::ErrorInStream(after)
                | Fault::Stall(after)
                | Fault::Cut(after)
                | Fault::Truncate(after)
                | Fault::Reset(Point::MidStream(after)),
            ) => at == after,
            Some(Fault::Malformed(_) | Fault::Oversized(_)) => at == 1,
            _ => false,
        }
    }

    /// What goes wrong within a stream; whether it goes on.
    async fn break_stream(
        &mut self,
        stream: &mut Stream,
        out: &mut Outbound<'_>,
    ) -> Result<bool, Gone> {
        let mut frames = Frames::default();
        match self.fault {
            Some(Fault::ErrorInStream(_)) => {
                stream.encoder.error(&Problem::status(503), &mut frames);
                self.send(&frames.bytes, out).await?;
                out.finish().await?;
            }
            Some(Fault::Stall(_)) => {
                out.flush().await?;
                return Err(out.wait_for_client().await);
            }
            Some(Fault::Truncate(_)) => out.finish().await?,
            Some(Fault::Reset(_)) => {
                out.flush().await?;
                out.reset();
            }
            _ => {
                let Some((choice, mut step)) = stream.script.next() else { return Ok(true) };
                if self.fault == Some(Fault::Malformed(Broken::Utf8)) {
                    step = Step::Text(STAND_IN);
                }
                stream.encoder.step(choice, step, &mut frames);
                return self.bad_frame(stream, frames.bytes, out).await;
            }
        }
        Ok(false)
    }

    /// Sends a frame that is wrong in itself; whether the stream goes on.
    async fn bad_frame(
        &mut self,
        stream: &Stream,
        mut frame: Vec<u8>,
        out: &mut Outbound<'_>,
    ) -> Result<bool, Gone> {
        match self.fault {
            Some(Fault::Malformed(Broken::Utf8)) => {
                let stand_in = STAND_IN.as_bytes();
                let at = frame.windows(stand_in.len()).position(|window| window == stand_in);
                if let Some(at) = at {
                    frame[at] = 0xff;
                }
                stream.encoder.seal(&mut frame);
            }
            Some(Fault::Malformed(Broken::Checksum)) => stream.encoder.corrupt(&mut frame),
            Some(Fault::Malformed(Broken::Chunk)) => {
                out.raw(b"zz\r\n").await?;
                out.cut();
                return Ok(false);
            }
            Some(Fault::Malformed(_)) => {
                break_json(&mut frame);
                stream.encoder.seal(&mut frame);
            }
            Some(Fault::Oversized(bytes)) => {
                stretch(&mut frame, bytes);
                stream.encoder.seal(&mut frame);
            }
            _ => {
                self.send(&frame[..frame.len() / 2], out).await?;
                out.flush().await?;
                out.cut();
                return Ok(false);
            }
        }
        self.send(&frame, out).await?;
        self.entry.sent_tokens(1);
        Ok(true)
    }

    /// Sends bytes in one write and books them.
    async fn send(&self, bytes: &[u8], out: &mut Outbound<'_>) -> Fate {
        out.data(bytes).await?;
        self.entry.sent_bytes(bytes, self.knobs.record);
        Ok(())
    }

    async fn send_frames(
        &mut self,
        frames: &Frames,
        cutter: &mut Cutter,
        out: &mut Outbound<'_>,
    ) -> Fate {
        for frame in frames.iter() {
            match cutter.chunking {
                Chunking::Whole => self.send(frame, out).await?,
                Chunking::Bytes(size) => {
                    for piece in frame.chunks(size) {
                        self.send(piece, out).await?;
                        tokio::task::yield_now().await;
                    }
                }
                Chunking::Random => {
                    cutter.held.extend_from_slice(frame);
                    loop {
                        let size = 1 + self.rng.below(frame.len() as u64 * 3 / 2) as usize;
                        if size > cutter.held.len() {
                            break;
                        }
                        self.send(&cutter.held[..size], out).await?;
                        cutter.held.drain(..size);
                        tokio::task::yield_now().await;
                    }
                }
                Chunking::Joined => {
                    cutter.held.extend_from_slice(frame);
                    if cutter.held.len() >= JOINED_BYTES {
                        cutter.rest(self, out).await?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Holds what a chunking did not send yet.
struct Cutter {
    chunking: Chunking,
    held: Vec<u8>,
}

impl Cutter {
    fn new(chunking: Chunking) -> Self {
        Self { chunking, held: Vec::new() }
    }

    /// Sends what is held.
    async fn rest(&mut self, delivery: &Delivery<'_>, out: &mut Outbound<'_>) -> Fate {
        if !self.held.is_empty() {
            delivery.send(&self.held, out).await?;
            self.held.clear();
        }
        Ok(())
    }
}
