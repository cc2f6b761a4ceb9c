//! How fast rows are stored on PostgreSQL, beside a bare COPY of the same rows into the same table, with the same
//! index and batches, on a connection that does nothing else.
//!
//! `cargo bench -p antiphon-platform --features postgres --bench database`. The server keeps what it commits
//! (fsync); its data is in the temporary folder, whose disk is measured along. `ANTIPHON_BENCH_QUICK=1` takes a tenth.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run panics")]

use std::time::{Duration, Instant};

use antiphon_platform::db::{Bulk, Database, Migration, OnConflict, Statement, Value};
use antiphon_servers::{Durability, Postgres};
use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::{Client, Error, NoTls};

/// The shape of the largest table: a block of results for each minute, layer and recording.
const TABLES: Migration = Migration {
    owner: "bench",
    version: 1,
    sqlite: "",
    postgres: "CREATE TABLE block (
            source BIGINT NOT NULL, layer BIGINT NOT NULL, minute BIGINT NOT NULL, start BIGINT NOT NULL,
            recording BIGINT NOT NULL, piece BIGINT NOT NULL, data BYTEA NOT NULL,
            PRIMARY KEY (source, layer, minute, start, recording, piece));
        ALTER TABLE block ALTER data SET STORAGE EXTERNAL;",
};
const BLOCKS: Bulk = Bulk {
    table: "block",
    columns: &["source", "layer", "minute", "start", "recording", "piece", "data"],
    on_conflict: OnConflict::Replace(&["source", "layer", "minute", "start", "recording", "piece"]),
};
const LAYERS: i64 = 40;
const COPY: &str = "COPY block (source, layer, minute, start, recording, piece, data) FROM STDIN (FORMAT binary)";

/// A round of each is measured in turn, so that a disk that gets slower or faster does so for both.
const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_secs(2);

fn main() {
    let quick = std::env::var_os("ANTIPHON_BENCH_QUICK").is_some();
    let round = if quick { ROUND / 10 } else { ROUND };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let server = Postgres::start(Durability::Full);
    println!("{:<34} {:>10} {:>10} {:>8} {:>9}", "", "rows/s", "bare/s", "share", "ms/batch");
    for (bytes, batches) in [(400, &[1, 10, 40, 400, 1_000, 4_000, 20_000][..]), (2_000, &[400, 4_000])] {
        for &batch in batches {
            runtime.block_on(measure(&server, round, batch, bytes));
        }
    }
    let space = server.database();
    runtime.block_on(async {
        let database = Database::open(space.url(), &[TABLES]).await.expect("a database");
        empty_transactions(&database, round).await;
    });
    drop(space);
    server.stop();
}

async fn measure(server: &Postgres, round: Duration, batch: i64, bytes: usize) {
    let (ours, theirs) = (server.database(), server.database());
    let database = Database::open(ours.url(), &[TABLES]).await.expect("a database");
    drop(Database::open(theirs.url(), &[TABLES]).await.expect("a database"));
    let (bare, connection) = tokio_postgres::connect(&theirs.url(), NoTls).await.expect("a connection");
    tokio::spawn(connection);
    let (mut stored, mut copied, mut spent, mut count) = (0.0, 0.0, Duration::ZERO, 0);
    let (mut our_next, mut their_next) = (0, 0);
    for _ in 0..ROUNDS {
        let (mut rows, mut busy) = (0, Duration::ZERO);
        while busy < round {
            let made = made_rows(our_next, batch, bytes);
            our_next += batch;
            let begun = Instant::now();
            let mut transaction = database.write().await.expect("a transaction");
            transaction.bulk_insert(&BLOCKS, made).await.expect("rows are taken");
            transaction.commit().await.expect("a commit");
            busy += begun.elapsed();
            rows += batch;
            count += 1;
        }
        stored += rows as f64 / busy.as_secs_f64();
        spent += busy;
        let (mut rows, mut busy) = (0, Duration::ZERO);
        while busy < round {
            let made = encoded(&made_rows(their_next, batch, bytes));
            their_next += batch;
            let begun = Instant::now();
            copy(&bare, made).await.expect("rows are copied");
            busy += begun.elapsed();
            rows += batch;
        }
        copied += rows as f64 / busy.as_secs_f64();
    }
    let counted = database.read().await.expect("a snapshot").row(&COUNT, &[]).await.expect("a count");
    assert_eq!(counted.and_then(|row| row.get(0).ok()), Some(our_next), "every row is there");
    println!(
        "{:<34} {:>10.0} {:>10.0} {:>7.0}% {:>9.2}",
        format!("{batch} rows of {bytes} B a transaction"),
        stored / ROUNDS as f64,
        copied / ROUNDS as f64,
        100.0 * stored / copied,
        spent.as_secs_f64() * 1e3 / f64::from(count),
    );
}

const COUNT: Statement = Statement { name: "count", text: "SELECT count(*) FROM block" };
const INSERT: Statement =
    Statement { name: "insert", text: "INSERT INTO block VALUES ($1, 0, 0, 0, 0, 0, '') ON CONFLICT DO NOTHING" };

/// What a transaction costs by itself, and one statement more in it.
async fn empty_transactions(database: &Database, round: Duration) {
    // Connections are opened, and tables looked up, before anything is timed.
    database.read().await.expect("a snapshot").rows(&COUNT, &[]).await.expect("a count");
    let time = async |statements: i64, is_read: bool| {
        let (begun, mut count) = (Instant::now(), 0_i64);
        while begun.elapsed() < round {
            if is_read {
                let mut snapshot = database.read().await.expect("a snapshot");
                snapshot.rows(&COUNT, &[]).await.expect("a count");
            } else {
                let mut transaction = database.write().await.expect("a transaction");
                for number in 0..statements {
                    transaction.execute(&INSERT, &[Value::Int(count * statements + number)]).await.expect("a row");
                }
                transaction.commit().await.expect("a commit");
            }
            count += 1;
        }
        begun.elapsed().as_secs_f64() * 1e6 / count as f64
    };
    println!("a read transaction of one statement: {:.0} us", time(1, true).await);
    println!("a write transaction without a statement: {:.0} us", time(0, false).await);
    let (one, many) = (time(1, false).await, time(101, false).await);
    println!("a write transaction of one statement: {one:.0} us; a statement more: {:.0} us", (many - one) / 100.0);
}

/// Rows with keys that are new, in the order in which results come: by recording, then layer.
fn made_rows(first: i64, count: i64, bytes: usize) -> Vec<Vec<Value>> {
    let row = |number: i64| {
        let recording = number / LAYERS;
        let key = [recording % 50, number % LAYERS, recording / 300, recording * 10_000_000, recording, 0];
        let mut row: Vec<Value> = key.into_iter().map(Value::Int).collect();
        let noise = |at: usize| (number as usize).wrapping_mul(0x9e37_79b9).wrapping_add(at.wrapping_mul(0x85eb_ca6b));
        row.push(Value::Bytes((0..bytes).map(|at| (noise(at) >> 13) as u8).collect()));
        row
    };
    (first..first + count).map(row).collect()
}

/// The rows as the bare client has them ready.
fn encoded(rows: &[Vec<Value>]) -> Vec<u8> {
    let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for row in rows {
        bytes.extend((row.len() as i16).to_be_bytes());
        for value in row {
            match value {
                Value::Int(value) => {
                    bytes.extend(8_i32.to_be_bytes());
                    bytes.extend(value.to_be_bytes());
                }
                Value::Bytes(value) => {
                    bytes.extend((value.len() as i32).to_be_bytes());
                    bytes.extend(value);
                }
                other => unreachable!("the rows hold no {other:?}"),
            }
        }
    }
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

async fn copy(client: &Client, rows: Vec<u8>) -> Result<(), Error> {
    client.batch_execute("BEGIN").await?;
    let mut copy = Box::pin(client.copy_in(COPY).await?);
    copy.send(Bytes::from(rows)).await?;
    copy.as_mut().finish().await?;
    client.batch_execute("COMMIT").await
}
