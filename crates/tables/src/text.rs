//! Tables as text: CSV, and the rows of a JSON page.

use std::fmt::Write;

use antiphon_platform::http::time;

use super::{Batch, Column, Kind, Table};

/// The header line of CSV (RFC 4180, but for LF).
pub(crate) fn csv_head(table: &Table) -> String {
    let mut line = String::new();
    for (index, field) in table.fields.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        push_csv_text(&mut line, &field.name);
    }
    line.push('\n');
    line
}

impl Batch {
    /// Its rows as those of a JSON page, `[...],[...]`; with a comma before the first unless they begin the page.
    #[must_use]
    pub fn json_rows(&self, begin: bool) -> String {
        let mut text = String::new();
        for row in 0..self.rows {
            text.push_str(if begin && row == 0 { "[" } else { ",[" });
            for (index, (column, field)) in self.columns.iter().zip(&self.table.fields).enumerate() {
                if index > 0 {
                    text.push(',');
                }
                match (column, field.kind) {
                    (Column::Texts(values), _) => {
                        text.push_str(&serde_json::Value::from(values[row].as_str()).to_string());
                    }
                    (Column::Micros(values), Kind::Instant) => {
                        // Writing to a String does not fail, here and below.
                        let _ = write!(text, "\"{}\"", time::format(values[row]));
                    }
                    (Column::Values(values), _) if values[row].is_none() => text.push_str("null"),
                    (Column::Words(values), _) => {
                        text.push_str(&serde_json::Value::from(values[row].as_deref()).to_string())
                    }
                    _ => push(&mut text, column, field.kind, row),
                }
            }
            text.push(']');
        }
        text
    }

    /// Its rows as lines of CSV; what does not exist is empty.
    pub(crate) fn csv_rows(&self) -> String {
        let mut text = String::new();
        for row in 0..self.rows {
            for (index, (column, field)) in self.columns.iter().zip(&self.table.fields).enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push(&mut text, column, field.kind, row);
            }
            text.push('\n');
        }
        text
    }
}

/// Writes one cell as CSV does.
fn push(text: &mut String, column: &Column, kind: Kind, row: usize) {
    match (column, kind) {
        (Column::Micros(values), Kind::Instant) => text.push_str(&time::format(values[row])),
        (Column::Micros(values), _) => text.push_str(&seconds(values[row])),
        (Column::Numbers(values), _) => push_number(text, values[row]),
        (Column::Values(values), _) => {
            if let Some(value) = values[row] {
                push_value(text, value);
            }
        }
        (Column::Counts(values), _) => {
            let _ = write!(text, "{}", values[row]);
        }
        (Column::Texts(values), _) => push_csv_text(text, &values[row]),
        (Column::Words(values), _) => push_csv_text(text, values[row].as_deref().unwrap_or_default()),
    }
}

/// Writes the shortest decimal that reads as the same f32, without exponent.
pub fn push_value(text: &mut String, value: f32) {
    // Display of a float is that decimal.
    let _ = write!(text, "{value}");
}

/// A number that is whole shows that it need not be.
fn push_number(text: &mut String, number: f64) {
    let _ = if number.fract() == 0.0 { write!(text, "{number:.1}") } else { write!(text, "{number}") };
}

/// A field of CSV: quoted where it must be.
fn push_csv_text(text: &mut String, field: &str) {
    if field.contains([',', '"', '\n', '\r']) {
        let _ = write!(text, "\"{}\"", field.replace('"', "\"\""));
    } else {
        text.push_str(field);
    }
}

/// µs as seconds: the shortest decimal.
#[must_use]
pub fn seconds(micros: i64) -> String {
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let digits = format!("{fraction:06}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}
