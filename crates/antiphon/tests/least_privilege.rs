//! Each role with accounts that have exactly what `antiphon roles` prints, on real servers: the system as a whole works,
//! and each thing that a role's row forbids is tried and refused, by `--strict` and by the servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]
#![cfg(all(feature = "postgres", feature = "amqp", feature = "s3"))]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use antiphon_analysis::topics::{ALL, DESCRIPTORS, INBOX, LONG_RECORDINGS, RECORDINGS, RESULTS, SONGS};
use antiphon_notify::NOTICES;
use antiphon_platform::blobs::s3::S3Blobs;
use antiphon_platform::blobs::{self, Blobs};
use antiphon_platform::clock::Clock;
use antiphon_platform::queue::amqp::AmqpQueue;
use antiphon_platform::queue::{Access, Queue, Topic};
use antiphon_servers::{Bucket, Database, Identity, ObjectStore, Postgres, RabbitMq, VirtualHost};
use futures::future::join_all;
use serde_json::{Value, json};
use support::traffic::{SENSORS, add_sensors, answers, load, recordings, wait_stored};
use support::{Antiphon, Client, PATIENCE, command, message, start, try_start, wav};

const TOPICS: [Topic; 7] = [INBOX, RECORDINGS, LONG_RECORDINGS, SONGS, RESULTS, DESCRIPTORS, NOTICES];

/// Accounts are of the whole server, which other tests share.
fn account(role: &str) -> String {
    format!("{}_{}", role.replace('-', "_"), std::process::id())
}

const PASSWORD: &str = "not-a-secret";

/// Servers with an account a role.
struct Servers {
    folder: PathBuf,
    database: Database<'static>,
    vhost: VirtualHost<'static>,
    bucket: Bucket<'static>,
    store: &'static ObjectStore,
    roles: Vec<Value>,
}

impl Servers {
    fn start(folder: &Path) -> Self {
        let table = antiphon(folder, &["roles", "--json"], &[]);
        let roles: Vec<Value> = serde_json::from_str(&table).unwrap();
        // The policies, in the words of this server: of all buckets whose name begins as those of this process.
        let identities: Vec<Identity> = roles
            .iter()
            .filter(|role| !role["grants"]["s3"].is_null())
            .map(|role| {
                let actions = &role["grants"]["s3"]["Statement"][1]["Action"];
                let has = |action: &str| actions.as_array().unwrap().contains(&json!(action));
                let mut words = vec!["Read"];
                if has("s3:PutObject") && has("s3:DeleteObject") {
                    words.push("Write");
                }
                let of_bucket = |word: &&str| format!("{word}:test-{}-*", std::process::id());
                Identity {
                    access_key: account(role["name"].as_str().unwrap()),
                    secret_key: PASSWORD.to_owned(),
                    actions: words.iter().map(of_bucket).collect(),
                }
            })
            .collect();
        let store: &'static ObjectStore = Box::leak(Box::new(ObjectStore::start_with(&identities)));
        let servers = Self {
            folder: folder.to_owned(),
            database: Postgres::shared().database(),
            vhost: RabbitMq::shared().vhost(),
            bucket: store.bucket(),
            store,
            roles,
        };
        let admin = [
            ("ANTIPHON_DATABASE__URL", servers.database.url()),
            ("ANTIPHON_QUEUE__URL", servers.vhost.url()),
            ("ANTIPHON_BLOBS__URL", servers.bucket.url()),
        ];
        let admin: Vec<(&str, &str)> = admin.iter().map(|(name, value)| (*name, value.as_str())).collect();
        antiphon(folder, &["prepare"], &admin);
        let key = antiphon(folder, &["key", "create", "--role", "operator", "--in-database"], &admin);
        std::fs::write(folder.join("operator.key"), key).unwrap();
        for role in &servers.roles {
            servers.make_account(role);
        }
        servers
    }

    fn make_account(&self, role: &Value) {
        let name = role["name"].as_str().unwrap();
        let account = account(name);
        let grants = &role["grants"];
        if !grants["postgresql"].is_null() {
            Postgres::shared().execute_as_admin(&format!("CREATE ROLE {account} LOGIN PASSWORD '{PASSWORD}'"));
            let arguments = ["roles", "--grants", name, "--on", "postgresql", "--account", &account];
            self.database.execute_as_admin(&antiphon(&self.folder, &arguments, &[]));
        }
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let rabbitmq = &grants["rabbitmq"];
        if !rabbitmq.is_null() {
            RabbitMq::shared().user(&account, PASSWORD);
            let [configure, write, read] = ["configure", "write", "read"].map(|what| text(&rabbitmq[what]));
            self.vhost.permit(&account, &configure, &write, &read);
            for topic in rabbitmq["topics"].as_array().unwrap() {
                let [exchange, write, read] = ["exchange", "write", "read"].map(|what| text(&topic[what]));
                self.vhost.permit_topics(&account, &exchange, &write, &read);
            }
        }
    }

    /// Where one port of a role leads, with its account.
    fn url(&self, port: &str, role: &str) -> (String, String) {
        let account = account(role);
        let url = match port {
            "database" => self.database.url_of(&account, PASSWORD),
            "queue" => self.vhost.url_of(&account, PASSWORD),
            _ => self.bucket.url_of(&account, PASSWORD, self.store.address()),
        };
        (format!("ANTIPHON_{}__URL", port.to_uppercase()), url)
    }

    /// The settings of a role: the connections that its row permits, and nothing else.
    fn settings(&self, role: &Value) -> Vec<(String, String)> {
        let name = role["name"].as_str().unwrap();
        let permitted = permitted(role);
        permitted.iter().filter(|(_, may)| **may).map(|(port, _)| self.url(port, name)).collect()
    }

    fn run(&self, role: &Value) -> Antiphon {
        let name = role["name"].as_str().unwrap();
        // `api` uses a folder that it is told of.
        let data = self.folder.join(if name == "api" { "data-of-api" } else { "no-data" });
        start(&data, &arguments(name), &borrowed(&self.settings(role)))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for role in &self.roles {
            let account = account(role["name"].as_str().unwrap());
            if !role["grants"]["rabbitmq"].is_null() {
                RabbitMq::shared().remove_user(&account);
            }
            let known = format!("SELECT 1 FROM pg_roles WHERE rolname = '{account}'");
            if !self.database.execute_as_admin(&known).trim().is_empty() {
                self.database.execute_as_admin(&format!("DROP OWNED BY {account}; DROP ROLE {account};"));
            }
        }
    }
}

/// Runs a command that must succeed; what it printed.
fn antiphon(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = command(&folder.join("no-data"), arguments, environment).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn permitted(role: &Value) -> BTreeMap<&'static str, bool> {
    let lists = ["publish", "consume", "consume_dead"];
    BTreeMap::from([
        ("database", role["database"] != "none"),
        ("queue", lists.iter().any(|list| role[list].as_array().is_some_and(|names| !names.is_empty()))),
        ("blobs", role["blobs"] != "none"),
    ])
}

fn arguments(role: &str) -> Vec<&str> {
    match role {
        "api" | "query" | "web" => vec!["run", role, "--strict", "--listen", "127.0.0.1:0"],
        "job" => vec!["run", "job", "retention", "--strict"],
        _ => vec!["run", role, "--strict"],
    }
}

#[test]
fn the_system_works_with_accounts_that_have_what_their_row_says_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::start(folder.path());
    let looked_at = doctor_agrees(&servers);
    works(&servers);
    let strict = strict_refuses(&servers);
    let database = postgresql_refuses(&servers);
    let (queue, allowed) = tokio::runtime::Runtime::new().unwrap().block_on(rabbitmq_refuses(&servers));
    let blobs = tokio::runtime::Runtime::new().unwrap().block_on(s3_refuses(&servers));
    println!(
        "cells refused: {strict} by --strict, {database} by PostgreSQL, {queue} by RabbitMQ, {blobs} by S3; \
         {allowed} of RabbitMQ tried and permitted; {looked_at} accounts looked at by doctor"
    );
    assert!(!folder.path().join("no-data").exists(), "a role that reaches servers only made a data folder");
}

/// Every role at once, each with its own accounts; everything that they do for clients.
fn works(servers: &Servers) {
    let processes: BTreeMap<&str, Antiphon> = servers
        .roles
        .iter()
        .map(|role| (role["name"].as_str().unwrap(), role))
        .filter(|(name, _)| *name != "job")
        .map(|(name, role)| (name, servers.run(role)))
        .collect();
    let client = Client::operator(&servers.folder);
    let url = processes["api"].url();
    add_sensors(&client, url);
    let stored = Mutex::new(BTreeMap::new());
    load(&client, url, &recordings(11, 60), &channel().0, &stored);
    let stored = stored.into_inner().unwrap();
    for id in stored.keys() {
        wait_stored(&client, url, id);
    }
    let all = answers(&client, url, stored.keys());
    assert_eq!(all, answers(&client, processes["query"].url(), stored.keys()));
    changes_work(&client, url, stored.keys().find(|id| id.starts_with('s')).unwrap());
    for name in ["retention", "reanalyze-songs", "sweep-songs"] {
        let job = servers.roles.iter().find(|role| role["name"] == "job").unwrap();
        antiphon(&servers.folder, &["run", "job", name, "--strict"], &borrowed(&servers.settings(job)));
    }
    for (name, process) in processes {
        let log = process.log();
        for refusal in ["permission denied", "ACCESS_REFUSED", "may not", "AccessDenied"] {
            assert!(!log.contains(refusal), "{name} was refused something:\n{log}");
        }
        assert!(process.stop().success(), "{name} did not stop well");
    }
}

/// The routes that change or remove something, and dead letters.
fn changes_work(client: &Client, url: &str, song: &str) {
    let ok = |method: &str, path: &str, body: Value| {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("content-type", "application/json")];
        let answer = client.send(method, &format!("{url}/api/v1/{path}"), &headers, text.as_bytes()).unwrap();
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer
    };
    ok("PATCH", &format!("sensors/{}", SENSORS[0]), json!({ "name": "On the roof" }));
    let key = ok("POST", &format!("sensors/{}/keys", SENSORS[0]), json!({})).json()["id"].as_str().unwrap().to_owned();
    ok("DELETE", &format!("sensors/{}/keys/{key}", SENSORS[0]), Value::Null);
    let key = ok("POST", "keys", json!({ "role": "reader" })).json()["id"].as_str().unwrap().to_owned();
    ok("DELETE", &format!("keys/{key}"), Value::Null);
    // The header of a FLAC file, and then none of its frames: accepted, and set aside by a worker.
    let mut broken =
        b"fLaC\x80\x00\x00\x22\x10\x00\x10\x00\x00\x00\x00\x00\x00\x00\x0a\xc4\x42\xf0\x00\x00\x00\x00".to_vec();
    broken.extend([0x55_u8; 4_016]);
    let start = support::rfc3339(support::MAY);
    let target = format!("{url}/api/v1/sensors/{}/recordings?start={start}", SENSORS[1]);
    assert_eq!(client.send("POST", &target, &[("content-type", "audio/flac")], &broken).unwrap().status, 202);
    for end in ["replay", "drop"] {
        let letter = first_letter(client, url);
        match end {
            "replay" => ok("POST", &format!("dead-letters/{letter}/replay"), Value::Null),
            _ => ok("DELETE", &format!("dead-letters/{letter}"), Value::Null),
        };
    }
    ok("DELETE", &format!("songs/{song}"), Value::Null);
    ok("DELETE", &format!("sensors/{}?data=true", SENSORS[2]), Value::Null);
    // What is left of the deleted sensor makes room for the same again.
    ok("POST", "sensors", json!({ "id": SENSORS[2] }));
    let target = format!("{url}/api/v1/sensors/{}/recordings?start={start}", SENSORS[2]);
    let answer = client.send("POST", &target, &[("content-type", "audio/wav")], &wav(3, 16_000, 16_000)).unwrap();
    assert_eq!(answer.status, 202);
    wait_stored(client, url, answer.json()["id"].as_str().unwrap());
}

fn first_letter(client: &Client, url: &str) -> String {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let letters = client.get(&format!("{url}/api/v1/dead-letters")).unwrap().json();
        if let Some(id) = letters["items"][0]["id"].as_str() {
            return id.to_owned();
        }
        assert!(std::time::Instant::now() < deadline, "no dead letter came");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

/// `antiphon doctor ROLE` finds an account well that has what the role needs, and names what another one lacks.
fn doctor_agrees(servers: &Servers) -> usize {
    let doctor = |role: &str, settings: &[(String, String)]| {
        let output = command(&servers.folder.join("no-data"), &["doctor", role], &borrowed(settings)).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for role in &servers.roles {
        let name = role["name"].as_str().unwrap();
        let (code, said) = doctor(name, &servers.settings(role));
        assert_eq!(code, Some(0), "{name}: {said}");
    }
    let (code, said) = doctor("write", &[servers.url("database", "query"), servers.url("queue", "analyze")]);
    let query = account("query");
    assert_eq!(code, Some(1), "{said}");
    for lack in
        ["INSERT on blocks", "EXECUTE on make_blocks_partition", "antiphon.write.aside", &query, "roles --grants"]
    {
        assert!(said.contains(lack), "{lack}: {said}");
    }
    let (code, said) = doctor("analyze-songs", &[servers.url("queue", "analyze-songs"), servers.url("blobs", "write")]);
    assert!(code == Some(1) && said.contains("FAIL blobs"), "{said}");
    servers.roles.len() + 2
}

/// A connection that a role may not open, though the account of another one would work.
fn strict_refuses(servers: &Servers) -> usize {
    let mut cells = 0;
    for role in &servers.roles {
        let name = role["name"].as_str().unwrap();
        for (port, _) in permitted(role).iter().filter(|(_, may)| !**may) {
            let mut settings = servers.settings(role);
            settings.push(servers.url(port, "api"));
            let Err(log) = try_start(&servers.folder.join("no-data"), &arguments(name), &borrowed(&settings)) else {
                panic!("{name} --strict took the {port}, which it may not open");
            };
            assert!(log.contains(&format!("{port}.url")) && log.contains("exit status: 2"), "{name}: {log}");
            cells += 1;
        }
    }
    cells
}

/// Every right on every table that an account was not given, tried by that account.
fn postgresql_refuses(servers: &Servers) -> usize {
    let database = &servers.database;
    database.execute_as_admin(
        "CREATE FUNCTION tried(account text, statement text) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN
             EXECUTE format('SET LOCAL ROLE %I', account);
             EXECUTE statement;
             RESET ROLE;
             RETURN 'permitted';
         EXCEPTION
             WHEN insufficient_privilege THEN RETURN 'refused';
             WHEN integrity_constraint_violation THEN RETURN 'permitted';
         END $$",
    );
    let tables = database.execute_as_admin(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1",
    );
    let tables: Vec<(&str, &str)> = tables.lines().filter_map(|line| line.trim().split_once('|')).collect();
    assert!(tables.len() > 20, "{tables:?}");
    let mut cells = 0;
    for role in servers.roles.iter().filter(|role| !role["grants"]["postgresql"].is_null()) {
        let account = account(role["name"].as_str().unwrap());
        let granted = &role["grants"]["postgresql"];
        let mut tries = Vec::new();
        for (table, column) in &tables {
            for (right, statement) in [
                ("SELECT", format!("SELECT 1 FROM {table} LIMIT 0")),
                ("INSERT", format!("INSERT INTO {table} DEFAULT VALUES")),
                ("UPDATE", format!("UPDATE {table} SET {column} = NULL WHERE false")),
                ("DELETE", format!("DELETE FROM {table} WHERE false")),
                ("TRUNCATE", format!("TRUNCATE {table}")),
            ] {
                let may = granted["tables"][table].as_array().is_some_and(|rights| rights.contains(&json!(right)));
                tries.push((format!("{right} {table}"), statement, may));
            }
        }
        let functions = granted["functions"].as_array().unwrap();
        let makes_partitions = functions.iter().any(|function| function.as_str().unwrap().contains("partition"));
        tries.push((
            String::from("partition"),
            String::from("SELECT make_blocks_partition(29000000)"),
            makes_partitions,
        ));
        tries.push((String::from("CREATE TABLE"), String::from("CREATE TABLE public.mine (a int)"), false));
        for (what, statement, may) in tries {
            let outcome = database.execute_as_admin(&format!(
                "BEGIN; SELECT tried('{account}', '{}'); ROLLBACK",
                statement.replace('\'', "''")
            ));
            let expected = if may { "permitted" } else { "refused" };
            assert_eq!(outcome.trim(), expected, "{account}: {what}");
            cells += usize::from(!may);
        }
    }
    cells
}

/// Every topic and group that an account was not given, and those that it was.
async fn rabbitmq_refuses(servers: &Servers) -> (usize, usize) {
    let everything = Access { publish: TOPICS.to_vec(), consume: ALL.to_vec(), dead: ALL.to_vec() };
    let (mut refused, mut permitted) = (0, 0);
    for role in servers.roles.iter().filter(|role| !role["grants"]["rabbitmq"].is_null()) {
        let name = role["name"].as_str().unwrap();
        let names = |list: &str| -> Vec<&str> {
            role[list].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
        };
        let (publish, consume, dead) = (names("publish"), names("consume"), names("consume_dead"));
        let (_, url) = servers.url("queue", name);
        let open = || AmqpQueue::open(url.clone(), everything.clone(), Clock::system());
        // One connection a try: a refusal ends a channel, and must not end another try.
        let publishing = TOPICS.map(|topic| {
            let may = publish.contains(&topic.0);
            let open = open();
            async move {
                let outcome = open.await.unwrap().publish(topic, vec![message(topic)]).await;
                (format!("publish {}", topic.0), may, outcome.map_err(|error| error.to_string()))
            }
        });
        let consuming = ALL.map(|group| {
            let (may, may_dead) = (consume.contains(&group.name), dead.contains(&group.name));
            let (live_queue, dead_queue) = (open(), open());
            async move {
                let live = live_queue.await.unwrap().consume(group, 1).await;
                let aside = dead_queue.await.unwrap().consume_dead(group, 1).await;
                [
                    (format!("consume {}", group.name), may, live.map(drop).map_err(|error| error.to_string())),
                    (
                        format!("consume dead {}", group.name),
                        may_dead,
                        aside.map(drop).map_err(|error| error.to_string()),
                    ),
                ]
            }
        });
        let mut tried: Vec<_> = join_all(publishing).await;
        tried.extend(join_all(consuming).await.into_iter().flatten());
        for (what, may, outcome) in tried {
            assert_eq!(outcome.is_ok(), may, "{name}: {what}: {outcome:?}");
            refused += usize::from(!may);
            permitted += usize::from(may);
        }
    }
    (refused, permitted)
}

/// Reading, writing and deleting by accounts that were not given it, and by who has none.
async fn s3_refuses(servers: &Servers) -> usize {
    let mut cells = 0;
    for role in &servers.roles {
        let (name, may) = (role["name"].as_str().unwrap(), role["blobs"].as_str().unwrap());
        let (_, url) = servers.url("blobs", name);
        let blobs = S3Blobs::open(url, blobs::Access::Write).await.unwrap();
        let found = blobs.permissions().await;
        let outcomes = match found {
            Ok(found) => [found.read.is_ok(), found.write.is_ok(), found.delete.is_ok()],
            Err(_) => [false; 3],
        };
        let expected = [may != "none", may == "write", may == "write"];
        assert_eq!(outcomes, expected, "{name} may {may}: read, write, delete");
        cells += outcomes.iter().filter(|may| !**may).count();
    }
    cells
}
