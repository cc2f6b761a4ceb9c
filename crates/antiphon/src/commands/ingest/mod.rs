//! `antiphon ingest`: files and folders become songs.

mod files;
mod progress;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::output::{counted, print_json, print_line};
use super::server::{RequestError, Server, ServerOptions, encoded};
use crate::cli::Globals;
use progress::Progress;

/// Files sent at once, unless told otherwise: enough to hide the network, too few to matter to memory.
const UPLOADS: &str = "4";

/// For how long a server that is away or busy is asked again before a file is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// The first and the longest wait between two attempts.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Options of `antiphon ingest`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Folders are searched for files that begin like audio; others are skipped and counted, and named if their names \
                  end like those of audio, or with --verbose. A file that is there already (the same bytes) is not stored twice.\n\nExit codes: 0 all accepted, 1 some refused (each is named with \
                  its reason), 2 could not run.\n\nExamples:\n  antiphon ingest ~/Music\n  antiphon ingest one.flac two.wav --no-wait\n  \
                  antiphon ingest --json /srv/music --server https://audio.example.org --key-file operator.key"
)]
pub struct Arguments {
    /// Files and folders.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Do not wait until the songs are analysed.
    #[arg(long)]
    no_wait: bool,
    /// How many files are sent at once.
    #[arg(long, value_name = "COUNT", default_value = UPLOADS, value_parser = clap::value_parser!(u8).range(1..=64))]
    uploads: u8,
    /// Name every file in folders that is skipped.
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// What became of one file.
struct Outcome {
    path: PathBuf,
    id: Option<String>,
    /// Whether the server had it before.
    was_there: bool,
    status: Status,
    reason: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Stored,
    Accepted,
    Failed,
    Refused,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Accepted => "accepted",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// Counts for the closing line.
#[derive(Default)]
struct Totals {
    stored: usize,
    accepted: usize,
    /// Stored or accepted, and there before.
    there: usize,
    failed: usize,
    refused: usize,
}

/// What the threads of one run share.
struct Run<'a> {
    server: &'a Server,
    files: &'a [(PathBuf, u64)],
    wait: bool,
    next: AtomicUsize,
    progress: &'a Progress,
    /// Set when nothing more will succeed: the key is refused.
    hopeless: AtomicBool,
}

/// Runs `antiphon ingest`.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    let server = Server::find(&arguments.server, globals)?;
    // Says at once, before anything is read, when there is no server or no valid key.
    server.get("/api/v1/songs?limit=1")?;
    let found = files::find(&arguments.paths);
    for path in &found.skipped {
        if files::is_named_like_audio(path) {
            eprintln!("not supported: {}", path.display());
        } else if arguments.verbose {
            eprintln!("no audio: {}", path.display());
        }
    }
    let progress = Progress::new(found.files.iter().map(|(_, size)| size).sum(), !arguments.no_wait);
    let run = Run {
        server: &server,
        files: &found.files,
        wait: !arguments.no_wait,
        next: AtomicUsize::new(0),
        progress: &progress,
        hopeless: AtomicBool::new(false),
    };
    let (report, outcomes) = channel();
    for (path, reason) in found.unusable {
        let outcome = Outcome { path, id: None, was_there: false, status: Status::Refused, reason: Some(reason) };
        // The receiver lives until all senders are gone.
        let _ = report.send(outcome);
    }
    let (totals, denied) = run.all(usize::from(arguments.uploads), report, &outcomes, globals)?;
    progress.finish();
    if let Some(reason) = denied {
        bail!("{} does not take songs with this key: {reason}", server.address());
    }
    if !globals.json {
        print_line(&totals.summary(found.skipped.len()))?;
    } else if !found.skipped.is_empty() {
        eprintln!("{} in folders skipped: no audio", counted(found.skipped.len(), "file"));
    }
    Ok(if totals.refused + totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl Run<'_> {
    /// Sends all files and reports what becomes of each; the totals, and why the key was refused if it was.
    fn all(
        &self,
        uploads: usize,
        report: Sender<Outcome>,
        outcomes: &Receiver<Outcome>,
        globals: &Globals,
    ) -> Result<(Totals, Option<String>)> {
        let denied = Mutex::new(None);
        std::thread::scope(|scope| {
            let (uploaded, to_wait_for) = channel();
            for _ in 0..uploads {
                let (report, uploaded, denied) = (report.clone(), uploaded.clone(), &denied);
                scope.spawn(move || self.send_files(&report, &uploaded, denied));
            }
            drop(uploaded);
            scope.spawn(move || self.wait_for_songs(&to_wait_for, &report));
            let mut totals = Totals::default();
            for outcome in outcomes {
                totals.add(&outcome);
                self.progress.hidden_while(|| tell(&outcome, globals))?;
            }
            let denied = denied.lock().unwrap_or_else(PoisonError::into_inner).take();
            Ok((totals, denied))
        })
    }

    /// One thread's share of the files.
    fn send_files(&self, report: &Sender<Outcome>, uploaded: &Sender<(usize, Taken)>, denied: &Mutex<Option<String>>) {
        while !self.hopeless.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((path, size)) = self.files.get(index) else { return };
            match self.send_file(path, *size) {
                Ok(taken) if self.wait => {
                    let _ = uploaded.send((index, taken));
                }
                Ok(taken) => {
                    let _ = report.send(taken.outcome(path, Status::Accepted, None));
                }
                Err(refusal) => {
                    if matches!(refusal.status, Some(401 | 403)) {
                        self.hopeless.store(true, Ordering::Relaxed);
                        denied.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refusal.reason);
                        return;
                    }
                    self.progress.add_stored(*size);
                    let (status, reason) = (Status::Refused, Some(refusal.reason));
                    let _ = report.send(Outcome { path: path.clone(), id: None, was_there: false, status, reason });
                }
            }
        }
    }

    /// Sends a file until the server takes or refuses it.
    fn send_file(&self, path: &Path, size: u64) -> Result<Taken, Refused> {
        let begun = Instant::now();
        let mut wait = WAITS.0;
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let disposition = format!("attachment; filename*=UTF-8''{}", encoded(&name));
        loop {
            let file = File::open(path).map_err(|error| Refused { status: None, reason: error.to_string() })?;
            let mut body = Counted { file: file.take(size), progress: self.progress, read: 0 };
            let headers = [("content-disposition", disposition.as_str()), ("content-type", "application/octet-stream")];
            let error = match self.server.upload("/api/v1/songs", &headers, &mut body, size) {
                Ok(answer) => {
                    let answer = answer.json();
                    let was_there = answer["duplicate"].as_bool().unwrap_or(false);
                    return match answer["id"].as_str() {
                        Some(id) => Ok(Taken { id: id.to_owned(), was_there }),
                        None => {
                            Err(Refused { status: None, reason: format!("{} is no Antiphon", self.server.address()) })
                        }
                    };
                }
                Err(error) => error,
            };
            self.progress.take_back_sent(body.read);
            if !error.is_temporary() || begun.elapsed() > PATIENCE {
                return Err(Refused::from(error));
            }
            std::thread::park_timeout(error.retry_after().unwrap_or(wait).min(WAITS.1));
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// Reports each uploaded song when it is stored or has failed, asking for the oldest first.
    fn wait_for_songs(&self, uploaded: &Receiver<(usize, Taken)>, report: &Sender<Outcome>) {
        for (index, taken) in uploaded {
            let (path, size) = &self.files[index];
            let (status, reason) = self.wait_for(&taken.id);
            self.progress.add_stored(*size);
            let _ = report.send(taken.outcome(path, status, reason));
        }
    }

    fn wait_for(&self, id: &str) -> (Status, Option<String>) {
        let mut heard = Instant::now();
        loop {
            match self.server.get(&format!("/api/v1/songs/{id}?wait=20")) {
                Ok(song) => {
                    heard = Instant::now();
                    match song["status"].as_str() {
                        Some("stored") => return (Status::Stored, None),
                        Some("failed") => return (Status::Failed, Some(text(&song["reason"]))),
                        _ => {}
                    }
                }
                Err(error) if error.is_temporary() && heard.elapsed() < PATIENCE => {
                    std::thread::park_timeout(error.retry_after().unwrap_or(WAITS.0));
                }
                Err(error) => return (Status::Failed, Some(error.reason())),
            }
        }
    }
}

/// A song that the server has taken.
struct Taken {
    id: String,
    /// Whether the server had it before.
    was_there: bool,
}

impl Taken {
    fn outcome(self, path: &Path, status: Status, reason: Option<String>) -> Outcome {
        Outcome { path: path.to_owned(), id: Some(self.id), was_there: self.was_there, status, reason }
    }
}

/// Why a file was not taken.
struct Refused {
    status: Option<u16>,
    reason: String,
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        Self { status: error.status(), reason: error.reason() }
    }
}

/// A file that tells how much of it was read.
struct Counted<'a> {
    file: io::Take<File>,
    progress: &'a Progress,
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read += count as u64;
        self.progress.add_sent(count as u64);
        Ok(count)
    }
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        match outcome.status {
            Status::Stored | Status::Accepted if outcome.was_there => self.there += 1,
            Status::Stored => self.stored += 1,
            Status::Accepted => self.accepted += 1,
            Status::Failed => self.failed += 1,
            Status::Refused => self.refused += 1,
        }
    }

    fn summary(&self, skipped: usize) -> String {
        let counts = [
            (self.stored, if self.there > 0 { "new" } else { "stored" }),
            (self.accepted, "accepted"),
            (self.there, "already there"),
            (self.failed, "failed"),
            (self.refused, "refused"),
            (skipped, "skipped (no audio)"),
        ];
        // Where nothing is new it says so.
        let is_said = |(count, what): &&(usize, &str)| *count > 0 || (*what == "new" && self.accepted == 0);
        let said: Vec<String> = counts.iter().filter(is_said).map(|(count, what)| format!("{count} {what}")).collect();
        if said.is_empty() { String::from("nothing to do: no files") } else { said.join(", ") }
    }
}

/// Says what became of a file: a line each for programs, what needs attention for people.
fn tell(outcome: &Outcome, globals: &Globals) -> Result<()> {
    let Outcome { path, id, status, reason, .. } = outcome;
    let path = path.display();
    if globals.json {
        return print_json(&json!({"path": path.to_string(), "id": id, "status": status.name(), "reason": reason}));
    }
    if matches!(status, Status::Failed | Status::Refused) {
        eprintln!("{}: {path}: {}", status.name(), reason.as_deref().unwrap_or("no reason given"));
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("no reason given").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_tells_new_songs_from_those_that_were_there() {
        let totals = |stored, accepted, there| Totals { stored, accepted, there, ..Totals::default() };
        assert_eq!(totals(22, 0, 0).summary(1), "22 stored, 1 skipped (no audio)");
        assert_eq!(totals(0, 0, 22).summary(0), "0 new, 22 already there");
        assert_eq!(totals(3, 0, 22).summary(0), "3 new, 22 already there");
        assert_eq!(totals(0, 3, 22).summary(0), "3 accepted, 22 already there");
        assert_eq!(totals(0, 0, 0).summary(0), "nothing to do: no files");
    }
}
