//! The routes and the core, on stores filled with real values.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::{HeaderMap, Request as HttpRequest, StatusCode, header};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::messages;
use crate::plan::{History, sensor_default};
use crate::store::tests::{MAY, Made, Store, message};
use crate::store::{Resolution, Retention};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;

const ROOF: &str = "/api/v1/sensors/roof";

async fn filled(made: &[Made]) -> Store {
    let store = Store::new().await;
    let plan = History::new(sensor_default(), None).to_text();
    let retention = Retention::default().to_text();
    store
        .execute(format!(
            "insert into sensors (id, plan, plan_version, retention, created_at) values ('roof', '{plan}', 1, '{retention}', 0)"
        ))
        .await;
    for made in made {
        store.apply(&made.messages()).await;
    }
    store
}

fn routes(store: &Store, principal: Principal, is_public: bool) -> Router {
    let api = Api::new(store.db.reader(), store.clock.clone(), is_public);
    router(api).split_for_parts().0.layer(axum::Extension(principal))
}

async fn send(router: &Router, path: &str, headers: &[(header::HeaderName, &str)]) -> Response {
    let mut request = HttpRequest::get(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 28).await.unwrap().to_vec()).unwrap()
}

async fn get(store: &Store, path: &str) -> Value {
    let response = send(&routes(store, Principal::Reader, false), path, &[]).await;
    let status = response.status();
    let text = text(response).await;
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn refused(store: &Store, path: &str) -> Value {
    let response = send(&routes(store, Principal::Reader, false), path, &[]).await;
    assert!(response.status().is_client_error(), "{path}: {}", response.status());
    serde_json::from_str(&text(response).await).unwrap()
}

fn range(from: Micros, to: Micros) -> String {
    format!("from={}&to={}", time::format(from), time::format(to))
}

/// 10 s at the minute's start, 10.5 s that begin in the middle of second 20.
fn two() -> [Made; 2] {
    [Made::new(MAY, 10 * SECOND, 1), Made::new(MAY + 20_500_000, 10_500_000, 2)]
}

#[tokio::test]
async fn a_page_has_its_shape() {
    let store = filled(&two()).await;
    let query = format!("{ROOF}/features?{}&resolution=1s&stat=leq,l90", range(MAY, MAY + 60 * SECOND));
    let page = get(&store, &query).await;
    let keys: Vec<&String> = page.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["source", "from", "to", "resolution", "revision", "columns", "rows", "gaps", "next"]);
    assert_eq!(page["source"], serde_json::json!({"kind": "sensor", "id": "roof"}));
    assert_eq!((page["resolution"].as_str(), &page["next"]), (Some("1s"), &Value::Null));
    let names: Vec<&str> = page["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["time", "coverage", "level.a", "level.a:l90"]);
    assert_eq!(
        page["columns"][3],
        serde_json::json!({"name": "level.a:l90", "feature": "level", "version": 1, "unit": "dBFS", "stat": "l90"})
    );
    let rows = page["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 10 + 11);
    assert_eq!((rows[0][0].as_str(), rows[0][1].as_f64()), (Some("2026-05-01T00:00:00.000000Z"), Some(1.0)));
    assert_eq!((rows[10][0].as_str(), rows[10][1].as_f64()), (Some("2026-05-01T00:00:20.000000Z"), Some(0.5)));
    assert!(rows.iter().all(|row| row[2].as_f64().unwrap() < 0.0 && row[3].is_number()));
    let gaps = serde_json::json!([
        {"from": "2026-05-01T00:00:10.000000Z", "to": "2026-05-01T00:00:20.500000Z"},
        {"from": "2026-05-01T00:00:31.000000Z", "to": "2026-05-01T00:01:00.000000Z"},
    ]);
    assert_eq!(page["gaps"], gaps);
    assert_eq!(get(&store, &format!("{ROOF}/gaps?{}", range(MAY, MAY + 60 * SECOND))).await["items"], gaps);
    let minute = get(&store, &format!("{ROOF}/features?{}&resolution=1m", range(MAY, MAY + 60 * SECOND))).await;
    assert_eq!(minute["rows"][0][1].as_f64(), Some(0.341_667), "20.5 s of 60 s");
    let filled = get(&store, &format!("{query}&fill=gaps")).await;
    assert_eq!(filled["rows"].as_array().unwrap().len(), 60);
    assert_eq!(filled["rows"][10], serde_json::json!(["2026-05-01T00:00:10.000000Z", 0.0, null, null]));
    let auto = get(&store, &format!("{ROOF}/features?{}", range(MAY, MAY + 2_001 * SECOND))).await;
    assert_eq!(auto["resolution"], "10s");
}

#[tokio::test]
async fn csv_says_the_same() {
    let store = filled(&two()).await;
    let query = format!("{ROOF}/features?{}&resolution=1s&features=level,loudness", range(MAY, MAY + 60 * SECOND));
    let page = get(&store, &query).await;
    let response = send(&routes(&store, Principal::Reader, false), &query, &[(header::ACCEPT, "text/csv")]).await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
    let csv = text(response).await;
    let mut lines = csv.strip_suffix('\n').unwrap().split('\n');
    let names: Vec<&str> = page["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(lines.next().unwrap(), names.join(","));
    for row in page["rows"].as_array().unwrap() {
        let fields: Vec<&str> = lines.next().unwrap().split(',').collect();
        assert_eq!(fields.len(), names.len());
        assert_eq!(row[0].as_str(), Some(fields[0]));
        for (value, field) in row.as_array().unwrap().iter().zip(fields).skip(1) {
            assert_eq!(value.as_f64(), field.parse().ok());
        }
    }
    assert_eq!(lines.next(), None);
}

#[tokio::test]
async fn pages_add_up_to_the_whole() {
    let store = filled(&two()).await;
    for extra in ["resolution=1s", "resolution=1s&fill=gaps", "resolution=10s"] {
        let query = format!("{ROOF}/features?{}&{extra}", range(MAY + 300_000, MAY + 50 * SECOND));
        let whole = get(&store, &query).await;
        let (mut rows, mut gaps, mut cursor) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = get(&store, &format!("{query}&limit=4{cursor}")).await;
            assert!(page["rows"].as_array().unwrap().len() <= 4);
            rows.extend(page["rows"].as_array().unwrap().clone());
            gaps.extend(page["gaps"].as_array().unwrap().clone());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(&rows, whole["rows"].as_array().unwrap(), "{extra}");
        let seconds = |gap: &Value| {
            let at = |name: &str| time::parse(gap[name].as_str().unwrap()).unwrap();
            at("to") - at("from")
        };
        let length: Micros = gaps.iter().map(seconds).sum();
        assert_eq!(length, whole["gaps"].as_array().unwrap().iter().map(seconds).sum::<Micros>(), "{extra}");
    }
    let beyond = antiphon_platform::http::encode_cursor(&(MAY + 3_600 * SECOND));
    let problem = refused(&store, &format!("{ROOF}/features?{}&cursor={beyond}", range(MAY, MAY + SECOND))).await;
    assert_eq!(problem["field"], "cursor");
}

#[tokio::test]
async fn refusals_come_in_their_order() {
    let store = filled(&two()).await;
    let sensor = routes(&store, Principal::Sensor(String::from("roof")), false);
    assert_eq!(send(&sensor, "/api/v1/sensors/rof/features?x=1", &[]).await.status(), 403);
    let missing = refused(&store, "/api/v1/sensors/rof/features?x=1").await;
    assert_eq!((&missing["status"], &missing["hint"]), (&Value::from(404), &Value::from("roof")));
    assert_eq!(refused(&store, "/api/v1/songs/nothing/features").await["status"], 404);
    assert_eq!(refused(&store, &format!("{ROOF}/features?x=1")).await["field"], "x");
    assert_eq!(refused(&store, "/api/v1/algorithms/levle").await["hint"], "level");
    for (query, field) in [
        ("format=arrow", "format"),
        ("limit=0", "limit"),
        ("limit=100001", "limit"),
        ("resolution=frame", "resolution"),
        ("features=mel.preview", "resolution"),
    ] {
        let problem = refused(&store, &format!("{ROOF}/features?{}&{query}", range(MAY, MAY + SECOND))).await;
        assert_eq!((&problem["status"], problem["field"].as_str()), (&Value::from(400), Some(field)), "{query}");
    }
    for path in ["live?features=nothing", "annotations?types=silense&from=2026-05-01T00:00:00Z&to=2026-05-02T00:00:00Z"]
    {
        assert_eq!(refused(&store, &format!("{ROOF}/{path}")).await["status"], 400);
    }
}

#[tokio::test]
async fn answers_are_cached_by_revision() {
    let store = filled(&two()[..1]).await;
    let router = routes(&store, Principal::Public, true);
    let query = format!("{ROOF}/features?{}", range(MAY, MAY + 60 * SECOND));
    let first = send(&router, &query, &[]).await;
    let headers: HeaderMap = first.headers().clone();
    let etag = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(headers["vary"], "Accept, Accept-Encoding, Authorization");
    assert!(headers["cache-control"].to_str().unwrap().starts_with("public, max-age=0"));
    let revision: Value = serde_json::from_str(&text(first).await).unwrap();
    let pinned = format!("{query}&revision={}", revision["revision"].as_str().unwrap());
    let same = send(&router, &query, &[(header::IF_NONE_MATCH, &etag)]).await;
    assert_eq!((same.status(), same.headers()["etag"].to_str().unwrap()), (StatusCode::NOT_MODIFIED, etag.as_str()));
    let immutable = send(&router, &pinned, &[]).await;
    assert!(immutable.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    store.apply(&two()[1].messages()).await;
    assert_eq!(send(&router, &query, &[(header::IF_NONE_MATCH, &etag)]).await.status(), 200);
    assert_eq!(send(&router, &pinned, &[]).await.status(), 410);
}

#[tokio::test]
async fn calibration_names_the_unit() {
    let store = filled(&two()).await;
    let plan = History::new(sensor_default(), Some(94.0)).to_text();
    store.execute(format!("update sensors set plan = '{plan}'")).await;
    let page = get(&store, &format!("{ROOF}/features?{}", range(MAY, MAY + SECOND))).await;
    assert_eq!(page["columns"][2]["unit"], "dB");
}

#[tokio::test]
async fn silences_are_joined_over_borders_and_clipped_by_the_overlap_rule() {
    // Each recording is silent in its first half; the second one is overlapped by the first for 5 s.
    let made = [Made::new(MAY, 10 * SECOND, 1), Made::new(MAY + 5 * SECOND, 10 * SECOND, 2)];
    let store = filled(&made).await;
    let query = format!("{ROOF}/annotations?{}", range(MAY, MAY + 60 * SECOND));
    let page = get(&store, &query).await;
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(
        items[0],
        serde_json::json!({
            "from": "2026-05-01T00:00:00.000000Z", "to": "2026-05-01T00:00:05.000000Z", "type": "silence", "label": "",
            "value": -61.5, "confidence": null, "algorithm": "silence", "version": 1,
        })
    );
    let later = Made::new(MAY + 15 * SECOND, 10 * SECOND, 3);
    let touching = Made { seed: 4, ..Made::new(MAY + 20 * SECOND + 15_000, 8 * SECOND, 4) };
    for made in [&later, &touching] {
        store.apply(&made.messages()).await;
    }
    let confident = get(&store, &format!("{query}&min_confidence=0.5")).await;
    assert!(confident["items"].as_array().unwrap().is_empty(), "a silence has no confidence");
    let csv = send(&routes(&store, Principal::Reader, false), &format!("{query}&format=csv"), &[]).await;
    let csv = text(csv).await;
    assert!(csv.starts_with("from,to,type,label,value,confidence,algorithm,version\n"), "{csv}");
    let first = get(&store, &format!("{query}&limit=1")).await;
    let second = get(&store, &format!("{query}&limit=1&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!(second["items"][0]["from"], "2026-05-01T00:00:15.000000Z");
    let inside = get(&store, &format!("{ROOF}/annotations?{}", range(MAY + 4 * SECOND, MAY + 5 * SECOND))).await;
    assert_eq!(inside["items"][0], items[0], "what overlaps a range is shown whole");
}

#[tokio::test]
async fn live_events_follow_resume_and_reset() {
    use axum::body::HttpBody;
    async fn events(body: &mut Body, count: usize) -> Vec<(String, String, Value)> {
        let mut text = String::new();
        while text.matches("\n\n").count() < count {
            let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context));
            let frame = tokio::time::timeout(std::time::Duration::from_secs(10), frame).await.unwrap();
            text.push_str(std::str::from_utf8(frame.unwrap().unwrap().data_ref().unwrap()).unwrap());
        }
        let field = |event: &str, name: &str| {
            let line = event.lines().find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")));
            line.unwrap_or_default().to_owned()
        };
        let parse = |event: &str| {
            let data = serde_json::from_str(&field(event, "data")).unwrap();
            (field(event, "event"), field(event, "id"), data)
        };
        text.trim_end().split("\n\n").map(parse).collect()
    }
    let store = filled(&two()[..1]).await;
    let router = routes(&store, Principal::Reader, false);
    let live = format!("{ROOF}/live?features=level.a,mel");
    let mut following = send(&router, &live, &[]).await.into_body();
    store.apply(&two()[1].messages()).await;
    let new = events(&mut following, 11).await;
    assert_eq!(new[0].2["time"], "2026-05-01T00:00:20.000000Z");
    assert_eq!(new[0].2["coverage"], 0.5);
    assert!(new[0].2["values"]["level.a"].is_number());
    let ids: Vec<i64> = new.iter().map(|(_, id, _)| id.parse().unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
    let last_event_id = header::HeaderName::from_static("last-event-id");
    let mut resumed = send(&router, &live, &[(last_event_id.clone(), &new[4].1)]).await.into_body();
    assert_eq!(events(&mut resumed, 6).await[..6], new[5..11]);
    for bad in ["x", "-1", "999999999", ""] {
        let mut reset = send(&router, &live, &[(last_event_id.clone(), bad)]).await.into_body();
        let event = &events(&mut reset, 1).await[0];
        let newest = store.count("select sequence from sources").await.to_string();
        assert_eq!((event.0.as_str(), event.1.as_str()), ("reset", newest.as_str()), "{bad:?}");
    }
}

#[tokio::test]
async fn algorithms_tell_their_outputs() {
    let store = filled(&[]).await;
    let list = get(&store, "/api/v1/algorithms").await;
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.contains(&"level"), "{names:?}");
    let level = get(&store, "/api/v1/algorithms/level").await;
    let a = level["outputs"].as_array().unwrap().iter().find(|output| output["name"] == "level.a").unwrap();
    assert_eq!((&a["unit"], &a["dimensions"], &a["stats"][0]), (&"dBFS".into(), &1.into(), &"leq".into()));
}

/// What the algorithms find in 3 s of a rising tone, frames kept.
fn analysed(is_song: bool) -> messages::Result {
    use antiphon_features::algorithm::Stream;
    use antiphon_features::session::{Item, Session, SummaryValue};
    let rate = 22_050;
    let first = if is_song { 0 } else { MAY / SECOND * i64::from(rate) };
    let stream = Stream {
        rate,
        channels: 1,
        first_sample: first,
        first_body_sample: first,
        song: is_song,
        calibration_db: None,
    };
    let item = |name: &str, outputs: &[&str]| Item {
        algorithm: name.to_owned(),
        outputs: outputs.iter().map(ToString::to_string).collect(),
        frames: true,
        ..Item::default()
    };
    let items = [item("level", &[]), item("loudness", &[]), item("mel", &["", "preview"])];
    let mut session = Session::new(&items, &stream).unwrap();
    let tone: Vec<f32> = (0..rate * 3).map(|n| (n as f32 * 0.1).sin() * (n as f32 / 70_000.0)).collect();
    session.push(&[&tone]);
    let found = session.finish();
    let blocks = found.blocks.into_iter().map(|block| messages::Block {
        algorithm: block.algorithm.to_owned(),
        version: block.version,
        layer: block.layer.to_owned(),
        minute: block.minute,
        data: block.data.into(),
    });
    let summaries = found.summaries.into_iter().map(|summary| {
        let (value, reason) = match summary.value {
            SummaryValue::Number(number) => (Some(messages::summary::Value::Number(number)), String::new()),
            SummaryValue::Text(text) => (Some(messages::summary::Value::Text(text)), String::new()),
            SummaryValue::Missing(reason) => (None, reason),
        };
        let (algorithm, output) = (summary.algorithm.to_owned(), summary.output.to_owned());
        messages::Summary { algorithm, version: summary.version, output, value, reason }
    });
    let start = if is_song { 0 } else { MAY };
    let group = if is_song { "analyze-songs" } else { "analyze" };
    messages::Result {
        kind: if is_song { messages::SourceKind::Song } else { messages::SourceKind::Sensor } as i32,
        sensor: if is_song { String::new() } else { String::from("roof") },
        id: vec![7; 20].into(),
        recording_start: start,
        accepted_at: MAY,
        last_piece: true,
        group: group.to_owned(),
        groups: vec![group.to_owned()],
        plan_version: 1,
        parts: 1,
        from: start,
        to: start + 3 * SECOND,
        sample_rate: rate,
        channels: 1,
        blocks: blocks.collect(),
        summaries: summaries.collect(),
        ..messages::Result::default()
    }
}

#[tokio::test]
async fn frames_are_rows_of_their_own() {
    let store = filled(&[]).await;
    store.apply(&[message(&analysed(false))]).await;
    let query = format!("{ROOF}/features?{}&resolution=frame", range(MAY, MAY + 60 * SECOND));
    let level = get(&store, &format!("{query}&features=level")).await;
    let names: Vec<&str> = level["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["time", "coverage", "level.a", "level.c", "level.z"]);
    let rows = level["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &level["resolution"]), (24, &Value::from("frame")), "8 a second");
    assert!(rows.iter().all(|row| row[1] == 1.0 && row[2].is_number()));
    let levels: Vec<f64> = rows[8..].iter().map(|row| row[4].as_f64().unwrap()).collect();
    assert!(levels.windows(2).all(|pair| pair[0] < pair[1]), "the tone rises");
    let mel = get(&store, &format!("{query}&features=mel&limit=10")).await;
    assert_eq!(mel["rows"].as_array().unwrap().len(), 10);
    let next = get(&store, &format!("{query}&features=mel&limit=10&cursor={}", mel["next"].as_str().unwrap())).await;
    assert!(next["rows"][0][0].as_str() > mel["rows"][9][0].as_str());
    let preview = get(&store, &format!("{query}&features=mel.preview")).await;
    let rows = preview["rows"].as_array().unwrap();
    assert_eq!((rows[0].as_array().unwrap().len(), rows.len()), (2 + 64, 30), "10 a second");
    let problem = refused(&store, &format!("{query}&features=level,mel")).await;
    assert_eq!(problem["field"], "features");
}

#[tokio::test]
async fn songs_are_counted_in_seconds_from_their_start() {
    let store = filled(&[]).await;
    let id = SongId::try_from(&[7_u8; 20][..]).unwrap();
    store
        .execute(String::from(
            "insert into songs (id, status, search, size, media_type, blob, accepted_at) \
             values (x'0707070707070707070707070707070707070707', 'accepted', '', 1, 'audio/flac', 'x', 0)",
        ))
        .await;
    let song = format!("/api/v1/songs/{id}");
    let empty = get(&store, &format!("{song}/features")).await;
    assert_eq!((empty["from"].as_f64(), empty["rows"].as_array().unwrap().len()), (Some(0.0), 0));
    let before = get(&store, &format!("{song}/summary")).await;
    assert!(
        before["items"].as_array().unwrap().iter().all(|item| item["value"].is_null() && item["reason"].is_string())
    );
    store.apply(&[message(&analysed(true))]).await;
    let page = get(&store, &format!("{song}/features?features=level.a,loudness")).await;
    assert_eq!(page["source"], serde_json::json!({"kind": "song", "id": id.to_string()}));
    assert_eq!((page["to"].as_f64(), &page["resolution"]), (Some(3.0), &Value::from("1s")));
    let times: Vec<f64> = page["rows"].as_array().unwrap().iter().map(|row| row[0].as_f64().unwrap()).collect();
    assert_eq!(times, [0.0, 1.0, 2.0]);
    let part = get(&store, &format!("{song}/features?from=0.5&to=5&resolution=10s")).await;
    assert_eq!((part["rows"][0][0].as_f64(), part["rows"][0][1].as_f64()), (Some(0.0), Some(0.555_556)));
    assert_eq!(part["gaps"], serde_json::json!([{"from": 3.0, "to": 5.0}]));
    let csv = send(&routes(&store, Principal::Reader, false), &format!("{song}/features?format=csv"), &[]).await;
    assert!(text(csv).await.starts_with("time,coverage,level.a\n0,1.0,"));
    let summary = get(&store, &format!("{song}/summary")).await;
    assert_eq!(summary["items"].as_array().unwrap().len(), before["items"].as_array().unwrap().len());
    get(&store, &format!("{song}/annotations")).await;
}

#[tokio::test]
async fn an_older_version_is_shown_where_only_it_is_known() {
    let [first, _] = two();
    let store = filled(std::slice::from_ref(&first)).await;
    // The version changes in the middle of second 9, which both know.
    for renewed in Made::new(MAY + 9_500_000, 5_500_000, 2).messages() {
        let mut result = messages::Result::decode(renewed.body).unwrap();
        for block in &mut result.blocks {
            block.version += 1;
        }
        store.apply(&[message(&result)]).await;
    }
    let query = |resolution: &str| {
        format!("{ROOF}/features?{}&stat=leq,l50&resolution={resolution}", range(MAY, MAY + 60 * SECOND))
    };
    let page = get(&store, &query("1s")).await;
    let names: Vec<&str> = page["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["time", "coverage", "level.a", "level.a@1", "level.a:l50", "level.a@1:l50"]);
    assert_eq!((&page["columns"][2]["version"], &page["columns"][3]["version"]), (&2.into(), &1.into()));
    for (second, row) in page["rows"].as_array().unwrap().iter().enumerate() {
        assert_eq!((row[2].is_number(), row[3].is_number()), (second >= 9, second < 9), "{second}");
    }
    let all = get(&store, &format!("{}&versions=all", query("1s"))).await;
    assert!(all["rows"][9][2].is_number() && all["rows"][9][3].is_number());
    let minute = get(&store, &query("1m")).await;
    let alone = get(&store, &format!("{ROOF}/features?{}&resolution=1m", range(MAY, MAY + 9 * SECOND))).await;
    assert_eq!(minute["rows"][0][3], alone["rows"][0][2], "second 9 is the newer version's");
    let before = get(&store, &format!("{ROOF}/features?{}", range(MAY - 60 * SECOND, MAY - SECOND))).await;
    assert_eq!(before["columns"].as_array().unwrap().len(), 3);
}

/// Recordings around midnight with gaps, overlaps, jitter and unaligned ends.
fn recordings() -> impl Strategy<Value = Vec<Made>> {
    let one = (-15_000_000..70_000_000_i64, 400_000..50_000_000_i64, 0..3_u64);
    prop::collection::vec(one, 1..8).prop_map(|list| {
        let mut next = MAY - 100 * SECOND;
        list.into_iter()
            .map(|(shift, length, seed)| {
                let start = next + shift;
                next = start + length;
                Made::new(start, length, seed)
            })
            .collect()
    })
}

fn queries() -> impl Strategy<Value = (Micros, Micros, String)> {
    let resolution = prop::sample::select(vec!["1s", "10s", "1m", "10m", "1h", "1d", "auto"]);
    let zone = prop::sample::select(vec!["UTC", "Asia/Kolkata", "America/St_Johns"]);
    let extra = prop::sample::select(vec!["", "&fill=gaps"]);
    let features = prop::sample::select(vec!["level.a&stat=leq,l90,min,max", "level,loudness", "mel&stat=stddev"]);
    (-200_000_000..300_000_000_i64, 1..400_000_000_i64, resolution, zone, extra, features).prop_map(
        |(from, length, resolution, zone, extra, features)| {
            let (from, to) = (MAY + from, MAY + from + length);
            let query = range(from, to);
            (from, to, format!("{query}&resolution={resolution}&tz={zone}{extra}&features={features}"))
        },
    )
}

fn run(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(case);
}

async fn whole(store: &Store, query: &str) -> String {
    let request = Request::parse(SourceKind::Sensor, "roof", Some(query)).unwrap();
    let mut tx = store.db.read().await.unwrap();
    answer(&mut tx, &request, store.clock.now()).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_a_function_of_the_set(made in recordings(), queries in prop::collection::vec(queries(), 6)) {
        run(async {
            let one = filled(&made).await;
            let reversed: Vec<Made> = made.iter().rev().chain(&made).cloned().collect();
            let other = filled(&reversed).await;
            one.roll_up().await;
            for (_, _, query) in &queries {
                // One is read from rows, the other from what is marked stale.
                assert_eq!(whole(&one, query).await, whole(&other, query).await, "{query}");
            }
        });
    }

    #[test]
    fn a_row_is_made_of_the_seconds_that_begin_in_it(made in recordings(), (from, to, query) in queries()) {
        run(async {
            let store = filled(&made).await;
            store.roll_up().await;
            let found: Value = serde_json::from_str(&whole(&store, &query).await).unwrap();
            let request = Request::parse(SourceKind::Sensor, "roof", Some(&query)).unwrap();
            let resolution = Resolution::ALL.into_iter().find(|one| one.name() == found["resolution"]).unwrap();
            let grid = grid::Grid::new(resolution, request.zone);
            let mut tx = store.db.read().await.unwrap();
            let source = crate::store::source(&mut tx, SourceKind::Sensor, "roof").await.unwrap().unwrap();
            let layers = crate::store::layers_of(&mut tx, source.id).await.unwrap();
            let spans = crate::store::spans(&mut tx, source.id, from, to + SECOND).await.unwrap();
            let (first, end) = (Resolution::Second.ceil(from), Resolution::Second.ceil(to));
            let mut expected = Vec::new();
            let mut at = first;
            while at < end {
                let bucket = grid.bucket(at);
                let (start, stop) = (bucket.start.max(first), bucket.end.min(end));
                if heard::heard(&spans, start, stop) > 0 || request.fill == request::Fill::Gaps {
                    expected.push(bucket);
                }
                at = bucket.end;
            }
            let rows = found["rows"].as_array().unwrap();
            let times: Vec<&str> = rows.iter().map(|row| row[0].as_str().unwrap()).collect();
            let wanted: Vec<String> = expected.iter().map(|bucket| time::format(bucket.start)).collect();
            assert_eq!(times, wanted, "{query}");
            for (row, bucket) in rows.iter().zip(&expected) {
                let (start, stop) = (bucket.start.max(first), bucket.end.min(end));
                for (place, column) in found["columns"].as_array().unwrap().iter().enumerate().skip(2) {
                    let value = scratch(&mut tx, source.id, &layers, column, (start, stop)).await;
                    assert_eq!(row[place].as_f64(), format::number(value).as_f64(), "{column} of {} in {query}", row[0]);
                }
            }
        });
    }
}

/// A value made of nothing but 1 s cells.
async fn scratch(
    tx: &mut ReadTransaction,
    source: i64,
    layers: &[crate::store::LayerRow],
    column: &Value,
    (start, end): (Micros, Micros),
) -> Option<f32> {
    let name = column["name"].as_str().unwrap().split(':').next().unwrap();
    let descriptor = antiphon_features::find(column["feature"].as_str().unwrap()).unwrap();
    let stat = column["stat"].as_str().unwrap();
    let (output, series, dimension) = descriptor.series().find_map(|(output, series)| {
        let full = select::full_name(descriptor, output);
        let rest = name.strip_prefix(&full)?;
        let dimension = if rest.is_empty() { 0 } else { rest.strip_prefix('.')?.parse().ok()? };
        Some((output, series, dimension))
    })?;
    let layer = layers
        .iter()
        .find(|row| row.algorithm == descriptor.name && Some(row.layer.as_str()) == series.layer_of(stat))?;
    let seconds = crate::store::read_cells(tx, source, layer, Resolution::Second, start, end).await.unwrap();
    let layout = layer.layout().unwrap();
    let cells = pieces::roll_up(layout, seconds, Resolution::Second);
    let cell = pieces::join(layout, &grid::largest_cells(start, end), &cells)?;
    antiphon_features::cells::value(&cell, output, stat, dimension)
}
