//! Buckets: where the rows of an answer begin and end.

use antiphon_platform::clock::{Micros, SECOND};
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::store::Resolution;

/// Zone offsets are taken to the minute.
const MINUTE: Micros = 60 * SECOND;

/// A half-open bucket of time, in µs, as it is on the clock: not clipped to any range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) start: Micros,
    pub(super) end: Micros,
}

/// Divides time into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    length: Micros,
    /// Only buckets of an hour and a day follow a zone.
    zone: Option<Tz>,
}

impl Grid {
    /// Buckets of a resolution; those of `1h` and `1d` align to the local time of `zone`.
    pub(super) fn new(resolution: Resolution, zone: Tz) -> Self {
        let is_local = matches!(resolution, Resolution::Hour | Resolution::Day) && zone != Tz::UTC;
        Self { length: resolution.length(), zone: is_local.then_some(zone) }
    }

    /// The bucket that holds an instant.
    pub(super) fn bucket(&self, time: Micros) -> Bucket {
        match self.zone {
            None => {
                let start = time.div_euclid(self.length) * self.length;
                Bucket { start, end: start + self.length }
            }
            Some(zone) => Bucket { start: self.local_start(zone, time), end: self.local_end(zone, time) },
        }
    }

    /// How many buckets touch `[from, to)`, or `most` + 1 if there are more.
    pub(super) fn count(&self, from: Micros, to: Micros, most: usize) -> usize {
        if from >= to {
            return 0;
        }
        if self.zone.is_none() {
            let count = (to - 1).div_euclid(self.length) - from.div_euclid(self.length) + 1;
            return usize::try_from(count).unwrap_or(usize::MAX).min(most + 1);
        }
        let mut count = 0;
        let mut at = from;
        while at < to && count <= most {
            at = self.bucket(at).end;
            count += 1;
        }
        count
    }

    /// The last boundary at or before `time`. A boundary is where the local clock shows a multiple of the length,
    /// or jumps from one such stretch into another: so a day may be longer or shorter, an hour that is
    /// repeated is two buckets, and one that is skipped is none.
    fn local_start(&self, zone: Tz, time: Micros) -> Micros {
        let offset = offset(zone, time);
        let start = (time + offset).div_euclid(self.length) * self.length - offset;
        match change_in(zone, start, time) {
            None => start,
            Some(change) if self.is_boundary(zone, change) => change,
            Some(change) => self.local_start(zone, change - 1),
        }
    }

    /// The first boundary after `time`.
    fn local_end(&self, zone: Tz, time: Micros) -> Micros {
        let offset = offset(zone, time);
        let end = ((time + offset).div_euclid(self.length) + 1) * self.length - offset;
        match change_in(zone, time, end) {
            None => end,
            Some(change) if self.is_boundary(zone, change) => change,
            Some(change) => self.local_end(zone, change),
        }
    }

    fn is_boundary(&self, zone: Tz, change: Micros) -> bool {
        let before = change - 1 + offset(zone, change - 1);
        let after = change + offset(zone, change);
        after.rem_euclid(self.length) == 0 || before.div_euclid(self.length) != after.div_euclid(self.length)
    }
}

/// What the local clock shows at an instant, in µs since it showed the beginning of 1970.
pub(super) fn local_time(zone: Tz, time: Micros) -> Micros {
    time + offset(zone, time)
}

/// What local time is ahead of UTC, in µs, to the minute.
fn offset(zone: Tz, time: Micros) -> Micros {
    let Some(utc) = DateTime::from_timestamp_micros(time) else { return 0 };
    let seconds = zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc();
    i64::from(seconds / 60) * MINUTE
}

/// The instant in `(from, to]` at which another offset begins, if there is one. Clocks are not changed twice within
/// a day, so it is enough to look at both ends.
fn change_in(zone: Tz, from: Micros, to: Micros) -> Option<Micros> {
    (offset(zone, from) != offset(zone, to)).then(|| change_between(zone, from, to))
}

/// Where the offset changes, of two instants with different ones: whole minutes, as all changes since 1970 are.
fn change_between(zone: Tz, from: Micros, to: Micros) -> Micros {
    let before = offset(zone, from);
    let (mut low, mut high) = (from.div_euclid(MINUTE), to.div_euclid(MINUTE) + 1);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if offset(zone, middle * MINUTE) == before {
            low = middle;
        } else {
            high = middle;
        }
    }
    high * MINUTE
}

/// Cuts `[from, to)` into the largest cells that fit in it, in time order. Both ends must be multiples of a second;
/// no cell is finer than the ends ask for.
pub(super) fn largest_cells(from: Micros, to: Micros) -> Vec<(Resolution, Micros)> {
    let mut cells = Vec::new();
    let mut at = from;
    while at < to {
        let fits = |resolution: &&Resolution| at.rem_euclid(resolution.length()) == 0 && at + resolution.length() <= to;
        let largest = Resolution::ALL.iter().rev().find(fits).copied().unwrap_or(Resolution::Second);
        cells.push((largest, at));
        at += largest.length();
    }
    cells
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Micros = 3600 * SECOND;

    fn at(text: &str) -> Micros {
        antiphon_platform::http::time::parse(text).unwrap()
    }

    fn starts(resolution: Resolution, zone: Tz, from: &str, to: &str) -> Vec<(String, Micros)> {
        let grid = Grid::new(resolution, zone);
        let mut rows = Vec::new();
        let mut time = at(from);
        while time < at(to) {
            let bucket = grid.bucket(time);
            rows.push((
                antiphon_platform::http::time::format(bucket.start)[5..16].to_owned(),
                bucket.end - bucket.start,
            ));
            time = bucket.end;
        }
        rows
    }

    #[test]
    fn days_are_longer_and_shorter_where_clocks_change() {
        // tzdata: Berlin changes at 01:00 UTC on 2026-03-29 and 2026-10-25.
        let spring = starts(Resolution::Day, Tz::Europe__Berlin, "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        let expected = [("03-27T23:00", 24), ("03-28T23:00", 23), ("03-29T22:00", 24)];
        assert_eq!(spring, expected.map(|(start, hours)| (start.to_owned(), hours * HOUR)));
        let autumn = starts(Resolution::Day, Tz::Europe__Berlin, "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        let expected = [("10-23T22:00", 24), ("10-24T22:00", 25), ("10-25T23:00", 24)];
        assert_eq!(autumn, expected.map(|(start, hours)| (start.to_owned(), hours * HOUR)));
    }

    #[test]
    fn a_repeated_hour_is_two_buckets_and_a_skipped_one_none() {
        let autumn = starts(Resolution::Hour, Tz::Europe__Berlin, "2026-10-24T23:00:00Z", "2026-10-25T03:00:00Z");
        let expected = ["10-24T23:00", "10-25T00:00", "10-25T01:00", "10-25T02:00"];
        assert_eq!(autumn, expected.map(|start| (start.to_owned(), HOUR)));
        let spring = starts(Resolution::Hour, Tz::Europe__Berlin, "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z");
        assert_eq!(spring.len(), 3);
    }

    #[test]
    fn half_hours_of_offset_and_of_change() {
        let kolkata = starts(Resolution::Hour, Tz::Asia__Kolkata, "2026-05-01T00:00:00Z", "2026-05-01T01:00:00Z");
        assert_eq!(kolkata[0].0, "04-30T23:30");
        // Lord Howe goes from +11 to +10:30 at 15:00 UTC on 2026-04-04, and back at 15:30 UTC on 2026-10-03.
        let autumn = starts(Resolution::Hour, Tz::Australia__Lord_Howe, "2026-04-04T13:00:00Z", "2026-04-04T16:30:00Z");
        let expected = [("04-04T13:00", HOUR), ("04-04T14:00", HOUR + HOUR / 2), ("04-04T15:30", HOUR)];
        assert_eq!(autumn, expected.map(|(start, length)| (start.to_owned(), length)));
        let spring = starts(Resolution::Hour, Tz::Australia__Lord_Howe, "2026-10-03T14:30:00Z", "2026-10-03T17:00:00Z");
        let expected = [("10-03T14:30", HOUR), ("10-03T15:30", HOUR / 2), ("10-03T16:00", HOUR)];
        assert_eq!(spring, expected.map(|(start, length)| (start.to_owned(), length)));
    }

    #[test]
    fn a_day_that_was_skipped_is_none() {
        // Samoa had no 2011-12-30: at 10:00 UTC it went from -10 to +14.
        let days = starts(Resolution::Day, Tz::Pacific__Apia, "2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z");
        let expected = [("12-29T10:00", 24), ("12-30T10:00", 24), ("12-31T10:00", 24)];
        assert_eq!(days, expected.map(|(start, hours)| (start.to_owned(), hours * HOUR)));
    }

    #[test]
    fn buckets_tile_whole_years_of_changes() {
        let zones = [Tz::Europe__Berlin, Tz::Australia__Lord_Howe, Tz::America__Sao_Paulo, Tz::America__St_Johns];
        for (zone, resolution) in zones.into_iter().flat_map(|zone| [(zone, Resolution::Hour), (zone, Resolution::Day)])
        {
            let grid = Grid::new(resolution, zone);
            let mut time = at("2006-01-01T00:00:00Z");
            while time < at("2008-01-01T00:00:00Z") {
                let bucket = grid.bucket(time);
                assert!(bucket.start < bucket.end, "{zone} {resolution:?} {time}");
                for inside in [bucket.start, bucket.start.midpoint(bucket.end), bucket.end - 1] {
                    assert_eq!(grid.bucket(inside), bucket, "{zone} {resolution:?} {inside}");
                }
                assert_eq!(grid.bucket(bucket.end).start, bucket.end, "{zone} {resolution:?} {time}");
                time = bucket.end;
            }
        }
    }

    proptest! {
        #[test]
        fn buckets_tile_time(
            zone in prop::sample::select(vec![Tz::Europe__Berlin, Tz::America__Sao_Paulo, Tz::Australia__Lord_Howe,
                Tz::Asia__Kathmandu, Tz::America__St_Johns, Tz::Africa__Casablanca, Tz::UTC]),
            resolution in prop::sample::select(Resolution::ALL.to_vec()),
            time in 0..2_000_000_000 * SECOND,
        ) {
            let grid = Grid::new(resolution, zone);
            let bucket = grid.bucket(time);
            prop_assert!(bucket.start <= time && time < bucket.end);
            prop_assert_eq!(grid.bucket(bucket.start), bucket);
            prop_assert_eq!(grid.bucket(bucket.end - 1), bucket);
            prop_assert_eq!(grid.bucket(bucket.end).start, bucket.end);
            prop_assert_eq!(bucket.start.rem_euclid(resolution.length().min(MINUTE)), 0);
            prop_assert_eq!(grid.count(bucket.start, grid.bucket(bucket.end).end, 9), 2);
        }

        #[test]
        fn largest_cells_tile_a_range_and_cannot_be_joined(from in 0..200_000_i64, length in 0..200_000_i64) {
            let (from, to) = (from * SECOND, (from + length) * SECOND);
            let cells = largest_cells(from, to);
            let mut at = from;
            for (resolution, start) in &cells {
                prop_assert_eq!(*start, at);
                prop_assert_eq!(resolution.floor(at), at);
                at += resolution.length();
                let parent = Resolution::ALL.into_iter().find(|larger| larger > resolution);
                let fits = |parent: Resolution| parent.floor(*start) >= from && parent.floor(*start) + parent.length() <= to;
                prop_assert!(!parent.is_some_and(fits), "a larger cell holds it");
            }
            prop_assert_eq!(at, to);
        }
    }
}
