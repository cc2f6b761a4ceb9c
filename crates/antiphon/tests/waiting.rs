//! A start waits for its servers and says for what; readiness goes red and green by itself; an end takes the time that
//! is set, whatever the servers do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]
#![cfg(all(feature = "postgres", feature = "amqp", feature = "s3"))]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use antiphon_servers::{Fault, Postgres, Proxy, RabbitMq};
use serde_json::Value;
use support::{Client, PATIENCE, command};

/// What `/readyz` says, once it says what is asked for.
fn readiness(url: &str, wanted: impl Fn(u16, &str) -> bool) -> Value {
    let client = Client::new("");
    let deadline = Instant::now() + PATIENCE;
    let mut last = String::new();
    loop {
        if let Ok(answer) = client.get(&format!("{url}/readyz")) {
            last = String::from_utf8(answer.body.clone()).unwrap();
            if wanted(answer.status, &last) {
                return answer.json();
            }
        }
        assert!(Instant::now() < deadline, "readiness stayed at {last}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn a_role_waits_for_its_servers_recovers_by_itself_and_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("no-data");
    let (database, vhost) = (Postgres::shared().database(), RabbitMq::shared().vhost());
    let (to_database, to_queue) =
        (Proxy::start(Postgres::shared().address()), Proxy::start(RabbitMq::shared().address()));
    to_database.set(Fault::Refuse);
    to_queue.set(Fault::Refuse);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let settings = [
        ("ANTIPHON_DATABASE__URL", database.url_at(to_database.address())),
        ("ANTIPHON_QUEUE__URL", vhost.url_at(to_queue.address())),
        ("ANTIPHON_SHUTDOWN__SECONDS", String::from("3")),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let arguments = ["run", "write", "--strict", "--metrics", &listen];
    let mut child = command(&data, &arguments, &settings).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (said, lines) = channel();
    let output = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).for_each(|line| said.send(line).unwrap())
    });

    let client = Client::new("");
    readiness(&url, |status, text| status == 503 && text.contains("waiting for the database"));
    assert_eq!(client.get(&format!("{url}/livez")).unwrap().status, 200);
    assert!(client.get(&format!("{url}/metrics")).unwrap().status == 200 && lines.try_recv().is_err());
    to_database.set(Fault::None);
    readiness(&url, |status, text| status == 503 && text.contains("waiting for the queue"));
    to_queue.set(Fault::None);
    assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "antiphon write is ready");
    readiness(&url, |status, _| status == 200);

    for (proxy, name) in [(&to_queue, "queue"), (&to_database, "database")] {
        proxy.set(Fault::Refuse);
        let red = readiness(&url, |status, _| status == 503);
        let checks = red["checks"].as_array().unwrap();
        assert!(checks.iter().any(|check| check["name"] == name && check["status"] == "unavailable"), "{red}");
        proxy.set(Fault::None);
        readiness(&url, |status, _| status == 200);
    }

    // Nothing answers any more, and nothing ends.
    to_database.set(Fault::Stall);
    to_queue.set(Fault::Stall);
    let begun = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    let taken = begun.elapsed();
    assert!(status.success(), "{status}");
    // Nothing here ends by itself; what is over three seconds is threads that block, and a busy machine.
    assert!(taken < Duration::from_secs(3 + 12), "it ended after {taken:?}");
    println!("ended after {:.1} s of a stall, 3 s were set", taken.as_secs_f64());
    assert!(!data.exists(), "a role that reaches servers only made a data folder");
}
