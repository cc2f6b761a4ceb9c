//! `examples/notebook` at work: a simulated day of a street, and the notebook asks a server for it.
//!
//! Its pictures are those of docs/guides/notebook.md. `NOTEBOOK_PICTURES=write cargo test -p antiphon --test notebook`
//! makes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use antiphon_analysis::ids::RecordingId;
use antiphon_analysis::messages::Block;
use antiphon_analysis::topics::{ALL, RESULTS};
use antiphon_audio::encode::{PcmFormat, Samples};
use antiphon_platform::clock::Clock;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Message, Queue};
use antiphon_servers::notebook_folder;
use serde_json::json;
use support::{Client, MAY, Numbers, PATIENCE, results, rfc3339, start};

/// Samples per second: bands up to 8 kHz.
const RATE: u32 = 22_050;
const MINUTE: i64 = 60_000_000;
/// Midnight of 1 May 2026 in Vienna, two hours before that of UTC.
const MIDNIGHT: i64 = MAY - 120 * MINUTE;
/// Minutes of the day in which the sensor was away, from and to.
const AWAY: [(i64, i64); 2] = [(130, 165), (665, 667)];
/// When a siren goes by, and a thunderstorm has its loudest minute.
const SIREN: i64 = 8 * 60 + 17;
const THUNDER: i64 = 17 * 60 + 42;

/// What is heard in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scene {
    /// Cars that pass.
    cars: u32,
    /// Birds that sing.
    birds: u32,
    /// How hard it rains, 0 to 2.
    rain: u32,
    event: Option<Event>,
    /// One of several takes of the same.
    take: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Siren,
    Thunder,
    Bells,
}

/// What is heard in a minute of the day.
fn scene(minute: i64, numbers: &mut Numbers) -> Scene {
    let hour = minute as f64 / 60.0;
    let hump = |at: f64, width: f64| (-((hour - at) / width).powi(2)).exp();
    let traffic = 0.4 + 9.0 * hump(8.0, 1.3) + 10.0 * hump(17.3, 1.8) + 5.0 * hump(12.5, 4.5) + 2.0 * hump(21.5, 1.5);
    let song = 4.0 * hump(5.4, 0.9) + 1.5 * hump(20.2, 0.7) + 0.7 * hump(12.0, 6.0);
    let storm = 2.4 * hump(17.6, 0.45) + if (13.4..14.3).contains(&hour) { 1.0 } else { 0.0 };
    // Whole numbers that are right on the average.
    let mut about = |wanted: f64| (wanted + numbers.below(1_000) as f64 / 1_000.0) as u32;
    let event = match minute {
        SIREN => Some(Event::Siren),
        THUNDER => Some(Event::Thunder),
        _ if minute % 60 == 0 && (7..22).contains(&(minute / 60)) => Some(Event::Bells),
        _ => None,
    };
    let (cars, birds, rain) = (about(traffic).min(12), about(song).min(4), about(storm).min(2));
    Scene { cars, birds, rain, event, take: numbers.below(2) }
}

/// The sound of a scene: 60 s.
fn sound(scene: Scene) -> Vec<f32> {
    let Scene { cars, birds, rain, event, take } = scene;
    let mut numbers = Numbers(take * 1_000 + u64::from(cars) * 100 + u64::from(birds) * 10 + u64::from(rain));
    let length = RATE as usize * 60;
    let mut share = || numbers.below(1_000_000) as f64 / 1e6;
    let mut sound: Vec<f64> = vec![0.0; length];
    // The town far away: noise, the louder the lower.
    let (mut slow, mut fast) = (0.0, 0.0);
    for sample in &mut sound {
        let noise = share() - 0.5;
        slow += 0.004 * (noise - slow);
        fast += 0.1 * (noise - fast);
        *sample = 0.08 * slow + 0.0006 * fast + 0.0002 * noise + f64::from(rain) * 0.02 * (noise - fast);
    }
    for _ in 0..cars {
        // Tyres and engine, for some seconds around the time at which it is nearest.
        let (at, near, pitch) = (share() * 60.0, 0.02 + 0.05 * share(), 60.0 + 40.0 * share());
        let mut tyres = 0.0;
        for (number, sample) in sound.iter_mut().enumerate() {
            let time = number as f64 / f64::from(RATE);
            let nearness = near / (1.0 + ((time - at) / 1.2).powi(2));
            tyres += 0.25 * (share() - 0.5 - tyres);
            *sample += nearness * (2.0 * tyres + 0.3 * (TAU * pitch * time).sin());
        }
    }
    for _ in 0..birds * 12 {
        // A note that bends, a tenth of a second long.
        let (at, low, bend) = (share() * 59.5, 2_600.0 + 2_800.0 * share(), 3_000.0 * (share() - 0.4));
        let first = (at * f64::from(RATE)) as usize;
        for (number, sample) in sound[first..].iter_mut().take(RATE as usize / 8).enumerate() {
            let time = number as f64 / f64::from(RATE);
            *sample += 0.02 * (TAU * 4.0 * time).sin().abs() * (TAU * (low + bend * time) * time).sin();
        }
    }
    let is_within = |time: f64, from: f64, to: f64| (from..to).contains(&time);
    for (number, sample) in sound.iter_mut().enumerate() {
        let time = number as f64 / f64::from(RATE);
        *sample += match event {
            Some(Event::Siren) if is_within(time, 10.0, 40.0) => {
                let pitch = if time % 1.4 < 0.7 { 435.0 } else { 580.0 };
                0.5 * (TAU * pitch * time).sin() / (1.0 + ((time - 25.0) / 6.0).powi(2))
            }
            Some(Event::Thunder) if is_within(time, 20.0, 32.0) => {
                0.9 * (TAU * 230.0 * time).sin() * (TAU * 41.0 * time).sin() * (-(time - 20.0) / 5.0).exp()
            }
            Some(Event::Bells) if is_within(time, 0.0, 24.0) => {
                0.03 * (TAU * 523.0 * time).sin() * (-(time % 2.0) * 1.5).exp()
            }
            _ => 0.0,
        };
    }
    sound.into_iter().map(|sample| sample.clamp(-1.0, 1.0) as f32).collect()
}

/// What the workers would find in a scene.
fn blocks(scene: Scene) -> Vec<Block> {
    let format = PcmFormat { rate: RATE, channels: 1, bits: 16, float: false };
    let wav = antiphon_audio::encode::wav(&format, Samples::Floats(&sound(scene))).unwrap();
    results::blocks(&["level"], RATE, MAY, &wav)
}

/// The results of a day, minute by minute; each scene is analysed once, on all cores.
fn day() -> Vec<Message> {
    let mut numbers = Numbers(5);
    let scenes: Vec<(i64, Scene)> = (0..1_440)
        .map(|minute| (minute, scene(minute, &mut numbers)))
        .filter(|(minute, _)| !AWAY.iter().any(|(from, to)| (from..to).contains(&minute)))
        .collect();
    let mut different: Vec<Scene> = scenes.iter().map(|(_, scene)| *scene).collect();
    different.sort_unstable();
    different.dedup();
    println!("{} scenes", different.len());
    let found: BTreeMap<Scene, Vec<Block>> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let shares = different.chunks(different.len().div_ceil(threads));
        let working: Vec<_> = shares
            .map(|share| scope.spawn(|| share.iter().map(|scene| (*scene, blocks(*scene))).collect::<Vec<_>>()))
            .collect();
        working.into_iter().flat_map(|share| share.join().unwrap()).collect()
    });
    let message = |(minute, scene): (i64, Scene)| {
        let minute = MIDNIGHT / MINUTE + minute;
        let mut id = minute.to_be_bytes().to_vec();
        id.resize(20, 1);
        let blocks = found[&scene].iter().map(|block| Block { minute, ..block.clone() }).collect();
        let range = (minute * MINUTE, (minute + 1) * MINUTE);
        results::message("street", RecordingId::try_from(id.as_slice()).unwrap(), range, RATE, blocks)
    };
    scenes.into_iter().map(message).collect()
}

fn example() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/notebook"))
}

fn pictures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/notebook"))
}

fn make(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let python = notebook_folder().join("bin/python");
    assert!(python.is_file(), "{} is not there: run `cargo xtask servers` once", python.display());
    let mut command = Command::new(python);
    command.arg("-B").arg(example().join("make.py")).args(arguments).envs(environment.iter().copied());
    command.env("MPLCONFIGDIR", std::env::temp_dir()).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_notebook_is_made_of_its_script() {
    said(&make(&["check"], &[]));
}

#[test]
fn the_notebook_finds_what_was_in_the_day() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[]);
    let operator = Client::operator(&data);
    let sensor = json!({"id": "street", "name": "A street", "timezone": "Europe/Vienna"});
    assert_eq!(operator.post_json(&format!("{}/api/v1/sensors", up.url()), &sensor).status, 201);
    let key = operator.post_json(&format!("{}/api/v1/keys", up.url()), &json!({"role": "reader"}));
    let key = key.json()["key"].as_str().unwrap().to_owned();
    let messages = day();
    let stored = messages.len();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let access = Access { publish: vec![RESULTS], consume: vec![], dead: vec![] };
        let queue = FileQueue::open(&data.join("queue"), access, Clock::system()).await.unwrap();
        queue.declare(&ALL).await.unwrap();
        queue.publish(RESULTS, messages).await.unwrap();
    });
    let range = format!("from={}&to={}", rfc3339(MIDNIGHT), rfc3339(MIDNIGHT + 1_440 * MINUTE));
    let minutes = format!("{}/api/v1/sensors/street/features?{range}&resolution=1m", up.url());
    let deadline = Instant::now() + PATIENCE;
    while operator.get(&minutes).unwrap().json()["rows"].as_array().unwrap().len() < stored {
        assert!(Instant::now() < deadline, "the day is not stored");
        std::thread::park_timeout(Duration::from_millis(100));
    }

    let fresh = folder.path().join("pictures");
    std::fs::create_dir(&fresh).unwrap();
    let environment = [("ANTIPHON_SERVER", up.url()), ("ANTIPHON_KEY", key.as_str())];
    let text = said(&make(&["run", fresh.to_str().unwrap()], &environment));
    println!("{text}");
    for expected in [
        // The types of the columns, the units, the gaps, and who is loudest.
        "datetime64[us, UTC]",
        "float32",
        "'unit': 'dBFS'",
        "'version': '1'",
        "0 days 00:35:00",
        "0 days 00:02:00",
        "2026-05-01 08:17:00",
        "2026-05-01 17:42:00",
    ] {
        assert!(text.contains(expected), "{expected} is missing");
    }
    let difference = text.split("largest difference to the server's: ").nth(1).unwrap();
    let difference: f64 = difference.split(' ').next().unwrap().parse().unwrap();
    assert!(difference < 0.001, "hours of minutes are hours: {difference} dB");

    for name in ["level-per-hour.png", "spectrogram-of-a-day.png"] {
        let (fresh, kept) = (fresh.join(name), pictures().join(name));
        if std::env::var_os("NOTEBOOK_PICTURES").is_some() {
            std::fs::create_dir_all(pictures()).unwrap();
            std::fs::copy(&fresh, &kept).unwrap();
        }
        assert!(std::fs::metadata(&kept).unwrap().len() < 100_000, "{name} is not small");
        let (fresh, kept) = (pixels(&fresh), pixels(&kept));
        assert_eq!(fresh.0, kept.0, "{name} has another size");
        let difference: u64 = fresh.1.iter().zip(&kept.1).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = difference as f64 / fresh.1.len() as f64;
        // On another processor a value may round to the next colour; another day or design is far more.
        assert!(mean < 0.5, "{name} in docs/guides/notebook is another picture: {mean} of 255 levels apart");
    }
}

/// Width and height, and the bytes of all pixels.
fn pixels(path: &Path) -> ((u32, u32), Vec<u8>) {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    bytes.truncate(frame.buffer_size());
    ((frame.width, frame.height), bytes)
}
