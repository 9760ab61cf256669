//! Assembles listeners, workers, signals and upgrade; owns the live plan.
//!
//! One control thread (the process's first) runs what is not a request: signals, the operators'
//! listener, health checks, reloads. Every worker is a thread of its own ([`worker`]).

mod budgets;
mod credentials;
mod health;
mod http1;
mod issuers;
mod keys;
mod live;
mod reload;
mod signals;
mod simulated;
mod sockets;
mod watch;
mod worker;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_timeout::fast_timeout::set_fast_timeout_to_tokio_threshold;
use tokio::sync::{oneshot, watch as channel};

use crate::clock::Instant;
use crate::config::Diagnostic;
use crate::database::{Database, Migrations, Place};
use crate::exchange::Gateway;
use crate::ledger::books::{Books, BooksThread};
use crate::ledger::{self, Ledger, Writer};
use crate::limit::{Announcer, EventService, Limits, SharedService};
use crate::manage;
use crate::plan::{File, Plan, Source};
use crate::store::Store;
use crate::telemetry::{Level, Metrics, ProcessLog};
use crate::transport::upstream::Upstreams;
use crate::transport::{self, Choice, Drive, Io, RuntimeSettings};

use live::Live;
use signals::{Ending, Signals};
use worker::{Phase, Worker};

/// The rooms that keep something in the database.
static STORED: [&Migrations; 2] = [&ledger::books::MIGRATIONS, &manage::MIGRATIONS];

/// Idle upstream connections that one worker keeps.
const IDLE_CONNECTIONS_MAX: usize = 1024;
/// How long it may take to give back what is claimed of shared limits.
const SHARING_PATIENCE: Duration = Duration::from_secs(2);
/// How long the access log's last lines may take.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The configuration file; the built-in default without one.
    pub config: Option<PathBuf>,
    /// Take the listening sockets over from a running process.
    pub upgrade: bool,
}

/// Runs the proxy until a signal ends it.
pub fn run(options: &RunOptions) -> ExitCode {
    match start(options) {
        Ok(server) => server.serve(),
        Err(Failed::Config(diagnostics)) => {
            for diagnostic in diagnostics {
                eprintln!("{diagnostic}");
            }
            ExitCode::FAILURE
        }
        Err(Failed::Start(message)) => {
            eprintln!("weir: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Why weir did not start.
enum Failed {
    Config(Vec<Diagnostic>),
    Start(String),
}

type Following = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A weir that listens.
struct Server {
    live: Arc<Live>,
    admin: TcpListener,
    workers: Vec<JoinHandle<()>>,
    phase: channel::Sender<Phase>,
    sockets: sockets::Kept,
    writer: Writer,
    books: Option<BooksThread>,
    store: Arc<Store>,
    sharing: Option<SharedService>,
    announcing: Option<EventService>,
    /// Where budgets could not go on at the start.
    budgets: Option<Following>,
    runtime: RuntimeSettings,
}

fn start(options: &RunOptions) -> Result<Server, Failed> {
    let source = Source::open(options.config.as_deref()).map_err(Failed::Config)?;
    let file = Arc::clone(&source.file);
    let metrics = Metrics::new();
    ProcessLog::install(level(&file.log.level), Arc::clone(&metrics));
    raise_descriptor_limit();
    // Timeouts of a second and more by the runtimes' own timers: Pingora's are looked through by a thread
    // that wakes a hundred times a second, also when there are none.
    set_fast_timeout_to_tokio_threshold(Some(Duration::ZERO));
    let mut simulated = simulated::Simulated::default();
    let addresses = simulated.start(&file).map_err(Failed::Start)?;
    let plan = reload::compile(&source, addresses, None).map_err(Failed::Config)?;
    let bound = sockets::open(&plan, options.upgrade).map_err(Failed::Start)?;
    let admin = sockets::admin(&plan, options.upgrade).map_err(Failed::Start)?;
    let database = database(&file, &metrics).map_err(Failed::Start)?;
    let (books, books_thread) = books(&file, database.as_ref()).map_err(Failed::Start)?.unzip();
    let kept_books = books.clone();
    let (ledger, writer) = Ledger::start_with(Arc::clone(&metrics), &file.log.access, books)
        .map_err(|error| Failed::Start(format!("the access log {}: {error}", file.log.access)))?;
    let store =
        Store::open(file.responses.path.as_ref(), Arc::clone(&metrics)).map_err(Failed::Start)?;
    let drive = drive(file.runtime.io, &metrics).map_err(Failed::Start)?;
    let keys = virtual_keys(&plan, database.as_ref());
    announce(&plan, options.config.as_deref());
    let plan = Arc::new(ArcSwap::from_pointee(plan));
    let (limits, sharing) = match &file.shared_limits {
        None => (Limits::new(Arc::clone(&metrics)), None),
        Some(settings) => {
            let (limits, service) = Limits::shared(Arc::clone(&metrics), settings)
                .map_err(|error| Failed::Start(format!("shared_limits.url: {error}")))?;
            (limits, Some(service))
        }
    };
    let (limits, announcing) = match &file.budget_events {
        None => (limits, None),
        Some(settings) => {
            let (announcer, service) = Announcer::new(settings, Arc::clone(&metrics))
                .map_err(|error| Failed::Start(format!("budget_events.{error}")))?;
            (limits.announcing(announcer), Some(service))
        }
    };
    let limits = Arc::new(limits);
    // What processes share, the store remembers.
    let remembered = kept_books.zip(database.clone()).filter(|_| file.shared_limits.is_none());
    let budgets = remembered.and_then(|(books, database)| {
        budgets::Budgets::new(Arc::clone(&limits), books, database).start(&plan.load())
    });
    let budgets = budgets.map(|budgets| budgets.follow(Arc::clone(&plan)));
    let gateway = Gateway {
        plan: Arc::clone(&plan),
        upstreams: Arc::new(Upstreams::new(IDLE_CONNECTIONS_MAX)),
        limits: Arc::clone(&limits),
        metrics: Arc::clone(&metrics),
        ledger: Arc::clone(&ledger),
        store: Arc::clone(&store),
        refusals: keys.as_ref().map(|keys| Arc::clone(&keys.refusals)),
    };
    let (phase, phases) = channel::channel(Phase::Serving);
    let (kept, per_worker) = bound.split().map_err(Failed::Start)?;
    let mut workers = Vec::new();
    for (index, sockets) in per_worker.into_iter().enumerate() {
        let worker = Worker {
            index,
            sockets,
            gateway: Gateway {
                upstreams: Arc::new(Upstreams::new(IDLE_CONNECTIONS_MAX)),
                ..gateway.clone()
            },
            metrics: Arc::clone(&metrics),
            phase: phases.clone(),
            runtime: file.runtime,
            drive,
        };
        let thread = worker
            .spawn()
            .map_err(|error| Failed::Start(format!("worker {index} cannot be started: {error}")))?;
        workers.push(thread);
    }
    let live = Live::new(live::Parts {
        plan,
        metrics,
        ledger,
        limits,
        database,
        config: options.config.clone(),
        acceptors: kept.acceptors(),
        simulated,
        keys,
    })
    .map_err(Failed::Start)?;
    Ok(Server {
        live: Arc::new(live),
        admin,
        workers,
        phase,
        sockets: kept,
        writer,
        books: books_thread,
        store,
        sharing,
        announcing,
        budgets: budgets.map(|following| Box::pin(following) as Following),
        runtime: file.runtime,
    })
}

impl Server {
    /// Runs the control thread until the process is to end.
    fn serve(mut self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("weir: no runtime: {error}");
                return ExitCode::FAILURE;
            }
        };
        let (stop_sharing, stopped) = oneshot::channel();
        let sharing = self.sharing.take().map(|service| runtime.spawn(service.run(stopped)));
        // They end with the runtime, if not before.
        if let Some(announcing) = self.announcing.take() {
            runtime.spawn(announcing.run());
        }
        if let Some(budgets) = self.budgets.take() {
            runtime.spawn(budgets);
        }
        let ending = match runtime.block_on(control(&self)) {
            Ok(ending) => ending,
            Err(message) => {
                eprintln!("weir: {message}");
                return ExitCode::FAILURE;
            }
        };
        let Self { live, workers, phase, sockets, writer, books, store, runtime: settings, .. } =
            self;
        let drain = match ending {
            Ending::Drain => settings.drain.0,
            Ending::Fast => Duration::ZERO,
        };
        live.drain();
        log::info!("draining for at most {}", crate::config::Time(drain));
        let _ = phase.send(Phase::Draining(Instant::now() + drain));
        drop(sockets);
        // The admin listener stays up while streams end, so that the drain can be watched.
        runtime.block_on(async {
            while workers.iter().any(|worker| !worker.is_finished()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        if let Some(sharing) = sharing {
            let _ = stop_sharing.send(());
            // What it could not give back runs out by itself.
            let _ = runtime.block_on(tokio::time::timeout(SHARING_PATIENCE, sharing));
        }
        let clean = workers.into_iter().map(JoinHandle::join).filter(Result::is_err).count() == 0;
        let _ = runtime
            .block_on(async { tokio::time::timeout(LOG_PATIENCE, live.enter_refusals()).await });
        let kept = runtime.block_on(async {
            tokio::time::timeout(LOG_PATIENCE, store.written()).await.is_ok_and(|it| it.is_ok())
        });
        if !kept {
            log::error!("not all responses that were to be kept could be written");
        }
        runtime.shutdown_background();
        let recorded = books.is_none_or(|books| books.stop(LOG_PATIENCE));
        let logged = writer.stop(LOG_PATIENCE);
        log::info!("done");
        if clean && recorded && logged { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Signals, the operators' listener and health checks, until a signal ends the process.
async fn control(server: &Server) -> Result<Ending, String> {
    let mut signals = Signals::listen().map_err(|error| format!("signals: {error}"))?;
    let admin = server.admin.try_clone().map_err(|error| format!("the admin listener: {error}"))?;
    let admin = live::serve_admin(&server.live, admin)?;
    server.live.start_checks();
    server.live.follow_keys();
    let mut changes = watch::Changes::new(&server.live);
    transport::pages::release_code();
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                signals::Signal::Reload => reload(server),
                signals::Signal::Upgrade => match server.sockets.hand_over() {
                    Ok(()) => {
                        admin.abort();
                        return Ok(Ending::Drain);
                    }
                    Err(message) => log::error!("upgrade: {message}; this process goes on"),
                },
                signals::Signal::Drain => return Ok(Ending::Drain),
                signals::Signal::Fast => return Ok(Ending::Fast),
            },
            () = changes.next() => reload(server),
        }
    }
}

/// The result is logged, counted and kept; there is nobody here to return it to.
fn reload(server: &Server) {
    let _ = server.live.reload();
}

/// The level that the configuration names; its words were checked with the file.
fn level(word: &str) -> Level {
    word.parse().unwrap_or(Level::INFO)
}

/// What drives the workers' sockets: chosen once, told in the log and in the metrics.
fn drive(io: Io, metrics: &Metrics) -> Result<Drive, String> {
    let Choice { drive, refused } = transport::choose(io).map_err(|reason| {
        format!("runtime.io is io_uring, but {reason}; `auto` uses epoll then")
    })?;
    match &refused {
        Some(reason) => log::warn!("sockets are driven by {drive}: {reason}"),
        None => log::info!("sockets are driven by {drive}"),
    }
    metrics.sockets_driven_by(drive.name(), refused);
    Ok(drive)
}

/// The database, where one is configured.
fn database(file: &File, metrics: &Arc<Metrics>) -> Result<Option<Database>, String> {
    let Some(settings) = &file.storage else { return Ok(None) };
    let place = Place::of(settings).map_err(|(field, why)| format!("storage{field}: {why}"))?;
    Database::open(place, &STORED, Arc::clone(metrics)).map(Some)
}

/// The ledger of record, where there is a database for it.
fn books(
    file: &File,
    database: Option<&Database>,
) -> Result<Option<(Arc<Books>, BooksThread)>, String> {
    let Some(database) = database.filter(|_| file.ledger.enabled) else { return Ok(None) };
    Books::start(database, &file.ledger).map(Some)
}

/// Virtual keys, where there is a database and a secret for them.
fn virtual_keys(plan: &Plan, database: Option<&Database>) -> Option<Arc<keys::Keys>> {
    let keys = keys::Keys::new(database?, plan.callers.hasher()?.clone());
    keys.load(plan);
    Some(Arc::new(keys))
}

fn announce(plan: &Plan, config: Option<&Path>) {
    let from = config
        .map_or_else(|| "the built-in configuration".to_owned(), |path| path.display().to_string());
    log::info!(
        "weir {} with {from}: {} providers, {} pools, {} routes, {} keys",
        env!("CARGO_PKG_VERSION"),
        plan.providers.len(),
        plan.pools.len(),
        plan.routes.len(),
        plan.callers.len(),
    );
    for skipped in &plan.skipped {
        log::info!("route {} is left out: {}", skipped.route, skipped.reason);
    }
    for listener in &plan.file.listeners {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        log::info!("listening on {scheme}://{}", listener.address);
    }
    log::info!("operators' listener on http://{}", plan.file.admin.address);
}

/// A proxy needs two descriptors a request: as many as the system allows.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        log::warn!("the limit of open files stays at {soft}: {error}");
    }
}
