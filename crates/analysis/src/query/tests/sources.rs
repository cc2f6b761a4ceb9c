//! Frames, songs, versions.

use prost::Message as _;

use super::*;
use crate::messages;
use crate::store::tests::message;

/// What the algorithms find in 3 s of a rising tone, frames kept.
fn analysed(is_song: bool) -> messages::Result {
    use antiphon_features::algorithm::Stream;
    use antiphon_features::session::{Item, Session};
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
        blocks: found.blocks.into_iter().map(messages::Block::from).collect(),
        summaries: found.summaries.into_iter().map(messages::Summary::from).collect(),
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
    let value = |page: &Value, name: &str| {
        let items = page["items"].as_array().unwrap();
        items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name} is no item"))["value"].clone()
    };
    for name in ["loudness.integrated", "loudness.range", "loudness.true_peak", "key.key", "rhythm.tempo"] {
        assert!(value(&before, name).is_null(), "{name}");
    }
    assert!(value(&summary, "loudness.integrated").is_number(), "{summary}");
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
