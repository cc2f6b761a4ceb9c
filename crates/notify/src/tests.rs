//! Notices on both engines, to a receiver on this machine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::db::{Database, Engine, ReadTransaction};
use antiphon_platform::on_both_engines;
use antiphon_platform::outbound::{Allow, Outbound};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use super::*;

const START: Micros = 1_777_593_600 * SECOND;

/// A database of its own, and what goes with it.
struct World {
    database: Database,
    clock: Clock,
    _space: Space,
}

enum Space {
    Folder(#[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir),
    Server(#[expect(dead_code, reason = "removed when dropped")] antiphon_servers::Database<'static>),
}

impl World {
    async fn on(engine: Engine) -> Self {
        let (space, url) = match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", folder.path().join("test.db").display());
                (Space::Folder(folder), url)
            }
            Engine::Postgres => {
                let database = antiphon_servers::Postgres::shared().database();
                let url = database.url();
                (Space::Server(database), url)
            }
        };
        let database = Database::open(url.as_str(), MIGRATIONS).await.unwrap();
        Self { database, clock: Clock::manual(START), _space: space }
    }

    fn sending(&self) -> Sending {
        let allow = Allow::parse(&[String::from("127.0.0.1")]).unwrap();
        Sending { database: self.database.clone(), outbound: Outbound::new(allow), clock: self.clock.clone() }
    }

    async fn hook(&self, url: &str) -> NewHook {
        let mut tx = self.database.write().await.unwrap();
        let made = make(&mut tx, &Url::parse(url).unwrap(), START).await.unwrap();
        tx.commit().await.unwrap();
        made
    }

    async fn keep(&self, hook: &Hook, id: &str, number: i64, not_before: Micros) {
        let body = format!("{{\"n\":{number}}}").into_bytes().into();
        let notice = messages::Notice { hook: hook.0.clone(), number, not_before, test: number == 0, body };
        let mut tx = self.database.write().await.unwrap();
        deliveries::keep(&mut tx, id, &notice, self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn read(&self) -> ReadTransaction {
        self.database.read().await.unwrap()
    }

    async fn state(&self, id: &str) -> State {
        delivery(&mut self.read().await, id).await.unwrap().unwrap().state
    }
}

/// What a receiver was sent: head in lower case, and body.
type Seen = Arc<Mutex<Vec<(BTreeMap<String, String>, String)>>>;

/// A receiver that gives each request the next status, and 200 when there are no more.
async fn receiver(statuses: &'static [u16]) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/secret-path", listener.local_addr().unwrap().port());
    let seen = Seen::default();
    let (noted, mut statuses) = (Arc::clone(&seen), statuses.iter().copied());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            let (head, length) = loop {
                all.push(stream.read_u8().await.unwrap());
                if all.ends_with(b"\r\n\r\n") {
                    let text = String::from_utf8(all.clone()).unwrap();
                    let head: BTreeMap<String, String> = text
                        .lines()
                        .filter_map(|line| line.split_once(": "))
                        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                        .collect();
                    let length: usize = head["content-length"].parse().unwrap();
                    break (head, length);
                }
            };
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            noted.lock().unwrap().push((head, String::from_utf8(body).unwrap()));
            let status = statuses.next().unwrap_or(200);
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, seen)
}

fn ids(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().iter().map(|(head, _)| head[HEADERS[0]].clone()).collect()
}

async fn statements_prepare(engine: Engine) {
    let world = World::on(engine).await;
    world.database.reader().prepare_all(&statements()).await.unwrap();
}

async fn a_notice_is_signed_and_sent_once_however_often_it_comes_in(engine: Engine) {
    let world = World::on(engine).await;
    let (url, seen) = receiver(&[]).await;
    let made = world.hook(&url).await;
    for _ in 0..3 {
        world.keep(&made.hook, "a/1", 1, 0).await;
    }
    assert_eq!(send_due(&world.sending()).await.unwrap(), (1, None));
    assert_eq!(send_due(&world.sending()).await.unwrap(), (0, None));
    world.keep(&made.hook, "a/1", 1, 0).await;
    assert_eq!(send_due(&world.sending()).await.unwrap(), (0, None));
    let (head, body) = seen.lock().unwrap()[0].clone();
    assert_eq!((head[HEADERS[0]].as_str(), body.as_str()), ("a/1", "{\"n\":1}"));
    assert_eq!(head[HEADERS[1]], (START / SECOND).to_string());
    assert_eq!(head[HEADERS[2]], signature(&made.secret, "a/1", START, body.as_bytes()));
    assert_eq!((ids(&seen).len(), world.state("a/1").await), (1, State::Arrived));
    assert_eq!(told_to(&mut world.read().await, &made.hook).await.unwrap().unwrap(), url.replace("/secret-path", ""));
}

async fn failures_are_tried_again_in_order_and_end_after_a_day(engine: Engine) {
    let world = World::on(engine).await;
    let (url, seen) = receiver(&[500; 200]).await;
    let hook = world.hook(&url).await.hook;
    world.keep(&hook, "a/1", 1, 0).await;
    world.keep(&hook, "a/2", 2, 0).await;
    let mut attempts = 0;
    while world.state("a/1").await == State::Waiting {
        let (sent, next) = send_due(&world.sending()).await.unwrap();
        attempts += sent;
        assert!(sent <= 1, "the second waits for the first");
        if sent == 0 {
            world.clock.advance(next.unwrap() - world.clock.now());
        }
        assert!(attempts < 100);
    }
    let found = delivery(&mut world.read().await, "a/1").await.unwrap().unwrap();
    assert_eq!(
        (found.state, found.status, found.problem.as_deref()),
        (State::GivenUp, Some(500), Some("it answered 500"))
    );
    let took = world.clock.now() - START;
    assert!((20 * 3_600 * SECOND..=24 * 3_600 * SECOND).contains(&took), "{took}");
    assert!((20..=32).contains(&attempts), "{attempts}");
    assert!(ids(&seen).iter().all(|id| id == "a/1"));
    send_due(&world.sending()).await.unwrap();
    assert_eq!(ids(&seen).last().unwrap(), "a/2", "now it is its turn");
}

async fn what_died_while_sending_is_sent_again_when_its_lease_is_over(engine: Engine) {
    let world = World::on(engine).await;
    let (url, seen) = receiver(&[]).await;
    let hook = world.hook(&url).await.hook;
    world.keep(&hook, "a/1", 1, 0).await;
    let dead = deliveries::lease(&world.database, world.clock.now(), 5).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(send_due(&world.sending()).await.unwrap().0, 0, "somebody has it");
    world.clock.advance(30 * SECOND);
    assert_eq!(send_due(&world.sending()).await.unwrap().0, 1);
    let late = deliveries::Outcome { status: None, problem: Some(String::from("late")), is_final: true };
    deliveries::note(&world.database, &dead[0], &late, world.clock.now()).await.unwrap();
    assert_eq!(world.state("a/1").await, State::Arrived, "who lost the lease changes nothing");
    assert_eq!(ids(&seen), ["a/1"]);
}

async fn notices_wait_for_their_time_and_tests_for_nobody(engine: Engine) {
    let world = World::on(engine).await;
    let (url, seen) = receiver(&[500, 500, 500]).await;
    let hook = world.hook(&url).await.hook;
    world.keep(&hook, "a/1", 1, START + 3_600 * SECOND).await;
    world.keep(&hook, "a/test-1", 0, 0).await;
    for _ in 0..3 {
        let (sent, _) = send_due(&world.sending()).await.unwrap();
        assert_eq!(sent, 1);
        world.clock.advance(60 * SECOND);
    }
    let test = last_test(&mut world.read().await, &hook).await.unwrap().unwrap();
    assert_eq!((test.id.as_str(), test.state, test.attempts), ("a/test-1", State::GivenUp, 3));
    let (sent, next) = send_due(&world.sending()).await.unwrap();
    assert_eq!((sent, next), (0, Some(START + 3_600 * SECOND)));
    world.clock.advance(3_600 * SECOND);
    assert_eq!(send_due(&world.sending()).await.unwrap().0, 1);
    assert_eq!((ids(&seen).last().unwrap().as_str(), world.state("a/1").await), ("a/1", State::Arrived));
}

async fn gone_is_gone_and_private_addresses_are_not_reached(engine: Engine) {
    let world = World::on(engine).await;
    let (url, seen) = receiver(&[410]).await;
    let hook = world.hook(&url).await.hook;
    world.keep(&hook, "a/1", 1, 0).await;
    send_due(&world.sending()).await.unwrap();
    assert_eq!(world.state("a/1").await, State::GivenUp);
    let strict = Sending { outbound: Outbound::new(Allow::default()), ..world.sending() };
    world.keep(&hook, "a/2", 2, 0).await;
    send_due(&strict).await.unwrap();
    let found = delivery(&mut world.read().await, "a/2").await.unwrap().unwrap();
    let problem = found.problem.unwrap();
    assert!(problem.contains("private") && !problem.contains("secret-path"), "{problem}");
    assert_eq!((ids(&seen).len(), found.state), (1, State::Waiting));
    let mut tx = world.database.write().await.unwrap();
    remove(&mut tx, &hook).await.unwrap();
    tx.commit().await.unwrap();
    world.keep(&hook, "a/3", 3, 0).await;
    assert_eq!(delivery(&mut world.read().await, "a/2").await.unwrap(), None);
    assert_eq!(delivery(&mut world.read().await, "a/3").await.unwrap(), None);
}

async fn who_waits_longest_makes_room(engine: Engine) {
    let world = World::on(engine).await;
    let hook = world.hook("https://a.example").await.hook;
    let other = world.hook("https://b.example").await.hook;
    world.keep(&hook, "a/1", 1, 0).await;
    world.keep(&hook, "a/2", 2, 0).await;
    world.keep(&other, "b/1", 1, 0).await;
    world.keep(&hook, "a/test-1", 0, 0).await;
    world.keep(&hook, "a/1000", 1_000, 0).await;
    assert_eq!(world.state("a/1").await, State::Waiting);
    world.keep(&hook, "a/1001", 1_001, 0).await;
    world.keep(&hook, "a/test-2", 0, 0).await;
    world.keep(&hook, "a/test-2", 0, 0).await;
    let given_up = delivery(&mut world.read().await, "a/1").await.unwrap().unwrap();
    assert_eq!(
        (given_up.state, given_up.problem.as_deref()),
        (State::GivenUp, Some("it was not taken before 1000 newer ones waited"))
    );
    assert_eq!(world.state("a/test-1").await, State::GivenUp);
    for waits in ["a/2", "b/1", "a/1000", "a/1001", "a/test-2"] {
        assert_eq!(world.state(waits).await, State::Waiting, "{waits}");
    }
}

async fn who_does_not_answer_holds_up_no_other(engine: Engine) {
    let world = World::on(engine).await;
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let deaf_hook = world.hook(&format!("http://{}/", deaf.local_addr().unwrap())).await.hook;
    let (url, seen) = receiver(&[]).await;
    let hook = world.hook(&url).await.hook;
    world.keep(&deaf_hook, "deaf/1", 1, 0).await;
    let sending = tokio::spawn(send(world.sending(), tokio_util::sync::CancellationToken::new()));
    let (_held, _) = deaf.accept().await.unwrap();
    for number in 1..4 {
        world.keep(&hook, &format!("a/{number}"), number, 0).await;
    }
    let reader = world.database.reader();
    let arrived = async {
        while world.state("a/3").await != State::Arrived {
            reader.changed().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(9), arrived)
        .await
        .expect("within the patience for the deaf one");
    assert_eq!(
        (ids(&seen), world.state("deaf/1").await),
        (vec!["a/1".into(), "a/2".into(), "a/3".into()], State::Waiting)
    );
    sending.abort();
}

async fn what_ended_long_ago_is_forgotten(engine: Engine) {
    let world = World::on(engine).await;
    let (url, _) = receiver(&[]).await;
    let hook = world.hook(&url).await.hook;
    world.keep(&hook, "a/1", 1, 0).await;
    send_due(&world.sending()).await.unwrap();
    expire(&world.database, START + 399 * 86_400 * SECOND).await.unwrap();
    assert_eq!(world.state("a/1").await, State::Arrived);
    expire(&world.database, START + 401 * 86_400 * SECOND).await.unwrap();
    assert_eq!(delivery(&mut world.read().await, "a/1").await.unwrap(), None);
    for number in [2, 3, 10_002] {
        world.keep(&hook, &format!("a/{number}"), number, 0).await;
    }
    send_due(&world.sending()).await.unwrap();
    expire(&world.database, START).await.unwrap();
    assert_eq!(delivery(&mut world.read().await, "a/2").await.unwrap(), None, "one of the newest 10,000 it is not");
    assert_eq!(world.state("a/3").await, State::GivenUp);
}

on_both_engines![
    statements_prepare,
    a_notice_is_signed_and_sent_once_however_often_it_comes_in,
    failures_are_tried_again_in_order_and_end_after_a_day,
    what_died_while_sending_is_sent_again_when_its_lease_is_over,
    notices_wait_for_their_time_and_tests_for_nobody,
    gone_is_gone_and_private_addresses_are_not_reached,
    who_waits_longest_makes_room,
    who_does_not_answer_holds_up_no_other,
    what_ended_long_ago_is_forgotten,
];
