//! Instructions that a second of audio costs, counted by valgrind's callgrind: unlike times, they are the same on a busy
//! machine. Each row is counted over a short and over a longer file; what lies between is the cost of the seconds between, without
//! what a process does once.
//!
//! `cargo bench -p antiphon-features --bench instructions [-- --write | ROW...]`
//!
//! Compares with `benches/instructions.txt`, and fails where a row needs 3 % more than there: counts of the same code vary
//! by less than a tenth of that (a table's place in memory, the order of a map), and a loop that lost its vector
//! registers or a copy too many costs more. Where the compiler, the profile or the vector registers are not those of the table it only
//! prints, since they change counts without a change of the code. `--write` writes the table anew.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so by a panic")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[path = "rows/mod.rs"]
mod rows;
#[path = "sound/mod.rs"]
mod sound;

/// Seconds of the two files.
const SHORT: usize = 5;
const LONG: usize = 15;
/// How much more than the table is a failure.
const MOST: f64 = 1.03;
/// What the table is called in messages.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

fn main() -> ExitCode {
    // Cargo passes `--bench`.
    let options: Vec<String> = std::env::args().skip(1).filter(|option| option != "--bench").collect();
    if let [child, name, path] = &options[..]
        && child == "--run"
    {
        rows::row(name).unwrap().work.run(&std::fs::read(path).unwrap().into());
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("instructions are counted by valgrind, which is not installed: apt-get install valgrind");
        return ExitCode::FAILURE;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = [SHORT, LONG].map(|seconds| {
        let path = folder.path().join(format!("{seconds}.flac"));
        std::fs::write(&path, sound::sound(seconds)).unwrap();
        path
    });
    let writes = options.iter().any(|option| option == "--write");
    let named = |name: &String| writes || options.is_empty() || options.contains(name);
    let names: Vec<String> = rows::rows().into_iter().map(|row| row.name).filter(named).collect();
    let table = if writes { String::new() } else { std::fs::read_to_string(TABLE).unwrap() };
    let machine = machine();
    let is_comparable = table.lines().next() == Some(&machine);
    if !writes && !is_comparable {
        println!("{machine:?} is not what the table was made with; differences are no failures");
    }
    let mut written = format!("{machine}\n");
    let mut worse = 0;
    for name in names {
        let millions = count(&name, &files) / 1e6 / (LONG - SHORT) as f64;
        writeln!(written, "{millions:.2}\t{name}").unwrap();
        let known = table.lines().skip(1).find_map(|line| {
            let (known, row) = line.split_once('\t')?;
            (row == name).then(|| known.parse::<f64>().unwrap())
        });
        let ratio = known.map(|known| millions / known);
        let verdict = match ratio {
            Some(ratio) => format!("{:+.1} %", (ratio - 1.0) * 100.0),
            None if writes => String::new(),
            None => "not in the table: run with --write".to_owned(),
        };
        println!("{name:<52} {millions:>8.2} million a second of audio {verdict}");
        worse += usize::from(is_comparable && ratio.is_none_or(|ratio| ratio > MOST));
    }
    if writes {
        std::fs::write(TABLE, written).unwrap();
    }
    if worse > 0 {
        println!("{worse} rows need more than {TABLE} says, by more than 3 %, or are not in it");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What counts depend on beside the code: compiler, profile and vector registers, as valgrind's processor has them.
fn machine() -> String {
    let compiler = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    let compiler = compiler.map_or_else(|_| "an unknown compiler".to_owned(), |output| text(&output.stdout));
    // `target/PROFILE/deps/instructions-HASH`
    let program = std::env::current_exe().unwrap();
    let profile = program.ancestors().nth(2).and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
    #[cfg(target_arch = "x86_64")]
    let registers = if std::arch::is_x86_feature_detected!("avx2") { "AVX2" } else { "SSE2" };
    #[cfg(not(target_arch = "x86_64"))]
    let registers = std::env::consts::ARCH;
    format!("{}, {profile}, {registers}", compiler.trim())
}

/// How many more instructions a row needs for the long file than for the short one.
fn count(name: &str, files: &[PathBuf; 2]) -> f64 {
    let [short, long] = files.each_ref().map(|file| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().unwrap())
            .args(["--run", name])
            .arg(file)
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        // `==PID== Collected : 123456`
        let collected = said.lines().find_map(|line| line.split_once("Collected :")).unwrap().1;
        collected.trim().parse::<f64>().unwrap()
    });
    long - short
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
