//! How an answer is written: JSON pages, and tables of each format, of the same columns.

use std::sync::Arc;

use antiphon_platform::clock::Micros;
use antiphon_platform::http::{Params, Problem, encode_cursor, nearest};
use antiphon_tables::{Batch, Column as Cells, Field, Kind, Table, TableError, push_value};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Row};
use super::columns::Column;
use super::request::write_time;
use crate::store::{SourceKind, Span};

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One page.
    Json,
    /// All of it.
    Table(antiphon_tables::Format),
}

impl Format {
    /// What the parameter `format` says, or else what `Accept` likes best, or else JSON.
    ///
    /// # Errors
    /// 400 for a format that does not exist.
    pub(super) fn choose(params: &Params, headers: &HeaderMap) -> Result<Self, Problem> {
        match params.get("format") {
            Some(name) => all().find(|format| format.name() == name).ok_or_else(|| {
                let names: Vec<&str> = all().map(Self::name).collect();
                let detail = format!("format must be one of {}", names.join(", "));
                Problem::bad_field("format", detail).hint(nearest(name, names.iter().copied()))
            }),
            None => Ok(liked_best(headers)),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Table(format) => format.name(),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Table(format) => format.media_type(),
        }
    }

    /// A body in this format; of a table with the name of the file that it makes.
    pub(super) fn respond(self, source: &str, body: impl IntoResponse) -> Response {
        let content_type = match self {
            Self::Table(antiphon_tables::Format::Csv) => "text/csv; charset=utf-8; header=present",
            other => other.media_type(),
        };
        let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
        if let Self::Table(format) = self {
            // Ids of sensors and songs are letters, digits and hyphens.
            let name = format!("attachment; filename=\"{source}.{}\"", format.extension());
            if let Ok(name) = HeaderValue::from_str(&name) {
                response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
            }
        }
        response
    }
}

/// All formats.
fn all() -> impl Iterator<Item = Format> {
    [Format::Json].into_iter().chain(antiphon_tables::Format::ALL.map(Format::Table))
}

/// The format whose media type has the highest quality (RFC 9110, section 12.5.1); of equal ones the first that the
/// client names. What we do not have at all is answered with JSON.
fn liked_best(headers: &HeaderMap) -> Format {
    let mut best = (0.0, Format::Json);
    for entry in
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','))
    {
        let mut parts = entry.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality: f32 = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(Some(1.0), |quality| quality.parse().ok())
            .unwrap_or(0.0);
        let format = match (all().find(|known| known.media_type() == media_type), media_type.as_str()) {
            (Some(format), _) => format,
            (None, "*/*" | "application/*") => Format::Json,
            (None, "text/*") => Format::Table(antiphon_tables::Format::Csv),
            (None, _) => continue,
        };
        if quality > best.0 {
            best = (quality, format);
        }
    }
    best.1
}

/// The table that an answer is, in whichever format: what is told of it in front of its rows, and its columns.
pub(super) fn table(answer: &Answer, source: &str) -> Arc<Table> {
    let kind = answer.kind();
    let (from, to) = answer.range();
    let facts = vec![
        ("source", source_value(kind, source)),
        ("from", time_value(kind, from)),
        ("to", time_value(kind, to)),
        ("resolution", json!(answer.resolution())),
        ("revision", json!(answer.revision().to_string())),
    ];
    let fields = [Field::new("time", time_kind(kind)), Field::new("coverage", Kind::Number).unit("1")];
    let fields = fields.into_iter().chain(answer.columns().iter().map(field)).collect();
    Arc::new(Table { fields, facts })
}

/// With all gaps among what is told of the whole: for formats that have no place for them at their end.
pub(super) fn with_gaps(table: Arc<Table>, answer: &Answer) -> Arc<Table> {
    let (from, to) = answer.range();
    let mut table = Arc::unwrap_or_clone(table);
    table.facts.push(("gaps", gaps_value(answer.kind(), &answer.gaps(from, to))));
    Arc::new(table)
}

fn field(column: &Column) -> Field {
    Field {
        name: column.name.clone(),
        kind: Kind::Value,
        feature: Some(column.feature.to_owned()),
        version: Some(column.version),
        unit: Some(column.unit.to_owned()),
        stat: column.stat.clone(),
    }
}

/// Rows of a table of [`table`].
///
/// # Errors
/// When they are not of that table.
pub(super) fn batch(table: &Arc<Table>, rows: &[Row]) -> Result<Batch, TableError> {
    let time = Cells::Micros(rows.iter().map(|row| row.time).collect());
    let coverage = Cells::Numbers(rows.iter().map(|row| row.coverage).collect());
    let values = (0..table.fields.len().saturating_sub(2))
        .map(|column| Cells::values(rows.iter().map(|row| row.values.get(column).copied().flatten())));
    table.batch([time, coverage].into_iter().chain(values).collect())
}

/// A source as it stands in every answer.
pub(super) fn source_value(kind: SourceKind, id: &str) -> Value {
    let kind = match kind {
        SourceKind::Sensor => "sensor",
        SourceKind::Song => "song",
    };
    json!({"kind": kind, "id": id})
}

/// The type of times of a source.
pub(super) fn time_kind(kind: SourceKind) -> Kind {
    match kind {
        SourceKind::Sensor => Kind::Instant,
        SourceKind::Song => Kind::Elapsed,
    }
}

/// The beginning of a JSON page, up to its first row.
pub(super) fn json_head(table: &Table) -> String {
    let mut head: Map<String, Value> =
        table.facts.iter().map(|(name, fact)| ((*name).to_owned(), fact.clone())).collect();
    head.insert(String::from("columns"), table.json_columns());
    let mut text = Value::Object(head).to_string();
    text.pop();
    text.push_str(",\"rows\":[");
    text
}

/// The end of a JSON page.
pub(super) fn json_tail(kind: SourceKind, gaps: &[Span], next: Option<Micros>) -> String {
    let next = next.map(|time| encode_cursor(&time));
    format!("],\"gaps\":{},\"next\":{}}}", gaps_value(kind, gaps), json!(next))
}

fn gaps_value(kind: SourceKind, gaps: &[Span]) -> Value {
    gaps.iter().map(|gap| gap_value(kind, *gap)).collect()
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

/// An f32 as the JSON number with its shortest decimal.
pub(super) fn number(value: Option<f32>) -> Value {
    let Some(value) = value else { return Value::Null };
    let mut text = String::new();
    push_value(&mut text, value);
    text.parse::<f64>().map_or(Value::Null, |value| json!(value))
}

#[cfg(test)]
mod tests {
    use antiphon_tables::Format::{Arrow, Csv, Parquet};

    use super::*;

    fn chosen(query: &str, accept: &'static str) -> Result<Format, Problem> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        Format::choose(&Params::parse(Some(query), &["format"]).unwrap(), &headers)
    }

    #[test]
    fn format_or_accept_choose() {
        for (query, accept, format) in [
            ("", "*/*", Format::Json),
            ("", "text/csv", Format::Table(Csv)),
            ("", "text/*", Format::Table(Csv)),
            ("", "application/json;q=0.5, text/csv;q=0.9", Format::Table(Csv)),
            ("", "image/png", Format::Json),
            ("format=json", "text/csv", Format::Json),
            ("format=arrow", "*/*", Format::Table(Arrow)),
            ("format=parquet", "text/csv", Format::Table(Parquet)),
            ("", "application/vnd.apache.arrow.stream", Format::Table(Arrow)),
            ("", "text/csv;q=0.3, application/vnd.apache.parquet", Format::Table(Parquet)),
        ] {
            assert_eq!(chosen(query, accept).unwrap(), format, "{query} {accept}");
        }
        let problem = chosen("format=cvs", "*/*").unwrap_err();
        assert_eq!(
            (problem.status, problem.field.as_deref(), problem.hint.as_deref()),
            (400, Some("format"), Some("csv"))
        );
        assert!(problem.detail.ends_with("json, csv, arrow, parquet"), "{}", problem.detail);
    }
}
