//! `GET .../features`: the range query; `GET .../gaps`: what was not heard.

use antiphon_identity::Principal;
use antiphon_platform::clock::Micros;
use antiphon_platform::db::ReadTransaction;
use antiphon_platform::http::{Params, Problem, decode_cursor, encode_cursor};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::Answer;
use super::caching::Caching;
use super::format::{Format, gap_value};
use super::heard::gaps;
use super::request::{Request, known};
use super::stream::{self, Page};
use super::{Api, open, schemas};
use crate::descriptors::Known;
use crate::store::{self, SourceKind};

/// Rows of a JSON page: at most, and when nothing is said.
const LIMIT: (u32, u32) = (100_000, 10_000);

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(of_sensor)).routes(routes!(of_song)).routes(routes!(sensor_gaps))
}

/// One page of a range query.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct FeaturePage {
    /// What was asked.
    source: SourceName,
    /// Start of the range: UTC, of a song seconds.
    #[schema(example = "2026-05-01T00:00:00.000000Z")]
    from: Value,
    /// End of the range, not part of it.
    #[schema(example = "2026-05-01T01:00:00.000000Z")]
    to: Value,
    /// The resolution asked for, or chosen.
    #[schema(example = "1m")]
    resolution: String,
    /// Hash of all that is stored of the source.
    #[schema(example = "8f3a61c2d07be945")]
    revision: String,
    /// What the values of each row are.
    columns: Vec<ColumnInfo>,
    /// A row for each bucket (or frame): time, coverage, values or null.
    #[schema(schema_with = schemas::rows)]
    rows: Vec<Vec<Value>>,
    /// What was not heard, from the first bucket of the page to that of the next.
    gaps: Vec<Gap>,
    /// What to send as `cursor` for the next page; null when this is the last.
    next: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SourceName {
    /// `sensor` or `song`.
    kind: String,
    /// Its id.
    id: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ColumnInfo {
    /// `time`, `coverage`, `level.a`, `level.a:l90`, `mel.17`, `level.a@1`.
    name: String,
    /// The algorithm.
    feature: Option<String>,
    /// The algorithm's version.
    version: Option<u32>,
    /// The unit of the values.
    unit: Option<String>,
    /// What was merged over the bucket.
    stat: Option<String>,
}

/// A time that was not heard.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Gap {
    /// When it begins: UTC, of a song seconds.
    #[schema(example = "2026-05-01T00:10:00.000000Z")]
    from: Value,
    /// When it ends.
    #[schema(example = "2026-05-01T00:10:30.000000Z")]
    to: Value,
}

/// One page of gaps.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct GapPage {
    /// In order; they do not touch.
    #[schema(value_type = Vec<Gap>)]
    items: Vec<Value>,
    /// What to send as `cursor` for the next page; null when this is the last.
    next: Option<String>,
}

/// Features of a sensor by time range.
///
/// Values of `[from, to)` in buckets that align to the Unix epoch (`1h` and `1d` to the local time of `tz`). A bucket
/// without audio has no row unless `fill=gaps`; a value that does not exist is null. The answer is one snapshot,
/// named by `revision`; JSON comes in pages, tables (CSV, Arrow, Parquet) whole.
#[utoipa::path(
    get, path = "/api/v1/sensors/{sensor}/features", tag = "features", operation_id = "get_sensor_features",
    params(
        ("sensor" = String, Path, description = "The sensor's id"),
        ("from" = String, Query, description = "Start of the range, RFC 3339 with an offset", example = "2026-05-01T00:00:00Z"),
        ("to" = String, Query, description = "End of the range, not part of it", example = "2026-05-01T01:00:00Z"),
        ("features" = Option<String>, Query, description = "Comma list of algorithms (`level`), outputs (`level.a`), families or sets (`soundscape`); default `level.a`"),
        ("resolution" = Option<String>, Query, description = "`frame`, `1s`, `10s`, `1m`, `10m`, `1h`, `1d` or `auto` (default): the finest with at most 2,000 rows"),
        ("stat" = Option<String>, Query, description = "Comma list such as `leq,l90`; an output that stores none of them comes with its default. `level.a` also has the noise indicators `lday`, `levening`, `lnight` and `lden` of Directive 2002/49/EC, Annex I, of days of `tz` and so at `1d` only: day is 07 to 19, evening 19 to 23, night the rest of the calendar day; a level is null unless three quarters of its period were heard, `lden` unless all three are there"),
        ("fill" = Option<String>, Query, description = "`gaps`: buckets without audio have rows, with coverage 0 and nulls"),
        ("tz" = Option<String>, Query, description = "IANA zone to whose local time `1h` and `1d` align; default UTC"),
        ("versions" = Option<String>, Query, description = "`all`: every version of an algorithm has columns of its own"),
        ("revision" = Option<String>, Query, description = "Answer only while this is the revision: else 410"),
        ("format" = Option<String>, Query, description = "`json` (default, in pages), or the same rows as one table: `csv`, `arrow` (Arrow IPC stream) or `parquet`; also by `Accept`. Arrow and Parquet tell units, versions and gaps in their metadata"),
        ("limit" = Option<u32>, Query, description = "Rows of a JSON page, 1 to 100,000; default 10,000"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "The rows, in the format asked for", content((FeaturePage = "application/json"), ("text/csv"), ("application/vnd.apache.arrow.stream"), ("application/vnd.apache.parquet")), headers(("ETag" = String, description = "Changes with the query and the revision"))),
        (status = 304, description = "As `If-None-Match` knows it"),
        (status = 400, description = "A parameter is wrong; the problem names it", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "No such sensor", body = Problem),
        (status = 410, description = "The revision is not current any more", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn of_sensor(
    principal: Principal,
    State(api): State<Api>,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tx = open(&api, &principal, SourceKind::Sensor, &sensor).await?;
    answer(&api, tx, SourceKind::Sensor, &sensor, query.as_deref(), &headers).await
}

/// Features of a song by time range.
///
/// As for sensors, but `from` and `to` are seconds from the song's start and may be left out, `time` is seconds, and
/// buckets align to 0.
#[utoipa::path(
    get, path = "/api/v1/songs/{song}/features", tag = "features", operation_id = "get_song_features",
    params(
        ("song" = String, Path, description = "The song's id"),
        ("from" = Option<f64>, Query, description = "Start of the range in seconds; default 0"),
        ("to" = Option<f64>, Query, description = "End of the range in seconds; default the song's end"),
        ("features" = Option<String>, Query, description = "Comma list of algorithms (`level`), outputs (`level.a`), families or sets (`soundscape`); default `level.a`"),
        ("resolution" = Option<String>, Query, description = "`frame`, `1s`, `10s`, `1m`, `10m`, `1h`, `1d` or `auto` (default): the finest with at most 2,000 rows"),
        ("stat" = Option<String>, Query, description = "Comma list such as `leq,l90`; an output that stores none of them comes with its default"),
        ("fill" = Option<String>, Query, description = "`gaps`: buckets without audio have rows, with coverage 0 and nulls"),
        ("versions" = Option<String>, Query, description = "`all`: every version of an algorithm has columns of its own"),
        ("revision" = Option<String>, Query, description = "Answer only while this is the revision: else 410"),
        ("format" = Option<String>, Query, description = "`json` (default, in pages), or the same rows as one table: `csv`, `arrow` (Arrow IPC stream) or `parquet`; also by `Accept`. Arrow and Parquet tell units, versions and gaps in their metadata"),
        ("limit" = Option<u32>, Query, description = "Rows of a JSON page, 1 to 100,000; default 10,000"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "The rows, in the format asked for", content((FeaturePage = "application/json"), ("text/csv"), ("application/vnd.apache.arrow.stream"), ("application/vnd.apache.parquet")), headers(("ETag" = String, description = "Changes with the query and the revision"))),
        (status = 304, description = "As `If-None-Match` knows it"),
        (status = 400, description = "A parameter is wrong; the problem names it", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "No such song", body = Problem),
        (status = 410, description = "The revision is not current any more", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn of_song(
    principal: Principal,
    State(api): State<Api>,
    Path(song): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tx = open(&api, &principal, SourceKind::Song, &song).await?;
    answer(&api, tx, SourceKind::Song, &song, query.as_deref(), &headers).await
}

async fn answer(
    api: &Api,
    mut tx: ReadTransaction,
    kind: SourceKind,
    source: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::parse(query, known(kind))?;
    let algorithms = Known::for_names(&mut tx, params.list("features")?.unwrap_or_default().into_iter()).await?;
    let request = Request::from_params(kind, source, &params, &algorithms)?;
    let format = Format::choose(&params, headers)?;
    let limit = params.limit_up_to(LIMIT.0, LIMIT.1)?;
    let cursor: Option<Micros> = decode_cursor(&params)?;
    let now = api.clock.now();
    let mut answer = Answer::prepare(&mut tx, &request, now).await?;
    let columns: String = answer.columns().iter().map(|column| format!("{} {};", column.name, column.unit)).collect();
    let caching = Caching {
        path: source,
        params: &params,
        known: known(kind),
        format,
        revision: answer.revision(),
        details: &columns,
        end: (kind == SourceKind::Sensor).then_some(answer.range().1),
        tells_gaps: true,
        now,
        is_public: api.is_public,
    };
    let caching = caching.headers()?;
    if let Some(response) = caching.not_modified(headers) {
        return Ok(response);
    }
    let mut start = answer.range().0;
    if let (Some(cursor), Format::Json) = (cursor, format) {
        answer.skip_to(cursor)?;
        start = start.max(cursor);
    }
    let page = Page { answer, format, source: source.to_owned(), limit, start };
    let body = stream::body(api, tx, page).await?;
    Ok(caching.put_on(format.respond(source, body)))
}

/// What was not heard of a sensor, never later than now.
#[utoipa::path(
    get, path = "/api/v1/sensors/{sensor}/gaps", tag = "features", operation_id = "get_sensor_gaps",
    params(
        ("sensor" = String, Path, description = "The sensor's id"),
        ("from" = String, Query, description = "Start of the range, RFC 3339 with an offset", example = "2026-05-01T00:00:00Z"),
        ("to" = String, Query, description = "End of the range, not part of it", example = "2026-05-02T00:00:00Z"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = GapPage, headers(("ETag" = String, description = "Changes with the query and the revision"))),
        (status = 304, description = "As `If-None-Match` knows it"),
        (status = 400, description = "A parameter is wrong; the problem names it", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "No such sensor", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn sensor_gaps(
    principal: Principal,
    State(api): State<Api>,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    const KNOWN: &[&str] = &["from", "to", "limit", "cursor"];
    let mut tx = open(&api, &principal, SourceKind::Sensor, &sensor).await?;
    let params = Params::parse(query.as_deref(), KNOWN)?;
    let (from, to) = params.time_range()?;
    let limit = params.limit()?;
    let after: Option<Micros> = decode_cursor(&params)?;
    let now = api.clock.now();
    let source = store::source(&mut tx, SourceKind::Sensor, &sensor).await?;
    let caching = Caching {
        path: &format!("{sensor}/gaps"),
        params: &params,
        known: KNOWN,
        format: Format::Json,
        revision: source.as_ref().map(|source| source.revision).unwrap_or_default(),
        details: "",
        end: Some(to),
        tells_gaps: true,
        now,
        is_public: api.is_public,
    };
    let caching = caching.headers()?;
    if let Some(response) = caching.not_modified(&headers) {
        return Ok(response);
    }
    let spans = match &source {
        Some(source) => store::spans(&mut tx, source.id, from, to).await?,
        None => Vec::new(),
    };
    let mut gaps = gaps(&spans, from, to, Some(now - now.rem_euclid(antiphon_platform::clock::SECOND)));
    gaps.retain(|gap| after.is_none_or(|after| gap.start > after));
    let next = gaps.get(limit).and(gaps.get(limit - 1)).map(|last| encode_cursor(&last.start));
    gaps.truncate(limit);
    let items = gaps.into_iter().map(|gap| gap_value(SourceKind::Sensor, gap)).collect();
    Ok(caching.put_on(Json(GapPage { items, next }).into_response()))
}
