//! The law of the database port as code: one case per MUST. An engine's test calls each that
//! [`db_contract_cases`](crate::db_contract_cases) lists through [`Fixture`].

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a case that fails panics")]

use std::sync::Arc;
use std::time::Duration;

use super::{Bulk, Database, DbError, Migration, OnConflict, Reader, Statement, Value};

/// How long a case waits for what takes a moment, on a machine that is busy with other tests too.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hands the names of all cases to the macro `$each`, which makes of them what it needs.
#[macro_export]
macro_rules! db_contract_cases {
    ($each:ident) => {
        $each! {
            read_sees_one_snapshot
            concurrent_writers_are_serialisable
            dropped_write_is_undone
            cancelled_write_leaves_nothing_open
            conflict_is_told_apart_and_survivable
            read_handle_refuses_writes
            values_come_back
            text_with_nul_is_refused
            arithmetic_means_the_same
            wrong_number_of_values_is_refused
            bulk_insert_fails_keeps_or_replaces
            bulk_insert_of_thousands
            changes_are_told
            migrations_run_once
            newer_schema_is_refused
            reader_needs_the_schema
            locked_for_too_long_is_unavailable
            busy_writer_does_not_starve_others
        }
    };
}

/// Makes of `async fn case(on: Engine)` a test for each engine.
#[macro_export]
macro_rules! on_both_engines {
    ($($case:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case($crate::db::Engine::Sqlite).await })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case($crate::db::Engine::Postgres).await })*
        }
    };
}

/// The tables that the cases use.
pub const MIGRATIONS: &[Migration] = &[Migration {
    owner: "contract",
    version: 1,
    sqlite: "CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, note TEXT, amount DOUBLE PRECISION, data BLOB);
             CREATE TABLE part (item BIGINT NOT NULL REFERENCES item (id));",
    postgres: "CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, note TEXT, amount DOUBLE PRECISION, data BYTEA);
               CREATE TABLE part (item BIGINT NOT NULL REFERENCES item (id));",
}];

const INSERT: Statement = Statement { name: "insert", text: "INSERT INTO item (id, note) VALUES ($1, $2)" };
const COUNT: Statement = Statement { name: "count", text: "SELECT count(*) FROM item" };
const LARGEST: Statement = Statement { name: "largest", text: "SELECT max(id) FROM item" };

/// An empty database of its own for one case.
pub struct Fixture {
    /// Its address.
    pub url: String,
}

impl Fixture {
    /// A handle as a process that writes has it.
    pub async fn open(&self) -> Database {
        Database::open(&self.url, MIGRATIONS).await.unwrap()
    }
}

fn second_migration() -> Migration {
    let text = "ALTER TABLE item ADD COLUMN extra TEXT";
    Migration { version: 2, sqlite: text, postgres: text, ..MIGRATIONS[0] }
}

async fn insert(database: &Database, id: i64) {
    let mut transaction = database.write().await.unwrap();
    transaction.execute(&INSERT, &[Value::Int(id), Value::Null]).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn count(database: &Database) -> i64 {
    number(&mut database.read().await.unwrap(), &COUNT).await
}

async fn number(transaction: &mut super::ReadTransaction, statement: &Statement) -> i64 {
    transaction.row(statement, &[]).await.unwrap().unwrap().get(0).unwrap()
}

/// A read transaction sees one snapshot.
pub async fn read_sees_one_snapshot(fixture: &Fixture) {
    let (one, other) = (fixture.open().await, fixture.open().await);
    insert(&one, 1).await;
    let mut snapshot = one.read().await.unwrap();
    assert_eq!(number(&mut snapshot, &COUNT).await, 1);
    insert(&one, 2).await;
    insert(&other, 3).await;
    assert_eq!(number(&mut snapshot, &COUNT).await, 1);
    assert_eq!(count(&one).await, 3);
}

/// A write transaction is serialisable for what it read: no increment of `writers` x `each` is lost, in one
/// process-like handle or in two.
pub async fn concurrent_writers_are_serialisable(fixture: &Fixture) {
    let handles = [fixture.open().await, fixture.open().await];
    let (writers, each) = (8, 20);
    let tasks = (0..writers).map(|writer: usize| {
        let database = handles[writer % 2].clone();
        tokio::spawn(async move {
            for _ in 0..each {
                let mut transaction = database.write().await.unwrap();
                let largest: Option<i64> = transaction.row(&LARGEST, &[]).await.unwrap().unwrap().get(0).unwrap();
                let next = largest.unwrap_or(0) + 1;
                transaction.execute(&INSERT, &[Value::Int(next), Value::Null]).await.unwrap();
                transaction.commit().await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(number(&mut handles[0].read().await.unwrap(), &LARGEST).await, 160);
}

/// A transaction that is dropped is undone, and the next one is not hindered.
pub async fn dropped_write_is_undone(fixture: &Fixture) {
    let database = fixture.open().await;
    let mut transaction = database.write().await.unwrap();
    transaction.execute(&INSERT, &[Value::Int(1), Value::Null]).await.unwrap();
    drop(transaction);
    assert_eq!(count(&database).await, 0);
    insert(&database, 1).await;
    assert_eq!(count(&database).await, 1);
}

/// A task that is cancelled at any await of a write leaves all of the write or nothing, and no lock.
pub async fn cancelled_write_leaves_nothing_open(fixture: &Fixture) {
    let database = fixture.open().await;
    for polls in 0..40 {
        let mut left = polls;
        let mut write = Box::pin(async {
            let mut transaction = database.write().await?;
            transaction.execute(&INSERT, &[Value::Int(2 * polls), Value::Null]).await?;
            transaction.execute(&INSERT, &[Value::Int(2 * polls + 1), Value::Null]).await?;
            transaction.commit().await
        });
        // Given up at its `polls`-th wake-up.
        let _ = futures::future::poll_fn(|context| {
            left -= 1;
            match write.as_mut().poll(context) {
                std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
                std::task::Poll::Pending if left < 0 => std::task::Poll::Ready(None),
                std::task::Poll::Pending => std::task::Poll::Pending,
            }
        })
        .await;
        drop(write);
        assert_eq!(count(&database).await % 2, 0, "given up after {polls} polls");
    }
    insert(&database, -1).await;
}

/// After an error in a statement the transaction can go on without it.
pub async fn conflict_is_told_apart_and_survivable(fixture: &Fixture) {
    let database = fixture.open().await;
    insert(&database, 1).await;
    let mut transaction = database.write().await.unwrap();
    let repeated = transaction.execute(&INSERT, &[Value::Int(1), Value::Null]).await;
    assert!(matches!(repeated, Err(DbError::Conflict(_))), "{repeated:?}");
    let dangling = Statement { name: "dangling", text: "INSERT INTO part (item) VALUES ($1)" };
    let dangling = transaction.execute(&dangling, &[Value::Int(99)]).await;
    assert!(matches!(dangling, Err(DbError::Conflict(_))), "{dangling:?}");
    // Enough rows for each way to insert many, the one that is there at their end.
    let notes = Bulk { table: "item", columns: &["id", "note"], on_conflict: OnConflict::Fail };
    for many in [5, 2_000] {
        let rows = (0..many).map(|row| vec![Value::Int(many - row), Value::Null]).collect();
        let refused = transaction.bulk_insert(&notes, rows).await;
        assert!(matches!(refused, Err(DbError::Conflict(_))), "{refused:?}");
        assert_eq!(number(&mut transaction, &COUNT).await, 1, "of {many} rows none stays");
    }
    for on_conflict in [OnConflict::Fail, OnConflict::Ignore] {
        let parts = Bulk { table: "part", columns: &["item"], on_conflict };
        for (item, is_there) in [(99, false), (1, true), (98, false), (1, true)] {
            let inserted = transaction.bulk_insert(&parts, vec![vec![Value::Int(item)]; 1_000]).await;
            match inserted {
                Ok(count) => assert!(is_there && count == 1_000, "{count} parts of {item}"),
                Err(error) => assert!(!is_there && matches!(error, DbError::Conflict(_)), "{error}"),
            }
        }
    }
    let parts = Statement { name: "parts", text: "SELECT count(*) FROM part" };
    assert_eq!(number(&mut transaction, &parts).await, 4_000);
    let moved = Statement { name: "move", text: "UPDATE item SET id = $2 WHERE id = $1" };
    transaction.execute(&INSERT, &[Value::Int(2), Value::Null]).await.unwrap();
    let refused = transaction.execute(&moved, &[Value::Int(2), Value::Int(1)]).await;
    assert!(matches!(refused, Err(DbError::Conflict(_))), "{refused:?}");
    transaction.commit().await.unwrap();
    assert_eq!(count(&database).await, 2);
}

/// A read handle refuses statements that write.
pub async fn read_handle_refuses_writes(fixture: &Fixture) {
    let database = fixture.open().await;
    for reader in [database.reader(), Reader::open(&fixture.url, MIGRATIONS).await.unwrap()] {
        let mut transaction = reader.read().await.unwrap();
        let refused = transaction.rows(&INSERT, &[Value::Int(1), Value::Null]).await;
        assert!(matches!(refused, Err(DbError::Statement { .. })), "{refused:?}");
    }
    assert_eq!(count(&database).await, 0);
}

/// Every kind of value comes back as it was given, at its extremes too.
pub async fn values_come_back(fixture: &Fixture) {
    let database = fixture.open().await;
    let all = "INSERT INTO item (id, note, amount, data) VALUES ($1, $2, $3, $4)";
    let rows = [
        [
            Value::Int(i64::MIN),
            Value::from("é\u{1F399}'\"\u{1}"),
            Value::Real(f64::MIN_POSITIVE),
            Value::Bytes(vec![0, 255]),
        ],
        [Value::Int(i64::MAX), Value::from(""), Value::Real(-0.1), Value::Bytes(Vec::new())],
        [Value::Int(0), Value::Null, Value::Null, Value::Null],
    ];
    let mut transaction = database.write().await.unwrap();
    for row in &rows {
        transaction.execute(&Statement { name: "all", text: all }, row).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let select = Statement { name: "by id", text: "SELECT id, note, amount, data FROM item WHERE id = $1" };
    let mut transaction = database.read().await.unwrap();
    for row in &rows {
        let found = transaction.row(&select, &row[..1]).await.unwrap().unwrap();
        assert_eq!(found.0, row);
    }
}

/// A text with the character NUL is refused, for one of the engines cannot keep it.
pub async fn text_with_nul_is_refused(fixture: &Fixture) {
    let database = fixture.open().await;
    let mut transaction = database.write().await.unwrap();
    let refused = transaction.execute(&INSERT, &[Value::Int(1), Value::from("a\0b")]).await;
    assert!(matches!(refused, Err(DbError::Statement { .. })), "{refused:?}");
}

/// Sums and counts of integers are integers, averages are floats, and a time is not cut to 32 bits by a small number
/// beside it.
pub async fn arithmetic_means_the_same(fixture: &Fixture) {
    let database = fixture.open().await;
    for id in [1 << 40, 1 + (1 << 40)] {
        insert(&database, id).await;
    }
    let text = "SELECT sum(id), count(*), avg(id - $1), max($4 - 60), sum(id) > $2, min(length(note)) FROM item
                WHERE id >= $1 - 60 AND id % 60 = $3 % 60 OR id > $3";
    let values = [1 << 40, 1 << 40, 7, 1 << 40].map(Value::Int);
    let mut transaction = database.read().await.unwrap();
    let row = transaction.row(&Statement { name: "sums", text }, &values).await.unwrap().unwrap();
    let expected = [
        Value::Int(1 + (1 << 41)),
        Value::Int(2),
        Value::Real(0.5),
        Value::Int((1 << 40) - 60),
        Value::Int(1),
        Value::Null,
    ];
    assert_eq!(row.0, expected);
}

/// A statement with too few or too many values is refused, not run with nulls.
pub async fn wrong_number_of_values_is_refused(fixture: &Fixture) {
    let database = fixture.open().await;
    let mut transaction = database.write().await.unwrap();
    for values in [&[Value::Int(1)][..], &[Value::Int(1), Value::Null, Value::Null][..]] {
        let refused = transaction.execute(&INSERT, values).await;
        assert!(matches!(refused, Err(DbError::Statement { .. })), "{refused:?}");
    }
}

/// A bulk insert of every chunk size fails, keeps or replaces as it says.
pub async fn bulk_insert_fails_keeps_or_replaces(fixture: &Fixture) {
    let database = fixture.open().await;
    let rows = |from: i64, to: i64, note: &str| -> Vec<Vec<Value>> {
        (from..to).map(|id| vec![Value::Int(id), Value::from(note)]).collect()
    };
    let bulk = |on_conflict| Bulk { table: "item", columns: &["id", "note"], on_conflict };
    let mut transaction = database.write().await.unwrap();
    assert_eq!(transaction.bulk_insert(&bulk(OnConflict::Fail), Vec::new()).await.unwrap(), 0);
    assert_eq!(transaction.bulk_insert(&bulk(OnConflict::Fail), rows(0, 341, "first")).await.unwrap(), 341);
    assert_eq!(transaction.bulk_insert(&bulk(OnConflict::Ignore), rows(300, 351, "second")).await.unwrap(), 10);
    assert_eq!(transaction.bulk_insert(&bulk(OnConflict::Replace(&["id"])), rows(0, 5, "third")).await.unwrap(), 5);
    transaction.commit().await.unwrap();
    let mut transaction = database.write().await.unwrap();
    let refused = transaction.bulk_insert(&bulk(OnConflict::Fail), rows(340, 400, "fourth")).await;
    assert!(matches!(refused, Err(DbError::Conflict(_))), "{refused:?}");
    drop(transaction);
    let notes = "SELECT note, count(*) FROM item GROUP BY note ORDER BY note";
    let notes = Statement { name: "notes", text: notes };
    let rows = database.read().await.unwrap().rows(&notes, &[]).await.unwrap();
    let counts: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0).unwrap(), row.get(1).unwrap())).collect();
    let expected = [("first", 336), ("second", 10), ("third", 5)].map(|(note, count)| (note.to_owned(), count));
    assert_eq!(counts, expected);
}

/// A bulk insert of thousands of rows keeps every kind of value, and of rows with one key the last.
pub async fn bulk_insert_of_thousands(fixture: &Fixture) {
    let database = fixture.open().await;
    let all =
        Bulk { table: "item", columns: &["id", "note", "amount", "data"], on_conflict: OnConflict::Replace(&["id"]) };
    let row = |id: i64, note: &str| match id % 3 {
        0 => vec![id.into(), Value::Null, Value::Null, Value::Null],
        _ => vec![id.into(), note.into(), Value::Real(id as f64 / 8.0), Value::Bytes(vec![7; (id % 50) as usize])],
    };
    for (many, note) in [(3_000, "first"), (100, "second"), (2_000, "third")] {
        let mut transaction = database.write().await.unwrap();
        // Twice in one transaction, and each key twice in one insert.
        for note in ["before", note] {
            let twice = [("earlier", 0..many), (note, 0..many)];
            let rows = twice.into_iter().flat_map(|(note, ids)| ids.map(move |id| row(id, note))).collect();
            transaction.bulk_insert(&all, rows).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }
    let text = "SELECT id, note, amount, data FROM item ORDER BY id";
    let found = database.read().await.unwrap().rows(&Statement { name: "all", text }, &[]).await.unwrap();
    assert_eq!(found.len(), 3_000);
    for (id, found) in found.iter().enumerate() {
        let note = if id < 2_000 { "third" } else { "first" };
        assert_eq!(found.0, row(id as i64, note));
    }
}

/// A change is told within 250 ms (the quickest of some tries, since a busy machine stands still now and then), whoever made
/// it, and one made before the wait is not missed.
pub async fn changes_are_told(fixture: &Fixture) {
    let (one, other) = (fixture.open().await, fixture.open().await);
    let waiter = one.reader();
    let first = tokio::time::timeout(PATIENCE, waiter.changed()).await;
    first.expect("the first look at a file counts as a change, for nothing is known of it");
    for writer in [&one, &other] {
        let mut quickest = Duration::MAX;
        for _ in 0..5 {
            insert(writer, count(writer).await).await;
            let started = std::time::Instant::now();
            tokio::time::timeout(PATIENCE, waiter.changed()).await.unwrap();
            quickest = quickest.min(started.elapsed());
        }
        assert!(quickest < Duration::from_millis(250), "{quickest:?}");
    }
    let waiting = { tokio::spawn(async move { waiter.changed().await }) };
    insert(&other, -1).await;
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
}

/// Migrations run once, in order, however many processes open the database at the same time.
pub async fn migrations_run_once(fixture: &Fixture) {
    let url = Arc::new(fixture.url.clone());
    let openings = (0..6).map(|_| {
        let url = Arc::clone(&url);
        tokio::spawn(async move { Database::open(url.as_str(), MIGRATIONS).await })
    });
    for opening in openings.collect::<Vec<_>>() {
        opening.await.unwrap().unwrap();
    }
    let second = second_migration();
    let database = Database::open(&fixture.url, &[MIGRATIONS[0], second]).await.unwrap();
    let extra = Statement { name: "extra", text: "SELECT extra FROM item" };
    assert!(database.read().await.unwrap().rows(&extra, &[]).await.unwrap().is_empty());
}

/// A database made by a newer version is refused with words, by writers and readers.
pub async fn newer_schema_is_refused(fixture: &Fixture) {
    let second = second_migration();
    drop(Database::open(&fixture.url, &[MIGRATIONS[0], second]).await.unwrap());
    let refusals =
        [Database::open(&fixture.url, MIGRATIONS).await.err(), Reader::open(&fixture.url, MIGRATIONS).await.err()];
    for refusal in refusals {
        assert!(matches!(&refusal, Some(DbError::Broken(words)) if words.contains("newer version")), "{refusal:?}");
    }
}

/// A reader refuses a database that is not there or older, and makes none.
pub async fn reader_needs_the_schema(fixture: &Fixture) {
    let refused = Reader::open(&fixture.url, MIGRATIONS).await.err();
    assert!(matches!(refused, Some(DbError::Unavailable(_))), "{refused:?}");
    drop(Database::open(&fixture.url, &[]).await.unwrap());
    let refused = Reader::open(&fixture.url, MIGRATIONS).await.err();
    assert!(matches!(refused, Some(DbError::Unavailable(_))), "{refused:?}");
}

/// A writer that another process keeps waiting is told within the bound.
pub async fn locked_for_too_long_is_unavailable(fixture: &Fixture) {
    let (holder, waiter) = (fixture.open().await, fixture.open().await);
    let mut held = holder.write().await.unwrap();
    let started = std::time::Instant::now();
    let (inside, outside) = {
        let mut both = std::pin::pin!(async { tokio::join!(holder.write(), waiter.write()) });
        loop {
            // The holder works on: of one that says nothing an engine may free the lock.
            tokio::select! {
                refused = &mut both => break refused,
                () = tokio::time::sleep(Duration::from_millis(500)) => drop(held.rows(&COUNT, &[]).await.unwrap()),
            }
        }
    };
    for refused in [inside.err(), outside.err()] {
        assert!(matches!(refused, Some(DbError::Unavailable(_))), "{refused:?}");
    }
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert_eq!(count(&waiter).await, 0, "readers are not hindered");
    drop(held);
    insert(&waiter, 1).await;
}

/// A process that writes without pause does not keep another one from writing.
pub async fn busy_writer_does_not_starve_others(fixture: &Fixture) {
    let (busy, other) = (fixture.open().await, fixture.open().await);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writing = tokio::spawn(async move {
        let mut id = 0;
        while !stopped.load(std::sync::atomic::Ordering::SeqCst) {
            id += 1;
            insert(&busy, id).await;
        }
    });
    for id in 1..=20 {
        insert(&other, -id).await;
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    writing.await.unwrap();
}

/// What a process does that is killed between two commits: writes row after row and says so after each.
pub async fn write_until_killed(fixture: &Fixture, acknowledge: impl Fn(i64)) {
    let database = fixture.open().await;
    for id in 0.. {
        insert(&database, id).await;
        acknowledge(id);
    }
}

/// After the kill: every acknowledged row is there, none is missing in between, and writing goes on.
pub async fn committed_survives_a_kill(fixture: &Fixture, acknowledged: i64) {
    let database = fixture.open().await;
    let count = count(&database).await;
    assert!(count > acknowledged, "{count} rows, but row {acknowledged} was acknowledged");
    assert_eq!(number(&mut database.read().await.unwrap(), &LARGEST).await, count - 1);
    insert(&database, count).await;
}
