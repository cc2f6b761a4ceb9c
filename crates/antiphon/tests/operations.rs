//! What operators do while the system works: they rotate the credentials of database and broker, and restart every role.
//! Under load nothing is lost, nothing is answered wrongly, and a rotation restarts nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]
#![cfg(all(feature = "postgres", feature = "amqp", feature = "s3"))]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use antiphon_servers::{Database, Durability, ObjectStore, Postgres, RabbitMq, VirtualHost};
use support::steady::{HEADROOM, Steady, assert_equal};
use support::system::{Folders, System};
use support::{MAY, PATIENCE, parameter, rfc3339};

const ROLES: [&str; 8] = ["api", "query", "analyze", "analyze#2", "analyze-songs", "media", "write", "relay"];

/// The account of the system under test, on both servers.
const ACCOUNT: &str = "antiphon-app";

/// Makes a file's content another, at once for whoever reads it.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// Sends the same to a system without troubles, and compares.
fn compare_with_calm(load: &Steady, folder: &Path) -> usize {
    load.wait_until_all_stored();
    let system = System::start(&folder.join("calm"), Folders::Shared, &[], &["up"]);
    let calm = Steady::new(&system.operator(), &system.url());
    calm.repeat(load);
    calm.wait_until_all_stored();
    assert_equal(load, &calm)
}

/// Changes both passwords and ends all connections that were made with the old ones.
fn rotate(postgres: &Postgres, rabbitmq: &RabbitMq, folder: &Path, password: &str) {
    postgres.execute_as_admin(&format!("ALTER ROLE \"{ACCOUNT}\" PASSWORD '{password}'"));
    rabbitmq.user(ACCOUNT, password);
    let connections = rabbitmq.connections(ACCOUNT);
    assert!(!connections.is_empty(), "nobody was connected to the broker");
    let ended = postgres.execute_as_admin(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{ACCOUNT}'"
    ));
    assert_ne!(ended, "0", "nobody was connected to the database");
    rabbitmq.close_connections(ACCOUNT);
    let deadline = Instant::now() + PATIENCE;
    while !rabbitmq.connections(ACCOUNT).is_disjoint(&connections) {
        assert!(Instant::now() < deadline, "a connection with the old password is still open");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    // For a moment nobody knows the new password.
    replace(&folder.join("password"), password);
}

fn environment(database: &Database<'_>, vhost: &VirtualHost<'_>, folder: &Path) -> Vec<(String, String)> {
    let password = format!("file:{}", folder.join("password").display());
    [
        ("ANTIPHON_DATABASE__URL", database.url_of(ACCOUNT, "unused")),
        ("ANTIPHON_DATABASE__PASSWORD", password.clone()),
        ("ANTIPHON_QUEUE__URL", vhost.url_of(ACCOUNT, "unused")),
        ("ANTIPHON_QUEUE__PASSWORD", password),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

#[test]
fn credentials_are_rotated_under_load_without_a_restart_or_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let (postgres, rabbitmq) = (Postgres::start(Durability::Full), RabbitMq::start());
    let (database, vhost, bucket) = (postgres.database(), rabbitmq.vhost(), ObjectStore::shared().bucket());
    replace(&folder.path().join("password"), "first");
    postgres.execute_as_admin(&format!("CREATE ROLE \"{ACCOUNT}\" LOGIN PASSWORD 'first'"));
    postgres.execute_as_admin(&format!("ALTER DATABASE {} OWNER TO \"{ACCOUNT}\"", database.name()));
    rabbitmq.user(ACCOUNT, "first");
    vhost.permit(ACCOUNT, ".*", ".*", ".*");
    let mut settings = environment(&database, &vhost, folder.path());
    settings.push((String::from("ANTIPHON_BLOBS__URL"), bucket.url()));
    let system = System::start(&folder.path().join("rotated"), Folders::Each, &settings, &ROLES);
    let load = Steady::new(&system.operator(), &system.url());
    let rate = load.bearable(parameter("OPERATIONS_TEST_RATE", 100), HEADROOM);
    // Two show the principle; `OPERATIONS_TEST_ROTATIONS=20` is the long form.
    let rotations = parameter("OPERATIONS_TEST_ROTATIONS", 2);
    let processes = system.pids();
    std::thread::scope(|scope| {
        let ended = load.ends_with_this();
        scope.spawn(|| load.run(rate));
        load.probe(0);
        for number in 1..=rotations {
            rotate(&postgres, &rabbitmq, folder.path(), &format!("rotated-{number}"));
            let took = load.probe(number);
            println!("rotation {number}: a new recording and a song were stored {:.2} s later", took.as_secs_f64());
        }
        drop(ended);
    });
    assert_eq!(system.pids(), processes, "something was restarted");
    for name in ROLES {
        let log = system.log(name);
        assert!(!log.contains("rotated-") && !log.contains("first@"), "{name} logged a password");
    }
    let answers = compare_with_calm(&load, folder.path());
    println!("{rotations} rotations, {} recordings accepted and stored, {answers} answers equal", load.accepted());
}

#[test]
fn all_roles_are_restarted_under_load_without_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let (database, vhost, bucket) =
        (Postgres::shared().database(), RabbitMq::shared().vhost(), ObjectStore::shared().bucket());
    let settings = [
        ("ANTIPHON_DATABASE__URL", database.url()),
        ("ANTIPHON_QUEUE__URL", vhost.url()),
        ("ANTIPHON_BLOBS__URL", bucket.url()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let system = System::start(&folder.path().join("restarted"), Folders::Each, &settings, &ROLES);
    let load = Steady::new(&system.operator(), &system.url());
    let rate = load.bearable(parameter("OPERATIONS_TEST_RATE", 100), HEADROOM);
    let (asked, unanswered) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let ended = load.ends_with_this();
        scope.spawn(|| load.run(rate));
        // A reader who asks all the time: an answer is right, or there is none, and asking again helps.
        scope.spawn(|| {
            let (client, url) = (system.operator(), system.url());
            let range = format!("from={}&to={}", rfc3339(MAY), rfc3339(MAY + 60_000_000));
            while !load.has_ended() {
                match client.get(&format!("{url}/api/v1/sensors/s0/features?{range}&resolution=1s")) {
                    Ok(answer) if answer.status == 200 => assert!(!answer.json()["rows"].is_null()),
                    Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                    Err(_) => {
                        unanswered.fetch_add(1, Ordering::Relaxed);
                    }
                }
                asked.fetch_add(1, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        load.probe(0);
        for round in 0..2 {
            for (index, role) in (1..).zip(ROLES) {
                system.restart(role);
                load.probe(round * 100 + index);
            }
        }
        drop(ended);
    });
    let answers = compare_with_calm(&load, folder.path());
    println!(
        "{} restarts, {} recordings accepted and stored, {} of {} reads not answered and asked again, {answers} answers equal",
        2 * ROLES.len(),
        load.accepted(),
        unanswered.into_inner(),
        asked.into_inner()
    );
}
