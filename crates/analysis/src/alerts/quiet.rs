//! Quiet hours: when notices are held back, by the clock of the sensor's zone.

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::Problem;
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

const MINUTE: Micros = 60 * SECOND;

/// Minutes of a day.
const DAY: i64 = 1_440;

/// Most stretches of one alert.
const MOST: usize = 8;

/// A stretch of each day in which nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// When it begins on the sensor's clock, `HH:MM`.
    #[schema(example = "22:00")]
    pub from: String,
    /// When it ends, `HH:MM`; on the next day if that is earlier than `from`.
    #[schema(example = "06:00")]
    pub to: String,
}

impl QuietHours {
    fn minutes(&self) -> Option<(i64, i64)> {
        Some((minute_of(&self.from)?, minute_of(&self.to)?))
    }

    fn holds(&self, minute: i64) -> bool {
        self.minutes().is_some_and(
            |(from, to)| {
                if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
            },
        )
    }
}

fn minute_of(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, most: i64| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| is_number && *number <= most)
    };
    Some(number(hours, 23)? * 60 + number(minutes, 59)?)
}

/// Refuses what are no quiet hours.
///
/// # Errors
/// 400 that names `quiet`.
pub(super) fn check(quiet: &[QuietHours]) -> Result<(), Problem> {
    if quiet.len() > MOST {
        return Err(Problem::bad_field("quiet", format!("there are at most {MOST} stretches of quiet hours")));
    }
    for hours in quiet {
        match hours.minutes() {
            None => return Err(Problem::bad_field("quiet", "from and to are times of day such as 22:00")),
            Some((from, to)) if from == to => {
                return Err(Problem::bad_field(
                    "quiet",
                    "from and to are the same; to send nothing, take the web hook away",
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// When something that is told at `now` may be sent: now, or when the quiet hours are over that hold it.
///
/// Minutes are looked at one by one, for two days at most: so a change of the clock needs no rule of its own, and hours that
/// together fill the day end after that.
pub(super) fn not_before(quiet: &[QuietHours], zone: Tz, now: Micros) -> Micros {
    let is_quiet = |time: Micros| {
        let minute = local_minute(zone, time);
        quiet.iter().any(|hours| hours.holds(minute))
    };
    if !is_quiet(now) {
        return now;
    }
    let first = now.div_euclid(MINUTE) + 1;
    (first..=first + 2 * DAY).map(|minute| minute * MINUTE).find(|time| !is_quiet(*time)).unwrap_or(now)
}

/// The minute of the day that the local clock shows.
fn local_minute(zone: Tz, time: Micros) -> i64 {
    let offset = DateTime::from_timestamp_micros(time)
        .map_or(0, |utc| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc());
    (time + i64::from(offset) * SECOND).div_euclid(MINUTE).rem_euclid(DAY)
}

#[cfg(test)]
mod tests {
    use antiphon_platform::http::time;

    use super::*;

    fn hours(from: &str, to: &str) -> QuietHours {
        QuietHours { from: from.to_owned(), to: to.to_owned() }
    }

    fn sent(quiet: &[QuietHours], zone: &str, now: &str) -> String {
        time::format(not_before(quiet, zone.parse().unwrap(), time::parse(now).unwrap()))
    }

    #[test]
    fn notices_wait_for_the_end_by_the_clock_of_the_sensor() {
        let night = [hours("22:00", "06:00")];
        assert_eq!(sent(&night, "UTC", "2026-05-01T21:59:59.5Z"), "2026-05-01T21:59:59.500000Z");
        assert_eq!(sent(&night, "UTC", "2026-05-01T22:00:00Z"), "2026-05-02T06:00:00.000000Z");
        assert_eq!(sent(&night, "Europe/Berlin", "2026-05-01T20:00:00Z"), "2026-05-02T04:00:00.000000Z");
        assert_eq!(sent(&night, "Asia/Kolkata", "2026-05-01T00:29:59Z"), "2026-05-01T00:30:00.000000Z");
        let noon = [hours("12:00", "13:00"), hours("13:00", "14:30")];
        assert_eq!(sent(&noon, "UTC", "2026-05-01T12:10:00Z"), "2026-05-01T14:30:00.000000Z");
    }

    #[test]
    fn a_change_of_the_clock_ends_them_when_it_shows_the_time() {
        let night = [hours("22:00", "02:30")];
        // On 29 March 2026 Berlin goes from 02:00 to 03:00: the end that does not exist is the first minute after it.
        assert_eq!(sent(&night, "Europe/Berlin", "2026-03-28T23:00:00Z"), "2026-03-29T01:00:00.000000Z");
    }

    #[test]
    fn a_day_that_is_all_quiet_holds_nothing_for_ever() {
        let all = [hours("00:00", "12:00"), hours("12:00", "00:00")];
        assert_eq!(sent(&all, "UTC", "2026-05-01T12:10:00Z"), "2026-05-01T12:10:00.000000Z");
    }

    #[test]
    fn what_is_no_time_of_day_is_refused() {
        for bad in ["24:00", "7:00", "07:60", "0700", "", "+1:00", "07:00:00"] {
            assert_eq!(check(&[hours(bad, "08:00")]).unwrap_err().field.as_deref(), Some("quiet"), "{bad}");
        }
        assert!(check(&[hours("08:00", "08:00")]).is_err() && check(&vec![hours("08:00", "09:00"); 9]).is_err());
        assert!(check(&[hours("00:00", "23:59")]).is_ok());
    }
}
