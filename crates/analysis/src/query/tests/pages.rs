//! Pages, CSV, refusals, caching.

use super::*;

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
        ("format=feather", "format"),
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

#[tokio::test]
async fn a_long_answer_is_streamed_whole_or_cut() {
    let store = filled(&[Made::new(MAY, 7_300 * SECOND, 1)]).await;
    let router = routes(&store, Principal::Reader, false);
    let query = format!("{ROOF}/features?{}&resolution=1s", range(MAY, MAY + 8_000 * SECOND));
    let csv = text(send(&router, &format!("{query}&format=csv"), &[]).await).await;
    assert_eq!(csv.lines().count(), 1 + 7_300);
    let page = get(&store, &query).await;
    assert_eq!(page["rows"].as_array().unwrap().len(), 7_300);
    let (last, line) = (&page["rows"][7_299], csv.lines().last().unwrap());
    assert_eq!(line, format!("{},{:?},{}", last[0].as_str().unwrap(), last[1].as_f64().unwrap(), last[2]));
    let damaged = (MAY + 7_200 * SECOND) / (60 * SECOND);
    assert!(store.execute(format!("update blocks set data = x'00' where minute = {damaged}")).await > 0);
    for format in ["csv", "json", "arrow", "parquet"] {
        let response = send(&router, &format!("{query}&format={format}"), &[]).await;
        assert_eq!(response.status(), 200, "the first hour is fine");
        assert!(to_bytes(response.into_body(), 1 << 28).await.is_err(), "{format} must not look whole");
    }
    let late = format!("{ROOF}/features?{}&resolution=1s", range(MAY + 7_200 * SECOND, MAY + 7_300 * SECOND));
    assert_eq!(send(&router, &late, &[]).await.status(), 500);
}
