//! The database port's law, run against PostgreSQL, and what only a server can do.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use antiphon_platform::address::{Address, Freshness};
use antiphon_platform::db::contract::{self, Fixture, MIGRATIONS};
use antiphon_platform::db::{Bulk, Database, DbError, Migration, OnConflict, Reader, Statement, Value};
use antiphon_platform::secrets::Secret;
use antiphon_servers::{Durability, Fault, Postgres, Proxy};

macro_rules! cases {
    ($($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let database = Postgres::shared().database();
            contract::$case(&Fixture { url: database.url() }).await;
        })*
    };
}

antiphon_platform::db_contract_cases!(cases);

const INSERT: Statement = Statement { name: "insert", text: "INSERT INTO item (id) VALUES ($1)" };
const COUNT: Statement = Statement { name: "count", text: "SELECT count(*) FROM item" };

/// The longest from the end of a fault to work that goes on: ten seconds, thrice over for a machine that is busy with other tests.
const RECOVERY: Duration = Duration::from_secs(30);

async fn insert(database: &Database, id: i64) -> Result<(), DbError> {
    let mut transaction = database.write().await?;
    transaction.execute(&INSERT, &[Value::Int(id)]).await?;
    transaction.commit().await
}

async fn count(reader: &Reader) -> Result<i64, DbError> {
    reader.read().await?.row(&COUNT, &[]).await?.map_or(Ok(0), |row| row.get(0))
}

/// Asks until it works, at most for [`RECOVERY`]; everything before must be `Unavailable`.
async fn recovers<T>(mut work: impl AsyncFnMut() -> Result<T, DbError>) -> T {
    let started = Instant::now();
    loop {
        match work().await {
            Ok(done) => return done,
            Err(DbError::Unavailable(_)) if started.elapsed() < RECOVERY => {}
            Err(error) => panic!("after {:?}: {error}", started.elapsed()),
        }
    }
}

fn is_unavailable<T: std::fmt::Debug>(outcome: &Result<T, DbError>) -> bool {
    matches!(outcome, Err(DbError::Unavailable(_)))
}

const KILLED: &str = "ANTIPHON_TEST_KILLED_URL";

/// The process that [`commits_to_a_server_survive_kill_9`] starts and kills; alone it has nothing to do.
#[tokio::test]
async fn process_to_kill_at_a_server() {
    let Ok(url) = std::env::var(KILLED) else { return };
    contract::write_until_killed(&Fixture { url }, |id| println!("committed {id}")).await;
}

#[tokio::test]
async fn commits_to_a_server_survive_kill_9() {
    let database = Postgres::shared().database();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_to_kill_at_a_server", "--nocapture"])
        .env(KILLED, database.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let numbers = lines.map_while(Result::ok).filter_map(|line| line.split_once("committed ")?.1.parse::<i64>().ok());
    let acknowledged = numbers.take(20).last().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    contract::committed_survives_a_kill(&Fixture { url: database.url() }, acknowledged).await;
}

/// What is not committed when the connection is lost is gone, and the next transaction gets another connection.
#[tokio::test]
async fn lost_connection_ends_its_transaction_only() {
    let server = Postgres::shared();
    let (space, proxy) = (server.database(), Proxy::start(server.address()));
    let database = Database::open(space.url_at(proxy.address()), MIGRATIONS).await.unwrap();
    let mut snapshot = database.read().await.unwrap();
    let mut transaction = database.write().await.unwrap();
    transaction.execute(&INSERT, &[Value::Int(1)]).await.unwrap();
    proxy.set(Fault::Cut);
    let lost = transaction.execute(&INSERT, &[Value::Int(2)]).await;
    assert!(is_unavailable(&lost), "{lost:?}");
    let after = transaction.execute(&INSERT, &[Value::Int(3)]).await;
    assert!(is_unavailable(&after), "{after:?}");
    assert!(is_unavailable(&transaction.commit().await));
    assert!(is_unavailable(&snapshot.rows(&COUNT, &[]).await));
    assert!(is_unavailable(&insert(&database, 4).await));
    proxy.set(Fault::None);
    recovers(async || insert(&database, 5).await).await;
    assert_eq!(count(&database.reader()).await.unwrap(), 1);
    // The server ends a session, as for a fail-over.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = '";
    server.execute_as_admin(&format!("{end}{}'", space.name()));
    insert(&database, 6).await.unwrap();
    assert_eq!(count(&database.reader()).await.unwrap(), 2, "connections that were idle cost nobody an error");
}

/// A server that answers late, or never again, is given up in time, by every operation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_server_is_unavailable_in_time() {
    for fault in [Fault::Stall, Fault::HalfOpen] {
        let server = Postgres::shared();
        let (space, proxy) = (server.database(), Proxy::start(server.address()));
        let database = Database::open(space.url_at(proxy.address()), MIGRATIONS).await.unwrap();
        let mut snapshot = database.read().await.unwrap();
        let mut transaction = database.write().await.unwrap();
        transaction.execute(&INSERT, &[Value::Int(1)]).await.unwrap();
        proxy.set(fault);
        let started = Instant::now();
        let (written, read, begun, opened) = tokio::join!(
            async {
                let written = transaction.execute(&INSERT, &[Value::Int(2)]).await;
                written.and(transaction.commit().await.map(|()| 0))
            },
            async { snapshot.rows(&COUNT, &[]).await },
            async { count(&database.reader()).await },
            async { Database::open(space.url_at(proxy.address()), MIGRATIONS).await.map(drop) },
        );
        assert!(is_unavailable(&written) && is_unavailable(&read), "{written:?} {read:?}");
        assert!(is_unavailable(&begun) && is_unavailable(&opened), "{begun:?} {opened:?}");
        assert!(started.elapsed() < RECOVERY, "{:?}", started.elapsed());
        let direct = Database::open(space.url(), MIGRATIONS).await.unwrap();
        recovers(async || insert(&direct, 3).await).await;
        proxy.set(Fault::None);
        recovers(async || insert(&database, 4).await).await;
        assert_eq!(count(&database.reader()).await.unwrap(), 2, "{fault:?}: what was not committed is gone");
    }
}

/// Who waits for the write lock gets it although its holder's connection leads nowhere any more, at the first try.
#[tokio::test]
async fn a_silent_holder_of_the_write_lock_is_outlasted() {
    let server = Postgres::shared();
    let (space, proxy) = (server.database(), Proxy::start(server.address()));
    let database = Database::open(space.url_at(proxy.address()), MIGRATIONS).await.unwrap();
    let mut transaction = database.write().await.unwrap();
    transaction.execute(&INSERT, &[Value::Int(1)]).await.unwrap();
    proxy.set(Fault::HalfOpen);
    let direct = Database::open(space.url(), MIGRATIONS).await.unwrap();
    insert(&direct, 2).await.unwrap();
    assert_eq!(count(&direct.reader()).await.unwrap(), 1);
    assert!(is_unavailable(&transaction.commit().await));
}

/// A handle that was opened before its server went away works when it is back; waiting for changes goes on too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vanished_server_is_found_again() {
    let server = Postgres::shared();
    let (space, proxy) = (server.database(), Proxy::start(server.address()));
    let database = Database::open(space.url_at(proxy.address()), MIGRATIONS).await.unwrap();
    let waiter = database.reader();
    waiter.changed().await;
    proxy.set(Fault::Refuse);
    let started = Instant::now();
    assert!(is_unavailable(&insert(&database, 1).await));
    let opened = Reader::open(space.url_at(proxy.address()), MIGRATIONS).await.err();
    assert!(matches!(&opened, Some(DbError::Unavailable(words)) if words.contains("127.0.0.1")), "{opened:?}");
    assert!(started.elapsed() < RECOVERY, "refused connections are told at once");
    proxy.set(Fault::None);
    recovers(async || insert(&database, 2).await).await;
    tokio::time::timeout(RECOVERY, waiter.changed()).await.unwrap();
}

/// SIGKILL of the whole server while it is written to: nothing that was acknowledged is missing.
/// Connections of this program to a database now.
fn connections(space: &antiphon_servers::Database<'_>) -> String {
    space.execute_as_admin(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'antiphon'",
    )
}

/// A connection that is given back soon is waited for: another one costs more. A machine that stands still for a moment
/// may have it otherwise, but not each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_given_back_is_waited_for() {
    let space = Postgres::shared().database();
    drop(Database::open(space.url().as_str(), MIGRATIONS).await.unwrap());
    for _ in 0..10 {
        let reader = Reader::open(space.url().as_str(), MIGRATIONS).await.unwrap();
        let before = connections(&space);
        let first = reader.read().await.unwrap();
        let mut second = std::pin::pin!(reader.read());
        assert!(futures::poll!(second.as_mut()).is_pending());
        drop(first);
        second.await.unwrap();
        if connections(&space) == before {
            return;
        }
    }
    panic!("each second transaction had a connection of its own");
}

/// Who waits for changes for less time than a connection takes gets one all the same.
#[tokio::test]
async fn short_waits_for_changes_share_a_connection() {
    let space = Postgres::shared().database();
    let database = Database::open(space.url().as_str(), MIGRATIONS).await.unwrap();
    let reader = database.reader();
    let asking = || {
        space.execute_as_admin(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND query LIKE '%pg_current_snapshot%' AND pid <> pg_backend_pid()",
        )
    };
    let started = Instant::now();
    while asking() == "0" {
        assert!(started.elapsed() < RECOVERY, "nobody has asked the server");
        for _ in 0..20 {
            let _ = tokio::time::timeout(Duration::from_millis(1), reader.changed()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_server_keeps_what_was_committed() {
    let server = Arc::new(Postgres::start(Durability::Full));
    let space = server.database();
    let database = Database::open(space.url(), MIGRATIONS).await.unwrap();
    let mut acknowledged = 0;
    for round in 0..3 {
        let killer = Arc::clone(&server);
        let begun = Instant::now();
        let killing = std::thread::spawn(move || {
            while begun.elapsed() < Duration::from_millis(50 * (round + 1)) {
                std::thread::yield_now();
            }
            killer.kill();
        });
        let mut id = acknowledged;
        while insert(&database, id).await.is_ok() {
            id += 1;
        }
        killing.join().unwrap();
        assert!(is_unavailable(&insert(&database, id).await));
        server.restart();
        // A commit whose answer was lost may have happened.
        let rows = recovers(async || count(&database.reader()).await).await;
        assert!(rows == id || rows == id + 1, "{rows} rows after {id} acknowledged ones");
        acknowledged = rows;
        recovers(async || insert(&database, acknowledged).await).await;
        acknowledged += 1;
    }
}

/// Credentials are looked up where they are kept once the server refuses those that were known.
#[tokio::test]
async fn rotated_credentials_are_taken_up() {
    let space = Postgres::shared().database();
    let role = format!("{}_rotated", space.name());
    space
        .execute_as_admin(&format!("CREATE ROLE {role} LOGIN PASSWORD 'one'; GRANT CREATE ON SCHEMA public TO {role}"));
    let lookups = Arc::new(AtomicUsize::new(0));
    let (counter, one, two) = (Arc::clone(&lookups), space.url_of(&role, "one"), space.url_of(&role, "two"));
    let address = Address::new(move |freshness| {
        if freshness == Freshness::Now {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        let url = if counter.load(Ordering::SeqCst) == 0 { one.clone() } else { two.clone() };
        Box::pin(async move { Ok(Secret::new(url)) })
    });
    let database = Database::open(address, MIGRATIONS).await.unwrap();
    space.execute_as_admin(&format!("ALTER ROLE {role} PASSWORD 'two'"));
    insert(&database, 1).await.unwrap();
    assert_eq!(lookups.load(Ordering::SeqCst), 0, "a connection that is open stays so");
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    space.execute_as_admin(&end);
    insert(&database, 2).await.unwrap();
    assert_eq!(count(&database.reader()).await.unwrap(), 2);
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
    drop(database);
    space.execute_as_admin(&format!("{end}; DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[tokio::test]
async fn wrong_password_is_told_but_not_shown() {
    let space = Postgres::shared().database();
    let refused = Database::open(space.url_of("antiphon-admin", "gue55ed"), MIGRATIONS).await.err();
    let Some(DbError::Unavailable(words)) = refused else { panic!("{refused:?}") };
    assert!(words.contains("password authentication failed") && !words.contains("gue55ed"), "{words}");
    let unknown = Database::open("postgres://a:gue55ed@127.0.0.1:x/y", MIGRATIONS).await.err().unwrap().to_string();
    assert!(!unknown.contains("gue55ed"), "{unknown}");
}

/// Encryption, and who the server is, are checked as far as the address asks for it.
#[tokio::test]
async fn encrypted_and_verified_as_the_address_says() {
    let server = Postgres::start(Durability::None);
    let space = server.database();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), server.authority()).unwrap();
    let ours = format!("{}?sslmode=verify-full&sslrootcert={}", space.url(), authority.path().display());
    let database = Database::open(ours, MIGRATIONS).await.unwrap();
    let text = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let encrypted = database.read().await.unwrap().row(&Statement { name: "ssl", text }, &[]).await.unwrap().unwrap();
    assert!(encrypted.get::<bool>(0).unwrap());
    // The machine's own list of authorities does not hold that of the tests.
    let strangers = Reader::open(format!("{}?sslmode=verify-full", space.url()), MIGRATIONS).await.err();
    let is_told = matches!(&strangers, Some(DbError::Unavailable(words)) if words.contains("certificate"));
    assert!(is_told, "{strangers:?}");
}

/// What is told, and that it goes on by itself once the certificate is renewed.
#[tokio::test]
async fn expired_certificate_is_told_until_it_is_renewed() {
    let server = Postgres::start(Durability::None);
    let space = server.database();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), server.authority()).unwrap();
    let url = format!("{}?sslmode=verify-full&sslrootcert={}", space.url(), authority.path().display());
    let database = Database::open(url, MIGRATIONS).await.unwrap();
    insert(&database, 1).await.unwrap();
    server.expire_certificate();
    // The server reads its files anew in its own time, and connections that are open stay.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'antiphon'";
    let begun = Instant::now();
    let told = loop {
        space.execute_as_admin(end);
        match insert(&database, 2).await {
            Err(DbError::Unavailable(words)) if words.contains("certificate") => break words,
            _ => assert!(begun.elapsed() < RECOVERY, "an expired certificate is taken"),
        }
    };
    assert!(told.contains("expired"), "{told}");
    server.renew_certificate();
    let renewed = Instant::now();
    while let Err(error) = insert(&database, 3).await {
        assert!(renewed.elapsed() < RECOVERY, "{error}");
    }
}

/// A writer without the right to make tables, and a reader without the right to write, once the schema is there.
#[tokio::test]
async fn accounts_need_no_more_than_their_role() {
    let space = Postgres::shared().database();
    let (writer, reader) = (format!("{}_writer", space.name()), format!("{}_reader", space.name()));
    space
        .execute_as_admin(&format!("CREATE ROLE {writer} LOGIN PASSWORD 'w'; CREATE ROLE {reader} LOGIN PASSWORD 'r'"));
    let early = Database::open(space.url_of(&writer, "w"), MIGRATIONS).await.err();
    assert!(matches!(&early, Some(DbError::Unavailable(words)) if words.contains("permission denied")), "{early:?}");
    drop(Database::open(space.url(), MIGRATIONS).await.unwrap());
    space.execute_as_admin(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {writer}, {reader};
         GRANT INSERT, UPDATE, DELETE ON item TO {writer}"
    ));
    let database = Database::open(space.url_of(&writer, "w"), MIGRATIONS).await.unwrap();
    insert(&database, 1).await.unwrap();
    let many = (2..2_000).map(|id| vec![Value::Int(id)]).collect();
    let bulk = Bulk { table: "item", columns: &["id"], on_conflict: OnConflict::Ignore };
    let mut transaction = database.write().await.unwrap();
    assert_eq!(transaction.bulk_insert(&bulk, many).await.unwrap(), 1_998);
    transaction.commit().await.unwrap();
    let mut transaction = database.write().await.unwrap();
    let part = Statement { name: "part", text: "INSERT INTO part (item) VALUES ($1)" };
    let refused = transaction.execute(&part, &[Value::Int(1)]).await;
    assert!(matches!(&refused, Err(DbError::Unavailable(words)) if words.contains("part")), "{refused:?}");
    let reading = Reader::open(space.url_of(&reader, "r"), MIGRATIONS).await.unwrap();
    assert_eq!(count(&reading).await.unwrap(), 1_999);
    assert_eq!(reading.staleness().await.unwrap(), None);
    drop((database, reading, transaction));
    space.execute_as_admin(&format!("DROP OWNED BY {writer}, {reader}; DROP ROLE {writer}, {reader}"));
}

/// A reader works on a standby, waits for changes there, and says how far it is behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_is_read_and_tells_its_age() {
    let primary = Postgres::start(Durability::None);
    let space = primary.database();
    let database = Database::open(space.url(), MIGRATIONS).await.unwrap();
    let standby = primary.standby();
    let reader = Reader::open(space.url_at(standby.address()), MIGRATIONS).await.unwrap();
    assert!(reader.staleness().await.unwrap().unwrap() < RECOVERY);
    insert(&database, 1).await.unwrap();
    let replayed = async {
        while count(&reader).await.unwrap() < 1 {
            reader.changed().await;
        }
    };
    tokio::time::timeout(RECOVERY, replayed).await.unwrap();
    assert_eq!(database.reader().staleness().await.unwrap(), None);
    let refused = Database::open(space.url_at(standby.address()), MIGRATIONS).await.err();
    assert!(matches!(refused, Some(DbError::Unavailable(_))), "{refused:?}");
    primary.kill();
    let cut_off = Instant::now();
    let mut behind = Duration::ZERO;
    while behind.is_zero() && cut_off.elapsed() < RECOVERY {
        behind = reader.staleness().await.unwrap().unwrap();
    }
    assert!(behind > Duration::ZERO, "without its primary it is behind more and more");
    assert_eq!(count(&reader).await.unwrap(), 1);
}

/// Tables of another program, and a list of migrations that is not ours, are left as they are.
#[tokio::test]
async fn schema_of_another_program_is_refused_and_untouched() {
    for theirs in ["CREATE TABLE schema_migrations (version TEXT)", "CREATE VIEW posts AS SELECT 1 AS one"] {
        let space = Postgres::shared().database();
        space.execute_as_admin(theirs);
        let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        let before = space.execute_as_admin(tables);
        let refusals =
            [Database::open(space.url(), MIGRATIONS).await.err(), Reader::open(space.url(), MIGRATIONS).await.err()];
        for refused in refusals {
            let is_told = matches!(&refused, Some(DbError::Broken(words)) if words.contains("another program"));
            assert!(is_told, "{refused:?}");
        }
        assert_eq!(space.execute_as_admin(tables), before);
        // Beside it, in a schema of our own, there is room.
        space.execute_as_admin("CREATE SCHEMA antiphon");
        let url = format!("{}?options=-csearch_path%3Dantiphon", space.url());
        insert(&Database::open(url, MIGRATIONS).await.unwrap(), 1).await.unwrap();
        assert_eq!(space.execute_as_admin("SELECT count(*) FROM antiphon.item"), "1");
    }
}

/// After a mistake PostgreSQL undoes everything at the commit and calls that done: we do not.
#[tokio::test]
async fn commit_after_a_mistake_is_no_commit() {
    let space = Postgres::shared().database();
    let database = Database::open(space.url(), MIGRATIONS).await.unwrap();
    let mut transaction = database.write().await.unwrap();
    transaction.execute(&INSERT, &[Value::Int(1)]).await.unwrap();
    let nonsense = Statement { name: "nonsense", text: "UPDATE item SET amount = 1 / (id - id)" };
    let refused = transaction.execute(&nonsense, &[]).await;
    assert!(matches!(refused, Err(DbError::Statement { .. })), "{refused:?}");
    assert!(is_unavailable(&transaction.commit().await));
    assert_eq!(count(&database.reader()).await.unwrap(), 0);
}

/// Few and many rows find their partitions, replace what is there, and a failed insert takes its staging along.
#[tokio::test]
async fn rows_go_into_partitions() {
    const PARTITIONED: Migration = Migration {
        owner: "partitioned",
        version: 1,
        sqlite: "",
        postgres: "CREATE TABLE cell (time BIGINT NOT NULL, data BYTEA NOT NULL, PRIMARY KEY (time)) PARTITION BY RANGE (time);
                   CREATE TABLE cell_1 PARTITION OF cell FOR VALUES FROM (0) TO (1000);
                   CREATE TABLE cell_2 PARTITION OF cell FOR VALUES FROM (1000) TO (2000);",
    };
    let space = Postgres::shared().database();
    let database = Database::open(space.url(), &[PARTITIONED]).await.unwrap();
    let cells = Bulk { table: "cell", columns: &["time", "data"], on_conflict: OnConflict::Replace(&["time"]) };
    let rows = |times: std::ops::Range<i64>, value: u8| -> Vec<Vec<Value>> {
        times.map(|time| vec![Value::Int(time), Value::Bytes(vec![value])]).collect()
    };
    for (times, value, outcome) in
        [(0..2_000, 1, true), (1_500..2_500, 2, false), (990..1_010, 3, true), (500..1_500, 4, true)]
    {
        let mut transaction = database.write().await.unwrap();
        let stored = transaction.bulk_insert(&cells, rows(times, value)).await;
        assert_eq!(stored.is_ok(), outcome, "{stored:?}");
        if outcome {
            transaction.commit().await.unwrap();
        }
    }
    let counts = "SELECT get_byte(data, 0), tableoid::regclass, count(*) FROM cell GROUP BY 1, 2 ORDER BY 1, 2";
    assert_eq!(space.execute_as_admin(counts), "1|cell_1|500\n1|cell_2|500\n4|cell_1|500\n4|cell_2|500");
}
