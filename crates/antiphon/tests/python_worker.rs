//! `examples/python-worker` at work: a program in another language takes part in the analysis, with an account that may
//! do what docs/guides/workers.md says and no more.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]
#![cfg(all(feature = "postgres", feature = "amqp"))]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use antiphon_servers::{Postgres, RabbitMq, VirtualHost, python_worker_folder};
use serde_json::{Value, json};
use support::system::{Folders, System};
use support::{Client, MAY, PATIENCE, rfc3339};

/// Samples per second, a multiple of ten: the frames of the feature then have equal lengths.
const RATE: usize = 22_050;

/// Seconds of each recording, and how many of them there are, one after the other.
const SECONDS: usize = 2;
const RECORDINGS: usize = 6;

const LEAD_IN: f64 = 0.5;

/// The feature by its definition, of a whole WAV file whose first sample lies on a second of the epoch.
const EXPECTED: &str = "
import json, sys, numpy, soundfile
samples, rate = soundfile.read(sys.argv[1])
frames = samples.reshape(-1, rate // 10)
power = numpy.abs(numpy.fft.rfft(frames * numpy.hanning(rate // 10), axis=1)) ** 2
hertz = numpy.fft.rfftfreq(rate // 10, 1 / rate)
shares = power[:, (hertz >= 2000) & (hertz < 8000)].sum(axis=1) / power.sum(axis=1)
seconds = shares.reshape(-1, 10)
print(json.dumps([seconds.mean(axis=1).tolist(), seconds.std(axis=1).tolist(), seconds.max(axis=1).tolist()]))
";

/// A running worker; killed when dropped.
struct Worker(Child);

impl Worker {
    fn start(url: &str, log: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(python())
            .arg(example().join("worker.py"))
            .env("ANTIPHON_QUEUE__URL", url)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn example() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python-worker"))
}

fn python() -> PathBuf {
    let python = python_worker_folder().join("bin/python");
    assert!(python.is_file(), "{} is not there: run `cargo xtask servers` once", python.display());
    python
}

/// Waits for a condition that other processes make true.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what}: it did not happen");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// An account of the worker's own, with the permissions that the guide names.
fn account(rabbitmq: &RabbitMq, vhost: &VirtualHost<'_>) -> String {
    let name = format!("birds-{}", vhost.name());
    rabbitmq.user(&name, "also-not-a-secret");
    let own = r"antiphon\.x-birds(\..+)?";
    vhost.permit(
        &name,
        &format!("^{own}$"),
        &format!(r"^({own}|antiphon\.results|antiphon\.descriptors)$"),
        &format!(r"^({own}|antiphon\.recordings|antiphon\.recordings\.to)$"),
    );
    vhost.url_of(&name, "also-not-a-secret")
}

/// A whistle that comes and goes over a hum: 16 bits, mono.
fn sound() -> Vec<i16> {
    let samples = 0..RATE * SECONDS * RECORDINGS;
    samples
        .map(|number| {
            let time = number as f64 / RATE as f64;
            let tone = |hertz: f64| (time * hertz * std::f64::consts::TAU).sin();
            let whistle = tone(3_000.0 + 100.0 * time) * (time * 2.3).sin().max(0.0);
            ((0.3 * whistle + 0.1 * tone(440.0) + 0.01 * tone(9_500.0)) * 32_767.0) as i16
        })
        .collect()
}

fn wav(samples: &[i16]) -> Vec<u8> {
    use antiphon_audio::encode::{PcmFormat, Samples, wav};
    let format = PcmFormat { rate: RATE as u32, channels: 1, bits: 16, float: false };
    let samples: Vec<i32> = samples.iter().map(|sample| i32::from(*sample)).collect();
    wav(&format, Samples::Integers(&samples)).unwrap()
}

/// Mean, standard deviation and largest value of each second.
fn expected(file: &Path) -> Vec<Vec<f64>> {
    let output = Command::new(python()).args(["-c", EXPECTED]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Sends the sound in pieces with lead-in; their ids.
fn send(client: &Client, url: &str, sound: &[i16]) -> Vec<String> {
    (0..RECORDINGS)
        .map(|number| {
            let first = number * SECONDS * RATE;
            let lead_in = if number == 0 { 0 } else { (LEAD_IN * RATE as f64) as usize };
            let start = rfc3339(MAY + (number * SECONDS) as i64 * 1_000_000);
            let lead_in_seconds = if number == 0 { 0.0 } else { LEAD_IN };
            let path = format!("{url}/api/v1/sensors/roof/recordings?start={start}&lead_in={lead_in_seconds}");
            let audio = wav(&sound[first - lead_in..first + SECONDS * RATE]);
            let answer = client.send("POST", &path, &[], &audio).unwrap();
            assert_eq!(answer.status, 202, "{}", answer.json());
            answer.json()["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

fn status(client: &Client, url: &str, id: &str) -> String {
    let answer = client.get(&format!("{url}/api/v1/recordings/{id}")).unwrap().json();
    answer["status"].as_str().unwrap_or("unknown").to_owned()
}

/// The cells of a CSV of the whole sound, without its header.
fn table(client: &Client, url: &str, query: &str) -> Vec<Vec<String>> {
    let to = rfc3339(MAY + (SECONDS * RECORDINGS) as i64 * 1_000_000);
    let path = format!("{url}/api/v1/sensors/roof/features?format=csv&from={}&to={to}&{query}", rfc3339(MAY));
    let answer = client.get(&path).unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 200, "{text}");
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn a_worker_in_python_computes_a_feature_and_loses_nothing_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (rabbitmq, postgres) = (RabbitMq::shared(), Postgres::shared());
    let (vhost, database) = (rabbitmq.vhost(), postgres.database());
    let environment = [("ANTIPHON_DATABASE__URL", database.url()), ("ANTIPHON_QUEUE__URL", vhost.url())];
    let environment = environment.map(|(name, value)| (name.to_owned(), value));
    let roles = ["api", "analyze", "write", "relay"];
    let system = System::start(&folder.path().join("data"), Folders::Shared, &environment, &roles);
    let (client, url) = (system.operator(), system.url());

    let broker = account(rabbitmq, &vhost);
    let log = folder.path().join("worker.log");
    let worker = Worker::start(&broker, &log);
    let algorithm = format!("{url}/api/v1/algorithms/x-birds.activity");
    eventually("the worker tells what it yields", || client.get(&algorithm).unwrap().status == 200);
    let sensor = json!({"id": "roof", "plan": [{"algorithm": "level"}, {"algorithm": "x-birds.activity"}]});
    let made = client.post_json(&format!("{url}/api/v1/sensors"), &sensor);
    assert_eq!(made.status, 201, "{}", made.json());

    // Held by a worker that does nothing any more, and then is no more.
    worker.signal("-STOP");
    let sound = sound();
    let ids = send(&client, &url, &sound);
    let held = || vhost.queue("antiphon.x-birds").and_then(|queue| queue["messages_unacknowledged"].as_u64());
    eventually("the worker holds all messages", || held() == Some(RECORDINGS as u64));
    eventually("our own features are there", || table(&client, &url, "resolution=1s").len() == SECONDS * RECORDINGS);
    assert!(ids.iter().all(|id| status(&client, &url, id) == "accepted"), "the group of the plan has not delivered");
    drop(worker);

    let _other = Worker::start(&broker, &log);
    eventually("every recording is stored", || ids.iter().all(|id| status(&client, &url, id) == "stored"));

    let file = folder.path().join("whole.wav");
    std::fs::write(&file, wav(&sound)).unwrap();
    let expected = expected(&file);
    let rows = table(&client, &url, "features=level.a,x-birds.activity&resolution=1s&stat=mean,stddev,max");
    assert_eq!(rows.len(), SECONDS * RECORDINGS);
    for (second, row) in rows.iter().enumerate() {
        assert!(row[2].parse::<f64>().unwrap() < 0.0, "the level is there too: {row:?}");
        for (cell, series) in row[3..].iter().zip(&expected) {
            let found: f64 = cell.parse().unwrap();
            assert!((found - series[second]).abs() < 1e-5, "second {second}: {found} instead of {}", series[second]);
        }
    }
    let mean = expected[0].iter().sum::<f64>() / expected[0].len() as f64;
    let whole = table(&client, &url, "features=x-birds&resolution=1m");
    assert!((whole[0][2].parse::<f64>().unwrap() - mean).abs() < 1e-5, "{whole:?} instead of {mean}");

    let letters =
        || client.get(&format!("{url}/api/v1/dead-letters")).unwrap().json()["items"].as_array().unwrap().clone();
    assert_eq!(letters(), Vec::<Value>::new(), "{}", std::fs::read_to_string(&log).unwrap());
    let rubbish =
        json!({"properties": {}, "routing_key": "x-birds", "payload": "rubbish", "payload_encoding": "string"});
    let path = format!("exchanges/{}/antiphon.recordings.to/publish", vhost.name());
    rabbitmq.manage("POST", &path, Some(&rubbish));
    eventually("what is no recording is set aside", || letters().len() == 1);
    let letter = &letters()[0];
    assert_eq!(letter["group"], "x-birds");
    assert!(letter["reason"].as_str().unwrap().starts_with("the message is no recording"), "{letter}");
    rabbitmq.remove_user(&format!("birds-{}", vhost.name()));
}
