//! How the features of local files are written.

use antiphon_features::session::{Annotation, Summary, SummaryValue};
use serde_json::{Value, json};

use super::compute::{Found, Resolution};
use super::select::{Column, Selection};
use crate::commands::output::{counted, readable, table};

/// The header line of the CSV: the file, the start of the bucket in seconds unless there is only one, the columns.
pub fn csv_header(selection: &Selection, resolution: Resolution) -> String {
    let names = selection.columns.iter().map(|column| column.name.clone());
    let fixed = fixed_columns(resolution).map(str::to_owned).into_iter();
    fixed.chain(names).collect::<Vec<_>>().join(",") + "\n"
}

/// The rows of one file (RFC 4180, lines end in LF).
pub fn csv(name: &str, found: &Found, resolution: Resolution) -> String {
    let name = if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    };
    let line = |(start, values): &(i64, Vec<Option<f32>>)| {
        let mut cells = vec![
            name.clone(),
            if resolution == Resolution::Whole { found.duration.to_string() } else { start.to_string() },
        ];
        cells.extend(values.iter().map(|value| number(*value)));
        cells.join(",") + "\n"
    };
    found.rows.iter().map(line).collect()
}

/// One object on one line.
pub fn json(name: &str, found: &Found, selection: &Selection, resolution: Resolution) -> String {
    let mut columns: Vec<Value> = Vec::new();
    if resolution != Resolution::Whole {
        columns.push(json!({"name": "time", "unit": "s"}));
    }
    columns.extend(selection.columns.iter().map(|column| {
        let Column { name, descriptor, output, stat, .. } = column;
        json!({"name": name, "feature": descriptor.name, "version": descriptor.version, "unit": output.unit, "stat": stat})
    }));
    let rows: Vec<Value> = found
        .rows
        .iter()
        .map(|(start, values)| {
            let time = (resolution != Resolution::Whole).then(|| json!(start));
            time.into_iter().chain(values.iter().map(|value| json_number(*value))).collect()
        })
        .collect();
    let object = json!({
        "file": name, "format": found.info.format.name(), "rate": found.info.rate, "channels": found.info.channels,
        "duration": found.duration, "columns": columns, "rows": rows,
        "annotations": found.annotations.iter().map(annotation).collect::<Vec<_>>(),
        "summary": found.summaries.iter().map(summary).collect::<Vec<_>>(), "broken": found.broken,
    });
    object.to_string() + "\n"
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

fn fixed_columns(resolution: Resolution) -> [&'static str; 2] {
    if resolution == Resolution::Whole { ["file", "duration"] } else { ["file", "time"] }
}

/// The shortest decimal of the f32, as the API prints it; nothing for what does not exist.
fn number(value: Option<f32>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// The same for people.
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
