//! Messages on the wire: CloudEvents 1.0 in the binary mode of its AMQP binding, and what the engine notes beside.
//!
//! Attributes are headers with the prefix `cloudEvents:`; the prefix `cloudEvents_`, which JMS needs, is read too. The
//! engine's own headers begin with `x-antiphon-`. Everything that is read here may come from another program.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::names;
use crate::clock::{Micros, SECOND};
use crate::http::time;
use crate::queue::{DELIVERY_LIMIT, Death, Group, MESSAGE_LIMIT, Message, QueueError, limit_reason};

/// The longest attribute or reason, in bytes: all of them go into one frame, of which a broker takes 128 KiB.
const ATTRIBUTE: usize = 8 * 1024;

/// What properties take beside body and attributes, in bytes; a generous estimate.
const OVERHEAD: usize = 512;

const PERSISTENT: u8 = 2;
const PROTOBUF: &str = "application/protobuf";

const DELIVERIES: &str = "x-antiphon-deliveries";
const RETRIES: &str = "x-antiphon-retries";
const PUBLISHED: &str = "x-antiphon-published";
const REASON: &str = "x-antiphon-reason";
const DEATH_TIME: &str = "x-antiphon-death-time";
const DEATH_DELIVERIES: &str = "x-antiphon-death-deliveries";

/// What the engine knows about a message beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// Deliveries before the broker got it in its present form.
    pub(super) deliveries: u32,
    /// Backoff steps that it has waited for.
    pub(super) retries: u32,
    /// When it was first published, µs since 1970.
    pub(super) published: Micros,
    /// Why it waited last; why it died is in `death`.
    pub(super) reason: String,
    /// Set once it is dead.
    pub(super) death: Option<Death>,
}

/// A message as it came.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) message: Message,
    pub(super) note: Note,
    /// Deliveries in all, this one included.
    pub(super) deliveries: u32,
}

/// Refuses what no broker must take.
pub(super) fn check(message: &Message) -> Result<(), QueueError> {
    let attributes = [&message.id, &message.kind, &message.source, &message.trace];
    if let Some(long) = attributes.iter().find(|text| text.len() > ATTRIBUTE) {
        return Err(QueueError::TooLarge { size: long.len(), limit: ATTRIBUTE });
    }
    let size = message.body.len() + attributes.iter().map(|text| text.len()).sum::<usize>() + OVERHEAD;
    if size > MESSAGE_LIMIT { Err(QueueError::TooLarge { size, limit: MESSAGE_LIMIT }) } else { Ok(()) }
}

/// The properties of a message; its body is the payload.
pub(super) fn properties(message: &Message, note: &Note) -> BasicProperties {
    let mut headers = FieldTable::default();
    let mut set = |name: &str, value: AMQPValue| {
        headers.insert(ShortString::from(name), value);
    };
    let text = |text: &str| AMQPValue::LongString(shortened(text).into());
    let number = |number: u32| AMQPValue::LongLongInt(number.into());
    set("cloudEvents:specversion", text("1.0"));
    set("cloudEvents:id", text(&message.id));
    set("cloudEvents:source", text(&message.source));
    set("cloudEvents:time", text(&time::format(message.time.clamp(time::EARLIEST, time::LATEST))));
    if !message.trace.is_empty() {
        set("cloudEvents:traceparent", text(&message.trace));
    }
    // A kind that is a content type came from a sensor that knows no CloudEvents, or goes where such are expected.
    let content_type = if message.kind.contains('/') {
        &message.kind
    } else {
        set("cloudEvents:type", text(&message.kind));
        PROTOBUF
    };
    set(PUBLISHED, AMQPValue::LongLongInt(note.published));
    if note.deliveries > 0 {
        set(DELIVERIES, number(note.deliveries));
    }
    if note.retries > 0 {
        set(RETRIES, number(note.retries));
    }
    let reason = note.death.as_ref().map_or(&note.reason, |death| &death.reason);
    if !reason.is_empty() {
        set(REASON, text(reason));
    }
    if let Some(death) = &note.death {
        set(DEATH_TIME, AMQPValue::LongLongInt(death.time));
        set(DEATH_DELIVERIES, number(death.deliveries));
    }
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
    match ShortString::try_new(content_type) {
        Ok(content_type) => properties.with_content_type(content_type),
        Err(_) => properties,
    }
}

/// Reads what came for `group`, of its dead queue if `dead`. Never fails: what is missing is empty.
pub(super) fn read(delivery: &mut Delivery, group: Group, dead: bool) -> Arrived {
    let properties = &delivery.properties;
    let empty = FieldTable::default();
    let headers = properties.headers().as_ref().unwrap_or(&empty);
    let attribute = |name: &str| {
        let value = ["cloudEvents:", "cloudEvents_"]
            .iter()
            .find_map(|prefix| headers.inner().get(format!("{prefix}{name}").as_str()).and_then(words));
        value.unwrap_or_default()
    };
    let or = |first: String, second: Option<String>| if first.is_empty() { second.unwrap_or_default() } else { first };
    let property = |value: &Option<ShortString>| value.as_ref().map(|value| value.as_str().to_owned());
    let sent = properties.timestamp().map(|seconds| Micros::try_from(seconds).unwrap_or(0).saturating_mul(SECOND));
    let sent = sent.filter(|time| *time <= time::LATEST).unwrap_or(0);
    let died = death_by_broker(headers);
    // What a sensor writes about itself proves nothing: the broker checks the keys that it publishes with, and knows when
    // a message arrived if it is told to note it (message_interceptors.incoming.set_header_timestamp).
    let straight = (group.topic == names::INBOX).then(|| inbox_source(delivery, died.as_ref())).flatten();
    let is_straight = straight.is_some();
    let (source, time) = match straight {
        Some(source) => {
            let noted = headers.inner().get("timestamp_in_ms").and_then(whole).unwrap_or(0);
            (source, noted.checked_mul(1_000).filter(|time| *time <= time::LATEST).unwrap_or(0))
        }
        None => (attribute("source"), time::parse(&attribute("time")).unwrap_or(sent)),
    };
    let message = Message {
        id: or(attribute("id"), property(properties.message_id())),
        kind: or(attribute("type"), property(properties.content_type())),
        source,
        time,
        trace: attribute("traceparent"),
        body: Bytes::new(),
    };
    let count = |name: &str| headers.inner().get(name).and_then(whole).unwrap_or(0);
    let small = |name: &str| u32::try_from(count(name).clamp(0, 1_000_000)).unwrap_or(0);
    let reason = headers.inner().get(REASON).and_then(words).unwrap_or_default();
    let mut note = Note {
        deliveries: small(DELIVERIES),
        retries: small(RETRIES),
        published: match headers.contains_key(PUBLISHED) {
            _ if is_straight => time,
            true => count(PUBLISHED),
            false => sent,
        },
        reason: String::new(),
        death: None,
    };
    if dead && headers.contains_key(DEATH_TIME) {
        note.death = Some(Death { reason, time: count(DEATH_TIME), deliveries: small(DEATH_DELIVERIES) });
    } else if dead {
        let deliveries = std::mem::take(&mut note.deliveries);
        note.death = Some(died.map_or_else(
            || Death { reason: String::from("put here by another program"), time: sent, deliveries },
            |died| Death {
                deliveries: if died.by_limit { DELIVERY_LIMIT } else { deliveries },
                reason: died.reason,
                time: died.time,
            },
        ));
    } else {
        note.reason = reason;
    }
    // Newer brokers count what was handed out and given back apart from what failed.
    let again = small("x-delivery-count").max(small("x-acquired-count"));
    let deliveries = note.deliveries.saturating_add(again).saturating_add(1);
    let body = Bytes::from(std::mem::take(&mut delivery.data));
    Arrived { message: Message { body, ..message }, note, deliveries }
}

/// What the broker noted when it set a message aside by itself.
struct BrokerDeath {
    reason: String,
    time: Micros,
    by_limit: bool,
    exchange: String,
    key: String,
}

/// The newest entry of the header `x-death`, which the broker puts first.
fn death_by_broker(headers: &FieldTable) -> Option<BrokerDeath> {
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else { return None };
    let Some(AMQPValue::FieldTable(newest)) = deaths.as_slice().first() else { return None };
    let text = |name: &str| newest.inner().get(name).and_then(words).unwrap_or_default();
    let key = match newest.inner().get("routing-keys") {
        Some(AMQPValue::FieldArray(keys)) => keys.as_slice().first().and_then(words).unwrap_or_default(),
        _ => String::new(),
    };
    let time = match newest.inner().get("time") {
        Some(AMQPValue::Timestamp(seconds)) => Micros::try_from(*seconds).unwrap_or(0).saturating_mul(SECOND),
        _ => 0,
    };
    let reason = text("reason");
    let by_limit = reason == "delivery_limit";
    let reason = if by_limit { limit_reason() } else { format!("set aside by the broker: {reason}") };
    Some(BrokerDeath { reason, time, by_limit, exchange: text("exchange"), key })
}

/// The sensor that a message of the inbox is from, by the key that it came with; none for one that we published again.
fn inbox_source(delivery: &Delivery, died: Option<&BrokerDeath>) -> Option<String> {
    let key = match died {
        _ if delivery.exchange.as_str() == names::INBOX_EXCHANGE => delivery.routing_key.as_str(),
        Some(died) if died.exchange == names::INBOX_EXCHANGE => died.key.as_str(),
        _ => return None,
    };
    Some(names::inbox_sensor(key).map(|sensor| format!("sensors/{sensor}")).unwrap_or_default())
}

/// The routing key of a message that is published to the inbox.
pub(super) fn inbox_key(message: &Message) -> Result<String, QueueError> {
    let sensor = message.source.strip_prefix("sensors/").unwrap_or_default();
    let key = names::inbox_key(sensor);
    if names::inbox_sensor(&key).is_none() || key.len() > 255 {
        return Err(QueueError::Broken(format!("{:?} is no sensor that the inbox has a key for", message.source)));
    }
    Ok(key)
}

fn words(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(shortened(&String::from_utf8_lossy(text.as_bytes())).to_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        AMQPValue::Timestamp(seconds) => {
            let time = Micros::try_from(*seconds).ok()?.checked_mul(SECOND)?;
            (time <= time::LATEST).then(|| time::format(time))
        }
        _ => None,
    }
}

fn whole(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some((*number).into()),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortInt(number) => Some((*number).into()),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}

/// The beginning of a text, so far as it may be long.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(ATTRIBUTE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
