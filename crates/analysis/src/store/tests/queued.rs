//! The writer, the roll-up and the dead letters at work on the embedded queue.

use std::sync::Arc;

use antiphon_identity::Principal;
use antiphon_platform::outbox;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Consumer, Queue};
use axum::body::Body;
use http::{Method, Request, StatusCode};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::store::retention::Retention;
use crate::topics::{ALL, ANALYZE, MEDIA, RECORDINGS, RESULTS};

async fn queue(folder: &tempfile::TempDir, clock: &Clock) -> Arc<dyn Queue> {
    let topics = ALL.iter().map(|group| group.topic).collect();
    let access = Access { publish: topics, consume: ALL.to_vec(), dead: ALL.to_vec() };
    let queue = FileQueue::open(folder.path(), access, clock.clone()).await.unwrap();
    queue.declare(&ALL).await.unwrap();
    Arc::new(queue)
}

/// Waits for commits until a count is as expected.
async fn until(store: &Store, query: &'static str, expected: i64) {
    let reader = store.db.reader();
    while store.count(query).await != expected {
        reader.changed().await;
    }
}

#[tokio::test]
async fn results_flow_from_the_queue_into_cells() {
    let (store, folder, stop) = (Store::new().await, tempfile::tempdir().unwrap(), CancellationToken::new());
    store.clock.advance(400 * 86_400 * SECOND);
    let queue = queue(&folder, &store.clock).await;
    let made: Vec<Made> = (0..30).map(|index| Made::new(MAY + index * 10 * SECOND, 10 * SECOND, 1)).collect();
    let mut messages: Vec<Message> = made.iter().flat_map(Made::messages).collect();
    messages.push(Message { body: bytes::Bytes::from_static(b"rubbish"), ..messages[0].clone() });
    queue.publish(RESULTS, messages).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (db, queue, clock) = (store.db.clone(), Arc::clone(&queue), store.clock.clone());
        tasks.spawn(writer::run(db, queue, clock, writer::PREFETCH, stop.clone()));
        tasks.spawn(rollup::run(store.db.clone(), store.clock.clone(), stop.clone()));
    }
    tasks.spawn(dead_letters::run(store.db.clone(), Arc::clone(&queue), store.clock.clone(), stop.clone()));
    until(&store, "select count(*) from recordings where status = 1", 30).await;
    until(&store, "select count(*) from dead_letters where grp = 'write'", 1).await;
    store.clock.advance(10 * SECOND);
    until(&store, "select count(*) from stale", 0).await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    let depths = queue.depths().await.unwrap();
    let write = depths.iter().find(|depth| depth.group == "write").unwrap();
    assert_eq!((write.waiting, write.in_flight, write.dead), (0, 0, 0));
    let straight = Store::new().await;
    for made in made.iter().rev() {
        straight.apply(&made.messages()).await;
    }
    let (from, to) = (MAY - SECOND, MAY + 86_400 * SECOND);
    assert_eq!(store.dump(from, to).await, straight.dump(from, to).await);
}

fn audio(made: &Made) -> Message {
    let body = messages::Recording {
        id: made.name().to_vec().into(),
        sensor: made.sensor.to_owned(),
        recording_start: made.start,
        start: made.start,
        last_piece: true,
        accepted_at: made.start + made.length,
        ..messages::Recording::default()
    };
    Message {
        kind: String::from("antiphon.recording.v1"),
        body: body.encode_to_vec().into(),
        ..made.messages()[0].clone()
    }
}

/// Sets the next message of group analyze aside, and takes it into the database.
async fn die(store: &Store, queue: &Arc<dyn Queue>, consumer: &mut dyn Consumer, reason: &str) {
    consumer.next().await.unwrap().dead(reason).await.unwrap();
    let mut dead = queue.consume_dead(ANALYZE, 1).await.unwrap();
    let delivery = dead.next().await.unwrap();
    dead_letters::take(&store.db, &store.clock, ANALYZE, delivery).await.unwrap();
}

async fn request(store: &Store, who: Principal, method: Method, path: &str) -> (StatusCode, serde_json::Value) {
    let (router, _) = dead_letters::routes(dead_letters::Api { db: store.db.clone() }).split_for_parts();
    let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(who);
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn a_dead_letter_fails_its_recording_and_a_replay_mends_it() {
    let (store, folder) = (Store::new().await, tempfile::tempdir().unwrap());
    let queue = queue(&folder, &store.clock).await;
    let mut analyze = queue.consume(ANALYZE, 1).await.unwrap();
    let made = Made::new(MAY, 10 * SECOND, 1);
    queue.publish(RECORDINGS, vec![audio(&made)]).await.unwrap();
    die(&store, &queue, analyze.as_mut(), "no audio").await;
    let failed = store.status(&made).await.unwrap();
    assert_eq!((failed.status, failed.reason.as_deref()), (Status::Failed, Some("no audio")));

    let (status, page) = request(&store, Principal::Operator, Method::GET, "/api/v1/dead-letters?limit=1").await;
    let letter = page["items"][0].clone();
    assert_eq!((status, &page["next"]), (StatusCode::OK, &serde_json::Value::Null));
    assert_eq!(
        (&letter["group"], &letter["reason"], &letter["deliveries"]),
        (&"analyze".into(), &"no audio".into(), &1.into())
    );
    let path = format!("/api/v1/dead-letters/{}", letter["id"].as_str().unwrap());
    assert_eq!(request(&store, Principal::Reader, Method::GET, "/api/v1/dead-letters").await.0, StatusCode::FORBIDDEN);
    assert_eq!(request(&store, Principal::Reader, Method::DELETE, &path).await.0, StatusCode::FORBIDDEN);
    assert_eq!(request(&store, Principal::Operator, Method::GET, &path).await.1, letter);

    let replay = format!("{path}/replay");
    assert_eq!(request(&store, Principal::Operator, Method::POST, &replay).await.0, StatusCode::ACCEPTED);
    assert_eq!(
        request(&store, Principal::Operator, Method::POST, &replay).await.0,
        StatusCode::NOT_FOUND,
        "it is gone"
    );
    assert_eq!(store.status(&made).await.unwrap().status, Status::Accepted);
    outbox::publish_all(&store.db, queue.as_ref(), &ALL).await.unwrap();
    let again = analyze.next().await.unwrap();
    assert_eq!(again.message.body, audio(&made).body);
    again.ack().await.unwrap();
    store.apply(&made.messages()).await;
    assert_eq!(store.status(&made).await.unwrap().status, Status::Stored);
}

#[tokio::test]
async fn a_letter_is_taken_once_and_never_undoes_what_is_stored() {
    let (store, folder) = (Store::new().await, tempfile::tempdir().unwrap());
    let queue = queue(&folder, &store.clock).await;
    let mut analyze = queue.consume(ANALYZE, 1).await.unwrap();
    let made = Made::new(MAY, 10 * SECOND, 1);
    store.apply(&made.messages()).await;
    queue.publish(RECORDINGS, vec![audio(&made)]).await.unwrap();
    analyze.next().await.unwrap().dead("a crash in between").await.unwrap();
    for _ in 0..2 {
        let delivery = queue.consume_dead(ANALYZE, 1).await.unwrap().next().await.unwrap();
        let copy = antiphon_platform::queue::Delivery::new(
            delivery.message.clone(),
            delivery.deliveries,
            delivery.death.clone(),
            Box::new(Ignore),
        );
        dead_letters::take(&store.db, &store.clock, ANALYZE, copy).await.unwrap();
    }
    assert_eq!(store.count("select count(*) from dead_letters").await, 1);
    assert_eq!(store.status(&made).await.unwrap().status, Status::Stored);
    let rubbish = Message { body: bytes::Bytes::from_static(b"\xff"), ..audio(&made) };
    let rubbish = antiphon_platform::queue::Delivery::new(rubbish, 3, None, Box::new(Ignore));
    dead_letters::take(&store.db, &store.clock, MEDIA, rubbish).await.unwrap();
    let letters = dead_letters::list(&mut store.db.read().await.unwrap(), None, 10).await.unwrap();
    assert_eq!(letters.len(), 2, "what cannot be read is listed too");
    let path = format!("/api/v1/dead-letters/{}", letters[0].id);
    assert_eq!(request(&store, Principal::Operator, Method::DELETE, &path).await.0, StatusCode::NO_CONTENT);
    assert_eq!(request(&store, Principal::Operator, Method::DELETE, &path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_letter_holds_no_audio_where_only_features_are_kept() {
    let (store, folder) = (Store::new().await, tempfile::tempdir().unwrap());
    let queue = queue(&folder, &store.clock).await;
    let made = Made::new(MAY, 10 * SECOND, 1);
    let sizes = async || {
        let letters = dead_letters::list(&mut store.db.read().await.unwrap(), None, 10).await.unwrap();
        letters.into_iter().map(|letter| letter.size).collect::<Vec<_>>()
    };
    let take = async |group, message: Message| {
        let delivery = antiphon_platform::queue::Delivery::new(message, 1, None, Box::new(Ignore));
        dead_letters::take(&store.db, &store.clock, group, delivery).await.unwrap();
    };
    // Nobody says whose this is; where every sensor's audio may be kept, it is.
    let nobodys = |text: &'static str| Message {
        id: text.to_owned(),
        source: String::new(),
        body: bytes::Bytes::from_static(b"\xff\xff"),
        ..audio(&made)
    };
    take(ANALYZE, nobodys("before")).await;
    assert_eq!(sizes().await, [2]);
    let retention = Retention { features_only: true, ..Retention::default() };
    let text = format!(
        "insert into sensors (id, plan, plan_version, retention, created_at) values ('{}', '[]', 1, '{}', 0)",
        made.sensor,
        retention.to_text()
    );
    store.execute(text).await;
    store.clock.advance(SECOND);
    queue.publish(RECORDINGS, vec![audio(&made)]).await.unwrap();
    let mut analyze = queue.consume(ANALYZE, 1).await.unwrap();
    die(&store, &queue, analyze.as_mut(), "no audio").await;
    assert_eq!(store.status(&made).await.unwrap().reason.as_deref(), Some("no audio"));
    store.clock.advance(SECOND);
    take(ANALYZE, nobodys("after")).await;
    assert_eq!(sizes().await, [0, 0, 2]);
    // Features may stay.
    store.clock.advance(SECOND);
    take(crate::topics::WRITE, made.messages()[0].clone()).await;
    assert!(sizes().await[0] > 100);
    let letters = dead_letters::list(&mut store.db.read().await.unwrap(), None, 10).await.unwrap();
    let path = format!("/api/v1/dead-letters/{}/replay", letters[1].id);
    let (status, problem) = request(&store, Principal::Operator, Method::POST, &path).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
}

/// Settles nothing: the process died before its ack.
struct Ignore;

#[async_trait::async_trait]
impl antiphon_platform::queue::Settle for Ignore {
    async fn ack(self: Box<Self>) -> Result<(), antiphon_platform::queue::QueueError> {
        Ok(())
    }
    async fn retry(self: Box<Self>, _: String) -> Result<(), antiphon_platform::queue::QueueError> {
        Ok(())
    }
    async fn dead(self: Box<Self>, _: String) -> Result<(), antiphon_platform::queue::QueueError> {
        Ok(())
    }
    fn release(self: Box<Self>) {}
}
