//! What a sender has done so far, in a small file beside its pieces: `antiphon sensor status` reads it.
//!
//! How many pieces wait, and whether somebody records, is not in it: the folder itself and its lock tell that, and are
//! never out of date.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::disk::{self, LocalDisk};
use antiphon_platform::http::time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Its name in the spool's folder.
const FILE: &str = "state.json";

/// Stretches that are named one by one; of older ones only their sum is kept.
const STRETCHES: usize = 100;

/// Stretches as near as that are one, in µs: pieces follow each other to the sample.
const JOINED: Micros = 20_000;

/// What a file may hold at most, in bytes; ours stay far below.
const LARGEST: u64 = 1 << 20;

/// How long changes are gathered before they are written, so that a spool that is emptied costs a write a second.
const GATHERED: Duration = Duration::from_secs(1);

/// All that is known of a sender beside its pieces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The sensor's id.
    pub sensor: String,
    /// When the recorder that runs, or ran last, was started.
    pub started: Option<Time>,
    /// The last piece that was cut.
    pub recorded: Option<Recorded>,
    /// The last piece that the server took.
    pub sent: Option<Sent>,
    /// By how many ms the server's clock is ahead of this machine's, as its last answer told, to half a second.
    pub clock_skew_ms: Option<i64>,
    /// What was given up for want of room.
    pub given_up: GivenUp,
    /// What the server will never take.
    pub refused: Refused,
    /// Why nothing can be sent, since then; nothing while the server takes pieces.
    pub trouble: Option<Said>,
    /// The last thing that went wrong, be it over or not.
    pub last_error: Option<Said>,
}

/// A piece that was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Where it ends.
    pub until: Time,
    /// When it was cut.
    pub at: Time,
}

/// A piece that was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Where it begins.
    pub start: Time,
    /// When the server took it.
    pub at: Time,
}

/// Pieces that the server will never have because there was no room for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GivenUp {
    /// How many, ever.
    pub pieces: u64,
    /// How long all of them were.
    pub seconds: f64,
    /// When one was given up last.
    pub at: Option<Time>,
    /// Which times that were, earliest first and joined; the latest hundred stretches.
    pub times: Vec<Stretch>,
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Its begin.
    pub from: Time,
    /// Its end.
    pub to: Time,
}

/// Pieces that the server refused for good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// How many, ever.
    pub pieces: u64,
    /// When one was refused last.
    pub at: Option<Time>,
}

/// What was said, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// When, or since when.
    pub at: Time,
    /// In words.
    pub reason: String,
}

/// A time in µs since 1970, written as the API writes times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Micros);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time::format(self.0))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        time::parse(&text).map(Self).map_err(|error| serde::de::Error::custom(format!("the time {error}")))
    }
}

impl State {
    /// What the sender of this folder told last; nothing when it has told nothing.
    ///
    /// # Errors
    /// When the file cannot be read, or is not one of ours.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(FILE);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(file) if file.len() > LARGEST => return Err(io::Error::other("it is too large to be one of ours")),
            Ok(_) => {}
        }
        serde_json::from_slice(&fs::read(&path)?).map(Some).map_err(io::Error::other)
    }
}

impl GivenUp {
    /// One more piece, at `now`.
    fn add(&mut self, piece: Stretch, now: Micros) {
        self.pieces += 1;
        self.seconds += piece.seconds();
        self.at = Some(Time(now));
        let at = self.times.partition_point(|stretch| stretch.from < piece.from);
        self.times.insert(at, piece);
        self.join();
    }

    /// A piece is there after all: the recorder was killed before it was removed.
    fn take_back(&mut self, piece: Stretch) {
        let covered = |stretch: &Stretch| stretch.from.0 <= piece.from.0 && piece.to.0 <= stretch.to.0;
        let Some(at) = self.times.iter().position(covered) else { return };
        let whole = self.times.remove(at);
        self.pieces = self.pieces.saturating_sub(1);
        self.seconds = (self.seconds - piece.seconds()).max(0.0);
        let rests = [Stretch { from: whole.from, to: piece.from }, Stretch { from: piece.to, to: whole.to }];
        for rest in rests.into_iter().rev().filter(|rest| rest.from < rest.to) {
            self.times.insert(at, rest);
        }
    }

    fn join(&mut self) {
        let mut joined: Vec<Stretch> = Vec::with_capacity(self.times.len());
        for stretch in self.times.drain(..) {
            match joined.last_mut() {
                Some(last) if stretch.from.0 - last.to.0 <= JOINED => last.to = last.to.max(stretch.to),
                _ => joined.push(stretch),
            }
        }
        joined.drain(..joined.len().saturating_sub(STRETCHES));
        self.times = joined;
    }
}

impl Stretch {
    /// From `start` on, for `length`.
    pub fn new(start: Micros, length: Micros) -> Self {
        Self { from: Time(start), to: Time(start + length) }
    }

    fn seconds(self) -> f64 {
        (self.to.0 - self.from.0) as f64 / SECOND as f64
    }
}

/// The state of a sender that runs, and its file.
pub struct Ledger {
    path: PathBuf,
    clock: Clock,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// One at a time, so that an older state never replaces a newer one.
    saving: Mutex<()>,
}

#[derive(Default)]
struct Inner {
    state: State,
    is_saved: bool,
    is_closed: bool,
}

impl Ledger {
    /// Goes on where the last sender of this folder ended. A file that cannot be read counts as none: it is no reason
    /// to record nothing.
    pub fn open(folder: &Path, clock: Clock) -> Self {
        let state = State::read(folder).unwrap_or_else(|error| {
            eprintln!("{} cannot be read and is begun anew: {error}", folder.join(FILE).display());
            None
        });
        let state = state.unwrap_or_default();
        let inner = Mutex::new(Inner { state, is_saved: true, is_closed: false });
        Self { path: folder.join(FILE), clock, inner, changed: Condvar::new(), saving: Mutex::new(()) }
    }

    /// A sender of `sensor` begins.
    pub fn started(&self, sensor: &str) {
        self.change(|state, now| {
            sensor.clone_into(&mut state.sensor);
            state.started = Some(now);
            // Nothing is known yet of a server that was away for the last one.
            state.trouble = None;
        });
    }

    /// A piece was cut that ends there.
    pub fn recorded(&self, until: Micros) {
        self.change(|state, now| state.recorded = Some(Recorded { until: Time(until), at: now }));
    }

    /// The server took the piece that begins there; its clock is ahead of ours by `skew`, if it said so.
    pub fn sent(&self, start: Micros, skew: Option<Micros>) {
        self.change(|state, now| {
            state.sent = Some(Sent { start: Time(start), at: now });
            state.clock_skew_ms = skew.map(|skew| skew / 1_000).or(state.clock_skew_ms);
            state.trouble = None;
        });
    }

    /// Nothing can be sent now.
    pub fn cannot_send(&self, reason: &str) {
        self.change(|state, now| {
            let since = state.trouble.as_ref().map_or(now, |trouble| trouble.at);
            state.trouble = Some(Said { at: since, reason: reason.to_owned() });
            state.last_error = Some(Said { at: now, reason: reason.to_owned() });
        });
    }

    /// Something else went wrong.
    pub fn failed(&self, reason: &str) {
        self.change(|state, now| state.last_error = Some(Said { at: now, reason: reason.to_owned() }));
    }

    /// The server will never take a piece.
    pub fn refused(&self, reason: &str) {
        self.change(|state, now| {
            state.refused = Refused { pieces: state.refused.pieces + 1, at: Some(now) };
            state.last_error = Some(Said { at: now, reason: reason.to_owned() });
        });
    }

    /// A piece is given up. Its time is on disk when this returns, before the piece is removed, unless the disk is so
    /// full that not even this can be written; then it is written as soon as there is room.
    pub fn give_up(&self, piece: Stretch) {
        self.change(|state, now| state.given_up.add(piece, now.0));
        self.save();
    }

    /// Whether something that was given up lies around `time`.
    pub fn was_given_up(&self, time: Micros) -> bool {
        self.lock().state.given_up.times.iter().any(|stretch| stretch.from.0 <= time && time < stretch.to.0)
    }

    /// A piece that was given up is there after all.
    pub fn take_back(&self, piece: Stretch) {
        self.change(|state, _| state.given_up.take_back(piece));
    }

    /// Writes the state whenever it has changed, about once a second, until it is closed. `pause` is run each time.
    pub fn keep(&self, mut pause: impl FnMut()) {
        loop {
            let idle = |inner: &mut Inner| inner.is_saved && !inner.is_closed;
            let waited = self.changed.wait_timeout_while(self.lock(), GATHERED, idle);
            let is_closed = waited.unwrap_or_else(PoisonError::into_inner).0.is_closed;
            self.save();
            if is_closed {
                return;
            }
            pause();
            let open = |inner: &mut Inner| !inner.is_closed;
            drop(self.changed.wait_timeout_while(self.lock(), GATHERED, open));
        }
    }

    /// Says that nothing will change any more.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn save(&self) {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = {
            let mut inner = self.lock();
            if inner.is_saved {
                return;
            }
            inner.is_saved = true;
            serde_json::to_vec_pretty(&inner.state).unwrap_or_default()
        };
        if let Err(error) = disk::write_atomic(&LocalDisk, &self.path, &bytes) {
            tracing::debug!(%error, "the state of the sender cannot be written");
            self.lock().is_saved = false;
        }
    }

    fn change(&self, act: impl FnOnce(&mut State, Time)) {
        let mut inner = self.lock();
        act(&mut inner.state, Time(self.clock.now()));
        inner.is_saved = false;
        drop(inner);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(from: Micros, to: Micros) -> Stretch {
        Stretch { from: Time(from * SECOND), to: Time(to * SECOND) }
    }

    #[test]
    fn what_is_told_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), None);
        let clock = Clock::manual(1_777_593_600_000_000);
        let ledger = Ledger::open(folder.path(), clock.clone());
        ledger.started("roof");
        ledger.recorded(clock.now());
        ledger.sent(clock.now() - 10 * SECOND, Some(-1_234_567));
        ledger.cannot_send("away");
        clock.advance(60 * SECOND);
        ledger.cannot_send("still away");
        ledger.close();
        ledger.keep(|| {});
        let state = State::read(folder.path()).unwrap().unwrap();
        assert_eq!((state.sensor.as_str(), state.clock_skew_ms), ("roof", Some(-1_234)));
        let trouble = state.trouble.clone().unwrap();
        assert_eq!((trouble.at.0, trouble.reason.as_str()), (1_777_593_600_000_000, "still away"));
        assert_eq!(Ledger::open(folder.path(), clock).lock().state, state);
    }

    #[test]
    fn a_file_that_is_not_ours_is_said_and_does_not_stop_a_recorder() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], b"{\"given_up\":", b"[1]", b"{\"started\":\"yesterday\"}"] {
            fs::write(folder.path().join(FILE), bytes).unwrap();
            assert!(State::read(folder.path()).is_err(), "{bytes:?}");
            assert_eq!(Ledger::open(folder.path(), Clock::manual(0)).lock().state, State::default());
        }
        // What a later version adds is passed over.
        fs::write(folder.path().join(FILE), br#"{"sensor":"roof","colour":"red"}"#).unwrap();
        assert_eq!(State::read(folder.path()).unwrap().unwrap().sensor, "roof");
    }

    #[test]
    fn times_that_were_given_up_are_joined_and_the_oldest_forgotten() {
        let mut given_up = GivenUp::default();
        for from in [20, 0, 10, 50] {
            given_up.add(stretch(from, from + 10), 0);
        }
        assert_eq!(given_up.times, [stretch(0, 30), stretch(50, 60)]);
        assert_eq!((given_up.pieces, given_up.seconds), (4, 40.0));
        given_up.take_back(stretch(10, 20));
        assert_eq!(given_up.times, [stretch(0, 10), stretch(20, 30), stretch(50, 60)]);
        given_up.take_back(stretch(50, 60));
        given_up.take_back(stretch(70, 80));
        assert_eq!((given_up.pieces, given_up.seconds, given_up.times.len()), (2, 20.0, 2));
        for number in 0..200 {
            given_up.add(stretch(1_000 + 20 * number, 1_010 + 20 * number), 0);
        }
        assert_eq!((given_up.times.len(), given_up.times[99]), (STRETCHES, stretch(4_980, 4_990)));
        assert_eq!(given_up.pieces, 202);
    }

    #[test]
    fn what_is_given_up_is_on_disk_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), Clock::manual(7));
        ledger.give_up(Stretch::new(0, 10 * SECOND));
        let state = State::read(folder.path()).unwrap().unwrap();
        assert_eq!((state.given_up.times, state.given_up.at), (vec![stretch(0, 10)], Some(Time(7))));
        assert!(ledger.was_given_up(0) && !ledger.was_given_up(10 * SECOND));
    }
}
