//! Publishing with confirms: within a bounded time, again on the next connection if one ends in between.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::link::{Link, Live, closed, describe, reply_code};
use crate::queue::QueueError;

/// How long a publish waits for its confirm.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);

/// Pause before what was not confirmed is sent again.
const AGAIN: Duration = Duration::from_millis(20);

/// Memory for messages that wait for their confirms, in KiB.
const WAITING: u32 = 64 * 1024;

/// One message on its way: where to, and what.
#[derive(Clone)]
pub(super) struct Parcel {
    pub(super) exchange: String,
    pub(super) key: String,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// Publishes over one link.
pub(super) struct Publisher {
    link: Link,
    /// A channel per destination: a broker that refuses one closes its channel, with all that waits there.
    lanes: Mutex<HashMap<(String, String), Lane>>,
    memory: Arc<Semaphore>,
}

#[derive(Clone)]
struct Lane {
    channel: Channel,
    /// Held while a message is numbered and handed to the connection: confirms go by the order of both.
    order: Arc<Mutex<()>>,
    live: Arc<Live>,
}

/// What became of one message.
enum Fate {
    Confirmed,
    /// Perhaps stored and perhaps not: the connection or the channel ended.
    Unknown(lapin::Error),
    /// Not stored: there is no queue for it.
    Unroutable,
    /// Not stored: the broker says that it cannot.
    Refused,
}

/// Why not everything was confirmed.
pub(super) enum Trouble {
    /// Exchange or queue is missing; nothing of the rest was stored.
    Missing(String),
    /// The connection or the channel ended: what is left may be stored or not.
    Lost(String),
    /// Everything else.
    Other(QueueError),
}

impl From<Trouble> for QueueError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Missing(reason) | Trouble::Lost(reason) => Self::Unavailable(reason),
            Trouble::Other(error) => error,
        }
    }
}

impl Publisher {
    pub(super) fn new(link: Link) -> Self {
        Self { link, lanes: Mutex::default(), memory: Arc::new(Semaphore::new(WAITING as usize)) }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) async fn close(&self) {
        self.memory.close();
        self.lanes().clear();
        self.link.close().await;
    }

    /// Publishes what is in `parcels` and takes each out that is confirmed; `Ok` when all are, before `deadline`.
    pub(super) async fn publish(&self, parcels: &mut Vec<Parcel>, deadline: Instant) -> Result<(), Trouble> {
        let size: u64 = parcels.iter().map(|parcel| parcel.body.len() as u64 + 512).sum();
        let share = u32::try_from(size.div_ceil(1024)).unwrap_or(WAITING).clamp(1, WAITING);
        let permit = tokio::time::timeout_at(deadline, self.memory.acquire_many(share)).await;
        let _permit = match permit {
            Ok(permit) => permit.map_err(|_| Trouble::Other(closed()))?,
            Err(_) => return Err(unavailable("too many messages wait for the broker's confirms")),
        };
        metrics::gauge!("antiphon_queue_write_waiting_bytes")
            .set((WAITING as usize - self.memory.available_permits()) as f64 * 1024.0);
        loop {
            let live = self.link.live(deadline).await.map_err(Trouble::Other)?;
            if let Some(reason) = live.blocked() {
                return Err(unavailable(reason));
            }
            match tokio::time::timeout_at(deadline, self.send(&live, parcels, deadline)).await {
                Ok(Err(Trouble::Lost(reason))) if Instant::now() < deadline => {
                    // It is sent again with its id, which consumers know a repeat by.
                    tracing::debug!(reason, left = parcels.len(), "sending again what was not confirmed");
                    live.suspect();
                    tokio::time::sleep(AGAIN).await;
                }
                Ok(outcome) => return outcome,
                Err(_) => return Err(unavailable(format!("not confirmed in time: {}", live.slow()))),
            }
        }
    }

    /// One attempt on one connection.
    async fn send(&self, live: &Arc<Live>, parcels: &mut Vec<Parcel>, deadline: Instant) -> Result<(), Trouble> {
        let mut lanes = Vec::with_capacity(parcels.len());
        for parcel in parcels.iter() {
            lanes.push(self.lane(live, &parcel.exchange, &parcel.key, deadline).await?);
        }
        let fates = parcels.iter().zip(&lanes).map(|(parcel, lane)| lane.send(parcel));
        let fates = futures::future::join_all(fates).await;
        let mut trouble = None;
        let mut fates = fates.into_iter();
        parcels.retain(|parcel| {
            let fate = fates.next().unwrap_or(Fate::Refused);
            let confirmed = matches!(fate, Fate::Confirmed);
            if !confirmed && trouble.is_none() {
                trouble = Some(explain(fate, parcel));
            }
            !confirmed
        });
        trouble.map_or(Ok(()), Err)
    }

    async fn lane(&self, live: &Arc<Live>, exchange: &str, key: &str, deadline: Instant) -> Result<Lane, Trouble> {
        // Fanouts and the inbox have one destination whatever the key is.
        let key = if exchange == super::names::INBOX_EXCHANGE { "" } else { key };
        let place = (exchange.to_owned(), key.to_owned());
        if let Some(lane) = self.lanes().get(&place)
            && Arc::ptr_eq(&lane.live, live)
            && lane.channel.status().connected()
        {
            return Ok(lane.clone());
        }
        let channel = live.channel(deadline).await.map_err(|error| match error {
            QueueError::Unavailable(reason) => Trouble::Lost(reason),
            error => Trouble::Other(error),
        })?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(|error| Trouble::Lost(describe(&error)))?;
        let lane = Lane { channel, order: Arc::default(), live: Arc::clone(live) };
        self.lanes().insert(place, lane.clone());
        Ok(lane)
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<(String, String), Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    async fn send(&self, parcel: &Parcel) -> Fate {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let published = self.channel.basic_publish(
            parcel.exchange.as_str().into(),
            parcel.key.as_str().into(),
            options,
            &parcel.body,
            parcel.properties.clone(),
        );
        let mut published = pin!(published);
        let confirm = poll_fn(|context| {
            let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            published.as_mut().poll(context)
        });
        let confirm = match confirm.await {
            Ok(confirm) => confirm,
            Err(error) => return Fate::Unknown(error),
        };
        match confirm.await {
            Ok(Confirmation::Ack(None)) => Fate::Confirmed,
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => Fate::Unroutable,
            Ok(Confirmation::Nack(None) | Confirmation::NotRequested) => Fate::Refused,
            Err(error) => Fate::Unknown(error),
        }
    }
}

fn explain(fate: Fate, parcel: &Parcel) -> Trouble {
    let exchange = &parcel.exchange;
    match fate {
        Fate::Unknown(error) => match reply_code(&error) {
            Some(403) => Trouble::Other(QueueError::NotPermitted(format!("publish: {}", describe(&error)))),
            Some(404) => Trouble::Missing(describe(&error)),
            // 3.x and 4.x: the body is larger than the broker's setting `max_message_size`.
            Some(406) => Trouble::Other(QueueError::Broken(describe(&error))),
            _ => Trouble::Lost(describe(&error)),
        },
        Fate::Unroutable => {
            Trouble::Missing(format!("no queue is bound to {exchange}: the group that is to get this is not declared"))
        }
        Fate::Confirmed | Fate::Refused => Trouble::Other(QueueError::Unavailable(format!(
            "the broker could not store a message of {exchange}: its queue has no majority, or is full"
        ))),
    }
}

fn unavailable(reason: impl Into<String>) -> Trouble {
    Trouble::Other(QueueError::Unavailable(reason.into()))
}
