//! What all connections of one simulated upstream share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;

use super::books::Books;
use super::fault::{self, Fault, Rule};
use super::request::Request;
use super::scene::World;
use super::settings::Settings;
use super::words::Rng;

/// What a listening thread is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Close the listener, for this long or until told otherwise.
    Pause(Option<Duration>, Ack),
    /// Open it again.
    Resume(Ack),
    /// Close every connection.
    Disconnect(Ack),
}

/// Told when a command was carried out.
pub(super) type Ack = Option<std::sync::mpsc::SyncSender<std::io::Result<()>>>;

/// Shared by all connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) books: Books,
    pub(super) world: World,
    /// Per prefix; the empty prefix stands for all.
    global: RwLock<Vec<(String, Rule)>>,
    drawn: AtomicU64,
    commands: Mutex<Vec<mpsc::Sender<Command>>>,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            books: Books::new(settings.records_max),
            settings,
            world: World::default(),
            global: RwLock::default(),
            drawn: AtomicU64::new(0),
            commands: Mutex::default(),
        }
    }

    /// A generator of its own for each request, from the seed and the number of the request.
    pub(super) fn rng(&self) -> Rng {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        Rng::new(self.settings.seed.rotate_left(17) ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    pub(super) fn set_fault(&self, prefix: &str, rule: Option<Rule>) {
        let mut global = self.global.write().unwrap_or_else(PoisonError::into_inner);
        global.retain(|(name, _)| name != prefix);
        if let Some(rule) = rule {
            global.push((prefix.to_owned(), rule));
        }
    }

    pub(super) fn clear_faults(&self) {
        self.global.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let global = self.global.read().unwrap_or_else(PoisonError::into_inner);
        global.iter().map(|(prefix, rule)| (prefix.clone(), rule.to_string())).collect()
    }

    /// The global fault for a path, if it hits this time.
    fn global_fault(&self, path: &str, rng: &mut Rng) -> Option<Fault> {
        let global = self.global.read().unwrap_or_else(PoisonError::into_inner);
        let rule = global.iter().find(|(prefix, _)| {
            prefix.is_empty()
                || path
                    .trim_start_matches('/')
                    .strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        });
        rule.filter(|(_, rule)| rule.hits(rng)).map(|(_, rule)| rule.fault)
    }

    /// Whether every answer comes at once and whole, as far as the request does not ask otherwise.
    pub(super) fn is_plain(&self) -> bool {
        let Settings { ttft, itl, faults, .. } = &self.settings;
        let global = || self.global.read().unwrap_or_else(PoisonError::into_inner).is_empty();
        ttft.is_zero() && itl.is_zero() && faults.is_empty() && global()
    }

    /// Chooses what goes wrong with a request.
    pub(super) fn fault(
        &self,
        request: &Request,
        model: &str,
        rng: &mut Rng,
    ) -> Result<Option<Fault>, String> {
        if let Some(fault) = request.fields.knobs.fault {
            return Ok(Some(fault));
        }
        if let Some(fault) = fault::of_model(model)? {
            return Ok(Some(fault));
        }
        Ok(self.global_fault(&request.path, rng).or_else(|| {
            self.settings.faults.iter().find(|rule| rule.hits(rng)).map(|rule| rule.fault)
        }))
    }

    /// The status of a response that does not wait for the request's body.
    pub(super) fn early_response(&self, request: &Request) -> Option<u16> {
        let fault = request.fields.knobs.fault.or_else(|| {
            let global = self.global.read().unwrap_or_else(PoisonError::into_inner);
            let early =
                global.iter().any(|(_, rule)| matches!(rule.fault, Fault::EarlyResponse(_)));
            drop(global);
            early.then(|| self.global_fault(&request.path, &mut self.rng())).flatten()
        });
        match fault {
            Some(Fault::EarlyResponse(status)) if !request.path.starts_with("/__mock") => {
                Some(status)
            }
            _ => None,
        }
    }

    pub(super) fn add_thread(&self, commands: mpsc::Sender<Command>) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(commands);
    }

    /// Drops the senders: the threads end.
    pub(super) fn stop(&self) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Tells every thread, without waiting for it.
    pub(super) fn tell(&self, command: impl Fn() -> Command) {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in commands.iter() {
            // A full queue means that the thread was already told a dozen times.
            let _ = thread.try_send(command());
        }
    }

    /// Tells every thread, and waits until all have done it.
    pub(super) fn tell_and_wait(&self, command: impl Fn(Ack) -> Command) -> std::io::Result<()> {
        let (done, results) = std::sync::mpsc::sync_channel(64);
        self.tell(|| command(Some(done.clone())));
        drop(done);
        results.iter().collect()
    }
}
