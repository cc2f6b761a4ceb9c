//! `antiphon sensor status`: how a recorder on this machine is doing, from its spool alone; no server is asked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::http::time;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};

use super::ledger::{Said, State, Time};
use super::progress::SKEW_WORTH_SAYING;
use super::{spool, unfinished};
use crate::cli::Globals;
use crate::commands::output::{cell, counted, print_json, print_json_list, print_line};

/// A recorder that has heard nothing for as long has no microphone any more.
const DEAF: Micros = 60 * SECOND;
/// A server that is away for as long is worth a look; shorter than that it may just be restarted.
const AWAY: Micros = 60 * SECOND;
/// What was lost is worth a look for as long afterwards.
const RECENT: Micros = 24 * 3_600 * SECOND;

/// Options of `antiphon sensor status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status, for monitoring: 0 all recorders run and are well; 1 one of them needs a look (no audio, or no server, for \
                  a minute; a clock that is off by more than 2 s; audio given up or refused in the last 24 hours); 2 it could not \
                  be told; 3 a recorder does not run.\n\nExamples:\n  antiphon sensor status\n  antiphon sensor status roof --json\n  \
                  sudo antiphon sensor status --spool /var/lib/antiphon-sensor/roof"
)]
pub struct Arguments {
    /// The sensor's id; without it, every sensor that has a spool in the data folder.
    id: Option<String>,
    /// Where its pieces are kept; default spool/ID in the data folder.
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
}

/// How one recorder is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    sensor: String,
    /// Its folder.
    spool: PathBuf,
    /// Whether a recorder runs.
    running: bool,
    /// What needs a look, in words; nothing when all is well.
    problems: Vec<String>,
    waiting: Waiting,
    /// When the last block of audio came.
    last_heard: Option<Time>,
    #[serde(flatten)]
    state: State,
}

/// What waits to be sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Waiting {
    pieces: usize,
    bytes: u64,
    /// When the oldest of it was heard.
    oldest: Option<Time>,
}

/// Runs `antiphon sensor status`.
pub fn run(arguments: &Arguments, globals: &Globals) -> Result<ExitCode> {
    let now = Clock::system().now();
    let folders = match (&arguments.id, &arguments.spool) {
        (None, None) => all(&super::spools(globals))?,
        (id, named) => vec![super::spool_folder(named.as_deref(), id.as_deref().unwrap_or_default(), globals)],
    };
    let mut reports = Vec::new();
    for folder in folders {
        let report = look(&folder, now).with_context(|| format!("the spool {} cannot be read", folder.display()))?;
        if let Some(id) = arguments.id.as_ref().filter(|id| **id != report.sensor) {
            bail!("the spool {} is of sensor {}, not of {id}", folder.display(), report.sensor);
        }
        reports.push(report);
    }
    if globals.json {
        let items = reports.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
        match (&items[..], &arguments.id, &arguments.spool) {
            (_, None, None) => print_json_list(&items)?,
            (items, _, _) => print_json(items.first().unwrap_or(&Value::Null))?,
        }
    } else {
        for report in &reports {
            print_line(&report.text(now))?;
        }
    }
    Ok(exit_code(&reports))
}

fn exit_code(reports: &[Report]) -> ExitCode {
    if reports.iter().any(|report| !report.running) {
        return ExitCode::from(3);
    }
    if reports.iter().any(|report| !report.problems.is_empty()) { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// The spools in a folder of spools.
fn all(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        entries => entries
            .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
            .with_context(|| format!("{} cannot be read", folder.display()))?,
    };
    let mut folders: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).filter(|path| path.is_dir()).collect();
    folders.sort();
    if folders.is_empty() {
        bail!(
            "no recorder has ever run on {}: name its data folder with --data, or its spool with --spool",
            folder.display()
        );
    }
    Ok(folders)
}

/// Looks into a spool.
fn look(folder: &Path, now: Micros) -> Result<Report> {
    let pieces = match spool::list(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!("no recorder has ever used it"),
        pieces => pieces?,
    };
    let running = spool::is_used(folder)?;
    let state = State::read(folder).context("its state")?.unwrap_or_default();
    let last_heard = last_heard(folder, &state)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let sensor = if state.sensor.is_empty() { name.into_owned() } else { state.sensor.clone() };
    let oldest = pieces.keys().next().map(|name| Time(name.start));
    let waiting = Waiting { pieces: pieces.len(), bytes: pieces.values().sum(), oldest };
    let problems = problems(running, &state, last_heard, now);
    Ok(Report { sensor, spool: folder.to_owned(), running, problems, waiting, last_heard, state })
}

/// When audio came last: the file of the piece that is being recorded grows with every block.
fn last_heard(folder: &Path, state: &State) -> Result<Option<Time>> {
    let mut newest = state.recorded.as_ref().map(|recorded| recorded.at);
    for (_, path) in unfinished::list(folder)? {
        // It may just have become a piece.
        let Some(changed) = path.metadata().ok().and_then(|file| file.modified().ok()) else { continue };
        let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
        newest = newest.max(i64::try_from(since.as_micros()).ok().map(Time));
    }
    Ok(newest)
}

/// What needs a look.
fn problems(running: bool, state: &State, last_heard: Option<Time>, now: Micros) -> Vec<String> {
    let mut problems = Vec::new();
    if !running {
        problems.push(String::from("no recorder runs"));
    }
    let heard = last_heard.max(state.started);
    if let Some(deaf) = heard.map(|heard| now - heard.0).filter(|deaf| running && *deaf > DEAF) {
        problems.push(format!("no audio for {}", ago(deaf)));
    }
    let away = state.trouble.as_ref().filter(|trouble| running && now - trouble.at.0 > AWAY);
    if let Some(trouble) = away {
        problems.push(format!("nothing can be sent for {}: {}", ago(now - trouble.at.0), trouble.reason));
    }
    let skew = state.clock_skew_ms.filter(|skew| skew.abs() > SKEW_WORTH_SAYING / 1_000);
    problems.extend(skew.map(|skew| format!("the clock is {}", off(skew))));
    let is_recent = |at: Option<Time>| at.is_some_and(|at| now - at.0 < RECENT);
    if is_recent(state.given_up.at) {
        problems.push(String::from("audio was given up for want of room"));
    }
    if is_recent(state.refused.at) {
        problems.push(String::from("the server refused audio for good"));
    }
    problems
}

impl Report {
    fn text(&self, now: Micros) -> String {
        let state = &self.state;
        let moment = |time: Time| format!("{}, {} ago", told(time), ago(now - time.0));
        let said = |said: &Said| format!("{}: {}", told(said.at), cell(&json!(said.reason)));
        let never = || String::from("never");
        let how =
            if self.problems.is_empty() { String::from("recording, all is well") } else { self.problems.join("; ") };
        let megabytes = self.waiting.bytes as f64 / 1e6;
        let mut waiting = format!("{}, {megabytes:.1} MB", counted(self.waiting.pieces, "piece"));
        if let Some(oldest) = self.waiting.oldest {
            waiting.push_str(&format!(", the oldest from {}", told(oldest)));
        }
        let mut lines = vec![
            format!("{}: {}", self.sensor, cell(&json!(how))),
            format!("  spool       {waiting}, in {}", self.spool.display()),
            format!("  last heard  {}", self.last_heard.map_or_else(never, moment)),
            format!(
                "  recorded    {}",
                state.recorded.as_ref().map_or_else(never, |recorded| format!("until {}", told(recorded.until)))
            ),
            format!(
                "  last sent   {}",
                state.sent.as_ref().map_or_else(never, |sent| {
                    format!("the piece of {}, {} ago", told(sent.start), ago(now - sent.at.0))
                })
            ),
            format!("  clock       {}", state.clock_skew_ms.map_or_else(|| String::from("not known"), off)),
        ];
        let given_up = &state.given_up;
        if given_up.pieces > 0 {
            let seconds = given_up.seconds;
            lines.push(format!("  given up    {}, {seconds:.1} s", counted(given_up.pieces as usize, "piece")));
            for stretch in &given_up.times {
                lines.push(format!("              {} to {}", told(stretch.from), told(stretch.to)));
            }
        }
        if state.refused.pieces > 0 {
            let pieces = counted(state.refused.pieces as usize, "piece");
            lines.push(format!(
                "  refused     {pieces}, the last of them with reasons in {}/refused",
                self.spool.display()
            ));
        }
        lines.extend(state.last_error.as_ref().map(|error| format!("  last error  {}", said(error))));
        lines.join("\n")
    }
}

/// A time for people, to the second.
fn told(time: Time) -> String {
    cell(&json!(time::format(time.0 - time.0.rem_euclid(SECOND))))
}

/// How long, in the unit that people would use.
fn ago(time: Micros) -> String {
    let seconds = time / SECOND;
    match seconds.abs() {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How the clock is off. The server tells whole seconds, so that half a second is as good as nothing.
fn off(skew_ms: i64) -> String {
    let seconds = skew_ms.abs() as f64 / 1e3;
    if skew_ms.abs() <= 1_000 {
        String::from("as the server's, to a second")
    } else if skew_ms < 0 {
        format!("{seconds:.1} s ahead of the server's")
    } else {
        format!("{seconds:.1} s behind the server's")
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{GivenUp, Recorded, Refused};
    use super::*;

    const NOW: Micros = 1_777_593_600_000_000;

    fn at(seconds: i64) -> Time {
        Time(NOW + seconds * SECOND)
    }

    fn well() -> State {
        State {
            sensor: String::from("roof"),
            started: Some(at(-3_600)),
            recorded: Some(Recorded { until: at(-5), at: at(-5) }),
            clock_skew_ms: Some(1_900),
            ..State::default()
        }
    }

    fn told_of(state: &State) -> Vec<String> {
        problems(true, state, state.recorded.as_ref().map(|recorded| recorded.at), NOW)
    }

    #[test]
    fn what_needs_a_look_is_said_and_nothing_else() {
        assert_eq!(told_of(&well()), Vec::<String>::new());
        let trouble = |since| Some(Said { at: at(since), reason: String::from("cannot reach it") });
        let cases: [(State, &[&str]); 8] = [
            (State { trouble: trouble(-30), ..well() }, &[]),
            (State { trouble: trouble(-600), ..well() }, &["nothing can be sent for 10 min: cannot reach it"]),
            (State { clock_skew_ms: Some(-2_500), ..well() }, &["the clock is 2.5 s ahead of the server's"]),
            (State { recorded: Some(Recorded { until: at(-90), at: at(-90) }), ..well() }, &["no audio for 90 s"]),
            (State { recorded: None, started: Some(at(-30)), ..well() }, &[]),
            (State { recorded: None, started: Some(at(-61)), ..well() }, &["no audio for 61 s"]),
            (
                State { given_up: GivenUp { at: Some(at(-80_000)), ..GivenUp::default() }, ..well() },
                &["audio was given up for want of room"],
            ),
            (State { refused: Refused { pieces: 1, at: Some(at(-90_000)) }, ..well() }, &[]),
        ];
        for (state, expected) in cases {
            assert_eq!(told_of(&state), expected, "{state:?}");
        }
        assert_eq!(problems(false, &State { trouble: trouble(-600), ..well() }, None, NOW), ["no recorder runs"]);
    }

    #[test]
    fn times_and_clocks_are_told_in_words() {
        let cases = [(5, "5 s"), (119, "119 s"), (600, "10 min"), (7_300, "2 h"), (200_000, "2 days"), (-3, "-3 s")];
        for (seconds, text) in cases {
            assert_eq!(ago(seconds * SECOND), text);
        }
        assert_eq!(off(-400), "as the server's, to a second");
        assert_eq!(off(61_250), "61.2 s behind the server's");
    }
}
