//! The scripts that make the golden values, run again on a sample of the signals: the packages still say what is compared with.
//!
//! `cargo xtask test` and `cargo xtask servers` install the packages.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `make.py --check --sample` for files in a folder, of one script or of all.
fn check(folder: &Path, script: Option<&str>) -> Output {
    // `crates/xtask/src/setup.rs` makes it.
    let python = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/golden-values/bin/python"));
    assert!(python.is_file(), "{} is not there: run `cargo xtask servers` once", python.display());
    let program = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/make.py"));
    let mut command = Command::new(python);
    command.args(["-B".as_ref(), program, "--check".as_ref(), "--sample".as_ref(), "--folder".as_ref(), folder]);
    // librosa's compiled functions are kept on disk by numba: what a process left half written there breaks all later ones.
    let compiled = tempfile::tempdir().unwrap();
    command.args(script).env("NUMBA_CACHE_DIR", compiled.path()).output().unwrap()
}

fn golden() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/golden"))
}

#[test]
fn packages_say_what_the_golden_files_hold() {
    let output = check(&golden(), None);
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{}: {wrong}", output.status);
    let files = golden().read_dir().unwrap().count();
    assert_eq!(
        said.lines().filter(|line| line.contains("largest difference")).count(),
        files,
        "each file once: {said}"
    );
}

#[test]
fn a_golden_file_that_was_changed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["waveform_rms.f32", "waveform_zero_crossing_rate.f32"];
    for name in names {
        std::fs::copy(golden().join(name), folder.path().join(name)).unwrap();
    }
    assert!(check(folder.path(), Some("waveform")).status.success(), "unchanged files are right");
    let changed = folder.path().join(names[0]);
    let mut values = std::fs::read(&changed).unwrap();
    // Every value a thousandth larger, wherever the sample may lie.
    for value in values.as_chunks_mut::<4>().0 {
        *value = (1.001 * f32::from_le_bytes(*value)).to_le_bytes();
    }
    std::fs::write(&changed, &values).unwrap();
    let output = check(folder.path(), Some("waveform"));
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && wrong.contains(names[0]) && !wrong.contains(names[1]), "{wrong}");
    std::fs::write(&changed, &values[4..]).unwrap();
    let wrong = String::from_utf8_lossy(&check(folder.path(), Some("waveform")).stderr).into_owned();
    assert!(wrong.contains("numbers for"), "a length that does not fit: {wrong}");
}
