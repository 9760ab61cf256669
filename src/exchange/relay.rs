//! From an answer that is certain to its end: frames to the meter and to the client, as they arrive.
//!
//! Complete frames are forwarded at once and as the bytes they came in; only an incomplete one waits
//! for its rest. So whatever happens, the client stands at a frame boundary, and a stream that breaks
//! can be ended well-formed with an error that its SDK raises.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Sleep, sleep_until};

use super::End;
use super::admit::Admitted;
use super::attempt::{Answer, Ready, Stream, frame_error};
use super::guard::Guard;
use super::head::Head;
use super::kept::Keeping;
use super::respond;
use super::settle::Settlement;
use crate::clock::{self, Instant};
use crate::dialect::{self, Ending, Forward, StreamError, UsageOption};
use crate::error::{Error, Kind};
use crate::meter::Counters;
use crate::pool::{Outcome, Pool};
use crate::transport::downstream::Session;
use crate::transport::send_ahead;
use crate::transport::upstream::{self, Run, Upstreams};
use crate::wire::frame::{self, Framing};
use crate::wire::http1;

/// Resolves when the client is gone.
pub(super) async fn client_gone(session: &mut Session<'_>) {
    // Ok means bytes of a next request: the client is there.
    if session.gone().await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Relays the answer.
///
/// What is large stays where it is, in its box: what an async function is given by value, its state
/// holds twice.
pub(super) async fn run(
    upstreams: &Upstreams,
    session: &mut Session<'_>,
    (head, admitted): (&Head, &Admitted<'_>),
    ready: Box<Ready<'_>>,
    settlement: &mut Settlement<'_>,
) -> End {
    let Ready { pool, lease, first_token, mut probed } = *ready;
    settlement.answering(pool, &lease, probed.model.take(), first_token);
    let mut keeping = None;
    if let Some(translation) = probed.translation {
        settlement.translated(translation.pair, translation.dropped);
        keeping = translation.keeping;
    }
    if let Some(dropped) = probed.dropped {
        settlement.left_out(dropped);
    }
    let body = match probed.answer {
        Answer::Whole(body) => {
            let dialect = lease.target().provider.dialect;
            settlement.body_usage(head.read_as, dialect, &body, probed.counters);
            body
        }
        Answer::Translated(answer) => {
            let (dialect, endpoint) = settlement.read_as(lease.target(), head);
            settlement.body_usage(endpoint, dialect, &answer.theirs, probed.counters);
            settlement.dropped(answer.dropped);
            if let Some(keeping) = keeping {
                keeping.keep(answer.ours.clone());
            }
            answer.ours
        }
        Answer::Stream(mut stream) => {
            let guarded = admitted.guarded.then_some(admitted.plan.admission);
            let mut relay = Relay {
                session,
                head,
                admitted,
                pool,
                counters: &mut probed.counters,
                keeping,
                guard: guarded.and_then(|admission| Guard::of(settlement, admission)),
                settlement,
            };
            let result = relay.stream(&mut probed.session, &mut stream).await;
            // Before anything else is said: it costs as long as it goes on.
            if result.is_ok() && relay.settlement.said_stream_error().is_none() {
                upstreams.keep(probed.session, &lease.target().provider.address, clock::now());
            } else {
                drop(probed.session);
            }
            let (end, outcome) = relay.end(result, &mut stream).await;
            settlement.counted(probed.counters);
            lease.finish(outcome);
            return end;
        }
    };
    let written = respond::whole(session, head, &mut probed.session, body, settlement).await;
    let now = clock::now();
    upstreams.keep(probed.session, &lease.target().provider.address, now);
    lease.finish_at(if written { Outcome::Success } else { Outcome::Cancelled }, now);
    if written { End::Answered } else { settlement.gone() }
}

struct Relay<'a, 's, 'g> {
    session: &'a mut Session<'s>,
    head: &'a Head,
    admitted: &'a Admitted<'a>,
    pool: &'a Pool,
    settlement: &'a mut Settlement<'g>,
    counters: &'a mut Counters,
    /// What is kept of the answer, once it is complete.
    keeping: Option<Box<Keeping>>,
    /// Ends a stream that may use no more.
    guard: Option<Guard>,
}

/// What happened next.
enum Step {
    Chunk(Bytes),
    End,
    Failed(Error),
    /// The client does not take all that was written.
    Unwritten,
    Gone,
    Timer,
}

/// What a relay looks after besides the upstream.
struct Watch<'t> {
    timer: Pin<&'t mut Sleep>,
    /// When it fires.
    wake_at: Instant,
    /// The timer and the client's side know whom to wake.
    told: bool,
    /// The last heartbeat, or the beginning.
    beat: Instant,
}

impl Watch<'_> {
    /// When something was written last.
    fn last_write(&self, stream: &Stream) -> Instant {
        self.beat.max(stream.last_frame)
    }
}

/// Why the relay ended early.
enum Broken {
    /// The upstream's fault, or a timeout.
    Upstream(Error),
    /// The client is gone.
    Gone,
    /// The request may use no more.
    Spent,
}

impl Relay<'_, '_, '_> {
    /// Forwards the stream, up to what is still to be said when the upstream's part is over.
    async fn stream(
        &mut self,
        upstream: &mut upstream::Session,
        stream: &mut Stream,
    ) -> Result<(), Broken> {
        let (head, settlement) = (self.head, &mut *self.settlement);
        if !respond::stream_head(self.session, head, upstream, stream, settlement).await {
            return Err(Broken::Gone);
        }
        let result = self.frames(upstream, stream).await;
        self.settlement.observed(&stream.observer);
        if let Some(translator) = &mut stream.translator {
            self.settlement.dropped(translator.dropped());
            // What is complete for the upstream may be none for the client: a call that is malformed.
            if let (Ok(()), Some(kind), None) =
                (&result, translator.failed(), self.settlement.said_stream_error())
            {
                self.settlement.stream_error(Box::new(StreamError::of(kind, "The answer failed.")));
            }
        }
        result
    }

    /// Ends the client's stream.
    async fn end(&mut self, result: Result<(), Broken>, stream: &mut Stream) -> (End, Outcome) {
        match result {
            Ok(()) => {
                // A stream with the provider's own error in it is complete, but no success.
                let said = self.settlement.said_stream_error();
                let outcome = said.map_or(Outcome::Success, Outcome::Failure);
                if respond::finish(self.session).await {
                    (End::Answered, outcome)
                } else {
                    (self.settlement.gone(), outcome)
                }
            }
            Err(Broken::Gone) => (self.settlement.gone(), Outcome::Cancelled),
            Err(Broken::Spent) => (self.cut(stream).await, Outcome::Cancelled),
            Err(Broken::Upstream(error)) => {
                let outcome = Outcome::Failure(error.kind);
                (self.broken(stream, error).await, outcome)
            }
        }
    }

    /// Forwards until the stream is complete.
    async fn frames(
        &mut self,
        upstream: &mut upstream::Session,
        stream: &mut Stream,
    ) -> Result<(), Broken> {
        self.keep(stream);
        if let Some(error) = stream.error.take() {
            self.settlement.stream_error(error);
        }
        for piece in std::mem::take(&mut stream.held) {
            self.write(piece).await?;
        }
        send_ahead();
        let began = Instant::now();
        let wake_at = self.wake_at(stream, began);
        let mut timer = pin!(sleep_until(wake_at.into()));
        let mut watch = Watch { timer: timer.as_mut(), wake_at, told: false, beat: began };
        while !stream.ended {
            let next = poll_fn(|cx| self.poll_step(upstream, stream, &mut watch, cx));
            match next.await {
                Step::Chunk(chunk) => self.chunk(stream, chunk).await?,
                Step::Unwritten => self.session.written().await.map_err(|_| Broken::Gone)?,
                Step::End => {
                    stream.ended = true;
                    self.ended(stream).await?;
                }
                Step::Failed(error) => return self.failed(stream, error).await,
                Step::Gone => return Err(Broken::Gone),
                Step::Timer => {
                    let now = Instant::now();
                    self.timed_out(stream, now).map_err(Broken::Upstream)?;
                    if self.heartbeat_due(watch.last_write(stream), now) {
                        self.heartbeat(stream).await?;
                        watch.beat = Instant::now();
                    }
                    watch.wake_at = self.wake_at(stream, watch.last_write(stream));
                    watch.timer.as_mut().reset(watch.wake_at.into());
                    watch.told = false;
                }
            }
        }
        Ok(())
    }

    /// What is to be done next.
    fn poll_step(
        &mut self,
        upstream: &mut upstream::Session,
        stream: &mut Stream,
        watch: &mut Watch<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        let before = stream.last_frame;
        loop {
            match self.poll_pass(upstream, stream, cx) {
                Poll::Ready(None) => {}
                Poll::Ready(Some(step)) => return Poll::Ready(step),
                Poll::Pending => break,
            }
        }
        // As nearly always: it was the upstream that has woken us, and nobody else.
        let passed = watch.told && stream.last_frame != before;
        if passed && stream.last_frame < watch.wake_at && self.session.is_silent() {
            return Poll::Pending;
        }
        watch.told = true;
        if pin!(client_gone(self.session)).poll(cx).is_ready() {
            return Poll::Ready(Step::Gone);
        }
        watch.timer.as_mut().poll(cx).map(|()| Step::Timer)
    }

    /// Takes what the upstream has sent next. Frames that are like the one before them go on at once, in
    /// the chunks that they came in; whatever wants more than that is a step.
    fn poll_pass(
        &mut self,
        upstream: &mut upstream::Session,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Step>> {
        let passes = self.guard.is_none()
            && stream.translator.is_none()
            && stream.framer.is_between()
            && self.session.takes_chunks();
        let mut arrived = match ready!(upstream.poll_run(cx, passes)) {
            Ok(Run::Arrived(arrived)) => arrived,
            Ok(Run::Data(chunk)) => return Poll::Ready(Some(Step::Chunk(chunk))),
            Ok(Run::End) => return Poll::Ready(Some(Step::End)),
            Err(error) => return Poll::Ready(Some(Step::Failed(error))),
        };
        let mut body_bytes = 0;
        let passed = http1::take_chunks(arrived.as_ref(), |frame| {
            let passes = stream.observer.passes(frame, self.counters);
            if passes {
                stream.framer.passed(frame);
                body_bytes += frame.len();
            }
            passes
        });
        let mut step = None;
        if passed > 0 {
            self.came(stream);
            self.settlement.body_out(body_bytes);
            match self.session.write_chunks(&arrived.as_ref()[..passed]) {
                Ok(true) => {}
                Ok(false) => step = Some(Step::Unwritten),
                Err(_) => step = Some(Step::Gone),
            }
        }
        arrived.skip(passed);
        upstream.take_back(arrived);
        Poll::Ready(step)
    }

    /// Frames have come.
    fn came(&mut self, stream: &mut Stream) {
        let now = Instant::now();
        self.settlement.gap(now.saturating_duration_since(stream.last_frame));
        stream.last_frame = now;
    }

    /// Meters a chunk and forwards the frames that it completes.
    async fn chunk(&mut self, stream: &mut Stream, chunk: Bytes) -> Result<(), Broken> {
        let frames = stream.framer.push(chunk).map_err(|e| Broken::Upstream(frame_error(&e)))?;
        let Some(frames) = frames else { return Ok(()) };
        self.came(stream);
        if let Some(guard) = &mut self.guard
            && !guard.covers(frames.len(), self.counters, self.settlement).await
        {
            for frame in frame::each(stream.framer.framing(), &frames) {
                self.forward(stream, frame).await?;
            }
        } else {
            self.forward(stream, frames).await?;
        }
        Ok(())
    }

    /// Meters frames and forwards them.
    async fn forward(&mut self, stream: &mut Stream, frames: Bytes) -> Result<(), Broken> {
        let observed = stream.observer.observe(&frames, self.counters);
        if let Some(guard) = &mut self.guard
            && !guard.covered(self.counters)
            && !guard.passes(self.counters, self.settlement).await
        {
            return Err(Broken::Spent);
        }
        if let Some(error) = observed.error {
            // The provider's own error event, in the client's own format: it goes through.
            self.settlement.stream_error(error);
        }
        if let Some(translator) = &mut stream.translator {
            let ours = translator.push(&frames);
            self.keep(stream);
            return self.write(ours).await;
        }
        match observed.forward {
            Forward::All => self.write(frames).await?,
            Forward::Spans(spans) => {
                for span in spans {
                    self.write(frames.slice(span)).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends a stream that may use no more as if its answer had reached its greatest length.
    async fn cut(&mut self, stream: &mut Stream) -> End {
        let given = self.guard.as_ref().map_or(0, Guard::given);
        let empty = Counters::new(self.counters.vocabulary());
        let counters = std::mem::replace(self.counters, empty);
        let usage = self.settlement.cut_off(self.head, given, counters).await;
        let end = if let Some(translator) = &mut stream.translator {
            Some(translator.cut(usage))
        } else {
            let wants_usage = self.admitted.peeked.usage == UsageOption::Asked;
            let request_id = self.head.request_id.as_str();
            stream.observer.cut(Ending { usage, wants_usage, request_id })
        };
        self.keep(stream);
        let Some(end) = end else { return End::Aborted };
        if self.write(end).await.is_err() || !respond::finish(self.session).await {
            return self.settlement.gone();
        }
        End::Answered
    }

    /// The upstream has broken off: was everything said?
    async fn failed(&mut self, stream: &mut Stream, error: Error) -> Result<(), Broken> {
        // Some providers cut the connection after their terminal event.
        if !stream.observer.finished() || stream.framer.framing() == Framing::Opaque {
            return Err(Broken::Upstream(error));
        }
        match stream.translated_end(None) {
            Some(end) => {
                self.keep(stream);
                self.write(end).await
            }
            None => Ok(()),
        }
    }

    /// The upstream has sent everything: was it enough?
    async fn ended(&mut self, stream: &mut Stream) -> Result<(), Broken> {
        let opaque = stream.framer.framing() == Framing::Opaque;
        let rest = stream.framer.finish();
        if stream.observer.finished()
            && let Some(end) = stream.translated_end(rest.as_deref())
        {
            self.keep(stream);
            return self.write(end).await;
        }
        match rest {
            Some(rest) if opaque || stream.observer.finished() => self.write(rest).await,
            None if opaque || stream.observer.finished() => Ok(()),
            _ => Err(Broken::Upstream(self.settlement.said_stream_error().map_or_else(
                || {
                    Error::new(
                        Kind::UpstreamCut,
                        "The upstream ended its stream before the answer was complete.",
                    )
                },
                |kind| Error::new(kind, "The upstream sent an error in its stream."),
            ))),
        }
    }

    /// Keeps an answer that has come to its end, before the client can ask for it.
    fn keep(&mut self, stream: &mut Stream) {
        if self.keeping.is_some()
            && let Some(whole) = stream.translator.as_mut().and_then(|it| it.take_whole())
            && let Some(keeping) = self.keeping.take()
        {
            keeping.keep(whole);
        }
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), Broken> {
        if piece.is_empty() {
            // To write nothing would end the body.
            return Ok(());
        }
        self.settlement.body_out(piece.len());
        let written = self.session.write_body(piece, false).await;
        written.map_err(|_| Broken::Gone)
    }

    /// Ends a broken stream well-formed with an error, where its format can; breaks the connection
    /// off where it cannot.
    async fn broken(&mut self, stream: &mut Stream, error: Error) -> End {
        let already_said = self.settlement.said_stream_error().is_some();
        let end = if already_said || stream.framer.framing() == Framing::Opaque {
            Bytes::new()
        } else if let Some(translator) = &mut stream.translator {
            translator.error(&error)
        } else {
            stream.observer.end(&error, self.head.request_id.as_str())
        };
        let opaque = stream.framer.framing() == Framing::Opaque;
        self.settlement.broken(&error);
        if opaque {
            return End::Aborted;
        }
        if self.write(end).await.is_err() || !respond::finish(self.session).await {
            return self.settlement.gone();
        }
        End::Answered
    }

    async fn heartbeat(&mut self, stream: &Stream) -> Result<(), Broken> {
        match dialect::heartbeat(self.head.dialect, stream.client_framing()) {
            Some(comment) => self.write(comment).await,
            None => Ok(()),
        }
    }

    fn heartbeat_due(&self, last_write: Instant, now: Instant) -> bool {
        self.pool.heartbeat.is_some_and(|every| now.saturating_duration_since(last_write) >= every)
    }

    /// When the timer has something to look at. It is not moved at every frame: it fires, looks, and
    /// goes on to the next moment that matters.
    fn wake_at(&self, stream: &Stream, last_write: Instant) -> Instant {
        let mut at =
            (stream.last_frame + self.pool.timeouts.inter_token.0).min(self.admitted.deadline);
        if let Some(every) = self.pool.heartbeat {
            at = at.min(last_write + every);
        }
        at
    }

    fn timed_out(&self, stream: &Stream, now: Instant) -> Result<(), Error> {
        let inter_token: Duration = self.pool.timeouts.inter_token.0;
        if now >= self.admitted.deadline {
            return Err(Error::new(
                Kind::TotalTimeout,
                "The request took longer than its total timeout.",
            ));
        }
        if now.saturating_duration_since(stream.last_frame) >= inter_token {
            return Err(Error::new(
                Kind::InterTokenTimeout,
                format!(
                    "The upstream sent nothing more within {}.",
                    self.pool.timeouts.inter_token
                ),
            ));
        }
        Ok(())
    }
}
