//! What a day of a sensor costs on disk.

use super::*;

/// An hour of recordings of 10 s at unaligned starts, all default layers but the preview.
#[tokio::test]
async fn a_sensor_day_fits_into_its_budget() {
    let store = Store::new().await;
    let keep = |message: Message| {
        let mut result = messages::Result::decode(message.body).unwrap();
        result.blocks.retain(|block| block.algorithm == "level" || block.algorithm == "loudness");
        super::message(&result)
    };
    let hour: Vec<Message> = (0..360)
        .flat_map(|index| Made::new(MAY + 1_234_567 + index * 10 * SECOND, 10 * SECOND, 1).messages())
        .map(keep)
        .collect();
    let empty = size(&store).await;
    for batch in hour.chunks(20) {
        store.apply(batch).await;
    }
    let one_second = (size(&store).await - empty) * 24;
    for table in ["blocks", "recordings", "results", "annotations", "changes", "stale"] {
        println!("{table}: {:.2} MB a day", bytes_of(&store, table).await as f64 * 24.0 / 1e6);
    }
    store.roll_up().await;
    let coarser = bytes_of(&store, "cells").await * 24;
    println!("1 s: {:.1} MB a day, 1 min and coarser: {:.2} MB", one_second as f64 / 1e6, coarser as f64 / 1e6);
    assert!(one_second <= 25_000_000, "{one_second} bytes a day at 1 s");
    assert!(coarser <= 1_000_000, "{coarser} bytes a day at 1 min and coarser");
}

async fn size(store: &Store) -> i64 {
    store.count("select sum(pgsize) from dbstat").await
}

async fn bytes_of(store: &Store, table: &str) -> i64 {
    let query = format!(
        "select sum(pgsize) from dbstat where name in (select name from sqlite_schema where tbl_name = '{table}')"
    );
    store.count(query.leak()).await
}
