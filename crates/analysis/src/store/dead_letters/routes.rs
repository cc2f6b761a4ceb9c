//! `/api/v1/dead-letters`: for operators only.

use antiphon_audio::sniff;
use antiphon_identity::Principal;
use antiphon_platform::db::Database;
use antiphon_platform::http::{Page, Params, Problem, decode_cursor, time};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use bytes::Bytes;
use http::{StatusCode, header};
use prost::Message as _;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{DeadLetter, drop_letter, list, replay, show, show_with_body};
use crate::messages::Recording;
use crate::recordings::accept::RECORDING_KIND;
use crate::store::error::StoreError;

/// What the routes use.
#[derive(Clone)]
pub struct Api {
    /// Where the letters are.
    pub db: Database,
}

/// The routes of dead letters.
pub fn routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list_letters))
        .routes(routes!(get_letter, delete_letter))
        .routes(routes!(get_body))
        .routes(routes!(get_audio))
        .routes(routes!(replay_letter))
        .with_state(api)
}

/// A message that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DeadLetterInfo {
    /// Its id.
    #[schema(example = "019a8f2e-6f3c-7c52-9d6e-0f3b6f0a4b11")]
    pub id: String,
    /// The group that set it aside: `analyze`, `media`, `analyze-songs` or `write`.
    #[schema(example = "analyze")]
    pub group: String,
    /// The message's id, which begins with the id of the recording or song.
    #[schema(example = "r4kfuqejpza7l557ib35s4o7ogduf3xjo/0")]
    pub message: String,
    /// The message's type.
    #[serde(rename = "type")]
    #[schema(example = "antiphon.recording.v1")]
    pub kind: String,
    /// Where it comes from.
    #[schema(example = "sensors/roof")]
    pub source: String,
    /// Why it was set aside, in words.
    #[schema(example = "the file ends in the middle of a frame")]
    pub reason: String,
    /// When it was set aside, UTC.
    #[schema(example = "2026-05-01T00:00:00.000000Z")]
    pub died_at: String,
    /// How often it had been delivered.
    #[schema(example = 1)]
    pub deliveries: u32,
    /// Bytes of its body.
    #[schema(example = 32_044)]
    pub size: i64,
}

impl From<DeadLetter> for DeadLetterInfo {
    fn from(letter: DeadLetter) -> Self {
        Self {
            died_at: time::format(letter.died_at),
            id: letter.id,
            group: letter.group,
            message: letter.message,
            kind: letter.kind,
            source: letter.source,
            reason: letter.reason,
            deliveries: letter.deliveries,
            size: letter.size,
        }
    }
}

fn no_such(id: &str) -> Problem {
    Problem::not_found(format!("there is no dead letter {id}; it may have been replayed, dropped or expired"))
}

/// List what was set aside, the newest first.
#[utoipa::path(
    get, path = "/api/v1/dead-letters", tag = "dead letters", operation_id = "list_dead_letters",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 1,000, default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of dead letters", body = Page<DeadLetterInfo>),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn list_letters(
    principal: Principal,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<DeadLetterInfo>>, Problem> {
    principal.may_operate()?;
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = params.limit()?;
    let after = decode_cursor(&params)?;
    let mut tx = api.db.read().await?;
    let letters = list(&mut tx, after, u32::try_from(limit + 1).unwrap_or(u32::MAX)).await?;
    let page = Page::of(letters, limit, |letter| (letter.died_at, letter.id.clone()));
    Ok(Json(Page { items: page.items.into_iter().map(DeadLetterInfo::from).collect(), next: page.next }))
}

/// One dead letter.
#[utoipa::path(
    get, path = "/api/v1/dead-letters/{id}", tag = "dead letters", operation_id = "get_dead_letter",
    params(("id" = String, Path, description = "The letter's id")),
    responses(
        (status = 200, description = "The letter", body = DeadLetterInfo),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "No such letter", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn get_letter(
    principal: Principal,
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<DeadLetterInfo>, Problem> {
    principal.may_operate()?;
    let letter = show(&mut api.db.read().await?, &id).await?;
    letter.map(|letter| Json(letter.into())).ok_or_else(|| no_such(&id))
}

/// The message itself, as it was sent: Protobuf by one of the schemas, with the audio that is in it.
#[utoipa::path(
    get, path = "/api/v1/dead-letters/{id}/body", tag = "dead letters", operation_id = "get_dead_letter_body",
    params(("id" = String, Path, description = "The letter's id")),
    responses(
        (status = 200, description = "The message's bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "No such letter", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn get_body(
    principal: Principal,
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<([(header::HeaderName, &'static str); 2], Vec<u8>), Problem> {
    principal.may_operate()?;
    let (_, body) = show_with_body(&mut api.db.read().await?, &id).await?.ok_or_else(|| no_such(&id))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "private, no-store")], body))
}

/// The sound in a message that was set aside, as the sensor sent it, lead-in included: broken or not.
#[utoipa::path(
    get, path = "/api/v1/dead-letters/{id}/audio", tag = "dead letters", operation_id = "get_dead_letter_audio",
    params(("id" = String, Path, description = "The letter's id")),
    responses(
        (status = 200, description = "The file, with the media type that its content tells", body = Vec<u8>, content_type = "audio/flac"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "No such letter, or no sound in it", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn get_audio(
    principal: Principal,
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<([(header::HeaderName, &'static str); 2], Bytes), Problem> {
    principal.may_operate()?;
    let (letter, body) = show_with_body(&mut api.db.read().await?, &id).await?.ok_or_else(|| no_such(&id))?;
    // Long recordings lie in blobs, and sound of sensors that keep none was taken out.
    let sound = Recording::decode(body.as_slice()).map(|recording| recording.audio);
    let sound = sound.ok().filter(|audio| letter.kind == RECORDING_KIND && !audio.is_empty());
    let sound = sound.ok_or_else(|| Problem::not_found(format!("dead letter {id} has no sound in it")))?;
    let media_type = sniff(&sound).map_or("application/octet-stream", |format| format.media_type());
    Ok(([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "private, no-store")], sound))
}

/// Send a dead letter through its group again.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/{id}/replay", tag = "dead letters", operation_id = "replay_dead_letter",
    params(("id" = String, Path, description = "The letter's id")),
    responses(
        (status = 202, description = "It goes through its group again; what it is about is `accepted` again"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "No such letter", body = Problem),
        (status = 409, description = "This server has no such group", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn replay_letter(
    principal: Principal,
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    principal.may_operate()?;
    let mut tx = api.db.write().await?;
    let found = replay(&mut tx, &id).await.map_err(|error| match error {
        StoreError::Refused(why) => Problem::conflict(why),
        other => other.into(),
    })?;
    if !found {
        return Err(no_such(&id));
    }
    tx.commit().await?;
    Ok(StatusCode::ACCEPTED)
}

/// Forget a dead letter, with the audio that it holds.
#[utoipa::path(
    delete, path = "/api/v1/dead-letters/{id}", tag = "dead letters", operation_id = "drop_dead_letter",
    params(("id" = String, Path, description = "The letter's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "No such letter", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn delete_letter(
    principal: Principal,
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    principal.may_operate()?;
    let mut tx = api.db.write().await?;
    if !drop_letter(&mut tx, &id).await? {
        return Err(no_such(&id));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
