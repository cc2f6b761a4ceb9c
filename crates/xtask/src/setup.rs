//! What the tests need from the machine: programs and real audio, from Debian's packages.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// A package, and a path that shows that it is there.
const PACKAGES: [(&str, &str); 3] = [
    ("ffmpeg", "/usr/bin/ffmpeg"),
    ("wesnoth-1.16-music", "/usr/share/games/wesnoth/1.16/data/core/music"),
    ("sonic-pi-samples", "/usr/share/sonic-pi/samples"),
];

/// Installs what is missing, as root or by sudo without a password; otherwise prints the one line to run and exits 2.
pub fn run() -> Result<()> {
    let missing: Vec<&str> =
        PACKAGES.iter().filter(|(_, path)| !Path::new(path).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get update && apt-get install -y --no-install-recommends {}", missing.join(" "));
    println!("installing {}", missing.join(", "));
    let shell: &[&str] = if is_root()? { &["sh", "-c"] } else { &["sudo", "-n", "sh", "-c"] };
    let installed = Command::new(shell[0])
        .args(&shell[1..])
        .arg(&line)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !installed {
        eprintln!("the tests need {}; run this once:\n  sudo sh -c '{line}'", missing.join(", "));
        std::process::exit(2);
    }
    Ok(())
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("cannot run id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}
