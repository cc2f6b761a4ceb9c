//! `antiphon features`: the range query from a terminal.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use antiphon_platform::http::time;
use anyhow::{Result, bail};
use chrono::{DateTime, SecondsFormat};
use chrono_tz::Tz;
use clap::ValueEnum;
use serde_json::Value;

use super::output::{Target, cell, counted, readable, table};
use super::server::{Server, ServerOptions, encoded};
use crate::cli::Globals;

/// Options of `antiphon features`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  antiphon features sensor:roof --from 2026-05-01T00:00:00Z --to 2026-05-02T00:00:00Z \\\n      --resolution 1h\n  \
                  antiphon features sensor:roof --from 2026-05-01T00:00:00+02:00 --to 2026-05-02T00:00:00+02:00 \\\n      \
                  --features level --stat leq,l90 --tz Europe/Paris --format csv --out day.csv\n  \
                  antiphon features sensor:roof --from 2026-01-01T00:00:00Z --to 2027-01-01T00:00:00Z \\\n      \
                  --resolution 1m --format parquet --out year.parquet\n  \
                  antiphon features song:sdsv2fpy64gpa63awucfrirvh7kp6ss4n --features loudness"
)]
pub struct Arguments {
    /// What was heard: `sensor:ID` or `song:ID`.
    source: String,
    /// Where the range begins: RFC 3339 with an offset; of a song, seconds.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Where it ends; this instant is not part of it.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Algorithms (`level`), outputs (`level.a`), families or sets (`soundscape`), with commas between.
    #[arg(long, value_name = "LIST")]
    features: Option<String>,
    /// frame, 1s, 10s, 1m, 10m, 1h, 1d or auto.
    #[arg(long)]
    resolution: Option<String>,
    /// Which statistics, such as leq,max,l90 or mean,stddev.
    #[arg(long, value_name = "LIST")]
    stat: Option<String>,
    /// `gaps`: also rows for buckets in which nothing was heard.
    #[arg(long)]
    fill: Option<String>,
    /// The IANA time zone to whose hours and days buckets align, and whose times a table for people shows; default UTC.
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// `all`: columns for every version of an algorithm.
    #[arg(long)]
    versions: Option<String>,
    /// Only while the data is that of this revision.
    #[arg(long)]
    revision: Option<String>,
    /// How to print it.
    #[arg(long, default_value = "table")]
    format: Format,
    /// Where to write it; default standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    server: ServerOptions,
}

/// How features are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people.
    Table,
    /// As the API answers it.
    Json,
    /// RFC 4180.
    Csv,
    /// Arrow IPC stream: types, units and gaps told; for a file or a pipe.
    Arrow,
    /// Parquet: the same, compressed.
    Parquet,
}

impl Format {
    /// The format that was asked for, where `--json` asks for JSON; `out` is the file that is to be written.
    ///
    /// # Errors
    /// For bytes that would go to a terminal.
    pub fn checked(self, globals: &Globals, out: Option<&Path>) -> Result<Self> {
        match self {
            Self::Table if globals.json => Ok(Self::Json),
            Self::Arrow | Self::Parquet if out.is_none() && io::stdout().is_terminal() => {
                bail!("arrow and parquet are not for reading: name a file with --out FILE, or use a pipe")
            }
            format => Ok(format),
        }
    }

    /// The format of whole tables that it is.
    pub fn of_table(self) -> Option<antiphon_tables::Format> {
        match self {
            Self::Table | Self::Json => None,
            Self::Csv => Some(antiphon_tables::Format::Csv),
            Self::Arrow => Some(antiphon_tables::Format::Arrow),
            Self::Parquet => Some(antiphon_tables::Format::Parquet),
        }
    }
}

/// Runs `antiphon features`.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    let format = arguments.format.checked(globals, arguments.out.as_deref())?;
    let path = path(&arguments)?;
    let server = Server::find(&arguments.server, globals)?;
    if let Some(format) = format.of_table() {
        let mut target = Target::open(arguments.out.as_deref())?;
        server.copy(&format!("{path}format={}", format.name()), &mut target)?;
        target.finish()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut answer = all_pages(&server, &path)?;
    // For programs times are UTC, as the contract has them.
    if let Some(zone) = arguments.tz.as_deref().filter(|_| format == Format::Table) {
        show_times_in(zone, &mut answer);
    }
    let text = match format {
        Format::Json => answer.to_string(),
        _ => people(&answer),
    };
    let mut target = Target::open(arguments.out.as_deref())?;
    target.put(format!("{text}\n").as_bytes())?;
    target.finish()?;
    if format == Format::Table {
        say_gaps(&answer);
        let columns = answer["columns"].as_array().map_or(0, Vec::len);
        if columns > MANY_COLUMNS {
            eprintln!(
                "{columns} columns; fewer with --features level.a,loudness and the like, all for programs with --format csv"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The query, ready for one more parameter.
fn path(arguments: &Arguments) -> Result<String> {
    let route = match arguments.source.split_once(':') {
        Some(("sensor", id)) if !id.is_empty() => format!("/api/v1/sensors/{}/features", encoded(id)),
        Some(("song", id)) if !id.is_empty() => format!("/api/v1/songs/{}/features", encoded(id)),
        _ => bail!("{}: a source is sensor:ID or song:ID", arguments.source),
    };
    let parameters = [
        ("from", &arguments.from),
        ("to", &arguments.to),
        ("features", &arguments.features),
        ("resolution", &arguments.resolution),
        ("stat", &arguments.stat),
        ("fill", &arguments.fill),
        ("tz", &arguments.tz),
        ("versions", &arguments.versions),
        ("revision", &arguments.revision),
    ];
    let mut path = format!("{route}?");
    for (name, value) in parameters {
        if let Some(value) = value {
            path.push_str(&format!("{name}={}&", encoded(value)));
        }
    }
    Ok(path)
}

/// More columns than this fit no terminal.
const MANY_COLUMNS: usize = 20;

/// How often the pages are begun again when new data came between two of them.
const ATTEMPTS: usize = 5;

/// The answer with the rows and gaps of all its pages, which are of one revision.
fn all_pages(server: &Server, path: &str) -> Result<Value> {
    for _ in 0..ATTEMPTS {
        if let Some(answer) = pages_of_one_revision(server, &format!("{path}limit=100000"))? {
            return Ok(answer);
        }
    }
    bail!("new data comes faster than its pages can be read; ask for a range that ended a while ago, or --format csv")
}

fn pages_of_one_revision(server: &Server, path: &str) -> Result<Option<Value>> {
    let mut answer = server.get(path)?;
    while let Some(cursor) = answer["next"].as_str() {
        let mut page = server.get(&format!("{path}&cursor={}", encoded(cursor)))?;
        if page["revision"] != answer["revision"] {
            return Ok(None);
        }
        append(&mut answer, &mut page, "rows");
        append_gaps(&mut answer, &mut page);
        answer["next"] = page["next"].take();
    }
    Ok(Some(answer))
}

fn append(answer: &mut Value, page: &mut Value, member: &str) {
    if let (Some(all), Some(more)) = (answer[member].as_array_mut(), page[member].as_array_mut()) {
        all.append(more);
    }
}

/// A gap that a border between pages cut is one gap again.
fn append_gaps(answer: &mut Value, page: &mut Value) {
    let last_end = answer["gaps"].as_array().and_then(|gaps| Some(gaps.last()?["to"].clone()));
    let first = page["gaps"].as_array().and_then(|gaps| gaps.first().cloned());
    if let (Some(end), Some(first)) = (last_end, first)
        && first["from"] == end
    {
        if let Some(last) = answer["gaps"].as_array_mut().and_then(|gaps| gaps.last_mut()) {
            last["to"] = first["to"].clone();
        }
        if let Some(gaps) = page["gaps"].as_array_mut() {
            gaps.remove(0);
        }
    }
    append(answer, page, "gaps");
}

/// Writes all times of an answer as those of a zone, with its offset: an hour that a clock is set back by stands there twice,
/// and only the offset tells them apart.
fn show_times_in(zone: &str, answer: &mut Value) {
    // The server has taken the zone; one that it knows and this program does not leaves times as they are.
    let Ok(zone) = Tz::from_str(zone) else { return };
    let show = |time: &mut Value| {
        let shown = time.as_str().and_then(|text| {
            let instant = DateTime::from_timestamp_micros(time::parse(text).ok()?)?;
            Some(instant.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, false))
        });
        if let Some(shown) = shown {
            *time = Value::String(shown);
        }
    };
    let is_time = |column: &Value| column["name"] == "time";
    let place = answer["columns"].as_array().and_then(|columns| columns.iter().position(is_time));
    for row in answer["rows"].as_array_mut().into_iter().flatten() {
        if let Some(time) = place.and_then(|place| row.get_mut(place)) {
            show(time);
        }
    }
    for gap in answer["gaps"].as_array_mut().into_iter().flatten() {
        for end in ["from", "to"] {
            if let Some(time) = gap.get_mut(end) {
                show(time);
            }
        }
    }
}

fn people(answer: &Value) -> String {
    let headings: Vec<String> = answer["columns"].as_array().into_iter().flatten().map(heading).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let short = |value: &Value| value.as_f64().map_or_else(|| cell(value), readable);
    let cells = |row: &Value| row.as_array().into_iter().flatten().map(short).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = answer["rows"].as_array().into_iter().flatten().map(cells).collect();
    table(&headings, &rows)
}

/// A column's name with its unit, such as `level.a [dBFS]`.
fn heading(column: &Value) -> String {
    match column["unit"].as_str() {
        Some(unit) if unit != "1" => format!("{} [{unit}]", cell(&column["name"])),
        _ => cell(&column["name"]),
    }
}

fn say_gaps(answer: &Value) {
    let gaps = answer["gaps"].as_array().map(Vec::as_slice).unwrap_or_default();
    if gaps.is_empty() {
        return;
    }
    let shown = gaps.iter().take(5).map(|gap| format!("\n  {} to {}", cell(&gap["from"]), cell(&gap["to"])));
    let rest = if gaps.len() > 5 { format!("\n  and {} more", gaps.len() - 5) } else { String::new() };
    let count = counted(gaps.len(), "gap");
    eprintln!("{count} in which nothing was heard:{}{rest}", shown.collect::<String>());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_of_a_zone_have_its_offset() {
        let mut answer = json!({
            "columns": [{"name": "time"}, {"name": "level.a"}],
            "rows": [["2026-10-24T22:00:00.000000Z", -30.5], ["2026-10-25T01:00:00.125000Z", -31.5]],
            "gaps": [{"from": "2026-10-25T00:30:00.000000Z", "to": "2026-10-25T01:30:00.000000Z"}],
        });
        show_times_in("Europe/Vienna", &mut answer);
        assert_eq!(answer["rows"][0], json!(["2026-10-25T00:00:00+02:00", -30.5]));
        assert_eq!(answer["rows"][1][0], "2026-10-25T02:00:00.125+01:00", "the second time that it is two");
        assert_eq!(answer["gaps"][0], json!({"from": "2026-10-25T02:30:00+02:00", "to": "2026-10-25T02:30:00+01:00"}));
        let of_a_song = json!({"columns": [{"name": "time"}], "rows": [[0.0]], "gaps": []});
        let mut same = of_a_song.clone();
        show_times_in("Europe/Vienna", &mut same);
        assert_eq!(same, of_a_song);
    }

    #[test]
    fn gaps_that_a_page_cut_are_joined() {
        let mut answer = json!({"gaps": [{"from": 0, "to": 1}, {"from": 5, "to": 10}]});
        append_gaps(&mut answer, &mut json!({"gaps": [{"from": 10, "to": 12}, {"from": 20, "to": 21}]}));
        append_gaps(&mut answer, &mut json!({"gaps": []}));
        assert_eq!(answer["gaps"], json!([{"from": 0, "to": 1}, {"from": 5, "to": 12}, {"from": 20, "to": 21}]));
    }
}
