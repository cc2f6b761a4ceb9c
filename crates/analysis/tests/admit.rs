//! Sensors that publish to the queue themselves: one truth with those over HTTP, and refusals with the same words.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use antiphon_analysis::admit::{self, OFFER_KIND};
use antiphon_analysis::ids::{RecordingId, audio_digest};
use antiphon_analysis::{messages, topics};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::queue::{Consumer, Depth, Group, Message, Queue, QueueError, Topic};
use async_trait::async_trait;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use world::{NOW, World, at, eventually, flac_file, wav_file};

/// What a sensor publishes, as the queue's engines hand it over: they make the source of the routing key.
fn published(sensor: &str, kind: &str, body: Vec<u8>) -> Message {
    Message {
        id: String::new(),
        kind: kind.to_owned(),
        source: format!("sensors/{sensor}"),
        time: 0,
        trace: String::new(),
        body: body.into(),
    }
}

fn offer(sensor: &str, start: Micros, lead_in: u32, audio: &[u8]) -> Message {
    let offer = messages::Offer { start, lead_in, audio: audio.to_vec().into(), title: String::new() };
    published(sensor, OFFER_KIND, offer.encode_to_vec())
}

fn id_of(sensor: &str, start: Micros, lead_in: u32, audio: &[u8]) -> String {
    RecordingId::derive(sensor, start, lead_in, &audio_digest(audio)).to_string()
}

/// Starts role `admit` on a queue; it ends with the test's runtime.
fn admit_from(world: &World, queue: Arc<dyn Queue>) {
    tokio::spawn(admit::run(world.database.clone(), queue, world.clock.clone(), CancellationToken::new()));
}

async fn publish(world: &World, message: Message) {
    world.queue.publish(topics::INBOX, vec![message]).await.unwrap();
}

async fn admitted(world: &World) {
    eventually("the inbox is empty", || async {
        let depths = world.queue.depths().await.unwrap();
        depths.iter().any(|depth| depth.group == "admit" && depth.waiting + depth.in_flight == 0)
    })
    .await;
}

/// The sensor's health, and what a range query answers, without the sensor's name.
async fn seen(world: &World, sensor: &str) -> (Value, Value) {
    let mut health = world.get(&format!("/api/v1/sensors/{sensor}")).await.expect(200);
    for own in ["id", "created_at"] {
        health.as_object_mut().unwrap().remove(own);
    }
    let range = format!("from={}&to={}", at(NOW - 60 * SECOND), at(NOW));
    let path = format!("/api/v1/sensors/{sensor}/features?{range}&features=level&resolution=1s");
    let mut features = world.get(&path).await.expect(200);
    for own in ["source", "revision"] {
        features.as_object_mut().unwrap().remove(own);
    }
    (health, features)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_queue_and_over_http_is_one_truth() {
    let world = World::new().await;
    world.start();
    admit_from(&world, Arc::clone(&world.queue));
    for sensor in ["http", "queue", "json"] {
        world.sensor(sensor).await;
    }
    for number in 0..4 {
        let start = NOW - (20 - number) * SECOND;
        let (lead_in, audio) =
            if number == 0 { (0, wav_file(16_000, 1, 1.0)) } else { (250_000, flac_file(16_000, 1, 1.25)) };
        let seconds = if lead_in == 0 { "0" } else { "0.25" };
        world.recording("http", &at(start), seconds, audio.clone()).await;
        publish(&world, offer("queue", start, lead_in, &audio)).await;
        let text =
            json!({"timestamp": at(start), "lead_in": f64::from(lead_in) / 1e6, "audio_data": STANDARD.encode(&audio)});
        publish(&world, published("json", "", text.to_string().into_bytes())).await;
        admitted(&world).await;
        for sensor in ["queue", "json"] {
            let id = id_of(sensor, start, lead_in, &audio);
            assert_eq!(world.settled(&id).await["status"], "stored");
            let path = format!("/api/v1/sensors/{sensor}/recordings?start={}&lead_in={seconds}", at(start));
            let again = world.call("POST", &path, &world.operator, &[], Body::from(audio.clone())).await.expect(202);
            assert_eq!((&again["id"], &again["duplicate"]), (&json!(id), &json!(true)));
        }
    }
    let http = seen(&world, "http").await;
    assert_eq!(http.0["status"], "live");
    assert_eq!(http.1["rows"].as_array().unwrap().len(), 4);
    assert_eq!(http, seen(&world, "queue").await);
    assert_eq!(http, seen(&world, "json").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_counts_as_arrived_when_the_queue_had_it() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    let (start, audio) = (NOW - 3 * SECOND, wav_file(16_000, 1, 1.0));
    publish(&world, Message { time: NOW - SECOND, ..offer("roof", start, 0, &audio) }).await;
    // It waits for a minute until somebody admits it.
    world.clock.advance(60 * SECOND);
    admit_from(&world, Arc::clone(&world.queue));
    admitted(&world).await;
    let stored = world.settled(&id_of("roof", start, 0, &audio)).await;
    assert_eq!(stored["accepted_at"], at(NOW - SECOND));
    assert_eq!(world.get("/api/v1/sensors/roof").await.expect(200)["clock_skew_ms"], 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_http_would_refuse_is_set_aside_with_the_reason_and_never_stored() {
    let world = World::new().await;
    world.start();
    admit_from(&world, Arc::clone(&world.queue));
    world.sensor("roof").await;
    let audio = wav_file(16_000, 1, 1.0);
    let refused = [
        (offer("rooof", NOW, 0, &audio), "there is no sensor \"rooof\"; did you mean roof?"),
        (offer("roof", NOW + 7_200 * SECOND, 0, &audio), "start is more than an hour ahead"),
        (offer("roof", NOW, 5_000_001, &audio), "lead_in must be"),
        (offer("roof", NOW, 0, b""), "there are no bytes of audio"),
        (offer("roof", NOW, 0, b"<html>this is no audio</html>"), "not audio of a known format"),
        (offer("roof", NOW, 0, &wav_file(48_000, 2, 6.0)), "longer audio is taken by POST"),
        (published("roof", "application/json", b"{\"timestamp\":".to_vec()), "not JSON"),
        (published("roof", "com.example.order.v1", b"{}".to_vec()), "not for this queue"),
        (published("roof", "antiphon.offer.v7", b"x".to_vec()), "antiphon.offer.v7, which this version does not know"),
        (Message { source: String::new(), ..offer("roof", NOW, 0, &audio) }, "comes from no sensor"),
    ];
    let count = refused.len();
    for (message, _) in &refused {
        publish(&world, message.clone()).await;
    }
    eventually("every refusal is a dead letter", || async {
        world.get("/api/v1/dead-letters").await.expect(200)["items"].as_array().unwrap().len() == count
    })
    .await;
    let letters = world.get("/api/v1/dead-letters").await.expect(200);
    let reasons: Vec<&str> =
        letters["items"].as_array().unwrap().iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    for (_, reason) in &refused {
        assert!(reasons.iter().any(|found| found.contains(reason)), "{reason}: {reasons:?}");
    }
    assert!(letters["items"].as_array().unwrap().iter().all(|letter| letter["group"] == "admit"));
    let path = format!("/api/v1/sensors/roof/recordings?from={}&to={}", at(NOW - SECOND), at(NOW + 86_400 * SECOND));
    assert_eq!(world.get(&path).await.expect(200)["items"], json!([]));

    // A sensor that was added too late: its letter is replayed.
    world.sensor("rooof").await;
    let letter =
        letters["items"].as_array().unwrap().iter().find(|letter| letter["source"] == "sensors/rooof").unwrap();
    let path = format!("/api/v1/dead-letters/{}/replay", letter["id"].as_str().unwrap());
    world.send("POST", &path, json!({})).await.expect(202);
    let id = id_of("rooof", NOW, 0, &audio);
    eventually("the letter is admitted", || async {
        world.get(&format!("/api/v1/recordings/{id}")).await.status == 200
    })
    .await;
    assert_eq!(world.settled(&id).await["status"], "stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_that_is_to_be_kept_is_kept() {
    let world = World::new().await;
    world.start();
    admit_from(&world, Arc::clone(&world.queue));
    world.sensor("roof").await;
    world.send("PATCH", "/api/v1/sensors/roof", json!({"retention": {"audio_days": 7}})).await.expect(200);
    let audio = flac_file(16_000, 1, 1.0);
    publish(&world, offer("roof", NOW - SECOND, 0, &audio)).await;
    let id = id_of("roof", NOW - SECOND, 0, &audio);
    admitted(&world).await;
    assert_eq!(world.settled(&id).await["status"], "stored");
    let played = world.get(&format!("/api/v1/recordings/{id}/audio")).await;
    assert_eq!((played.status, played.body), (200, audio));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_twice_has_one_effect() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    let (start, audio) = (NOW - 2 * SECOND, wav_file(16_000, 1, 1.0));
    publish(&world, offer("roof", start, 0, &audio)).await;
    publish(&world, offer("roof", start, 0, &audio)).await;
    // One that was taken and lost before it was settled comes again.
    drop(world.queue.consume(topics::ADMIT, 1).await.unwrap().next().await.unwrap());
    admit_from(&world, Arc::clone(&world.queue));
    admitted(&world).await;
    assert_eq!(world.settled(&id_of("roof", start, 0, &audio)).await["status"], "stored");
    let path = format!("/api/v1/sensors/roof/recordings?from={}&to={}", at(NOW - 9 * SECOND), at(NOW));
    assert_eq!(world.get(&path).await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_fails_before_or_after_it_took_the_recording_costs_nothing() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    let faulty = Arc::new(Faulty { queue: Arc::clone(&world.queue), publishes: AtomicUsize::new(0) });
    admit_from(&world, Arc::clone(&faulty) as Arc<dyn Queue>);
    let (start, audio) = (NOW - 2 * SECOND, wav_file(16_000, 1, 1.0));
    publish(&world, offer("roof", start, 0, &audio)).await;
    admitted(&world).await;
    assert_eq!(faulty.publishes.load(Ordering::SeqCst), 3, "two failures and a success");
    assert_eq!(world.settled(&id_of("roof", start, 0, &audio)).await["status"], "stored");
    let path = format!("/api/v1/sensors/roof/recordings?from={}&to={}", at(NOW - 9 * SECOND), at(NOW));
    assert_eq!(world.get(&path).await.expect(200)["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.get("/api/v1/dead-letters").await.expect(200)["items"], json!([]));
}

/// A queue whose first publish fails, and whose second one happens all the same.
struct Faulty {
    queue: Arc<dyn Queue>,
    publishes: AtomicUsize,
}

#[async_trait]
impl Queue for Faulty {
    async fn publish(&self, topic: Topic, messages: Vec<Message>) -> Result<(), QueueError> {
        let unavailable = || QueueError::Unavailable(String::from("the test says so"));
        match self.publishes.fetch_add(1, Ordering::SeqCst) {
            0 => Err(unavailable()),
            1 => {
                self.queue.publish(topic, messages).await?;
                Err(unavailable())
            }
            _ => self.queue.publish(topic, messages).await,
        }
    }
    async fn declare(&self, groups: &[Group]) -> Result<(), QueueError> {
        self.queue.declare(groups).await
    }
    async fn publish_to_group(&self, group: Group, message: Message) -> Result<(), QueueError> {
        self.queue.publish_to_group(group, message).await
    }
    async fn consume(&self, group: Group, prefetch: usize) -> Result<Box<dyn Consumer>, QueueError> {
        self.queue.consume(group, prefetch).await
    }
    async fn consume_dead(&self, group: Group, prefetch: usize) -> Result<Box<dyn Consumer>, QueueError> {
        self.queue.consume_dead(group, prefetch).await
    }
    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        self.queue.depths().await
    }
    async fn check(&self) -> Result<(), QueueError> {
        self.queue.check().await
    }
}
