//! Values of all songs.

use antiphon_platform::db::Statement;
use antiphon_platform::on_both_engines;
use serde_json::json;

use super::*;
use crate::messages::{self, summary};
use crate::store::tests::message;

on_both_engines! {
    songs_are_found_by_tempo_and_key,
    pages_and_tables_have_every_song_once,
}

const PATH: &str = "/api/v1/summaries";

fn id(number: u8) -> String {
    SongId::try_from(&[number; 20][..]).unwrap().to_string()
}

fn number(algorithm: &str, version: u32, output: &str, value: f64) -> messages::Summary {
    let value = Some(summary::Value::Number(value));
    messages::Summary {
        algorithm: algorithm.to_owned(),
        version,
        output: output.to_owned(),
        value,
        ..Default::default()
    }
}

fn tempo(version: u32, value: f64) -> messages::Summary {
    number("rhythm", version, "tempo", value)
}

fn key(name: &str) -> messages::Summary {
    let value = Some(summary::Value::Text(name.to_owned()));
    messages::Summary { value, ..number("key", 2, "key", 0.0) }
}

/// Adds a song of three seconds with what was found in it.
async fn add(store: &Store, song: u8, plan_version: u32, summaries: Vec<messages::Summary>) {
    const ADD: &str = "insert into songs (id, status, search, size, media_type, blob, accepted_at) \
                       values ($1, 'accepted', '', 1, 'audio/flac', $2, 0) on conflict (id) do nothing";
    let mut tx = store.db.write().await.unwrap();
    let values = [vec![song; 20].into(), format!("songs/{song}").into()];
    tx.execute(&Statement { name: "test", text: ADD }, &values).await.unwrap();
    tx.commit().await.unwrap();
    let result = messages::Result {
        kind: messages::SourceKind::Song as i32,
        id: vec![song; 20].into(),
        last_piece: true,
        group: String::from("analyze-songs"),
        groups: vec![String::from("analyze-songs")],
        plan_version,
        parts: 1,
        to: 3 * SECOND,
        summaries,
        ..messages::Result::default()
    };
    store.apply(&[message(&result)]).await;
}

/// The numbers of the songs that are found, in their order.
async fn found(store: &Store, query: &str) -> Vec<u8> {
    let page = get(store, &format!("{PATH}?{query}")).await;
    assert_eq!(page["next"], Value::Null, "{query}");
    let ids = page["items"].as_array().unwrap().iter().map(|item| item["song"].as_str().unwrap().parse::<SongId>());
    ids.map(|id| id.unwrap().as_bytes()[0]).collect()
}

async fn songs_are_found_by_tempo_and_key(on: Engine) {
    let store = filled_on(on, &[]).await;
    assert_eq!(get(&store, PATH).await, json!({"items": [], "next": null}));
    add(&store, 1, 1, vec![tempo(1, 100.0), key("A minor")]).await;
    add(&store, 2, 1, vec![tempo(1, 129.97), key("C# minor"), number("loudness", 1, "integrated", -14.25)]).await;
    add(&store, 3, 1, vec![tempo(1, 180.0), key("A minor")]).await;
    let missing = messages::Summary { reason: String::from("no beat"), value: None, ..tempo(1, 0.0) };
    add(&store, 4, 1, vec![missing]).await;
    // An older version found another tempo; the newest one counts.
    add(&store, 5, 1, vec![tempo(1, 110.0)]).await;
    add(&store, 5, 2, vec![tempo(2, 90.0)]).await;
    for (query, songs) in [
        ("", &[1, 2, 3, 4, 5][..]),
        ("tempo=100..130", &[1, 2]),
        ("tempo=100..", &[1, 2, 3]),
        ("tempo=..99", &[5]),
        ("key=Am", &[1, 3]),
        ("key=Db%20minor", &[2]),
        ("key=a+minor&tempo=..170", &[1]),
        ("key=C", &[]),
    ] {
        assert_eq!(found(&store, query).await, songs, "{query}");
    }
    assert_eq!(found(&store, &format!("songs={},{},{}", id(3), id(1), id(9))).await, [1, 3]);
    assert_eq!(found(&store, &format!("songs={},{}&key=C%23m", id(2), id(1))).await, [2]);
    let two = get(&store, &format!("{PATH}?songs={}&features=rhythm.tempo,key.key,loudness.integrated", id(2))).await;
    let values = json!({"rhythm.tempo": 129.97, "key.key": "C# minor", "loudness.integrated": -14.25});
    assert_eq!(two["items"], json!([{"song": id(2), "duration": 3.0, "values": values}]));
    let four = get(&store, &format!("{PATH}?songs={}&features=rhythm.tempo", id(4))).await;
    assert_eq!(four["items"][0]["values"], json!({"rhythm.tempo": null}));
    let many = vec![id(1); 201].join(",");
    for (query, field) in [
        ("tempo=130..100", "tempo"),
        ("tempo=fast", "tempo"),
        ("key=H", "key"),
        ("songs=x", "songs"),
        (&format!("songs={many}"), "songs"),
        ("features=mel", "features"),
        ("limit=1001", "limit"),
        ("cursor=x", "cursor"),
        ("format=xls", "format"),
    ] {
        assert_eq!(refused(&store, &format!("{PATH}?{query}")).await["field"], field, "{query}");
    }
}

async fn pages_and_tables_have_every_song_once(on: Engine) {
    let store = filled_on(on, &[]).await;
    for song in 1..=7 {
        let key = key(if song % 2 == 0 { "A minor" } else { "Eb major" });
        add(&store, song, 1, vec![tempo(1, 60.0 + f64::from(song)), key]).await;
    }
    for filter in ["", "&key=Eb", "&tempo=62..66"] {
        let all = found(&store, filter).await;
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = get(&store, &format!("{PATH}?limit=2{filter}{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2 && !items.is_empty());
            paged.extend(
                items.iter().map(|item| item["song"].as_str().unwrap().parse::<SongId>().unwrap().as_bytes()[0]),
            );
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, all, "{filter}");
    }
    let router = routes(&store, Principal::Reader, false);
    let path = format!("{PATH}?features=rhythm.tempo,key.key,loudness.integrated&tempo=63..64&format=");
    let csv = send(&router, &format!("{path}csv"), &[]).await;
    assert_eq!(csv.headers()[header::CONTENT_DISPOSITION], "attachment; filename=\"songs.csv\"");
    let rows = format!("{},3,63,Eb major,\n{},3,64,A minor,\n", id(3), id(4));
    assert_eq!(text(csv).await, format!("song,duration,rhythm.tempo,key.key,loudness.integrated\n{rows}"));
    let parquet = send(&router, &format!("{path}parquet"), &[]).await;
    assert_eq!(parquet.headers()[header::CONTENT_TYPE], "application/vnd.apache.parquet");
    assert!(to_bytes(parquet.into_body(), 1 << 20).await.unwrap().ends_with(b"PAR1"));
    let sensor = send(&routes(&store, Principal::Sensor(String::from("roof")), false), PATH, &[]).await;
    assert_eq!(sensor.status(), StatusCode::FORBIDDEN);
}
