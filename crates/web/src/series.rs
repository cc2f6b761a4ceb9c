//! Values over time, as asked from the API.

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use serde_json::Value;

use crate::Web;
use crate::failure::Failure;
use crate::model::Features;
use crate::paths::{self, and};
use crate::visitor::Visitor;

/// Resolutions of the API with their lengths.
const RESOLUTIONS: [(&str, Micros); 6] = [
    ("1s", SECOND),
    ("10s", 10 * SECOND),
    ("1m", 60 * SECOND),
    ("10m", 600 * SECOND),
    ("1h", 3_600 * SECOND),
    ("1d", 86_400 * SECOND),
];

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
        format!("/api/v1{page}/{what}?{}{query}", self.range())
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
        series.ok_or_else(|| Failure::bug("the API gave no page"))
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

impl Series {
    /// Whether there is no value at all in a column.
    #[must_use]
    pub fn is_empty(&self, column: usize) -> bool {
        self.values(column).next().is_none()
    }

    /// The values of a column that there are, with their times.
    pub fn values(&self, column: usize) -> impl Iterator<Item = (Micros, f64)> {
        self.rows.iter().filter_map(move |row| Some((row.time, row.value(column)?)))
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
        let sensor = Stretch { kind: Kind::Sensor, id: "a/b", from: 0, to: 2 * SECOND };
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
