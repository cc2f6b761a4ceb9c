//! How a recorder is doing, on standard error: one line that changes on a terminal, elsewhere news, and the line now and
//! then. What `antiphon sensor status` is to know goes to the ledger as well.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use indicatif::{ProgressBar, ProgressStyle};

use super::ledger::Ledger;
use super::spool::Name;
use crate::commands::output::counted;

/// A clock that is further off than this is worth a warning: times of recordings are that far off too.
pub const SKEW_WORTH_SAYING: Micros = 2 * SECOND;

/// Shows and counts what happens.
pub struct Progress<'a> {
    sensor: String,
    ledger: &'a Ledger,
    line: ProgressBar,
    state: Mutex<State>,
    /// How often the line is written where it cannot change, and when it was last.
    every: Option<Duration>,
    written: Mutex<Instant>,
}

#[derive(Default)]
struct State {
    totals: Totals,
    bytes: u64,
    last: Option<Name>,
    skew: Option<Micros>,
    warned_of_skew: bool,
    trouble: Option<String>,
    input: Option<String>,
    full: bool,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Pieces that the server has.
    pub sent: usize,
    /// Pieces that wait in the spool.
    pub waiting: usize,
    /// Pieces that were given up for want of room.
    pub lost: usize,
    /// Pieces that the server will never take.
    pub refused: usize,
}

impl<'a> Progress<'a> {
    /// For one sensor; where there is no terminal, a line `every` so often.
    pub fn new(sensor: &str, ledger: &'a Ledger, every: Option<Duration>) -> Self {
        let line = ProgressBar::new_spinner();
        line.set_style(
            ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        line.enable_steady_tick(Duration::from_millis(250));
        let written = Mutex::new(Instant::now());
        Self { sensor: sensor.to_owned(), ledger, line, state: Mutex::default(), every, written }
    }

    /// Writes the line when it is time for it.
    pub fn tick(&self) {
        let Some(every) = self.every.filter(|_| self.line.is_hidden()) else { return };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.elapsed() >= every {
            *written = Instant::now();
            eprintln!("{}", self.change(|state| self.describe(state)));
        }
    }

    /// Says something once.
    pub fn say(&self, news: &str) {
        if self.line.is_hidden() {
            eprintln!("{}: {news}", self.sensor);
        } else {
            self.line.println(format!("{}: {news}", self.sensor));
        }
    }

    /// The input ended, and is opened again until it works.
    pub fn input_ended(&self, reason: &str) {
        self.ledger.failed(reason);
        let is_news = self.change(|state| state.input.replace(reason.to_owned()).as_deref() != Some(reason));
        if is_news {
            self.say(&format!("{reason}. It is opened again until it works"));
        }
    }

    /// The input gives audio.
    pub fn input_works(&self) {
        self.change(|state| state.input = None);
    }

    /// A piece is in the spool; so many older ones were given up for it.
    pub fn kept(&self, lost: usize) {
        let begins = self.change(|state| {
            state.totals.lost += lost;
            let begins = lost > 0 && !state.full;
            state.full = lost > 0;
            begins
        });
        if begins {
            self.say("the spool is full: the oldest pieces are given up for new ones until the server takes them");
        }
    }

    /// A piece could not be put into the spool.
    pub fn not_kept(&self, reason: &str) {
        self.ledger.failed(reason);
        self.change(|state| state.totals.lost += 1);
        self.say(&format!("a piece is lost: {reason}"));
    }

    /// How many pieces wait, and their bytes.
    pub fn waiting(&self, (pieces, bytes): (usize, u64)) {
        self.change(|state| {
            state.totals.waiting = pieces;
            state.bytes = bytes;
        });
    }

    /// The server has a piece; its clock is ahead of ours by `skew`.
    pub fn sent(&self, name: Name, skew: Option<Micros>) {
        self.ledger.sent(name.start, skew);
        let (back, skewed) = self.change(|state| {
            state.totals.sent += 1;
            state.last = Some(name);
            state.skew = skew.or(state.skew);
            let skewed = state.skew.filter(|skew| skew.abs() > SKEW_WORTH_SAYING && !state.warned_of_skew);
            state.warned_of_skew |= skewed.is_some();
            (state.trouble.take().is_some(), skewed)
        });
        if back {
            self.say("the server takes pieces again");
        }
        if let Some(skew) = skewed {
            let by = (skew.abs() / SECOND).to_string();
            let direction = if skew > 0 { "behind" } else { "ahead of" };
            self.say(&format!(
                "this machine's clock is {by} s {direction} the server's, and so are the times that it sends"
            ));
        }
    }

    /// Nothing can be sent now.
    pub fn cannot_send(&self, reason: &str) {
        self.ledger.cannot_send(reason);
        let is_news = self.change(|state| {
            let is_news = state.trouble.as_deref() != Some(reason);
            state.trouble = Some(reason.to_owned());
            is_news
        });
        if is_news {
            self.say(&format!("{reason}. Pieces are kept and sent later"));
        }
    }

    /// The server will never take a piece.
    pub fn refused(&self, reason: &str, kept_at: &Path) {
        self.ledger.refused(reason);
        self.change(|state| state.totals.refused += 1);
        self.say(&format!("{reason}. The piece is kept at {}", kept_at.display()));
    }

    /// Ends the line; what it came to.
    pub fn finish(&self, waiting: usize) -> Totals {
        let totals = self.change(|state| {
            state.totals.waiting = waiting;
            state.totals
        });
        self.line.finish_and_clear();
        let mut summary = format!("{} sent", counted(totals.sent, "piece"));
        for (count, what) in
            [(totals.waiting, "kept for the next run"), (totals.lost, "lost"), (totals.refused, "refused")]
        {
            if count > 0 {
                summary.push_str(&format!(", {count} {what}"));
            }
        }
        if totals.sent + totals.waiting + totals.lost + totals.refused > 0 {
            eprintln!("{}: {summary}", self.sensor);
        }
        totals
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        self.line.set_message(self.describe(&state));
        result
    }

    fn describe(&self, state: &State) -> String {
        let megabytes = state.bytes as f64 / 1e6;
        let mut line = format!(
            "{}: {} sent, {} in the spool ({megabytes:.1} MB)",
            self.sensor, state.totals.sent, state.totals.waiting
        );
        if let Some(last) = state.last {
            line.push_str(&format!(", last sent {}", time::format(last.start)));
        }
        if state.totals.lost > 0 {
            line.push_str(&format!(", {} given up", state.totals.lost));
        }
        // The server's header has whole seconds; less than that is noise.
        if let Some(skew) = state.skew.filter(|skew| skew.abs() > SECOND) {
            line.push_str(&format!(", clock {:+.1} s", -(skew as f64) / 1e6));
        }
        if state.trouble.is_some() {
            line.push_str(", nothing can be sent now");
        }
        if state.input.is_some() {
            line.push_str(", no audio");
        }
        line
    }
}
