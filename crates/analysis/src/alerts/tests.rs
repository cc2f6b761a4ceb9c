//! Alerts on what the writer stores, on both engines.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use antiphon_identity::Principal;
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::db::{Database, Engine, Statement};
use antiphon_platform::http::time;
use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::plan::{History, sensor_default};
use crate::store::Retention;
use crate::store::tests::{MAY, Made, Store, on_both_engines};

/// A store with the sensor `roof`, and the routes of alerts for an operator.
struct World {
    store: Store,
    db: Database,
    routes: Router,
}

impl World {
    async fn on(engine: Engine) -> Self {
        let mut store = Store::on(engine).await;
        store.clock = Clock::manual(MAY);
        let more =
            [crate::store::tests::migrations(), MIGRATIONS.to_vec(), antiphon_notify::MIGRATIONS.to_vec()].concat();
        let db = Database::open(store.url.as_str(), &more).await.unwrap();
        let plan = History::new(sensor_default(), None).to_text();
        let retention = Retention::default().to_text();
        store
            .execute(format!(
                "insert into sensors (id, plan, plan_version, retention, created_at, timezone)
                 values ('roof', '{plan}', 1, '{retention}', 0, 'Europe/Berlin')"
            ))
            .await;
        let api = Api { database: db.clone(), clock: store.clock.clone() };
        let routes = routes(api).split_for_parts().0.layer(axum::Extension(Principal::Operator));
        Self { store, db, routes }
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(format!("/api/v1/alerts{path}"));
        let request = request.header("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.routes.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn create(&self, fields: Value) -> String {
        let (status, alert) = self.send("POST", "", Some(fields)).await;
        assert_eq!(status, StatusCode::CREATED, "{alert}");
        alert["id"].as_str().unwrap().to_owned()
    }

    /// Stores seconds `[from, to)` after [`MAY`], and has alerts look at them.
    async fn hear(&self, from: i64, to: i64) {
        self.store.apply(&Made::new(MAY + from * SECOND, (to - from) * SECOND, from.unsigned_abs()).messages()).await;
        round(&self.db, self.store.clock.now()).await.unwrap();
    }

    /// (state, from which second after [`MAY`], to which, late), oldest first.
    async fn history(&self, alert: &str) -> Vec<(String, i64, i64, bool)> {
        let (status, page) = self.send("GET", &format!("/{alert}/history"), None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let second = |value: &Value| (time::parse(value.as_str().unwrap()).unwrap() - MAY) / SECOND;
        let rows = page["items"].as_array().unwrap().iter().rev();
        rows.map(|row| {
            let state = row["state"].as_str().unwrap().to_owned();
            (state, second(&row["began"]), second(&row["at"]), row["late"].as_bool().unwrap())
        })
        .collect()
    }

    async fn outbox(&self) -> Vec<(String, Value)> {
        let statement = Statement { name: "test", text: "select message_id, body from outbox order by number" };
        let rows = self.db.read().await.unwrap().rows(&statement, &[]).await.unwrap();
        rows.iter()
            .map(|row| {
                let body: Vec<u8> = row.get(1).unwrap();
                let notice: antiphon_notify::messages::Notice = prost::Message::decode(body.as_slice()).unwrap();
                (row.get(0).unwrap(), serde_json::from_slice(&notice.body).unwrap())
            })
            .collect()
    }
}

/// Every second of the store's noise is above it.
fn loud(seconds: u32) -> Value {
    json!({"sensor": "roof", "threshold": -100.0, "seconds": seconds, "webhook": "https://example.org/secret"})
}

async fn statements_prepare(engine: Engine) {
    let world = World::on(engine).await;
    world.db.reader().prepare_all(&statements()).await.unwrap();
}

async fn a_change_is_told_once_with_its_notice(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(5)).await;
    world.hear(0, 4).await;
    assert_eq!(world.history(&alert).await, []);
    world.hear(4, 9).await;
    assert_eq!(world.history(&alert).await, [(String::from("on"), 0, 5, false)]);
    for _ in 0..3 {
        round(&world.db, world.store.clock.now()).await.unwrap();
        world.hear(4, 9).await;
        world.hear(9, 20).await;
    }
    assert_eq!(world.history(&alert).await.len(), 1);
    let outbox = world.outbox().await;
    assert_eq!(outbox.len(), 1);
    assert_eq!(outbox[0].0, format!("{alert}/1"));
    let body = &outbox[0].1;
    assert_eq!((&body["type"], &body["data"]["alert"]["column"]), (&json!("alert.on"), &json!("level.a")));
    assert_eq!((&body["data"]["at"], &body["data"]["late"]), (&json!("2026-05-01T00:00:05.000000Z"), &json!(false)));
    assert!(!body.to_string().contains("secret"), "{body}");
}

async fn late_audio_closes_a_gap_and_says_so(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(30)).await;
    world.hear(0, 10).await;
    world.hear(25, 40).await;
    assert_eq!(world.history(&alert).await, [], "a gap of 15 s begins anew");
    world.hear(10, 25).await;
    assert_eq!(world.history(&alert).await, [(String::from("on"), 0, 30, true)]);
}

async fn half_a_second_waits_for_its_other_half(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(5)).await;
    world.store.apply(&Made::new(MAY, 4_500_000, 1).messages()).await;
    round(&world.db, MAY).await.unwrap();
    assert_eq!(world.history(&alert).await, []);
    world.store.apply(&Made::new(MAY + 4_500_000, 500_000, 2).messages()).await;
    round(&world.db, MAY).await.unwrap();
    assert_eq!(world.history(&alert).await, [(String::from("on"), 0, 5, false)]);
}

async fn nothing_before_it_was_made_or_changed_counts(engine: Engine) {
    let world = World::on(engine).await;
    world.store.clock.advance(10 * SECOND);
    let alert = world.create(loud(5)).await;
    world.hear(0, 14).await;
    assert_eq!(world.history(&alert).await, []);
    world.store.clock.advance(4 * SECOND);
    let (status, changed) = world.send("PATCH", &format!("/{alert}"), Some(json!({"seconds": 4}))).await;
    assert_eq!((status, &changed["seconds"], changed.get("secret")), (StatusCode::OK, &json!(4), None));
    world.hear(14, 18).await;
    assert_eq!(world.history(&alert).await, [(String::from("on"), 14, 18, false)]);
}

async fn two_that_look_at_once_tell_once(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(5)).await;
    world.store.apply(&Made::new(MAY, 60 * SECOND, 1).messages()).await;
    let looks = (0..4).map(|_| round(&world.db, MAY));
    for look in futures::future::join_all(looks).await {
        look.unwrap();
    }
    assert_eq!((world.history(&alert).await.len(), world.outbox().await.len()), (1, 1));
}

async fn quiet_hours_hold_and_tests_do_not_wait(engine: Engine) {
    let world = World::on(engine).await;
    // It is 02:00 in Berlin.
    let mut fields = loud(5);
    fields["quiet"] = json!([{"from": "22:00", "to": "06:00"}]);
    let alert = world.create(fields).await;
    world.hear(0, 6).await;
    let (status, test) = world.send("POST", &format!("/{alert}/test"), None).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let statement = Statement { name: "test", text: "select body from outbox order by number" };
    let rows = world.db.read().await.unwrap().rows(&statement, &[]).await.unwrap();
    let notices: Vec<antiphon_notify::messages::Notice> =
        rows.iter().map(|row| prost::Message::decode(row.get::<Vec<u8>>(0).unwrap().as_slice()).unwrap()).collect();
    assert_eq!(
        notices.iter().map(|notice| notice.not_before).collect::<Vec<Micros>>(),
        [MAY + 4 * 3_600 * SECOND, MAY]
    );
    assert!(notices[1].test && test["id"].as_str().unwrap().starts_with(&format!("{alert}/test-")));
    assert_eq!(world.outbox().await[1].1["type"], "alert.test");
}

async fn an_alert_is_made_read_changed_and_deleted(engine: Engine) {
    let world = World::on(engine).await;
    let (_, made) = world.send("POST", "", Some(loud(5))).await;
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"), "{made}");
    let id = made["id"].as_str().unwrap();
    let (_, read) = world.send("GET", &format!("/{id}"), None).await;
    assert_eq!(
        (read.get("secret"), &read["webhook"], &read["state"]),
        (None, &json!("https://example.org"), &json!("off"))
    );
    let (_, page) = world.send("GET", "?sensor=roof", None).await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["items"][0]), (1, &read));
    let (_, other) = world.send("GET", "?sensor=river", None).await;
    assert_eq!(other["items"], json!([]));
    let (_, moved) = world.send("PATCH", &format!("/{id}"), Some(json!({"webhook": "https://b.example/x"}))).await;
    assert!(moved["secret"].is_string() && moved["secret"] != made["secret"]);
    let (_, silent) = world.send("PATCH", &format!("/{id}"), Some(json!({"webhook": null, "enabled": false}))).await;
    assert_eq!((&silent["webhook"], &silent["enabled"]), (&Value::Null, &json!(false)));
    assert_eq!(world.send("POST", &format!("/{id}/test"), None).await.0, StatusCode::CONFLICT);
    world.hear(0, 60).await;
    assert_eq!(world.history(id).await, [], "it looks at nothing");
    assert_eq!(world.send("DELETE", &format!("/{id}"), None).await.0, StatusCode::NO_CONTENT);
    for (method, path) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/history"), ("POST", "/test")] {
        let body = (method == "PATCH").then(|| json!({}));
        assert_eq!(world.send(method, &format!("/{id}{path}"), body).await.0, StatusCode::NOT_FOUND, "{method} {path}");
    }
    for (fields, field) in [
        (json!({"sensor": "rof", "threshold": 1}), "sensor"),
        (json!({"sensor": "roof", "threshold": 1, "webhook": "ftp://x"}), "webhook"),
        (json!({"sensor": "roof", "threshold": 1, "feature": "mel"}), "feature"),
    ] {
        let (status, problem) = world.send("POST", "", Some(fields)).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{problem}");
    }
}

on_both_engines![
    statements_prepare,
    a_change_is_told_once_with_its_notice,
    late_audio_closes_a_gap_and_says_so,
    half_a_second_waits_for_its_other_half,
    nothing_before_it_was_made_or_changed_counts,
    two_that_look_at_once_tell_once,
    quiet_hours_hold_and_tests_do_not_wait,
    an_alert_is_made_read_changed_and_deleted,
];
