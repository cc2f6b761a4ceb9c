//! What the guides say to record with: each recipe gives every sample, where its program is here. The microphone is a
//! file behind ALSA's own plug-in, a signal that ffmpeg makes, or whatever PipeWire has.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use antiphon_audio::decode::{Decoder, Limits};
use support::beside::wait_until;
use support::recorder::{RATE, microphone, spawn, spooled, stop};
use support::{command, wav};

/// Nobody listens there: pieces stay in the spool, where they are looked at.
const NOBODY: &str = "http://127.0.0.1:1";

/// Whether a program is here; says so when it is not.
fn is_here(program: &str, package: &str) -> bool {
    let is_here = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !is_here {
        eprintln!("SKIPPED: no {program} here (Debian's package {package}); its recipe was not tried");
    }
    is_here
}

/// A recorder of sensor `roof` with no server; its standard input is `input`.
fn recorder(data: &Path, arguments: &[&str], environment: &[(&str, &str)], input: Stdio) -> std::process::Child {
    let always = ["sensor", "record", "roof", "--server", NOBODY, "--piece", "1", "--lead-in", "0"];
    spawn(command(data, &[&always, arguments].concat(), environment).stdin(input))
}

/// What was recorded, as one: the pieces of the spool.
fn samples(data: &Path) -> Vec<i32> {
    let mut samples = Vec::new();
    for path in spooled(&data.join("spool/roof"), "flac") {
        let mut decoder = Decoder::from_bytes(std::fs::read(path).unwrap().into(), Limits::default()).unwrap();
        while let Some(block) = decoder.next_integers().unwrap() {
            samples.extend_from_slice(block.channels()[0]);
        }
    }
    samples
}

/// Records three pieces, the first of which may be short, and stops as Ctrl-C does; what was recorded, and what was said.
fn listen(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (Vec<i32>, String) {
    let recorder = recorder(data, arguments, environment, Stdio::null());
    wait_until(|| spooled(&data.join("spool/roof"), "flac").len(), |pieces| *pieces >= 3);
    let said = stop(recorder);
    (samples(data), said)
}

fn as_samples(pcm: &[u8]) -> Vec<i32> {
    pcm.chunks_exact(2).map(|sample| i32::from(i16::from_le_bytes([sample[0], sample[1]]))).collect()
}

/// Two recordings of one microphone are the same up to where the shorter ends.
fn assert_same(recorded: &[i32], heard: &[i32], seconds: usize) {
    assert!(recorded.len() >= seconds * RATE, "{} samples", recorded.len());
    let length = recorded.len().min(heard.len());
    assert!(recorded[..length] == heard[..length], "the samples differ");
}

#[test]
fn a_sound_card_by_alsa() {
    if !is_here("arecord", "alsa-utils") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = microphone(folder.path(), 1, 20);
    let settings = folder.path().join("asound.conf");
    let card =
        format!("pcm.microphone {{ type file slave.pcm null file /dev/null infile {} format raw }}\n", file.display());
    std::fs::write(&settings, card).unwrap();
    let path = format!("/usr/share/alsa/alsa.conf:{}", settings.display());
    let heard = as_samples(&std::fs::read(&file).unwrap());
    let recipes: [&[&str]; 2] = [
        &["--input", "alsa:microphone", "--rate", "16000"],
        &["--input", "arecord -q -D microphone -f S16_LE -r 16000 -c 1 -t raw", "--rate", "16000"],
    ];
    for (number, recipe) in recipes.into_iter().enumerate() {
        let data = folder.path().join(format!("data-{number}"));
        let (recorded, said) = listen(&data, recipe, &[("ALSA_CONFIG_PATH", &path)]);
        assert!(said.contains("recording PCM, 16000 Hz, 1 channel, 16 bit"), "{said}");
        assert_same(&recorded, &heard, 2);
    }
    // A card that is not there is told at once, and by arecord in its own words.
    let none = recorder(&folder.path().join("none"), &["--input", "alsa:nothing"], &[], Stdio::null());
    let none = none.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert_eq!(none.status.code(), Some(2), "{said}");
    assert!(said.contains("arecord -D nothing") && said.contains("ended with exit status"), "{said}");
}

#[test]
fn whatever_ffmpeg_can_read() {
    if !is_here("ffmpeg", "ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = "ffmpeg -v error -re -f lavfi -i sine=frequency=440:sample_rate=16000";
    let whole = Command::new("sh").args(["-c", &format!("{} -t 20 -f s16le -", source.replace("-re ", ""))]).output();
    let heard = as_samples(&whole.unwrap().stdout);
    assert_eq!(heard.len(), 20 * RATE);
    let (recorded, said) = listen(&folder.path().join("data"), &["--input", &format!("{source} -f wav -")], &[]);
    assert!(said.contains("recording PCM, 16000 Hz"), "{said}");
    assert_same(&recorded, &heard, 2);
}

#[test]
fn a_pipe_of_wav() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = folder.path().join("four.wav");
    let wav = wav(2, RATE as u32, 4 * RATE);
    std::fs::write(&file, &wav).unwrap();
    let recorder = recorder(&data, &[], &[], std::fs::File::open(&file).unwrap().into());
    let heard = as_samples(&wav[44..]);
    wait_until(|| samples(&data).len(), |length| *length == heard.len());
    let said = stop(recorder);
    assert!(said.contains("is played in real time"), "{said}");
    assert_same(&samples(&data), &heard, 4);
}

#[test]
fn whatever_pipewire_has() {
    if !is_here("pw-record", "pipewire-bin") {
        return;
    }
    let answers = Command::new("pw-cli").args(["info", "0"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !answers.is_ok_and(|answer| answer.success()) {
        eprintln!("SKIPPED: no PipeWire runs here; its recipe was not tried");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = std::env::var("XDG_RUNTIME_DIR").unwrap_or_default();
    let input = "pw-record --rate 16000 --channels 1 --format s16 -";
    let recipe = ["--input", input, "--rate", "16000"];
    let (recorded, said) = listen(&folder.path().join("data"), &recipe, &[("XDG_RUNTIME_DIR", &runtime)]);
    assert!(recorded.len() >= 2 * RATE, "{said}");
}
