//! Sample numbers, instants and the borders between steps.

use crate::algorithm::Stream;
use crate::cells::SECOND;

/// Steps per second: the common grid of 100 ms blocks and 125 ms levels.
const STEPS: i128 = 40;

/// What a stream's sample numbers mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    rate: i64,
    first_body_sample: i64,
    song: bool,
}

impl Clock {
    pub(crate) fn new(stream: &Stream) -> Clock {
        Clock { rate: i64::from(stream.rate), first_body_sample: stream.first_body_sample, song: stream.song }
    }

    pub(crate) fn is_song(&self) -> bool {
        self.song
    }

    pub(crate) fn first_body_sample(&self) -> i64 {
        self.first_body_sample
    }

    /// The instant of a sample in µs, to the nearest.
    pub(crate) fn micros(&self, sample: i64) -> i64 {
        let (rate, scaled) = (i128::from(self.rate), i128::from(sample) * i128::from(SECOND));
        (scaled + rate / 2).div_euclid(rate) as i64
    }

    /// The second that a sample lies in.
    pub(crate) fn second(&self, sample: i64) -> i64 {
        sample.div_euclid(self.rate)
    }

    /// Where the step ends that begins with this sample.
    pub(crate) fn step_border(&self, sample: i64) -> i64 {
        let rate = i128::from(self.rate);
        let next = (i128::from(sample) * STEPS).div_euclid(rate) + 1;
        let border = -(-next * rate).div_euclid(STEPS) as i64;
        if sample < self.first_body_sample { border.min(self.first_body_sample) } else { border }
    }

    /// Samples in the longest step.
    pub(crate) fn longest_step(&self) -> usize {
        self.rate as usize / STEPS as usize + 1
    }

    /// What of a second is body, as µs inside it; `None` if nothing is. `end` is the number after the last
    /// sample, if it is known.
    pub(crate) fn interval(&self, second: i64, end: Option<i64>) -> Option<(u32, u32)> {
        let start = second * i64::from(SECOND);
        let inside = |sample: i64| (self.micros(sample) - start).clamp(0, i64::from(SECOND)) as u32;
        let (from, to) = (inside(self.first_body_sample), end.map_or(SECOND, inside));
        (from < to).then_some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use crate::algorithm::Stream;

    fn clock(rate: u32, first_body_sample: i64) -> Clock {
        let first_sample = first_body_sample;
        let stream = Stream { rate, channels: 1, first_sample, first_body_sample, song: false, calibration_db: None };
        Clock::new(&stream)
    }

    #[test]
    fn steps_end_at_seconds_blocks_and_levels() {
        for rate in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000, 1_000, 44_099] {
            let clock = clock(rate, 0);
            let rate = i64::from(rate);
            let mut borders = Vec::new();
            let mut at = -rate;
            while at < 2 * rate {
                at = clock.step_border(at);
                borders.push(at);
            }
            for k in 1..16 {
                assert!(borders.contains(&((k * rate + 9).div_euclid(10))), "100 ms block {k} at {rate}");
                assert!(borders.contains(&((k * rate + 7).div_euclid(8))), "125 ms level {k} at {rate}");
            }
            assert!(borders.contains(&0) && borders.contains(&rate));
            assert_eq!(borders.len(), 120);
        }
    }

    #[test]
    fn a_step_ends_where_the_body_begins() {
        let clock = clock(48_000, 1_000);
        assert_eq!(clock.step_border(0), 1_000);
        assert_eq!(clock.step_border(1_000), 1_200);
    }

    #[test]
    fn intervals_are_what_of_a_second_is_body() {
        let clock = clock(8_000, 12_000);
        assert_eq!(clock.interval(0, None), None);
        assert_eq!(clock.interval(1, None), Some((500_000, 1_000_000)));
        assert_eq!(clock.interval(2, Some(16_008)), Some((0, 1_000)));
        assert_eq!(clock.interval(3, Some(16_008)), None);
    }
}
