//! `/api/v1/songs`: list, search, look at, play and delete songs.

use std::sync::Arc;
use std::time::Duration;

use antiphon_audio::tags::Tags;
use antiphon_identity::Principal;
use antiphon_platform::blobs::Blobs;
use antiphon_platform::clock::{Clock, Micros, SECOND, duration};
use antiphon_platform::cpu::Pool;
use antiphon_platform::db::{Database, DbError, Reader, WriteTransaction};
use antiphon_platform::http::ranges::serve_blob;
use antiphon_platform::http::{Page, Params, Problem, decode_cursor, time};
use async_trait::async_trait;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::songs::{self, Position, Song, Status};
use crate::sweep::release;
use crate::tags::SongTags;
use crate::{SongId, covers, upload};

/// The longest search text, in characters.
const QUERY_LIMIT: usize = 200;

/// How long a request that waits for a song goes without looking, should a signal get lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What others keep about songs, and drop when one is deleted.
#[async_trait]
pub trait SongData: Send + Sync {
    /// Drops what is kept about `song`, in the transaction that deletes it.
    async fn forget(&self, tx: &mut WriteTransaction, song: SongId) -> Result<(), DbError>;
}

/// What the routes that change songs, and the one that plays them, use.
#[derive(Clone)]
pub struct Api {
    /// Where songs are kept.
    pub db: Database,
    /// Where their files are kept.
    pub blobs: Arc<dyn Blobs>,
    /// Now.
    pub clock: Clock,
    /// The largest file that is taken, in bytes (`limits.song_bytes`).
    pub song_limit: u64,
    /// Threads that read tags.
    pub pool: Arc<Pool>,
    /// The plan by which new songs are analysed, as the analysis encodes it.
    pub plan: Bytes,
    /// What others keep about songs.
    pub data: Arc<dyn SongData>,
}

/// The routes that need the database only, for reading: list and status.
pub fn read_routes(reader: Reader) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).with_state(reader)
}

/// The other routes: upload, delete, play, show.
pub fn write_routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(upload::create))
        .routes(routes!(delete))
        .routes(routes!(audio))
        .routes(routes!(cover))
        .with_state(api)
}

/// A song.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SongInfo {
    /// Made of the file's bytes.
    #[schema(example = "sdsv2fpy64gpa63awucfrirvh7kp6ss4n")]
    pub id: String,
    /// `accepted`: being analysed; `stored`: its features are there; `failed`: could not be analysed.
    #[schema(example = "stored")]
    pub status: &'static str,
    /// For `failed`: why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its title, from its tags, or the name of the uploaded file.
    pub title: Option<String>,
    /// Who plays.
    pub artist: Option<String>,
    /// What it is published on.
    pub album: Option<String>,
    /// Its length in seconds; null until it is stored.
    #[schema(example = 241.6)]
    pub duration: Option<f64>,
    /// The file's size in bytes.
    pub size: u64,
    /// The file's media type, found by content.
    #[schema(example = "audio/flac")]
    pub media_type: String,
    /// When it was accepted, UTC.
    #[schema(example = "2026-05-01T00:00:00.000000Z")]
    pub accepted_at: String,
    /// When its features were there, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<String>,
    /// When it failed, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
    /// What the file's tags say. Not in lists; not there if it has none, or came before tags were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
    /// What of the tags could not be read, in words. Not in lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tag_warnings: Vec<String>,
    /// Where its cover is, if it has one. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/api/v1/songs/sdsv2fpy64gpa63awucfrirvh7kp6ss4n/cover")]
    pub cover: Option<String>,
    /// What the uploaded file was called. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "01 Prelude.flac")]
    pub file_name: Option<String>,
}

impl SongInfo {
    /// With what is told of a single song only.
    fn with_tags(self, tags: Option<SongTags>, has_cover: bool, file_name: Option<String>) -> Self {
        let cover = has_cover.then(|| format!("/api/v1/songs/{}/cover", self.id));
        let (tags, tag_warnings) = tags.map_or((None, Vec::new()), |kept| (Some(kept.tags), kept.warnings));
        Self { tags, tag_warnings, cover, file_name, ..self }
    }
}

impl From<Song> for SongInfo {
    fn from(song: Song) -> Self {
        Self {
            id: song.id.to_string(),
            status: song.status.name(),
            reason: song.reason,
            title: song.title,
            artist: song.artist,
            album: song.album,
            duration: song.duration.map(|micros| micros as f64 / SECOND as f64),
            size: song.size,
            media_type: song.media_type,
            accepted_at: time::format(song.accepted_at),
            stored_at: song.stored_at.map(time::format),
            failed_at: song.failed_at.map(time::format),
            tags: None,
            tag_warnings: Vec::new(),
            cover: None,
            file_name: None,
        }
    }
}

/// Songs, newest first.
#[utoipa::path(
    get, path = "/api/v1/songs", tag = "songs", operation_id = "list_songs",
    params(
        ("query" = Option<String>, Query, description = "Only songs with this text in title, artist, album or file name; upper and lower case are the same"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<SongInfo>),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(reader): State<Reader>,
    RawQuery(query): RawQuery,
) -> Result<axum::Json<Page<SongInfo>>, Problem> {
    principal.may_read()?;
    let params = Params::parse(query.as_deref(), &["query", "limit", "cursor"])?;
    let limit = params.limit()?;
    let text = params.get("query");
    if text.is_some_and(|text| text.chars().count() > QUERY_LIMIT) {
        return Err(Problem::bad_field("query", format!("query may have at most {QUERY_LIMIT} characters")));
    }
    let position = decode_cursor::<Position>(&params)?.map(position).transpose()?;
    let found = songs::list_songs(&mut reader.read().await?, text, position, limit + 1).await?;
    let page = Page::of(found, limit, |last| (last.accepted_at, last.id.to_string()));
    Ok(axum::Json(Page { items: page.items.into_iter().map(SongInfo::from).collect(), next: page.next }))
}

fn position((accepted_at, id): Position) -> Result<(Micros, SongId), Problem> {
    let id =
        id.parse().map_err(|_| Problem::bad_field("cursor", "cursor is not one that an earlier page gave as next"))?;
    Ok((accepted_at, id))
}

/// One song and how far it has come.
#[utoipa::path(
    get, path = "/api/v1/songs/{song}", tag = "songs", operation_id = "get_song",
    params(
        ("song" = String, Path, description = "The song's id"),
        ("wait" = Option<f64>, Query, description = "Seconds, 0 to 30: answer as soon as the song is stored or failed, at the latest then"),
    ),
    responses(
        (status = 200, body = SongInfo),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "No such song", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn get(
    principal: Principal,
    State(reader): State<Reader>,
    Path(song): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<axum::Json<SongInfo>, Problem> {
    principal.may_read()?;
    let id: SongId = song.parse().map_err(|_| unknown_song())?;
    let mut song = songs::find_song(&mut reader.read().await?, id).await?.ok_or_else(unknown_song)?;
    let wait = Params::parse(query.as_deref(), &["wait"])?.seconds("wait", 0..=30)?.unwrap_or(0);
    let end = tokio::time::Instant::now() + duration(wait);
    while song.status == Status::Accepted && tokio::time::Instant::now() < end {
        let look_again = end.min(tokio::time::Instant::now() + LOOK_AGAIN);
        // Elapsed or changed: both mean to look again.
        let _ = tokio::time::timeout_at(look_again, reader.changed()).await;
        song = songs::find_song(&mut reader.read().await?, id).await?.ok_or_else(unknown_song)?;
    }
    let (tags, cover, file_name) = songs::find_tags(&mut reader.read().await?, id).await?;
    Ok(axum::Json(SongInfo::from(song).with_tags(tags, cover.is_some(), file_name)))
}

/// Delete a song, its file and its features.
#[utoipa::path(
    delete, path = "/api/v1/songs/{song}", tag = "songs", operation_id = "delete_song",
    params(("song" = String, Path, description = "The song's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "No such song", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn delete(principal: Principal, State(api): State<Api>, Path(song): Path<String>) -> Result<StatusCode, Problem> {
    principal.may_operate()?;
    let id: SongId = song.parse().map_err(|_| unknown_song())?;
    let mut tx = api.db.write().await?;
    let song = songs::find_song(&mut tx, id).await?.ok_or_else(unknown_song)?;
    let (_, cover, _) = songs::find_tags(&mut tx, id).await?;
    let now = api.clock.now();
    songs::delete_song(&mut tx, id).await?;
    api.data.forget(&mut tx, id).await?;
    songs::insert_loose_blob(&mut tx, &song.blob, now).await?;
    let cover = match cover {
        Some(hash) => covers::forget(&mut tx, &hash, now).await?,
        None => None,
    };
    tx.commit().await?;
    // The song is gone; what goes wrong from here on is left to the sweep.
    for blob in [Some(song.blob), cover].iter().flatten() {
        if let Err(error) = release(&api.db, &*api.blobs, blob).await {
            tracing::warn!(%id, %error, "a file of a deleted song is still there; the sweep will remove it");
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The file itself, with range requests.
#[utoipa::path(
    get, path = "/api/v1/songs/{song}/audio", tag = "songs", operation_id = "get_song_audio",
    params(
        ("song" = String, Path, description = "The song's id"),
        ("Range" = Option<String>, Header, description = "One range of bytes, such as `bytes=0-65535`"),
    ),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "`If-None-Match` names it"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "No such song", body = Problem),
        (status = 416, description = "The range lies beyond the end", body = Problem),
        (status = 503, description = "The database or the blob store cannot be used now", body = Problem),
    )
)]
async fn audio(
    principal: Principal,
    State(api): State<Api>,
    Path(song): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    principal.may_read()?;
    let id: SongId = song.parse().map_err(|_| unknown_song())?;
    let song = songs::find_song(&mut api.db.read().await?, id).await?.ok_or_else(unknown_song)?;
    let etag = HeaderValue::from_str(&format!("\"{id}\"")).map_err(|_| Problem::internal())?;
    // The id names the bytes, so they never change; they are private because a key was needed to get them.
    let cache_control = HeaderValue::from_static("private, max-age=31536000, immutable");
    serve_blob(&*api.blobs, &song.blob, &headers, &song.media_type, etag, cache_control).await
}

/// A song's cover: a JPEG, PNG, WebP or GIF, as it stood in the file.
#[utoipa::path(
    get, path = "/api/v1/songs/{song}/cover", tag = "songs", operation_id = "get_song_cover",
    params(("song" = String, Path, description = "The song's id")),
    responses(
        (status = 200, description = "The picture; `Content-Type` says of which kind, by content", body = Vec<u8>, content_type = "image/*"),
        (status = 206, description = "The range that was asked for", body = Vec<u8>, content_type = "image/*"),
        (status = 304, description = "`If-None-Match` names it"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "No such song, or it has no cover", body = Problem),
        (status = 416, description = "The range lies beyond the end", body = Problem),
        (status = 503, description = "The database or the blob store cannot be used now", body = Problem),
    )
)]
async fn cover(
    principal: Principal,
    State(api): State<Api>,
    Path(song): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    principal.may_read()?;
    let id: SongId = song.parse().map_err(|_| unknown_song())?;
    let mut tx = api.db.read().await?;
    songs::find_song(&mut tx, id).await?.ok_or_else(unknown_song)?;
    let (_, hash, _) = songs::find_tags(&mut tx, id).await?;
    let hash = hash.ok_or_else(|| Problem::not_found("the song's file has no cover"))?;
    let cover = covers::find(&mut tx, &hash).await?.ok_or_else(Problem::internal)?;
    drop(tx);
    let etag = HeaderValue::from_str(&format!("\"{}\"", HEXLOWER.encode(&hash))).map_err(|_| Problem::internal())?;
    let cache_control = HeaderValue::from_static("private, max-age=86400");
    serve_blob(&*api.blobs, &cover.blob, &headers, &cover.media_type, etag, cache_control).await
}

fn unknown_song() -> Problem {
    Problem::not_found("there is no such song").hint(Some("GET /api/v1/songs lists them"))
}
