//! Watches the configuration file and what belongs to it, where the configuration asks for that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::live::Live;

/// Time between two looks. Looking is a `stat` a file: portable, cheap, and right for the symbolic
/// links that orchestrators swap.
const EVERY: Duration = Duration::from_secs(1);

type Stamp = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// Changes of the watched files.
pub(super) struct Changes {
    live: Arc<Live>,
    seen: Stamp,
}

impl Changes {
    pub(super) fn new(live: &Arc<Live>) -> Self {
        let seen = stamp(live);
        Self { live: Arc::clone(live), seen }
    }

    /// Resolves when a watched file has changed and has been still for one look. Cancel safe.
    pub(super) async fn next(&mut self) {
        let mut candidate: Option<Stamp> = None;
        loop {
            tokio::time::sleep(EVERY).await;
            let now = stamp(&self.live);
            if now == self.seen {
                candidate = None;
            } else if candidate.as_ref() == Some(&now) {
                self.seen = now;
                return;
            } else {
                candidate = Some(now);
            }
        }
    }
}

fn stamp(live: &Live) -> Stamp {
    let plan = live.plan();
    if !plan.file.reload.watch {
        return Vec::new();
    }
    let files = live.config().into_iter().chain(plan.file.reload.also.iter().map(PathBuf::as_path));
    files.map(|path| (path.to_owned(), modified(path))).collect()
}

fn modified(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
