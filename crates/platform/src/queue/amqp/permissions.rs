//! What an account may publish, tried without a trace: in a transaction that is undone. The broker looks at the
//! permission when it gets the message, and puts it nowhere before the transaction ends.

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, ErrorKind};
use tokio::time::Instant;

use super::link::{Link, describe, reply_code};
use super::names;
use crate::queue::{Access, QueueError};

/// How often an exchange is tried again whose channel ended without a reason that was seen.
const TRIES: u32 = 20;

/// Exchanges that `access` needs to be written to, and that the account may not write to.
pub(super) async fn missing(link: &Link, access: &Access, deadline: Instant) -> Result<Vec<String>, QueueError> {
    let mut exchanges: Vec<String> = Vec::new();
    for topic in &access.publish {
        exchanges.extend([names::topic_exchange(*topic), names::group_exchange(*topic)]);
    }
    let groups = access.consume.iter().chain(&access.dead).filter(|group| !group.is_every_foreign());
    exchanges.extend(groups.map(|group| names::aside_exchange(*group)));
    exchanges.sort();
    exchanges.dedup();
    let mut missing = Vec::new();
    let mut untried: std::collections::VecDeque<(String, u32)> = exchanges.into_iter().map(|name| (name, 0)).collect();
    while let Some((exchange, tries)) = untried.pop_front() {
        // A refusal ends the channel.
        let live = link.live(deadline).await?;
        let channel = live.channel(deadline).await?;
        let key = if exchange == names::INBOX_EXCHANGE { names::inbox_key("doctor") } else { String::from("doctor") };
        let tried = async {
            channel.tx_select().await?;
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            drop(channel.basic_publish(exchange.as_str().into(), key.into(), options, b"", properties).await?);
            channel.tx_rollback().await
        };
        match tokio::time::timeout_at(deadline, tried).await {
            Ok(Ok(())) => drop(channel.close(200, "tried".into()).await),
            Ok(Err(error)) if reply_code(&error) == Some(403) => missing.push(exchange),
            // The channel was already on its way down, so what came after does not say why: ask again.
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::InvalidChannelState(..)) && tries < TRIES => {
                untried.push_back((exchange, tries + 1));
            }
            Ok(Err(error)) => return Err(QueueError::Unavailable(describe(&error))),
            Err(_) => return Err(QueueError::Unavailable(live.slow())),
        }
    }
    Ok(missing)
}
