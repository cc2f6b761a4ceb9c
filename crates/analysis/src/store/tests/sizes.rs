//! What a day of a sensor costs on disk.

use super::*;

on_both_engines! {
    recordings_of_10_seconds_fit_into_the_budget,
    recordings_of_60_seconds_fit_into_the_budget,
}

async fn recordings_of_10_seconds_fit_into_the_budget(on: Engine) {
    check_budget(on, 10).await;
}

async fn recordings_of_60_seconds_fit_into_the_budget(on: Engine) {
    check_budget(on, 60).await;
}

/// An hour of recordings at unaligned starts, all default layers but the preview.
async fn check_budget(on: Engine, seconds: i64) {
    let store = Store::on(on).await;
    let keep = |message: Message| {
        let mut result = messages::Result::decode(message.body).unwrap();
        result.blocks.retain(|block| block.algorithm == "level" || block.algorithm == "loudness");
        super::message(&result)
    };
    let hour: Vec<Message> = (0..3_600 / seconds)
        .flat_map(|index| Made::new(MAY + 1_234_567 + index * seconds * SECOND, seconds * SECOND, 1).messages())
        .map(keep)
        .collect();
    let empty = size(&store).await;
    for batch in hour.chunks(20) {
        store.apply(batch).await;
        store.vacuum().await;
    }
    let one_second = (size(&store).await - empty) * 24;
    for table in ["blocks", "recordings", "results", "annotations", "changes", "stale"] {
        println!("{table}: {:.2} MB a day", bytes_of(&store, table).await as f64 * 24.0 / 1e6);
    }
    store.roll_up().await;
    store.vacuum().await;
    let coarser = bytes_of(&store, "cells").await * 24;
    println!(
        "{on:?}, recordings of {seconds} s: 1 s: {:.1} MB a day, 1 min and coarser: {:.2} MB",
        one_second as f64 / 1e6,
        coarser as f64 / 1e6
    );
    // A row of PostgreSQL has a head of 28 bytes, and its key a second time in the index.
    let (most, most_coarser) = match (on, seconds) {
        (Engine::Sqlite, _) => (25_000_000, 1_000_000),
        (Engine::Postgres, 60..) => (30_000_000, 2_500_000),
        (Engine::Postgres, _) => (40_000_000, 2_500_000),
    };
    assert!(one_second <= most, "{one_second} bytes a day at 1 s");
    assert!(coarser <= most_coarser, "{coarser} bytes a day at 1 min and coarser");
}

async fn size(store: &Store) -> i64 {
    match store.db.reader().engine() {
        Engine::Sqlite => store.count("select sum(pgsize) from dbstat").await,
        Engine::Postgres => bytes_of(store, "%").await,
    }
}

/// Bytes of a table with its indexes, and on PostgreSQL its partitions, of all tables whose names are like a pattern. The
/// maps that PostgreSQL keeps of free space are left out: they are 32 KiB for a small table and nothing for a large one.
async fn bytes_of(store: &Store, table: &str) -> i64 {
    let query = match store.db.reader().engine() {
        Engine::Sqlite => format!(
            "select sum(pgsize) from dbstat where name in (select name from sqlite_schema where tbl_name = '{table}')"
        ),
        Engine::Postgres => format!(
            "select sum(pg_relation_size(found.oid))::bigint
             from pg_class as of_table, lateral (
                select of_table.oid union all select indexrelid from pg_index where indrelid = of_table.oid
                union all select of_table.reltoastrelid) as found (oid)
             where of_table.relnamespace = current_schema()::regnamespace and of_table.relkind = 'r'
                and (of_table.relname like '{table}' or of_table.relname like '{table}\\_%')"
        ),
    };
    store.count(query.leak()).await
}
