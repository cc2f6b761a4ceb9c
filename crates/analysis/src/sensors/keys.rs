//! The routes of a sensor's keys.

use antiphon_identity::{KeyInfo, NewKey, Principal, Role, create_key, list_sensor_keys, revoke_sensor_key};
use antiphon_platform::http::{Page, Params, Problem, decode_cursor};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use http::{StatusCode, header};

use super::routes::ManageApi;
use super::rows;

/// Make a key for a sensor; the answer is the only time that it is shown.
#[utoipa::path(
    post, path = "/api/v1/sensors/{sensor}/keys", tag = "sensors", operation_id = "create_sensor_key",
    params(("sensor" = String, Path, description = "The sensor's id")),
    responses(
        (status = 201, description = "The key, which is not shown again", body = NewKey),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "There is no such sensor", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
pub(super) async fn create_sensor_key(
    principal: Principal,
    State(api): State<ManageApi>,
    Path(sensor): Path<String>,
) -> Result<(StatusCode, [(header::HeaderName, &'static str); 1], Json<NewKey>), Problem> {
    principal.may_operate()?;
    let mut tx = api.database.write().await?;
    if rows::get(&mut tx, &sensor).await?.is_none_or(|found| found.deleted_at.is_some()) {
        drop(tx);
        return Err(super::unknown(&api.database.reader(), &sensor).await);
    }
    let key = create_key(&mut tx, &api.clock, &Role::Sensor(sensor)).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(key)))
}

/// The keys of a sensor, oldest first, without their secrets.
#[utoipa::path(
    get, path = "/api/v1/sensors/{sensor}/keys", tag = "sensors", operation_id = "list_sensor_keys",
    params(
        ("sensor" = String, Path, description = "The sensor's id"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<KeyInfo>),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "There is no such sensor", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
pub(super) async fn list_keys_of_sensor(
    principal: Principal,
    State(api): State<ManageApi>,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<KeyInfo>>, Problem> {
    principal.may_operate()?;
    let mut tx = api.database.read().await?;
    if rows::get(&mut tx, &sensor).await?.is_none() {
        drop(tx);
        return Err(super::unknown(&api.database.reader(), &sensor).await);
    }
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = params.limit()?;
    let after: String = decode_cursor(&params)?.unwrap_or_default();
    let keys = list_sensor_keys(&mut tx, &sensor, &after, limit + 1).await?;
    let keys = keys.into_iter().map(KeyInfo::from).collect();
    Ok(Json(Page::of(keys, limit, |key: &KeyInfo| key.id.clone())))
}

/// Revoke a key of a sensor: it stops at once in this process, within a minute in others.
#[utoipa::path(
    delete, path = "/api/v1/sensors/{sensor}/keys/{key}", tag = "sensors", operation_id = "revoke_sensor_key",
    params(
        ("sensor" = String, Path, description = "The sensor's id"),
        ("key" = String, Path, description = "The key's id"),
    ),
    responses(
        (status = 204, description = "Revoked"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "The sensor has no valid key with this id", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
pub(super) async fn revoke_key_of_sensor(
    principal: Principal,
    State(api): State<ManageApi>,
    Path((sensor, key)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    principal.may_operate()?;
    let mut tx = api.database.write().await?;
    if !revoke_sensor_key(&mut tx, &api.clock, &sensor, &key).await? {
        let hint = format!("GET /api/v1/sensors/{sensor}/keys lists them");
        return Err(Problem::not_found("the sensor has no valid key with this id").hint(Some(hint)));
    }
    tx.commit().await?;
    api.keys.forget();
    Ok(StatusCode::NO_CONTENT)
}
