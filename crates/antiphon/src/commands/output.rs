//! What commands print: tables for people, JSON for programs.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

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

/// Where a result goes: standard output, or a file that gets its name when it is whole, so that what broke off is never
/// taken for all of it.
pub struct Target {
    output: Box<dyn Write>,
    /// Where the file is meanwhile, and its name.
    file: Option<(PathBuf, PathBuf)>,
}

impl Target {
    /// Standard output, or the file `out`. What is there and is no ordinary file, such as a pipe, is written to as it is.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn open(out: Option<&Path>) -> Result<Self> {
        let Some(path) = out else { return Ok(Self { output: Box::new(BufWriter::new(io::stdout())), file: None }) };
        let cannot = || format!("cannot write {}", path.display());
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let output = File::options().write(true).open(path).with_context(cannot)?;
            return Ok(Self { output: Box::new(BufWriter::new(output)), file: None });
        }
        // Through a link, the file that it leads to.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let meanwhile = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let output = File::create(&meanwhile).with_context(cannot)?;
        Ok(Self { output: Box::new(BufWriter::new(output)), file: Some((meanwhile, path.to_owned())) })
    }

    /// Writes the next bytes; a reader that went away (`| head`) ends the command quietly.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        match self.output.write_all(bytes).and_then(|()| self.output.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.file.is_none() => std::process::exit(0),
            written => written.context("the result cannot be written"),
        }
    }

    /// Says that this was all.
    ///
    /// # Errors
    /// When the last of it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.put(&[])?;
        match self.file.take() {
            Some((meanwhile, path)) => {
                fs::rename(&meanwhile, &path).with_context(|| format!("cannot write {}", path.display()))
            }
            None => Ok(()),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((meanwhile, _)) = self.file.take() {
            // Nothing that remains of it could be used.
            let _ = fs::remove_file(meanwhile);
        }
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
