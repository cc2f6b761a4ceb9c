//! `antiphon plans`: the sets that plans are asked for by, with what they take and cost.

use std::process::ExitCode;

use antiphon_analysis::query::{PlanInfo, plan_info};
use antiphon_features::sets::{SETS, find_set};
use anyhow::{Context, Result};
use indicatif::DecimalBytes;
use serde_json::{Value, json};

use super::output::{print_json, print_json_list, print_line, table};
use crate::cli::Globals;

/// Options of `antiphon plans`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Bytes are of a sensor-day at 1 s; seconds of one core are for an hour of 44.1 kHz stereo FLAC with its decoding, on the \
                  machine of docs/benchmarks.md.\n\nExamples:\n  antiphon plans\n  antiphon plans soundscape\n  antiphon sensor add roof --plan soundscape\n  \
                  ANTIPHON_SONGS__PLAN=level-only,pitch antiphon up"
)]
pub struct Arguments {
    /// Show all of this one.
    name: Option<String>,
}

/// Runs `antiphon plans`.
///
/// # Errors
/// For a set that there is not, with the nearest.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    let Some(name) = &arguments.name else {
        let all: Vec<PlanInfo> = SETS.iter().map(plan_info).collect();
        if globals.json {
            print_json_list(&all.iter().map(|plan| json!(plan)).collect::<Vec<Value>>())?;
        } else {
            let rows: Vec<Vec<String>> = all.iter().map(row).collect();
            print_line(&table(&["NAME", "BYTES A DAY", "CPU SECONDS AN HOUR", "WHAT IT IS FOR"], &rows))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let plan = find_set(name).map(plan_info).with_context(|| {
        let near = antiphon_features::nearest(name, SETS.iter().map(|set| set.name)).unwrap_or_default();
        format!("there is no plan {name:?}; the nearest is {near:?}")
    })?;
    if globals.json {
        print_json(&json!(plan))?;
    } else {
        let computes = plan.algorithms.iter().map(|choice| match &choice.outputs[..] {
            [] => format!("  {}", choice.algorithm),
            outputs => format!(
                "  {}: {}",
                choice.algorithm,
                outputs.iter().map(|output| shown(output)).collect::<Vec<_>>().join(", ")
            ),
        });
        let computes = computes.collect::<Vec<_>>().join("\n");
        let [name, bytes, seconds, about] = row(&plan).try_into().unwrap_or_default();
        print_line(&format!(
            "{name}: {about}\n{bytes} a sensor-day at 1 s, {seconds} s of CPU an audio-hour\n\nComputes\n{computes}"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(plan: &PlanInfo) -> Vec<String> {
    let (bytes, seconds) = (DecimalBytes(plan.bytes_per_day), plan.cpu_seconds_per_hour);
    vec![plan.name.to_owned(), bytes.to_string(), format!("{seconds:.1}"), plan.about.to_owned()]
}

/// An output's name; that of an algorithm's only or main one is empty.
fn shown(output: &str) -> &str {
    if output.is_empty() { "(itself)" } else { output }
}
