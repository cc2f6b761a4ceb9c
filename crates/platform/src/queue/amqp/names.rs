//! What the engine's exchanges and queues are called on the broker, and which permissions an account needs for them.
//!
//! For a topic `T` with a group `G`:
//!
//! | name | what it is |
//! |---|---|
//! | exchange `antiphon.T` | fanout: what is published to the topic, into every group's queue |
//! | exchange `antiphon.T.to` | direct, key `G`: what is meant for one group only |
//! | queue `antiphon.G` | the group's messages |
//! | exchange `antiphon.G.aside` | topic: what a consumer puts aside; `live.N` and `dead.N` wait for step `N`, `dead` is dead |
//! | queue `antiphon.G.delay-N` | waits for backoff step `N` (from 1), then goes on to the next exchange |
//! | exchange `antiphon.G.back` | topic: what has waited; `live.*` to the group's queue, `dead.*` to its dead queue |
//! | queue `antiphon.G.dead` | the group's dead letters |
//!
//! The topic `inbox` belongs to sensors: its exchange is the broker's own `amq.topic`, on which MQTT publishes too, and
//! the routing key `sensors.ID.recordings` says whose recording a message is.

use std::collections::BTreeSet;

use crate::queue::{Access, Group, Topic};

/// The topic that sensors publish to themselves.
pub const INBOX: Topic = Topic("inbox");

/// The exchange of [`INBOX`], which every broker has.
pub const INBOX_EXCHANGE: &str = "amq.topic";

/// What the queues of [`INBOX`]'s groups are bound to.
pub const INBOX_BINDING: &str = "sensors.*.recordings";

/// The routing key of dead letters in a group's exchange `aside`.
#[cfg(feature = "amqp")]
pub(super) const DEAD: &str = "dead";

/// The exchange that a topic's messages are published to.
#[must_use]
pub fn topic_exchange(topic: Topic) -> String {
    if topic == INBOX { String::from(INBOX_EXCHANGE) } else { format!("antiphon.{}", topic.0) }
}

/// The exchange that messages for one group of a topic are published to, with the group's name as routing key.
#[must_use]
pub fn group_exchange(topic: Topic) -> String {
    format!("antiphon.{}.to", topic.0)
}

/// The exchange that consumers of a group put messages aside with.
#[must_use]
pub fn aside_exchange(group: Group) -> String {
    format!("antiphon.{}.aside", group.name)
}

/// The exchange that brings back what has waited.
#[must_use]
pub fn back_exchange(group: Group) -> String {
    format!("antiphon.{}.back", group.name)
}

/// The queue that a group consumes.
#[must_use]
pub fn queue(group: Group) -> String {
    format!("antiphon.{}", group.name)
}

/// The queue of a group's dead letters.
#[must_use]
pub fn dead_queue(group: Group) -> String {
    format!("antiphon.{}.dead", group.name)
}

/// The queue in which messages of a group wait for backoff step `step`, counted from 1.
#[must_use]
pub fn delay_queue(group: Group, step: usize) -> String {
    format!("antiphon.{}.delay-{step}", group.name)
}

/// The routing key of a recording of a sensor on [`INBOX_EXCHANGE`].
#[must_use]
pub fn inbox_key(sensor: &str) -> String {
    format!("sensors.{sensor}.recordings")
}

/// The sensor that a routing key of [`INBOX_EXCHANGE`] names, if it is one of a recording.
#[must_use]
pub fn inbox_sensor(key: &str) -> Option<&str> {
    let sensor = key.strip_prefix("sensors.")?.strip_suffix(".recordings")?;
    (!sensor.is_empty() && !sensor.contains('.')).then_some(sensor)
}

/// Whether an account makes exchanges and queues, or finds them made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declares {
    /// It finds them made.
    Nothing,
    /// It makes them: everything under `antiphon.`.
    Topology,
}

/// What `rabbitmqctl set_permissions` and `set_topic_permissions` are to give an account; all are regular expressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Exchanges and queues that it may make.
    pub configure: String,
    /// Exchanges that it may publish to.
    pub write: String,
    /// Queues that it may consume.
    pub read: String,
    /// Routing keys of exchanges of the type `topic`.
    pub topics: Vec<TopicPermission>,
}

/// What an account may do with the routing keys of one exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermission {
    /// The exchange.
    pub exchange: String,
    /// Keys that it may publish.
    pub write: String,
    /// Keys that it may bind.
    pub read: String,
}

/// The least that an account needs for `access`. Looking at depths needs no permission but that for the virtual host.
#[must_use]
pub fn permissions(access: &Access, declares: Declares) -> Permissions {
    let mut write = BTreeSet::new();
    let mut read = BTreeSet::new();
    for topic in &access.publish {
        write.extend([topic_exchange(*topic), group_exchange(*topic)]);
    }
    for group in access.consume.iter().chain(&access.dead) {
        write.insert(aside_exchange(*group));
    }
    read.extend(access.consume.iter().map(|group| queue(*group)));
    read.extend(access.dead.iter().map(|group| dead_queue(*group)));
    let sends = access.publish.contains(&INBOX);
    let makes = declares == Declares::Topology;
    if makes {
        read.insert(String::from(INBOX_EXCHANGE));
    }
    let everything = r"antiphon\..+";
    let topics = (sends || makes).then(|| TopicPermission {
        exchange: String::from(INBOX_EXCHANGE),
        write: String::from(if sends { r"^sensors\.[^.]+\.recordings$" } else { NOTHING }),
        read: String::from(if makes { r"^sensors\.\*\.recordings$" } else { NOTHING }),
    });
    Permissions {
        configure: if makes { format!("^{everything}$") } else { String::from(NOTHING) },
        write: expression(&write, makes.then_some(everything)),
        read: expression(&read, makes.then_some(everything)),
        topics: topics.into_iter().collect(),
    }
}

/// The least that a sensor needs which publishes to [`INBOX`] itself, by AMQP or MQTT: to send recordings of its own. Write
/// permission for any other exchange, the default one above all, would let it past the permission of the topic.
#[must_use]
pub fn permissions_of_sensor(sensor: &str) -> Permissions {
    let exact = |name: &str| format!("^{}$", name.replace('.', r"\."));
    let topic = TopicPermission {
        exchange: String::from(INBOX_EXCHANGE),
        write: exact(&inbox_key(sensor)),
        read: String::from(NOTHING),
    };
    Permissions {
        configure: String::from(NOTHING),
        write: exact(INBOX_EXCHANGE),
        read: String::from(NOTHING),
        topics: vec![topic],
    }
}

/// Matches no name.
const NOTHING: &str = "^$";

/// An expression that matches `names`, and what `more` matches.
fn expression(names: &BTreeSet<String>, more: Option<&str>) -> String {
    let names = names.iter().filter(|name| more.is_none() || !name.starts_with("antiphon."));
    let parts: Vec<String> =
        names.map(|name| name.replace('.', r"\.").replace('*', "[^.]+")).chain(more.map(str::to_owned)).collect();
    if parts.is_empty() { String::from(NOTHING) } else { format!("^({})$", parts.join("|")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANALYZE: Group = Group { name: "analyze", topic: Topic("recordings") };
    const ADMIT: Group = Group { name: "admit", topic: INBOX };

    #[test]
    fn a_worker_may_do_its_work_and_no_more() {
        let access = Access { publish: vec![Topic("results")], consume: vec![ANALYZE], dead: vec![] };
        assert_eq!(
            permissions(&access, Declares::Nothing),
            Permissions {
                configure: String::from("^$"),
                write: String::from(r"^(antiphon\.analyze\.aside|antiphon\.results|antiphon\.results\.to)$"),
                read: String::from(r"^(antiphon\.analyze)$"),
                topics: vec![],
            }
        );
    }

    #[test]
    fn nothing_is_permitted_to_whom_nothing_is_asked_for() {
        let nothing = permissions(&Access::default(), Declares::Nothing);
        assert_eq!([&nothing.configure, &nothing.write, &nothing.read], ["^$"; 3]);
    }

    #[test]
    fn only_who_sends_to_the_inbox_may_write_its_keys() {
        let sends = Access { publish: vec![INBOX], ..Access::default() };
        let sender = permissions(&sends, Declares::Nothing);
        assert_eq!(sender.write, r"^(amq\.topic|antiphon\.inbox\.to)$");
        assert_eq!(sender.topics[0].write, r"^sensors\.[^.]+\.recordings$");
        assert_eq!(sender.topics[0].read, "^$");
        let admits = Access { consume: vec![ADMIT], ..Access::default() };
        let maker = permissions(&admits, Declares::Topology);
        assert_eq!(maker.write, r"^(antiphon\..+)$");
        assert_eq!(maker.read, r"^(amq\.topic|antiphon\..+)$");
        assert_eq!(
            (maker.topics[0].write.as_str(), maker.topics[0].read.as_str()),
            ("^$", r"^sensors\.\*\.recordings$")
        );
    }

    #[test]
    fn a_routing_key_names_its_sensor() {
        assert_eq!(inbox_sensor(&inbox_key("roof")), Some("roof"));
        for key in ["sensors.roof", "sensors..recordings", "sensors.a.b.recordings", "recordings", ""] {
            assert_eq!(inbox_sensor(key), None, "{key}");
        }
    }
}
