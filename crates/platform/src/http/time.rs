//! Times on the wire: RFC 3339 with an offset in, UTC with six digits out.

use crate::clock::{Micros, SECOND};

/// The earliest time that can be said: 0001-01-01T00:00:00Z, µs since 1970.
pub const EARLIEST: Micros = -62_135_596_800 * SECOND;
/// The latest time that can be said: 9999-12-31T23:59:59.999999Z, µs since 1970.
pub const LATEST: Micros = 253_402_300_799 * SECOND + 999_999;

/// Why a text is not a time that we take, in words that follow "the time ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not of the form at all.
    #[error("is not of the form 2026-05-01T00:00:00Z (RFC 3339)")]
    Form,
    /// No `Z`, `+HH:MM` or `-HH:MM` at the end.
    #[error("has no offset: add Z, or one such as +02:00")]
    Offset,
    /// More than six fraction digits.
    #[error("has more than six fraction digits; microseconds are the finest we keep")]
    Fraction,
    /// Second 60.
    #[error("has second 60; leap seconds have no place in POSIX time")]
    LeapSecond,
    /// A month, day, hour, minute, second or offset that does not exist.
    #[error("does not exist in the calendar")]
    Calendar,
    /// Outside the years 1 to 9999.
    #[error("is outside the years 0001 to 9999")]
    Year,
}

/// Reads an RFC 3339 time with an offset and up to six fraction digits; µs since 1970.
///
/// # Errors
/// A [`TimeError`] that says what is wrong with it.
pub fn parse(text: &str) -> Result<Micros, TimeError> {
    let bytes = text.as_bytes();
    if bytes.len() < 19 || bytes.len() > 64 || !text.is_ascii() {
        return Err(TimeError::Form);
    }
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, byte)| bytes[*at] != *byte) || !matches!(bytes[10], b'T' | b't') {
        return Err(TimeError::Form);
    }
    let number = |from: usize, to: usize| digits(&bytes[from..to]).ok_or(TimeError::Form);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let (fraction, rest) = fraction(&bytes[19..])?;
    let offset = offset(rest)?;
    if second == 60 {
        return Err(TimeError::LeapSecond);
    }
    if year == 0 {
        return Err(TimeError::Year);
    }
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return Err(TimeError::Calendar);
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(TimeError::Calendar);
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    let micros = seconds * SECOND + fraction;
    if (EARLIEST..=LATEST).contains(&micros) { Ok(micros) } else { Err(TimeError::Year) }
}

/// Writes a time as UTC with six fraction digits, such as `2026-05-01T00:00:00.000000Z`; times outside the
/// years 1 to 9999 are written as the nearest one inside.
#[must_use]
pub fn format(time: Micros) -> String {
    let time = time.clamp(EARLIEST, LATEST);
    let (seconds, micros) = (time.div_euclid(SECOND), time.rem_euclid(SECOND));
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Writes and reads a time as serde does, for `#[serde(with = "...::http::time")]` on a [`Micros`] field.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: serde::Serializer>(time: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*time))
}

/// Reads a time as serde does.
///
/// # Errors
/// What [`parse`] says, in words.
pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Micros, D::Error> {
    let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
    parse(&text).map_err(|error| serde::de::Error::custom(format!("the time {error}")))
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// The fraction in µs, and what follows it.
fn fraction(bytes: &[u8]) -> Result<(Micros, &[u8]), TimeError> {
    let Some((b'.', rest)) = bytes.split_first() else { return Ok((0, bytes)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return Err(TimeError::Form);
    }
    if length > 6 {
        return Err(TimeError::Fraction);
    }
    let scale = (length..6).fold(1, |scale, _| scale * 10);
    Ok((digits(&rest[..length]).ok_or(TimeError::Form)? * scale, &rest[length..]))
}

/// The offset from UTC in seconds, east positive.
fn offset(bytes: &[u8]) -> Result<i64, TimeError> {
    match bytes {
        [] => Err(TimeError::Offset),
        [b'Z' | b'z'] => Ok(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', minute_tens, minute_ones] if hours.len() == 2 => {
            let hours = digits(hours).ok_or(TimeError::Form)?;
            let minutes = digits(&[*minute_tens, *minute_ones]).ok_or(TimeError::Form)?;
            if hours > 23 || minutes > 59 {
                return Err(TimeError::Calendar);
            }
            let seconds = hours * 3_600 + minutes * 60;
            Ok(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => Err(TimeError::Form),
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, counted in years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        // `date -u -d '2026-05-01T00:00:00Z' +%s` says 1777593600.
        assert_eq!(parse("2026-05-01T00:00:00Z"), Ok(1_777_593_600 * SECOND));
        assert_eq!(parse("2026-05-01T05:30:00+05:30"), Ok(1_777_593_600 * SECOND));
        assert_eq!(parse("2026-04-30T23:59:59.5-00:00"), Ok(1_777_593_600 * SECOND - 500_000));
        assert_eq!(parse("1969-12-31T23:59:59.999999Z"), Ok(-1));
        assert_eq!(parse("2024-02-29t12:00:00z"), Ok(1_709_208_000 * SECOND));
        assert_eq!(format(1_777_593_600 * SECOND + 1), "2026-05-01T00:00:00.000001Z");
        assert_eq!(format(-1), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("", TimeError::Form),
            ("yesterday at five o'clock", TimeError::Form),
            ("2026-05-01 00:00:00Z", TimeError::Form),
            ("2026-05-01T00:00:00.Z", TimeError::Form),
            ("2026-05-01T00:00:00+2:00", TimeError::Form),
            ("2026-05-01T00:00:00+0200", TimeError::Form),
            ("2026-05-01T00:00:00Zx", TimeError::Form),
            ("2026-05-01T00:00:00", TimeError::Offset),
            ("2026-05-01T00:00:00.25", TimeError::Offset),
            ("2026-05-01T00:00:00.1234567Z", TimeError::Fraction),
            ("2016-12-31T23:59:60Z", TimeError::LeapSecond),
            ("2026-02-29T00:00:00Z", TimeError::Calendar),
            ("2026-13-01T00:00:00Z", TimeError::Calendar),
            ("2026-05-00T00:00:00Z", TimeError::Calendar),
            ("2026-05-01T24:00:00Z", TimeError::Calendar),
            ("2026-05-01T00:61:00Z", TimeError::Calendar),
            ("2026-05-01T00:00:00+24:00", TimeError::Calendar),
            ("0000-01-01T00:00:00Z", TimeError::Year),
            ("0001-01-01T00:00:00+01:00", TimeError::Year),
            ("9999-12-31T23:59:59-00:01", TimeError::Year),
            ("２026-05-01T00:00:00Z", TimeError::Form),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(time in EARLIEST..=LATEST) {
            prop_assert_eq!(parse(&format(time)), Ok(time));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn nearly_times_do_not_panic(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,8})?[Z+-]?[0-9:]{0,6}") {
            let _ = parse(&text);
        }
    }
}
