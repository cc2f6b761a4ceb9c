//! A whole system under test: one `up`, or one process a role, that can be killed and started again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{Antiphon, Client, start, try_start};

/// Where processes keep what is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folders {
    /// All on one data folder: embedded engines.
    Shared,
    /// Each on one of its own, as on machines of their own: nothing is shared but servers.
    Each,
}

/// The system under test. Processes are named after their role; `ROLE#2` is a second one of it.
pub struct System {
    data: PathBuf,
    folders: Folders,
    environment: Vec<(String, String)>,
    processes: Mutex<BTreeMap<&'static str, Antiphon>>,
    /// `127.0.0.1:PORT` of `up` or `api`.
    listen: String,
}

impl System {
    /// Starts the processes `names`, one after the other.
    pub fn start(data: &Path, folders: Folders, environment: &[(String, String)], names: &[&'static str]) -> Self {
        // A port that is free now; the processes that follow ask for it by number, to be found after a kill.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if folders == Folders::Each {
            std::fs::create_dir_all(data).unwrap();
        }
        let system = Self {
            data: data.to_owned(),
            folders,
            environment: environment.to_vec(),
            processes: Mutex::new(BTreeMap::new()),
            listen: format!("127.0.0.1:{port}"),
        };
        for name in names {
            system.launch(name);
        }
        system
    }

    /// Starts a process.
    pub fn launch(&self, name: &'static str) {
        let process = start(&self.folder(name), &self.arguments(name), &self.environment(&[]));
        self.processes.lock().unwrap().insert(name, process);
    }

    /// SIGKILL, and starts it again.
    pub fn kill(&self, name: &'static str) {
        let process = self.processes.lock().unwrap().remove(name);
        drop(process);
        self.launch(name);
    }

    /// SIGTERM, waits for its end, which must be a good one, and starts it again.
    pub fn restart(&self, name: &'static str) {
        let process = self.processes.lock().unwrap().remove(name).unwrap();
        let status = process.stop();
        assert!(status.success(), "{name} did not stop well: {status}");
        self.launch(name);
    }

    /// Replaces a process by one that dies at the `count`-th pass of a step, waits for that, and starts it again.
    pub fn kill_at(&self, name: &'static str, step: &str, count: u64) {
        drop(self.processes.lock().unwrap().remove(name));
        let crash = format!("{step}:{count}");
        let environment = [("ANTIPHON_CRASH_POINT", &*crash)];
        match try_start(&self.folder(name), &self.arguments(name), &self.environment(&environment)) {
            Ok(mut process) => process.wait_for_end(),
            // It found work and died before it was ready.
            Err(log) => assert!(log.contains("SIGKILL"), "{name} did not start: {log}"),
        }
        self.launch(name);
    }

    /// The HTTP API of `up` or `api`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// The HTTP API of `name`, such as `query`.
    pub fn url_of(&self, name: &str) -> String {
        self.processes.lock().unwrap()[name].url().to_owned()
    }

    /// The operator whose key `up` or `api` left in its folder.
    pub fn operator(&self) -> Client {
        let name = if self.processes.lock().unwrap().contains_key("up") { "up" } else { "api" };
        Client::operator(&self.folder(name))
    }

    /// The process ids by name.
    pub fn pids(&self) -> BTreeMap<&'static str, u32> {
        self.processes.lock().unwrap().iter().map(|(name, process)| (*name, process.pid())).collect()
    }

    /// The anonymous memory that each process holds, in MB, by name.
    pub fn rss_anon(&self) -> BTreeMap<&'static str, f64> {
        let of = |pid: u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1_024.0 / 1e6
        };
        self.pids().into_iter().map(|(name, pid)| (name, of(pid))).collect()
    }

    /// The process's log; panics without one of that name.
    pub fn log(&self, name: &str) -> String {
        self.processes.lock().unwrap()[name].log()
    }

    fn folder(&self, name: &str) -> PathBuf {
        match self.folders {
            Folders::Shared => self.data.clone(),
            Folders::Each => self.data.join(name),
        }
    }

    fn arguments(&self, name: &'static str) -> Vec<&str> {
        let role = name.split('#').next().unwrap();
        let mut arguments = match role {
            "up" => vec!["up"],
            _ => vec!["run", role],
        };
        match name {
            "up" | "api" => arguments.extend(["--listen", &self.listen]),
            "query" => arguments.extend(["--listen", "127.0.0.1:0"]),
            _ => {}
        }
        arguments
    }

    fn environment<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(more.iter().copied()).collect()
    }
}
