//! `GET .../annotations`, and `GET .../summary` of a song.

use std::sync::Arc;

use antiphon_features::descriptor::Kind;
use antiphon_identity::Principal;
use antiphon_platform::clock::Micros;
use antiphon_platform::db::ReadTransaction;
use antiphon_platform::http::{Params, Problem, decode_cursor, encode_cursor, nearest};
use antiphon_tables::{Batch, Column, Field, Kind as Type, Table, TableError, Writer};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::annotations::{Annotation, Position, Scan, Wanted};
use super::caching::Caching;
use super::format::{Format, number, source_value, time_kind, time_value};
use super::request::range;
use super::select::full_name;
use super::{Api, open, schemas};
use crate::descriptors::{Known, annotation_type};
use crate::recordings::TITLE;
use crate::store::{self, Source, SourceKind, SummaryValue};

const KNOWN: &[&str] = &["from", "to", "types", "min_confidence", "revision", "format", "limit", "cursor"];

/// Annotations of one table at most; what is asked for beyond it is refused rather than cut.
const TABLE_LIMIT: usize = 1_000_000;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(of_sensor)).routes(routes!(of_song)).routes(routes!(summary))
}

/// One annotation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct AnnotationInfo {
    /// When it begins: UTC, of a song seconds.
    #[schema(example = "2026-05-01T00:00:12.500000Z")]
    from: Value,
    /// When it ends.
    #[schema(example = "2026-05-01T00:00:17.250000Z")]
    to: Value,
    /// What kind of thing it is.
    #[serde(rename = "type")]
    #[schema(example = "silence")]
    kind: String,
    /// What it says.
    label: String,
    /// A number that belongs to it.
    #[schema(value_type = Option<f32>, example = -72.5)]
    value: Value,
    /// How sure the algorithm is, 0 to 1.
    #[schema(value_type = Option<f32>)]
    confidence: Value,
    /// The algorithm.
    #[schema(example = "silence")]
    algorithm: String,
    /// The algorithm's version.
    version: u32,
}

/// One page of annotations.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct AnnotationPage {
    /// In the order of their beginnings.
    items: Vec<AnnotationInfo>,
    /// What to send as `cursor` for the next page; null when this is the last.
    next: Option<String>,
}

/// One value of a whole song.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SummaryInfo {
    /// What it is.
    #[schema(example = "loudness.integrated")]
    name: String,
    /// A number, a word, or null.
    #[schema(schema_with = schemas::summary_value)]
    value: Value,
    /// Its unit.
    #[schema(example = "LUFS")]
    unit: &'static str,
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The values of a whole song.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SummaryPage {
    /// One for each summary output there is.
    items: Vec<SummaryInfo>,
    /// Always null: there is one page.
    next: Option<String>,
}

/// What has a beginning, an end and a label, of a sensor: those that overlap the range, whole.
#[utoipa::path(
    get, path = "/api/v1/sensors/{sensor}/annotations", tag = "annotations", operation_id = "get_sensor_annotations",
    params(
        ("sensor" = String, Path, description = "The sensor's id"),
        ("from" = String, Query, description = "Start of the range, RFC 3339 with an offset", example = "2026-05-01T00:00:00Z"),
        ("to" = String, Query, description = "End of the range, not part of it", example = "2026-05-01T01:00:00Z"),
        ("types" = Option<String>, Query, description = "Comma list of types, such as `silence`; default all"),
        ("min_confidence" = Option<f64>, Query, description = "Only those at least as sure, 0 to 1"),
        ("revision" = Option<String>, Query, description = "Answer only while this is the revision: else 410"),
        ("format" = Option<String>, Query, description = "`json` (default, in pages), or all as one table: `csv`, `arrow` (Arrow IPC stream) or `parquet`; also by `Accept`"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "The annotations, in the format asked for", content((AnnotationPage = "application/json"), ("text/csv"), ("application/vnd.apache.arrow.stream"), ("application/vnd.apache.parquet")), headers(("ETag" = String, description = "Changes with the query and the revision"))),
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

/// What has a beginning, an end and a label, of a song; times are seconds from its start.
#[utoipa::path(
    get, path = "/api/v1/songs/{song}/annotations", tag = "annotations", operation_id = "get_song_annotations",
    params(
        ("song" = String, Path, description = "The song's id"),
        ("from" = Option<f64>, Query, description = "Start of the range in seconds; default 0"),
        ("to" = Option<f64>, Query, description = "End of the range in seconds; default the song's end"),
        ("types" = Option<String>, Query, description = "Comma list of types, such as `silence`; default all"),
        ("min_confidence" = Option<f64>, Query, description = "Only those at least as sure, 0 to 1"),
        ("revision" = Option<String>, Query, description = "Answer only while this is the revision: else 410"),
        ("format" = Option<String>, Query, description = "`json` (default, in pages), or all as one table: `csv`, `arrow` (Arrow IPC stream) or `parquet`; also by `Accept`"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "The annotations, in the format asked for", content((AnnotationPage = "application/json"), ("text/csv"), ("application/vnd.apache.arrow.stream"), ("application/vnd.apache.parquet")), headers(("ETag" = String, description = "Changes with the query and the revision"))),
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
    name: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::parse(query, KNOWN)?;
    let (from, to) = range(kind, &params)?;
    let asked = params.list("types")?.unwrap_or_default();
    let algorithms = Known::for_names(&mut tx, asked.iter().copied()).await?;
    let types = types(asked, &algorithms)?;
    let min_confidence = params.number("min_confidence", 0.0..=1.0)?;
    let format = Format::choose(&params, headers)?;
    let limit = match format {
        Format::Json => params.limit()?,
        Format::Table(_) => params.limit().map(|_| TABLE_LIMIT)?,
    };
    let cursor: Option<Position> = decode_cursor(&params)?;
    let source = store::source(&mut tx, kind, name).await?;
    let revision = source.as_ref().map(|source| source.revision).unwrap_or_default();
    let caching = Caching {
        path: &format!("{name}/annotations"),
        params: &params,
        known: KNOWN,
        format,
        revision,
        details: "",
        end: if kind == SourceKind::Sensor { to } else { None },
        tells_gaps: false,
        now: api.clock.now(),
        is_public: api.is_public,
    };
    let caching = caching.headers()?;
    if let Some(response) = caching.not_modified(headers) {
        return Ok(response);
    }
    let after = cursor.filter(|_| format == Format::Json);
    let wanted = Wanted { from, to: to.unwrap_or(Micros::MAX), types, min_confidence, after };
    let mut found = match &source {
        Some(source) => collect(&mut tx, source, wanted, limit + 1).await?,
        None => Vec::new(),
    };
    drop(tx);
    if let Format::Table(table_format) = format {
        if found.len() > limit {
            let detail = format!("these are more than {TABLE_LIMIT} annotations; ask for a shorter range");
            return Err(Problem::bad_field("to", detail));
        }
        let facts = vec![("source", source_value(kind, name)), ("revision", json!(revision.to_string()))];
        let table = Arc::new(Table { fields: fields(kind), facts });
        let mut writer = Writer::new(table_format, &table)?;
        let mut bytes = writer.write(batch(&table, &found)?)?;
        bytes.extend(writer.finish()?);
        return Ok(caching.put_on(format.respond(&format!("{name}-annotations"), Body::from(bytes))));
    }
    let next = (found.len() > limit).then(|| encode_cursor(&found[limit - 1].position()));
    found.truncate(limit);
    let items = found.into_iter().map(|annotation| info(kind, annotation)).collect();
    Ok(caching.put_on(Json(AnnotationPage { items, next }).into_response()))
}

/// Up to `most` annotations, in order.
async fn collect(
    tx: &mut ReadTransaction,
    source: &Source,
    wanted: Wanted,
    most: usize,
) -> Result<Vec<Annotation>, Problem> {
    let mut scan = Scan::begin(tx, source, wanted).await?;
    let mut found = Vec::new();
    while found.len() < most {
        let more = scan.next(tx, source).await?;
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.truncate(most);
    Ok(found)
}

fn types(asked: Vec<&str>, algorithms: &Known) -> Result<Vec<String>, Problem> {
    let known: Vec<String> = algorithms
        .newest()
        .flat_map(|descriptor| descriptor.outputs.iter().map(move |output| (descriptor, output)))
        .filter(|(_, output)| matches!(output.kind, Kind::Annotation { .. }))
        .map(|(descriptor, output)| annotation_type(descriptor, output))
        .chain([TITLE.to_owned()])
        .collect();
    if let Some(unknown) = asked.iter().find(|name| known.iter().all(|known| known != *name)) {
        let shown: String = unknown.chars().take(100).collect();
        return Err(Problem::bad_field(
            "types",
            format!("there is no type of annotation {shown:?}; there are {}", known.join(", ")),
        )
        .hint(nearest(unknown, known.iter().map(String::as_str)).map(str::to_owned)));
    }
    Ok(asked.into_iter().map(str::to_owned).collect())
}

fn info(kind: SourceKind, annotation: Annotation) -> AnnotationInfo {
    AnnotationInfo {
        from: time_value(kind, annotation.from),
        to: time_value(kind, annotation.to),
        kind: annotation.kind,
        label: annotation.label,
        value: number(annotation.value),
        confidence: number(annotation.confidence),
        algorithm: annotation.algorithm,
        version: annotation.version,
    }
}

/// The columns of a table of annotations.
fn fields(kind: SourceKind) -> Vec<Field> {
    let time = time_kind(kind);
    let columns = [
        ("from", time),
        ("to", time),
        ("type", Type::Text),
        ("label", Type::Text),
        ("value", Type::Value),
        ("confidence", Type::Value),
        ("algorithm", Type::Text),
        ("version", Type::Count),
    ];
    columns.into_iter().map(|(name, kind)| Field::new(name, kind)).collect()
}

/// Annotations as rows of the table of [`fields`].
fn batch(table: &Arc<Table>, annotations: &[Annotation]) -> Result<Batch, TableError> {
    let micros = |of: fn(&Annotation) -> Micros| Column::Micros(annotations.iter().map(of).collect());
    let texts = |of: fn(&Annotation) -> &String| Column::Texts(annotations.iter().map(|one| of(one).clone()).collect());
    table.batch(vec![
        micros(|one| one.from),
        micros(|one| one.to),
        texts(|one| &one.kind),
        texts(|one| &one.label),
        Column::values(annotations.iter().map(|one| one.value)),
        Column::values(annotations.iter().map(|one| one.confidence)),
        texts(|one| &one.algorithm),
        Column::Counts(annotations.iter().map(|one| one.version).collect()),
    ])
}

/// One value for the whole song of each summary output there is.
#[utoipa::path(
    get, path = "/api/v1/songs/{song}/summary", tag = "features", operation_id = "get_song_summary",
    params(("song" = String, Path, description = "The song's id")),
    responses(
        (status = 200, body = SummaryPage),
        (status = 400, description = "A parameter is wrong; there are none", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "No such song", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn summary(
    principal: Principal,
    State(api): State<Api>,
    Path(song): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<SummaryPage>, Problem> {
    let mut tx = open(&api, &principal, SourceKind::Song, &song).await?;
    Params::parse(query.as_deref(), &[])?;
    let stored = match store::source(&mut tx, SourceKind::Song, &song).await? {
        Some(source) => store::summaries(&mut tx, source.id).await?,
        None => Vec::new(),
    };
    let mut items = Vec::new();
    for descriptor in antiphon_features::registry() {
        for output in descriptor.outputs.iter().filter(|output| output.has_summary()) {
            let (value, reason) = match store::newest(&stored, (descriptor.name, output.name)) {
                Some(SummaryValue::Number(number)) => (json!(number), None),
                Some(SummaryValue::Text(text)) => (json!(text), None),
                Some(SummaryValue::Absent(reason)) => (Value::Null, Some(reason.clone())),
                None => (Value::Null, Some(String::from("not analysed, or not yet"))),
            };
            items.push(SummaryInfo { name: full_name(descriptor, output), value, unit: output.unit, reason });
        }
    }
    Ok(Json(SummaryPage { items, next: None }))
}
