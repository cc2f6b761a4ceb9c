//! What the end-to-end tests share: the binary as processes, a small HTTP client, audio to send.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod beside;
pub mod database;
pub mod pages;
pub mod recorder;
pub mod results;
#[cfg(all(feature = "postgres", feature = "amqp", feature = "s3"))]
pub mod servers;
pub mod steady;
pub mod system;
pub mod traffic;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use antiphon_platform::queue::{Message, Topic};
use serde_json::Value;

/// How long a process may take to be ready, or a recording to be stored, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// 2026-05-01T00:00:00Z in µs.
pub const MAY: i64 = 1_777_593_600_000_000;

/// A running `antiphon`; killed when dropped.
pub struct Antiphon {
    child: Child,
    /// `http://ADDR:PORT`, for roles that listen.
    pub url: Option<String>,
    log: PathBuf,
}

/// Starts the binary with `arguments` on a data folder and waits until it says that it is ready.
pub fn start(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Antiphon {
    match try_start(data, arguments, environment) {
        Ok(antiphon) => antiphon,
        Err(log) => panic!("antiphon {arguments:?} did not become ready:\n{log}"),
    }
}

/// Like [`start`]; gives the log when the process ends before it is ready.
pub fn try_start(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Antiphon, String> {
    let logs = data.with_extension("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let log = (0..).map(|number| logs.join(format!("{}-{number}", arguments.join("-").replace('/', "_"))));
    let log = log.into_iter().find(|path| !path.exists()).unwrap();
    let mut child = command(data, arguments, environment)
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let lines = lines(child.stdout.take().unwrap());
    match lines.recv_timeout(PATIENCE) {
        Ok(line) => {
            let url = line.find("http://").map(|at| line[at..].trim().to_owned());
            Ok(Antiphon { child, url, log })
        }
        Err(_) => {
            let _ = child.kill();
            let status = child.wait().unwrap();
            Err(format!("{status}\n{}", std::fs::read_to_string(&log).unwrap_or_default()))
        }
    }
}

/// The binary with arguments, on a data folder, without the surroundings' settings.
pub fn command(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANTIPHON_")) {
        command.env_remove(name);
    }
    command.args(arguments).arg("--data").arg(data).stdin(Stdio::null());
    command.current_dir(data.parent().unwrap()).envs(environment.iter().copied());
    command
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Antiphon {
    /// Its address; panics for roles that do not listen.
    pub fn url(&self) -> &str {
        self.url.as_deref().expect("this role does not listen")
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for the exit status.
    pub fn stop(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends by itself (a crash point); panics with the log when it does not in time.
    pub fn wait_for_end(&mut self) {
        let (sender, ended) = channel();
        let pid = self.child.id();
        std::thread::spawn(move || {
            // `tail --pid` returns when the process is gone, without a loop of our own.
            let _ = Command::new("tail").args([&format!("--pid={pid}"), "-f", "/dev/null"]).status();
            let _ = sender.send(());
        });
        // A zombie still counts as a process, so it is reaped here as soon as it ends.
        let deadline = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            let _ = ended.recv_timeout(Duration::from_millis(20));
        }
        panic!("the process did not reach its crash point:\n{}", self.log());
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Antiphon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An answer: status, headers that tests look at, body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {} {:?}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// A header's value, or empty.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// A client with one key.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    key: String,
}

impl Client {
    /// A client that sends `key` (none if empty).
    pub fn new(key: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        Self { agent, key: key.to_owned() }
    }

    /// The operator of a data folder on which `up` or `run api` was started.
    pub fn operator(data: &Path) -> Self {
        Self::new(std::fs::read_to_string(data.join("operator.key")).expect("operator.key").trim())
    }

    /// GET.
    pub fn get(&self, url: &str) -> Result<Answer, ureq::Error> {
        self.send("GET", url, &[], b"")
    }

    /// A request with headers and a body.
    pub fn send(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if !self.key.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = if body.is_empty() && (method == "GET" || method == "DELETE") {
            self.agent.run(request.body(()).unwrap())?
        } else {
            self.agent.run(request.body(body).unwrap())?
        };
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut content = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut content).map_err(ureq::Error::from)?;
        Ok(Answer { status: response.status().as_u16(), headers, body: content })
    }

    /// POST of JSON.
    pub fn post_json(&self, url: &str, body: &Value) -> Answer {
        self.send("POST", url, &[("content-type", "application/json")], body.to_string().as_bytes()).unwrap()
    }
}

/// A number that whoever runs the test may set.
pub fn parameter(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// `2026-05-01T00:00:00.000000Z` of µs since 1970.
pub fn rfc3339(time: i64) -> String {
    antiphon_platform::http::time::format(time)
}

/// A deterministic source of numbers (SplitMix64, Steele, Lea and Flood 2014).
pub struct Numbers(pub u64);

impl Numbers {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A 16-bit mono WAV of a tone that comes and goes over noise.
pub fn wav(seed: u64, rate: u32, samples: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let pitch = 200.0 + numbers.below(2_000) as f64;
    let mut body = Vec::with_capacity(44 + samples * 2);
    let size = (samples * 2) as u32;
    body.extend_from_slice(b"RIFF");
    body.extend_from_slice(&(36 + size).to_le_bytes());
    body.extend_from_slice(b"WAVEfmt ");
    body.extend_from_slice(&16u32.to_le_bytes());
    body.extend_from_slice(&1u16.to_le_bytes());
    body.extend_from_slice(&1u16.to_le_bytes());
    body.extend_from_slice(&rate.to_le_bytes());
    body.extend_from_slice(&(rate * 2).to_le_bytes());
    body.extend_from_slice(&2u16.to_le_bytes());
    body.extend_from_slice(&16u16.to_le_bytes());
    body.extend_from_slice(b"data");
    body.extend_from_slice(&size.to_le_bytes());
    for n in 0..samples {
        let t = n as f64 / f64::from(rate);
        let tone = (t * pitch * std::f64::consts::TAU).sin() * (t * 3.0).sin().max(0.0) * 9_000.0;
        let noise = (numbers.below(2_001) as f64 - 1_000.0) * 0.5;
        body.extend_from_slice(&((tone + noise) as i16).to_le_bytes());
    }
    body
}

/// Every file below a folder with its bytes, but those below folders that are `left_out` by name.
pub fn contents(folder: &Path, left_out: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if path.is_dir() {
                let is_left_out = left_out.iter().any(|name| entry.file_name() == *name);
                folders.extend((!is_left_out).then_some(path));
            } else if path.is_file() {
                all.insert(path.display().to_string(), std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// A message that nobody can use, for a topic.
pub fn message(topic: Topic) -> Message {
    Message {
        id: topic.0.to_owned(),
        kind: String::from("antiphon.test.v1"),
        source: String::from("sensors/roof"),
        time: 0,
        trace: String::new(),
        body: Vec::new().into(),
    }
}
