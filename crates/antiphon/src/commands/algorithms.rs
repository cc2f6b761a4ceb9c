//! `antiphon algorithms`: the registry.

use std::process::ExitCode;

use antiphon_features::descriptor::{Descriptor, Kind, Output};
use antiphon_features::{find, nearest_name, registry};
use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::output::{print_json, print_json_list, print_line, table};
use crate::cli::Globals;

/// Options of `antiphon algorithms`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  antiphon algorithms\n  antiphon algorithms level\n  antiphon algorithms loudness --json"
)]
pub struct Arguments {
    /// Show all of this one.
    name: Option<String>,
}

/// Runs `antiphon algorithms`.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    match &arguments.name {
        None if globals.json => {
            let all: Vec<Value> = registry().iter().map(|descriptor| json!(descriptor)).collect();
            print_json_list(&all)?;
        }
        None => {
            let row = |descriptor: &&Descriptor| {
                let Descriptor { name, version, family, title, .. } = descriptor;
                vec![(*name).to_owned(), version.to_string(), (*family).to_owned(), (*title).to_owned()]
            };
            let rows: Vec<Vec<String>> = registry().iter().map(row).collect();
            print_line(&table(&["NAME", "VERSION", "FAMILY", "WHAT IT IS"], &rows))?;
        }
        Some(name) => match find(name) {
            Some(descriptor) if globals.json => print_json(&json!(descriptor))?,
            Some(descriptor) => print_line(&page(descriptor))?,
            None => bail!("there is no algorithm {name:?}; the nearest is {:?}", nearest_name(name)),
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn page(descriptor: &Descriptor) -> String {
    let Descriptor { name, version, family, title, about, outputs, parameters, reference } = descriptor;
    let mut parts = vec![format!("{name}, version {version}, family {family}\n{title}\n\n{about}")];
    let rows: Vec<Vec<String>> = outputs.iter().map(|output| output_row(name, output)).collect();
    parts.push(format!("Outputs\n{}", table(&["NAME", "UNIT", "KIND", "STATS", "WHAT IT IS"], &rows)));
    if !parameters.is_empty() {
        let row = |parameter: &antiphon_features::descriptor::Parameter| {
            let range = format!("{} to {}", parameter.minimum, parameter.maximum);
            let default = parameter.default.to_string();
            vec![parameter.name.to_owned(), parameter.unit.to_owned(), range, default, parameter.about.to_owned()]
        };
        let rows: Vec<Vec<String>> = parameters.iter().map(row).collect();
        parts.push(format!("Parameters\n{}", table(&["NAME", "UNIT", "RANGE", "DEFAULT", "WHAT IT DOES"], &rows)));
    }
    parts.push(format!("Reference\n{reference}"));
    parts.join("\n\n")
}

fn output_row(algorithm: &str, output: &Output) -> Vec<String> {
    let (kind, stats) = match &output.kind {
        Kind::Series(series) if series.dimensions > 1 => {
            (format!("series of {} values", series.dimensions), series.stats.join(" "))
        }
        Kind::Series(series) => (String::from("series"), series.stats.join(" ")),
        Kind::Annotation { .. } => (String::from("annotations"), String::new()),
        Kind::Summary => (String::from("summary"), String::new()),
    };
    let name = if output.name.is_empty() { algorithm.to_owned() } else { format!("{algorithm}.{}", output.name) };
    vec![name, output.unit.to_owned(), kind, stats, output.title.to_owned()]
}
