//! Brings pieces to the server: in order, again and again until it has them.

use std::time::{Duration, Instant};

use antiphon_platform::clock::{Clock, Micros, SECOND, micros};
use antiphon_platform::http::time;
use anyhow::Result;

use crate::cli::Globals;
use crate::commands::server::{RequestError, Server, ServerOptions, encoded};

/// The first and the longest wait after a failure.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Sends the pieces of one sensor.
pub struct Sender {
    sensor: String,
    options: ServerOptions,
    globals: Globals,
    clock: Clock,
    server: Option<Server>,
    wait: Duration,
}

/// What became of one attempt.
pub enum Attempt {
    /// The server has the piece; its clock is ahead of ours by so many µs, if it said so.
    Accepted(Option<Micros>),
    /// Not now: the reason, and how long to wait.
    Later(String, Duration),
    /// Never: the reason.
    Refused(String),
}

impl Sender {
    /// For one sensor at the server that the options name.
    pub fn new(sensor: &str, options: &ServerOptions, globals: &Globals, clock: Clock) -> Self {
        let (sensor, options, globals) = (sensor.to_owned(), options.clone(), globals.clone());
        Self { sensor, options, globals, clock, server: None, wait: WAITS.0 }
    }

    /// Asks once whether there is such a sensor and the key may send for it. A server that cannot be reached is
    /// no error: the sender waits for it; what was wrong is said then.
    ///
    /// # Errors
    /// When the server says no, or none is named.
    pub fn check(&mut self) -> Result<Option<String>> {
        let server = self.find()?;
        match server.get(&format!("/api/v1/sensors/{}", encoded(&self.sensor))) {
            Ok(_) => Ok(None),
            Err(error) if error.is_temporary() => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a piece once.
    pub fn send(&mut self, start: Micros, lead_in: Micros, audio: &[u8]) -> Attempt {
        let server = match self.find() {
            Ok(server) => server,
            Err(error) => return self.later(format!("{error:#}"), None),
        };
        let mut path = format!("/api/v1/sensors/{}/recordings?start={}", encoded(&self.sensor), time::format(start));
        if lead_in > 0 {
            path.push_str(&format!("&lead_in={}.{:06}", lead_in / SECOND, lead_in % SECOND));
        }
        let begun = Instant::now();
        let sent_at = self.clock.now();
        match server.upload(&path, &[("content-type", "audio/flac")], &mut &*audio, audio.len() as u64) {
            Ok(answer) => {
                self.wait = WAITS.0;
                let ours = sent_at + micros(begun.elapsed()) / 2;
                // The header has whole seconds, cut off.
                Attempt::Accepted(answer.date().map(|theirs| theirs + SECOND / 2 - ours))
            }
            Err(error) if error.is_temporary() || is_curable(&error) => {
                // The server may have come back elsewhere, or with another token.
                self.server = None;
                self.later(error.to_string(), error.retry_after())
            }
            Err(error) => Attempt::Refused(error.to_string()),
        }
    }

    fn find(&mut self) -> Result<Server> {
        if self.server.is_none() {
            self.server = Some(Server::find(&self.options, &self.globals)?);
        }
        self.server.clone().ok_or_else(|| anyhow::anyhow!("no server"))
    }

    fn later(&mut self, reason: String, asked: Option<Duration>) -> Attempt {
        let wait = self.wait;
        self.wait = (wait * 2).min(WAITS.1);
        // A network of sensors that lost its server together should not come back in one step.
        let jitter = wait.mul_f64(f64::from(self.clock.now().rem_euclid(1_000) as u16) / 4_000.0);
        Attempt::Later(reason, asked.unwrap_or(wait).max(WAITS.0).min(WAITS.1) + jitter)
    }
}

/// Refusals that an operator ends: a key that is wrong or missing, a sensor that is not there (yet).
fn is_curable(error: &RequestError) -> bool {
    matches!(error.status(), Some(401 | 403 | 404))
}
