//! `antiphon analyze`: features of local files; no server, no data folder.

mod compute;
mod plot;
mod print;
mod select;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use antiphon_tables::Writer;
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::features::Format;
use super::output::Target;
use crate::cli::Globals;
use compute::{Found, Resolution, analyze};
use select::{Selection, select};

/// Options of `antiphon analyze`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The numbers are those that a server would give for these files as songs. `table` shows each file by itself; `csv` has \
                  one header and a column `file`, and so have `arrow` and `parquet`, which tell units and versions too; of whole files their \
                  columns are those of `table`, tempo and key among them. `json` has one object a line for each file, with its \
                  annotations and summaries.\n\nExit codes: 0 all analysed, 1 some could not be (each is named with its reason), 2 could not \
                  run.\n\nExamples:\n  antiphon analyze song.flac\n  antiphon analyze *.wav --features level.a,loudness --stat leq,max,l90 \\\n      --format csv --out levels.csv\n  \
                  antiphon analyze song.flac --features mel --resolution 1s --format json\n  \
                  antiphon analyze song.flac --plot song.svg"
)]
pub struct Arguments {
    /// Audio files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Algorithms (`level`), outputs (`level.a`) or families, with commas between; default: all that are scalar.
    #[arg(long, value_name = "LIST")]
    features: Option<String>,
    /// Which statistics, such as leq,max,l90 or mean,stddev.
    #[arg(long, value_name = "LIST")]
    stat: Option<String>,
    /// 1s, 10s, 1m, 10m, 1h, or whole: one row a file.
    #[arg(long, value_name = "WIDTH", default_value = "whole", value_parser = resolution)]
    resolution: Resolution,
    /// How to print it.
    #[arg(long, default_value = "table")]
    format: Format,
    /// Where to write it; default standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Instead of numbers, draw one file as SVG: waveform with onsets and beats, spectrogram with pitch, level.
    #[arg(long, value_name = "FILE.svg", conflicts_with_all = ["features", "stat", "resolution", "format", "out"])]
    plot: Option<PathBuf>,
}

fn resolution(text: &str) -> Result<Resolution, String> {
    let seconds = match text {
        "1s" => 1,
        "10s" => 10,
        "1m" => 60,
        "10m" => 600,
        "1h" => 3_600,
        "whole" => return Ok(Resolution::Whole),
        _ => return Err(String::from("1s, 10s, 1m, 10m, 1h or whole")),
    };
    Ok(Resolution::Seconds(seconds))
}

/// Runs `antiphon analyze`.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    if let Some(target) = &arguments.plot {
        return draw(&arguments.files, target);
    }
    let format = arguments.format.checked(globals, arguments.out.as_deref())?;
    let selection = select(arguments.features.as_deref(), arguments.stat.as_deref())?;
    let table = print::table_of_files(&selection, arguments.resolution);
    let mut writer = format.of_table().map(|format| Writer::new(format, &table)).transpose()?;
    let mut target = Target::open(arguments.out.as_deref())?;
    let bar = bar(arguments.files.len());
    let mut refused = false;
    each_in_order(&arguments.files, &selection, arguments.resolution, |file, found| {
        bar.inc(1);
        let name = file.display().to_string();
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                refused = true;
                bar.suspend(|| eprintln!("{name}: {error:#}"));
                return Ok(());
            }
        };
        if let Some(broken) = &found.broken {
            refused = true;
            bar.suspend(|| eprintln!("{name}: only the first {:.3} s: {broken}", found.duration));
        }
        let bytes = match (&mut writer, format) {
            (Some(writer), _) => {
                writer.write(print::batch(&table, &name, &found, &selection, arguments.resolution)?)?
            }
            (None, Format::Json) => print::json(&name, &found, &selection, arguments.resolution)?.into_bytes(),
            (None, _) => print::people(&name, &found, &selection, arguments.resolution).into_bytes(),
        };
        bar.suspend(|| target.put(&bytes))
    })?;
    if let Some(writer) = writer {
        target.put(&writer.finish()?)?;
    }
    target.finish()?;
    bar.finish_and_clear();
    if format != Format::Json
        && let Some(left_out) = print::left_out(&selection, arguments.resolution, format.of_table().is_some())
    {
        eprintln!("{left_out}");
    }
    Ok(if refused { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Writes the picture of one file.
fn draw(files: &[PathBuf], target: &Path) -> Result<ExitCode> {
    let [file] = files else {
        bail!("--plot draws one file, not {}; run it once for each", files.len());
    };
    let ending = target.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    if ending.is_some_and(|ending| ending != "svg") {
        bail!(
            "--plot {}: the picture is SVG; name a file such as {}",
            target.display(),
            target.with_extension("svg").display()
        );
    }
    let picture = match plot::picture(file) {
        Ok(picture) => picture,
        Err(error) => {
            eprintln!("{}: {error:#}", file.display());
            return Ok(ExitCode::from(1));
        }
    };
    fs::write(target, picture.svg()?).with_context(|| format!("cannot write {}", target.display()))?;
    match &picture.broken {
        Some(broken) => {
            eprintln!("{}: only what comes before this is drawn: {broken}", file.display());
            Ok(ExitCode::from(1))
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Analyses files on all cores and hands the results on in the order of the files.
fn each_in_order(
    files: &[PathBuf],
    selection: &Selection,
    resolution: Resolution,
    mut act: impl FnMut(&PathBuf, Result<Found>) -> Result<()>,
) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (results, found) = channel();
        for _ in 0..threads {
            let (results, next) = (results.clone(), &next);
            scope.spawn(move || {
                while let Some((index, file)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| Some((index, files.get(index)?)))
                {
                    if results.send((index, analyze(file, selection, resolution))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let mut early = BTreeMap::new();
        let mut turn = 0;
        for (index, result) in found {
            early.insert(index, result);
            while let Some(result) = early.remove(&turn) {
                act(&files[turn], result)?;
                turn += 1;
            }
        }
        Ok(())
    })
}

fn bar(files: usize) -> ProgressBar {
    // One file is done before a bar would be read.
    let bar = if files > 1 { ProgressBar::new(files as u64) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("[{bar:30}] {pos} of {len} files, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
}
