//! What only a server has: writers at once, partitions, accounts, SQL for analysts.

use std::collections::BTreeMap;

use antiphon_features::cells::value;
use antiphon_features::descriptor::{Output, PERCENTILES, Series};

use super::*;

fn text(text: &str) -> Statement {
    Statement { name: "test", text: text.to_owned().leak() }
}

/// A day of recordings with jitter, overlaps, repeats of the same time, gaps, cuts and one at midnight.
fn mixed_day() -> Vec<Made> {
    let mut made: Vec<Made> = (0..6)
        .map(|index| Made::new(MAY + index * 10 * SECOND + (index % 3 - 1) * 15_000, 10 * SECOND, index as u64))
        .collect();
    made.extend([
        Made::new(MAY + 61 * SECOND + 250_000, 7_500_000, 20),
        Made::new(MAY + 63 * SECOND, 30 * SECOND, 21),
        Made::new(MAY + 63 * SECOND, 30 * SECOND, 22),
        Made { cuts: vec![MAY + 3_630 * SECOND], ..Made::new(MAY + 3_599_500_000, 75 * SECOND, 23) },
        Made { parts: 3, ..Made::new(MAY + 43_200 * SECOND + 999_999, 2 * SECOND + 1, 24) },
        Made::new(MAY + 43_202 * SECOND + 995_000, 61 * SECOND, 25),
        Made::new(MAY + 86_395 * SECOND, 10 * SECOND, 26),
        Made::new(MAY - 35 * 86_400 * SECOND, 10 * SECOND, 27),
    ]);
    made
}

/// The columns of a series: name, stat, dimension.
fn columns(algorithm: &str, output: &Output, series: &Series) -> Vec<(String, String, usize)> {
    let name = if output.name.is_empty() { algorithm.to_owned() } else { format!("{algorithm}.{}", output.name) };
    let percentiles = || (1..=99).map(|percent| format!("l{percent:02}"));
    let stats = series.stats.iter().flat_map(|stat| -> Vec<String> {
        if *stat == PERCENTILES { percentiles().collect() } else { vec![(*stat).to_owned()] }
    });
    let of_stat = |stat: String| {
        let suffix = if stat == series.default_stat() { String::new() } else { format!(":{stat}") };
        let dimensions = usize::from(series.dimensions);
        (0..dimensions).map(move |dimension| {
            let place = if dimensions == 1 { String::new() } else { format!(".{dimension}") };
            (format!("{place}{suffix}"), stat.clone(), dimension)
        })
    };
    stats.flat_map(of_stat).map(|(rest, stat, dimension)| (format!("{name}{rest}"), stat, dimension)).collect()
}

#[tokio::test]
async fn the_view_gives_what_the_range_query_gives() {
    let store = Store::on(Engine::Postgres).await;
    for made in mixed_day() {
        store.apply(&made.messages()).await;
    }
    let mut tx = store.db.read().await.unwrap();
    let roof = source(&mut tx, SourceKind::Sensor, "roof").await.unwrap().unwrap();
    let layers = layers_of(&mut tx, roof.id).await.unwrap();
    let (from, to) = (MAY - 40 * 86_400 * SECOND, MAY + 2 * 86_400 * SECOND);
    let mut expected: BTreeMap<(String, Micros), f32> = BTreeMap::new();
    for descriptor in antiphon_features::registry() {
        for (output, series) in descriptor.series() {
            for (name, stat, dimension) in columns(descriptor.name, output, series) {
                let layer = series.layer_of(&stat).unwrap();
                let of_layer =
                    |row: &&LayerRow| (row.algorithm.as_str(), row.layer.as_str()) == (descriptor.name, layer);
                // Some are only kept where a plan asks for them.
                let Some(row) = layers.iter().find(of_layer) else { continue };
                for (time, cell) in read_cells(&mut tx, roof.id, row, Resolution::Second, from, to).await.unwrap() {
                    if let Some(found) = value(&cell, output, &stat, dimension) {
                        expected.insert((name.clone(), time), found);
                    }
                }
            }
        }
    }
    assert!(expected.len() > 30_000, "{} values", expected.len());
    let all = "select feature, cast(extract(epoch from time) as bigint) * 1000000, cast(value as double precision)
        from features_1s where sensor = 'roof'";
    let mut found: BTreeMap<(String, Micros), f32> = BTreeMap::new();
    for row in tx.rows(&text(all), &[]).await.unwrap() {
        let key = (row.get(0).unwrap(), row.get(1).unwrap());
        assert!(found.insert(key, row.get::<f64>(2).unwrap() as f32).is_none(), "a value twice");
    }
    let differs: Vec<_> = expected
        .iter()
        .filter(|(key, value)| found.get(*key).is_none_or(|found| found.to_bits() != value.to_bits()))
        .map(|(key, value)| (key, value, found.get(key)))
        .take(20)
        .collect();
    assert!(differs.is_empty(), "{differs:#?}");
    assert_eq!(found.len(), expected.len(), "values of seconds that have none");

    // The function gives a range, by an index.
    let minute = "select count(*) from features_1s('roof', to_timestamp(1777593600), to_timestamp(1777593660))
        where feature = 'level.a'";
    assert_eq!(store.count(minute).await, 60);
}

#[tokio::test]
async fn the_view_knows_every_column_of_the_registry() {
    let store = Store::on(Engine::Postgres).await;
    let mut expected: Vec<(String, i64, String, String)> = Vec::new();
    for descriptor in antiphon_features::registry() {
        for (output, series) in descriptor.series() {
            for (name, stat, _) in columns(descriptor.name, output, series) {
                let layer = series.layer_of(&stat).unwrap();
                expected.push((descriptor.name.to_owned(), descriptor.version.into(), layer.to_owned(), name));
            }
        }
    }
    let mut tx = store.db.read().await.unwrap();
    let all = "select algorithm, version, layer, feature from layer_columns";
    let rows = tx.rows(&text(all), &[]).await.unwrap();
    let found = |row: &antiphon_platform::db::Row| {
        (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap(), row.get(3).unwrap())
    };
    let found: Vec<(String, i64, String, String)> = rows.iter().map(found).collect();
    for column in &expected {
        assert!(found.contains(column), "{column:?} needs a row of layer_columns: add it in a migration");
    }
    for layer in antiphon_features::layers().iter().filter(|layer| layer.rolls_up()) {
        let rules: Vec<String> = layer.rules().iter().map(|rule| format!("{rule:?}")).collect();
        let stored = format!(
            "select count(*) from layer_layouts where algorithm = '{}' and version = {} and layer = '{}'
                and replace(array_to_string(rules, ' '), '_', '') = '{}'",
            layer.id.algorithm,
            layer.version,
            layer.id.layer,
            rules.join(" ").to_lowercase()
        );
        assert_eq!(store.count(stored.leak()).await, 1, "{:?} needs a row of layer_layouts: {rules:?}", layer.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_roll_ups_and_readers_at_once_do_not_show() {
    let store = Store::on(Engine::Postgres).await;
    let straight = Store::new().await;
    let messages: Vec<Message> = mixed_day().iter().flat_map(Made::messages).collect();
    straight.apply(&messages).await;
    let (from, to) = (MAY - 40 * 86_400 * SECOND, MAY + 2 * 86_400 * SECOND);
    let expected = straight.dump(from, to).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4_usize {
        let db = Database::open(store.url.as_str(), &migrations()).await.unwrap();
        let (mut own, clock) = (messages.clone(), store.clock.clone());
        own.rotate_left(writer * messages.len() / 4);
        writers.spawn(async move {
            for batch in own.chunks(writer + 1) {
                apply_messages(&db, &clock, batch).await.unwrap();
                rollup::round(&db, i64::MAX).await.unwrap();
            }
        });
    }
    while writers.join_next().await.is_some() {
        store.dump(MAY, MAY + 60 * SECOND).await;
    }
    assert_eq!(store.dump(from, to).await, expected);
    store.roll_up().await;
    assert_eq!(store.dump(from, to).await, expected, "from rows");
}

#[tokio::test]
async fn partitions_are_made_on_demand_and_hold_up_no_reader() {
    let store = Store::on(Engine::Postgres).await;
    let partitions = "select count(*) from pg_inherits where inhparent = cast('blocks' as regclass)";
    assert_eq!(store.count(partitions).await, 0);
    store.apply(&Made::new(MAY, 10 * SECOND, 1).messages()).await;
    assert_eq!(store.count(partitions).await, 1);
    // A reader that holds the table in an open transaction, as one of a long answer does.
    let mut reader = store.db.read().await.unwrap();
    reader.rows(&text("select source from blocks"), &[]).await.unwrap();
    let mut makers = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let db = Database::open(store.url.as_str(), &migrations()).await.unwrap();
        makers.spawn(async move {
            // Songs' minutes count from 0; a recording of 1970 would be there too.
            Partitions::default().make(&db, [0, 3, 44_640, MAY / SECOND / 60 - 1].into_iter()).await.unwrap();
        });
    }
    while let Some(made) = makers.join_next().await {
        made.unwrap();
    }
    assert_eq!(store.count(partitions).await, 4);
    reader.rows(&text("select source from blocks"), &[]).await.unwrap();
    let late = Made::new(MAY - 2 * SECOND, 4 * SECOND, 2);
    store.apply(&late.messages()).await;
    assert_eq!(store.count("select count(*) from blocks_2026_04").await, SAMPLES.len() as i64);
}

#[tokio::test]
async fn an_account_that_may_not_change_the_schema_stores_and_reads() {
    let store = Store::on(Engine::Postgres).await;
    let Space::Server(server) = &store.space else { unreachable!("it is on a server") };
    let (writer, reader) = (format!("writer_{}", server.name()), format!("reader_{}", server.name()));
    for account in [&writer, &reader] {
        server.execute_as_admin(&format!("create role {account} login password 'not-a-secret'"));
        server.execute_as_admin(&format!("grant select on all tables in schema public to {account}"));
    }
    server.execute_as_admin(&format!("grant insert, update, delete on all tables in schema public to {writer}"));
    let as_account = async |account: &str| {
        let url = server.url_of(account, "not-a-secret");
        Database::open(url.as_str(), &migrations()).await.unwrap()
    };
    let db = as_account(&writer).await;
    let made = Made::new(MAY, 10 * SECOND, 1);
    let refused = apply_messages(&db, &store.clock, &made.messages()).await;
    assert!(
        matches!(&refused, Err(StoreError::Database(DbError::Unavailable(why))) if why.contains("partition")),
        "without the right to make partitions results wait, and are not set aside: {refused:?}"
    );
    server.execute_as_admin(&format!("grant execute on function make_blocks_partition(bigint) to {writer}"));
    apply_messages(&db, &store.clock, &made.messages()).await.unwrap();
    while rollup::round(&db, i64::MAX).await.unwrap() > 0 {}
    let mut tx = db.write().await.unwrap();
    tx.execute(&text("create table mine (number bigint)"), &[]).await.unwrap_err();
    drop(tx);

    let url = server.url_of(&reader, "not-a-secret");
    let query = antiphon_platform::db::Reader::open(url.as_str(), &migrations()).await.unwrap();
    let mut tx = query.read().await.unwrap();
    let roof = source(&mut tx, SourceKind::Sensor, "roof").await.unwrap().unwrap();
    for layer in layers_of(&mut tx, roof.id).await.unwrap().iter().filter(|layer| layer.kind == LayerKind::Series) {
        read_cells(&mut tx, roof.id, layer, Resolution::Second, MAY, MAY + 60 * SECOND).await.unwrap();
    }
    let view = "select count(*) from features_1s('roof', to_timestamp(1777593600), to_timestamp(1777593660))";
    assert!(tx.row(&text(view), &[]).await.unwrap().unwrap().get::<i64>(0).unwrap() > 0, "analysts read the view");
    drop((tx, query, db));
    for account in [writer, reader] {
        server.execute_as_admin(&format!("drop owned by {account}; drop role {account}"));
    }
}
