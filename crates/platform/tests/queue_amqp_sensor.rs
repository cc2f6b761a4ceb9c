//! What the account of a sensor may do on a real broker: publish with its own routing key, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use antiphon_platform::clock::Clock;
use antiphon_platform::queue::amqp::AmqpQueue;
use antiphon_platform::queue::amqp::names::{self, INBOX, TopicPermission};
use antiphon_platform::queue::{Access, Group, Queue};
use antiphon_servers::{RabbitMq, VirtualHost};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};

const ADMIT: Group = Group { name: "admit", topic: INBOX };

/// A virtual host with the inbox and a sensor's account; a handle that takes what comes in.
async fn inbox(vhost: &VirtualHost<'_>, account: &str) -> AmqpQueue {
    let access = Access { publish: vec![], consume: vec![ADMIT], dead: vec![] };
    let queue = AmqpQueue::open(vhost.url(), access, Clock::system()).await.unwrap();
    queue.declare(&[ADMIT]).await.unwrap();
    RabbitMq::shared().user(account, "pass");
    let rights = names::permissions_of_sensor("roof");
    vhost.permit(account, &rights.configure, &rights.write, &rights.read);
    for TopicPermission { exchange, write, read } in &rights.topics {
        vhost.permit_topics(account, exchange, write, read);
    }
    queue
}

async fn channel(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

/// Whether the broker takes it. A refusal ends the channel.
async fn publishes(connection: &Connection, exchange: &str, key: &str, properties: BasicProperties) -> bool {
    let channel = channel(connection).await;
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    match channel.basic_publish(exchange.into(), key.into(), options, b"fLaC", properties).await {
        Ok(confirm) => matches!(confirm.await, Ok(lapin::Confirmation::Ack(None))),
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_reaches_its_own_key_and_nothing_else() {
    let vhost = RabbitMq::shared().vhost();
    let account = format!("sensor-roof-{}", vhost.name());
    let queue = inbox(&vhost, &account).await;
    let connection =
        Connection::connect(&vhost.url_of(&account, "pass"), ConnectionProperties::default()).await.unwrap();
    let plain = BasicProperties::default;
    assert!(publishes(&connection, "amq.topic", "sensors.roof.recordings", plain()).await);
    let refused = [
        ("amq.topic", "sensors.yard.recordings"),
        ("amq.topic", "sensors.roof.recordings.x"),
        ("amq.topic", "sensorsXroofXrecordings"),
        // The default exchange takes the name of any queue as key.
        ("", "antiphon.admit"),
        ("amq.direct", "sensors.roof.recordings"),
        ("amq.fanout", ""),
        ("amq.headers", ""),
        ("antiphon.admit.in", "admit"),
    ];
    for (exchange, key) in refused {
        assert!(!publishes(&connection, exchange, key, plain()).await, "{exchange:?} {key:?}");
    }

    // A second key in the header CC does not make it another sensor's.
    let mut headers = FieldTable::default();
    let others = FieldArray::from(vec![AMQPValue::LongString("sensors.yard.recordings".into())]);
    headers.insert("CC".into(), AMQPValue::FieldArray(others));
    let _ = publishes(&connection, "amq.topic", "sensors.roof.recordings", plain().with_headers(headers)).await;

    let (no_options, name) = (FieldTable::default, "antiphon.admit");
    let declared = channel(&connection).await;
    let declared = declared.queue_declare("mine".into(), QueueDeclareOptions::default(), no_options());
    assert!(declared.await.is_err());
    let declared = channel(&connection).await;
    let declared =
        declared.exchange_declare("mine".into(), ExchangeKind::Fanout, ExchangeDeclareOptions::default(), no_options());
    assert!(declared.await.is_err());
    let bound = channel(&connection).await;
    let bound =
        bound.queue_bind(name.into(), "amq.topic".into(), "#".into(), QueueBindOptions::default(), no_options());
    assert!(bound.await.is_err());
    let consumed = channel(&connection).await;
    let consumed = consumed.basic_consume(name.into(), "me".into(), BasicConsumeOptions::default(), no_options());
    assert!(consumed.await.is_err());

    // All that came in is the sensor's own.
    let mut consumer = queue.consume(ADMIT, 8).await.unwrap();
    let first = consumer.next().await.unwrap();
    assert_eq!(first.message.source, "sensors/roof");
    first.ack().await.unwrap();
    while let Ok(next) = tokio::time::timeout(std::time::Duration::from_secs(1), consumer.next()).await {
        let next = next.unwrap();
        assert_eq!(next.message.source, "sensors/roof");
        next.ack().await.unwrap();
    }
    RabbitMq::shared().remove_user(&account);
}
