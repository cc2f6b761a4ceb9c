//! What the sensors at the places do with what they hear: one has a clock that loses time and was without power once, the other
//! sends rubbish now and then.

use crate::{Place, Random};

/// µs of a second.
const SECOND: i64 = 1_000_000;

/// The street's clock is set right this often, in seconds, and loses so many µs a second in between: 1.2 s by then.
const SET_RIGHT_EVERY: i64 = 6 * 3_600;
const LOSES: i64 = 55;

/// When the street was without power, in seconds before its story was first told, and for how long.
const POWER_CUT: (i64, i64) = (9 * 3_600 + 720, 17 * 60);

/// The kind of chance that says when rubbish is sent.
const RUBBISH: u64 = 400;

/// A way to spoil an audio file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rubbish {
    /// It begins as a FLAC file, and goes on as noise.
    Noise,
    /// Its second half was never written: zeros.
    Erased,
    /// The header of a WAV file, and no samples.
    Header,
}

impl Place {
    /// The id of the sensor here.
    #[must_use]
    pub fn sensor(self) -> &'static str {
        match self {
            Self::Street => "demo-street",
            Self::Garden => "demo-garden",
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Street => "Street (simulated)",
            Self::Garden => "Garden (simulated)",
        }
    }

    /// Degrees of latitude and longitude.
    #[must_use]
    pub fn coordinates(self) -> (f64, f64) {
        match self {
            Self::Street => (4.6486, -74.0628),
            Self::Garden => (7.2906, 80.6337),
        }
    }

    /// What the sensor's clock says at `time`; both in µs since 1970. It never goes back.
    #[must_use]
    pub fn clock(self, time: i64) -> i64 {
        match self {
            Self::Street => time - time.rem_euclid(SET_RIGHT_EVERY * SECOND) / SECOND * LOSES,
            Self::Garden => time,
        }
    }

    /// Whether the sensor had power at a second since 1970, if its story was first told at second `born`.
    #[must_use]
    pub fn has_power(self, second: i64, born: i64) -> bool {
        let (before, length) = POWER_CUT;
        self != Self::Street || !(born - before..born - before + length).contains(&second)
    }

    /// How the recording of `seconds` from `start` (s since 1970) on is spoiled, if it is. Of pieces of a second it is one in
    /// ten minutes, of longer ones one in an hour.
    #[must_use]
    pub fn spoils(self, start: i64, seconds: i64) -> Option<Rubbish> {
        let slot = if seconds > 1 { 3_600 } else { 600 };
        // Not the last of a slot, so that the piece ends in the slot in which it began.
        let mut random = Random::about(RUBBISH, start.div_euclid(slot));
        let chosen = random.below((slot - seconds) as usize) as i64;
        let within = start.rem_euclid(slot);
        let kind = [Rubbish::Noise, Rubbish::Erased, Rubbish::Header][random.below(3)];
        (self == Self::Garden && (within..within + seconds).contains(&chosen)).then_some(kind)
    }
}

impl Rubbish {
    /// Spoils a FLAC file.
    pub fn spoil(self, flac: &mut Vec<u8>) {
        match self {
            Self::Noise => {
                let mut random = Random::about(RUBBISH + 1, flac.len() as i64);
                flac.iter_mut().skip(4).for_each(|byte| *byte = random.bits() as u8);
            }
            Self::Erased => {
                let half = flac.len() / 2;
                flac.iter_mut().skip(half).for_each(|byte| *byte = 0);
            }
            Self::Header => {
                flac.clear();
                flac.extend(
                    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\0\0\0",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_777_420_800 + 43_200;

    #[test]
    fn a_clock_loses_time_and_is_set_right_but_never_goes_back() {
        let clock = |second: i64| Place::Street.clock(second * SECOND);
        let behind: Vec<i64> = (NOON - 43_200..NOON).map(|second| second * SECOND - clock(second)).collect();
        assert_eq!(behind.iter().max(), Some(&((SET_RIGHT_EVERY - 1) * LOSES)));
        assert!(behind.contains(&0));
        assert!((NOON - 43_200..NOON).all(|second| clock(second + 1) - clock(second) >= SECOND - LOSES));
        assert_eq!(Place::Garden.clock(NOON), NOON);
    }

    #[test]
    fn the_street_was_without_power_once() {
        let missing = (NOON - 86_400..NOON + 86_400).filter(|second| !Place::Street.has_power(*second, NOON)).count();
        assert_eq!(missing as i64, POWER_CUT.1);
        assert!((NOON - 86_400..NOON).all(|second| Place::Garden.has_power(second, NOON)));
    }

    #[test]
    fn one_piece_an_hour_is_rubbish_and_only_from_the_garden() {
        let day = (NOON - 43_200..NOON + 43_200).step_by(10);
        let spoiled: Vec<Rubbish> = day.clone().filter_map(|start| Place::Garden.spoils(start, 10)).collect();
        assert!((23..=25).contains(&spoiled.len()), "{}", spoiled.len());
        for kind in [Rubbish::Noise, Rubbish::Erased, Rubbish::Header] {
            assert!(spoiled.contains(&kind), "{kind:?}");
        }
        assert!(day.clone().all(|start| Place::Street.spoils(start, 10).is_none()));
        let live = (NOON..NOON + 6_000).filter(|start| Place::Garden.spoils(*start, 1).is_some()).count();
        assert_eq!(live, 10);
    }

    #[test]
    fn rubbish_begins_as_audio_does() {
        let good: Vec<u8> = b"fLaC".iter().copied().chain((0..200).map(|byte| byte as u8 | 1)).collect();
        for kind in [Rubbish::Noise, Rubbish::Erased, Rubbish::Header] {
            let mut bytes = good.clone();
            kind.spoil(&mut bytes);
            assert_ne!(bytes, good);
            assert!(bytes.starts_with(b"fLaC") || bytes.starts_with(b"RIFF"));
        }
    }
}
