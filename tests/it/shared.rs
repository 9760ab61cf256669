//! Limits that three processes share through a real Redis.
//!
//! Wants a `redis-server` or `valkey-server`; where there is none, and `WEIR_TEST_REDIS` does not say
//! that there has to be one, these tests only say so.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weir_loadtest::mock;

use crate::limits::{self, Used};
use crate::stand::Weir;

const PROCESSES: usize = 3;

struct Redis {
    process: Child,
    port: u16,
    directory: TempDir,
}

impl Redis {
    /// On a free port. `None` where it is not installed.
    fn start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let directory = tempfile::tempdir().expect("a directory");
        let Some(process) = Self::run(port, &directory) else {
            assert!(std::env::var_os("WEIR_TEST_REDIS").is_none(), "no redis-server");
            println!("neither redis-server nor valkey-server is installed: not tested");
            return None;
        };
        Some(Self { process, port, directory })
    }

    fn run(port: u16, directory: &TempDir) -> Option<Child> {
        ["redis-server", "valkey-server"].into_iter().find_map(|program| {
            Command::new(program)
                .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
                .arg(port.to_string())
                .arg("--dir")
                .arg(directory.path())
                .stdout(Stdio::null())
                .spawn()
                .ok()
        })
    }

    fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// With nothing of what it knew before.
    fn start_again(&mut self) {
        self.process = Self::run(self.port, &self.directory).expect("it was there before");
    }

    /// Stalls, as one behind a network that drops everything, or goes on.
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Already gone is as good; one that is stalled is ended, too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Stand {
    _upstream: mock::Handle,
    redis: Redis,
    weirs: Vec<Weir>,
}

impl Stand {
    fn new(settings: &str, tenants: &[(&str, &str)]) -> Option<Self> {
        let redis = Redis::start()?;
        let answers =
            mock::Settings { tokens: mock::Tokens::fixed(200), ..mock::Settings::default() };
        let upstream = mock::spawn(answers).expect("a simulated upstream");
        let url = redis.directory.path().join("url");
        std::fs::write(&url, format!("redis://127.0.0.1:{}\n", redis.port)).expect("the address");
        let shared =
            format!("shared_limits: {{ url: {{ file: '{}' }}, {settings} }}\n", url.display());
        let weirs =
            (0..PROCESSES).map(|_| limits::weir_with(&upstream, tenants, &shared)).collect();
        let stand = Self { _upstream: upstream, redis, weirs };
        stand.wait_until_away(false);
        Some(stand)
    }

    fn wait_until_away(&self, away: bool) {
        let want = format!("weir_limit_store_away {}", u8::from(away));
        let deadline = Instant::now() + Duration::from_secs(20);
        for weir in &self.weirs {
            while !weir.metrics().lines().any(|line| line == want) {
                assert!(Instant::now() < deadline, "still not {want}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn readyz(&self) -> String {
        self.weirs[0]
            .ask_admin(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    }

    /// All clients of all processes at once, then small requests in turn until none is admitted.
    fn exhaust(&self, tenant: &str) -> Used {
        limits::all_clients(&self.weirs, tenant);
        self.use_up(tenant)
    }

    /// What is given back is there for the others a moment later, so that a limit is used up when
    /// nothing was admitted for so long.
    fn use_up(&self, tenant: &str) -> Used {
        let request = limits::chat(tenant, "", 1, 8, false);
        let mut last = Instant::now();
        while last.elapsed() < Duration::from_secs(3) {
            for weir in &self.weirs {
                if limits::ask(weir, &request, usize::MAX).starts_with("HTTP/1.1 200") {
                    last = Instant::now();
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.used(tenant)
    }

    fn used(&self, tenant: &str) -> Used {
        let mut sum = Used::default();
        for weir in &self.weirs {
            limits::wait_until_all_is_given_back(weir);
            limits::wait_until_all_is_logged(weir);
            let used = limits::used(weir, tenant);
            sum.requests += used.requests;
            sum.tokens += used.tokens;
            sum.nano_usd += used.nano_usd;
        }
        sum
    }
}

const TENANTS: [(&str, &str); 3] = [
    ("requests", "[{ requests: { day: 100 } }]"),
    ("tokens", "[{ tokens: { day: 10000 } }]"),
    ("money", "[{ budgets: [{ period: total, usd: 1 }] }]"),
];

#[test]
fn strict_limits_of_three_processes_are_exact() {
    let Some(stand) = Stand::new("mode: strict", &TENANTS) else { return };
    let requests = stand.exhaust("requests");
    assert_eq!(requests.requests, 100, "{requests:?}");
    let tokens = stand.exhaust("tokens");
    assert!((9_900..=10_000).contains(&tokens.tokens), "{tokens:?}");
    let money = stand.exhaust("money");
    assert!((990_000_000..=1_000_000_000).contains(&money.nano_usd), "{money:?}");
}

#[test]
fn leased_limits_of_three_processes_stay_within_the_formula() {
    let Some(stand) = Stand::new("mode: leased, lease_percent: 2", &TENANTS) else { return };
    // Nothing beyond the limit, and at most the others' leases below it: 2 × 2 × 2 %, and 1 % for
    // what no request is small enough for.
    let requests = stand.exhaust("requests");
    assert!((92..=100).contains(&requests.requests), "{requests:?}");
    let tokens = stand.exhaust("tokens");
    assert!((9_100..=10_000).contains(&tokens.tokens), "{tokens:?}");
    let money = stand.exhaust("money");
    assert!((910_000_000..=1_000_000_000).contains(&money.nano_usd), "{money:?}");
}

#[test]
fn a_store_that_lost_everything_learns_it_again() {
    let Some(mut stand) = Stand::new("mode: strict, timeout: 200ms", &TENANTS) else { return };
    let request = limits::chat("requests", "", 1, 8, false);
    for n in 0..50 {
        let answer = limits::ask(&stand.weirs[n % PROCESSES], &request, usize::MAX);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    stand.redis.kill();
    stand.wait_until_away(true);
    let answer = limits::ask(&stand.weirs[0], &request, usize::MAX);
    assert!(answer.starts_with("HTTP/1.1 503"), "nothing is claimed ahead: {answer}");
    let ready = stand.readyz();
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("degraded"), "{ready}");
    stand.redis.start_again();
    stand.wait_until_away(false);
    let used = stand.use_up("requests");
    assert_eq!(used.requests, 100, "{used:?}");
    assert!(!stand.readyz().contains("degraded"));
}

#[test]
fn within_its_lease_a_process_goes_on_without_the_store() {
    let settings = "mode: leased, lease_percent: 10, timeout: 200ms";
    let Some(stand) = Stand::new(settings, &TENANTS) else { return };
    let request = limits::chat("requests", "", 1, 8, false);
    let first = limits::ask(&stand.weirs[0], &request, usize::MAX);
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    stand.redis.signal("-STOP");
    let count = |weir: &Weir| {
        let asked = (0..40)
            .take_while(|_| limits::ask(weir, &request, usize::MAX).starts_with("HTTP/1.1 200"));
        asked.count()
    };
    let (one, other) = (count(&stand.weirs[0]), count(&stand.weirs[1]));
    // A lease of ten percent, at most twice of it; and nothing where nothing was claimed.
    assert!((5..=20).contains(&one) && other == 0, "{one} and {other}");
    stand.wait_until_away(true);
    stand.redis.signal("-CONT");
    stand.wait_until_away(false);
    let used = stand.use_up("requests");
    assert!((60..=100).contains(&used.requests), "{used:?}");
}

#[test]
fn without_the_store_requests_are_refused_where_that_is_wanted() {
    let settings = "mode: leased, lease_percent: 10, timeout: 200ms, when_away: refuse";
    let Some(mut stand) = Stand::new(settings, &TENANTS) else { return };
    let request = limits::chat("requests", "", 1, 8, false);
    let get = || limits::ask(&stand.weirs[0], &request, usize::MAX);
    assert!(get().starts_with("HTTP/1.1 200"));
    stand.redis.signal("-STOP");
    stand.wait_until_away(true);
    let refused = get();
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    let ready = stand.readyz();
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("the store of shared"), "{ready}");
    stand.redis.signal("-CONT");
    stand.wait_until_away(false);
    assert!(limits::ask(&stand.weirs[0], &request, usize::MAX).starts_with("HTTP/1.1 200"));
    stand.redis.kill();
}
