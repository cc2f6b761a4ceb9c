//! Roles and what they may open: every cell of the table, both ways, on real processes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use antiphon_analysis::topics::{ALL, DESCRIPTORS, INBOX, LONG_RECORDINGS, RECORDINGS, RESULTS, SONGS};
use antiphon_notify::NOTICES;
use antiphon_platform::clock::Clock;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Group, Queue, QueueError};
use serde_json::Value;
use support::{Client, command, message, start, try_start};

/// The table as `antiphon roles --json` prints it.
fn table(folder: &Path) -> Vec<Value> {
    let output = command(&folder.join("none"), &["roles", "--json"], &[]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!folder.join("none").exists(), "asking for the table made a data folder");
    let table: Value = serde_json::from_slice(&output.stdout).unwrap();
    table.as_array().or_else(|| table["items"].as_array()).expect("a list of roles").clone()
}

/// A data folder whose schema and key are there.
fn prepared(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    assert!(start(&data, &["up", "--listen", "127.0.0.1:0"], &[]).stop().success());
    data
}

fn arguments(role: &str) -> Vec<&str> {
    match role {
        "api" | "query" | "web" => vec!["run", role, "--strict", "--listen", "127.0.0.1:0"],
        _ => vec!["run", role, "--strict"],
    }
}

/// Which of the three connections a row of the table permits.
fn permitted(role: &Value) -> BTreeMap<&'static str, bool> {
    let lists = ["publish", "consume", "consume_dead"];
    BTreeMap::from([
        ("database", role["database"] != "none"),
        ("queue", lists.iter().any(|list| role[list].as_array().is_some_and(|names| !names.is_empty()))),
        ("blobs", role["blobs"] != "none"),
    ])
}

fn url(connection: &str, data: &Path) -> (String, String) {
    let name = format!("ANTIPHON_{}__URL", connection.to_uppercase());
    let data = data.display();
    match connection {
        "database" => (name, format!("sqlite:{data}/antiphon.db")),
        other => (name, format!("folder:{data}/{other}")),
    }
}

/// Files below the data folder that a process holds open.
fn open_files(pid: u32, data: &Path) -> Vec<String> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    descriptors
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|path| path.strip_prefix(data).ok().map(|path| path.display().to_string()))
        .collect()
}

#[test]
fn each_role_runs_alone_with_only_what_it_may_open_and_refuses_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path());
    assert!(table.len() >= 9, "{table:?}");
    let data = prepared(folder.path());
    let mut cells = 0;
    for role in &table {
        let name = role["name"].as_str().unwrap();
        if name == "job" {
            continue; // It ends by itself; the next test has it.
        }
        let permitted = permitted(role);
        let given: Vec<(String, String)> =
            permitted.iter().filter(|(_, allowed)| **allowed).map(|(connection, _)| url(connection, &data)).collect();
        let given: Vec<(&str, &str)> = given.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let process = start(&data, &arguments(name), &given);
        let open = open_files(process.pid(), &data);
        for (connection, allowed) in &permitted {
            let prefix = if *connection == "database" { "antiphon.db" } else { connection };
            let holds = open.iter().any(|file| file.starts_with(prefix));
            assert!(*allowed || !holds, "{name} may not open the {connection}, and holds {open:?}");
            cells += 1;
        }
        assert!(process.stop().success(), "{name} did not stop well");
        for (connection, _) in permitted.iter().filter(|(_, allowed)| !**allowed) {
            let (key, value) = url(connection, &data);
            let mut forbidden = given.clone();
            forbidden.push((&key, &value));
            let Err(log) = try_start(&data, &arguments(name), &forbidden) else {
                panic!("{name} --strict took the {connection}, which it may not open");
            };
            assert!(log.contains(&format!("{connection}.url")) && log.contains("exit status: 2"), "{name}: {log}");
            // Without --strict it is ignored, with a note.
            let relaxed: Vec<&str> = arguments(name).into_iter().filter(|argument| *argument != "--strict").collect();
            let process = start(&data, &relaxed, &forbidden);
            assert!(
                process.log().contains(&format!("{connection}.url")),
                "{name} ignored without a note: {}",
                process.log()
            );
            cells += 1;
        }
    }
    println!("{cells} cells of role and connection tried on processes");
}

#[test]
fn a_job_runs_once_with_only_what_it_may_open() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let refused = command(&data, &["run", "job", "no-such-job"], &[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let listed = String::from_utf8(refused.stderr).unwrap();
    let job = ["retention", "expire"]
        .into_iter()
        .find(|name| listed.contains(name))
        .unwrap_or_else(|| panic!("the refusal names the jobs there are: {listed}"));
    let output = command(&data, &["run", "job", job, "--strict"], &[]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn each_role_uses_its_topics_and_groups_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut cells = 0;
    for role in table(folder.path()) {
        let names = |list: &str| -> Vec<String> {
            role[list].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let topics = [INBOX, RECORDINGS, LONG_RECORDINGS, SONGS, RESULTS, DESCRIPTORS, NOTICES];
        let (publish, consume, dead) = (names("publish"), names("consume"), names("consume_dead"));
        let of = |allowed: &[String]| -> Vec<Group> {
            ALL.into_iter().filter(|group| allowed.iter().any(|name| name == group.name)).collect()
        };
        let access = Access {
            publish: topics.into_iter().filter(|topic| publish.iter().any(|name| name == topic.0)).collect(),
            consume: of(&consume),
            dead: of(&dead),
        };
        let queue = FileQueue::open(&folder.path().join("queue"), access.clone(), Clock::system()).await.unwrap();
        queue.declare(&ALL).await.unwrap();
        let mut check = |what: String, allowed: bool, outcome: Result<(), QueueError>| {
            let refused = matches!(outcome, Err(QueueError::NotPermitted(_)));
            assert_eq!(allowed, !refused, "{}: {what}: {outcome:?}", role["name"]);
            cells += 1;
        };
        for topic in topics {
            let outcome = queue.publish(topic, vec![message(topic)]).await;
            check(format!("publish {}", topic.0), access.publish.contains(&topic), outcome);
        }
        for group in ALL {
            let outcome = queue.consume(group, 1).await.map(drop);
            check(format!("consume {}", group.name), access.consume.contains(&group), outcome);
            let outcome = queue.consume_dead(group, 1).await.map(drop);
            check(format!("consume dead {}", group.name), access.dead.contains(&group), outcome);
        }
    }
    println!("{cells} cells of role and topic or group tried on queue handles");
}

#[test]
fn the_role_query_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepared(folder.path());
    let query = start(&data, &["run", "query", "--strict", "--listen", "127.0.0.1:0"], &[]);
    let operator = Client::operator(&data);
    assert_eq!(operator.get(&format!("{}/api/v1/sensors", query.url())).unwrap().status, 200);
    let refused = operator.post_json(&format!("{}/api/v1/sensors", query.url()), &serde_json::json!({ "id": "roof" }));
    assert!([404, 405].contains(&refused.status), "{refused:?}");
    // The engine itself holds the file for reading only.
    let writable =
        std::fs::read_dir(format!("/proc/{}/fd", query.pid())).unwrap().filter_map(Result::ok).any(|entry| {
            let is_database = std::fs::read_link(entry.path()).is_ok_and(|path| path == data.join("antiphon.db"));
            let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{}", query.pid(), entry.file_name().display()));
            let flags = info
                .unwrap_or_default()
                .lines()
                .find_map(|line| line.strip_prefix("flags:").map(str::trim).map(str::to_owned));
            is_database && flags.is_some_and(|flags| !flags.ends_with('0'))
        });
    assert!(!writable, "query holds antiphon.db open for writing");
}
