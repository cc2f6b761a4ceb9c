//! The routes of sensors: making, reading, changing and deleting them.

use antiphon_identity::{Keys, Principal, Role, create_key, revoke_sensor};
use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::db::{Database, DbError, ReadTransaction, Reader};
use antiphon_platform::http::{Json as JsonBody, Page, Params, Problem, decode_cursor, time};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fields::{NewSensor, SensorChange};
use super::health::{Health, health};
use super::rows::{self, Sensor};
use super::{Directory, keys};
use crate::alerts;
use crate::descriptors::Known;
use crate::plan::{self, Choice};
use crate::store::retention::{Retention, delete_sensor};
use crate::store::{self, SourceKind};

/// What reading sensors needs.
#[derive(Clone)]
pub struct ReadApi {
    /// Where they are.
    pub reader: Reader,
    /// Now.
    pub clock: Clock,
}

/// What managing sensors needs.
#[derive(Clone)]
pub struct ManageApi {
    /// Where they are.
    pub database: Database,
    /// What the accept path of this process remembers of them.
    pub directory: Directory,
    /// What checks keys in this process.
    pub keys: Keys,
    /// Now.
    pub clock: Clock,
}

/// The routes that read sensors; role `query` serves them too.
pub fn read_routes(api: ReadApi) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(list)).with_state(api)
}

/// The routes that manage sensors and their keys.
pub fn manage_routes(api: ManageApi) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(change, delete))
        .routes(routes!(keys::create_sensor_key, keys::list_keys_of_sensor))
        .routes(routes!(keys::revoke_key_of_sensor))
        .with_state(api)
}

/// A sensor, and how it is doing.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SensorView {
    /// Its id.
    #[schema(example = "roof")]
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// The IANA zone whose days count for it; UTC without one.
    pub timezone: Option<String>,
    /// The level of a full-scale mean square of 1 in dB re 20 µPa.
    pub calibration: Option<f64>,
    /// What its audio is analysed by.
    pub plan: Vec<Choice>,
    /// The set that this plan is in this version of the server (`GET /api/v1/plans`), if it is one.
    #[schema(example = "default")]
    pub plan_set: Option<&'static str>,
    /// Raised by every change of plan or calibration.
    pub plan_version: u32,
    /// How long what is kept.
    pub retention: Retention,
    /// When it was made, UTC.
    pub created_at: String,
    /// When it was deleted; its data stays readable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// How it is doing.
    #[serde(flatten)]
    pub health: Health,
}

/// A new sensor with its first key, which is not shown again.
#[derive(Clone, PartialEq, Serialize, utoipa::ToSchema)]
struct NewSensorView {
    /// The sensor.
    #[serde(flatten)]
    sensor: SensorView,
    /// The secret with which the sensor sends.
    key: String,
    /// Names the key in lists and for revoking it.
    key_id: String,
}

async fn view(tx: &mut ReadTransaction, sensor: Sensor, now: Micros) -> Result<SensorView, DbError> {
    let health = health(tx, &sensor.id, sensor.timezone.as_deref(), now).await?;
    let plan = sensor.plans.current().clone();
    Ok(SensorView {
        id: sensor.id,
        name: sensor.name,
        latitude: sensor.latitude,
        longitude: sensor.longitude,
        timezone: sensor.timezone,
        calibration: plan.calibration,
        plan_set: plan::set_of(&plan.algorithms),
        plan: plan.algorithms,
        plan_version: plan.version,
        retention: sensor.retention,
        created_at: time::format(sensor.created_at),
        deleted_at: sensor.deleted_at.map(time::format),
        health,
    })
}

/// Make a sensor and its first key. A deleted sensor can be made again and goes on with its data.
#[utoipa::path(
    post, path = "/api/v1/sensors", tag = "sensors", operation_id = "create_sensor", request_body = NewSensor,
    responses(
        (status = 201, description = "The sensor, with a key that is not shown again", body = NewSensorView, headers(("Location" = String, description = "Where it can be read"))),
        (status = 400, description = "A field is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 409, description = "There is a sensor with this id", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn create(
    principal: Principal,
    State(api): State<ManageApi>,
    request: Result<JsonBody<NewSensor>, Problem>,
) -> Result<(StatusCode, [(header::HeaderName, String); 2], Json<NewSensorView>), Problem> {
    principal.may_operate()?;
    let JsonBody(request) = request?;
    let now = api.clock.now();
    let mut tx = api.database.write().await?;
    let present = rows::get(&mut tx, request.id()).await?;
    let exists = present.as_ref().is_some_and(|present| present.deleted_at.is_none());
    let again = present.is_some();
    let heard = is_heard(&mut tx, request.id()).await?;
    let sensor = request.into_sensor(now, present, heard, &Known::load(&mut tx).await?)?;
    if exists {
        return Err(Problem::conflict(format!("there is a sensor {} already", sensor.id)).field("id"));
    }
    if again {
        rows::update(&mut tx, &sensor).await?;
    } else {
        rows::insert(&mut tx, &sensor).await?;
    }
    let key = create_key(&mut tx, &api.clock, &Role::Sensor(sensor.id.clone())).await?;
    let sensor = view(&mut tx, sensor, now).await?;
    tx.commit().await?;
    api.directory.forget(&sensor.id);
    let headers = [
        (header::LOCATION, format!("/api/v1/sensors/{}", sensor.id)),
        (header::CACHE_CONTROL, String::from("no-store")),
    ];
    Ok((StatusCode::CREATED, headers, Json(NewSensorView { sensor, key: key.key, key_id: key.id })))
}

/// A sensor, and how it is doing.
#[utoipa::path(
    get, path = "/api/v1/sensors/{sensor}", tag = "sensors", operation_id = "get_sensor",
    params(("sensor" = String, Path, description = "The sensor's id")),
    responses(
        (status = 200, body = SensorView),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key belongs to another sensor", body = Problem),
        (status = 404, description = "There is no such sensor", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn get(
    principal: Principal,
    State(api): State<ReadApi>,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<SensorView>, Problem> {
    principal.may_read_sensor(&sensor)?;
    let mut tx = api.reader.read().await?;
    let Some(found) = rows::get(&mut tx, &sensor).await? else {
        drop(tx);
        return Err(super::unknown(&api.reader, &sensor).await);
    };
    Params::parse(query.as_deref(), &[])?;
    Ok(Json(view(&mut tx, found, api.clock.now()).await?))
}

/// The sensors that exist, by id, and how they are doing.
#[utoipa::path(
    get, path = "/api/v1/sensors", tag = "sensors", operation_id = "list_sensors",
    params(
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<SensorView>),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key may not list sensors", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(api): State<ReadApi>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<SensorView>>, Problem> {
    principal.may_read()?;
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = params.limit()?;
    let after: String = decode_cursor(&params)?.unwrap_or_default();
    let mut tx = api.reader.read().await?;
    let found = rows::list(&mut tx, &after, u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1)).await?;
    let page = Page::of(found, limit, |last: &Sensor| last.id.clone());
    let now = api.clock.now();
    let mut items = Vec::with_capacity(page.items.len());
    for sensor in page.items {
        items.push(view(&mut tx, sensor, now).await?);
    }
    Ok(Json(Page { items, next: page.next }))
}

/// Change a sensor: name, place, time zone, calibration, plan, retention. Calibration and plan count for audio that was heard
/// from now on; while no audio of the sensor has come, for all of it.
#[utoipa::path(
    patch, path = "/api/v1/sensors/{sensor}", tag = "sensors", operation_id = "change_sensor", request_body = SensorChange,
    params(("sensor" = String, Path, description = "The sensor's id")),
    responses(
        (status = 200, description = "The sensor as it is now", body = SensorView),
        (status = 400, description = "A field is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "There is no such sensor", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn change(
    principal: Principal,
    State(api): State<ManageApi>,
    Path(sensor): Path<String>,
    request: Result<JsonBody<SensorChange>, Problem>,
) -> Result<Json<SensorView>, Problem> {
    principal.may_operate()?;
    let now = api.clock.now();
    let mut tx = api.database.write().await?;
    let Some(mut found) = existing(&mut tx, &sensor).await? else {
        drop(tx);
        return Err(super::unknown(&api.database.reader(), &sensor).await);
    };
    let JsonBody(request) = request?;
    let heard = is_heard(&mut tx, &sensor).await?;
    request.apply(&mut found, now, heard, &Known::load(&mut tx).await?)?;
    rows::update(&mut tx, &found).await?;
    let view = view(&mut tx, found, now).await?;
    tx.commit().await?;
    api.directory.forget(&sensor);
    Ok(Json(view))
}

/// Delete a sensor and its keys. Its data stays readable, unless `data=true`: then its alerts go too.
#[utoipa::path(
    delete, path = "/api/v1/sensors/{sensor}", tag = "sensors", operation_id = "delete_sensor",
    params(
        ("sensor" = String, Path, description = "The sensor's id"),
        ("data" = Option<bool>, Query, description = "Whether its data goes too; default false"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "There is no such sensor", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn delete(
    principal: Principal,
    State(api): State<ManageApi>,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    principal.may_operate()?;
    let with_data = Params::parse(query.as_deref(), &["data"]).and_then(|params| params.flag("data"));
    let mut tx = api.database.write().await?;
    // Data that an earlier deletion left can still be deleted.
    let found = rows::get(&mut tx, &sensor).await?;
    let Some(mut found) = found.filter(|found| found.deleted_at.is_none() || matches!(with_data, Ok(true))) else {
        drop(tx);
        return Err(super::unknown(&api.database.reader(), &sensor).await);
    };
    if with_data? {
        delete_sensor(&mut tx, &sensor).await?;
        alerts::delete_of(&mut tx, &sensor).await?;
        rows::remove(&mut tx, &sensor).await?;
    } else {
        found.deleted_at = Some(api.clock.now());
        rows::update(&mut tx, &found).await?;
    }
    revoke_sensor(&mut tx, &api.clock, &sensor).await?;
    tx.commit().await?;
    api.directory.forget(&sensor);
    api.keys.forget();
    Ok(StatusCode::NO_CONTENT)
}

/// Whether any audio of a sensor ever came.
async fn is_heard(tx: &mut ReadTransaction, sensor: &str) -> Result<bool, DbError> {
    Ok(store::source(tx, SourceKind::Sensor, sensor).await?.is_some())
}

/// The sensor with this id, unless it is deleted.
async fn existing(tx: &mut ReadTransaction, sensor: &str) -> Result<Option<Sensor>, DbError> {
    Ok(rows::get(tx, sensor).await?.filter(|found| found.deleted_at.is_none()))
}
