//! How an answer is written: JSON pages and CSV, row after row.

use std::fmt::Write;

use antiphon_platform::clock::Micros;
use antiphon_platform::http::{Params, Problem, encode_cursor, nearest};
use http::{HeaderMap, header};
use serde_json::{Value, json};

use super::answer::{Answer, Row};
use super::columns::Column;
use super::request::write_time;
use crate::store::{SourceKind, Span};

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One page.
    Json,
    /// All of it, streamed.
    Csv,
}

/// What `format` may say, and the media types that stand for it.
const NAMES: [(&str, &str); 4] = [
    ("json", "application/json"),
    ("csv", "text/csv"),
    ("arrow", "application/vnd.apache.arrow.stream"),
    ("parquet", "application/vnd.apache.parquet"),
];

impl Format {
    /// What the parameter `format` says, or else what `Accept` likes best, or else JSON.
    ///
    /// # Errors
    /// 400 for a format that does not exist, or not yet.
    pub(super) fn choose(params: &Params, headers: &HeaderMap) -> Result<Self, Problem> {
        let name = match params.get("format") {
            Some(name) => NAMES.iter().map(|(known, _)| *known).find(|known| *known == name).ok_or_else(|| {
                Problem::bad_field("format", "format must be json or csv")
                    .hint(nearest(name, NAMES.iter().map(|(known, _)| *known)))
            })?,
            None => liked_best(headers),
        };
        match name {
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            later => {
                Err(Problem::bad_field("format", format!("{later} comes with a later version; json and csv are there"))
                    .hint(Some("csv")))
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

/// The name of the format whose media type has the highest quality (RFC 9110, section 12.5.1); of equal ones the
/// first that the client names. What we do not have at all is answered with JSON.
fn liked_best(headers: &HeaderMap) -> &'static str {
    let mut best: (f32, &str) = (0.0, "json");
    for entry in
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','))
    {
        let mut parts = entry.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |quality| quality.parse().ok());
        let known = NAMES.iter().find(|(_, known)| *known == media_type).map(|(name, _)| *name);
        let name = match (known, media_type.as_str()) {
            (Some(name), _) => name,
            (None, "*/*" | "application/*") => "json",
            (None, "text/*") => "csv",
            (None, _) => continue,
        };
        let quality = quality.unwrap_or(0.0);
        if quality > best.0 {
            best = (quality, name);
        }
    }
    best.1
}

/// The beginning of a JSON page, up to its first row.
pub(super) fn json_head(answer: &Answer, source: &str) -> String {
    let kind = answer.kind();
    let (from, to) = answer.range();
    let columns: Vec<Value> = [json!({"name": "time"}), json!({"name": "coverage", "unit": "1"})]
        .into_iter()
        .chain(answer.columns().iter().map(column))
        .collect();
    let kind_name = match kind {
        SourceKind::Sensor => "sensor",
        SourceKind::Song => "song",
    };
    let head = json!({
        "source": {"kind": kind_name, "id": source},
        "from": time_value(kind, from),
        "to": time_value(kind, to),
        "resolution": answer.resolution(),
        "revision": answer.revision().to_string(),
        "columns": columns,
    });
    let mut text = head.to_string();
    text.pop();
    text.push_str(",\"rows\":[");
    text
}

fn column(column: &Column) -> Value {
    let mut value = json!({
        "name": column.name, "feature": column.feature, "version": column.version, "unit": column.unit,
    });
    if let Some(stat) = &column.stat {
        value["stat"] = json!(stat);
    }
    value
}

/// Rows of a JSON page; `is_first` tells whether none was written before.
pub(super) fn json_rows(kind: SourceKind, rows: &[Row], is_first: bool) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        text.push_str(if is_first && index == 0 { "[" } else { ",[" });
        push_json_time(&mut text, kind, row.time);
        text.push(',');
        push_coverage(&mut text, row.coverage);
        for value in &row.values {
            text.push(',');
            match value {
                Some(value) => push_number(&mut text, *value),
                None => text.push_str("null"),
            }
        }
        text.push(']');
    }
    text
}

/// The end of a JSON page.
pub(super) fn json_tail(kind: SourceKind, gaps: &[Span], next: Option<Micros>) -> String {
    let gaps: Vec<Value> = gaps.iter().map(|gap| gap_value(kind, *gap)).collect();
    let next = next.map(|time| encode_cursor(&time));
    format!("],\"gaps\":{},\"next\":{}}}", json!(gaps), json!(next))
}

/// A gap as it stands in every answer.
pub(super) fn gap_value(kind: SourceKind, gap: Span) -> Value {
    json!({"from": time_value(kind, gap.start), "to": time_value(kind, gap.finish)})
}

/// A time of a sensor as text, of a song as a number of seconds.
pub(super) fn time_value(kind: SourceKind, time: Micros) -> Value {
    match kind {
        SourceKind::Sensor => Value::String(write_time(kind, time)),
        // Up to 10^9 s with six decimals fit a double without loss.
        SourceKind::Song => json!(time as f64 / 1e6),
    }
}

fn push_json_time(text: &mut String, kind: SourceKind, time: Micros) {
    match kind {
        SourceKind::Sensor => {
            text.push('"');
            text.push_str(&write_time(kind, time));
            text.push('"');
        }
        SourceKind::Song => text.push_str(&write_time(kind, time)),
    }
}

/// The header line of CSV (RFC 4180, but for LF).
pub(super) fn csv_head(answer: &Answer) -> String {
    let names = ["time", "coverage"].into_iter().chain(answer.columns().iter().map(|column| column.name.as_str()));
    let mut line = names.collect::<Vec<_>>().join(",");
    line.push('\n');
    line
}

/// Lines of CSV.
pub(super) fn csv_rows(kind: SourceKind, rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(&write_time(kind, row.time));
        text.push(',');
        push_coverage(&mut text, row.coverage);
        for value in &row.values {
            text.push(',');
            if let Some(value) = value {
                push_number(&mut text, *value);
            }
        }
        text.push('\n');
    }
    text
}

/// One field of CSV: quoted where it must be.
pub(super) fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// The shortest decimal that reads as the same f32, without exponent.
pub(super) fn push_number(text: &mut String, value: f32) {
    // Writing to a String does not fail, and Display of a float is that decimal.
    let _ = write!(text, "{value}");
}

/// An f32 as the JSON number with its shortest decimal.
pub(super) fn number(value: Option<f32>) -> Value {
    let Some(value) = value else { return Value::Null };
    let mut text = String::new();
    push_number(&mut text, value);
    text.parse::<f64>().map_or(Value::Null, |value| json!(value))
}

fn push_coverage(text: &mut String, coverage: f64) {
    let _ = if coverage.fract() == 0.0 { write!(text, "{coverage:.1}") } else { write!(text, "{coverage}") };
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn chosen(query: &str, accept: &'static str) -> Result<Format, Problem> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        Format::choose(&Params::parse(Some(query), &["format"]).unwrap(), &headers)
    }

    #[test]
    fn format_or_accept_choose() {
        assert_eq!(chosen("", "*/*").unwrap(), Format::Json);
        assert_eq!(chosen("", "text/csv").unwrap(), Format::Csv);
        assert_eq!(chosen("", "application/json;q=0.5, text/csv;q=0.9").unwrap(), Format::Csv);
        assert_eq!(chosen("", "image/png").unwrap(), Format::Json);
        assert_eq!(chosen("format=json", "text/csv").unwrap(), Format::Json);
        for (query, accept) in [
            ("format=arrow", "*/*"),
            ("format=parquet", "*/*"),
            ("", "application/vnd.apache.arrow.stream"),
            ("format=xml", "*/*"),
        ] {
            let problem = chosen(query, accept).unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (400, Some("format")));
        }
        assert_eq!(chosen("format=cvs", "*/*").unwrap_err().hint.as_deref(), Some("csv"));
    }

    #[test]
    fn numbers_have_no_exponent_and_coverage_six_digits() {
        let row = Row { time: 0, coverage: 1.0, values: vec![Some(-31.2), None, Some(1e-7), Some(1e20)] };
        let text = json_rows(SourceKind::Sensor, std::slice::from_ref(&row), true);
        assert_eq!(text, "[\"1970-01-01T00:00:00.000000Z\",1.0,-31.2,null,0.0000001,100000000000000000000]");
        let row = Row { coverage: 0.333_333, time: 1_500_000, ..row };
        assert_eq!(csv_rows(SourceKind::Song, &[row]), "1.5,0.333333,-31.2,,0.0000001,100000000000000000000\n");
    }

    proptest! {
        #[test]
        fn a_number_reads_as_the_same(value in any::<f32>().prop_filter("finite", |value| value.is_finite())) {
            let mut text = String::new();
            push_number(&mut text, value);
            prop_assert!(!text.contains('e') && !text.contains('E'));
            prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), value.to_bits());
        }
    }
}
