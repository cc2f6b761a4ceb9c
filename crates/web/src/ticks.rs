//! Where axes have marks: at round values, and at round times of the reader's clock.

use antiphon_platform::clock::{Micros, SECOND};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeZone, Timelike};
use chrono_tz::Tz;

use crate::words::local;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Steps of an axis of time in seconds, up to days.
const STEPS: [i64; 19] = [
    1,
    5,
    10,
    30,
    MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    5 * DAY,
    7 * DAY,
    14 * DAY,
];

/// Steps in months, for longer axes.
const MONTHS: [u32; 5] = [1, 2, 3, 6, 12];

/// Up to this many marks fit on an axis of time.
const MOST: i64 = 8;

/// Marks of `[from, to)`: instants with what to write at them.
#[must_use]
pub fn times(from: Micros, to: Micros, zone: Tz) -> Vec<(Micros, String)> {
    let (Some(first), Some(last)) = (local(from, zone), local(to, zone)) else { return Vec::new() };
    let length = (to - from) / SECOND;
    let Some(step) = STEPS.into_iter().find(|step| length / step < MOST) else {
        return months(&first, &last, length, zone);
    };
    // By the clock on the wall: a day of 23 hours has its marks at the same hours as others.
    let seconds = first.naive_local().and_utc().timestamp();
    let mut wall = seconds.div_euclid(step) * step;
    let mut marks = Vec::new();
    // One that a change of clocks leaves out is no reason to go on for ever.
    for _ in 0..MOST * 2 + 4 {
        if let Some(mark) = DateTime::from_timestamp(wall, 0).and_then(|naive| instant(naive.naive_utc(), zone)) {
            if mark.timestamp_micros() >= to {
                break;
            }
            if mark.timestamp_micros() >= from {
                marks.push((mark.timestamp_micros(), words(&mark, step)));
            }
        }
        wall += step;
    }
    marks
}

fn instant(wall: NaiveDateTime, zone: Tz) -> Option<DateTime<Tz>> {
    zone.from_local_datetime(&wall).earliest()
}

fn words(mark: &DateTime<Tz>, step: i64) -> String {
    let is_midnight = mark.num_seconds_from_midnight() == 0;
    match step {
        step if step >= DAY || is_midnight && step >= MINUTE => mark.format("%-d %b").to_string(),
        step if step >= MINUTE => mark.format("%H:%M").to_string(),
        _ => mark.format("%H:%M:%S").to_string(),
    }
}

fn months(first: &DateTime<Tz>, last: &DateTime<Tz>, length: i64, zone: Tz) -> Vec<(Micros, String)> {
    let step = MONTHS.into_iter().find(|step| length / (30 * DAY * i64::from(*step)) < MOST);
    // Beyond eight years, years that fit.
    let step = step.unwrap_or_else(|| 12 * u32::try_from(length / (365 * DAY) / MOST + 1).unwrap_or(100));
    let mut month = first.year() * 12 + first.month0() as i32;
    let mut marks = Vec::new();
    while month <= last.year() * 12 + last.month0() as i32 {
        let number = u32::try_from(month.rem_euclid(12)).unwrap_or(0);
        let begins =
            NaiveDate::from_ymd_opt(month.div_euclid(12), number + 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0));
        if month.rem_euclid(i32::try_from(step).unwrap_or(12)) == 0
            && let Some(mark) =
                begins.and_then(|begins| instant(begins, zone)).filter(|mark| mark >= first && mark < last)
        {
            let form = if number == 0 || step >= 12 { "%Y" } else { "%b" };
            marks.push((mark.timestamp_micros(), mark.format(form).to_string()));
        }
        month += 1;
    }
    marks
}

/// The longest step of marks and the range of an axis that shows `least` to `most`: begin, end, step.
#[must_use]
pub fn values(least: f64, most: f64) -> (f64, f64, f64) {
    let (least, most) = if most - least < 1e-9 { (least - 0.5, most + 0.5) } else { (least, most) };
    let rough = (most - least) / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    ((least / step).floor() * step, (most / step).ceil() * step, step)
}

#[cfg(test)]
mod tests {
    use antiphon_platform::http::time::parse;

    use super::*;

    fn of(from: &str, to: &str, zone: Tz) -> Vec<String> {
        times(parse(from).unwrap(), parse(to).unwrap(), zone).into_iter().map(|(_, words)| words).collect()
    }

    #[test]
    fn marks_are_at_round_times_of_the_clock_on_the_wall() {
        let day = of("2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z", Tz::UTC);
        assert_eq!(day, ["1 May", "06:00", "12:00", "18:00"].map(String::from).to_vec());
        let local = of("2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z", Tz::Asia__Kolkata);
        assert_eq!(local, ["06:00", "12:00", "18:00", "2 May"]);
        let minute = of("2026-05-01T00:00:00Z", "2026-05-01T00:01:00Z", Tz::UTC);
        assert_eq!(minute.len(), 6);
        assert_eq!(minute[1], "00:00:10");
        let year = of("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", Tz::UTC);
        assert_eq!(year, ["2026", "Mar", "May", "Jul", "Sep", "Nov"]);
        assert!(of("1990-01-01T00:00:00Z", "2027-01-01T00:00:00Z", Tz::UTC).len() <= 9);
    }

    #[test]
    fn changes_of_clocks_do_no_harm() {
        // Clocks go forward at 2:00 and back at 3:00.
        let spring = of("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", Tz::Europe__Berlin);
        assert_eq!(spring, ["29 Mar", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00"]);
        assert!(of("2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z", Tz::Europe__Berlin).len() >= 3);
    }

    #[test]
    fn values_have_round_steps_around_them() {
        assert_eq!(values(-63.2, -21.0), (-80.0, -20.0, 20.0));
        assert_eq!(values(0.0, 1.0), (0.0, 1.0, 0.5));
        let (from, to, step) = values(5.0, 5.0);
        assert!(from < 5.0 && to > 5.0 && step > 0.0);
    }
}
