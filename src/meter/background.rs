//! The thread `weir-meter`, which does what would hold a worker up: it unpacks vocabularies and
//! counts large texts, one after the other, from a bounded queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Tally;
use super::chat::{ChatError, CountReport, count_chat};
use super::count::count_lossy;
use super::estimate;
use super::model::tokenizer_for;
use super::vocabulary::Vocabulary;

/// Texts and loads that may wait. Beyond it a count is estimated.
const QUEUE_JOBS_MAX: usize = 256;

/// Work for the background thread.
pub(super) enum Job {
    /// Unpack a vocabulary.
    Load(Vocabulary),
    /// Build its tables for long pieces.
    LoadLong(Vocabulary),
    /// Count the prompt of a request.
    Prompt { model: String, body: Bytes, answer: oneshot::Sender<Result<CountReport, ChatError>> },
    /// Count a text, which is made here too.
    Count { vocabulary: Vocabulary, text: Text, answer: oneshot::Sender<u64> },
}

/// Makes a text.
pub(super) type Text = Box<dyn FnOnce() -> Bytes + Send>;

/// The queue is full, or the thread could not be started.
#[derive(Debug)]
pub(super) struct Refused;

static QUEUE: OnceLock<mpsc::Sender<Job>> = OnceLock::new();

/// Queues a job. Never blocks.
pub(super) fn submit(job: Job) -> Result<(), Refused> {
    QUEUE.get_or_init(start).try_send(job).map_err(|_| Refused)
}

/// Without a thread the receiver is dropped, so that every job is refused and counts are estimated.
fn start() -> mpsc::Sender<Job> {
    let (sender, receiver) = mpsc::channel(QUEUE_JOBS_MAX);
    let spawned = thread::Builder::new().name("weir-meter".into()).spawn(move || work(receiver));
    if let Err(error) = spawned {
        log::error!("token counting is estimated: its thread cannot be started: {error}");
    }
    sender
}

fn work(mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        // A defect in one count must not end counting for the process.
        if catch_unwind(AssertUnwindSafe(|| run(job))).is_err() {
            log::error!("counting tokens panicked; the count is estimated");
        }
    }
}

fn run(job: Job) {
    match job {
        Job::Load(vocabulary) => {
            vocabulary.load();
        }
        Job::LoadLong(vocabulary) => {
            vocabulary.load().long();
        }
        Job::Prompt { model, body, answer } => {
            if !answer.is_closed() {
                // The asker may have gone away meanwhile.
                let _ = answer.send(count_chat(&model, &String::from_utf8_lossy(&body)));
            }
        }
        Job::Count { vocabulary, text, answer } => {
            if !answer.is_closed() {
                // The asker may have gone away meanwhile.
                let _ = answer.send(count_lossy(vocabulary, &text()));
            }
        }
    }
}

/// Counts a text on the background thread, where `text_of` makes it from `source` first: unescaping
/// megabytes would hold a worker up as well. Invalid UTF-8 counts as U+FFFD. When the queue is full
/// the result is an estimate from the source and says so.
pub async fn count_off_worker(
    vocabulary: Vocabulary,
    source: Bytes,
    text_of: impl FnOnce(Bytes) -> Bytes + Send + 'static,
) -> Tally {
    let (answer, counted) = oneshot::channel();
    let theirs = source.clone();
    let job = Job::Count { vocabulary, text: Box::new(move || text_of(theirs)), answer };
    if submit(job).is_ok()
        && let Ok(tokens) = counted.await
    {
        return Tally { tokens, exact: true };
    }
    Tally { tokens: estimate::tokens_of(&source), exact: false }
}

/// Counts the prompt of a chat request on the background thread, as [`count_chat`] does. When the
/// queue is full the result is an estimate from the body and says so.
pub async fn count_chat_off_worker(model: &str, body: Bytes) -> Result<CountReport, ChatError> {
    let (answer, counted) = oneshot::channel();
    let job = Job::Prompt { model: model.to_owned(), body: body.clone(), answer };
    if submit(job).is_ok()
        && let Ok(report) = counted.await
    {
        return report;
    }
    let vocabulary = tokenizer_for(model).vocabulary;
    Ok(CountReport { tokens: estimate::tokens_of(&body), vocabulary, exact: false })
}
