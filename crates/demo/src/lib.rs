//! Sound for trying an audio platform without a microphone: two places that go on for ever, and a few pieces of music.
//!
//! Everything is arithmetic. What a [`Place`] sounds like is a pure function of absolute time, made in blocks of 20 ms on a grid
//! since 1970: any stretch can be made alone, twice or out of order, and stretches that touch join bit by bit. A [`Piece`] is
//! made from its beginning, and the same each time. [`sensor`] says what a sensor at a place does with the sound: what its
//! clock says, what it misses, and when it sends rubbish.
//!
//! It knows nothing of services, files or clocks.

mod garden;
pub mod music;
mod random;
pub mod sensor;
mod street;
mod tone;

use random::Random;
use tone::Tables;

pub use music::Piece;

/// Samples per second of places.
pub const RATE: u32 = 16_000;

/// Samples of a block, 20 ms: what a place is made in.
const BLOCK: usize = RATE as usize / 50;

/// Blocks of a second.
const BLOCKS: i64 = 50;

/// Where a simulated sensor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A street in Bogotá: cars that pass, two rush hours a day, a church, seldom a siren.
    Street,
    /// A garden in Kandy: birds and their dawn chorus, wind, rain in the afternoon, crickets at night.
    Garden,
}

impl Place {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Street, Self::Garden];

    /// Its IANA time zone. Neither has ever changed its clocks since the places were made up, so that local time is
    /// [`utc_offset`](Self::utc_offset) away all year.
    #[must_use]
    pub fn zone(self) -> &'static str {
        match self {
            Self::Street => "America/Bogota",
            Self::Garden => "Asia/Colombo",
        }
    }

    /// Local time less UTC, in seconds.
    #[must_use]
    pub fn utc_offset(self) -> i64 {
        match self {
            Self::Street => -5 * 3_600,
            Self::Garden => 5 * 3_600 + 1_800,
        }
    }
}

/// The time of day and the day at a place.
#[derive(Clone, Copy, Debug)]
struct Local {
    /// Days since 1970-01-01, which was a Thursday.
    day: i64,
    /// Hours since midnight, 0 to 24.
    hour: f32,
}

impl Local {
    fn at(block: i64, place: Place) -> Self {
        let blocks = block + place.utc_offset() * BLOCKS;
        let a_day = 86_400 * BLOCKS;
        Self { day: blocks.div_euclid(a_day), hour: (blocks.rem_euclid(a_day) as f64 / (3_600 * BLOCKS) as f64) as f32 }
    }

    /// The value of a curve that is given at each full hour, in between on a straight line.
    fn on(self, hourly: &[f32; 24]) -> f32 {
        let (from, share) = (self.hour as usize % 24, self.hour.fract());
        hourly[from] + (hourly[(from + 1) % 24] - hourly[from]) * share
    }
}

/// Makes the sound of places; holds the tables that this takes, about 4 MB.
pub struct Synthesiser {
    tables: Tables,
}

impl Default for Synthesiser {
    fn default() -> Self {
        Self::new()
    }
}

impl Synthesiser {
    /// Makes the tables.
    #[must_use]
    pub fn new() -> Self {
        Self { tables: Tables::new() }
    }

    /// Appends what is heard at a place during `seconds` whole seconds from `start` (seconds since 1970) on, as 16 bit integers
    /// at [`RATE`].
    pub fn render(&self, place: Place, start: i64, seconds: u32, samples: &mut Vec<i32>) {
        samples.reserve(seconds as usize * RATE as usize);
        let mut block = [0.0_f32; BLOCK];
        for index in start * BLOCKS..(start + i64::from(seconds)) * BLOCKS {
            block.fill(0.0);
            match place {
                Place::Street => street::add(&self.tables, index, &mut block),
                Place::Garden => garden::add(&self.tables, index, &mut block),
            }
            samples.extend(block.iter().map(|sample| tone::to_integer(*sample)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Wednesday, midnight UTC.
    const DAY: i64 = 1_777_420_800;

    fn render(place: Place, start: i64, seconds: u32) -> Vec<i32> {
        let mut samples = Vec::new();
        Synthesiser::new().render(place, start, seconds, &mut samples);
        samples
    }

    /// The level in dBFS.
    fn level(samples: &[i32]) -> f64 {
        let squares: f64 = samples.iter().map(|sample| (f64::from(*sample) / 32_768.0).powi(2)).sum();
        10.0 * (squares / samples.len() as f64 + 1e-15).log10()
    }

    /// When it is so many hours local time at a place on the day.
    fn local(place: Place, hour: f64) -> i64 {
        DAY + (hour * 3_600.0) as i64 - place.utc_offset()
    }

    #[test]
    fn stretches_join_bit_by_bit_however_they_are_made() {
        for (place, hour) in [(Place::Street, 8.0), (Place::Garden, 6.0), (Place::Garden, 16.0), (Place::Garden, 23.0)]
        {
            let start = local(place, hour);
            let whole = render(place, start, 12);
            let mut pieces = render(place, start, 5);
            pieces.extend(render(place, start + 5, 1));
            pieces.extend(render(place, start + 6, 6));
            assert_eq!(whole, pieces, "{place:?} at {hour}");
            assert_eq!(whole.len(), 12 * RATE as usize);
        }
    }

    #[test]
    fn nothing_clicks_where_blocks_join() {
        for (place, hour) in [(Place::Street, 8.0), (Place::Street, 3.0), (Place::Garden, 6.0), (Place::Garden, 23.0)] {
            let samples = render(place, local(place, hour), 20);
            let step = |index: usize| f64::from(samples[index] - samples[index - 1]).abs();
            let joints = (BLOCK..samples.len()).step_by(BLOCK);
            let at_joints: f64 = joints.clone().map(step).sum::<f64>() / joints.count() as f64;
            let anywhere: f64 = (1..samples.len()).map(step).sum::<f64>() / (samples.len() - 1) as f64;
            assert!(at_joints < 1.3 * anywhere, "{place:?} at {hour}: {at_joints} against {anywhere}");
        }
    }

    #[test]
    fn a_street_has_rush_hours_and_a_night() {
        let at = |hour| level(&render(Place::Street, local(Place::Street, hour), 60));
        let (night, morning, evening) = (at(3.0), at(8.0), at(17.5));
        assert!(morning > night + 8.0 && evening > night + 8.0, "{night} {morning} {evening}");
        assert!(morning < -10.0, "{morning}");
    }

    #[test]
    fn a_garden_has_a_dawn_chorus_and_rain() {
        let dawn = render(Place::Garden, local(Place::Garden, 5.9), 60);
        let noon = render(Place::Garden, local(Place::Garden, 12.5), 60);
        assert!(level(&dawn) > level(&noon) + 2.0, "{} {}", level(&dawn), level(&noon));
        let wettest = (0..24).map(|half| local(Place::Garden, 15.0) + half * 300);
        let wettest = wettest.map(|start| level(&render(Place::Garden, start, 5))).fold(f64::MIN, f64::max);
        assert!(wettest > level(&noon) + 5.0, "{wettest} {}", level(&noon));
    }

    #[test]
    fn nothing_is_clipped_for_long_and_nothing_is_silent() {
        for place in Place::ALL {
            for hour in 0..24 {
                let samples = render(place, local(place, f64::from(hour)), 10);
                let clipped = samples.iter().filter(|sample| sample.abs() >= 32_767).count();
                assert!(clipped == 0, "{place:?} at {hour}: {clipped} samples are clipped");
                assert!((-70.0..-6.0).contains(&level(&samples)), "{place:?} at {hour}: {} dBFS", level(&samples));
            }
        }
    }

    #[test]
    fn local_time_is_that_of_the_zone() {
        let midnight_utc = DAY * BLOCKS;
        assert!((Local::at(midnight_utc, Place::Street).hour - 19.0).abs() < 1e-6);
        assert!((Local::at(midnight_utc, Place::Garden).hour - 5.5).abs() < 1e-6);
        assert_eq!(Local::at(midnight_utc, Place::Garden).day - Local::at(midnight_utc, Place::Street).day, 1);
    }
}
