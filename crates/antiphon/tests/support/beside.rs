//! An `up` on a data folder of its own, and commands beside it, as people run them.

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Antiphon, Client, PATIENCE, command, start};

/// A running `up` with its data folder.
pub struct Server {
    /// Holds the data folder `data`, and whatever a test puts beside it.
    pub folder: tempfile::TempDir,
    /// The process.
    pub up: Antiphon,
}

impl Server {
    /// Starts it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let up = start(&folder.path().join("data"), &["up", "--listen", "127.0.0.1:0"], &[]);
        Self { folder, up }
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs a command beside the server, so without any key.
    pub fn run(&self, arguments: &[&str]) -> Output {
        command(&self.data(), arguments, &[]).output().unwrap()
    }

    /// Starts it again, at another address and with another token.
    pub fn start_again(&mut self) {
        self.up = start(&self.data(), &["up", "--listen", "127.0.0.1:0"], &[]);
    }

    /// What the API says there, to an operator.
    pub fn json(&self, path: &str) -> Value {
        Client::operator(&self.data()).get(&format!("{}{path}", self.up.url())).unwrap().json()
    }
}

/// What a program printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Asks again until it is so; the answer is told when it never is.
pub fn wait_until<T: std::fmt::Debug>(ask: impl Fn() -> T, is_so: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "still {answer:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
