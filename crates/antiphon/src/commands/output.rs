//! What commands print: tables for people, JSON for programs.

use std::io::{self, Write};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Prints one JSON value on a line of its own.
pub fn print_json(value: &Value) -> Result<()> {
    print_line(&value.to_string())
}

/// Prints a list as the API gives lists, all of it in one page.
pub fn print_json_list(items: &[Value]) -> Result<()> {
    print_json(&json!({"items": items, "next": null}))
}

/// Prints a line; a reader that went away (`| head`) ends the command quietly.
pub fn print_line(line: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{line}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.context("cannot write to standard output"),
    }
}

/// Prints rows under their headings, columns aligned; `nothing` when there are no rows.
pub fn print_table(headings: &[&str], rows: &[Vec<String>], nothing: &str) -> Result<()> {
    if rows.is_empty() {
        eprintln!("{nothing}");
        return Ok(());
    }
    print_line(&table(headings, rows))
}

/// Rows under their headings; a column whose cells are all numbers is aligned to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let numeric = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty()).peekable();
        cells.peek().is_some() && cells.all(|cell| cell.parse::<f64>().is_ok())
    };
    let columns: Vec<(usize, bool)> = (0..headings.len()).map(|column| (width(column), numeric(column))).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&columns).map(|(cell, &(width, right))| {
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            if right { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(&mut headings.iter().copied());
    let body = rows.iter().map(|row| line(&mut row.iter().map(String::as_str)));
    std::iter::once(head).chain(body).collect::<Vec<_>>().join("\n")
}

/// A JSON value as a cell: text bare, null empty, control characters (of a terminal) left out, a time of whole
/// seconds without its zeros.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => match text.strip_suffix(".000000Z") {
            Some(seconds) => format!("{}Z", without_control(seconds)),
            None => without_control(text),
        },
        other => other.to_string(),
    }
}

fn without_control(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// So many of something: `1 piece`, `2 pieces`.
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A measured number for people: five digits that count, no trailing zeros.
pub fn readable(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let decimals = (4 - number.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Members of JSON objects as rows.
pub fn rows(items: &[Value], members: &[&str]) -> Vec<Vec<String>> {
    items.iter().map(|item| members.iter().map(|member| cell(&item[*member])).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people_have_five_digits() {
        let cases = [
            (-14.693_714, "-14.694"),
            (0.0, "0"),
            (-150.0, "-150"),
            (0.000_012_345_67, "0.000012346"),
            (48_000.0, "48000"),
            (2.5, "2.5"),
        ];
        for (number, text) in cases {
            assert_eq!(readable(number), text);
        }
    }

    #[test]
    fn tables_are_aligned() {
        let items = [
            json!({"id": "roof", "level": -31.25}),
            json!({"id": "ä", "level": null}),
            json!({"id": "2026-05-01T00:00:00.000000Z", "level": 0.5}),
            json!({"id": "x\u{1b}[2J", "level": -4}),
        ];
        let text = table(&["SENSOR", "LEVEL"], &rows(&items, &["id", "level"]));
        assert_eq!(
            text,
            "SENSOR                 LEVEL\nroof                  -31.25\nä\n2026-05-01T00:00:00Z     0.5\nx[2J                      -4"
        );
    }
}
