//! The events of SSE, those that are like earlier ones compared and not read.

use super::{Decoder, Run, Spoken, keep};
use crate::dialect::alike::{Alike, plain};
use crate::dialect::familiar::{self, Known};
use crate::dialect::outline::Outline;
use crate::wire::sse;

/// What frames are compared with before they are read.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    pub(super) alike: Alike<u32>,
    /// Frames in a row that were not familiar.
    pub(super) strange: u8,
    /// The last text that had escapes, without them.
    plain: String,
}

/// So many frames in a row that were not familiar, and no more are compared with those of other streams.
pub(super) const STRANGE_MAX: u8 = 8;

impl Patterns {
    /// What the first of some frames says, if it is familiar from other streams.
    pub(super) fn familiar(
        &mut self,
        decoder: &Decoder,
        is_outlined: bool,
        frames: &[u8],
        run: &Run<'_>,
    ) -> Option<Known> {
        let may_be = matches!(decoder, Decoder::Chat(_)) && self.strange < STRANGE_MAX;
        if !may_be || is_outlined || run.texts.waits() {
            return None;
        }
        let known = familiar::chat(frames, run.facts.model.is_none());
        self.strange = if known.is_some() { 0 } else { self.strange + 1 };
        known
    }

    /// Notes what it says. False if it is not what it seemed to be.
    pub(super) fn take(
        &mut self,
        known: Known,
        decoder: &mut Decoder,
        frames: &[u8],
        run: &mut Run<'_>,
    ) -> bool {
        let Decoder::Chat(decoder) = decoder else { return false };
        match known.text {
            Some((channel, place)) => {
                let Some(text) = plain(&frames[place.clone()], &mut self.plain) else {
                    return false;
                };
                run.text(channel, text);
                self.alike.learn(&frames[..known.bytes], place, channel);
            }
            None => run.facts.frames += 1,
        }
        decoder.saw_choices(known.choices);
        if let Some(model) = known.model {
            keep(&mut run.facts.model, &model);
        }
        true
    }
}

/// The events of a run of SSE frames. What is like an earlier one is not read again.
pub(super) fn events(
    (decoder, mut outline): (&mut Decoder, Option<&mut Outline>),
    patterns: &mut Patterns,
    frames: &[u8],
    run: &mut Run<'_>,
) {
    let every = outline.as_ref().is_some_and(|outline| outline.wants_texts());
    let mut at = 0;
    while at < frames.len() {
        if !every && let Some((channel, text, bytes)) = patterns.alike.read(&frames[at..]) {
            run.text(channel, text);
            at += bytes;
            continue;
        }
        if let Some(known) = patterns.familiar(decoder, outline.is_some(), &frames[at..], run) {
            let bytes = known.bytes;
            if patterns.take(known, decoder, &frames[at..], run) {
                at += bytes;
                continue;
            }
        }
        let Some(event) = sse::events(&frames[at..]).next() else { return };
        let span = at..at + event.span.end;
        at = span.end;
        if event.data.is_empty() {
            continue;
        }
        let spoken = run.frame(span.clone(), |frame| {
            decoder.event(event.name, &event.data, frame);
        });
        if let Some(outline) = outline.as_deref_mut() {
            outline.event(&event.data);
        } else if let Decoder::Chat(_) = decoder
            && event.name.is_none()
            && !matches!(spoken, Spoken::More)
        {
            familiar::learn_chat(&frames[span.clone()], &event.data);
        }
        match spoken {
            Spoken::Nothing => {}
            Spoken::Text { channel, place } => {
                let frame = &frames[span];
                let start = place.start.wrapping_sub(frame.as_ptr().addr());
                let end = start.wrapping_add(place.len());
                if run.texts.waits() {
                    patterns.alike.forget();
                } else if start < end && end < frame.len() {
                    // It is elsewhere if the event has several lines of data.
                    patterns.alike.learn(frame, start..end, channel);
                }
            }
            Spoken::More => patterns.alike.forget(),
        }
    }
}
