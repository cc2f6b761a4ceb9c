//! Noise indicators of local days: Lday, Levening, Lnight and Lden of Directive 2002/49/EC, Annex I.
//!
//! They are stats of the A-weighted level, made of stored energies when they are asked for. A row is a calendar day of
//! the zone that is asked for (`tz`): day is 07:00 to 19:00, evening 19:00 to 23:00, night the rest, so 00:00 to 07:00
//! and 23:00 to 24:00. What a clock change takes from a period or adds to it (in Europe an hour of the night) makes it
//! shorter or longer, and its level is the mean over what it then is; the weights of the formula stay 12, 4 and 8.
//!
//! A level says something of a period only if most of it was heard: with less than three quarters of its length it is
//! null, and without any of the three Lden is. Lengths are those on the clock, whether or not the range that is asked for
//! cuts the day.

use antiphon_features::descriptor::{Descriptor, Output};
use antiphon_platform::clock::{Micros, SECOND};
use chrono_tz::Tz;

use super::grid::{Bucket, Grid, local_time};
use crate::store::Resolution;

/// The stats, as they are asked for.
pub(super) const STATS: [&str; 4] = ["lden", "lday", "levening", "lnight"];

/// The output that has them.
const OUTPUT: (&str, &str) = ("level", "a");

/// The stat that a period's level is.
pub(super) const LEVEL: &str = "leq";

/// Of each period at least this share must be heard: three quarters.
const HEARD: (Micros, Micros) = (3, 4);

const HOUR: Micros = 3_600 * SECOND;

/// The parts of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Period {
    Day,
    Evening,
    Night,
}

/// One stretch of a period, whole hours of the local clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) period: Period,
    pub(super) start: Micros,
    pub(super) end: Micros,
}

/// The levels of a day's periods in dB; `None` where too little was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Levels {
    pub(super) day: Option<f64>,
    pub(super) evening: Option<f64>,
    pub(super) night: Option<f64>,
}

/// The stats of an output that are of local days: [`STATS`], or none.
pub(super) fn stats_of(descriptor: &Descriptor, output: &Output) -> &'static [&'static str] {
    if has(descriptor, output) { &STATS } else { &[] }
}

/// Whether an output has [`STATS`].
pub(super) fn has(descriptor: &Descriptor, output: &Output) -> bool {
    (descriptor.name, output.name) == OUTPUT
}

/// Whether a stat is one of [`STATS`].
pub(super) fn is_noise(stat: &str) -> bool {
    STATS.contains(&stat)
}

impl Period {
    pub(super) const ALL: [Self; 3] = [Self::Day, Self::Evening, Self::Night];

    fn of_hour(hour: Micros) -> Self {
        match hour {
            7..=18 => Self::Day,
            19..=22 => Self::Evening,
            _ => Self::Night,
        }
    }
}

/// The stretches of a local day, in time order: they tile it.
pub(super) fn stretches(day: Bucket, zone: Tz) -> Vec<Stretch> {
    let hours = Grid::new(Resolution::Hour, zone);
    let mut stretches: Vec<Stretch> = Vec::with_capacity(4);
    let mut at = day.start;
    while at < day.end {
        // A clock that is changed by half an hour makes a bucket of one hour and a half, or of half an hour: it counts by
        // the hour in which it begins.
        let period = Period::of_hour(local_time(zone, at).div_euclid(HOUR).rem_euclid(24));
        let end = hours.bucket(at).end.min(day.end);
        match stretches.last_mut() {
            Some(last) if last.period == period => last.end = end,
            _ => stretches.push(Stretch { period, start: at, end }),
        }
        at = end;
    }
    stretches
}

/// Whether enough of a period was heard for its level to count: of the stretches of `period`, `heard` µs.
pub(super) fn is_heard(stretches: &[Stretch], period: Period, heard: u64) -> bool {
    let of_period = stretches.iter().filter(|stretch| stretch.period == period);
    let length: Micros = of_period.map(|stretch| stretch.end - stretch.start).sum();
    let heard = i64::try_from(heard).unwrap_or(i64::MAX);
    heard > 0 && heard.saturating_mul(HEARD.1) >= length.saturating_mul(HEARD.0)
}

impl Levels {
    /// Sets the level of a period.
    pub(super) fn set(&mut self, period: Period, level: Option<f64>) {
        match period {
            Period::Day => self.day = level,
            Period::Evening => self.evening = level,
            Period::Night => self.night = level,
        }
    }

    /// The value of one of [`STATS`], in dB.
    pub(super) fn value(&self, stat: &str) -> Option<f64> {
        match stat {
            "lday" => self.day,
            "levening" => self.evening,
            "lnight" => self.night,
            _ => self.den(),
        }
    }

    /// Annex I, 1: 10 lg ((12 x 10^(Lday/10) + 4 x 10^((Levening + 5)/10) + 8 x 10^((Lnight + 10)/10)) / 24).
    fn den(&self) -> Option<f64> {
        let energy = |level: f64| 10_f64.powf(level / 10.0);
        let (day, evening, night) = (self.day?, self.evening?, self.night?);
        let sum = 12.0 * energy(day) + 4.0 * energy(evening + 5.0) + 8.0 * energy(night + 10.0);
        Some(10.0 * (sum / 24.0).log10())
    }
}

#[cfg(test)]
mod tests {
    use antiphon_platform::http::time;
    use proptest::prelude::*;

    use super::*;

    fn levels(day: f64, evening: f64, night: f64) -> Levels {
        Levels { day: Some(day), evening: Some(evening), night: Some(night) }
    }

    fn day_of(zone: Tz, instant: &str) -> Vec<(Period, String, Micros)> {
        let day = Grid::new(Resolution::Day, zone).bucket(time::parse(instant).unwrap());
        let shown = |stretch: Stretch| {
            let start = time::format(stretch.start)[5..16].to_owned();
            (stretch.period, start, (stretch.end - stretch.start) / (HOUR / 2))
        };
        stretches(day, zone).into_iter().map(shown).collect()
    }

    #[test]
    fn lden_is_what_the_formula_says_by_hand() {
        // All alike: 10 lg ((12 + 4 x 10^0.5 + 8 x 10) / 24) = 10 lg (104.6491 / 24) = 6.3952 above.
        let alike = levels(50.0, 50.0, 50.0).value("lden").unwrap();
        assert!((alike - 56.3952).abs() < 1e-4, "{alike}");
        // 12 x 10^6.5 + 4 x 10^6.5 + 8 x 10^6.5, all over 24: 65 in each after its penalty.
        let equal = levels(65.0, 60.0, 55.0).value("lden").unwrap();
        assert!((equal - 65.0).abs() < 1e-9, "{equal}");
        // 12 x 10^7 = 1.2e8, 4 x 10^6.8 = 2.523829e7, 8 x 10^6.5 = 2.529822e7; their sum over 24 is 7.105688e6.
        let road = levels(70.0, 63.0, 55.0).value("lden").unwrap();
        assert!((road - 68.5161).abs() < 1e-4, "{road}");
        // Relative to full scale the penalties are the same dB.
        let relative = levels(-30.0, -37.0, -45.0).value("lden").unwrap();
        assert!((relative - (road - 100.0)).abs() < 1e-9, "{relative}");
    }

    #[test]
    fn lden_needs_all_three() {
        let mut missing = levels(70.0, 63.0, 55.0);
        missing.set(Period::Evening, None);
        assert_eq!((missing.value("lden"), missing.value("levening")), (None, None));
        assert_eq!((missing.value("lday"), missing.value("lnight")), (Some(70.0), Some(55.0)));
    }

    #[test]
    fn a_day_is_night_day_evening_night() {
        // tzdata: Berlin is UTC+2 in May.
        let expected = [
            (Period::Night, "04-30T22:00", 14),
            (Period::Day, "05-01T05:00", 24),
            (Period::Evening, "05-01T17:00", 8),
            (Period::Night, "05-01T21:00", 2),
        ];
        let expected = expected.map(|(period, start, halves)| (period, start.to_owned(), halves));
        assert_eq!(day_of(Tz::Europe__Berlin, "2026-05-01T12:00:00Z"), expected);
        assert_eq!(day_of(Tz::Asia__Kolkata, "2026-05-01T12:00:00Z")[1].1, "05-01T01:30");
    }

    #[test]
    fn a_clock_change_lengthens_or_shortens_its_period() {
        // tzdata: Berlin changes at 01:00 UTC on 2026-03-29 and 2026-10-25.
        let lengths =
            |instant| day_of(Tz::Europe__Berlin, instant).into_iter().map(|found| found.2).collect::<Vec<_>>();
        assert_eq!(lengths("2026-03-29T12:00:00Z"), [12, 24, 8, 2], "a night of 7 hours");
        assert_eq!(lengths("2026-10-25T12:00:00Z"), [16, 24, 8, 2], "a night of 9 hours");
        // Lord Howe goes back by half an hour at 15:00 UTC on 2026-04-04, which is 02:00 there.
        let autumn = day_of(Tz::Australia__Lord_Howe, "2026-04-05T03:00:00Z");
        assert_eq!(autumn.iter().map(|found| found.2).collect::<Vec<_>>(), [15, 24, 8, 2]);
    }

    #[test]
    fn three_quarters_of_a_period_must_be_heard() {
        let day = Grid::new(Resolution::Day, Tz::UTC).bucket(1_777_593_600 * SECOND);
        let stretches = stretches(day, Tz::UTC);
        let hours = |hours: u64| hours * HOUR.unsigned_abs();
        for (period, enough) in [(Period::Day, hours(9)), (Period::Evening, hours(3)), (Period::Night, hours(6))] {
            assert!(is_heard(&stretches, period, enough) && !is_heard(&stretches, period, enough - 1), "{period:?}");
        }
        assert!(!is_heard(&[], Period::Day, 0), "a period that is not there has no level");
    }

    proptest! {
        #[test]
        fn stretches_tile_every_day(
            zone in prop::sample::select(vec![Tz::Europe__Berlin, Tz::America__Sao_Paulo, Tz::Australia__Lord_Howe,
                Tz::Asia__Kathmandu, Tz::America__St_Johns, Tz::Africa__Casablanca, Tz::Pacific__Apia, Tz::UTC]),
            instant in 0..2_000_000_000 * SECOND,
        ) {
            let day = Grid::new(Resolution::Day, zone).bucket(instant);
            let found = stretches(day, zone);
            prop_assert_eq!((found[0].start, found[found.len() - 1].end), (day.start, day.end));
            for pair in found.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
                prop_assert!(pair[0].period != pair[1].period);
            }
            for stretch in &found {
                prop_assert_eq!(stretch.start.rem_euclid(60 * SECOND), 0);
            }
        }
    }
}
