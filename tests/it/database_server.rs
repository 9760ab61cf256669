//! A `PostgreSQL` server of the test's own, on a Unix socket in a folder of its own.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const READY_WITHIN: Duration = Duration::from_secs(30);
/// Whom a server runs as where the tests run as root, as which it refuses to: nobody.
const NOBODY: u32 = 65_534;

/// A server that ends with the test.
pub struct Server {
    folder: TempDir,
    programs: PathBuf,
    process: Option<Child>,
}

/// Where the server's programs are, if it is installed.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut folders: Vec<PathBuf> =
        versions.filter_map(|version| Some(version.ok()?.path().join("bin"))).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

impl Server {
    /// Makes a database and serves it. `None` where `PostgreSQL` is not installed.
    pub fn start() -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir().expect("a folder");
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        let mut server = Self { folder, programs, process: None };
        let made = server
            .command("initdb")
            .args(["--username=weir", "--auth=trust", "--no-sync", "--encoding=UTF8", "--pgdata"])
            .arg(server.data())
            .stdout(Stdio::null())
            .status()
            .expect("initdb");
        assert!(made.success());
        server.again();
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.current_dir(self.folder.path());
        command
    }

    /// Where it is.
    pub fn url(&self) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://weir@{folder}/postgres?sslmode=disable")
    }

    /// Serves the database again.
    pub fn again(&mut self) {
        let process = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres starts");
        self.process = Some(process);
        let give_up = Instant::now() + READY_WITHIN;
        while let Err(error) = postgres::Client::connect(&self.url(), postgres::NoTls) {
            assert!(Instant::now() < give_up, "{error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it at once, with every connection (an immediate shutdown).
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let pid = process.id().to_string();
        let asked = Command::new("kill").args(["-QUIT", &pid]).status().expect("kill");
        assert!(asked.success());
        process.wait().expect("its end");
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) {
        let mut client =
            postgres::Client::connect(&self.url(), postgres::NoTls).expect("connected");
        client.batch_execute(sql).expect("done");
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
