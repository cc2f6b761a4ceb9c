//! Covers: pictures in blobs, shared by the songs that have the same one.
//!
//! A picture is stored under a key of its own, noted as loose until a song's transaction makes it the cover of
//! its hash, as uploads do with the file itself; whoever comes second with the same picture finds it there, and its own
//! goes. With the last song that has it, a cover becomes loose again.

use antiphon_audio::tags::Cover;
use antiphon_platform::blobs::{ByteStream, once};
use antiphon_platform::db::{DbError, ReadTransaction, Statement, Value, WriteTransaction};
use antiphon_platform::http::Problem;
use antiphon_platform::sql;
use sha2::{Digest, Sha256};

use crate::routes::Api;
use crate::songs::{delete_loose_blob, insert_loose_blob};
use crate::upload::blob_key;

pub(crate) const FIND_COVER: Statement = sql!("sql/find_cover.sql");
pub(crate) const INSERT_COVER: Statement = sql!("sql/insert_cover.sql");
pub(crate) const DELETE_COVER: Statement = sql!("sql/delete_cover.sql");
pub(crate) const FIND_SONG_OF_COVER: Statement = sql!("sql/find_song_of_cover.sql");

/// A cover that a song is about to have.
pub(crate) struct NewCover {
    /// SHA-256 of the picture.
    pub(crate) hash: Vec<u8>,
    media_type: &'static str,
    /// Where this upload put it; none if it was there already.
    pub(crate) blob: Option<String>,
}

/// Where a picture is, and what.
pub(crate) struct StoredCover {
    /// The key of the picture among the blobs.
    pub(crate) blob: String,
    /// Its media type, found by content.
    pub(crate) media_type: String,
}

/// Puts a picture into the blobs, unless it is there.
pub(crate) async fn keep(api: &Api, cover: Cover) -> Result<NewCover, Problem> {
    let hash = Sha256::digest(&cover.bytes).to_vec();
    let media_type = cover.format.media_type();
    if find(&mut api.db.read().await?, &hash).await?.is_some() {
        return Ok(NewCover { hash, media_type, blob: None });
    }
    let blob = blob_key("covers")?;
    let mut tx = api.db.write().await?;
    insert_loose_blob(&mut tx, &blob, api.clock.now()).await?;
    tx.commit().await?;
    let picture: ByteStream = once(cover.bytes);
    api.blobs.put(&blob, picture).await?;
    Ok(NewCover { hash, media_type, blob: Some(blob) })
}

/// Makes a picture the cover of its hash, in the transaction that inserts the song.
pub(crate) async fn own(tx: &mut WriteTransaction, cover: &NewCover) -> Result<(), Problem> {
    if find(tx, &cover.hash).await?.is_some() {
        return Ok(());
    }
    let Some(blob) = &cover.blob else {
        return Err(Problem::unavailable("the song's cover was deleted with another song just now; send it again"));
    };
    if !delete_loose_blob(tx, blob).await? {
        return Err(Problem::unavailable("the upload took so long that it was given up; send it again"));
    }
    let values = [cover.hash.clone().into(), blob.as_str().into(), cover.media_type.into()];
    tx.execute(&INSERT_COVER, &values).await?;
    Ok(())
}

/// The cover with this hash.
pub(crate) async fn find(tx: &mut ReadTransaction, hash: &[u8]) -> Result<Option<StoredCover>, DbError> {
    let row = tx.row(&FIND_COVER, &[hash.into()]).await?;
    row.map(|row| Ok(StoredCover { blob: row.get(0)?, media_type: row.get(1)? })).transpose()
}

/// Lets go of the cover of a song that this transaction has deleted; its blob, now loose, if no other song has it.
pub(crate) async fn forget(tx: &mut WriteTransaction, hash: &[u8], now: i64) -> Result<Option<String>, DbError> {
    let key: Value = hash.into();
    if tx.row(&FIND_SONG_OF_COVER, std::slice::from_ref(&key)).await?.is_some() {
        return Ok(None);
    }
    let Some(cover) = find(tx, hash).await? else { return Ok(None) };
    tx.execute(&DELETE_COVER, &[key]).await?;
    insert_loose_blob(tx, &cover.blob, now).await?;
    Ok(Some(cover.blob))
}
