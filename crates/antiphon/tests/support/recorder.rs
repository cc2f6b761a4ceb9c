//! A recorder as a process, and what became of every sample that it was given.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::beside::{Server, text, wait_until};
use super::{MAY, command, rfc3339, wav};

/// Samples per second of what recorders hear here.
pub const RATE: usize = 16_000;

/// How much rounding to whole µs may add up to, in µs: one a piece at either end.
const ROUNDING: i64 = 1_000;

/// Writes so many seconds of bare PCM at [`RATE`] to a file.
pub fn microphone(folder: &Path, seed: u64, seconds: usize) -> PathBuf {
    let path = folder.join(format!("microphone-{seed}.raw"));
    std::fs::write(&path, &wav(seed, RATE as u32, RATE * seconds)[44..]).unwrap();
    path
}

/// A recorder of sensor `roof` that hears `path` at the times after `MAY + from`; `rest` goes on after it in the shell.
pub fn record(data: &Path, path: &Path, from: i64, rest: &str, more: &[&str]) -> Child {
    let start_time = rfc3339(MAY + from);
    let input = format!("cat {}{rest}", path.display());
    let arguments = ["sensor", "record", "roof", "--piece", "2", "--rate", "16000", "--start", &start_time];
    spawn(command(data, &[&arguments, more].concat(), &[]).args(["--input", &input]))
}

/// Starts a recorder whose words are kept.
pub fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// SIGKILL, and waits until it is gone; what it had said.
pub fn kill(mut recorder: Child) -> String {
    recorder.kill().unwrap();
    text(&recorder.wait_with_output().unwrap().stderr)
}

/// SIGTERM, and waits until it has ended well; what it said.
pub fn stop(recorder: Child) -> String {
    rustix::process::kill_process(rustix::process::Pid::from_child(&recorder), rustix::process::Signal::TERM).unwrap();
    let output = recorder.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

/// The files in a spool with an ending such as `flac`, earliest first.
pub fn spooled(spool: &Path, ending: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(spool).map(|entries| entries.map(|entry| entry.unwrap().path()));
    let mut files: Vec<PathBuf> = files
        .map(|files| files.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect())
        .unwrap_or_default();
    files.sort();
    files
}

/// The exit status and the answer of `antiphon sensor status roof --json`; null where it can tell nothing.
pub fn status(data: &Path) -> (i32, Value) {
    let output = command(data, &["sensor", "status", "roof", "--json"], &[]).output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// µs since 1970 of a time in an answer.
pub fn micros(value: &Value) -> i64 {
    antiphon_platform::http::time::parse(value.as_str().unwrap()).unwrap()
}

/// What the server knows of a range: the stored recordings and the gaps, as µs since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// From when to when each recording was heard, earliest first.
    pub stored: Vec<(i64, i64)>,
    /// What was not heard.
    pub gaps: Vec<(i64, i64)>,
}

impl Account {
    /// How many recordings of `roof` the server has stored.
    pub fn count(server: &Server) -> usize {
        let path = "/api/v1/sensors/roof/recordings?from=1970-01-02T00:00:00Z&to=2100-01-01T00:00:00Z&limit=1000";
        let list = server.json(path);
        list["items"].as_array().unwrap().iter().filter(|recording| recording["status"] == "stored").count()
    }

    /// Waits until the server has stored so many recordings of `roof`, and nothing is on its way; each is in it once.
    pub fn of(server: &Server, from: i64, to: i64, recordings: usize) -> Self {
        let range = format!("from={}&to={}&limit=1000", rfc3339(from), rfc3339(to));
        let list = |what: &str| server.json(&format!("/api/v1/sensors/roof/{what}?{range}"))["items"].take();
        let stored = wait_until(
            || list("recordings"),
            |list| {
                let list = list.as_array().unwrap();
                list.len() >= recordings && list.iter().all(|recording| recording["status"] == "stored")
            },
        );
        let stored = stored.as_array().unwrap().iter().map(|recording| {
            let start = micros(&recording["start"]);
            (start, start + (recording["duration"].as_f64().unwrap() * 1e6).round() as i64)
        });
        let mut stored: Vec<(i64, i64)> = stored.collect();
        stored.sort_unstable();
        assert_eq!(stored.len(), recordings, "{stored:?}");
        let gaps = list("gaps");
        let gaps = gaps.as_array().unwrap().iter().map(|gap| (micros(&gap["from"]), micros(&gap["to"]))).collect();
        Self { stored, gaps }
    }

    /// How many seconds are stored, to the ms; what is stored and the gaps make up the whole range, and nothing of it
    /// is in both.
    pub fn seconds_of(&self, from: i64, to: i64) -> f64 {
        let sum = |stretches: &[(i64, i64)]| stretches.iter().map(|(from, to)| to - from).sum::<i64>();
        let (stored, gaps) = (sum(&self.stored), sum(&self.gaps));
        assert!((stored + gaps - (to - from)).abs() <= ROUNDING, "{stored} + {gaps} of {}: {self:?}", to - from);
        (stored as f64 / 1e3).round() / 1e3
    }

    /// The gaps in seconds after `MAY`, to the ms.
    pub fn gaps_in_seconds(&self) -> Vec<(f64, f64)> {
        let seconds = |time: &i64| ((time - MAY) as f64 / 1e3).round() / 1e3;
        self.gaps.iter().map(|(from, to)| (seconds(from), seconds(to))).collect()
    }
}
