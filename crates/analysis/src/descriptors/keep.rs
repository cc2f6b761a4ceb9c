//! Group `descriptors`: what foreign groups tell of their algorithms, into the database.

use std::sync::Arc;
use std::time::Duration;

use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::db::{Database, DbError, Statement, Value};
use antiphon_platform::queue::{Delivery, Group, Queue, QueueError};
use antiphon_platform::sql;
use prost::Message as _;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{Known, group_of, read};
use crate::messages;
use crate::topics::{KEEP_DESCRIPTORS, RECORDINGS};
use crate::workers::{Failure, consume, settle};

const DIGEST: Statement = sql!("digest.sql");
const INSERT: Statement = sql!("insert.sql");

pub(super) const STATEMENTS: &[Statement] = &[DIGEST, INSERT];

/// Most descriptors, versions counted, that a database holds: what is met is kept in memory, and never forgotten.
pub const MOST: usize = 1_000;

/// Most of one group, so that none takes the place of all others.
pub const MOST_OF_GROUP: usize = 100;

/// Pause before trying again when the database is away.
const AWAY: Duration = Duration::from_millis(500);

/// Keeps what comes, until `stop` fires.
///
/// # Errors
/// Those of the queue that do not pass by themselves.
pub async fn run(db: Database, queue: Arc<dyn Queue>, clock: Clock, stop: CancellationToken) -> Result<(), QueueError> {
    let handle = {
        let queue = Arc::clone(&queue);
        move |delivery: Delivery| {
            let (db, queue, clock) = (db.clone(), Arc::clone(&queue), clock.clone());
            async move {
                let outcome = keep(&db, queue.as_ref(), &clock, &delivery.message.body).await;
                antiphon_platform::crash::point("descriptors.after-effect-before-ack");
                settle(delivery, outcome).await
            }
        }
    };
    consume(queue.as_ref(), KEEP_DESCRIPTORS, 1, stop, handle).await
}

/// Keeps one. The group's queue is made before: an operator may name the algorithm in a plan from then on, and what is
/// published to a queue that is not there is lost.
pub(super) async fn keep(db: &Database, queue: &dyn Queue, clock: &Clock, body: &[u8]) -> Result<(), Failure> {
    let descriptor = read(body).map_err(|error| Failure::Permanent(error.to_string()))?;
    let group = group_of(&descriptor.name).and_then(|name| Group::foreign(name, RECORDINGS));
    let Some(group) = group else {
        return Err(Failure::Temporary(String::from("this process has met too many foreign groups; restart it")));
    };
    queue.declare(&[group]).await.map_err(Failure::from)?;
    loop {
        match store(db, &descriptor, clock.now()).await {
            Err(StoreFailure::Database(error @ (DbError::Unavailable(_) | DbError::Broken(_)))) => {
                tracing::warn!(%error, name = descriptor.name, "a descriptor waits for the database");
                tokio::time::sleep(AWAY).await;
            }
            // Somebody else has stored it just now: the next turn sees it.
            Err(StoreFailure::Database(DbError::Conflict(_))) => {}
            Err(error) => return Err(Failure::Permanent(error.to_string())),
            Ok(()) => return Ok(()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum StoreFailure {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("version {version} of {name} is stored and says something else; raise the version with every change")]
    Changed { name: String, version: u32 },
    #[error("{0} descriptors are stored, more are not; no version of an algorithm is ever forgotten")]
    Full(usize),
}

async fn store(db: &Database, descriptor: &messages::Descriptor, now: Micros) -> Result<(), StoreFailure> {
    let data = descriptor.encode_to_vec();
    let digest = Sha256::digest(&data).to_vec();
    let (name, version) = (descriptor.name.as_str(), descriptor.version);
    let mut tx = db.write().await?;
    if let Some(row) = tx.row(&DIGEST, &[name.into(), version.into()]).await? {
        if row.get::<Vec<u8>>(0)? == digest {
            return Ok(());
        }
        return Err(StoreFailure::Changed { name: name.to_owned(), version });
    }
    let known = Known::load(&mut tx).await?;
    let of_group = known.number_of(group_of(name).unwrap_or_default());
    if known.number() >= MOST || of_group >= MOST_OF_GROUP {
        return Err(StoreFailure::Full(of_group.max(known.number().min(MOST))));
    }
    let values = [name.into(), version.into(), Value::Bytes(digest), Value::Bytes(data), now.into()];
    tx.execute(&INSERT, &values).await?;
    tx.commit().await?;
    tracing::info!(name, version, "an algorithm of a foreign group is known");
    Ok(())
}
