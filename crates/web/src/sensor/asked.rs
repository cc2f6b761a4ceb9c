//! What is asked of the page of a sensor: a range of time, a feature, a statistic.

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use chrono::{NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use crate::failure::Failure;
use crate::model::Sensor;
use crate::now::parameter;
use crate::paths::and;
use crate::series::{Kind, Stretch};

/// Ranges that end now, by one word: how they are called, and their length.
pub const LAST: [(&str, &str, Micros); 6] = [
    ("10m", "10 min", 600 * SECOND),
    ("1h", "Hour", 3_600 * SECOND),
    ("24h", "Day", 86_400 * SECOND),
    ("7d", "Week", 7 * 86_400 * SECOND),
    ("30d", "Month", 30 * 86_400 * SECOND),
    ("1y", "Year", 365 * 86_400 * SECOND),
];

/// The range when nothing is said.
const USUAL: usize = 2;

/// The shortest range: shorter ones have one value.
const SHORTEST: Micros = 2 * SECOND;
/// What is asked of the page.
pub struct Asked {
    /// Begin of the range.
    pub from: Micros,
    /// Its end.
    pub to: Micros,
    /// The word, for a range that ends now.
    pub last: Option<&'static str>,
    /// The feature, if one was chosen.
    pub feature: Option<String>,
    /// The statistic, if one was chosen.
    pub stat: Option<String>,
}

impl Asked {
    /// Reads a query.
    ///
    /// # Errors
    /// When there is no such range.
    pub fn read(query: Option<&str>, zone: Tz, now: Micros) -> Result<Self, Failure> {
        let get = |name| parameter(query, name);
        let (feature, stat) = (get("feature"), get("stat"));
        if let (Some(from), Some(to)) = (get("from"), get("to")) {
            let (from, to) = (instant("from", &from, zone)?, instant("to", &to, zone)?);
            if from >= to {
                return Err(Failure::bad_request("the range ends before it begins; choose a later end"));
            }
            return Ok(Self { from, to: to.max(from + SHORTEST), last: None, feature, stat });
        }
        let word = get("last");
        if let Some(seconds) = word.as_deref().and_then(|word| word.strip_suffix('s')?.parse::<u32>().ok()) {
            let length = Micros::from(seconds.clamp(2, 3_600)) * SECOND;
            return Ok(Self { from: now - length, to: now, last: None, feature, stat });
        }
        let found = match &word {
            Some(word) => LAST.iter().find(|(known, ..)| known == word),
            None => Some(&LAST[USUAL]),
        };
        let (word, _, length) = found.ok_or_else(|| {
            Failure::bad_request("the range is none that there is: 10m, 1h, 24h, 7d, 30d or 1y, or from and to")
        })?;
        // On whole seconds, so that the same range within a second is the same query.
        let to = now.div_euclid(SECOND) * SECOND;
        Ok(Self { from: to - length, to, last: Some(word), feature, stat })
    }

    /// The range of a sensor.
    #[must_use]
    pub fn stretch<'a>(&self, sensor: &'a Sensor) -> Stretch<'a> {
        Stretch { kind: Kind::Sensor, id: &sensor.id, from: self.from, to: self.to, zone: sensor.zone() }
    }

    /// Feature and statistic for another query, behind what it begins with.
    #[must_use]
    pub fn choice(&self) -> String {
        and("feature", self.feature.as_deref()) + &and("stat", self.stat.as_deref())
    }
}

/// A time of the API, or what a field for local times gives, by the clock of the reader.
fn instant(field: &str, text: &str, zone: Tz) -> Result<Micros, Failure> {
    if let Ok(time) = time::parse(text) {
        return Ok(time);
    }
    let forms = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
    let wall = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let found = wall.and_then(|wall| zone.from_local_datetime(&wall).earliest());
    found.map(|found| found.timestamp_micros()).ok_or_else(|| {
        Failure::bad_request(format!(
            "{field} is no time that there is: it is written 2026-05-01T00:00 or 2026-05-01T00:00:00Z"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_by_the_clock_of_the_reader() {
        let now = time::parse("2026-05-02T00:00:00.5Z").unwrap();
        let read = |query: &str, zone| {
            Asked::read(Some(query), zone, now).map(|asked| (time::format(asked.from), time::format(asked.to)))
        };
        let day = read("", Tz::UTC).unwrap();
        assert_eq!((day.0.as_str(), day.1.as_str()), ("2026-05-01T00:00:00.000000Z", "2026-05-02T00:00:00.000000Z"));
        let local = read("from=2026-05-01T05:30&to=2026-05-01T06:30:00", Tz::Asia__Kolkata).unwrap();
        assert_eq!(
            (local.0.as_str(), local.1.as_str()),
            ("2026-05-01T00:00:00.000000Z", "2026-05-01T01:00:00.000000Z")
        );
        assert_eq!(read("last=1h", Tz::UTC).unwrap().0, "2026-05-01T23:00:00.000000Z");
        for wrong in ["last=2h", "from=now&to=then", "from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z"] {
            assert!(matches!(read(wrong, Tz::UTC), Err(Failure::Refused { .. })), "{wrong}");
        }
    }
}
