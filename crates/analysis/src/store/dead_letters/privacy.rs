//! Which letters may hold what was heard.

use antiphon_platform::db::{DbError, ReadTransaction, Statement};
use antiphon_platform::queue::{Group, Message};
use antiphon_platform::sql;
use prost::Message as _;

use crate::store::retention::retentions;
use crate::{messages, topics};

pub(super) const ANY: Statement = sql!("../sql/sensors_features_only.sql");

/// Whether messages of this group, one of ours or a foreign one, hold what a sensor heard.
pub(super) fn holds_audio(group: Group) -> bool {
    [topics::INBOX, topics::RECORDINGS, topics::LONG_RECORDINGS].contains(&group.topic)
}

/// Whether the letter of a message may hold its body: not if it is audio of a sensor of which only features are kept. A message that
/// does not say whose it is may be such a sensor's, if there is one.
pub(super) async fn may_keep_audio(tx: &mut ReadTransaction, group: Group, message: &Message) -> Result<bool, DbError> {
    if !holds_audio(group) {
        return Ok(true);
    }
    match sensor_of(group, message) {
        Some(sensor) => {
            let found = retentions(tx, &[&sensor]).await?;
            Ok(!found.get(&sensor).is_some_and(|retention| retention.features_only))
        }
        None => Ok(tx.row(&ANY, &[]).await?.is_none()),
    }
}

/// Whose it is, by the message's body or, where that cannot be read, by its source, which a broker checks against the account of
/// whoever publishes.
fn sensor_of(group: Group, message: &Message) -> Option<String> {
    let body = message.body.clone();
    let told = if group.topic == topics::RECORDINGS {
        messages::Recording::decode(body).ok().map(|found| found.sensor)
    } else if group.topic == topics::LONG_RECORDINGS {
        messages::LongRecording::decode(body).ok().map(|found| found.sensor)
    } else {
        None
    };
    let told = told.filter(|sensor| !sensor.is_empty());
    told.or_else(|| message.source.strip_prefix("sensors/").map(str::to_owned)).filter(|sensor| !sensor.is_empty())
}
