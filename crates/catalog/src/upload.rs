//! `POST /api/v1/songs`: a file becomes a song.
//!
//! The id is known only when the last byte has come, so the file is stored under a key of its own first. The key
//! is noted as loose before the first byte is written and is made the song's in the transaction that
//! inserts it; whatever fails or is killed in between leaves a loose object, which the sweep removes.

use antiphon_audio::SNIFF_BYTES;
use antiphon_identity::Principal;
use antiphon_platform::blobs::ByteStream;
use antiphon_platform::http::layers::trace_context;
use antiphon_platform::http::{Problem, UploadBody};
use antiphon_platform::outbox;
use antiphon_platform::queue::{Message, Topic};
use axum::body::Body;
use axum::extract::State;
use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use prost::Message as _;
use serde::Serialize;

use crate::covers::{self, NewCover};
use crate::file_name::file_name;
use crate::routes::Api;
use crate::songs::{self, NewSong};
use crate::sweep::release;
use crate::tags::{self, SongTags};
use crate::{SongId, messages};

/// Topic of [`messages::Song`].
pub const SONGS: Topic = Topic("songs");

/// An uploaded song.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AcceptedSong {
    /// Made of the file's bytes.
    #[schema(example = "sdsv2fpy64gpa63awucfrirvh7kp6ss4n")]
    id: String,
    /// Always `accepted`.
    #[schema(example = "accepted")]
    status: &'static str,
    /// Whether these bytes were there already; then nothing was changed.
    duplicate: bool,
}

type Answer = (StatusCode, [(header::HeaderName, HeaderValue); 1], axum::Json<AcceptedSong>);

/// Add a song: the body is the bytes of an audio file, its format found by content.
#[utoipa::path(
    post, path = "/api/v1/songs", tag = "songs", operation_id = "create_song",
    params(("Content-Disposition" = Option<String>, Header, description = "`attachment; filename=\"NAME\"`: what the file is called, for the title of one whose tags have none")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "An audio file of any format that is decoded, told by its content"),
    responses(
        (status = 202, description = "Kept and queued for analysis", body = AcceptedSong, headers(("Location" = String, description = "The song"))),
        (status = 400, description = "An empty body, or one that breaks off", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 408, description = "The sender fell silent", body = Problem),
        (status = 413, description = "Over the limit", body = Problem),
        (status = 415, description = "No audio that we know", body = Problem),
        (status = 503, description = "Not kept; sending it again is safe", body = Problem),
    )
)]
pub(crate) async fn create(
    principal: Principal,
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Problem> {
    principal.may_operate()?;
    // A task of its own: when the sender goes away, the request is dropped, but this still cleans up.
    let accepted = tokio::spawn(async move { accept(&api, &headers, body).await });
    let (id, duplicate) = accepted.await.map_err(|error| {
        tracing::error!(%error, "an upload failed");
        Problem::internal()
    })??;
    let location = HeaderValue::from_str(&format!("/api/v1/songs/{id}")).map_err(|_| Problem::internal())?;
    let song = AcceptedSong { id: id.to_string(), status: "accepted", duplicate };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], axum::Json(song)))
}

/// Keeps the file and adds the song; its id, and whether it was there already.
async fn accept(api: &Api, headers: &HeaderMap, body: Body) -> Result<(SongId, bool), Problem> {
    let (stream, upload) = UploadBody::stream(headers, body, api.song_limit)?;
    let (head, stream) = peek(stream).await.map_err(|_| upload.problem().unwrap_or_else(Problem::internal))?;
    if head.is_empty() {
        return Err(Problem::bad_request("empty-body", "the body is empty; it should be the bytes of an audio file"));
    }
    let Some(format) = antiphon_audio::sniff(&head) else {
        return Err(Problem::unsupported("the body is no audio that we know")
            .hint(Some("WAV, AIFF, FLAC, MP3, Ogg, MP4, AAC and Matroska are taken")));
    };
    let blob = blob_key("songs")?;
    let mut tx = api.db.write().await?;
    songs::insert_loose_blob(&mut tx, &blob, api.clock.now()).await?;
    tx.commit().await?;

    let kept = keep(api, headers, &blob, format.media_type(), stream, &upload).await;
    // Only a new song owns the object; whatever else happened, it goes, unless the commit was done and not told.
    if !matches!(kept, Ok((_, false)))
        && let Err(error) = release(&api.db, &*api.blobs, &blob).await
    {
        tracing::warn!(blob, %error, "the rest of an upload is still there; the sweep will remove it");
    }
    kept
}

async fn keep(
    api: &Api,
    headers: &HeaderMap,
    blob: &str,
    media_type: &str,
    stream: ByteStream,
    upload: &UploadBody,
) -> Result<(SongId, bool), Problem> {
    let info = match api.blobs.put(blob, stream).await {
        Ok(info) => info,
        Err(error) => return Err(upload.problem().unwrap_or_else(|| error.into())),
    };
    let id = SongId::derive(&info.sha256);
    if songs::song_exists(&mut api.db.read().await?, id).await? {
        return Ok((id, true));
    }
    let (tags, cover) = tags::of_file(api, blob, info.size).await?;
    let cover = match cover {
        Some(cover) => Some(covers::keep(api, cover).await?),
        None => None,
    };
    let file = File { id, blob, media_type, size: info.size };
    let added = add(api, headers, file, &tags, cover.as_ref()).await;
    // It stays if it is a song's now.
    if let Some(blob) = cover.and_then(|cover| cover.blob)
        && let Err(error) = release(&api.db, &*api.blobs, &blob).await
    {
        tracing::warn!(blob, %error, "a cover that no song has is still there; the sweep will remove it");
    }
    added
}

/// A file that is kept.
struct File<'a> {
    id: SongId,
    blob: &'a str,
    media_type: &'a str,
    size: u64,
}

/// Adds the song and its message; its id, and whether it was there already.
async fn add(
    api: &Api,
    headers: &HeaderMap,
    File { id, blob, media_type, size }: File<'_>,
    tags: &SongTags,
    cover: Option<&NewCover>,
) -> Result<(SongId, bool), Problem> {
    let accepted_at = api.clock.now();
    let file_name = file_name(headers);
    let cover_hash = cover.map(|cover| cover.hash.as_slice());
    let mut tx = api.db.write().await?;
    let file_name = file_name.as_deref();
    let song = NewSong { id, file_name, tags, cover: cover_hash, size, media_type, blob, accepted_at };
    if !songs::insert_song(&mut tx, &song).await? {
        return Ok((id, true));
    }
    if let Some(cover) = cover {
        covers::own(&mut tx, cover).await?;
    }
    if !songs::delete_loose_blob(&mut tx, blob).await? {
        return Err(Problem::unavailable("the upload took so long that it was given up; send it again"));
    }
    outbox::publish(&mut tx, SONGS, &message(api, headers, &song)).await?;
    tx.commit().await?;
    Ok((id, false))
}

fn message(api: &Api, headers: &HeaderMap, song: &NewSong<'_>) -> Message {
    let body = messages::Song {
        id: Bytes::copy_from_slice(song.id.as_bytes()),
        blob: song.blob.to_owned(),
        plan: api.plan.clone(),
        accepted_at: song.accepted_at,
    };
    Message {
        id: song.id.to_string(),
        kind: String::from("antiphon.song.v1"),
        source: String::from("songs"),
        time: song.accepted_at,
        trace: trace_context(headers),
        body: body.encode_to_vec().into(),
    }
}

/// A key below `folder` that no other upload has.
pub(crate) fn blob_key(folder: &str) -> Result<String, Problem> {
    let mut bits = [0u8; 16];
    getrandom::fill(&mut bits).map_err(|error| {
        tracing::error!(%error, "the machine gives no random bytes");
        Problem::internal()
    })?;
    Ok(format!("{folder}/{}", HEXLOWER.encode(&bits)))
}

/// The first bytes, as many as it takes to know a format, and the whole stream again.
async fn peek(mut stream: ByteStream) -> Result<(Bytes, ByteStream), ()> {
    let mut head = BytesMut::new();
    while head.len() < SNIFF_BYTES {
        match stream.next().await {
            Some(Ok(chunk)) => head.extend_from_slice(&chunk),
            Some(Err(_)) => return Err(()),
            None => break,
        }
    }
    let head = head.freeze();
    Ok((head.clone(), Box::pin(stream::iter([Ok(head)]).chain(stream))))
}
