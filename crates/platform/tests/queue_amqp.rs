//! What can go wrong between the queue port and RabbitMQ: faults of the network and of the server, other programs on the
//! same broker, accounts that may little, credentials that change.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use antiphon_platform::address::{Address, Freshness};
use antiphon_platform::clock::Clock;
use antiphon_platform::queue::amqp::names::{self, Declares, INBOX};
use antiphon_platform::queue::amqp::{AmqpQueue, Options};
use antiphon_platform::queue::contract::{PATIENCE, full_access, groups, message, next};
use antiphon_platform::queue::{
    Access, DELIVERY_LIMIT, Group, MESSAGE_LIMIT, Message, Queue, QueueError, Topic, limit_reason,
};
use antiphon_platform::secrets::Secret;
use antiphon_servers::{Fault, Proxy, RabbitMq, VirtualHost};
use bytes::Bytes;
use lapin::options::{
    BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

const ADMIT: Group = Group { name: "admit", topic: INBOX };

/// The longest from the end of a fault to work that goes on: ten seconds, thrice over for a machine that is busy with other tests.
const RECOVERY: Duration = Duration::from_secs(30);

async fn open(url: String) -> AmqpQueue {
    let options = Options { backoff: [100; 5].map(Duration::from_millis).to_vec() };
    AmqpQueue::open_with(url, full_access(), Clock::system(), options).await.unwrap()
}

async fn open_declared(url: String) -> AmqpQueue {
    let queue = open(url).await;
    queue.declare(&groups()).await.unwrap();
    queue
}

/// Another program, which speaks AMQP without the port.
async fn other_program(vhost: &VirtualHost<'_>) -> (Connection, Channel) {
    let connection = Connection::connect(&vhost.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

async fn send(channel: &Channel, exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let confirm = channel.basic_publish(exchange.into(), key.into(), options, body, properties).await.unwrap();
    assert!(matches!(confirm.await.unwrap(), lapin::Confirmation::Ack(None)), "the message found a queue");
}

fn unavailable(outcome: Result<(), QueueError>) -> String {
    match outcome {
        Err(QueueError::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// Publishes 0, 1, 2, ... until told to stop, each as often as it takes to be confirmed; how many were.
fn publish_on(queue: &AmqpQueue, topic: Topic) -> (Arc<AtomicBool>, tokio::task::JoinHandle<usize>) {
    let (stop, queue) = (Arc::new(AtomicBool::new(false)), queue.clone());
    let stopped = Arc::clone(&stop);
    let publishing = tokio::spawn(async move {
        let mut id = 0;
        while !stopped.load(Ordering::Relaxed) {
            match queue.publish(topic, vec![message(&id.to_string())]).await {
                Ok(()) => id += 1,
                Err(QueueError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        id
    });
    (stop, publishing)
}

/// Acks all that comes until 0 to `count` have; how often each came.
async fn take_all(queue: &AmqpQueue, group: Group, count: usize) -> BTreeMap<usize, usize> {
    let mut consumer = queue.consume(group, 10).await.unwrap();
    let mut seen = BTreeMap::new();
    while seen.len() < count {
        let delivery = tokio::time::timeout(PATIENCE * 2, consumer.next()).await.unwrap().unwrap();
        *seen.entry(delivery.message.id.parse().unwrap()).or_insert(0) += 1;
        // An ack on a connection that has just ended cannot be known to have come: then the message comes again.
        let _ = delivery.ack().await;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing_and_stops_nobody() {
    let server = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let vhost = server.vhost();
    let queue = open_declared(vhost.url()).await;
    let [one, ..] = groups();
    let (stop, publishing) = publish_on(&queue, one.topic);
    let consumer_queue = queue.clone();
    let taken = Arc::new(std::sync::Mutex::new(BTreeMap::<usize, usize>::new()));
    let seen = Arc::clone(&taken);
    let taking = tokio::spawn(async move {
        let mut consumer = consumer_queue.consume(one, 10).await.unwrap();
        loop {
            let delivery = consumer.next().await.unwrap();
            *seen.lock().unwrap().entry(delivery.message.id.parse().unwrap()).or_insert(0) += 1;
            let _ = delivery.ack().await;
        }
    });
    let until = async |count: usize| {
        let begun = Instant::now();
        while taken.lock().unwrap().len() < count {
            assert!(begun.elapsed() < PATIENCE, "{} of {count} came", taken.lock().unwrap().len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(20).await;
    let (killed, vhost) = std::thread::scope(|scope| {
        let restart = scope.spawn(|| {
            server.kill();
            server.restart();
        });
        (restart.join().is_ok(), vhost)
    });
    assert!(killed);
    let back = Instant::now();
    let before = taken.lock().unwrap().len();
    until(before + 20).await;
    assert!(back.elapsed() < RECOVERY, "recovery took {:?}", back.elapsed());
    stop.store(true, Ordering::Relaxed);
    let confirmed = publishing.await.unwrap();
    until(confirmed).await;
    taking.abort();
    assert_eq!(taken.lock().unwrap().keys().copied().collect::<Vec<_>>(), (0..confirmed).collect::<Vec<_>>());
    queue.close().await;
    drop(vhost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_stalled_and_half_open_connections_are_bounded_and_mended() {
    for fault in [Fault::Cut, Fault::Refuse, Fault::Stall, Fault::HalfOpen] {
        let server = RabbitMq::shared();
        let (vhost, proxy) = (server.vhost(), Proxy::start(server.address()));
        let queue = open_declared(vhost.url_at(proxy.address())).await;
        let [one, ..] = groups();
        let mut consumer = queue.consume(one, 1).await.unwrap();
        queue.publish(one.topic, vec![message("0")]).await.unwrap();
        next(consumer.as_mut()).await.ack().await.unwrap();
        proxy.set(fault);
        let begun = Instant::now();
        let reason = unavailable(queue.publish(one.topic, vec![message("1")]).await);
        assert!(begun.elapsed() < RECOVERY, "{fault:?} took {:?}", begun.elapsed());
        assert!(!reason.contains(antiphon_servers::ADMIN_PASSWORD), "{reason}");
        unavailable(queue.check().await);
        proxy.set(Fault::None);
        let mended = Instant::now();
        while let Err(error) = queue.publish(one.topic, vec![message("2")]).await {
            unavailable(Err(error));
        }
        // What was answered Unavailable may come, before what was confirmed.
        while next(consumer.as_mut()).await.message.id != "2" {}
        assert!(mended.elapsed() < RECOVERY, "after {fault:?} it took {:?}", mended.elapsed());
        queue.check().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_while_messages_flow_lose_none() {
    let server = RabbitMq::shared();
    let (vhost, proxy) = (server.vhost(), Proxy::start(server.address()));
    let queue = open_declared(vhost.url_at(proxy.address())).await;
    let [one, ..] = groups();
    let (stop, publishing) = publish_on(&queue, one.topic);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set(Fault::Cut);
        proxy.set(Fault::None);
    }
    stop.store(true, Ordering::Relaxed);
    let confirmed = publishing.await.unwrap();
    assert!(confirmed > 0, "the test needs confirmed messages");
    take_all(&queue, one, confirmed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_short_of_memory_says_so_and_lets_consumers_work() {
    let server = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let vhost = server.vhost();
    let queue = open_declared(vhost.url()).await;
    let [one, ..] = groups();
    queue.publish(one.topic, (0..5).map(|id| message(&id.to_string())).collect()).await.unwrap();
    tokio::task::block_in_place(|| server.control(&["set_vm_memory_high_watermark", "0.00001"]));
    // The broker blocks a connection at its next publish; that one is answered when it is over, or not at all.
    let begun = Instant::now();
    while !unavailable(queue.publish(one.topic, vec![message("x")]).await).contains("memory") {
        assert!(begun.elapsed() < PATIENCE, "the broker's reason is told");
    }
    assert!(unavailable(queue.check().await).contains("memory"));
    let mut consumer = queue.consume(one, 5).await.unwrap();
    for _ in 0..5 {
        next(consumer.as_mut()).await.ack().await.unwrap();
    }
    tokio::task::block_in_place(|| server.control(&["set_vm_memory_high_watermark", "0.9"]));
    let mended = Instant::now();
    while let Err(error) = queue.publish(one.topic, vec![message("5")]).await {
        unavailable(Err(error));
        assert!(mended.elapsed() < RECOVERY, "the broker takes messages again");
    }
    queue.close().await;
    drop(vhost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_another_program_declared_otherwise_is_explained() {
    let vhost = RabbitMq::shared().vhost();
    let (_connection, channel) = other_program(&vhost).await;
    let [one, two, _] = groups();
    let name = names::queue(one);
    channel.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    let queue = open(vhost.url()).await;
    let Err(QueueError::Broken(reason)) = queue.declare(&[one]).await else { panic!("it is not the same") };
    assert!(reason.contains(&name) && reason.contains("inequivalent") && reason.contains("delete it"), "{reason}");
    queue.declare(&[two]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_that_were_deleted_are_declared_again() {
    let vhost = RabbitMq::shared().vhost();
    let (_connection, channel) = other_program(&vhost).await;
    let queue = open_declared(vhost.url()).await;
    let [one, two, _] = groups();
    for group in [one, two] {
        channel.queue_delete(names::queue(group).into(), QueueDeleteOptions::default()).await.unwrap();
    }
    queue.publish(one.topic, vec![message("0")]).await.unwrap();
    let mut consumer = queue.consume(one, 1).await.unwrap();
    next(consumer.as_mut()).await.ack().await.unwrap();
    // Without a declaration of its own, a process can only say what is missing.
    let nobody = Topic("contract-nobody");
    let access = Access { publish: vec![nobody], ..Access::default() };
    let reason = unavailable(queue.with_access(access).publish(nobody, vec![message("0")]).await);
    assert!(reason.contains("antiphon.contract-nobody"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_messages_come_as_they_are_and_block_nothing() {
    let vhost = RabbitMq::shared().vhost();
    let queue = open_declared(vhost.url()).await;
    let [one, ..] = groups();
    let (_connection, channel) = other_program(&vhost).await;
    let exchange = names::topic_exchange(one.topic);
    send(&channel, &exchange, "", BasicProperties::default(), b"no CloudEvent").await;
    let mut headers = FieldTable::default();
    headers.insert("cloudEvents:id".into(), AMQPValue::LongString(vec![0xff; 100_000].into()));
    headers.insert("cloudEvents:type".into(), AMQPValue::Boolean(true));
    headers.insert("cloudEvents:time".into(), AMQPValue::LongString("yesterday".into()));
    headers.insert("x-antiphon-deliveries".into(), AMQPValue::LongLongInt(i64::MIN));
    headers.insert("x-death".into(), AMQPValue::LongString("never".into()));
    let odd = BasicProperties::default().with_headers(headers).with_timestamp(u64::MAX);
    send(&channel, &exchange, "", odd, b"").await;
    queue.publish(one.topic, vec![message("2")]).await.unwrap();
    let mut consumer = queue.consume(one, 10).await.unwrap();
    let plain = next(consumer.as_mut()).await;
    assert_eq!((plain.message.id.as_str(), plain.message.body.as_ref()), ("", b"no CloudEvent".as_slice()));
    plain.retry("not now").await.unwrap();
    let odd = next(consumer.as_mut()).await;
    assert_eq!((odd.message.kind.as_str(), odd.message.time, odd.deliveries), ("", 0, 1));
    odd.dead("no CloudEvent").await.unwrap();
    assert_eq!(next(consumer.as_mut()).await.message, message("2"));
    let mut dead = queue.consume_dead(one, 10).await.unwrap();
    let letter = next(dead.as_mut()).await;
    assert_eq!(letter.death.as_ref().unwrap().reason, "no CloudEvent");
    letter.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_message_of_100_mb_goes_to_the_dead_and_blocks_nothing() {
    let vhost = RabbitMq::shared().vhost();
    let queue = open_declared(vhost.url()).await;
    let [one, ..] = groups();
    let (_connection, channel) = other_program(&vhost).await;
    let size = 100_000_000;
    send(&channel, &names::topic_exchange(one.topic), "", BasicProperties::default(), &vec![7; size]).await;
    queue.publish(one.topic, vec![message("1")]).await.unwrap();
    let mut consumer = queue.consume(one, 1).await.unwrap();
    let delivery = next(consumer.as_mut()).await;
    assert_eq!(delivery.message.id, "1");
    let mut dead = queue.consume_dead(one, 1).await.unwrap();
    let letter = next(dead.as_mut()).await;
    let reason = letter.death.clone().unwrap().reason;
    assert!(reason.contains(&size.to_string()) && reason.contains(&MESSAGE_LIMIT.to_string()), "{reason}");
    assert!(letter.message.body.len() < MESSAGE_LIMIT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_brokers_own_limit_ends_in_the_dead_queue_too() {
    let vhost = RabbitMq::shared().vhost();
    let queue = open_declared(vhost.url()).await;
    let [one, ..] = groups();
    queue.publish(one.topic, vec![message("0")]).await.unwrap();
    let (_connection, channel) = other_program(&vhost).await;
    let mut given_back = 0;
    let begun = Instant::now();
    while given_back < DELIVERY_LIMIT {
        assert!(begun.elapsed() < PATIENCE, "it was handed out {given_back} times");
        if let Some(got) = channel.basic_get(names::queue(one).into(), BasicGetOptions::default()).await.unwrap() {
            got.nack(BasicNackOptions { multiple: false, requeue: true }).await.unwrap();
            given_back += 1;
        }
    }
    let mut dead = queue.consume_dead(one, 1).await.unwrap();
    let letter = next(dead.as_mut()).await;
    let death = letter.death.clone().unwrap();
    assert_eq!((death.reason, death.deliveries), (limit_reason(), DELIVERY_LIMIT));
    assert!(death.time > 0);
    assert_eq!((&letter.message, letter.deliveries), (&message("0"), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inbox_knows_a_sensor_by_its_routing_key() {
    let vhost = RabbitMq::shared().vhost();
    let access = Access { publish: vec![INBOX], consume: vec![ADMIT], dead: vec![ADMIT] };
    let queue = open(vhost.url()).await.with_access(access);
    queue.declare(&[ADMIT]).await.unwrap();
    let (_connection, channel) = other_program(&vhost).await;
    let mut lies = FieldTable::default();
    lies.insert("cloudEvents:source".into(), AMQPValue::LongString("sensors/cellar".into()));
    let properties = BasicProperties::default().with_headers(lies).with_content_type("audio/flac".into());
    send(&channel, names::INBOX_EXCHANGE, &names::inbox_key("roof"), properties, b"fLaC").await;
    let mut consumer = queue.consume(ADMIT, 1).await.unwrap();
    let first = next(consumer.as_mut()).await;
    assert_eq!((first.message.source.as_str(), first.message.kind.as_str()), ("sensors/roof", "audio/flac"));
    let sent = first.message.clone();
    first.retry("later").await.unwrap();
    let again = next(consumer.as_mut()).await;
    assert_eq!((&again.message, again.deliveries), (&Message { time: again.message.time, ..sent }, 2));
    again.dead("no sound").await.unwrap();
    let mut dead = queue.consume_dead(ADMIT, 1).await.unwrap();
    assert_eq!(next(dead.as_mut()).await.message.source, "sensors/roof");
    let ours = Message { body: Bytes::from_static(b"fLaC"), ..message("1") };
    queue.publish(INBOX, vec![ours.clone()]).await.unwrap();
    // The time is the broker's to tell, which it does if it is told to.
    assert_eq!(next(consumer.as_mut()).await.message, Message { time: 0, ..ours.clone() });
    let nobodys = Message { source: String::from("songs/1"), ..ours };
    assert!(matches!(queue.publish(INBOX, vec![nobodys]).await, Err(QueueError::Broken(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_may_do_what_it_is_permitted_and_no_more() {
    let server = RabbitMq::shared();
    let vhost = server.vhost();
    let [one, two, other] = groups();
    let access = Access { publish: vec![other.topic], consume: vec![one], dead: vec![] };
    let (user, password) = (format!("worker-{}", vhost.name()), "worker-password");
    server.user(&user, password);
    let permissions = names::permissions(&access, Declares::Nothing);
    vhost.permit(&user, &permissions.configure, &permissions.write, &permissions.read);
    // It is told to do everything; its account is not.
    let worker = open(vhost.url_of(&user, password)).await;
    let reason = unavailable(worker.declare(&groups()).await);
    assert!(reason.contains("waiting for the queues of"), "{reason}");
    let maker = open_declared(vhost.url()).await;
    worker.declare(&groups()).await.unwrap();
    maker.publish(one.topic, vec![message("0"), message("1")]).await.unwrap();
    let mut consumer = worker.consume(one, 1).await.unwrap();
    next(consumer.as_mut()).await.retry("later").await.unwrap();
    next(consumer.as_mut()).await.dead("never").await.unwrap();
    next(consumer.as_mut()).await.ack().await.unwrap();
    worker.publish(other.topic, vec![message("2")]).await.unwrap();
    worker.publish_to_group(other, message("3")).await.unwrap();
    assert_eq!(worker.depths().await.unwrap().len(), 3);
    let refused = [
        worker.publish(one.topic, vec![message("4")]).await,
        worker.publish_to_group(two, message("4")).await,
        worker.consume(two, 1).await.map(drop),
        worker.consume_dead(one, 1).await.map(drop),
        worker.consume(other, 1).await.map(drop),
    ];
    for outcome in refused {
        assert!(matches!(outcome, Err(QueueError::NotPermitted(_))), "{outcome:?}");
    }
    // Who may make the topology and nothing else has it made.
    let (user, password) = (format!("maker-{}", vhost.name()), "maker-password");
    server.user(&user, password);
    let permissions = names::permissions(&Access::default(), Declares::Topology);
    vhost.permit(&user, &permissions.configure, &permissions.write, &permissions.read);
    for topic in &permissions.topics {
        vhost.permit_topics(&user, &topic.exchange, &topic.write, &topic.read);
    }
    let made = open(vhost.url_of(&user, password)).await;
    made.declare(&[one, ADMIT]).await.unwrap();
    for user in [format!("worker-{}", vhost.name()), user] {
        server.remove_user(&user);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_password_is_taken_up_without_losing_a_message() {
    let server = RabbitMq::shared();
    let (vhost, proxy) = (server.vhost(), Proxy::start(server.address()));
    let user = format!("rotated-{}", vhost.name());
    server.user(&user, "first-password");
    vhost.permit(&user, ".*", ".*", ".*");
    let url = |password: &str| {
        vhost.url_of(&user, password).replace(&server.address().to_string(), &proxy.address().to_string())
    };
    let wrong = AmqpQueue::open(url("wrong-password"), full_access(), Clock::system()).await;
    let reason = unavailable(wrong.map(drop));
    assert!(reason.contains("ACCESS_REFUSED") && !reason.contains("wrong-password"), "{reason}");
    let [first, second] = ["first-password", "second-password"].map(|password| Secret::new(url(password)));
    let rotated = Arc::new(AtomicBool::new(false));
    let known = Arc::clone(&rotated);
    // As with a secret that is kept for a while: only who asks for it as of now gets the new one.
    let address = Address::new(move |freshness| {
        let new = freshness == Freshness::Now && known.load(Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(if new { second.clone() } else { first.clone() })))
    });
    let queue = AmqpQueue::open(address, full_access(), Clock::system()).await.unwrap();
    queue.declare(&groups()).await.unwrap();
    let [one, ..] = groups();
    let (stop, publishing) = publish_on(&queue, one.topic);
    server.user(&user, "second-password");
    rotated.store(true, Ordering::SeqCst);
    proxy.set(Fault::Cut);
    proxy.set(Fault::None);
    queue.publish(one.topic, vec![message("1000000")]).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let confirmed = publishing.await.unwrap();
    take_all(&queue, one, confirmed + 1).await;
    server.remove_user(&user);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_trusts_only_whom_it_is_told_to() {
    let server = tokio::task::spawn_blocking(RabbitMq::start).await.unwrap();
    let vhost = server.vhost();
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, server.authority()).unwrap();
    let url = vhost.tls_url_at(server.tls_address());
    let stranger = AmqpQueue::open(url.as_str(), full_access(), Clock::system()).await;
    let reason = unavailable(stranger.map(drop));
    assert!(reason.contains("certificate") && !reason.contains(antiphon_servers::ADMIN_PASSWORD), "{reason}");
    let queue = open_declared(format!("{url}?cacert={}", authority.display())).await;
    let [one, ..] = groups();
    queue.publish(one.topic, vec![message("0")]).await.unwrap();
    let mut consumer = queue.consume(one, 1).await.unwrap();
    assert_eq!(next(consumer.as_mut()).await.message, message("0"));
}

/// A way to the broker on which each `Z` on its way there becomes a byte that no UTF-8 has.
async fn garbling(broker: std::net::SocketAddr) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = tokio::net::TcpStream::connect(broker).await.unwrap();
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            bytes[..count].iter_mut().filter(|byte| **byte == b'Z').for_each(|byte| *byte = 0xff);
            to_server.write_all(&bytes[..count]).await.unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_text_that_is_no_utf8_blocks_nothing() {
    let server = RabbitMq::shared();
    let vhost = server.vhost();
    let queue = open_declared(vhost.url()).await;
    let [one, ..] = groups();
    let url = vhost.url_at(garbling(server.address()).await);
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut headers = FieldTable::default();
    headers.insert("keyZ".into(), AMQPValue::LongString("Z".into()));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_timestamp(1)
        .with_priority(1)
        .with_content_type("Z/Z".into())
        .with_message_id("idZ".into())
        .with_app_id("Z".into());
    send(&channel, &names::topic_exchange(one.topic), "keyZ", properties, b"Z").await;
    let mut consumer = queue.consume(one, 1).await.unwrap();
    let delivery = next(consumer.as_mut()).await;
    assert_eq!((delivery.message.id.as_str(), delivery.message.kind.as_str(), delivery.deliveries), ("id?", "?/?", 1));
    assert_eq!(delivery.message.body.as_ref(), [0xff]);
    delivery.dead("who wrote this?").await.unwrap();
    let mut dead = queue.consume_dead(one, 1).await.unwrap();
    assert_eq!(next(dead.as_mut()).await.message.id, "id?");
}
