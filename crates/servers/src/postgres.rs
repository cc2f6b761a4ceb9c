//! PostgreSQL, from Debian's package.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ports::{Port, reserve};
use crate::process::Process;
use crate::{ADMIN, ADMIN_PASSWORD};

/// What a server does for its data's sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in production: a commit is on the disk. For tests that kill the server.
    Full,
    /// No fsync: quick, for tests that do not.
    None,
}

/// A PostgreSQL server.
pub struct Postgres {
    address: SocketAddr,
    /// None when `cargo xtask test` started it.
    own: Option<(Process, Port)>,
}

/// A database of one's own on a server; dropped with this.
pub struct Database<'a> {
    server: &'a Postgres,
    name: String,
}

impl Postgres {
    /// Starts a server; it is ready when this returns.
    #[must_use]
    pub fn start(durability: Durability) -> Self {
        Self::start_with(durability, &[])
    }

    /// Starts a server with more settings of `postgresql.conf`, each a name and its value, such as `shared_buffers` and
    /// `1GB`; it is ready when this returns.
    #[must_use]
    pub fn start_with(durability: Durability, settings: &[(&str, &str)]) -> Self {
        let (process, port) = (Process::new("postgres", Some("postgres")), reserve());
        let password = process.write("password", ADMIN_PASSWORD);
        let data = process.folder().join("data");
        process.run(
            process
                .command(program("initdb"))
                .args(["--username", ADMIN, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"])
                .args(["--no-sync", "--pgdata"])
                .arg(&data)
                .arg("--pwfile")
                .arg(password),
        );
        let certificate = crate::tls::make(&process);
        let on = if durability == Durability::Full { "on" } else { "off" };
        let more: String = settings.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
        process.write(
            "data/postgresql.auto.conf",
            &format!(
                "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\nmax_connections = 300\n\
                 fsync = {on}\nsynchronous_commit = {on}\nfull_page_writes = {on}\nlog_min_messages = warning\n\
                 timezone = 'UTC'\nssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n{more}",
                port.number,
                certificate.certificate.display(),
                certificate.key.display()
            ),
        );
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let server = Self { address, own: Some((process, port)) };
        server.restart();
        server
    }

    /// The server that this test process, or the whole run of `cargo xtask test`, shares. Without durability.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match crate::address_from("TEST_POSTGRES_URL") {
            Some(address) => Self { address, own: None },
            None => Self::start(Durability::None),
        })
    }

    /// Starts a standby of this server, which follows it and can only be read; it is ready when this returns.
    #[must_use]
    pub fn standby(&self) -> Self {
        let (process, port) = (Process::new("standby", Some("postgres")), reserve());
        let data = process.folder().join("data");
        process.run(
            process
                .command(program("pg_basebackup"))
                .args(["--write-recovery-conf", "--checkpoint", "fast", "--no-sync", "--dbname"])
                .arg(self.url())
                .arg("--pgdata")
                .arg(&data),
        );
        let copied = std::fs::read_to_string(data.join("postgresql.auto.conf")).expect("the copy can be read");
        process.write("data/postgresql.auto.conf", &format!("{copied}\nport = {}\n", port.number));
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let server = Self { address, own: Some((process, port)) };
        server.restart();
        server
    }

    /// Its administrator's URL, of the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        url(ADMIN, ADMIN_PASSWORD, self.address, "postgres")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new, empty database.
    pub fn database(&self) -> Database<'_> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        self.execute_as_admin(&format!("CREATE DATABASE {name}"));
        Database { server: self, name }
    }

    /// Runs statements as the administrator in the database `postgres`; the answer's values, a line a row, `|` between.
    pub fn execute_as_admin(&self, sql: &str) -> String {
        execute(&self.url(), sql)
    }

    /// Whether the server answers its own client now.
    #[must_use]
    pub fn answers(&self) -> bool {
        psql(&self.url(), "SELECT 1").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
    }

    /// The certificate, in PEM, that a client must trust for TLS on the same port.
    #[must_use]
    pub fn authority(&self) -> String {
        self.process().read("authority.pem")
    }

    /// Shows whoever connects from now on a certificate that ran out long ago.
    pub fn expire_certificate(&self) {
        crate::tls::expire(self.process());
        self.execute_as_admin("SELECT pg_reload_conf()");
    }

    /// Shows a certificate that is valid, after [`expire_certificate`](Self::expire_certificate).
    pub fn renew_certificate(&self) {
        crate::tls::renew(self.process());
        self.execute_as_admin("SELECT pg_reload_conf()");
    }

    /// The name of its folder below the temporary folder, which its processes carry in `ANTIPHON_TEST_SERVER`.
    #[must_use]
    pub fn mark(&self) -> String {
        self.process().mark().to_owned()
    }

    /// SIGKILL for all of its processes; returns when they are gone.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Starts the killed server again on the same data and port; returns when it answers.
    pub fn restart(&self) {
        self.restart_in_background();
        self.process().wait_until(|| self.answers());
    }

    /// Like [`Postgres::restart`], but returns at once.
    pub fn restart_in_background(&self) {
        let process = self.process();
        process.launch(process.command(program("postgres")).arg("-D").arg(process.folder().join("data")));
    }

    /// Ends the server in order.
    pub fn stop(self) {
        if let Some((process, _)) = &self.own {
            let mut stop = process.command(program("pg_ctl"));
            process.run(stop.args(["stop", "--mode", "fast", "-D"]).arg(process.folder().join("data")));
        }
    }

    fn process(&self) -> &Process {
        let (process, _) = self.own.as_ref().expect("the shared server belongs to all tests: start one of your own");
        process
    }
}

impl Database<'_> {
    /// Its administrator's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.server.address)
    }

    /// The administrator's URL by way of another address, such as a proxy's.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        url(ADMIN, ADMIN_PASSWORD, address, &self.name)
    }

    /// The URL of another account.
    #[must_use]
    pub fn url_of(&self, user: &str, password: &str) -> String {
        url(user, password, self.server.address, &self.name)
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements as the administrator; the answer's values, a line a row, `|` between.
    pub fn execute_as_admin(&self, sql: &str) -> String {
        execute(&self.url(), sql)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // A killed server's databases went with it, or go with its folder.
        let drop_it = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = psql(&self.server.url(), &drop_it).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn url(user: &str, password: &str, address: SocketAddr, database: &str) -> String {
    format!("postgres://{}:{}@{address}/{database}", crate::http::segment(user), crate::http::segment(password))
}

fn psql(url: &str, sql: &str) -> Command {
    let mut command = Command::new(program("psql"));
    command.args([
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--set",
        "ON_ERROR_STOP=1",
        "--command",
        sql,
    ]);
    command.arg("--dbname").arg(url).env("PGCONNECT_TIMEOUT", "3").stdin(Stdio::null());
    command
}

fn execute(url: &str, sql: &str) -> String {
    let output = psql(url, sql).output().expect("psql runs");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A program of the newest installed PostgreSQL.
fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
            let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
            installed
                .map(|entry| entry.path())
                .filter(|folder| folder.join("bin/initdb").is_file())
                .max_by_key(|folder| version(folder))
                .expect("PostgreSQL is not installed: run `cargo xtask servers` once")
                .join("bin")
        })
        .join(name)
}
