//! Alerts on what the writer stores, on both engines.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use antiphon_features::cells::Cell;
use antiphon_identity::Principal;
use antiphon_platform::blobs::folder::{Access, FolderBlobs};
use antiphon_platform::blobs::{Blobs, once};
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::db::{Database, Engine, Statement};
use antiphon_platform::disk;
use antiphon_platform::http::time;
use antiphon_platform::outbound::Allow;
use antiphon_platform::queue::Message;
use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::descriptors::Known;
use crate::ids::RecordingId;
use crate::messages;
use crate::plan::{History, sensor_default};
use crate::query::seconds::{self, SecondColumn};
use crate::recordings::audio_key;
use crate::store::tests::{MAY, Made, Store, on_both_engines};
use crate::store::{self, Retention, SourceKind, recording, retention};

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
        let allow = Allow::parse(&[String::from("10.1.0.0/16")]).unwrap();
        let api = Api { database: db.clone(), allow, clock: store.clock.clone() };
        let routes = routes(api).split_for_parts().0;
        Self { store, db, routes }
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.send_as(Principal::Operator, method, path, body).await
    }

    async fn send_as(
        &self,
        principal: Principal,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(format!("/api/v1/alerts{path}"));
        let request = request.header("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let routes = self.routes.clone().layer(axum::Extension(principal));
        let response = routes.oneshot(request.body(body).unwrap()).await.unwrap();
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
        self.hear_all(&Made::new(MAY + from * SECOND, (to - from) * SECOND, from.unsigned_abs()).messages()).await;
    }

    async fn hear_all(&self, messages: &[Message]) {
        self.store.apply(messages).await;
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

async fn a_mean_is_that_of_a_coarser_row(engine: Engine) {
    let world = World::on(engine).await;
    world.hear(0, 3).await;
    world.store.clock.advance(3 * SECOND);
    let mut fields = loud(1);
    fields["average"] = json!(10);
    let alert = world.create(fields).await;
    world.hear(3, 7).await;
    assert_eq!(world.history(&alert).await, [], "4 of 10 s are too few, and what was before it was made counts not");
    world.hear(7, 12).await;
    assert_eq!(world.history(&alert).await, [(String::from("on"), 7, 8, false)]);
    let body = world.outbox().await[0].1.clone();
    assert_eq!(body["data"]["alert"]["average"], json!(10));

    let mut tx = world.db.read().await.unwrap();
    let source = store::source(&mut tx, SourceKind::Sensor, "roof").await.unwrap().unwrap();
    let column = SecondColumn::find("level.a", None, &Known::default()).unwrap();
    let layers = column.layers(&store::layers_of(&mut tx, source.id).await.unwrap());
    let (from, to) = (MAY / SECOND + 3, MAY / SECOND + 8);
    let cells = seconds::read(&mut tx, source.id, &layers, from, to).await.unwrap();
    let cells: Vec<&Cell> = cells.values().map(|(_, cell)| cell).collect();
    let mean = column.value(&layers[0], &seconds::merged(&cells).unwrap()).unwrap();
    assert!((body["data"]["value"].as_f64().unwrap() - mean).abs() < 1e-9, "{mean} {body}");
    let energies = cells.iter().map(|cell| 10_f64.powf(column.value(&layers[0], cell).unwrap() / 10.0));
    let energy = energies.sum::<f64>() / cells.len() as f64;
    assert!((mean - 10.0 * energy.log10()).abs() < 1e-3, "{mean}");
    drop(tx);

    world.store.clock.advance(9 * SECOND);
    world.send("PATCH", &format!("/{alert}"), Some(json!({"average": 4, "side": "below"}))).await;
    world.hear(12, 13).await;
    assert_eq!(world.history(&alert).await.len(), 1, "nothing before the change counts");
    world.hear(13, 14).await;
    assert_eq!(world.history(&alert).await[1..], [(String::from("off"), 13, 14, false)]);
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

async fn what_waited_in_a_spool_says_that_it_is_late(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(5)).await;
    world.store.clock.advance(305 * SECOND);
    world.hear(0, 8).await;
    assert_eq!(world.history(&alert).await, [(String::from("on"), 0, 5, false)], "five minutes later");
    world.send("PATCH", &format!("/{alert}"), Some(json!({"side": "below"}))).await;
    world.store.clock.advance(6 * 3_600 * SECOND);
    world.hear(305, 320).await;
    let told = world.history(&alert).await;
    assert_eq!(told[1..], [(String::from("off"), 305, 310, true)], "six hours later");
    assert_eq!(world.outbox().await[1].1["data"]["late"], json!(true));
}

/// What a worker of another version says: the same values, under its own layers.
fn of_version(made: &Made, version: u32) -> Vec<Message> {
    let of_version = |message: Message| {
        let mut result: messages::Result = prost::Message::decode(message.body.clone()).unwrap();
        result.blocks.iter_mut().for_each(|block| block.version = version);
        Message { body: prost::Message::encode_to_vec(&result).into(), ..message }
    };
    made.messages().into_iter().map(of_version).collect()
}

async fn a_change_of_version_breaks_no_count(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(15)).await;
    let made = |from: i64, to: i64| Made::new(MAY + from * SECOND, (to - from) * SECOND, from.unsigned_abs());
    world.hear_all(&of_version(&made(0, 6), 1)).await;
    world.hear_all(&of_version(&made(6, 12), 2)).await;
    world.hear_all(&of_version(&made(12, 18), 1)).await;
    assert_eq!(world.history(&alert).await, [(String::from("on"), 0, 15, false)], "forward, and back again");
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

async fn what_is_only_called_otherwise_goes_on_counting(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(5)).await;
    world.hear(0, 3).await;
    world.store.clock.advance(3 * SECOND);
    let change = json!({"name": "Loud", "webhook": "https://b.example", "quiet": [{"from": "22:00", "to": "06:00"}]});
    let (status, changed) = world.send("PATCH", &format!("/{alert}"), Some(change)).await;
    assert_eq!((status, &changed["looked_until"]), (StatusCode::OK, &json!("2026-05-01T00:00:03.000000Z")));
    world.hear(3, 6).await;
    assert_eq!(world.history(&alert).await, [(String::from("on"), 0, 5, false)]);
}

async fn what_flaps_is_forgotten_first(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(1)).await;
    world.hear(0, 2).await;
    for (number, side) in (1..).zip(["below", "above", "below"]) {
        world.store.clock.advance(10 * SECOND);
        world.send("PATCH", &format!("/{alert}"), Some(json!({"side": side}))).await;
        world.hear(10 * number, 10 * number + 2).await;
    }
    assert_eq!(world.history(&alert).await.len(), 4);
    let mut tx = world.db.write().await.unwrap();
    rows::expire(&mut tx, MAY, 3).await.unwrap();
    tx.commit().await.unwrap();
    let states: Vec<String> = world.history(&alert).await.into_iter().map(|row| row.0).collect();
    assert_eq!(states, ["off", "on", "off"]);
    expire(&world.db, MAY + KEPT).await.unwrap();
    assert_eq!(world.history(&alert).await.len(), 3, "all are newer than 400 days");
    expire(&world.db, MAY + KEPT + 3_600 * SECOND).await.unwrap();
    assert_eq!(world.history(&alert).await, []);
}

async fn hooks_are_shown_to_operators_only(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(5)).await;
    world.hear(0, 6).await;
    world.send("POST", &format!("/{alert}/test"), None).await;
    for principal in [Principal::Reader, Principal::Public] {
        let (_, seen) = world.send_as(principal.clone(), "GET", &format!("/{alert}"), None).await;
        assert_eq!((&seen["state"], &seen["last_change"]["number"]), (&json!("on"), &json!(1)));
        let (_, history) = world.send_as(principal, "GET", &format!("/{alert}/history"), None).await;
        assert_eq!(history["items"][0]["delivery"], Value::Null);
        let text = format!("{seen} {history}");
        assert!(!text.contains("example.org") && !text.contains(&format!("{alert}/1")), "{text}");
    }
    for (principal, method, status) in [
        (Principal::Reader, "DELETE", StatusCode::FORBIDDEN),
        (Principal::Public, "DELETE", StatusCode::UNAUTHORIZED),
        (Principal::Sensor(String::from("roof")), "GET", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(world.send_as(principal, method, &format!("/{alert}"), None).await.0, status);
    }
}

async fn what_was_not_sent_to_a_former_hook_is_dropped(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(5)).await;
    world.hear(0, 6).await;
    let state =
        async || world.send("GET", &format!("/{alert}"), None).await.1["last_change"]["delivery"]["state"].clone();
    assert_eq!(state().await, "waiting");
    world.send("PATCH", &format!("/{alert}"), Some(json!({"webhook": "https://b.example/x"}))).await;
    assert_eq!(state().await, "dropped");
}

async fn the_data_of_a_sensor_goes_with_its_alerts(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(5)).await;
    world.hear(0, 6).await;
    let mut tx = world.db.write().await.unwrap();
    delete_of(&mut tx, "river").await.unwrap();
    delete_of(&mut tx, "roof").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.send("GET", &format!("/{alert}"), None).await.0, StatusCode::NOT_FOUND);
    for rows in ["select count(*) from alerts", "select count(*) from alert_changes", "select count(*) from webhooks"] {
        assert_eq!(world.store.count(rows).await, 0, "{rows}");
    }
}

async fn audio_is_kept_around_alerts_only(engine: Engine) {
    const HOUR: Micros = 3_600 * SECOND;
    let world = World::on(engine).await;
    let retention = Retention { audio_days: 30, audio_alert_seconds: Some(5), ..Retention::default() };
    retention.check().unwrap();
    world.store.execute(format!("update sensors set retention = '{}'", retention.to_text())).await;
    let recordings: Vec<Made> = [(0, 10), (90, 95), (95, 97), (100, 110), (150, 160), (205, 206), (212, 214)]
        .map(|(from, to)| Made::new(MAY + from * SECOND, (to - from) * SECOND, from.unsigned_abs()))
        .to_vec();
    let nothing = Made { fault: "no audio", ..Made::new(MAY + 300 * SECOND, 0, 300) };
    let folder = tempfile::tempdir().unwrap();
    let blobs = FolderBlobs::open(disk::local(), folder.path(), Access::Write).unwrap();
    let blobs: Arc<dyn Blobs> = Arc::new(blobs);
    let key = |made: &Made| audio_key(RecordingId::from(made.name()));
    for made in recordings.iter().chain([&nothing]) {
        blobs.put(&key(made), once("sound")).await.unwrap();
    }
    let kept = async |now: Micros| {
        retention::run(&world.db, &blobs, now).await.unwrap();
        let mut kept = Vec::new();
        for made in recordings.iter().chain([&nothing]) {
            let is_there = blobs.info(&key(made)).await.is_ok();
            let row = recording(&mut world.db.read().await.unwrap(), &made.name()).await.unwrap().unwrap();
            assert_eq!(row.has_audio, is_there, "the row says so too");
            kept.extend(is_there.then_some((made.start - MAY) / SECOND));
        }
        kept
    };

    // Nothing before 1:40 counts; on from there until it is told to look for the opposite, off from 3:20 to 3:25.
    world.store.apply(&recordings[..3].iter().flat_map(Made::messages).collect::<Vec<_>>()).await;
    world.store.clock.advance(100 * SECOND);
    let alert = world.create(loud(5)).await;
    for made in &recordings[3..5] {
        world.hear_all(&made.messages()).await;
    }
    world.store.clock.advance(100 * SECOND);
    world.send("PATCH", &format!("/{alert}"), Some(json!({"side": "below"}))).await;
    world.hear(200, 205).await;
    for made in recordings[5..].iter().chain([&nothing]) {
        world.hear_all(&made.messages()).await;
    }
    let told = [(String::from("on"), 100, 105, false), (String::from("off"), 200, 205, false)];
    assert_eq!(world.history(&alert).await, told);

    let all = [0, 90, 95, 100, 150, 205, 212, 300];
    let sure = MAY + UNDECIDED + 5 * SECOND;
    assert_eq!(kept(sure - 1).await, all, "an alert may still look back at it");
    assert_eq!(kept(sure).await, [95, 100, 150, 205, 212, 300], "what was stored first is sure first");
    assert_eq!(kept(sure + HOUR).await, [95, 100, 150, 205]);
    assert_eq!(kept(MAY + 29 * 24 * HOUR).await, [95, 100, 150, 205]);
    world.send("DELETE", &format!("/{alert}"), None).await;
    assert_eq!(kept(MAY + 29 * 24 * HOUR).await, [0; 0], "no alert, no reason to keep it");
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

async fn a_hook_that_can_never_be_reached_is_refused(engine: Engine) {
    let world = World::on(engine).await;
    let alert = world.create(loud(5)).await;
    for webhook in ["http://127.0.0.1:9000/secret", "http://localhost/", "https://10.2.0.1/", "http://[::1]/"] {
        let fields = json!({"sensor": "roof", "threshold": 1, "webhook": webhook});
        for (method, path, fields) in
            [("POST", String::new(), fields), ("PATCH", format!("/{alert}"), json!({"webhook": webhook}))]
        {
            let (status, problem) = world.send(method, &path, Some(fields)).await;
            assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("webhook")), "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains("notify.allow"), "{problem}");
        }
    }
    let (_, kept) = world.send("GET", &format!("/{alert}"), None).await;
    assert_eq!(kept["webhook"], "https://example.org");
    for webhook in ["http://10.1.2.3/x", "http://printer.lan/"] {
        let (status, changed) = world.send("PATCH", &format!("/{alert}"), Some(json!({"webhook": webhook}))).await;
        assert_eq!(status, StatusCode::OK, "{changed}");
    }
}

async fn those_in_one_state_are_listed_page_by_page(engine: Engine) {
    let world = World::on(engine).await;
    let mut made = Vec::new();
    // Every other one comes on within the six seconds that are heard.
    for seconds in [60, 5, 60, 5, 60, 5] {
        made.push(world.create(loud(seconds)).await);
    }
    world.hear(0, 6).await;
    for (state, first) in [("off", 0), ("on", 1)] {
        let mut listed = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, page) = world.send("GET", &format!("?state={state}&limit=1{cursor}"), None).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            let [alert] = page["items"].as_array().unwrap().as_slice() else { panic!("{page}") };
            assert_eq!(alert["state"], state);
            listed.push(alert["id"].as_str().unwrap().to_owned());
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(listed, made.iter().skip(first).step_by(2).cloned().collect::<Vec<_>>(), "{state}");
        let (_, other) = world.send("GET", &format!("?state={state}&sensor=river"), None).await;
        assert_eq!(other["items"], json!([]));
    }
    let (_, all) = world.send("GET", "", None).await;
    assert_eq!(all["items"].as_array().unwrap().len(), made.len());
    for wrong in ["", "On", "1"] {
        let (status, problem) = world.send("GET", &format!("?state={wrong}"), None).await;
        let expected = (StatusCode::BAD_REQUEST, &json!("state"), &json!("state must be one of on, off"));
        assert_eq!((status, &problem["field"], &problem["detail"]), expected);
    }
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
        (json!({"sensor": "roof", "threshold": 1, "webhook": "http://10.2.0.1/x"}), "webhook"),
        (json!({"sensor": "roof", "threshold": 1, "feature": "mel"}), "feature"),
        (json!({"sensor": "roof", "threshold": 1, "feature": "mel.3"}), "feature"),
    ] {
        let (status, problem) = world.send("POST", "", Some(fields)).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{problem}");
    }
}

on_both_engines![
    statements_prepare,
    a_change_is_told_once_with_its_notice,
    a_mean_is_that_of_a_coarser_row,
    late_audio_closes_a_gap_and_says_so,
    what_waited_in_a_spool_says_that_it_is_late,
    a_change_of_version_breaks_no_count,
    half_a_second_waits_for_its_other_half,
    what_is_only_called_otherwise_goes_on_counting,
    what_flaps_is_forgotten_first,
    hooks_are_shown_to_operators_only,
    what_was_not_sent_to_a_former_hook_is_dropped,
    the_data_of_a_sensor_goes_with_its_alerts,
    audio_is_kept_around_alerts_only,
    nothing_before_it_was_made_or_changed_counts,
    two_that_look_at_once_tell_once,
    quiet_hours_hold_and_tests_do_not_wait,
    a_hook_that_can_never_be_reached_is_refused,
    those_in_one_state_are_listed_page_by_page,
    an_alert_is_made_read_changed_and_deleted,
];
