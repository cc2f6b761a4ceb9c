//! Whole files: read from blobs, analysed in parts, stored or failed with a reason.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod world;

use antiphon_analysis::store::{self, Recording, SourceKind, Status, SummaryValue};
use antiphon_analysis::{messages, plan, topics};
use antiphon_catalog::SongId;
use antiphon_catalog::messages::Song;
use antiphon_platform::queue::Message;
use axum::body::Body;
use futures::stream;
use prost::Message as _;
use serde_json::json;
use world::{NOW, World, eventually, flac_file, wav_file};

/// Uploads a file; the id of the song.
async fn send(world: &World, file: Vec<u8>) -> SongId {
    let answer = world.call("POST", "/api/v1/songs", &world.operator, &[], Body::from(file)).await.expect(202);
    answer["id"].as_str().unwrap().parse().unwrap()
}

async fn publish(world: &World, id: SongId, blob: String, plan: messages::Plan) {
    let song = Song {
        id: bytes::Bytes::copy_from_slice(id.as_bytes()),
        blob,
        plan: plan.encode_to_vec().into(),
        accepted_at: NOW,
    };
    let message = Message {
        id: id.to_string(),
        kind: String::from("antiphon.song.v1"),
        source: format!("songs/{id}"),
        time: NOW,
        trace: String::new(),
        body: song.encode_to_vec().into(),
    };
    world.queue.publish(topics::SONGS, vec![message]).await.unwrap();
}

async fn row(world: &World, id: SongId) -> Option<Recording> {
    store::recording(&mut world.database.read().await.unwrap(), id.as_bytes()).await.unwrap()
}

async fn settled(world: &World, id: SongId) -> Recording {
    eventually("the song is settled", || async {
        row(world, id).await.is_some_and(|found| found.status != Status::Accepted)
    })
    .await;
    row(world, id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_song_is_analysed_from_its_start_to_its_end() {
    let world = World::new().await;
    world.start();
    let id = send(&world, flac_file(44_100, 2, 12.5)).await;
    let stored = settled(&world, id).await;
    assert_eq!((stored.status, stored.start, stored.finish), (Status::Stored, 0, 12_500_000));
    let song = world.get(&format!("/api/v1/songs/{id}")).await.expect(200);
    assert_eq!((&song["status"], &song["duration"]), (&json!("stored"), &json!(12.5)));
    let mut tx = world.database.read().await.unwrap();
    let source = store::source(&mut tx, SourceKind::Song, &id.to_string()).await.unwrap().unwrap();
    let summaries = store::summaries(&mut tx, source.id).await.unwrap();
    let integrated = summaries.iter().find(|summary| summary.algorithm == "loudness" && summary.output == "integrated");
    assert!(matches!(integrated.unwrap().value, SummaryValue::Number(_)), "{summaries:?}");
    let layers = store::layers_of(&mut tx, source.id).await.unwrap();
    for algorithm in ["level", "loudness", "mel"] {
        assert!(layers.iter().any(|layer| layer.algorithm == algorithm), "{algorithm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_song_that_breaks_off_is_kept_as_far_as_it_decodes() {
    let world = World::new().await;
    world.start();
    let mut file = wav_file(8_000, 1, 10.0);
    file.truncate(44 + 16_000 * 3);
    let failed = settled(&world, send(&world, file).await).await;
    assert_eq!((failed.status, failed.finish, failed.partial), (Status::Failed, 3_000_000, true));
    assert!(failed.reason.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_song_without_its_file_and_a_plan_of_another_build_are_set_aside() {
    let world = World::new().await;
    world.start_without_dead_letters();
    let mut dead = world.queue.consume_dead(topics::ANALYZE_SONGS, 2).await.unwrap();
    let id = SongId::derive(&[7; 32]);
    publish(&world, id, String::from("songs/gone"), plan::of_song(1, &plan::song_default())).await;
    let delivery = dead.next().await.unwrap();
    assert!(delivery.death.as_ref().unwrap().reason.contains("songs/gone"));
    delivery.ack().await.unwrap();

    let mut other = plan::of_song(1, &plan::song_default());
    other.items[0].version += 1;
    let bytes = bytes::Bytes::from(wav_file(8_000, 1, 1.0));
    world.blobs.put("songs/here", Box::pin(stream::once(async { Ok(bytes) }))).await.unwrap();
    publish(&world, id, String::from("songs/here"), other).await;
    let delivery = dead.next().await.unwrap();
    assert!(delivery.death.as_ref().unwrap().reason.contains("version"));
    delivery.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_song_is_analysed_again_when_its_plan_gains_something() {
    let world = World::new().await;
    world.start();
    let id = send(&world, flac_file(44_100, 2, 12.5)).await;
    let first = settled(&world, id).await;
    let path = format!("/api/v1/songs/{id}");
    let frames = format!("{path}/features?features=level.a&resolution=frame");
    world.get(&frames).await.refused(400, Some("resolution"));
    let levels = format!("{path}/features?features=level&resolution=1s");
    let before = world.get(&levels).await.expect(200);
    let mut plan = plan::named("level,loudness").unwrap();
    plan[0].frames = true;
    store::reanalysis::run(&world.database, &world.clock, &plan, 1).await.unwrap();
    eventually("its new results are stored", || async {
        assert_eq!(world.get(&path).await.expect(200)["status"], "stored", "the old ones answer until then");
        world.get(&frames).await.status == 200
    })
    .await;
    let rows = world.get(&frames).await.expect(200)["rows"].as_array().unwrap().len();
    assert_eq!(rows, 100, "8 a second");
    let after = world.get(&levels).await.expect(200);
    assert_eq!(after["rows"], before["rows"], "what both plans have is the same");
    assert_ne!(after["revision"], before["revision"]);
    let second = row(&world, id).await.unwrap();
    assert!(second.plan_version > first.plan_version && second.finish == first.finish, "{second:?}");
    let step = store::reanalysis::step(&world.database, &world.clock, &plan, 1).await.unwrap();
    assert_eq!(step, store::reanalysis::Step::default(), "once is enough");
}
