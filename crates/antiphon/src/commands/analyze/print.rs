//! How the features of local files are written.

use std::sync::Arc;

use antiphon_features::session::{Annotation, Summary, SummaryValue};
use antiphon_tables::{Batch, Column as Cells, Field, Kind, Table, TableError};
use anyhow::Result;
use serde_json::{Value, json};

use super::compute::{Found, Resolution};
use super::select::{Column, Selection};
use crate::commands::output::{counted, readable, table};

/// The table of all files: the file, the start of each bucket (of one bucket, what the file lasts), the columns.
pub fn table_of_files(selection: &Selection, resolution: Resolution) -> Arc<Table> {
    let name = if resolution == Resolution::Whole { "duration" } else { "time" };
    let fixed = [Field::new("file", Kind::Text), Field::new(name, Kind::Elapsed).unit("s")];
    Arc::new(Table { fields: fixed.into_iter().chain(fields(selection)).collect(), facts: Vec::new() })
}

/// The rows of one file in [`table_of_files`].
///
/// # Errors
/// When they are not of that table.
pub fn batch(table: &Arc<Table>, name: &str, found: &Found, resolution: Resolution) -> Result<Batch, TableError> {
    let times = match resolution {
        Resolution::Whole => Cells::Micros(vec![micros(found.duration); found.rows.len()]),
        Resolution::Seconds(_) => starts(found),
    };
    let names = Cells::Texts(vec![name.to_owned(); found.rows.len()]);
    let values = table.fields.len().saturating_sub(2);
    table.batch([names, times].into_iter().chain(values_of(found, values)).collect())
}

fn fields(selection: &Selection) -> impl Iterator<Item = Field> {
    selection.columns.iter().map(|column| Field {
        name: column.name.clone(),
        kind: Kind::Value,
        feature: Some(column.descriptor.name.to_owned()),
        version: Some(column.descriptor.version),
        unit: Some(column.output.unit.to_owned()),
        stat: Some(column.stat.clone()),
    })
}

/// The start of each bucket.
fn starts(found: &Found) -> Cells {
    Cells::Micros(found.rows.iter().map(|(start, _)| start * 1_000_000).collect())
}

fn values_of(found: &Found, columns: usize) -> impl Iterator<Item = Cells> {
    (0..columns).map(|column| Cells::values(found.rows.iter().map(|(_, values)| values.get(column).copied().flatten())))
}

#[expect(clippy::cast_possible_truncation, reason = "no file lasts 290,000 years")]
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

/// One object on one line.
///
/// # Errors
/// When its rows are not of its columns.
pub fn json(name: &str, found: &Found, selection: &Selection, resolution: Resolution) -> Result<String> {
    let time = (resolution != Resolution::Whole).then(|| (Field::new("time", Kind::Elapsed).unit("s"), starts(found)));
    let (time, starts) = time.unzip();
    let table = Arc::new(Table { fields: time.into_iter().chain(fields(selection)).collect(), facts: Vec::new() });
    let batch = table.batch(starts.into_iter().chain(values_of(found, selection.columns.len())).collect())?;
    let rows: Value = serde_json::from_str(&format!("[{}]", batch.json_rows(true)))?;
    let object = json!({
        "file": name, "format": found.info.format.name(), "rate": found.info.rate, "channels": found.info.channels,
        "duration": found.duration, "columns": table.json_columns(), "rows": rows,
        "annotations": found.annotations.iter().map(annotation).collect::<Vec<_>>(),
        "summary": found.summaries.iter().map(summary).collect::<Vec<_>>(), "broken": found.broken,
    });
    Ok(object.to_string() + "\n")
}

/// Characters of a text that a table shows; nobody reads a fingerprint.
const MOST_CHARACTERS: usize = 40;
/// Intervals of one kind that are listed one by one; a song has thousands of onsets.
const MOST_LISTED: usize = 20;

fn shortened(text: &str) -> String {
    if text.chars().count() <= MOST_CHARACTERS {
        return text.to_owned();
    }
    text.chars().take(MOST_CHARACTERS - 3).chain("...".chars()).collect()
}

/// What people read: the file, then its values.
pub fn people(name: &str, found: &Found, selection: &Selection, resolution: Resolution) -> String {
    let info = &found.info;
    let mut text = format!(
        "{name}: {}, {} Hz, {}, {} bit, {:.3} s\n",
        info.format.name(),
        info.rate,
        counted(info.channels.into(), "channel"),
        info.bits,
        found.duration
    );
    if resolution == Resolution::Whole {
        let values = found.rows.first().map(|(_, values)| values.as_slice()).unwrap_or_default();
        // Where there is a summary of the same name, that is the value of the whole.
        let is_summed_up = |column: &Column| found.summaries.iter().any(|summary| summary_name(summary) == column.name);
        let row = |(column, value): (&Column, &Option<f32>)| {
            vec![column.name.clone(), short(*value), column.output.unit.to_owned(), column.output.title.to_owned()]
        };
        let columns = selection.columns.iter().zip(values).filter(|(column, _)| !is_summed_up(column));
        let mut rows: Vec<Vec<String>> = columns.map(row).collect();
        rows.extend(found.summaries.iter().map(|summary| {
            let (value, note) = match &summary.value {
                SummaryValue::Number(number) => (readable(*number), String::new()),
                SummaryValue::Text(text) => (shortened(text), String::new()),
                SummaryValue::Missing(reason) => (String::new(), reason.clone()),
            };
            let output = output_of(summary);
            let title = if note.is_empty() { output.map_or("", |output| output.title).to_owned() } else { note };
            vec![summary_name(summary), value, output.map_or("", |output| output.unit).to_owned(), title]
        }));
        text.push_str(&table(&["FEATURE", "VALUE", "UNIT", "WHAT IT IS"], &rows));
    } else {
        let names: Vec<String> =
            selection.columns.iter().map(|column| format!("{} [{}]", column.name, column.output.unit)).collect();
        let headings: Vec<&str> = std::iter::once("time [s]").chain(names.iter().map(String::as_str)).collect();
        let row = |(start, values): &(i64, Vec<Option<f32>>)| {
            std::iter::once(start.to_string()).chain(values.iter().map(|value| short(*value))).collect()
        };
        text.push_str(&table(&headings, &found.rows.iter().map(row).collect::<Vec<Vec<String>>>()));
    }
    text.push('\n');
    let mut told: Vec<&str> = Vec::new();
    for Annotation { kind, label, from, to, .. } in &found.annotations {
        let count = found.annotations.iter().filter(|other| other.kind == *kind).count();
        if count > MOST_LISTED {
            if !told.contains(kind) {
                told.push(kind);
                text.push_str(&format!("{}, each in --format json\n", counted(count, kind)));
            }
            continue;
        }
        let label = if label.is_empty() || label == kind { String::new() } else { format!(" {label}") };
        text.push_str(&format!("{kind}{label}: {:.3} to {:.3} s\n", *from as f64 / 1e6, *to as f64 / 1e6));
    }
    text.push('\n');
    text
}

/// A value for people; nothing for what does not exist.
fn short(value: Option<f32>) -> String {
    value.map_or(String::new(), |value| readable(f64::from(value)))
}

fn json_number(value: Option<f32>) -> Value {
    // By way of its text: as f64 it would show digits that it does not have.
    value.and_then(|value| serde_json::from_str(&value.to_string()).ok()).unwrap_or(Value::Null)
}

fn annotation(annotation: &Annotation) -> Value {
    let Annotation { algorithm, version, kind, label, from, to, value, confidence, .. } = annotation;
    json!({"from": *from as f64 / 1e6, "to": *to as f64 / 1e6, "type": kind, "label": label, "value": json_number(*value),
        "confidence": json_number(*confidence), "algorithm": algorithm, "version": version})
}

fn summary(summary: &Summary) -> Value {
    let unit = output_of(summary).map(|output| output.unit);
    let name = summary_name(summary);
    match &summary.value {
        SummaryValue::Number(number) => json!({"name": name, "value": number, "unit": unit}),
        SummaryValue::Text(text) => json!({"name": name, "value": text, "unit": unit}),
        SummaryValue::Missing(reason) => json!({"name": name, "value": null, "unit": unit, "reason": reason}),
    }
}

fn output_of(summary: &Summary) -> Option<&'static antiphon_features::descriptor::Output> {
    antiphon_features::find(summary.algorithm)?.output(summary.output)
}

fn summary_name(summary: &Summary) -> String {
    if summary.output.is_empty() {
        summary.algorithm.to_owned()
    } else {
        format!("{}.{}", summary.algorithm, summary.output)
    }
}
