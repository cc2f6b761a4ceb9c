//! When each sample of a live stream was heard, as well as the machine's clock can tell.
//!
//! The first sample gets its time from the clock; from then on samples are counted, because a sound card's
//! clock is steadier than the moments at which a pipe hands blocks over. No sound card runs exactly at its rate,
//! so the count is held against the clock: blocks can only arrive late, never early, and the smallest delay since
//! the last cut shows how far the count is off.
//!
//! | off by | what is done |
//! |---|---|
//! | up to 10 ms | nothing |
//! | up to 500 ms: the sound card's drift, a clock that is being adjusted | shifted at a cut, by at most 15 ms, which counts neither as a gap nor as an overlap (20 ms) |
//! | more, for 2 s: samples were lost, the machine slept, the clock was set | cut where it began; the stream begins anew by the clock, without a lead-in |
//!
//! What comes over a network comes in bursts, the first of which holds what was heard before the connection. There the
//! count is set when the bursts of the beginning are over, and corrected by what a longer time shows; [`Following`]
//! says how long and how much.

use antiphon_platform::clock::{Micros, SECOND};

/// Up to here an offset is left alone.
const TOLERATED: Micros = 10_000;
/// The most by which the count is shifted at one cut; below the 20 ms that count as a gap or an overlap.
const SHIFT: Micros = 15_000;

/// How a count follows the clock. All in µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// From here on the stream was interrupted.
    pub interrupted: Micros,
    /// How long it must be off by more than that: who was only held up catches up sooner.
    pub certain: Micros,
    /// How long arrivals are watched before the count is shifted.
    pub watch: Micros,
    /// How long after the first arrival the count is set, for good or until it was interrupted.
    pub settle: Micros,
}

impl Following {
    /// A sound card of this machine.
    pub const CARD: Self = Self { interrupted: 500_000, certain: 2 * SECOND, watch: 0, settle: 0 };
    /// A stream over the network, sent as it is heard.
    pub const STREAM: Self = Self { interrupted: SECOND, certain: 5 * SECOND, watch: 60 * SECOND, settle: 3 * SECOND };
}

/// Counts the samples of one stream.
#[derive(Clone, Debug)]
pub struct Timeline {
    rate: u32,
    /// Time of the sample number `anchor`.
    anchor_time: Micros,
    anchor: u64,
    /// Frames that have come.
    frames: u64,
    /// The smallest delay of a block since it was watched, and since when that is.
    delay: Option<(Micros, Micros)>,
    /// When the last block came.
    last: Micros,
    suspicion: Option<Suspicion>,
    /// When the count is set.
    settles: Option<Micros>,
    following: Option<Following>,
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    interruption: Interruption,
    /// When the first block came that was off.
    since: Micros,
}

/// A place where the stream was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// The first frame after it.
    pub frame: u64,
    /// How far the count is off from there on, µs.
    pub offset: Micros,
}

impl Timeline {
    /// A live stream whose first block of `frames` arrived at `arrival`: it follows the clock.
    #[must_use]
    pub fn live(rate: u32, frames: u64, arrival: Micros) -> Self {
        Self::following(rate, frames, arrival, Following::CARD)
    }

    /// A live stream whose first block of `frames` arrived at `arrival`: it follows the clock as `following` says.
    #[must_use]
    pub fn following(rate: u32, frames: u64, arrival: Micros, following: Following) -> Self {
        let counted = Self::counted(rate, arrival - duration(frames, rate));
        let settles = (following.settle > 0).then_some(arrival + following.settle);
        Self { following: Some(following), settles, ..counted }
    }

    /// A stream that begins at `start` and is counted only.
    #[must_use]
    pub fn counted(rate: u32, start: Micros) -> Self {
        Self {
            rate,
            anchor_time: start,
            anchor: 0,
            frames: 0,
            delay: None,
            last: 0,
            suspicion: None,
            settles: None,
            following: None,
        }
    }

    /// Frames that have come.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames whose times are certain.
    #[must_use]
    pub fn certain(&self) -> u64 {
        if self.settles.is_some() {
            return self.anchor;
        }
        self.suspicion.map_or(self.frames, |suspicion| suspicion.interruption.frame)
    }

    /// When frame number `frame` was heard.
    #[must_use]
    pub fn time_of(&self, frame: u64) -> Micros {
        let from_anchor = i128::from(frame) - i128::from(self.anchor);
        let micros = (from_anchor * i128::from(SECOND)).div_euclid(i128::from(self.rate));
        self.anchor_time + micros as Micros
    }

    /// The first frame that was heard at `time` or later.
    #[must_use]
    pub fn frame_at(&self, time: Micros) -> u64 {
        let from_anchor = i128::from(time - self.anchor_time) * i128::from(self.rate);
        let frames = -((-from_anchor).div_euclid(i128::from(SECOND)));
        u64::try_from(i128::from(self.anchor) + frames).unwrap_or(0)
    }

    /// A block of `frames` arrived at `arrival`. When it is certain that the stream was interrupted, says where;
    /// what was heard before that is to be cut off, and then [`restart`](Self::restart) called.
    pub fn arrived(&mut self, frames: u64, arrival: Micros) -> Option<Interruption> {
        let first = self.frames;
        self.frames += frames;
        let following = self.following?;
        self.last = arrival;
        let delay = arrival - self.time_of(self.frames);
        if let Some(settles) = self.settles {
            self.watch(delay, arrival);
            if arrival >= settles {
                self.settle();
            }
            return None;
        }
        if delay.abs() <= following.interrupted {
            self.suspicion = None;
            self.watch(delay, arrival);
            return None;
        }
        let begun = Suspicion { interruption: Interruption { frame: first, offset: delay }, since: arrival };
        let suspicion = self.suspicion.get_or_insert(begun);
        suspicion.interruption.offset = suspicion.interruption.offset.min(delay);
        (arrival - suspicion.since >= following.certain).then_some(suspicion.interruption)
    }

    fn watch(&mut self, delay: Micros, arrival: Micros) {
        self.delay = Some(self.delay.map_or((delay, arrival), |(smallest, since)| (smallest.min(delay), since)));
    }

    /// Goes on by the clock after an interruption.
    pub fn restart(&mut self, interruption: Interruption) {
        self.anchor_time = self.time_of(interruption.frame) + interruption.offset;
        self.anchor = interruption.frame;
        self.suspicion = None;
        self.delay = None;
    }

    /// Counts only from now on.
    pub fn stop_following(&mut self) {
        self.following = None;
        self.settles = None;
        self.suspicion = None;
    }

    /// Sets the count to the earliest arrival so far, as long as nothing was cut: the first block may have been held
    /// up while the input was opened.
    pub fn settle(&mut self) {
        self.settles = None;
        if let Some((delay, _)) = self.delay.take().filter(|_| self.following.is_some()) {
            self.anchor_time += delay;
        }
    }

    /// Holds the count against the clock at a cut before `frame`, which is shifted; by how many µs.
    pub fn correct(&mut self, frame: u64) -> Micros {
        let Some(following) = self.following else { return 0 };
        let watched = |(_, since): &(Micros, Micros)| self.last - since >= following.watch;
        if !self.delay.as_ref().is_some_and(watched) {
            return 0;
        }
        let delay = self.delay.take().filter(|(delay, _)| delay.abs() > TOLERATED);
        let Some(shift) = delay.map(|(delay, _)| delay.clamp(-SHIFT, SHIFT)) else { return 0 };
        self.anchor_time = self.time_of(frame) + shift;
        self.anchor = frame;
        shift
    }
}

/// How long `frames` last, in µs, rounded to the nearest.
#[must_use]
pub fn duration(frames: u64, rate: u32) -> Micros {
    let rate = u128::from(rate);
    ((u128::from(frames) * SECOND as u128 + rate / 2) / rate) as Micros
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A sound card that runs `parts_per_million` too fast hands over blocks of 100 ms, late by what `jitter` says.
    /// The worst error of any time, and the shifts.
    fn drifting(parts_per_million: f64, seconds: u64, jitter: impl Fn(u64) -> Micros) -> (Micros, Vec<Micros>) {
        let rate = 48_000_u32;
        let true_rate = f64::from(rate) * (1.0 + parts_per_million / 1e6);
        let heard = |frame: u64| (frame as f64 / true_rate * 1e6) as Micros;
        let mut timeline = Timeline::live(rate, 4_800, heard(4_800) + jitter(0));
        let (mut worst, mut shifts) = (0, Vec::new());
        for block in 0..seconds * 10 {
            assert_eq!(timeline.arrived(4_800, heard((block + 1) * 4_800) + jitter(block)), None);
            worst = worst.max((timeline.time_of(timeline.frames()) - heard(timeline.frames())).abs());
            if block % 100 == 99 {
                // The cut is seldom where a block ends.
                shifts.push(timeline.correct(timeline.frames() - 1_234));
            }
        }
        (worst, shifts)
    }

    #[test]
    fn a_steady_card_is_only_counted() {
        let (worst, shifts) = drifting(0.0, 3_600, |block| Micros::from(block as u32 % 7) * 1_000);
        assert!(worst <= 1, "{worst} µs");
        assert!(shifts.iter().all(|shift| *shift == 0));
    }

    #[test]
    fn a_card_that_drifts_is_followed_in_small_steps() {
        for drift in [-200.0, -50.0, 50.0, 200.0] {
            let (worst, shifts) = drifting(drift, 24 * 3_600, |block| Micros::from(block as u32 % 5) * 2_000);
            assert!(worst < 25_000, "{drift} ppm: {worst} µs");
            assert!(shifts.iter().filter(|shift| **shift != 0).count() > 10);
            assert!(shifts.iter().all(|shift| shift.abs() <= SHIFT));
        }
    }

    #[test]
    fn an_interruption_is_found_where_it_was() {
        let mut timeline = Timeline::live(16_000, 1_600, 100_000);
        for block in 1..=20 {
            assert_eq!(timeline.arrived(1_600, block * 100_000), None);
        }
        // The machine slept for a minute.
        let found: Vec<_> = (21..=45).map(|block| timeline.arrived(1_600, 60_000_000 + block * 100_000)).collect();
        let interruption = Interruption { frame: 32_000, offset: 60_000_000 };
        assert_eq!(found.iter().position(Option::is_some), Some(20), "two seconds are certain");
        assert_eq!(found[20], Some(interruption));
        timeline.restart(interruption);
        assert_eq!(timeline.time_of(32_000), 62_000_000);
    }

    #[test]
    fn a_first_block_that_was_held_up_counts_for_nothing() {
        let mut timeline = Timeline::live(16_000, 1_600, 400_000);
        timeline.arrived(1_600, 400_000);
        for block in 2..=20 {
            assert_eq!(timeline.arrived(1_600, block * 100_000), None);
        }
        timeline.settle();
        assert_eq!((timeline.time_of(0), timeline.correct(0)), (0, 0));
    }

    #[test]
    fn who_was_held_up_and_catches_up_was_not_interrupted() {
        let mut timeline = Timeline::live(16_000, 1_600, 100_000);
        for block in 1..=60 {
            // Nothing is handed over between the 20th and the 30th block, then all of it at once.
            let arrival = if (20..30).contains(&block) { 3_000_000 } else { block * 100_000 };
            assert_eq!(timeline.arrived(1_600, arrival), None);
        }
        assert_eq!((timeline.certain(), timeline.correct(0)), (96_000, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_restarts_the_stream() {
        let mut timeline = Timeline::live(16_000, 1_600, 100_000_000);
        timeline.arrived(1_600, 100_000_000);
        let found: Vec<_> =
            (1..=30).filter_map(|block| timeline.arrived(1_600, 40_000_000 + block * 100_000)).collect();
        assert_eq!(found[0], Interruption { frame: 1_600, offset: -60_000_000 });
    }

    #[test]
    fn a_network_that_stalls_and_catches_up_is_no_interruption_and_one_that_lost_audio_is() {
        let following = Following { settle: 0, ..Following::STREAM };
        let run = |lost: Micros| {
            let mut timeline = Timeline::following(16_000, 1_600, 100_000, following);
            let mut found = None;
            for block in 1..=200 {
                // For four seconds nothing comes; then what was held up, at once, or what comes after what was lost.
                let arrival = match block {
                    50..90 if lost == 0 => 9_000_000,
                    50.. => block * 100_000 + lost,
                    _ => block * 100_000,
                };
                found = found.or(timeline.arrived(1_600, arrival));
            }
            found
        };
        assert_eq!(run(0), None);
        assert_eq!(run(4_000_000), Some(Interruption { frame: 49 * 1_600, offset: 4_000_000 }));
    }

    proptest! {
        #[test]
        fn times_and_frames_agree(rate in 1_000_u32..=768_000, start in 0_i64..4_000_000_000_000_000, offset in 0_i64..10_000_000_000) {
            let timeline = Timeline::counted(rate, start);
            let frame = timeline.frame_at(start + offset);
            prop_assert!(timeline.time_of(frame) >= start + offset - 1);
            prop_assert!(frame == 0 || timeline.time_of(frame - 1) < start + offset);
        }
    }
}
