//! Sensors over HTTP, AMQP and MQTT at once, on a real broker: one truth; and what a sensor's account may not do there.

#![cfg(feature = "amqp")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use antiphon_analysis::messages::Offer;
use antiphon_analysis::topics::{INBOX, RECORDINGS};
use antiphon_platform::clock::Clock;
use antiphon_platform::queue::amqp::AmqpQueue;
use antiphon_platform::queue::{Access, Message, Queue, QueueError, Topic};
use antiphon_servers::{ADMIN, ADMIN_PASSWORD, RabbitMq, VirtualHost};
use prost::Message as _;
use serde_json::{Value, json};
use support::{Antiphon, Client, PATIENCE, command, rfc3339, start, wav};

const RATE: u32 = 16_000;
const SECOND: i64 = 1_000_000;

/// One second of audio, and when it was heard.
struct Sent {
    start: i64,
    lead_in: u32,
    audio: Vec<u8>,
}

/// Seconds in a row that ended just now, with a lead-in each and one of them missing.
fn recordings() -> Vec<Sent> {
    let first = Clock::system().now() / SECOND * SECOND - 12 * SECOND;
    (0..10)
        .filter(|number| *number != 4)
        .map(|number| {
            let (lead_in, samples) = if number == 0 { (0, RATE) } else { (500_000, RATE * 3 / 2) };
            Sent { start: first + number * SECOND, lead_in, audio: wav(number as u64, RATE, samples as usize) }
        })
        .collect()
}

impl Sent {
    fn offer(&self) -> Vec<u8> {
        let audio = self.audio.clone().into();
        Offer { start: self.start, lead_in: self.lead_in, audio, title: String::new() }.encode_to_vec()
    }

    fn post(&self, client: &Client, url: &str, sensor: &str) -> Value {
        let lead_in = f64::from(self.lead_in) / 1e6;
        let start = rfc3339(self.start);
        let path = format!("{url}/api/v1/sensors/{sensor}/recordings?start={start}&lead_in={lead_in}");
        let answer = client.send("POST", &path, &[], &self.audio).unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()
    }
}

/// Publishes over MQTT with an account of a sensor; how `mosquitto_pub` ended.
fn mqtt(vhost: &VirtualHost<'_>, account: (&str, &str), topic: &str, body: &[u8]) -> ExitStatus {
    let address = RabbitMq::shared().mqtt_address();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), body).unwrap();
    let user = format!("{}:{}", vhost.name(), account.0);
    Command::new("mosquitto_pub")
        .args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-V", "mqttv311", "-q", "1"])
        .args(["-u", &user, "-P", account.1, "-t", topic, "-f"])
        .arg(file.path())
        .output()
        .expect("mosquitto_pub is not installed: run `cargo xtask servers` once")
        .status
}

/// A handle with a sensor's own account.
async fn amqp(vhost: &VirtualHost<'_>, account: (&str, &str), publish: &[Topic]) -> AmqpQueue {
    let access = Access { publish: publish.to_vec(), consume: vec![], dead: vec![] };
    AmqpQueue::open(vhost.url_of(account.0, account.1), access, Clock::system()).await.unwrap()
}

fn message(sensor: &str, sent: &Sent) -> Message {
    Message {
        id: String::new(),
        kind: String::from("antiphon.offer.v1"),
        source: format!("sensors/{sensor}"),
        // A sensor may say what it likes of itself.
        time: 1,
        trace: String::new(),
        body: sent.offer().into(),
    }
}

/// `antiphon sensor broker`: makes an account; its password.
fn account(data: &Path, vhost: &VirtualHost<'_>, sensor: &str) -> String {
    let management = RabbitMq::shared().management_url().replace("://", &format!("://{ADMIN}:{ADMIN_PASSWORD}@"));
    let settings = [("ANTIPHON_QUEUE__MANAGEMENT_URL", management.as_str())];
    let output = command(data, &["sensor", "broker", sensor, "--vhost", vhost.name()], &settings).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let password = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert!(password.len() >= 32 && !said.contains(&password), "{said}");
    password
}

fn up(data: &Path, vhost: &VirtualHost<'_>) -> Antiphon {
    start(data, &["up", "--listen", "127.0.0.1:0"], &[("ANTIPHON_QUEUE__URL", &vhost.url())])
}

/// Waits until a list of the API has so many items.
fn items(client: &Client, url: &str, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = client.get(url).unwrap().json()["items"].as_array().unwrap().clone();
        if list.len() >= count {
            return list;
        }
        assert!(Instant::now() < deadline, "{url} has {} of {count}: {list:?}", list.len());
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

fn stored(client: &Client, url: &str, sensor: &str, sent: &[Sent]) -> Vec<Value> {
    let (from, to) = (rfc3339(sent[0].start), rfc3339(sent[sent.len() - 1].start + 2 * SECOND));
    let list = items(client, &format!("{url}/api/v1/sensors/{sensor}/recordings?from={from}&to={to}"), sent.len());
    for item in &list {
        let path = format!("{url}/api/v1/recordings/{}?wait=30", item["id"].as_str().unwrap());
        assert_eq!(client.get(&path).unwrap().json()["status"], "stored");
    }
    list
}

/// What is answered about a sensor, without its name and what differs by the moment.
fn seen(client: &Client, url: &str, sensor: &str, sent: &[Sent]) -> (Value, Value) {
    let (from, to) = (rfc3339(sent[0].start), rfc3339(sent[sent.len() - 1].start + 2 * SECOND));
    let path =
        format!("{url}/api/v1/sensors/{sensor}/features?from={from}&to={to}&features=level,loudness&resolution=1s");
    let mut features = client.get(&path).unwrap().json();
    for own in ["source", "revision"] {
        features.as_object_mut().unwrap().remove(own).unwrap();
    }
    let health = client.get(&format!("{url}/api/v1/sensors/{sensor}")).unwrap().json();
    assert!((0..30_000).contains(&health["clock_skew_ms"].as_i64().unwrap()), "{sensor}: {health}");
    let same = ["status", "last_heard", "seconds_today", "gaps_today"];
    (same.iter().map(|name| (*name, health[*name].clone())).collect(), features)
}

#[tokio::test(flavor = "multi_thread")]
async fn http_amqp_and_mqtt_are_one_truth() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let vhost = RabbitMq::shared().vhost();
    let antiphon = up(&data, &vhost);
    let (client, url) = (Client::operator(&data), antiphon.url());
    for sensor in ["http", "amqp", "mqtt", "json", "all"] {
        assert_eq!(client.post_json(&format!("{url}/api/v1/sensors"), &json!({ "id": sensor })).status, 201);
    }
    let passwords = ["amqp", "mqtt", "json", "all"].map(|sensor| account(&data, &vhost, sensor));
    let sent = recordings();
    let by_amqp = amqp(&vhost, ("sensor-amqp", &passwords[0]), &[INBOX]).await;
    let all_by_amqp = amqp(&vhost, ("sensor-all", &passwords[3]), &[INBOX]).await;
    for sent in &sent {
        sent.post(&client, url, "http");
        by_amqp.publish(INBOX, vec![message("amqp", sent)]).await.unwrap();
        assert!(mqtt(&vhost, ("sensor-mqtt", &passwords[1]), "sensors/mqtt/recordings", &sent.offer()).success());
        let text = json!({"timestamp": rfc3339(sent.start), "lead_in": f64::from(sent.lead_in) / 1e6,
            "audio_data": data_encoding::BASE64.encode(&sent.audio)});
        let text = text.to_string();
        assert!(mqtt(&vhost, ("sensor-json", &passwords[2]), "sensors/json/recordings", text.as_bytes()).success());
        // One sensor that uses every way sends everything three times.
        all_by_amqp.publish(INBOX, vec![message("all", sent)]).await.unwrap();
        assert!(mqtt(&vhost, ("sensor-all", &passwords[3]), "sensors/all/recordings", &sent.offer()).success());
        sent.post(&client, url, "all");
    }
    for sensor in ["http", "amqp", "mqtt", "json", "all"] {
        assert_eq!(stored(&client, url, sensor, &sent).len(), sent.len(), "{sensor}");
    }
    for sent in &sent {
        assert_eq!(sent.post(&client, url, "mqtt")["duplicate"], true);
        assert_eq!(sent.post(&client, url, "all")["duplicate"], true);
    }
    let http = seen(&client, url, "http", &sent);
    assert_eq!(http.1["rows"].as_array().unwrap().len(), sent.len());
    for sensor in ["amqp", "mqtt", "json", "all"] {
        assert_eq!(seen(&client, url, sensor, &sent), http, "{sensor}");
    }
    assert_eq!(client.get(&format!("{url}/api/v1/dead-letters")).unwrap().json()["items"], json!([]));

    // What HTTP would refuse is set aside with a reason.
    let refused: [&[u8]; 3] =
        [b"no audio at all", br#"{"sensor_id": "roof", "timestamp": "2026-05-01T00:00:00Z", "audio_data": ""}"#, b""];
    for body in refused {
        assert!(mqtt(&vhost, ("sensor-mqtt", &passwords[1]), "sensors/mqtt/recordings", body).success());
    }
    let letters = items(&client, &format!("{url}/api/v1/dead-letters"), refused.len());
    let reasons: Vec<&str> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    for expected in ["neither JSON nor", "the routing key says mqtt", "no bytes of audio"] {
        assert!(reasons.iter().any(|reason| reason.contains(expected)), "{expected}: {reasons:?}");
    }
    assert!(antiphon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_sends_for_its_own_sensor_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let vhost = RabbitMq::shared().vhost();
    // Before the queue is there no account is made: what it published would be acknowledged and lost.
    let management = RabbitMq::shared().management_url().replace("://", &format!("://{ADMIN}:{ADMIN_PASSWORD}@"));
    let settings = [("ANTIPHON_QUEUE__MANAGEMENT_URL", management.as_str())];
    let early = command(&data, &["sensor", "broker", "roof", "--vhost", vhost.name()], &settings).output().unwrap();
    assert!(
        !early.status.success() && String::from_utf8_lossy(&early.stderr).contains("antiphon prepare"),
        "{early:?}"
    );

    let antiphon = up(&data, &vhost);
    let password = account(&data, &vhost, "roof");
    let account = ("sensor-roof", password.as_str());
    let sent = &recordings()[0];
    assert!(mqtt(&vhost, account, "sensors/roof/recordings", &sent.offer()).success());
    for topic in ["sensors/yard/recordings", "sensors/roof/recordings/x", "antiphon/recordings"] {
        assert!(!mqtt(&vhost, account, topic, &sent.offer()).success(), "{topic}");
    }
    assert!(!mqtt(&vhost, ("sensor-roof", "wrong"), "sensors/roof/recordings", &sent.offer()).success());
    let handle = amqp(&vhost, account, &[INBOX, RECORDINGS]).await;
    handle.publish(INBOX, vec![message("roof", sent)]).await.unwrap();
    for (topic, sensor) in [(INBOX, "yard"), (RECORDINGS, "roof")] {
        let refused = handle.publish(topic, vec![message(sensor, sent)]).await;
        assert!(matches!(refused, Err(QueueError::NotPermitted(_) | QueueError::Unavailable(_))), "{refused:?}");
    }
    // Refused by the broker, not by the inbox: nothing but the sensor's own message was looked at.
    let client = Client::operator(&data);
    let letters = items(&client, &format!("{}/api/v1/dead-letters", antiphon.url()), 2);
    assert!(letters.iter().all(|letter| letter["source"] == "sensors/roof"), "{letters:?}");
    assert!(antiphon.stop().success());
}

#[test]
fn without_a_management_the_commands_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let settings = [("ANTIPHON_QUEUE__URL", "amqp://host/audio")];
    let output = command(&data, &["sensor", "broker", "roof"], &settings).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("rabbitmqctl add_user sensor-roof "), "{printed}");
    assert!(
        printed.contains(r"rabbitmqctl set_permissions -p audio sensor-roof '^$' '^amq\.topic$' '^$'"),
        "{printed}"
    );
    assert!(printed.contains(r"-p audio sensor-roof amq.topic '^sensors\.roof\.recordings$' '^$'"), "{printed}");
}
