//! The database of a data folder by hand: for what only time, or a great many requests, would make otherwise.

#[path = "../../src/wiring/schema.rs"]
mod schema;

use std::path::Path;
use std::time::{Duration, Instant};

use antiphon_platform::db::{Database, Statement};

use super::PATIENCE;
pub use schema::migrations;

/// A year in µs.
pub const YEAR: i64 = 365 * 86_400 * 1_000_000;

/// Opens the database of a data folder.
pub async fn open(data: &Path) -> Database {
    let url = format!("sqlite:{}", data.join("antiphon.db").display());
    Database::open(url, &migrations()).await.unwrap()
}

/// A statement lives as long as the program; tests have few.
pub fn by_hand(text: &str) -> Statement {
    Statement { name: "by hand", text: String::leak(text.to_owned()) }
}

/// Runs statements in one transaction; each has to change something.
pub fn execute(data: &Path, statements: &[&str]) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = open(data).await;
        let mut tx = database.write().await.unwrap();
        for text in statements {
            assert!(tx.execute(&by_hand(text), &[]).await.unwrap() > 0, "{text}");
        }
        tx.commit().await.unwrap();
    });
}

/// Waits until the cells of a resolution, in seconds, are rows of their own; 0 waits for all.
pub fn wait_rolled_up(data: &Path, resolution: i64) {
    let deadline = Instant::now() + PATIENCE;
    let stale = by_hand(&format!("select count(*) from stale where {resolution} in (0, resolution)"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let reader = runtime.block_on(open(data)).reader();
    let count = || runtime.block_on(async { reader.read().await.unwrap().row(&stale, &[]).await.unwrap().unwrap() });
    while count().get::<i64>(0).unwrap() > 0 {
        assert!(Instant::now() < deadline, "cells are still stale");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Makes a year of the first days or hours of a sensor: the cells of `length` µs again and again, those of `resolution` seconds
/// or of all from a minute on (0), and what was heard.
pub fn stretch_to_a_year(data: &Path, length: i64, resolution: i64) {
    let copies = YEAR / length;
    let cells = format!(
        "with recursive copies (number) as (select 1 union all select number + 1 from copies where number < {copies} - 1) \
         insert into cells (source, layer, resolution, time, data) \
         select source, layer, resolution, time + number * {length}, data from copies, cells \
         where resolution >= 60 and {resolution} in (0, resolution)"
    );
    execute(data, &[&cells, &format!("update spans set finish = start + {YEAR}")]);
}
