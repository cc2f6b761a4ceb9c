//! Sensors through the router: made, read, changed, deleted, and their keys.

mod world;

use antiphon_platform::clock::SECOND;
use axum::body::Body;
use serde_json::json;
use world::{NOW, World, at, wav_file};

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_is_made_once_and_read_by_who_may() {
    let world = World::new().await;
    let body = json!({"id": "roof", "name": "Roof", "latitude": 52.5, "longitude": 13.4, "timezone": "Europe/Berlin"});
    let made = world.send("POST", "/api/v1/sensors", body.clone()).await;
    assert_eq!(made.headers["location"], "/api/v1/sensors/roof");
    assert_eq!(made.headers["cache-control"], "no-store");
    let made = made.expect(201);
    assert_eq!(
        (&made["id"], &made["name"], &made["timezone"]),
        (&json!("roof"), &json!("Roof"), &json!("Europe/Berlin"))
    );
    assert_eq!(
        (&made["status"], &made["last_heard"], &made["clock_skew_ms"]),
        (&json!("never"), &json!(null), &json!(null))
    );
    let key = made["key"].as_str().unwrap();
    world.send("POST", "/api/v1/sensors", body).await.refused(409, Some("id"));

    let mine = world.call("GET", "/api/v1/sensors/roof", key, &[], Body::empty()).await.expect(200);
    assert!(mine.get("key").is_none());
    world.sensor("other").await;
    for hidden in ["other", "nobody"] {
        let path = format!("/api/v1/sensors/{hidden}");
        world.call("GET", &path, key, &[], Body::empty()).await.refused(403, None);
        let path = format!("/api/v1/sensors/{hidden}/recordings?start=x");
        world.call("POST", &path, key, &[], Body::empty()).await.refused(403, None);
    }
    world.call("GET", "/api/v1/sensors", key, &[], Body::empty()).await.refused(403, None);
    world.call("GET", "/api/v1/sensors", "", &[], Body::empty()).await.refused(401, None);
    let problem = world.get("/api/v1/sensors/rooof").await.refused(404, None);
    assert_eq!(problem["hint"], "roof");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_fields_are_refused_and_named() {
    let world = World::new().await;
    let cases = [
        (json!({"id": "Roof"}), "id"),
        (json!({"id": "roof", "latitude": 91}), "latitude"),
        (json!({"id": "roof", "longitude": "east"}), "longitude"),
        (json!({"id": "roof", "timezone": "Mars/Olympus"}), "timezone"),
        (json!({"id": "roof", "lattitude": 1}), "lattitude"),
        (json!({"id": "roof", "plan": [{"algorithm": "levle"}]}), "plan"),
        (json!({"id": "roof", "retention": {"one_second_days": 0}}), "retention.one_second_days"),
        (json!({"name": "Roof"}), "id"),
    ];
    for (body, field) in cases {
        world.send("POST", "/api/v1/sensors", body).await.refused(400, Some(field));
    }
    world.sensor("roof").await;
    world.send("PATCH", "/api/v1/sensors/roof", json!({"longitude": 181})).await.refused(400, Some("longitude"));
    world.send("PATCH", "/api/v1/sensors/roof", json!({"id": "roof2"})).await.refused(400, Some("id"));
    world.send("PATCH", "/api/v1/sensors/roofs", json!({"longitude": 181})).await.refused(404, None);
    world.get("/api/v1/sensors?limit=0").await.refused(400, Some("limit"));
    world.get("/api/v1/sensors/roof?x=1").await.refused(400, Some("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let world = World::new().await;
    for id in ["c", "a", "b"] {
        world.sensor(id).await;
    }
    let page = world.get("/api/v1/sensors?limit=2").await.expect(200);
    let ids = |page: &serde_json::Value| {
        page["items"].as_array().unwrap().iter().map(|s| s["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&page), ["a", "b"]);
    let next = page["next"].as_str().unwrap();
    let page = world.get(&format!("/api/v1/sensors?limit=2&cursor={next}")).await.expect(200);
    assert_eq!((ids(&page), &page["next"]), (vec![json!("c")], &json!(null)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_changes_from_now_on() {
    let world = World::new().await;
    world.sensor("roof").await;
    let before = world.get("/api/v1/sensors/roof").await.expect(200);
    assert_eq!(before["plan_version"], 1);
    let change = json!({"name": "North", "calibration": 94.0, "plan": [{"algorithm": "level", "outputs": ["a"]}]});
    let after = world.send("PATCH", "/api/v1/sensors/roof", change).await.expect(200);
    assert_eq!(
        (&after["plan_version"], &after["calibration"], &after["name"]),
        (&json!(2), &json!(94.0), &json!("North"))
    );
    assert_eq!(after, world.get("/api/v1/sensors/roof").await.expect(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_before_anything_is_heard_counts_for_all_audio() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    // Last night's audio, sent today.
    let night = NOW - 8 * 3_600 * SECOND;
    let level = async |start| {
        let sent = world.recording("roof", &at(start), "0", wav_file(8_000, 1, 2.0)).await;
        assert_eq!(sent["status"], "stored");
        let range = format!("from={}&to={}", at(start), at(start + SECOND));
        let path = format!("/api/v1/sensors/roof/features?{range}&features=level.z&resolution=1s");
        let answer = world.get(&path).await.expect(200);
        let column = answer["columns"].as_array().unwrap().iter().position(|column| column["name"] == "level.z");
        answer["rows"][0][column.unwrap()].as_f64().unwrap()
    };
    let path = "/api/v1/sensors/roof";
    let set = async |calibration: f64| world.send("PATCH", path, json!({"calibration": calibration})).await.expect(200);
    set(90.0).await;
    assert_eq!(set(110.0).await["plan_version"], 3);
    let first = level(night).await;
    assert!((90.0..110.0).contains(&first), "{first} dB, not dBFS");

    set(80.0).await;
    let (earlier, later) = (level(night - 60 * SECOND).await, level(NOW).await);
    assert!((earlier - first).abs() < 0.01, "as its time was: {earlier}");
    assert!((later - first + 30.0).abs() < 0.01, "from now on: {later}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_and_revoked() {
    let world = World::new().await;
    let first = world.sensor("roof").await;
    let made = world.send("POST", "/api/v1/sensors/roof/keys", json!({})).await.expect(201);
    let listed = world.get("/api/v1/sensors/roof/keys").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(made["key"].as_str().unwrap()));
    world.call("GET", "/api/v1/sensors/roof/keys", &first, &[], Body::empty()).await.refused(403, None);
    let path = format!("/api/v1/sensors/roof/keys/{}", made["id"].as_str().unwrap());
    world.delete(&path).await.expect(204);
    world.delete(&path).await.refused(404, None);
    world
        .call("GET", "/api/v1/sensors/roof", made["key"].as_str().unwrap(), &[], Body::empty())
        .await
        .refused(401, None);
    world.call("GET", "/api/v1/sensors/roof", &first, &[], Body::empty()).await.expect(200);
    world.send("POST", "/api/v1/sensors/nobody/keys", json!({})).await.refused(404, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_sensor_stays_readable_and_can_be_made_again() {
    let world = World::new().await;
    world.start();
    let key = world.sensor("roof").await;
    let start = at(NOW - 5 * SECOND);
    let sent = world.recording("roof", &start, "0", wav_file(8_000, 1, 2.0)).await;
    assert_eq!(sent["status"], "stored");
    world.delete("/api/v1/sensors/roof").await.expect(204);
    world.delete("/api/v1/sensors/roof").await.refused(404, None);
    world.call("GET", "/api/v1/sensors/roof", &key, &[], Body::empty()).await.refused(401, None);
    world.post("roof", &start, "0", wav_file(8_000, 1, 1.0)).await.refused(404, None);
    assert!(world.get("/api/v1/sensors/roof").await.expect(200)["deleted_at"].is_string());
    assert_eq!(world.get("/api/v1/sensors").await.expect(200)["items"], json!([]));
    let list = format!("/api/v1/sensors/roof/recordings?from={}&to={}", at(NOW - 60 * SECOND), at(NOW));
    assert_eq!(world.get(&list).await.expect(200)["items"][0]["id"], sent["id"]);

    world.sensor("roof").await;
    assert_eq!(world.get(&list).await.expect(200)["items"][0]["id"], sent["id"], "it goes on with its data");

    world.delete("/api/v1/sensors/roof?data=true").await.expect(204);
    world.get("/api/v1/sensors/roof").await.refused(404, None);
    world.get(&list).await.refused(404, None);
    world.sensor("roof").await;
    assert_eq!(world.get(&list).await.expect(200)["items"], json!([]));
    let again = world.recording("roof", &start, "0", wav_file(8_000, 1, 2.0)).await;
    assert_eq!((&again["status"], &again["id"]), (&json!("stored"), &sent["id"]), "what was deleted can be sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_live_from_late_from_silent() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    let health = async || world.get("/api/v1/sensors/roof").await.expect(200);
    // NOW is ten seconds after midnight.
    assert_eq!((&health().await["seconds_today"], &health().await["gaps_today"]), (&json!(0.0), &json!(1)));
    world.recording("roof", &at(NOW - 8 * SECOND), "0", wav_file(8_000, 1, 2.0)).await;
    world.recording("roof", &at(NOW - 5 * SECOND), "0", wav_file(8_000, 1, 3.0)).await;
    let live = health().await;
    assert_eq!((&live["status"], &live["last_heard"]), (&json!("live"), &json!(at(NOW - 2 * SECOND))));
    assert_eq!((&live["seconds_today"], &live["gaps_today"]), (&json!(5.0), &json!(3)));
    assert_eq!(live["clock_skew_ms"], 2_000);
    world.clock.advance(100 * SECOND);
    assert_eq!(health().await["status"], "late");
    world.clock.advance(300 * SECOND);
    assert_eq!(health().await["status"], "silent");
}
