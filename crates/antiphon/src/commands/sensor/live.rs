//! A stream that is being cut, and how its times are kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use antiphon_analysis::pieces::{Cut, Cutter, Piece, Timeline, duration};
use antiphon_audio::encode::PcmFormat;
use antiphon_platform::clock::{Micros, SECOND, micros};
use anyhow::{Context, Result};

use super::progress::Progress;

/// An input that is so far ahead of the clock is no live stream. Less than what counts as an interruption.
const NOT_LIVE: Micros = 3 * SECOND / 2;

/// A stream that is being cut.
pub struct Live {
    /// Cuts it.
    pub cutter: Cutter,
    begun: Instant,
    /// How long the first block is, µs.
    first: Micros,
    pace: Pace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// It comes as it is heard.
    Clock,
    /// It would come faster, and is held back.
    Held,
    /// It has times of its own.
    Counted,
}

impl Live {
    /// A stream whose `first` samples arrived at `arrival`; with `start` it has times of its own.
    pub fn new(cut: Cut, start: Option<Micros>, format: PcmFormat, first: &[i32], arrival: Micros) -> Self {
        let frames = (first.len() / usize::from(format.channels)) as u64;
        let (timeline, pace) = match start {
            Some(start) => (Timeline::counted(format.rate, start), Pace::Counted),
            None => (Timeline::live(format.rate, frames, arrival), Pace::Clock),
        };
        let first = duration(frames, format.rate);
        Self { cutter: Cutter::new(cut, format, timeline), begun: Instant::now(), first, pace }
    }

    /// Takes interleaved samples that arrived at `arrival`; the pieces that are complete with them. Held back, it
    /// returns when the last of them would have been heard; nothing if `stop` is set before, and they are left out.
    ///
    /// # Errors
    /// When a piece cannot be encoded.
    pub fn push(
        &mut self,
        samples: &[i32],
        arrival: Micros,
        progress: &Progress<'_>,
        stop: &AtomicBool,
    ) -> Result<Option<Vec<Piece>>> {
        let format = *self.cutter.format();
        let end = self.cutter.timeline().frames() + (samples.len() / usize::from(format.channels)) as u64;
        let heard = duration(end, format.rate);
        // Not the machine's clock, which may be set meanwhile: a file would stand still for as long.
        let elapsed = || micros(self.begun.elapsed());
        if self.pace == Pace::Clock && heard - elapsed() > NOT_LIVE {
            self.pace = Pace::Held;
            self.cutter.timeline().stop_following();
            progress.say(
                "the input comes faster than real time and is played in real time; --start gives it times of its own",
            );
        }
        if self.pace == Pace::Held {
            loop {
                let early = heard - self.first - elapsed();
                if early <= 0 {
                    break;
                }
                if stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                std::thread::park_timeout(Duration::from_micros(early.min(100_000).unsigned_abs()));
            }
        }
        self.cutter.push(samples, arrival).map(Some).context("a piece cannot be encoded")
    }
}
