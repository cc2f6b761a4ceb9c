//! Annotations and live events.

use super::*;

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
    let ever = get(&store, &format!("{ROOF}/annotations?from=0001-01-01T00:00:00Z&to=9999-12-31T00:00:00Z")).await;
    let first_two = serde_json::json!([first["items"][0], second["items"][0]]);
    assert_eq!(&ever["items"].as_array().unwrap()[..2], first_two.as_array().unwrap());
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
    assert_eq!(new.len(), 11, "none for the seconds after the end, which loudness marks");
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
