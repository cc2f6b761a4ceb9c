//! The inbox of a whole system on embedded engines: killed at each step of admitting, and fed by a radio stream that is cut.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use antiphon_analysis::messages::Offer;
use antiphon_analysis::topics::INBOX;
use antiphon_platform::clock::Clock;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Message, Queue};
use antiphon_servers::Icecast;
use prost::Message as _;
use serde_json::{Value, json};
use support::{Client, MAY, PATIENCE, command, rfc3339, start, wav};

const SECOND: i64 = 1_000_000;

/// Publishes a second of audio as a sensor would.
async fn publish(data: &Path, start: i64, audio: &[u8]) {
    let access = Access { publish: vec![INBOX], consume: vec![], dead: vec![] };
    let queue = FileQueue::open(&data.join("queue"), access, Clock::system()).await.unwrap();
    let offer = Offer { start, lead_in: 0, audio: audio.to_vec().into(), title: String::from("Rain") };
    let message = Message {
        id: String::new(),
        kind: String::from("antiphon.offer.v1"),
        source: String::from("sensors/roof"),
        time: 0,
        trace: String::new(),
        body: offer.encode_to_vec().into(),
    };
    queue.publish(INBOX, vec![message]).await.unwrap();
    queue.close().await;
}

/// Asks until an answer is as it should be.
fn eventually(client: &Client, url: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = client.get(url).unwrap().json();
        if is_right(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{url}: {answer}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_it_admits_each_recording_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = ["up", "--listen", "127.0.0.1:0"];
    let antiphon = start(&data, &up, &[]);
    let client = Client::operator(&data);
    let sensors = format!("{}/api/v1/sensors", antiphon.url());
    assert_eq!(client.post_json(&sensors, &json!({"id": "roof"})).status, 201);
    let kept = client.send(
        "PATCH",
        &format!("{sensors}/roof"),
        &[("content-type", "application/json")],
        br#"{"retention": {"audio_days": 1}}"#,
    );
    assert_eq!(kept.unwrap().status, 200);
    assert!(antiphon.stop().success());
    let steps = ["accept.after-confirm-before-row", "admit.after-effect-before-ack", "media.after-blob-before-publish"];
    for (number, step) in (0..).zip(steps) {
        let mut dying = start(&data, &up, &[("ANTIPHON_CRASH_POINT", step)]);
        publish(&data, MAY + number * SECOND, &wav(number as u64, 16_000, 16_000)).await;
        dying.wait_for_end();
        let antiphon = start(&data, &up, &[]);
        let range = format!("from={}&to={}", rfc3339(MAY), rfc3339(MAY + 10 * SECOND));
        let list = format!("{}/api/v1/sensors/roof/recordings?{range}", antiphon.url());
        let count = number as usize + 1;
        let recordings = eventually(&client, &list, |list| {
            let items = list["items"].as_array().unwrap();
            items.len() >= count && items.iter().all(|item| item["status"] == "stored")
        });
        assert_eq!(recordings["items"].as_array().unwrap().len(), count, "{step}");
        let last = recordings["items"][number as usize]["id"].as_str().unwrap();
        let audio = client.get(&format!("{}/api/v1/recordings/{last}/audio", antiphon.url())).unwrap();
        assert_eq!((audio.status, audio.body), (200, wav(number as u64, 16_000, 16_000)), "{step}");
        let titles = format!("{}/api/v1/sensors/roof/annotations?{range}&types=title", antiphon.url());
        let title = client.get(&titles).unwrap().json()["items"][0].clone();
        let heard = (rfc3339(MAY), rfc3339(MAY + (number + 1) * SECOND));
        assert_eq!((title["label"].as_str(), title["from"].as_str()), (Some("Rain"), Some(heard.0.as_str())));
        assert_eq!(title["to"].as_str(), Some(heard.1.as_str()), "one title over all pieces");
        assert!(antiphon.stop().success());
    }
}

/// ffmpeg that plays a tone to Icecast; killed when dropped.
struct Source(Child);

impl Source {
    fn start(icecast: &Icecast) -> Self {
        let child = Command::new("ffmpeg")
            .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "sine=frequency=440"])
            .args(["-c:a", "libmp3lame", "-b:a", "64k", "-content_type", "audio/mpeg", "-f", "mp3"])
            .arg(icecast.source_url("live"))
            .stdin(Stdio::null())
            .spawn()
            .expect("ffmpeg is not installed: run `cargo xtask servers` once");
        Self(child)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_radio_stream_is_a_sensor_whose_cut_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let icecast = Icecast::start();
    let source = Source::start(&icecast);
    // On this address nobody may be reached: 127.0.0.1 is allowed, no other.
    let private = TcpListener::bind("127.0.0.2:0").unwrap();
    private.set_nonblocking(true).unwrap();
    let streams = format!("radio={}/live,secret=http://me:hush@{}/x", icecast.url(), private.local_addr().unwrap());
    let settings = [("ANTIPHON_RECEIVE__STREAMS", streams.as_str()), ("ANTIPHON_RECEIVE__ALLOW", "127.0.0.1")];
    let shown = command(&data, &["config", "show"], &settings).output().unwrap();
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("hush"), "{shown:?}");
    let antiphon = start(&data, &["up", "--listen", "127.0.0.1:0"], &settings);
    let client = Client::operator(&data);
    let sensors = format!("{}/api/v1/sensors", antiphon.url());
    for sensor in ["radio", "secret"] {
        assert_eq!(client.post_json(&sensors, &json!({ "id": sensor })).status, 201);
    }
    let radio = format!("{sensors}/radio");
    let heard = |least: f64| eventually(&client, &radio, |view| view["seconds_today"].as_f64().unwrap() >= least);
    let live = heard(6.0);
    assert_eq!(live["status"], "live");
    drop(source);
    let stopped = Clock::system().now();
    let before = live["seconds_today"].as_f64().unwrap();
    std::thread::park_timeout(Duration::from_secs(5));
    let _source = Source::start(&icecast);
    let deadline = Instant::now() + PATIENCE;
    while !icecast.streams("live") {
        assert!(Instant::now() < deadline, "the stream does not come back");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let again = Clock::system().now();
    heard(before + 12.0);
    let (from, to) = (rfc3339(stopped - 2 * SECOND), rfc3339(again + 3 * SECOND));
    let gaps = client.get(&format!("{radio}/gaps?from={from}&to={to}")).unwrap().json();
    let gap = &gaps["items"][0];
    let time = |name: &str| antiphon_platform::http::time::parse(gap[name].as_str().unwrap()).unwrap();
    println!("cut from {} to {}: {gaps}", rfc3339(stopped), rfc3339(again));
    assert_eq!(gaps["items"].as_array().unwrap().len(), 1, "{gaps}");
    // The station's and the network's buffers make what is heard late by less than this.
    let tolerance = 1_500_000;
    assert!((time("from") - stopped).abs() < tolerance && (time("to") - again).abs() < tolerance, "{gaps}");

    assert_eq!(client.get(&format!("{sensors}/secret")).unwrap().json()["status"], "never");
    assert!(private.accept().is_err(), "a private address was reached");
    let log = antiphon.log();
    assert!(log.contains("127.0.0.2, a private or special address"), "{log}");
    assert!(!log.contains("hush"), "a password is in the log");
    assert!(antiphon.stop().success());
}
