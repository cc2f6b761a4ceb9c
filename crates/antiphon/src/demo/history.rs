//! The simulated past: a day of each place, newest first, as fast as the pipeline takes it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use antiphon_demo::music::PIECES;
use antiphon_demo::{Place, RATE};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use anyhow::{Context, Result};

use super::{Demo, Memory, sensors, songs};
use crate::commands::sensor::sender::Sender;
use crate::commands::server::Server;

/// Minutes of history: a day.
const MINUTES: i64 = 24 * 60;

/// Minutes of each place that come before the songs.
const BEFORE_SONGS: i64 = 60;

/// Minutes between two songs, so that the other thread has something to do meanwhile.
const BETWEEN_SONGS: usize = 8;

/// Seconds of a recording.
const PIECE: i64 = 10;

/// Minutes that one thread sends at most beyond what is stored. What waits in the queue makes live audio wait as well: at the
/// slowest pipeline that is promised, 480 times real time, this is a quarter of a second for each thread.
const AHEAD: usize = 2;

/// How long, in seconds, the server is asked to wait for a recording to be stored before it is asked again.
const PATIENCE: i64 = 2;

/// A gap of less than this is no missing recording: clocks drift.
const NO_GAP: Micros = SECOND * 3 / 2;

/// Something that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// A minute of a place, from this second on.
    Minute(Place, i64),
    /// A piece of music by its number.
    Song(usize),
}

/// What is still missing of the past, in the order in which it is wanted.
pub struct Past {
    work: Vec<Work>,
    next: AtomicUsize,
    songs_left: Mutex<usize>,
}

impl Past {
    /// Finds out what is missing.
    ///
    /// # Errors
    /// When the server does not say what it has.
    pub fn missing(demo: &Demo) -> Result<Self> {
        let born = demo.born;
        let mut gaps = Vec::new();
        for place in Place::ALL {
            gaps.push((place, gaps_of(demo, place)?));
        }
        let minutes = |range: std::ops::Range<i64>| {
            let gaps = &gaps;
            range.flat_map(move |minute| {
                let start = born - 60 * (minute + 1);
                let missing = gaps.iter().filter(move |(place, gaps)| is_missing(*place, start, born, gaps));
                missing.map(move |(place, _)| Work::Minute(*place, start))
            })
        };
        let songs = if demo.has_songs { 0 } else { PIECES.len() };
        let mut work: Vec<Work> = minutes(0..BEFORE_SONGS).collect();
        let mut rest = minutes(BEFORE_SONGS..MINUTES);
        for song in 0..songs {
            work.push(Work::Song(song));
            work.extend(rest.by_ref().take(BETWEEN_SONGS));
        }
        work.extend(rest);
        Ok(Self { work, next: AtomicUsize::new(0), songs_left: Mutex::new(songs) })
    }

    /// How many minutes were missing.
    pub fn count(&self) -> usize {
        self.work.iter().filter(|work| matches!(work, Work::Minute(..))).count()
    }

    /// One thread's share of it.
    ///
    /// # Errors
    /// When the server will never take something.
    pub fn work(&self, demo: &Demo) -> Result<()> {
        let mut senders = Vec::new();
        for place in Place::ALL {
            senders.push((place, sensors::sender(demo, place)?));
        }
        let server = demo.server()?;
        let mut ahead = VecDeque::new();
        let mut samples = Vec::new();
        while !demo.stop.is_cancelled() {
            match self.work.get(self.next.fetch_add(1, Ordering::Relaxed)) {
                None => break,
                Some(Work::Song(number)) => self.send_song(demo, &server, *number)?,
                Some(Work::Minute(place, start)) => {
                    let Some((_, sender)) = senders.iter_mut().find(|(of, _)| of == place) else { continue };
                    ahead.extend(send_minute(demo, *place, *start, sender, &mut samples)?);
                }
            }
            settle(demo, &server, &mut ahead, AHEAD)?;
        }
        settle(demo, &server, &mut ahead, 0)
    }

    /// Sends a song and waits for its analysis: one at a time, for each takes some memory.
    fn send_song(&self, demo: &Demo, server: &Server, number: usize) -> Result<()> {
        let mut left = self.songs_left.lock().unwrap_or_else(PoisonError::into_inner);
        if !songs::send(demo, server, &PIECES[number])? {
            return Ok(());
        }
        *left = left.saturating_sub(1);
        if *left == 0 {
            Memory { born: Some(demo.born), songs: true }.write(&demo.globals.data)?;
        }
        Ok(())
    }
}

/// Waits until at most `left` of the recordings that were sent are not yet stored, or everything stops.
fn settle(demo: &Demo, server: &Server, ahead: &mut VecDeque<String>, left: usize) -> Result<()> {
    while ahead.len() > left && !demo.stop.is_cancelled() {
        let Some(id) = ahead.front() else { break };
        match server.get(&format!("/api/v1/recordings/{id}?wait={PATIENCE}")) {
            Ok(recording) if recording["status"] == "accepted" => {}
            Ok(_) => drop(ahead.pop_front()),
            // Its row may come a moment after its acceptance.
            Err(error) if error.is_temporary() || error.status() == Some(404) => {
                demo.wait_until(demo.clock.now() + SECOND / 5);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes and sends the recordings of a minute, the newest first; the id of the one that was sent last.
fn send_minute(
    demo: &Demo,
    place: Place,
    start: i64,
    sender: &mut Sender,
    samples: &mut Vec<i32>,
) -> Result<Option<String>> {
    let rate = RATE as usize;
    samples.clear();
    demo.synthesiser.render(place, start - sensors::LEAD_IN, (60 + sensors::LEAD_IN) as u32, samples);
    let mut last = None;
    for piece in (0..60 / PIECE).rev() {
        let begins = start + piece * PIECE;
        if !(begins..begins + PIECE).all(|second| place.has_power(second, demo.born)) {
            continue;
        }
        let from = (piece * PIECE) as usize * rate;
        let heard = &samples[from..from + (PIECE + sensors::LEAD_IN) as usize * rate];
        let sound = sensors::sound(place, begins, PIECE, heard)?;
        if !sensors::send(demo, sender, &sound)? {
            return Ok(None);
        }
        last = Some(sound.id);
    }
    Ok(last)
}

/// What the server has not heard of a place on the day before the demo began.
fn gaps_of(demo: &Demo, place: Place) -> Result<Vec<(Micros, Micros)>> {
    let (from, to) = ((demo.born - 60 * MINUTES) * SECOND, demo.born * SECOND);
    let (id, from, to) = (place.sensor(), time::format(from), time::format(to));
    let gaps = demo.server()?.get_all(&format!("/api/v1/sensors/{id}/gaps?from={from}&to={to}"))?;
    let end = |value: &serde_json::Value| {
        let text = value.as_str().context("a gap without an end")?;
        time::parse(text).map_err(|error| anyhow::anyhow!("a gap's end {error}"))
    };
    gaps.iter().map(|gap| Ok((end(&gap["from"])?, end(&gap["to"])?))).collect()
}

/// Whether something that the sensor heard in a minute is not stored.
fn is_missing(place: Place, start: i64, born: i64, gaps: &[(Micros, Micros)]) -> bool {
    (start..start + 60).step_by(PIECE as usize).any(|begins| {
        let was_sent = (begins..begins + PIECE).all(|second| place.has_power(second, born));
        let from = place.clock(begins * SECOND);
        let to = from + PIECE * SECOND;
        let lost = gaps.iter().any(|gap| gap.1.min(to) - gap.0.max(from) > NO_GAP);
        was_sent && place.spoils(begins, PIECE).is_none() && lost
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BORN: i64 = 1_777_420_800;

    #[test]
    fn a_minute_is_missing_when_something_good_of_it_is() {
        let start = BORN - 600;
        let whole = [((start - 1_000) * SECOND, BORN * SECOND)];
        for place in Place::ALL {
            assert!(is_missing(place, start, BORN, &whole));
            assert!(!is_missing(place, start, BORN, &[]));
            // The hole that a clock leaves is none.
            assert!(!is_missing(place, start, BORN, &[(start * SECOND, start * SECOND + SECOND)]));
        }
        // Where power failed nothing is to be sent.
        let dark = (BORN - 86_400..BORN)
            .step_by(60)
            .filter(|start| (*start..start + 60).all(|second| !Place::Street.has_power(second, BORN)));
        let day = [((BORN - 90_000) * SECOND, BORN * SECOND)];
        assert!(dark.clone().count() > 10);
        assert!(dark.into_iter().all(|start| !is_missing(Place::Street, start, BORN, &day)));
        // Rubbish is stored nowhere, and not sent again.
        let spoiled =
            (BORN - 86_400..BORN).step_by(10).find(|start| Place::Garden.spoils(*start, PIECE).is_some()).unwrap();
        let hole = [(spoiled * SECOND, (spoiled + PIECE) * SECOND)];
        assert!(!is_missing(Place::Garden, spoiled - spoiled.rem_euclid(60), BORN, &hole));
    }
}
