//! Songs in the database.

use antiphon_audio::tags::Tags;
use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::db::{DbError, Migration, ReadTransaction, Row, Statement, Value, WriteTransaction};
use antiphon_platform::sql;
use unicode_normalization::UnicodeNormalization;

use crate::tags::SongTags;
use crate::{SongId, covers};

/// The tables of this crate.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        owner: "catalog",
        version: 1,
        sqlite: include_str!("sql/migration-1.sql"),
        postgres: include_str!("sql/migration-1.postgres.sql"),
    },
    Migration {
        owner: "catalog",
        version: 2,
        sqlite: include_str!("sql/migration-2.sql"),
        postgres: include_str!("sql/migration-2.postgres.sql"),
    },
];

/// Every statement of this crate, for the test that prepares them on each engine.
pub const STATEMENTS: &[Statement] = &[
    INSERT_SONG,
    FIND_SONG,
    LIST_SONGS,
    SEARCH_SONGS,
    DELETE_SONG,
    MARK_STORED,
    MARK_FAILED,
    MARK_ACCEPTED,
    INSERT_LOOSE_BLOB,
    LOCK_LOOSE_BLOB,
    DELETE_LOOSE_BLOB,
    OLD_LOOSE_BLOBS,
    FIND_TAGS,
    covers::FIND_COVER,
    covers::INSERT_COVER,
    covers::DELETE_COVER,
    covers::FIND_SONG_OF_COVER,
];

const INSERT_SONG: Statement = sql!("sql/insert_song.sql");
const FIND_SONG: Statement = sql!("sql/find_song.sql");
const FIND_TAGS: Statement = sql!("sql/find_tags.sql");
const LIST_SONGS: Statement = sql!("sql/list_songs.sql");
const SEARCH_SONGS: Statement = sql!("sql/search_songs.sql");
const DELETE_SONG: Statement = sql!("sql/delete_song.sql");
const MARK_STORED: Statement = sql!("sql/mark_stored.sql");
const MARK_FAILED: Statement = sql!("sql/mark_failed.sql");
const MARK_ACCEPTED: Statement = sql!("sql/mark_accepted.sql");
const INSERT_LOOSE_BLOB: Statement = sql!("sql/insert_loose_blob.sql");
const LOCK_LOOSE_BLOB: Statement = sql!("sql/lock_loose_blob.sql");
const DELETE_LOOSE_BLOB: Statement = sql!("sql/delete_loose_blob.sql");
const OLD_LOOSE_BLOBS: Statement = sql!("sql/old_loose_blobs.sql");

/// How far a song has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The file is kept; its features are being computed.
    Accepted,
    /// Its features are there.
    Stored,
    /// It could not be analysed.
    Failed,
}

impl Status {
    /// Its name in API and database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Stored => "stored",
            Self::Failed => "failed",
        }
    }
}

/// A song as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Song {
    /// Its name.
    pub id: SongId,
    /// How far it has come.
    pub status: Status,
    /// Why it failed, in words.
    pub reason: Option<String>,
    /// Its title: what its tags say, else the uploaded file's name without the ending.
    pub title: Option<String>,
    /// Who plays.
    pub artist: Option<String>,
    /// What it is published on.
    pub album: Option<String>,
    /// Its length in µs, once it is stored.
    pub duration: Option<Micros>,
    /// Bytes of the file.
    pub size: u64,
    /// The file's media type, found by content.
    pub media_type: String,
    /// The key of the file among the blobs.
    pub blob: String,
    /// When it was accepted, µs since 1970.
    pub accepted_at: Micros,
    /// When its last result was stored, µs since 1970.
    pub stored_at: Option<Micros>,
    /// When it was given up, µs since 1970.
    pub failed_at: Option<Micros>,
}

/// What is known of a song before it is analysed.
pub(crate) struct NewSong<'a> {
    pub(crate) id: SongId,
    pub(crate) file_name: Option<&'a str>,
    pub(crate) tags: &'a SongTags,
    /// SHA-256 of its cover.
    pub(crate) cover: Option<&'a [u8]>,
    pub(crate) size: u64,
    pub(crate) media_type: &'a str,
    pub(crate) blob: &'a str,
    pub(crate) accepted_at: Micros,
}

/// Where a page of the list ends, newest first: the time of acceptance and the id of its last song.
pub(crate) type Position = (Micros, String);

/// The song with this id.
///
/// # Errors
/// Those of the database.
pub async fn find_song(tx: &mut ReadTransaction, id: SongId) -> Result<Option<Song>, DbError> {
    tx.row(&FIND_SONG, &[key(id)]).await?.as_ref().map(song).transpose()
}

/// Whether there is such a song; ask this inside the transaction that stores something about it.
///
/// # Errors
/// Those of the database.
pub async fn song_exists(tx: &mut ReadTransaction, id: SongId) -> Result<bool, DbError> {
    Ok(tx.row(&FIND_SONG, &[key(id)]).await?.is_some())
}

/// Says that all results of a song are stored, and that it is `duration` µs long. A song that was deleted
/// meanwhile stays deleted; whether there was one.
///
/// # Errors
/// Those of the database.
pub async fn mark_stored(
    tx: &mut WriteTransaction,
    clock: &Clock,
    id: SongId,
    duration: Micros,
) -> Result<bool, DbError> {
    Ok(tx.execute(&MARK_STORED, &[key(id), duration.into(), clock.now().into()]).await? > 0)
}

/// Says that a song could not be analysed, and why, in words. One that is stored stays stored; whether
/// anything changed.
///
/// # Errors
/// Those of the database.
pub async fn mark_failed(tx: &mut WriteTransaction, clock: &Clock, id: SongId, reason: &str) -> Result<bool, DbError> {
    Ok(tx.execute(&MARK_FAILED, &[key(id), reason.into(), clock.now().into()]).await? > 0)
}

/// Says that a song that had failed is being analysed again; whether anything changed.
///
/// # Errors
/// Those of the database.
pub async fn mark_accepted(tx: &mut WriteTransaction, id: SongId) -> Result<bool, DbError> {
    Ok(tx.execute(&MARK_ACCEPTED, &[key(id)]).await? > 0)
}

/// What the tags of a song say, and the SHA-256 of its cover.
pub(crate) async fn find_tags(
    tx: &mut ReadTransaction,
    id: SongId,
) -> Result<(Option<SongTags>, Option<Vec<u8>>, Option<String>), DbError> {
    let Some(row) = tx.row(&FIND_TAGS, &[key(id)]).await? else { return Ok((None, None, None)) };
    let tags: Option<String> = row.get(0)?;
    let tags = tags.map(|tags| serde_json::from_str(&tags)).transpose();
    Ok((tags.map_err(|error| DbError::Broken(format!("the tags of song {id}: {error}")))?, row.get(1)?, row.get(2)?))
}

/// Adds a song; whether it is new.
pub(crate) async fn insert_song(tx: &mut WriteTransaction, song: &NewSong<'_>) -> Result<bool, DbError> {
    let Tags { title, artist, album, .. } = &song.tags.tags;
    let title = title.clone().or_else(|| song.file_name.map(title_of));
    let texts = [title.as_deref(), artist.as_deref(), album.as_deref(), song.file_name];
    let values = [
        key(song.id),
        title.clone().into(),
        song.file_name.into(),
        search_text(&texts).into(),
        Value::Int(i64::try_from(song.size).unwrap_or(i64::MAX)),
        song.media_type.into(),
        song.blob.into(),
        song.accepted_at.into(),
        artist.clone().into(),
        album.clone().into(),
        song.tags.json().into(),
        song.cover.into(),
    ];
    Ok(tx.execute(&INSERT_SONG, &values).await? > 0)
}

/// At most `limit` songs in which `query` occurs, newest first, after `position`.
pub(crate) async fn list_songs(
    tx: &mut ReadTransaction,
    query: Option<&str>,
    position: Option<(Micros, SongId)>,
    limit: usize,
) -> Result<Vec<Song>, DbError> {
    let limit = Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
    // Before the first page lies a time that no song has.
    let (time, id) = position.map_or((Micros::MAX, Value::Bytes(Vec::new())), |(time, id)| (time, key(id)));
    let rows = match query.map(normal).filter(|query| !query.is_empty()) {
        None => tx.rows(&LIST_SONGS, &[time.into(), id, limit]).await?,
        Some(query) => tx.rows(&SEARCH_SONGS, &[time.into(), id, limit, pattern(&query).into()]).await?,
    };
    rows.iter().map(song).collect()
}

/// Removes a song; whether there was one.
pub(crate) async fn delete_song(tx: &mut WriteTransaction, id: SongId) -> Result<bool, DbError> {
    Ok(tx.execute(&DELETE_SONG, &[key(id)]).await? > 0)
}

/// Notes an object that no song owns.
pub(crate) async fn insert_loose_blob(tx: &mut WriteTransaction, blob: &str, now: Micros) -> Result<(), DbError> {
    tx.execute(&INSERT_LOOSE_BLOB, &[blob.into(), now.into()]).await.map(|_| ())
}

/// Waits for other transactions that change what is noted of an object; whether it is noted after them.
pub(crate) async fn lock_loose_blob(tx: &mut WriteTransaction, blob: &str) -> Result<bool, DbError> {
    Ok(tx.execute(&LOCK_LOOSE_BLOB, &[blob.into()]).await? > 0)
}

/// Forgets an object that is gone, or that a song owns from now on; whether it was noted.
pub(crate) async fn delete_loose_blob(tx: &mut WriteTransaction, blob: &str) -> Result<bool, DbError> {
    Ok(tx.execute(&DELETE_LOOSE_BLOB, &[blob.into()]).await? > 0)
}

/// At most `limit` objects that no song owns since before `before`.
pub(crate) async fn old_loose_blobs(
    tx: &mut ReadTransaction,
    before: Micros,
    limit: u32,
) -> Result<Vec<String>, DbError> {
    tx.rows(&OLD_LOOSE_BLOBS, &[before.into(), limit.into()]).await?.iter().map(|row| row.get(0)).collect()
}

fn key(id: SongId) -> Value {
    Value::Bytes(id.as_bytes().to_vec())
}

fn song(row: &Row) -> Result<Song, DbError> {
    let id: Vec<u8> = row.get(0)?;
    let status: String = row.get(1)?;
    Ok(Song {
        id: SongId::try_from(id.as_slice()).map_err(|error| DbError::Broken(format!("songs: {error}")))?,
        status: match status.as_str() {
            "accepted" => Status::Accepted,
            "stored" => Status::Stored,
            "failed" => Status::Failed,
            other => return Err(DbError::Broken(format!("songs holds the unknown status {other:?}"))),
        },
        reason: row.get(2)?,
        title: row.get(3)?,
        artist: row.get(4)?,
        album: row.get(5)?,
        duration: row.get(6)?,
        size: u64::try_from(row.get::<i64>(7)?).unwrap_or(0),
        media_type: row.get(8)?,
        blob: row.get(9)?,
        accepted_at: row.get(10)?,
        stored_at: row.get(11)?,
        failed_at: row.get(12)?,
    })
}

/// A file name without its ending.
fn title_of(file_name: &str) -> String {
    match file_name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && ending.len() <= 5 => stem.to_owned(),
        _ => file_name.to_owned(),
    }
}

/// What a search looks through: the engines' own ideas of upper and lower case differ, ours is Unicode's. Between the
/// texts is what no search can hold, so that nothing is found across their borders.
fn search_text(texts: &[Option<&str>]) -> String {
    texts.iter().flatten().map(|text| normal(text)).collect::<Vec<_>>().join("\n")
}

fn normal(text: &str) -> String {
    text.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// The LIKE pattern of texts in which `query` occurs, with `!` as the escape.
fn pattern(query: &str) -> String {
    let mut pattern = String::from("%");
    for character in query.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
