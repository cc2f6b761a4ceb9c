//! The routes of recordings: adding, following, listing and playing them.

use std::sync::Arc;
use std::time::Duration;

use antiphon_audio::{SNIFF_BYTES, sniff};
use antiphon_identity::Principal;
use antiphon_platform::blobs::{BlobError, Blobs, collect};
use antiphon_platform::clock::{Micros, duration};
use antiphon_platform::db::Reader;
use antiphon_platform::http::layers::trace_context;
use antiphon_platform::http::ranges::serve_blob;
use antiphon_platform::http::{Page, Params, Problem, decode_cursor, read_json, time};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout_at};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::accept::{Acceptor, Offer};
use super::audio_key;
use super::offered::{LEAD_IN_SECONDS, Offered, RecordingRequest, check_lead_in, check_start};
use super::representation::RecordingView;
use super::upload::{Uploads, content_length, in_pieces};
use crate::ids::RecordingId;
use crate::sensors::{self, Directory, Known};
use crate::store::{Recording, SourceKind, Status, recording, recordings_overlapping, source};

/// How long a reader who waits for a recording gives its row to appear.
const ROW_APPEARS: Duration = Duration::from_secs(1);

/// Least time between two looks at a recording that somebody waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// What adding recordings needs.
#[derive(Clone)]
pub struct AcceptApi {
    /// Publishes them.
    pub acceptor: Acceptor,
    /// Which sensors there are.
    pub directory: Directory,
    /// For the nearest name of a sensor that does not exist.
    pub reader: Reader,
    /// Reads bodies.
    pub uploads: Uploads,
}

/// What following and listing recordings needs.
#[derive(Clone)]
pub struct ReadApi {
    /// Where they are.
    pub reader: Reader,
}

/// What playing recordings needs.
#[derive(Clone)]
pub struct AudioApi {
    /// Where their rows are.
    pub reader: Reader,
    /// Where their audio is.
    pub blobs: Arc<dyn Blobs>,
}

/// The routes that add recordings.
pub fn accept_routes(api: AcceptApi) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(add)).routes(routes!(add_json)).with_state(api)
}

/// The routes that follow and list recordings; role `query` serves them too.
pub fn read_routes(api: ReadApi) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(list)).with_state(api)
}

/// The route that plays recordings.
pub fn audio_routes(api: AudioApi) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(audio)).with_state(api)
}

/// A recording that was accepted: it survives a crash of everything, and takes effect once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct AcceptedView {
    /// Its id, a function of sensor, start, lead-in and bytes.
    #[schema(example = "r4kfuqejpza7l557ib35s4o7ogduf3xjo")]
    id: String,
    /// The sensor.
    #[schema(example = "roof")]
    sensor: String,
    /// When its first sample after the lead-in was heard, UTC.
    #[schema(example = "2026-05-01T00:00:00.000000Z")]
    start: String,
    /// Always `accepted`.
    #[schema(example = "accepted")]
    status: &'static str,
    /// Whether the same was accepted before. Information only: a repeat has no second effect.
    duplicate: bool,
}

/// Add a recording of a sensor: the body is one audio file of any format that is decoded, found by its content.
#[utoipa::path(
    post, path = "/api/v1/sensors/{sensor}/recordings", tag = "recordings", operation_id = "add_recording",
    params(
        ("sensor" = String, Path, description = "The sensor's id"),
        ("start" = String, Query, description = "When the first sample after the lead-in was heard: RFC 3339 with an offset"),
        ("lead_in" = Option<f64>, Query, description = "Seconds at the front of the body that were sent before and yield nothing: 0 to 5, at most six decimals; default 0"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The bytes of an audio file of any format that is decoded, told by its content"),
    responses(
        (status = 202, description = "Accepted: durable, and sending it again is harmless", body = AcceptedView, headers(("Location" = String, description = "Where it can be followed"))),
        (status = 400, description = "A parameter is wrong or the body is empty", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key may not add to this sensor", body = Problem),
        (status = 404, description = "There is no such sensor", body = Problem),
        (status = 413, description = "The body is over the limit", body = Problem),
        (status = 415, description = "The bytes are no audio that is decoded", body = Problem),
        (status = 503, description = "Not accepted now; send it again after Retry-After", body = Problem),
    )
)]
async fn add(
    principal: Principal,
    State(api): State<AcceptApi>,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, [(header::HeaderName, String); 1], Json<AcceptedView>), Problem> {
    principal.may_add_to(&sensor)?;
    let sensor = api.sensor(&sensor).await?;
    let params = Params::parse(query.as_deref(), &["start", "lead_in"])?;
    let start = check_start("start", params.required_time("start")?, api.acceptor.clock.now())?;
    let lead_in = check_lead_in(params.seconds("lead_in", 0..=LEAD_IN_SECONDS)?.unwrap_or(0))?;
    let upload = api.uploads.read(&headers, body).await.map_err(in_pieces)?;
    api.accept(&sensor, Offered { start, lead_in, audio: upload.audio.clone() }, &headers).await
}

/// Add a recording of a sensor as JSON.
#[utoipa::path(
    post, path = "/api/v1/recordings", tag = "recordings", operation_id = "add_recording_as_json", request_body = RecordingRequest,
    responses(
        (status = 202, description = "Accepted: durable, and sending it again is harmless", body = AcceptedView, headers(("Location" = String, description = "Where it can be followed"))),
        (status = 400, description = "A field is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key may not add to this sensor", body = Problem),
        (status = 404, description = "There is no such sensor", body = Problem),
        (status = 413, description = "The audio is over the limit", body = Problem),
        (status = 415, description = "The body is no JSON, or the bytes are no audio that is decoded", body = Problem),
        (status = 503, description = "Not accepted now; send it again after Retry-After", body = Problem),
    )
)]
async fn add_json(
    principal: Principal,
    State(api): State<AcceptApi>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, [(header::HeaderName, String); 1], Json<AcceptedView>), Problem> {
    // Whoever may add to no sensor at all learns that before the body is read.
    if !matches!(principal, Principal::Sensor(_)) {
        principal.may_add_to("")?;
    }
    let limit = json_limit(api.uploads.limit());
    // The text and the decoded bytes are in memory together.
    let _memory = api.uploads.reserve(content_length(&headers).unwrap_or(limit).min(limit)).await?;
    let request: RecordingRequest = read_json(&headers, body, limit).await.map_err(|problem| match problem.status {
        413 => in_pieces(Problem::too_large(api.uploads.limit() as u64)),
        _ => problem,
    })?;
    let sensor_id = request.sensor_id.as_deref().ok_or_else(no_sensor_id)?;
    principal.may_add_to(sensor_id)?;
    let sensor = api.sensor(sensor_id).await?;
    let offered = request.check(api.acceptor.clock.now(), api.uploads.limit()).map_err(in_pieces)?;
    api.accept(&sensor, offered, &headers).await
}

fn no_sensor_id() -> Problem {
    Problem::bad_request("bad-field", "missing field `sensor_id`").field("sensor_id")
}

impl AcceptApi {
    async fn sensor(&self, sensor: &str) -> Result<Arc<Known>, Problem> {
        match self.directory.get(sensor).await? {
            Some(known) => Ok(known),
            None => Err(sensors::unknown(&self.reader, sensor).await),
        }
    }

    async fn accept(
        &self,
        sensor: &Known,
        offered: Offered,
        headers: &HeaderMap,
    ) -> Result<(StatusCode, [(header::HeaderName, String); 1], Json<AcceptedView>), Problem> {
        let Offered { start, lead_in, audio } = offered;
        let arrived = self.acceptor.clock.now();
        let offer = Offer { start, lead_in, audio, arrived, title: String::new(), trace: trace_context(headers) };
        let accepted = self.acceptor.accept(sensor, offer).await?;
        let view = AcceptedView {
            id: accepted.id.to_string(),
            sensor: sensor.id.clone(),
            start: time::format(start),
            status: "accepted",
            duplicate: accepted.duplicate,
        };
        let location = format!("/api/v1/recordings/{}", view.id);
        Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(view)))
    }
}

/// How long a JSON body may be that holds `limit` bytes: a third more in base64, a little for encoders that
/// escape slashes, and the other fields.
fn json_limit(limit: usize) -> usize {
    limit.div_ceil(3) * 4 / 16 * 17 + 64 * 1024
}

/// How far a recording has come.
#[utoipa::path(
    get, path = "/api/v1/recordings/{id}", tag = "recordings", operation_id = "get_recording",
    params(
        ("id" = String, Path, description = "The recording's id"),
        ("wait" = Option<f64>, Query, description = "Seconds to wait for it to be stored or failed: 0 to 30; default 0"),
    ),
    responses(
        (status = 200, body = RecordingView),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 404, description = "There is no such recording, or not one of the key's sensor", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn get(
    principal: Principal,
    State(api): State<ReadApi>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<RecordingView>, Problem> {
    let id: RecordingId = id.parse().map_err(|_| unknown_recording())?;
    let wait = Params::parse(query.as_deref(), &["wait"]).and_then(|params| params.seconds("wait", 0..=30));
    let wait = match wait {
        Ok(wait) => duration(wait.unwrap_or(0)),
        Err(problem) => {
            visible(&api.reader, &principal, id).await?.ok_or_else(unknown_recording)?;
            return Err(problem);
        }
    };
    let found = settled(&api.reader, &principal, id, wait).await?.ok_or_else(unknown_recording)?;
    Ok(Json(found.into()))
}

/// The recording as `principal` may see it, waiting until it is stored or failed.
async fn settled(
    reader: &Reader,
    principal: &Principal,
    id: RecordingId,
    wait: Duration,
) -> Result<Option<Recording>, Problem> {
    // A handle of its own remembers what it was told of, so no change between two looks is missed.
    let reader = reader.clone();
    let begin = Instant::now();
    loop {
        let looked = Instant::now();
        let found = visible(&reader, principal, id).await?;
        let patience = match &found {
            Some(found) if found.status != Status::Accepted => return Ok(Some(found.clone())),
            Some(_) => wait,
            None => wait.min(ROW_APPEARS),
        };
        let deadline = begin + patience;
        if looked >= deadline {
            return Ok(found);
        }
        // Whether something changed or the time is up: one more look tells.
        let _ = timeout_at(deadline, reader.changed()).await;
        sleep_until(deadline.min(looked + LOOK_AGAIN)).await;
    }
}

/// A recording of a sensor, unless it belongs to another sensor than the one whose key asks: to that key it is as
/// unknown as one that does not exist.
async fn visible(reader: &Reader, principal: &Principal, id: RecordingId) -> Result<Option<Recording>, Problem> {
    let found = recording(&mut reader.read().await?, id.as_bytes()).await?;
    Ok(found.filter(|found| found.kind == SourceKind::Sensor && principal.may_read_sensor(&found.source).is_ok()))
}

fn unknown_recording() -> Problem {
    Problem::not_found("there is no such recording")
        .hint(Some("GET /api/v1/sensors/{sensor}/recordings?from&to lists what was heard"))
}

/// What a sensor has heard: its recordings that overlap a range, oldest first.
#[utoipa::path(
    get, path = "/api/v1/sensors/{sensor}/recordings", tag = "recordings", operation_id = "list_recordings",
    params(
        ("sensor" = String, Path, description = "The sensor's id"),
        ("from" = String, Query, description = "Begin of the range: RFC 3339 with an offset"),
        ("to" = String, Query, description = "End of the range, itself excluded"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<RecordingView>),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key belongs to another sensor", body = Problem),
        (status = 404, description = "There is no such sensor", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(api): State<ReadApi>,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<RecordingView>>, Problem> {
    principal.may_read_sensor(&sensor)?;
    let mut transaction = api.reader.read().await?;
    if !sensors::is_readable(&mut transaction, &sensor).await? {
        return Err(sensors::unknown(&api.reader, &sensor).await);
    }
    let params = Params::parse(query.as_deref(), &["from", "to", "limit", "cursor"])?;
    let (from, to) = params.time_range()?;
    let limit = params.limit()?;
    let after = match decode_cursor::<(Micros, String)>(&params)? {
        Some((start, id)) => {
            let id: RecordingId = id.parse().map_err(|_| Problem::bad_field("cursor", "cursor is none of ours"))?;
            Some((start, *id.as_bytes()))
        }
        None => None,
    };
    let found = match source(&mut transaction, SourceKind::Sensor, &sensor).await? {
        Some(source) => {
            let rows = u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1);
            recordings_overlapping(&mut transaction, &source, from, to, after, rows).await?
        }
        None => Vec::new(),
    };
    let page = Page::of(found, limit, |last| (last.start, RecordingId::from(last.name).to_string()));
    Ok(Json(Page { items: page.items.into_iter().map(Into::into).collect(), next: page.next }))
}

/// Where to look when audio is not there.
const RETENTION_SAYS: &str = "its retention says for how many days audio is kept, and whether only around alerts";

/// The audio of a recording, whole or by range, while the sensor's retention keeps it.
#[utoipa::path(
    get, path = "/api/v1/recordings/{id}/audio", tag = "recordings", operation_id = "get_recording_audio",
    params(
        ("id" = String, Path, description = "The recording's id"),
        ("Range" = Option<String>, Header, description = "A range of bytes"),
    ),
    responses(
        (status = 200, description = "The bytes as they were sent", body = Vec<u8>, content_type = "audio/*"),
        (status = 206, description = "The range asked for", body = Vec<u8>, content_type = "audio/*"),
        (status = 304, description = "The client has it already"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 404, description = "There is no such recording, or its audio is not kept", body = Problem),
        (status = 416, description = "The range lies beyond the end", body = Problem),
        (status = 503, description = "The blob store or the database cannot be used now", body = Problem),
    )
)]
async fn audio(
    principal: Principal,
    State(api): State<AudioApi>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id: RecordingId = id.parse().map_err(|_| unknown_recording())?;
    let found = visible(&api.reader, &principal, id).await?.ok_or_else(unknown_recording)?;
    Params::parse(query.as_deref(), &[])?;
    let not_kept = || Problem::not_found(format!("sensor {} does not keep this recording's audio", found.source));
    if !sensors::keeps_audio(&mut api.reader.read().await?, &found.source).await? {
        return Err(not_kept().hint(Some(RETENTION_SAYS)));
    }
    let key = audio_key(id);
    let head = match api.blobs.get(&key, Some(0..SNIFF_BYTES as u64)).await {
        Ok(stream) => collect(stream).await?,
        Err(BlobError::NotFound(_)) => return Err(not_kept().hint(Some(RETENTION_SAYS))),
        Err(error) => return Err(error.into()),
    };
    let media_type = sniff(&head).map_or("application/octet-stream", |format| format.media_type());
    let etag = HeaderValue::from_str(&format!("\"{id}\"")).map_err(|_| Problem::internal())?;
    let cache = HeaderValue::from_static("private, max-age=0, must-revalidate");
    serve_blob(api.blobs.as_ref(), &key, &headers, media_type, etag, cache).await
}
