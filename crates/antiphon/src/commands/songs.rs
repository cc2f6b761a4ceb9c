//! `antiphon songs`: which songs there are, with tempo, key and loudness; to look at, to choose from and to delete.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use antiphon_tables::{Column, Field, Kind, Table, Writer};
use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output::{Target, cell, print_json, print_json_list, print_line, print_table, readable};
use super::server::{Server, ServerOptions, encoded};
use crate::cli::Globals;

/// Songs whose values are asked for by their ids; of more, those of all songs are read.
const NAMED: usize = 200;

/// Options of `antiphon songs`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  antiphon songs\n  antiphon songs --tempo 100-130 --key \"A minor\"\n  \
                  antiphon songs --query bach --sort loudness\n  antiphon songs --format csv > songs.csv\n  \
                  antiphon songs show sdsv2fpy64gpa63awucfrirvh7kp6ss4n"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show all that is known of one song: its tags, and every value that the whole of it has.
    #[command(after_help = "Examples:\n  antiphon songs show sdsv2fpy64gpa63awucfrirvh7kp6ss4n")]
    Show {
        /// Its id, as `antiphon songs` shows it.
        id: String,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Delete songs, with their files on the server and their features.
    #[command(after_help = "Examples:\n  antiphon songs delete sdsv2fpy64gpa63awucfrirvh7kp6ss4n")]
    Delete {
        /// Their ids, as `antiphon songs` shows them.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        #[command(flatten)]
        server: ServerOptions,
    },
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only songs with this text in title, artist, album or file name.
    #[arg(long, value_name = "WORDS")]
    query: Option<String>,
    /// Only songs with a tempo in this range of BPM, such as 100-130; one end may be left out.
    #[arg(long, value_name = "FROM-TO", allow_hyphen_values = true)]
    tempo: Option<String>,
    /// Only songs in this key, such as "A minor", Am or Db.
    #[arg(long)]
    key: Option<String>,
    /// What to order them by; default the newest first.
    #[arg(long)]
    sort: Option<Sort>,
    /// How to print them.
    #[arg(long, default_value = "table")]
    format: Format,
    #[command(flatten)]
    server: ServerOptions,
}

/// What songs are ordered by; those that have no such value come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// The slowest first.
    Tempo,
    /// By the key's name.
    Key,
    /// The softest first.
    Loudness,
    /// By title.
    Title,
}

/// How songs are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns for people.
    Table,
    /// RFC 4180.
    Csv,
    /// One list.
    Json,
}

/// Runs `antiphon songs`.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    match arguments.command {
        None => list(&arguments.list, globals)?,
        Some(Command::Show { id, server }) => show(&Server::find(&server, globals)?, &id, globals)?,
        Some(Command::Delete { ids, server }) => delete(&Server::find(&server, globals)?, &ids, globals)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(options: &List, globals: &Globals) -> Result<()> {
    let server = Server::find(&options.server, globals)?;
    let mut songs = songs(&server, options)?;
    if let Some(sort) = options.sort {
        songs.sort_by(|a, b| compare(&a[sort.member()], &b[sort.member()]));
    }
    match options.format {
        Format::Table if globals.json => print_json_list(&songs),
        Format::Json => print_json_list(&songs),
        Format::Csv => print_csv(&songs),
        Format::Table => {
            let rows: Vec<Vec<String>> = songs.iter().map(row).collect();
            let headings = ["TITLE", "ARTIST", "ALBUM", "LENGTH", "BPM", "KEY", "LUFS", "ID"];
            print_table(&headings, &rows, "no such songs")
        }
    }
}

/// The songs that are wanted, newest first, each with what it is in all.
fn songs(server: &Server, options: &List) -> Result<Vec<Value>> {
    let query = options.query.as_ref().map(|query| format!("?query={}", encoded(query))).unwrap_or_default();
    let songs = server.get_all(&format!("/api/v1/songs{query}"))?;
    let mut path = String::from("/api/v1/summaries?features=rhythm.tempo,key.key,loudness.integrated");
    if let Some(tempo) = &options.tempo {
        path.push_str(&format!("&tempo={}", encoded(&range(tempo))));
    }
    if let Some(key) = &options.key {
        path.push_str(&format!("&key={}", encoded(key)));
    }
    let is_chosen = options.tempo.is_some() || options.key.is_some();
    if (1..=NAMED).contains(&songs.len()) {
        let ids: Vec<&str> = songs.iter().filter_map(|song| song["id"].as_str()).collect();
        path.push_str(&format!("&songs={}", ids.join(",")));
    }
    // With no song there is nothing to know, but a wrong range is told all the same.
    let summaries = server.get_all(&path)?;
    let by_song = |summary: Value| Some((summary["song"].as_str()?.to_owned(), summary));
    let mut summaries: HashMap<String, Value> = summaries.into_iter().filter_map(by_song).collect();
    let joined = songs.into_iter().filter_map(|song| {
        let summary = summaries.remove(song["id"].as_str().unwrap_or_default());
        if is_chosen && summary.is_none() {
            return None;
        }
        let values = summary.map(|summary| summary["values"].clone()).unwrap_or_default();
        Some(json!({
            "id": song["id"], "status": song["status"], "title": song["title"], "artist": song["artist"], "album": song["album"],
            "duration": song["duration"], "tempo": values["rhythm.tempo"], "key": values["key.key"],
            "loudness": values["loudness.integrated"],
        }))
    });
    Ok(joined.collect())
}

/// A range as the API has it: `100-130` as `100..130`.
fn range(text: &str) -> String {
    if text.contains("..") { text.to_owned() } else { text.replacen('-', "..", 1) }
}

impl Sort {
    fn member(self) -> &'static str {
        match self {
            Self::Tempo => "tempo",
            Self::Key => "key",
            Self::Loudness => "loudness",
            Self::Title => "title",
        }
    }
}

/// Numbers by size, text by letters without regard to capitals; what is missing comes last.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => a.is_null().cmp(&b.is_null()),
        (Value::String(a), Value::String(b)) => a.to_lowercase().cmp(&b.to_lowercase()),
        (a, b) => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
    }
}

/// A song as a line of a table for people.
fn row(song: &Value) -> Vec<String> {
    let tenths = |value: &Value| value.as_f64().map(|number| format!("{number:.1}")).unwrap_or_default();
    let length = song["duration"].as_f64().map(length).unwrap_or_default();
    vec![
        cell(&song["title"]),
        cell(&song["artist"]),
        cell(&song["album"]),
        length,
        tenths(&song["tempo"]),
        cell(&song["key"]),
        tenths(&song["loudness"]),
        cell(&song["id"]),
    ]
}

/// A length of music: `4:03`, `1:02:03`.
fn length(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

fn print_csv(songs: &[Value]) -> Result<()> {
    let words = ["title", "artist", "album", "key", "id"];
    let names = ["title", "artist", "album", "duration", "tempo", "key", "loudness", "id"];
    let kind = |name: &str| if words.contains(&name) { Kind::Words } else { Kind::Value };
    let fields = names.iter().map(|name| Field::new(*name, kind(name))).collect();
    let table = Arc::new(Table { fields, facts: Vec::new() });
    let columns = names.iter().map(|name| match kind(name) {
        Kind::Words => Column::Words(songs.iter().map(|song| song[*name].as_str().map(str::to_owned)).collect()),
        _ => Column::values(songs.iter().map(|song| song[*name].as_f64().map(|value| value as f32))),
    });
    let mut writer = Writer::new(antiphon_tables::Format::Csv, &table)?;
    let mut bytes = writer.write(table.batch(columns.collect())?)?;
    bytes.extend(writer.finish()?);
    let mut target = Target::open(None)?;
    target.put(&bytes)?;
    target.finish()
}

fn show(server: &Server, id: &str, globals: &Globals) -> Result<()> {
    let path = format!("/api/v1/songs/{}", encoded(id));
    let song = server.get(&path)?;
    let summary = server.get(&format!("{path}/summary"))?["items"].take();
    if globals.json {
        let mut song = song;
        song["summary"] = summary;
        return print_json(&song);
    }
    let members = ["id", "status", "reason", "title", "artist", "album", "media_type", "size", "accepted_at"];
    let told =
        members.iter().filter(|name| !song[**name].is_null()).map(|name| ((*name).to_owned(), cell(&song[*name])));
    let duration = song["duration"].as_f64().map(|seconds| (String::from("length"), length(seconds)));
    let values = summary.as_array().into_iter().flatten().filter(|item| !item["value"].is_null()).map(said);
    let lines: Vec<(String, String)> = told.chain(duration).chain(values).collect();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().try_for_each(|(name, value)| print_line(&format!("{name:width$}  {value}")))
}

/// A value of a whole song with its unit; what is longer than a line is for programs.
fn said(item: &Value) -> (String, String) {
    const LINE: usize = 100;
    let value = item["value"].as_f64().map_or_else(|| cell(&item["value"]), readable);
    let value = match value.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}… ({} characters; all with --json)", &value[..end], value.chars().count()),
        None => value,
    };
    let unit = item["unit"].as_str().filter(|unit| *unit != "1").map(|unit| format!(" {unit}")).unwrap_or_default();
    (cell(&item["name"]), format!("{value}{unit}"))
}

/// Deletes each; the first that fails ends it, those before it are gone.
fn delete(server: &Server, ids: &[String], globals: &Globals) -> Result<()> {
    for id in ids {
        server.delete(&format!("/api/v1/songs/{}", encoded(id)))?;
        if !globals.json {
            eprintln!("deleted {id}");
        }
    }
    if globals.json { print_json(&json!({"ids": ids, "done": "deleted"})) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_as_people_write_it() {
        let written = ["100-130", "100..130", "-130", "100-", "..130"].map(range);
        assert_eq!(written, ["100..130", "100..130", "..130", "100..", "..130"]);
    }

    #[test]
    fn what_is_missing_is_last() {
        let sorted = |mut values: Vec<Value>| {
            values.sort_by(compare);
            values
        };
        assert_eq!(sorted(vec![json!(null), json!(120.5), json!(-3)]), [json!(-3), json!(120.5), json!(null)]);
        assert_eq!(sorted(vec![json!("b"), json!(null), json!("A")]), [json!("A"), json!("b"), json!(null)]);
        assert_eq!((length(59.6), length(3_723.0)), (String::from("1:00"), String::from("1:02:03")));
    }
}
