//! Analysing a song again, whose file is kept.

use antiphon_platform::clock::Clock;
use antiphon_platform::db::{DbError, WriteTransaction};
use antiphon_platform::outbox;
use antiphon_platform::queue::Message;
use bytes::Bytes;
use prost::Message as _;

use crate::songs::find_song;
use crate::upload::SONGS;
use crate::{SongId, messages};

/// Queues a song to be analysed by `plan` (the analysis' own, encoded) once the transaction is committed, as a message of
/// this id; what is known of it stays as it is until then. Whether there is such a song.
///
/// # Errors
/// Those of the database.
pub async fn analyze_again(
    tx: &mut WriteTransaction,
    clock: &Clock,
    id: SongId,
    message: &str,
    plan: &[u8],
) -> Result<bool, DbError> {
    let Some(song) = find_song(tx, id).await? else { return Ok(false) };
    let body = messages::Song {
        id: Bytes::copy_from_slice(id.as_bytes()),
        blob: song.blob,
        plan: Bytes::copy_from_slice(plan),
        accepted_at: song.accepted_at,
    };
    let message = Message {
        id: message.to_owned(),
        kind: String::from("antiphon.song.v1"),
        source: String::from("songs"),
        time: clock.now(),
        trace: String::new(),
        body: body.encode_to_vec().into(),
    };
    outbox::publish(tx, SONGS, &message).await?;
    Ok(true)
}
