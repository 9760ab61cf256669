//! The thread that owns the database.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::database::Database;
use super::{Kept, StoreError, Turn};

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Work for the thread.
#[derive(Debug)]
pub(super) enum Job {
    Keep {
        kept: Box<Kept>,
        expires_s: u64,
        bytes_max: u64,
    },
    Conversation {
        owner: Arc<str>,
        id: Box<str>,
        bytes_max: u64,
        answer: Answer<Option<Vec<Turn>>>,
    },
    Response {
        owner: Arc<str>,
        id: Box<str>,
        answer: Answer<Option<Turn>>,
    },
    /// Everything before it has been done.
    Reached {
        answer: Answer<()>,
    },
    Delete {
        owner: Arc<str>,
        id: Box<str>,
        answer: Answer<bool>,
    },
}

/// Runs until the other end of the queue is gone, and then what still waits. Without a database one in
/// memory is opened for the first job: most processes never keep anything.
pub(super) fn start(
    database: Option<Database>,
    queue: mpsc::Receiver<Job>,
    waiting_bytes: Arc<AtomicU64>,
) -> io::Result<()> {
    std::thread::Builder::new()
        .name("weir-store".into())
        .spawn(move || work(database, queue, &waiting_bytes))
        .map(drop)
}

fn work(database: Option<Database>, mut queue: mpsc::Receiver<Job>, waiting_bytes: &AtomicU64) {
    let mut next = queue.blocking_recv();
    if next.is_none() {
        return;
    }
    let mut database = match database.map_or_else(|| Database::open(None), Ok) {
        Ok(database) => database,
        Err(error) => return log::error!("responses cannot be kept in memory: {error}"),
    };
    while let Some(job) = next.take().or_else(|| queue.blocking_recv()) {
        let now_s = crate::clock::unix_ms() / 1000;
        match job {
            Job::Keep { kept, expires_s, bytes_max } => {
                let bytes = (kept.input.len() + kept.response.len()) as u64;
                if let Err(error) = database.keep(&kept, now_s, expires_s, bytes_max) {
                    log::error!("a response could not be kept: {error}");
                }
                waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            // Whoever asked may have gone away meanwhile.
            Job::Conversation { owner, id, bytes_max, answer } => {
                let _ = answer.send(database.conversation(&owner, &id, now_s, bytes_max));
            }
            Job::Response { owner, id, answer } => {
                let found = database.turn(&owner, &id, now_s);
                let _ = answer.send(said(found.map(|found| found.map(|(turn, _)| turn))));
            }
            Job::Reached { answer } => {
                let _ = answer.send(Ok(()));
            }
            Job::Delete { owner, id, answer } => {
                let _ = answer.send(said(database.delete(&owner, &id, now_s)));
            }
        }
    }
}

/// What the caller may know of a failure.
pub(super) fn said<T>(result: rusqlite::Result<T>) -> Result<T, StoreError> {
    result.map_err(|error| {
        log::error!("the store of responses failed: {error}");
        StoreError::Failed
    })
}
