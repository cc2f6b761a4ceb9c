//! Numbers, sizes and times as people read them.

use std::borrow::Cow;

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use maud::{Markup, html};

use crate::visitor::Visitor;

/// A number with that many decimals, and a real minus sign.
#[must_use]
pub fn decimal(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    let is_zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
    match text.strip_prefix('-') {
        Some(positive) if is_zero => positive.to_owned(),
        Some(positive) => format!("\u{2212}{positive}"),
        None => text,
    }
}

/// A value of a feature: four digits that say something, whatever its size.
#[must_use]
pub fn value(value: f64) -> String {
    let size = value.abs();
    let places = match size {
        size if size >= 1_000.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    decimal(value, places)
}

/// A name where there is no markup, such as in a title: whichever way its letters run, those beside it keep their own.
#[must_use]
pub fn isolated(name: &str) -> Cow<'_, str> {
    // First strong isolate, and pop directional isolate (UAX #9), which ends overrides within as well.
    if name.is_ascii() { Cow::Borrowed(name) } else { Cow::Owned(format!("\u{2068}{name}\u{2069}")) }
}

/// A count, in groups of three digits.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things in words: `1 gap`, `2 gaps`.
#[must_use]
pub fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A size in bytes.
#[must_use]
pub fn bytes(size: u64) -> String {
    match size {
        0..1_000 => counted(size, "byte"),
        1_000..1_000_000 => format!("{} kB", decimal(size as f64 / 1e3, usize::from(size < 10_000))),
        1_000_000..1_000_000_000 => format!("{} MB", decimal(size as f64 / 1e6, 1)),
        _ => format!("{} GB", decimal(size as f64 / 1e9, 1)),
    }
}

/// A length of music: `4:03`, `1:02:03`.
#[must_use]
pub fn length(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A span of time: `1.5 s`, `12 min`, `3 h 20 min`, `4 d`.
#[must_use]
pub fn span(micros: Micros) -> String {
    let seconds = micros as f64 / SECOND as f64;
    let (minutes, hours) = ((seconds / 60.0).round() as i64, (seconds / 3_600.0).round() as i64);
    match seconds {
        seconds if seconds < 10.0 => format!("{} s", decimal(seconds, 1)),
        seconds if seconds < 60.0 => format!("{} s", decimal(seconds, 0)),
        _ if minutes < 60 => format!("{minutes} min"),
        _ if minutes < 48 * 60 && minutes % 60 == 0 => format!("{} h", minutes / 60),
        _ if minutes < 48 * 60 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d", decimal(hours as f64 / 24.0, usize::from(hours % 24 != 0))),
    }
}

/// An instant in a zone: `1 May 2026, 02:00:01`.
#[must_use]
pub fn instant(micros: Micros, zone: Tz) -> String {
    local(micros, zone).map(|local| local.format("%-d %b %Y, %H:%M:%S").to_string()).unwrap_or_default()
}

/// The day of an instant in a zone: `1 May 2026`.
#[must_use]
pub fn day(micros: Micros, zone: Tz) -> String {
    local(micros, zone).map(|local| local.format("%-d %b %Y").to_string()).unwrap_or_default()
}

/// An instant by the clock of a zone.
#[must_use]
pub fn local(micros: Micros, zone: Tz) -> Option<DateTime<Tz>> {
    DateTime::<Utc>::from_timestamp_micros(micros).map(|utc| zone.from_utc_datetime(&utc.naive_utc()))
}

/// An instant of the API for the visitor's zone, with UTC at hand; what is no time is shown as it is.
pub fn when(visitor: &Visitor, text: &str) -> Markup {
    let Ok(micros) = time::parse(text) else { return html! { (text) } };
    at(visitor, micros)
}

/// An instant for the visitor's zone, with UTC at hand.
pub fn at(visitor: &Visitor, micros: Micros) -> Markup {
    let utc = format!("{} UTC", instant(micros, Tz::UTC));
    let shown = if visitor.zone == Tz::UTC { utc.clone() } else { instant(micros, visitor.zone) };
    html! { time datetime=(time::format(micros)) title=(utc) { (shown) } }
}

/// How long ago an instant of the API is, at `now`; scripts keep it up to date.
pub fn ago(visitor: &Visitor, text: &str, now: Micros) -> Markup {
    let Ok(micros) = time::parse(text) else { return html! { (text) } };
    let utc = format!("{} UTC", instant(micros, Tz::UTC));
    let since = now - micros;
    if since > 24 * 3_600 * SECOND {
        return at(visitor, micros);
    }
    html! { time data-ago datetime=(time::format(micros)) title=(utc) { (ago_words(since)) } }
}

/// The same in words.
#[must_use]
pub fn ago_words(since: Micros) -> String {
    match since / SECOND {
        ..2 => String::from("just now"),
        seconds @ 2..60 => format!("{seconds} s ago"),
        // Whole minutes, as the seconds above are whole ones: nothing was longer ago than it is.
        seconds => format!("{} ago", span(seconds / 60 * 60 * SECOND)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_a_minus() {
        assert_eq!(decimal(-31.25, 1), "\u{2212}31.2");
        assert_eq!((decimal(-0.01, 1), decimal(0.0, 0)), (String::from("0.0"), String::from("0")));
        assert_eq!(
            (value(12_345.6), value(-12.34), value(0.012_34)),
            (String::from("12346"), String::from("\u{2212}12.3"), String::from("0.012"))
        );
        assert_eq!(
            (count(0), count(999), count(1_440), count(1_234_567)),
            (String::from("0"), String::from("999"), String::from("1,440"), String::from("1,234,567"))
        );
        assert_eq!((counted(1, "gap"), counted(0, "gap")), (String::from("1 gap"), String::from("0 gaps")));
        assert_eq!(
            (bytes(1), bytes(3_204), bytes(32_044), bytes(5_400_000)),
            (String::from("1 byte"), String::from("3.2 kB"), String::from("32 kB"), String::from("5.4 MB"))
        );
    }

    #[test]
    fn names_do_not_turn_what_is_beside_them() {
        assert_eq!(isolated("roof"), "roof");
        assert_eq!(isolated("\u{202e}\u{5d0}"), "\u{2068}\u{202e}\u{5d0}\u{2069}");
    }

    #[test]
    fn times_are_told_by_the_clock_of_the_reader() {
        let midnight = 1_777_593_600 * SECOND;
        assert_eq!(instant(midnight, Tz::UTC), "1 May 2026, 00:00:00");
        assert_eq!(instant(midnight, Tz::Asia__Kolkata), "1 May 2026, 05:30:00");
        assert_eq!(day(midnight - 1, Tz::Asia__Kolkata), "1 May 2026");
        assert_eq!((length(243.4), length(3_723.0)), (String::from("4:03"), String::from("1:02:03")));
        let of = |seconds: f64| span((seconds * 1e6) as Micros);
        assert_eq!(
            (of(1.5), of(42.0), of(720.0), of(12_000.0)),
            (String::from("1.5 s"), String::from("42 s"), String::from("12 min"), String::from("3 h 20 min"))
        );
        assert_eq!((of(86_400.0), of(4.0 * 86_400.0)), (String::from("24 h"), String::from("4 d")));
        let ago = [1_500_000, 5_000_000, 12_700_000, 7_230_000_000].map(ago_words);
        assert_eq!(ago, ["just now", "5 s ago", "12 s ago", "2 h ago"].map(String::from));
    }
}
