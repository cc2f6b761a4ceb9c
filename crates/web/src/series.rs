//! Values over time, as asked from the API.

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use chrono::{Days, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;
use serde_json::Value;

use crate::Web;
use crate::failure::Failure;
use crate::model::Features;
use crate::paths::{self, and};
use crate::visitor::Visitor;
use crate::words::local;

/// Resolutions of the API with their lengths.
const RESOLUTIONS: [(&str, Micros); 6] = [
    ("1s", SECOND),
    ("10s", 10 * SECOND),
    ("1m", 60 * SECOND),
    ("10m", 600 * SECOND),
    ("1h", 3_600 * SECOND),
    ("1d", 86_400 * SECOND),
];

/// From this length on buckets are days of a zone.
pub const DAY: Micros = 86_400 * SECOND;

/// Pages of an answer that are read at most: answers of pages are asked for so that one does.
const PAGES: usize = 4;

/// A sensor or a song, and a part of it.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    /// `sensors` or `songs`.
    pub kind: Kind,
    /// Its id.
    pub id: &'a str,
    /// Begin, in µs since 1970 or since the song's start.
    pub from: Micros,
    /// End.
    pub to: Micros,
    /// Whose hours and days it has: the sensor's zone. A song has none.
    pub zone: Tz,
}

/// What a stretch is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sensor: times are of the clock.
    Sensor,
    /// A song: times are from its start.
    Song,
}

/// One row of values at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// When its bucket begins.
    pub time: Micros,
    /// The share of it that was heard.
    pub coverage: f64,
    /// The values of the columns.
    pub values: Vec<Option<f64>>,
}

impl Row {
    /// The value of a column, if there is one.
    #[must_use]
    pub fn value(&self, column: usize) -> Option<f64> {
        self.values.get(column).copied().flatten()
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Names and units of the columns.
    pub columns: Vec<(String, String)>,
    /// Length of a bucket.
    pub step: Micros,
    /// Rows in order; what was not heard has one too, without values.
    pub rows: Vec<Row>,
    /// What was not heard.
    pub gaps: Vec<(Micros, Micros)>,
    /// The name of the resolution.
    pub resolution: String,
}

impl Stretch<'_> {
    /// Its length in µs.
    #[must_use]
    pub fn length(&self) -> Micros {
        self.to - self.from
    }

    /// The share of it that lies before `at`.
    #[must_use]
    pub fn share(&self, at: Micros) -> f64 {
        ((at - self.from) as f64 / self.length().max(1) as f64).clamp(0.0, 1.0)
    }

    /// The path of a query about it.
    #[must_use]
    pub fn path(&self, what: &str, query: &str) -> String {
        let page = match self.kind {
            Kind::Sensor => paths::sensor(self.id),
            Kind::Song => paths::song(self.id),
        };
        // Only what is merged by hours and days is of a zone.
        let of_zone = what == "features" && self.kind == Kind::Sensor && self.zone != Tz::UTC;
        let zone = and("tz", of_zone.then(|| self.zone.name()));
        format!("/api/v1{page}/{what}?{}{zone}{query}", self.range())
    }

    /// The same, begun earlier and ended later where that makes its days whole.
    #[must_use]
    pub fn of_whole_days(self) -> Self {
        let day = |at: Micros| local(at, self.zone).map(|local| local.date_naive());
        let begin = |day: NaiveDate| {
            // Where clocks go forward at midnight, the day begins an hour later.
            let walls = [0, 1].into_iter().filter_map(|hour| NaiveTime::from_hms_opt(hour, 0, 0));
            walls.filter_map(|wall| self.zone.from_local_datetime(&day.and_time(wall)).earliest()).next()
        };
        let from = day(self.from).and_then(begin).map_or(self.from, |begin| begin.timestamp_micros());
        let next = day(self.to - 1).and_then(|last| last.checked_add_days(Days::new(1)));
        let to = next.and_then(begin).map_or(self.to, |begin| begin.timestamp_micros());
        Self { from, to, ..self }
    }

    /// `from=...&to=...` as queries say it.
    #[must_use]
    pub fn range(&self) -> String {
        match self.kind {
            Kind::Sensor => format!("from={}&to={}", time::format(self.from), time::format(self.to)),
            Kind::Song => format!("from={}&to={}", seconds(self.from), seconds(self.to)),
        }
    }

    fn time(&self, value: &Value) -> Option<Micros> {
        match value {
            Value::String(text) => time::parse(text).ok(),
            Value::Number(number) => Some((number.as_f64()? * SECOND as f64).round() as Micros),
            _ => None,
        }
    }

    /// Asks for features of it; `query` goes on after the range.
    ///
    /// # Errors
    /// Those of the API.
    pub async fn ask(&self, web: &Web, visitor: &Visitor, query: &str) -> Result<Series, Failure> {
        let mut series: Option<Series> = None;
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let path = self.path("features", &format!("{query}{cursor}"));
            let page: Features = web.api().get(visitor, &path).await?;
            cursor = and("cursor", page.next.as_deref());
            match &mut series {
                None => series = Some(self.read(page)),
                Some(series) => {
                    let more = self.read(page);
                    series.rows.extend(more.rows);
                    series.gaps.extend(more.gaps);
                }
            }
            if cursor.is_empty() {
                break;
            }
        }
        let mut series = series.ok_or_else(|| Failure::bug("the API gave no page"))?;
        if self.kind == Kind::Sensor {
            series.drop_slivers();
        }
        Ok(series)
    }

    fn read(&self, page: Features) -> Series {
        let named = |name: &str| RESOLUTIONS.iter().find(|(known, _)| *known == name).map(|(_, step)| *step);
        let columns = page.columns.into_iter().skip(2).map(|column| (column.name, column.unit.unwrap_or_default()));
        let rows = page.rows.iter().filter_map(|row| {
            Some(Row {
                time: self.time(row.first()?)?,
                coverage: row.get(1)?.as_f64()?,
                values: row.iter().skip(2).map(Value::as_f64).collect(),
            })
        });
        Series {
            columns: columns.collect(),
            step: named(&page.resolution).unwrap_or(SECOND / 10),
            rows: rows.collect(),
            gaps: page.gaps.iter().filter_map(|gap| Some((self.time(&gap.from)?, self.time(&gap.to)?))).collect(),
            resolution: page.resolution,
        }
    }
}

/// Seconds as queries and attributes say them.
#[must_use]
pub fn seconds(micros: Micros) -> String {
    let text = format!("{}.{:06}", micros.div_euclid(SECOND), micros.rem_euclid(SECOND));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The share of a second that is worth a value.
pub const HEARD_ENOUGH: f64 = 0.5;

impl Series {
    /// Takes away the values of buckets of which next to nothing was heard, where others were heard.
    ///
    /// Pieces end and begin some microseconds beside a second: what a bucket says of these is the click of their edge, and
    /// would stand for a minute.
    fn drop_slivers(&mut self) {
        let least = self.step.min(SECOND) as f64 * HEARD_ENOUGH / self.step.max(1) as f64;
        if self.rows.iter().any(|row| row.coverage >= least) {
            for row in self.rows.iter_mut().filter(|row| row.coverage < least) {
                row.values.fill(None);
            }
        }
    }

    /// Whether there is no value at all in a column.
    #[must_use]
    pub fn is_empty(&self, column: usize) -> bool {
        self.values(column).next().is_none()
    }

    /// The values of a column that there are, with their times.
    pub fn values(&self, column: usize) -> impl Iterator<Item = (Micros, f64)> {
        self.rows.iter().filter_map(move |row| Some((row.time, row.value(column)?)))
    }

    /// Whether its buckets are days of a zone.
    #[must_use]
    pub fn is_of_days(&self) -> bool {
        self.step >= DAY
    }

    /// The place of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(known, _)| known == name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hours_and_days_are_of_the_zone_of_the_sensor() {
        let at = |text: &str| time::parse(text).unwrap();
        let (from, to) = (at("2026-03-28T12:00:00Z"), at("2026-03-29T12:00:00Z"));
        let roof = Stretch { kind: Kind::Sensor, id: "roof", from, to, zone: Tz::Europe__Berlin };
        assert!(roof.path("features", "&stat=lden").contains("&tz=Europe%2FBerlin&stat=lden"));
        assert!(!roof.path("recordings", "").contains("tz="), "nothing there is merged by days");
        assert!(!Stretch { kind: Kind::Song, ..roof }.path("features", "").contains("tz="));
        let days = roof.of_whole_days();
        // The second day has 23 hours.
        assert_eq!((days.from, days.to), (at("2026-03-27T23:00:00Z"), at("2026-03-29T22:00:00Z")));
        let again = days.of_whole_days();
        assert_eq!((again.from, again.to), (days.from, days.to));
    }

    #[test]
    fn a_sliver_of_a_bucket_says_nothing_of_it() {
        let of = |step: Micros, coverages: &[f64]| {
            let row = |coverage: &f64| Row { time: 0, coverage: *coverage, values: vec![Some(-30.0)] };
            let rows = coverages.iter().map(row).collect();
            let mut series = Series { columns: Vec::new(), step, rows, gaps: Vec::new(), resolution: String::new() };
            series.drop_slivers();
            series.rows.iter().map(|row| row.value(0).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(of(SECOND, &[1.0, 0.5, 0.000_016]), [true, true, false]);
        // Ten seconds of a minute, or a few hours of a day, are heard well.
        assert_eq!(of(60 * SECOND, &[1.0, 0.17, 0.000_000_3]), [true, true, false]);
        assert_eq!(of(DAY, &[1.0, 0.1]), [true, true]);
        assert_eq!(of(SECOND / 10, &[1.0, 0.4]), [true, false]);
        assert_eq!(of(SECOND, &[0.3, 0.2]), [true, true], "there is nothing else");
    }

    #[test]
    fn an_answer_is_read_for_sensors_and_songs() {
        let page = |from: Value, to: Value| -> Features {
            serde_json::from_value(json!({
                "resolution": "1s",
                "columns": [{ "name": "time" }, { "name": "coverage", "unit": "1" }, { "name": "level.a", "unit": "dBFS" }],
                "rows": [[from, 0.5, -31.5], [to, 0, null]],
                "gaps": [{ "from": to, "to": to }], "next": null
            }))
            .unwrap()
        };
        let sensor = Stretch { kind: Kind::Sensor, id: "a/b", from: 0, to: 2 * SECOND, zone: Tz::UTC };
        let series = sensor.read(page(json!("1970-01-01T00:00:00.000000Z"), json!("1970-01-01T00:00:01.000000Z")));
        let song = Stretch { kind: Kind::Song, ..sensor };
        assert_eq!(series, song.read(page(json!(0), json!(1.0))));
        assert_eq!(series.values(0).collect::<Vec<_>>(), [(0, -31.5)]);
        assert_eq!(
            sensor.path("gaps", "&limit=2"),
            "/api/v1/sensors/a%2Fb/gaps?from=1970-01-01T00:00:00.000000Z&to=1970-01-01T00:00:02.000000Z&limit=2"
        );
        assert_eq!(song.path("features", ""), "/api/v1/songs/a%2Fb/features?from=0&to=2");
        assert_eq!((seconds(1_500_000), seconds(241_600_001)), (String::from("1.5"), String::from("241.600001")));
    }
}
