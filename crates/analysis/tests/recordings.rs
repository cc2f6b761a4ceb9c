//! Recordings through the router and the workers: accepted, refused, followed, played; what broke and why.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod world;

use antiphon_analysis::ids::{RecordingId, audio_digest};
use antiphon_analysis::recordings::{self, audio_key};
use antiphon_analysis::store::retention;
use antiphon_analysis::{messages, sensors, topics};
use antiphon_audio::encode::{PcmFormat, Samples, wav};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::Statement;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use prost::Message as _;
use serde_json::json;
use world::{LIMIT, NOW, World, at, eventually, flac_file, sound, wav_file};

const HOUR: Micros = 3_600 * SECOND;

fn id_of(sensor: &str, start: Micros, lead_in: u32, audio: &[u8]) -> String {
    RecordingId::derive(sensor, start, lead_in, &audio_digest(audio)).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_is_stored_and_a_repeat_has_no_second_effect() {
    let world = World::new().await;
    world.start();
    let key = world.sensor("roof").await;
    let start = NOW - 5 * SECOND;
    let audio = wav_file(16_000, 1, 1.0);
    let path = format!("/api/v1/sensors/roof/recordings?start={}", at(start));
    let answer = world.call("POST", &path, &key, &[], Body::from(audio.clone())).await;
    let id = id_of("roof", start, 0, &audio);
    assert_eq!(answer.headers["location"], format!("/api/v1/recordings/{id}").as_str());
    let accepted = json!({"id": id, "sensor": "roof", "start": at(start), "status": "accepted", "duplicate": false});
    assert_eq!(answer.expect(202), accepted);
    let stored = world.settled(&id).await;
    assert_eq!(
        (&stored["status"], &stored["duration"], &stored["start"]),
        (&json!("stored"), &json!(1.0), &json!(at(start)))
    );
    assert!(stored["accepted_at"].is_string() && stored["stored_at"].is_string());
    assert!(stored.get("failed_at").is_none() && stored.get("reason").is_none() && stored.get("partial").is_none());

    let again = world.call("POST", &path, &key, &[], Body::from(audio.clone())).await.expect(202);
    assert_eq!((&again["id"], &again["duplicate"]), (&json!(id), &json!(true)));
    world.settled(&id).await;
    let with_lead_in = world.post("roof", &at(start), "0.5", audio.clone()).await.expect(202);
    assert_eq!(with_lead_in["id"], id_of("roof", start, 500_000, &audio));
    assert_eq!(world.settled(with_lead_in["id"].as_str().unwrap()).await["duration"], 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_says_the_same_as_bytes() {
    let world = World::new().await;
    let key = world.sensor("roof").await;
    let audio = flac_file(8_000, 1, 0.5);
    let start = NOW - SECOND;
    let id = id_of("roof", start, 250_000, &audio);
    for data in [STANDARD.encode(&audio), STANDARD_NO_PAD.encode(&audio)] {
        let body = json!({"sensor_id": "roof", "timestamp": at(start), "audio_data": data, "lead_in": 0.25});
        let headers = [("content-type", "application/json")];
        let answer = world.call("POST", "/api/v1/recordings", &key, &headers, Body::from(body.to_string())).await;
        assert_eq!(answer.expect(202)["id"], id);
    }
    let good = || json!({"sensor_id": "roof", "timestamp": at(start), "audio_data": STANDARD.encode(&audio)});
    let with = |field: &str, value: serde_json::Value| {
        let mut body = good();
        body[field] = value;
        world.send("POST", "/api/v1/recordings", body)
    };
    with("audio_data", json!("???")).await.refused(400, Some("audio_data"));
    with("audio_data", json!("")).await.refused(400, None);
    with("audio_data", json!(STANDARD.encode("no audio at all, but long enough to be looked at as a whole, it seems")))
        .await
        .refused(415, None);
    with("audio_data", json!(STANDARD.encode(vec![0; LIMIT + 1]))).await.refused(413, None);
    with("timestamp", json!("2026-05-01T00:00:00")).await.refused(400, Some("timestamp"));
    with("timestamp", json!(at(NOW + HOUR + SECOND))).await.refused(400, Some("timestamp"));
    with("lead_in", json!(5.1)).await.refused(400, Some("lead_in"));
    with("lead_in", json!(0.000_000_1)).await.refused(400, Some("lead_in"));
    with("lead_in", json!("1")).await.refused(400, Some("lead_in"));
    with("sensor_id", json!("rof")).await.refused(404, None);
    let nobodys = json!({"timestamp": at(start), "audio_data": STANDARD.encode(&audio)});
    world.send("POST", "/api/v1/recordings", nobodys).await.refused(400, Some("sensor_id"));
    let other = world.sensor("other").await;
    let headers = [("content-type", "application/json")];
    world.call("POST", "/api/v1/recordings", &other, &headers, Body::from(good().to_string())).await.refused(403, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_never_stored() {
    let world = World::new().await;
    world.sensor("roof").await;
    let audio = || wav_file(8_000, 1, 0.5);
    let start = at(NOW);
    world.post("rooof", &start, "0", audio()).await.refused(404, None);
    for bad in ["", "yesterday", "2026-05-01T00:00:00", "2026-05-01T00:00:60Z", "2026-05-01T00:00:00.0000001Z"] {
        world.post("roof", bad, "0", audio()).await.refused(400, Some("start"));
    }
    world.post("roof", &at(NOW + HOUR + 1), "0", audio()).await.refused(400, Some("start"));
    world.post("roof", "1969-12-31T23:59:59Z", "0", audio()).await.refused(400, Some("start"));
    for bad in ["-1", "5.000001", "0.0000001", "x", ""] {
        world.post("roof", &start, bad, audio()).await.refused(400, Some("lead_in"));
    }
    let unknown = format!("/api/v1/sensors/roof/recordings?start={start}&leadin=1");
    let problem =
        world.call("POST", &unknown, &world.operator, &[], Body::from(audio())).await.refused(400, Some("leadin"));
    assert_eq!(problem["hint"], "lead_in");
    world.post("roof", &start, "0", Vec::new()).await.refused(400, None);
    world
        .post("roof", &start, "0", b"<html>this is a page and no audio, however long it may be going on".to_vec())
        .await
        .refused(415, None);
    world.post("roof", &start, "0", vec![0; LIMIT + 1]).await.refused(413, None);
    world
        .call("POST", &format!("/api/v1/sensors/roof/recordings?start={start}"), "", &[], Body::from(audio()))
        .await
        .refused(401, None);
    let depths = world.queue.depths().await.unwrap();
    assert!(depths.iter().all(|depth| depth.waiting == 0), "{depths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_over_the_limit_is_refused_before_it_is_read() {
    let world = World::new().await;
    world.sensor("roof").await;
    let path = format!("/api/v1/sensors/roof/recordings?start={}", at(NOW));
    let never = || Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let length = (LIMIT + 1).to_string();
    let headers = [("content-length", length.as_str())];
    world.call("POST", &path, &world.operator, &headers, never()).await.refused(413, None);
    world.call("POST", &path, &world.operator, &[("content-length", "0")], never()).await.refused(400, None);
    let length = (LIMIT * 2).to_string();
    let headers = [("content-length", length.as_str()), ("content-type", "application/json")];
    world.call("POST", "/api/v1/recordings", &world.operator, &headers, never()).await.refused(413, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_to_an_hour_ahead_and_the_first_instant_of_1970_are_times() {
    let world = World::new().await;
    world.sensor("roof").await;
    world.post("roof", &at(NOW + HOUR), "0", wav_file(8_000, 1, 0.5)).await.expect(202);
    world.post("roof", "1970-01-01T00:00:00Z", "0", wav_file(8_000, 1, 0.5)).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_that_breaks_off_is_kept_as_far_as_it_decodes() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    let mut audio = flac_file(16_000, 1, 4.0);
    audio.truncate(audio.len() / 2);
    let failed = world.recording("roof", &at(NOW - 10 * SECOND), "0", audio).await;
    assert_eq!((&failed["status"], &failed["partial"]), (&json!("failed"), &json!(true)));
    let duration = failed["duration"].as_f64().unwrap();
    assert!((0.5..2.5).contains(&duration), "{failed}");
    assert!(failed["reason"].as_str().is_some_and(|reason| !reason.is_empty()) && failed["failed_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_or_is_all_lead_in_fails_with_a_reason() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    let mut rubbish = b"fLaC".to_vec();
    rubbish.extend(vec![0x55; 5_000]);
    let failed = world.recording("roof", &at(NOW - 10 * SECOND), "0", rubbish).await;
    assert_eq!((&failed["status"], &failed["duration"]), (&json!("failed"), &json!(null)));
    assert!(failed.get("partial").is_none());
    let failed = world.recording("roof", &at(NOW - 10 * SECOND), "1", wav_file(8_000, 1, 1.0)).await;
    assert_eq!(failed["status"], "failed");
    assert!(failed["reason"].as_str().unwrap().contains("lead-in"), "{failed}");
    let stored = world.recording("roof", &at(NOW - 5 * SECOND), "0", wav_file(8_000, 1, 1.0)).await;
    assert_eq!(stored["status"], "stored", "the queue goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_recording_is_cut_analysed_and_its_audio_let_go() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    let audio = wav_file(16_000, 1, 90.3);
    assert!(audio.len() > 1024 * 1024);
    let start = NOW - 100 * SECOND + 250_000;
    let id: RecordingId = id_of("roof", start, 0, &audio).parse().unwrap();
    let stored = world.recording("roof", &at(start), "0", audio).await;
    assert_eq!((&stored["status"], &stored["duration"]), (&json!("stored"), &json!(90.3)));
    eventually("the blob is deleted", || async { world.blobs.info(&audio_key(id)).await.is_err() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_recording_that_breaks_off_is_kept_as_far_as_it_decodes() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    let format = PcmFormat { rate: 16_000, channels: 2, bits: 16, float: false };
    let mut audio = wav(&format, Samples::Integers(&sound(16_000, 2, 40 * 16_000))).unwrap();
    audio.truncate(audio.len() - audio.len() / 4 - 1);
    let failed = world.recording("roof", &at(NOW - 60 * SECOND), "0", audio).await;
    assert_eq!((&failed["status"], &failed["partial"]), (&json!("failed"), &json!(true)));
    assert!(failed["reason"].is_string());
    let path = format!("/api/v1/recordings/{}", failed["id"].as_str().unwrap());
    eventually("the last piece is stored", || async {
        let duration = world.get(&path).await.expect(200)["duration"].as_f64().unwrap_or(0.0);
        (29.9..30.0).contains(&duration)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audio_of_a_long_recording_that_failed_waits_for_a_replay_until_its_letter_is_dropped() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    let mut audio = b"fLaC".to_vec();
    audio.extend(vec![0x55; 2 * 1024 * 1024]);
    let failed = world.recording("roof", &at(NOW - 60 * SECOND), "0", audio).await;
    assert_eq!(failed["status"], "failed");
    let key = audio_key(failed["id"].as_str().unwrap().parse().unwrap());
    let letters = world.get("/api/v1/dead-letters").await.expect(200);
    let letter = format!("/api/v1/dead-letters/{}", letters["items"][0]["id"].as_str().unwrap());
    assert_eq!(letters["items"][0]["group"], "media");
    let clean = async || retention::run(&world.database, &world.blobs, world.clock.now() + SECOND).await.unwrap();
    clean().await;
    assert!(world.blobs.info(&key).await.is_ok());
    world.delete(&letter).await.expect(204);
    clean().await;
    assert!(world.blobs.info(&key).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_is_played_while_retention_keeps_it() {
    let world = World::new().await;
    world.start();
    let key = world.sensor("roof").await;
    let other = world.sensor("other").await;
    let short = flac_file(8_000, 1, 1.0);
    let dropped = world.recording("roof", &at(NOW - 5 * SECOND), "0", short.clone()).await;
    let path = format!("/api/v1/recordings/{}/audio", dropped["id"].as_str().unwrap());
    world.get(&path).await.refused(404, None);
    let retention = json!({"retention": {"audio_days": 7}});
    world.send("PATCH", "/api/v1/sensors/roof", retention).await.expect(200);
    for audio in [flac_file(8_000, 1, 0.9), wav_file(16_000, 1, 60.0)] {
        let kept = world.recording("roof", &at(NOW - 70 * SECOND), "0", audio.clone()).await;
        let path = format!("/api/v1/recordings/{}/audio", kept["id"].as_str().unwrap());
        let whole = world.call("GET", &path, &key, &[], Body::empty()).await;
        assert_eq!((whole.status, whole.body == audio), (200, true));
        let media_type = if audio.starts_with(b"fLaC") { "audio/flac" } else { "audio/wav" };
        assert_eq!(whole.headers["content-type"], media_type);
        let part = world.call("GET", &path, &key, &[("range", "bytes=4-9")], Body::empty()).await;
        assert_eq!((part.status, part.body.as_slice()), (206, &audio[4..10]));
        assert_eq!(part.headers["content-range"], format!("bytes 4-9/{}", audio.len()).as_str());
        world.call("GET", &path, &other, &[], Body::empty()).await.refused(404, None);
    }
    world.get(&format!("{path}?x=1")).await.refused(400, Some("x"));
    world.get("/api/v1/recordings/rxyz/audio").await.refused(404, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_followed_by_who_may() {
    let world = World::new().await;
    let key = world.sensor("roof").await;
    let other = world.sensor("other").await;
    let accepted = world.post("roof", &at(NOW), "0", wav_file(8_000, 1, 0.5)).await.expect(202);
    let path = format!("/api/v1/recordings/{}", accepted["id"].as_str().unwrap());
    let view = world.call("GET", &path, &key, &[], Body::empty()).await.expect(200);
    assert_eq!((&view["status"], &view["duration"]), (&json!("accepted"), &json!(null)));
    assert!(view.get("stored_at").is_none());
    let nobody = format!("/api/v1/recordings/{}", id_of("roof", 0, 0, b""));
    let hidden = world.call("GET", &path, &other, &[], Body::empty()).await.refused(404, None);
    assert_eq!(hidden, world.call("GET", &nobody, &other, &[], Body::empty()).await.refused(404, None));
    for bad in ["-1", "31", "x"] {
        world.get(&format!("{path}?wait={bad}")).await.refused(400, Some("wait"));
        world.get(&format!("{nobody}?wait={bad}")).await.refused(404, None);
    }
    world.call("GET", &path, "", &[], Body::empty()).await.refused(401, None);
    assert_eq!(world.get(&format!("{path}?wait=0.1")).await.expect(200)["status"], "accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_waits_is_told_as_soon_as_it_is_stored() {
    let world = World::new().await;
    world.sensor("roof").await;
    let accepted = world.post("roof", &at(NOW), "0", wav_file(8_000, 1, 0.5)).await.expect(202);
    let path = format!("/api/v1/recordings/{}?wait=30", accepted["id"].as_str().unwrap());
    let (begun, view) = tokio::join!(async { world.start() }, world.get(&path));
    let () = begun;
    assert_eq!(view.expect(200)["status"], "stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_select_by_overlap_in_pages() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    for second in [0, 2, 4] {
        let stored =
            world.recording("roof", &at(NOW - 10 * SECOND + second * SECOND), "0", wav_file(8_000, 1, 2.0)).await;
        assert_eq!(stored["status"], "stored");
    }
    let list = async |from: Micros, to: Micros, more: &str| {
        let path = format!("/api/v1/sensors/roof/recordings?from={}&to={}{more}", at(from), at(to));
        world.get(&path).await.expect(200)
    };
    let starts = |page: &serde_json::Value| {
        page["items"].as_array().unwrap().iter().map(|r| r["start"].clone()).collect::<Vec<_>>()
    };
    let begin = NOW - 10 * SECOND;
    assert_eq!(starts(&list(begin + SECOND, begin + 2 * SECOND, "").await), [at(begin)]);
    assert_eq!(starts(&list(begin + SECOND, begin + 2 * SECOND + 1, "").await), [at(begin), at(begin + 2 * SECOND)]);
    assert_eq!(starts(&list(begin + 6 * SECOND, begin + 60 * SECOND, "").await), Vec::<String>::new());
    let page = list(begin, NOW, "&limit=2").await;
    assert_eq!(starts(&page), [at(begin), at(begin + 2 * SECOND)]);
    let rest = list(begin, NOW, &format!("&limit=2&cursor={}", page["next"].as_str().unwrap())).await;
    assert_eq!((starts(&rest), &rest["next"]), (vec![json!(at(begin + 4 * SECOND))], &json!(null)));
    world.get("/api/v1/sensors/roof/recordings").await.refused(400, Some("from"));
    world.get(&format!("/api/v1/sensors/nobody/recordings?from={}&to={}", at(0), at(1))).await.refused(404, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn known_sensors_go_on_while_the_database_is_away() {
    let world = World::new().await;
    let key = world.sensor("roof").await;
    let path = |second: i64| format!("/api/v1/sensors/roof/recordings?start={}", at(NOW + second * SECOND));
    let send =
        async |second: i64| world.call("POST", &path(second), &key, &[], Body::from(wav_file(8_000, 1, 0.5))).await;
    send(0).await.expect(202);
    // A database whose tables are gone answers every statement of ours with an error.
    let mut transaction = world.database.write().await.unwrap();
    for text in [
        "alter table sensors rename to sensors_away",
        "alter table recordings rename to recordings_away",
        "alter table api_keys rename to api_keys_away",
    ] {
        transaction.execute(&Statement { name: "away", text }, &[]).await.unwrap();
    }
    transaction.commit().await.unwrap();
    send(1).await.expect(202);
    world.clock.advance(59 * SECOND);
    send(2).await.expect(202);
    assert_eq!(waiting_for_analysis(&world).await, 3);
    world.clock.advance(2 * SECOND);
    assert!(send(3).await.status >= 500, "after a minute nobody knows whether it is still welcome");
    assert_eq!(waiting_for_analysis(&world).await, 3);
}

async fn waiting_for_analysis(world: &World) -> u64 {
    let depths = world.queue.depths().await.unwrap();
    depths.iter().find(|depth| depth.group == topics::ANALYZE.name).unwrap().waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_takes_the_plan_of_its_time() {
    let world = World::new().await;
    world.sensor("roof").await;
    // A plan counts from its time on once something was heard.
    let heard = world.post("roof", &at(NOW - 10 * SECOND), "0", wav_file(8_000, 1, 0.5)).await.expect(202);
    let heard = format!("/api/v1/recordings/{}", heard["id"].as_str().unwrap());
    eventually("its row is there", || async { world.get(&heard).await.status == 200 }).await;
    let mut consumer = world.queue.consume(topics::ANALYZE, 2).await.unwrap();
    consumer.next().await.unwrap().ack().await.unwrap();
    world.clock.advance(100 * SECOND);
    let plan = json!({"plan": [{"algorithm": "silence"}], "calibration": 94.0});
    world.send("PATCH", "/api/v1/sensors/roof", plan).await.expect(200);
    for (start, version, algorithms, calibration) in
        [(NOW, 1, 4, None), (NOW + 99 * SECOND, 1, 4, None), (NOW + 100 * SECOND, 2, 1, Some(94.0))]
    {
        world.post("roof", &at(start), "0", wav_file(8_000, 1, 0.5)).await.expect(202);
        let delivery = consumer.next().await.unwrap();
        let message = messages::Recording::decode(delivery.message.body.clone()).unwrap();
        let plan = message.plan.unwrap();
        assert_eq!((plan.version, plan.items.len(), plan.calibration_db), (version, algorithms, calibration));
        assert_eq!(plan.groups, ["analyze"]);
        assert_eq!((message.start, message.recording_start, message.last_piece), (start, start, true));
        assert_eq!(delivery.message.id, RecordingId::try_from(message.id.as_ref()).unwrap().to_string());
        delivery.ack().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_has_no_second_effect() {
    let world = World::new().await;
    world.sensor("roof").await;
    // Long and short, each accepted twice: two messages of one id lie in the queue.
    let files = [wav_file(16_000, 1, 70.0), wav_file(16_000, 1, 1.0)];
    for _ in 0..2 {
        for file in &files {
            world.post("roof", &at(NOW - 80 * SECOND), "0", file.clone()).await.expect(202);
        }
    }
    world.start();
    let mut views = Vec::new();
    for file in &files {
        views.push(world.settled(&id_of("roof", NOW - 80 * SECOND, 0, file)).await);
    }
    eventually("everything is consumed", || async {
        let depths = world.queue.depths().await.unwrap();
        depths.iter().all(|depth| depth.waiting == 0 && depth.in_flight == 0)
    })
    .await;
    for (file, view) in files.iter().zip(views) {
        let again = world.settled(&id_of("roof", NOW - 80 * SECOND, 0, file)).await;
        assert_eq!(again, view);
    }
    assert_eq!(world.queue.depths().await.unwrap().iter().map(|depth| depth.dead).sum::<u64>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_can_be_prepared() {
    let world = World::new().await;
    let mut statements = sensors::statements();
    statements.extend(recordings::STATEMENTS);
    world.database.reader().prepare_all(&statements).await.unwrap();
}
