//! How the features of local files are written.

use std::sync::Arc;

use antiphon_features::session::{Annotation, Summary, SummaryValue};
use antiphon_tables::{Batch, Column as Cells, Field, Kind, Table, TableError};
use anyhow::Result;
use serde_json::{Value, json};

use super::compute::{Found, Resolution};
use super::select::{Column, Selection, Whole};
use crate::commands::output::{counted, readable, table};

/// The table of all files: the file, the start of each bucket, the columns; of whole files one row each with what the
/// file lasts, the columns and the summaries.
pub fn table_of_files(selection: &Selection, resolution: Resolution) -> Arc<Table> {
    let mut fields = vec![Field::new("file", Kind::Text)];
    if resolution == Resolution::Whole {
        fields.push(Field::new("duration", Kind::Elapsed).unit("s"));
        fields.extend(selection.not_summed_up().map(|(_, column)| field(column)));
        fields.extend(selection.summaries.iter().map(field_of_whole));
    } else {
        fields.push(Field::new("time", Kind::Elapsed).unit("s"));
        fields.extend(selection.columns.iter().map(field));
    }
    Arc::new(Table { fields, facts: Vec::new() })
}

/// The rows of one file in [`table_of_files`].
///
/// # Errors
/// When they are not of that table.
pub fn batch(
    table: &Arc<Table>,
    name: &str,
    found: &Found,
    selection: &Selection,
    resolution: Resolution,
) -> Result<Batch, TableError> {
    if resolution != Resolution::Whole {
        let fixed = [Cells::Texts(vec![name.to_owned(); found.rows.len()]), starts(found)];
        return table.batch(fixed.into_iter().chain(values_of(found, selection.columns.len())).collect());
    }
    // A file has its row even if nothing in it has values over time.
    let values = values_of_whole(found);
    let mut cells = vec![Cells::Texts(vec![name.to_owned()]), Cells::Micros(vec![micros(found.duration)])];
    cells.extend(selection.not_summed_up().map(|(index, _)| Cells::values([values.get(index).copied().flatten()])));
    cells.extend(selection.summaries.iter().map(|whole| cell_of_whole(whole, found)));
    table.batch(cells)
}

fn fields(selection: &Selection) -> impl Iterator<Item = Field> {
    selection.columns.iter().map(field)
}

fn field(column: &Column) -> Field {
    Field {
        name: column.name.clone(),
        kind: Kind::Value,
        feature: Some(column.descriptor.name.to_owned()),
        version: Some(column.descriptor.version),
        unit: Some(column.output.unit.to_owned()),
        stat: Some(column.stat.clone()),
    }
}

fn field_of_whole(whole: &Whole) -> Field {
    Field {
        name: whole.name.clone(),
        kind: if whole.is_text() { Kind::Text } else { Kind::Value },
        feature: Some(whole.descriptor.name.to_owned()),
        version: Some(whole.descriptor.version),
        unit: Some(whole.output.unit.to_owned()),
        stat: None,
    }
}

/// The value of one summary; where there is none, no number and no text.
#[expect(clippy::cast_possible_truncation, reason = "all values of tables are f32")]
fn cell_of_whole(whole: &Whole, found: &Found) -> Cells {
    let value = found.summaries.iter().find(|summary| summary_name(summary) == whole.name);
    match value.map(|summary| &summary.value) {
        Some(SummaryValue::Text(text)) => Cells::Texts(vec![text.clone()]),
        Some(SummaryValue::Number(number)) => Cells::values([Some(*number as f32)]),
        Some(SummaryValue::Missing(_)) | None if whole.is_text() => Cells::Texts(vec![String::new()]),
        Some(SummaryValue::Missing(_)) | None => Cells::values([None]),
    }
}

/// The values of the one row of a whole file, in the order of the columns; none if nothing has values over time.
fn values_of_whole(found: &Found) -> &[Option<f32>] {
    found.rows.first().map(|(_, values)| values.as_slice()).unwrap_or_default()
}

/// What the rows of this format and resolution cannot say of what was asked for, and who says it.
pub fn left_out(selection: &Selection, resolution: Resolution, is_table: bool) -> Option<String> {
    let mut said = Vec::new();
    if resolution != Resolution::Whole && !selection.summaries.is_empty() {
        let names: Vec<&str> = selection.summaries.iter().map(|whole| whole.name.as_str()).collect();
        said.push(format!("values of whole files ({}): --resolution whole or --format json", listed(&names)));
    }
    if is_table && !selection.annotations.is_empty() {
        let names: Vec<&str> = selection.annotations.iter().map(String::as_str).collect();
        said.push(format!("intervals ({}): --format json", listed(&names)));
    }
    (!said.is_empty()).then(|| format!("not in these rows: {}", said.join("; ")))
}

/// The first names of a list, and how many more there are.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 4;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
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
        let values = values_of_whole(found);
        let row = |(index, column): (usize, &Column)| {
            let value = values.get(index).copied().flatten();
            vec![column.name.clone(), short(value), column.output.unit.to_owned(), column.output.title.to_owned()]
        };
        let mut rows: Vec<Vec<String>> = selection.not_summed_up().map(row).collect();
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

#[cfg(test)]
mod tests {
    use antiphon_audio::encode::{PcmFormat, Samples, wav};
    use antiphon_tables::{Format, Writer};

    use super::super::compute::analyze;
    use super::super::select::select;
    use super::*;

    /// A chord of A major that is struck twice a second for 24 s.
    fn music(folder: &std::path::Path) -> std::path::PathBuf {
        let rate = 22_050;
        let sample = |index: i32| {
            let seconds = index as f32 / rate as f32;
            let fade = (-8.0 * (seconds % 0.5)).exp();
            let tones = [220.0, 277.18, 329.63, 440.0].map(|tone| (std::f32::consts::TAU * tone * seconds).sin());
            0.2 * fade * tones.iter().sum::<f32>()
        };
        let samples: Vec<f32> = (0..24 * rate).map(sample).collect();
        let format = PcmFormat { rate: rate as u32, channels: 1, bits: 16, float: false };
        let path = folder.join("chord.wav");
        std::fs::write(&path, wav(&format, Samples::Floats(&samples)).unwrap()).unwrap();
        path
    }

    fn csv(found: &Found, selection: &Selection, resolution: Resolution) -> Vec<Vec<String>> {
        let table = table_of_files(selection, resolution);
        let mut writer = Writer::new(Format::Csv, &table).unwrap();
        let mut bytes = writer.write(batch(&table, "chord.wav", found, selection, resolution).unwrap()).unwrap();
        bytes.extend(writer.finish().unwrap());
        let text = String::from_utf8(bytes).unwrap().replace(", ", "; ");
        text.lines().map(|line| line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect()).collect()
    }

    #[test]
    fn a_table_of_whole_files_has_every_value_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = music(folder.path());
        let selection = select(Some("key,rhythm,fingerprint,loudness,level.a"), None).unwrap();
        let found = analyze(&path, &selection, Resolution::Whole).unwrap();
        let lines = csv(&found, &selection, Resolution::Whole);
        assert_eq!((lines.len(), lines[0].len()), (2, lines[1].len()), "{lines:?}");
        let cell = |name: &str| {
            let place = lines[0].iter().position(|heading| heading == name);
            lines[1][place.unwrap_or_else(|| panic!("no {name}: {lines:?}"))].clone()
        };
        assert_eq!((cell("file").as_str(), cell("duration").as_str()), ("chord.wav", "24"));
        assert!(!cell("level.a").is_empty(), "{lines:?}");
        assert_eq!(found.summaries.len(), selection.summaries.len(), "each has its value or its reason");
        for summary in &found.summaries {
            let text = cell(&summary_name(summary));
            match &summary.value {
                SummaryValue::Number(number) => {
                    let value: f64 = text.parse().unwrap();
                    assert!((value - number).abs() <= number.abs() * 1e-6, "{summary:?}: {text}");
                }
                SummaryValue::Text(expected) => assert_eq!(text, expected.replace(", ", "; ")),
                SummaryValue::Missing(_) => assert!(text.is_empty(), "{summary:?}: {text}"),
            }
        }
        let is_text = |name: &str| !cell(name).is_empty() && cell(name).parse::<f64>().is_err();
        assert!(is_text("key.key") && is_text("fingerprint.chromaprint"), "{lines:?}");
        assert!(cell("rhythm.tempo").parse::<f64>().is_ok(), "{lines:?}");
        assert!(left_out(&selection, Resolution::Whole, true).is_some_and(|said| said.contains("rhythm.beat")));
    }

    #[test]
    fn a_file_has_its_row_without_values_over_time_and_seconds_say_what_they_lack() {
        let folder = tempfile::tempdir().unwrap();
        let path = music(folder.path());
        let selection = select(Some("key.key,loudness.range"), None).unwrap();
        let resolution = Resolution::Whole;
        let lines = csv(&analyze(&path, &selection, resolution).unwrap(), &selection, resolution);
        assert_eq!(lines[0], ["file", "duration", "key.key", "loudness.range"]);
        assert_eq!(lines.len(), 2);
        assert_eq!(left_out(&selection, resolution, true), None);
        let said = left_out(&selection, Resolution::Seconds(1), true).unwrap();
        assert!(said.contains("whole files (key.key, loudness.range)"), "{said}");
    }

    /// What is text stands in a list here, because a table has to know before the first file is read.
    #[test]
    fn no_summary_of_numbers_is_taken_for_text() {
        let names: Vec<String> = antiphon_features::registry()
            .iter()
            .flat_map(|descriptor| descriptor.outputs.iter().map(move |output| (descriptor, output)))
            .filter(|(_, output)| output.has_summary())
            .map(|(descriptor, output)| super::super::select::full_name(descriptor, output))
            .collect();
        let selection = select(Some(&names.join(",")), None).unwrap();
        let texts: Vec<&str> =
            selection.summaries.iter().filter(|whole| whole.is_text()).map(|whole| whole.name.as_str()).collect();
        assert_eq!(texts.len(), 4, "each name of the list is an output: {texts:?}");
    }
}
