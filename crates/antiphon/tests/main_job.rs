//! The main job on real input: more than an hour of music from Debian's packages, as WAV and FLAC, goes in by `ingest`,
//! by `sensor record` and by simulated sensors at once, and comes out by the range query: through `up` and through
//! separate role processes, with equal answers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Antiphon, Client, MAY, command, rfc3339, start};

const MUSIC: &str = "/usr/share/games/wesnoth/1.16/data/core/music";
const SAMPLES: &str = "/usr/share/sonic-pi/samples";

/// Real audio, converted once for both runs.
struct Input {
    /// FLAC, 44.1 kHz stereo, and the short samples as they are: goes in by `ingest`.
    songs: PathBuf,
    /// WAV, 16 kHz mono: what two simulated sensors hear.
    heard: Vec<Vec<PathBuf>>,
    /// WAV, 48 kHz stereo: what is recorded from standard input.
    recorded: PathBuf,
    seconds: f64,
}

fn seconds_of(file: &Path) -> f64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn convert(from: &Path, to: &Path, options: &[&str]) {
    let status =
        Command::new("ffmpeg").args(["-v", "error", "-y", "-i"]).arg(from).args(options).arg(to).status().unwrap();
    assert!(status.success(), "ffmpeg {}", from.display());
}

fn input(folder: &Path) -> Input {
    let mut music: Vec<PathBuf> = std::fs::read_dir(MUSIC)
        .expect("wesnoth-1.16-music is installed by `cargo xtask test`")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ogg"))
        .collect();
    music.sort();
    let songs = folder.join("songs");
    std::fs::create_dir_all(songs.join("samples")).unwrap();
    let mut input = Input { songs, heard: vec![vec![], vec![]], recorded: folder.join("recorded.wav"), seconds: 0.0 };
    convert(&music[0], &input.recorded, &["-ar", "48000", "-ac", "2"]);
    input.seconds += seconds_of(&input.recorded);
    for (index, file) in music.iter().enumerate().skip(1) {
        if input.seconds >= 3_650.0 {
            break;
        }
        let name = file.file_stem().unwrap().to_str().unwrap();
        let target = if index % 3 == 0 {
            let target = input.songs.join(format!("{name}.flac"));
            convert(file, &target, &["-ar", "44100", "-ac", "2", "-sample_fmt", "s16"]);
            target
        } else {
            let target = folder.join(format!("{name}.wav"));
            convert(file, &target, &["-ar", "16000", "-ac", "1"]);
            input.heard[index % 3 - 1].push(target.clone());
            target
        };
        input.seconds += seconds_of(&target);
    }
    let mut samples: Vec<PathBuf> =
        std::fs::read_dir(SAMPLES).expect("sonic-pi-samples is installed").map(|entry| entry.unwrap().path()).collect();
    samples.sort();
    for sample in samples.iter().filter(|path| path.extension().is_some_and(|extension| extension == "flac")).take(20) {
        std::fs::copy(sample, input.songs.join("samples").join(sample.file_name().unwrap())).unwrap();
    }
    std::fs::write(input.songs.join("notes.txt"), "no audio").unwrap();
    assert!(input.seconds >= 3_600.0, "only {} s of audio", input.seconds);
    input
}

/// Runs a command of the binary against `url` to its end; its standard output.
fn run(data: &Path, url: &str, arguments: &[&str], files: &[PathBuf]) -> String {
    let key_file = data.join("operator.key");
    let mut process = command(data, arguments, &[("ANTIPHON_SERVER", url)]);
    let output = process.arg("--key-file").arg(key_file).args(files).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {} {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// All of it in, at once; everything that a client can ask out.
fn answers(input: &Input, data: &Path, url: &str, query_url: &str) -> BTreeMap<String, String> {
    let client = Client::operator(data);
    for sensor in ["street", "garden", "line-in"] {
        run(data, url, &["sensor", "add", sensor], &[]);
    }
    let start_time = rfc3339(MAY + 123_457);
    let ingested = std::thread::scope(|scope| {
        for (sensor, files) in ["street", "garden"].iter().zip(&input.heard) {
            let arguments = ["sensor", "simulate", sensor, "--start", &start_time, "--speed", "max"].map(str::to_owned);
            scope.spawn(move || run(data, url, &arguments.each_ref().map(String::as_str), files));
        }
        let arguments = ["sensor", "record", "line-in", "--start", &start_time, "--input"].map(str::to_owned);
        let program = format!("cat {}", input.recorded.display());
        scope.spawn(move || {
            let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            arguments.push(&program);
            run(data, url, &arguments, &[])
        });
        scope.spawn(|| run(data, url, &["ingest", "--json"], std::slice::from_ref(&input.songs))).join().unwrap()
    });
    let lines: Vec<serde_json::Value> = ingested.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 20, "{ingested}");
    let mut all = BTreeMap::new();
    let mut ask = |path: String| {
        let answer = client.get(&format!("{query_url}/api/v1/{path}")).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        all.insert(path, String::from_utf8(answer.body).unwrap());
    };
    for line in &lines {
        assert_eq!(line["status"], "stored", "{line}");
        let id = line["id"].as_str().unwrap();
        ask(format!("songs/{id}/summary"));
        ask(format!("songs/{id}/annotations"));
        for resolution in ["1s", "10s", "1m"] {
            ask(format!(
                "songs/{id}/features?features=level,loudness,mel&resolution={resolution}&stat=leq,max,mean,l10"
            ));
        }
    }
    let range = format!("from={start_time}&to={}", rfc3339(MAY + 7_200_000_000));
    for sensor in ["street", "garden", "line-in"] {
        wait_until_all_stored(&client, url, sensor);
        ask(format!("sensors/{sensor}/gaps?{range}"));
        ask(format!("sensors/{sensor}/annotations?{range}"));
        for resolution in ["1s", "10s", "1m", "10m", "1h", "1d", "auto"] {
            ask(format!(
                "sensors/{sensor}/features?{range}&features=level,loudness&resolution={resolution}&stat=leq,min,max,l90"
            ));
        }
    }
    all
}

/// Everything that this sensor sent is accepted already; waits until it is stored too.
fn wait_until_all_stored(client: &Client, url: &str, sensor: &str) {
    let range = format!("from={}&to={}", rfc3339(MAY - 60_000_000), rfc3339(MAY + 7_200_000_000));
    let listed = client.get(&format!("{url}/api/v1/sensors/{sensor}/recordings?{range}&limit=1000")).unwrap().json();
    let items = listed["items"].as_array().unwrap();
    assert!(!items.is_empty(), "{sensor} sent nothing");
    for item in items {
        let id = item["id"].as_str().unwrap();
        loop {
            let status = client.get(&format!("{url}/api/v1/recordings/{id}?wait=30")).unwrap().json();
            match status["status"].as_str() {
                Some("stored") => break,
                Some("accepted") => {}
                _ => panic!("{status}"),
            }
        }
    }
}

#[test]
fn an_hour_of_music_goes_in_by_every_way_and_comes_out_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let input = input(folder.path());

    let one = folder.path().join("up");
    let up = start(&one, &["up", "--listen", "127.0.0.1:0"], &[]);
    let through_up = answers(&input, &one, up.url(), up.url());
    drop(up);

    let many = folder.path().join("roles");
    let api = start(&many, &["run", "api", "--listen", "127.0.0.1:0"], &[]);
    let others: Vec<Antiphon> = ["analyze", "analyze", "analyze-songs", "media", "write", "relay"]
        .iter()
        .map(|role| start(&many, &["run", role], &[]))
        .collect();
    let query = start(&many, &["run", "query", "--listen", "127.0.0.1:0"], &[]);
    let through_roles = answers(&input, &many, api.url(), query.url());
    drop((api, others, query));

    assert_eq!(through_up.len(), through_roles.len());
    for (path, answer) in &through_up {
        assert_eq!(answer, &through_roles[path], "{path}");
    }
    let street = &through_up.iter().find(|(path, _)| path.contains("street/gaps")).unwrap().1;
    println!("{:.0} s of audio, {} answers equal; {street}", input.seconds, through_up.len());
}
