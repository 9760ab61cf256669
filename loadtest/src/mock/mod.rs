//! Simulated LLM upstreams: six wire formats on one port, at a chosen pace, with chosen faults, and
//! with books that say what really happened.
//!
//! The tests of a proxy are only as honest as its upstream, so this one is built for control: HTTP/1.1
//! is written by hand, every answer follows from a seed, a fault can be asked for by a header, by the
//! model's name, globally or by chance, and every request is booked with the numbers that went out.
//! The paths of the formats are told apart by [`route`]; a format's handler turns a request into a
//! script of tokens ([`script`]) and an encoder; [`deliver`] sends it.

mod accept;
mod answer;
mod anthropic;
mod bedrock;
mod books;
mod cohere;
mod control;
mod deliver;
mod digits;
mod embedding;
mod eventstream;
mod exchange;
mod fault;
mod gemini;
mod h1;
mod h2;
mod json;
mod latency;
mod models;
mod multipart;
mod openai;
mod outbound;
mod problem;
mod prompt;
mod realtime;
mod replay;
mod reply;
mod request;
mod rerank;
mod route;
mod scene;
mod script;
mod settings;
mod shared;
mod store;
mod strict;
#[cfg(test)]
mod tests;
mod words;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

pub use self::books::{EndpointTotals, Record, Stats};
pub use self::fault::{Broken, Fault, NAMES as FAULT_NAMES, Point, RetryAfter, Rule};
pub use self::latency::Latency;
pub use self::route::{Dialect, Endpoint};
pub use self::settings::{Settings, Tokens};
use self::shared::{Command, Shared};
pub use self::strict::members as request_members;

/// A running simulated upstream. Dropping it stops it.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    address: SocketAddr,
    control: Option<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts a simulated upstream on threads of its own. It listens when this returns.
///
/// # Errors
/// The address cannot be bound.
pub fn spawn(settings: Settings) -> io::Result<Handle> {
    let threads = settings.threads.max(1);
    let shared = Arc::new(Shared::new(settings));
    let first = accept::bind(shared.settings.address, threads > 1)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..threads {
        listeners.push(accept::bind(address, true)?);
    }
    let control =
        shared.settings.control.map(|address| accept::bind(address, false)).transpose()?;
    let control_address = control.as_ref().map(std::net::TcpListener::local_addr).transpose()?;
    let mut handle = Handle { shared, address, control: control_address, threads: Vec::new() };
    for (number, listener) in listeners.into_iter().enumerate() {
        handle.start(number, listener, true)?;
    }
    if let Some(control) = control {
        handle.start(threads, control, false)?;
    }
    Ok(handle)
}

impl Handle {
    fn start(
        &mut self,
        number: usize,
        listener: std::net::TcpListener,
        steered: bool,
    ) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        self.threads.push(accept::start(number, listener, shared, steered)?);
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the control listener is, if there is one.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// Its address as a URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Totals of all requests so far.
    pub fn stats(&self) -> Stats {
        self.shared.books.stats()
    }

    /// The last `limit` requests, oldest first. Those that still run are among them.
    pub fn records(&self, limit: usize) -> Vec<Record> {
        self.shared.books.records(limit)
    }

    /// The last request with this `x-request-id`.
    pub fn record(&self, request_id: &str) -> Option<Record> {
        self.shared.books.by_request_id(request_id)
    }

    /// Forgets all requests and totals.
    pub fn clear(&self) {
        self.shared.books.clear();
    }

    /// Sets the fault that every request meets (with the rule's probability), or clears it.
    pub fn set_fault(&self, rule: Option<Rule>) {
        self.shared.set_fault("", rule);
    }

    /// The same for requests whose path begins with this prefix (`a` for `/a/v1/…`).
    pub fn set_fault_of(&self, prefix: &str, rule: Option<Rule>) {
        self.shared.set_fault(prefix, rule);
    }

    /// Closes the listeners: connections are refused from now on. Those that exist go on.
    ///
    /// # Errors
    /// Never for a listener that was open.
    pub fn pause_listening(&self) -> io::Result<()> {
        self.shared.tell_and_wait(|ack| Command::Pause(None, ack))
    }

    /// Listens again, on the same address.
    ///
    /// # Errors
    /// The address was taken meanwhile.
    pub fn resume_listening(&self) -> io::Result<()> {
        self.shared.tell_and_wait(Command::Resume)
    }

    /// Closes every connection, whatever it is doing.
    ///
    /// # Errors
    /// Never.
    pub fn disconnect_all(&self) -> io::Result<()> {
        self.shared.tell_and_wait(Command::Disconnect)
    }

    /// Stops it and waits for its threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a simulated upstream until SIGINT or SIGTERM, and prints its totals at the end.
///
/// # Errors
/// The address cannot be bound, or signals cannot be handled.
pub fn run(settings: Settings) -> io::Result<()> {
    let handle = spawn(settings)?;
    println!("simulated upstream on {}", handle.url());
    if let Some(control) = handle.control_address() {
        println!("control on http://{control}");
    }
    // A thread of its own, so that this may also be called from within a runtime.
    let waiting = std::thread::spawn(accept::wait_for_signal);
    waiting.join().map_err(|_| io::Error::other("the signal thread panicked"))??;
    let stats = handle.stats();
    println!("{}", serde_json::to_string_pretty(&stats).map_err(io::Error::other)?);
    handle.stop();
    Ok(())
}
