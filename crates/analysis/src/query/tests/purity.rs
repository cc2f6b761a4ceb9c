//! An answer is a function of the set of recordings, and its rows are folds of their seconds.

use proptest::prelude::*;

use super::*;
use crate::store::Resolution;

const DAY: Micros = 86_400 * SECOND;

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
            for (from, to, _) in &queries {
                let query = format!("{ROOF}/annotations?{}", range(*from, *to));
                let all = get(&one, &query).await;
                assert_eq!(all, get(&other, &query).await, "{query}");
                let (mut items, mut cursor) = (Vec::new(), String::new());
                loop {
                    let page = get(&one, &format!("{query}&limit=2{cursor}")).await;
                    items.extend(page["items"].as_array().unwrap().clone());
                    let Some(next) = page["next"].as_str() else { break };
                    cursor = format!("&cursor={next}");
                }
                assert_eq!(&items, all["items"].as_array().unwrap(), "{query}");
                // What is shown does not depend on where the range begins.
                let wide = get(&one, &format!("{ROOF}/annotations?{}&limit=1000", range(MAY - DAY, MAY + DAY))).await;
                let seen = wide["items"].as_array().unwrap();
                assert!(items.iter().all(|item| seen.contains(item)), "{query}: {items:?} of {seen:?}");
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
