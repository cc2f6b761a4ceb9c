//! `/api/v1/alerts`: making, reading, changing, testing and deleting alerts.

use antiphon_identity::Principal;
use antiphon_notify::NewHook;
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::db::{Database, DbError, ReadTransaction, WriteTransaction};
use antiphon_platform::http::{Json as JsonBody, Page, Params, Problem, decode_cursor};
use antiphon_platform::outbound::Allow;
use axum::Json;
use axum::extract::{Path, RawQuery, State as Extracted};
use http::{StatusCode, header};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::definition::{AlertChange, Definition, NewAlert};
use super::follow::zone_and_calibration;
use super::machine::Standing;
use super::message;
use super::rows::{self, Alert, Stored};
use super::views::{AlertView, ChangeView, NewAlertView, TestView};
use crate::descriptors::Known;
use crate::query::seconds::SecondColumn;
use crate::sensors::{self, Sensor};
use crate::store::{self, SourceKind};

/// Most alerts of one sensor: all of them are looked at whenever it sends.
const MOST: i64 = 100;

/// What these routes use.
#[derive(Clone)]
pub struct Api {
    /// Where alerts are.
    pub database: Database,
    /// Where web hooks may lead, beside public addresses.
    pub allow: Allow,
    /// Now.
    pub clock: Clock,
}

/// The routes of this module, to be put behind [`antiphon_identity::authenticate`].
pub fn routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, change, delete))
        .routes(routes!(history))
        .routes(routes!(test))
        .with_state(api)
}

fn unknown() -> Problem {
    Problem::not_found("there is no such alert").hint(Some("GET /api/v1/alerts lists them"))
}

/// Makes the web hook that is asked for.
async fn hook(
    tx: &mut WriteTransaction,
    webhook: Option<&str>,
    allow: &Allow,
    now: Micros,
) -> Result<Option<NewHook>, Problem> {
    let Some(webhook) = webhook else { return Ok(None) };
    let url = antiphon_notify::check_address("webhook", webhook, allow)?;
    Ok(Some(antiphon_notify::make(tx, &url, now).await?))
}

/// Refuses an alert that could never be on.
///
/// # Errors
/// 400 that names `feature` when the sensor's plan does not hold it.
fn check_computed(sensor: &Sensor, column: &SecondColumn) -> Result<(), Problem> {
    let (algorithm, output) = column.source();
    if sensor.plans.current().computes(algorithm, output) {
        return Ok(());
    }
    let why = format!("the plan of sensor {} does not compute {algorithm}.{}", sensor.id, output.name);
    Err(Problem::bad_field("feature", why).hint(Some("PATCH the sensor to add it")))
}

/// Where an alert stands that looks at nothing before `now`; a state is kept. And the source's event up to then.
async fn from_now(
    tx: &mut ReadTransaction,
    sensor: &str,
    is_on: bool,
    now: Micros,
) -> Result<(Standing, i64), DbError> {
    let source = store::source(tx, SourceKind::Sensor, sensor).await?;
    let second = now.div_euclid(SECOND);
    Ok((Standing { is_on, floor: second, position: second }, source.map_or(0, |source| source.sequence)))
}

const NO_STORE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// Make an alert: a threshold on the seconds of a sensor. It looks at nothing that was before.
///
/// With a `webhook`, each change of state is sent there as JSON, signed as Standard Webhooks 1.0.0 says: headers
/// `webhook-id` (the same whenever it is sent again), `webhook-timestamp` and `webhook-signature`, which is `v1,` and
/// base64 of HMAC-SHA-256 over `ID.TIMESTAMP.BODY` with the `secret` of this answer.
#[utoipa::path(
    post, path = "/api/v1/alerts", tag = "alerts", operation_id = "create_alert", request_body = NewAlert,
    responses(
        (status = 201, description = "The alert, with a secret that is not shown again", body = NewAlertView, headers(("Location" = String, description = "Where it can be read"))),
        (status = 400, description = "A field is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 409, description = "The sensor has 100 alerts already", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn create(
    principal: Principal,
    Extracted(api): Extracted<Api>,
    request: Result<JsonBody<NewAlert>, Problem>,
) -> Result<(StatusCode, [(header::HeaderName, String); 2], Json<NewAlertView>), Problem> {
    principal.may_operate()?;
    let JsonBody(mut request) = request?;
    let now = api.clock.now();
    let mut tx = api.database.write().await?;
    let (sensor, webhook, enabled) = (request.sensor.clone(), request.webhook.take(), request.enabled.unwrap_or(true));
    let known = Known::load(&mut tx).await?;
    let (mut definition, column) = request.definition(&known)?;
    let Some(found) = sensors::find(&mut tx, &sensor).await?.filter(|found| found.deleted_at.is_none()) else {
        drop(tx);
        let unknown = sensors::unknown(&api.database.reader(), &sensor).await;
        return Err(Problem::bad_field("sensor", unknown.detail).hint(unknown.hint));
    };
    check_computed(&found, &column)?;
    if rows::count(&mut tx, &sensor).await? >= MOST {
        return Err(Problem::conflict(format!("the sensor {sensor} has {MOST} alerts already")).field("sensor"));
    }
    let made = hook(&mut tx, webhook.as_deref(), &api.allow, now).await?;
    let (standing, seen) = from_now(&mut tx, &sensor, false, now).await?;
    definition.since = standing.floor;
    let alert = Alert {
        id: uuid::Uuid::now_v7().to_string(),
        sensor,
        definition,
        hook: made.as_ref().map(|made| made.hook.clone()),
        standing,
        seen,
        number: 0,
        version: 1,
    };
    let stored = Stored { alert, is_enabled: enabled, created_at: now };
    rows::insert(&mut tx, &stored).await?;
    let alert = AlertView::of(&mut tx, stored, &principal).await?;
    tx.commit().await?;
    let headers =
        [(header::LOCATION, format!("/api/v1/alerts/{}", alert.id)), (header::CACHE_CONTROL, String::from("no-store"))];
    let secret = made.map(|made| made.secret.text());
    Ok((StatusCode::CREATED, headers, Json(NewAlertView { alert, secret })))
}

/// Alerts, oldest first, of all sensors or of one, in either state or in one.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "alerts", operation_id = "list_alerts",
    params(
        ("sensor" = Option<String>, Query, description = "Only those of this sensor"),
        ("state" = Option<String>, Query, description = "Only those in this state, `on` or `off`"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<AlertView>),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    Extracted(api): Extracted<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<AlertView>>, Problem> {
    principal.may_read()?;
    let params = Params::parse(query.as_deref(), &["sensor", "state", "limit", "cursor"])?;
    let is_on = params.choice("state", &["on", "off"])?.map(|state| state == "on");
    let limit = params.limit()?;
    let after: String = decode_cursor(&params)?.unwrap_or_default();
    let mut tx = api.database.read().await?;
    let found = rows::list(&mut tx, &after, params.get("sensor"), is_on, limit + 1).await?;
    let mut items = Vec::with_capacity(found.len());
    for stored in found {
        items.push(AlertView::of(&mut tx, stored, &principal).await?);
    }
    Ok(Json(Page::of(items, limit, |alert| alert.id.clone())))
}

/// An alert, and where it stands.
#[utoipa::path(
    get, path = "/api/v1/alerts/{alert}", tag = "alerts", operation_id = "get_alert",
    params(("alert" = String, Path, description = "The alert's id")),
    responses(
        (status = 200, body = AlertView),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "There is no such alert", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn get(
    principal: Principal,
    Extracted(api): Extracted<Api>,
    Path(alert): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<AlertView>, Problem> {
    principal.may_read()?;
    let mut tx = api.database.read().await?;
    let stored = rows::get(&mut tx, &alert).await?.ok_or_else(unknown)?;
    Params::parse(query.as_deref(), &[])?;
    Ok(Json(AlertView::of(&mut tx, stored, &principal).await?))
}

/// Change an alert. It goes on from its state. If what it looks for changes, or it is switched on, it looks at nothing
/// that was before the change.
#[utoipa::path(
    patch, path = "/api/v1/alerts/{alert}", tag = "alerts", operation_id = "change_alert", request_body = AlertChange,
    params(("alert" = String, Path, description = "The alert's id")),
    responses(
        (status = 200, description = "The alert, with the secret of a new web hook, which is not shown again", body = NewAlertView),
        (status = 400, description = "A field is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "There is no such alert", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn change(
    principal: Principal,
    Extracted(api): Extracted<Api>,
    Path(alert): Path<String>,
    request: Result<JsonBody<AlertChange>, Problem>,
) -> Result<([(header::HeaderName, &'static str); 1], Json<NewAlertView>), Problem> {
    principal.may_operate()?;
    let mut tx = api.database.write().await?;
    let mut stored = rows::get(&mut tx, &alert).await?.ok_or_else(unknown)?;
    let JsonBody(mut request) = request?;
    let now = api.clock.now();
    let (webhook, enabled) = (request.webhook.take(), request.enabled);
    let known = Known::load(&mut tx).await?;
    let (mut definition, column) = request.apply(&stored.alert.definition, &known)?;
    let looks_for = |definition: &Definition| (definition.feature.clone(), definition.stat.clone(), definition.rule());
    let before = (looks_for(&stored.alert.definition), stored.is_enabled);
    let after = (looks_for(&definition), enabled.unwrap_or(stored.is_enabled));
    if before != after {
        if let Some(sensor) = sensors::find(&mut tx, &stored.alert.sensor).await? {
            check_computed(&sensor, &column)?;
        }
        let (standing, seen) = from_now(&mut tx, &stored.alert.sensor, stored.alert.standing.is_on, now).await?;
        definition.since = standing.floor;
        // A sensor whose clock is ahead may have been told of already at times that are yet to come.
        let decided = stored.alert.standing.floor;
        stored.alert.standing = Standing { floor: standing.floor.max(decided), ..standing };
        stored.alert.seen = seen;
    }
    stored.alert.definition = definition;
    stored.is_enabled = after.1;
    let mut made = None;
    if let Some(webhook) = webhook {
        made = hook(&mut tx, webhook.as_deref(), &api.allow, now).await?;
        if let Some(old) = stored.alert.hook.take() {
            antiphon_notify::remove(&mut tx, &old).await?;
        }
        stored.alert.hook = made.as_ref().map(|made| made.hook.clone());
    }
    rows::update(&mut tx, &stored).await?;
    let alert = AlertView::of(&mut tx, stored, &principal).await?;
    tx.commit().await?;
    Ok((NO_STORE, Json(NewAlertView { alert, secret: made.map(|made| made.secret.text()) })))
}

/// Delete an alert with its history. What was still to be sent is not sent.
#[utoipa::path(
    delete, path = "/api/v1/alerts/{alert}", tag = "alerts", operation_id = "delete_alert",
    params(("alert" = String, Path, description = "The alert's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "There is no such alert", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn delete(
    principal: Principal,
    Extracted(api): Extracted<Api>,
    Path(alert): Path<String>,
) -> Result<StatusCode, Problem> {
    principal.may_operate()?;
    let mut tx = api.database.write().await?;
    let stored = rows::get(&mut tx, &alert).await?.ok_or_else(unknown)?;
    super::delete(&mut tx, &alert, stored.alert.hook.as_ref()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The changes of an alert, newest first, and what became of their notices. Kept for 400 days.
#[utoipa::path(
    get, path = "/api/v1/alerts/{alert}/history", tag = "alerts", operation_id = "get_alert_history",
    params(
        ("alert" = String, Path, description = "The alert's id"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<ChangeView>),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "There is no such alert", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn history(
    principal: Principal,
    Extracted(api): Extracted<Api>,
    Path(alert): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<ChangeView>>, Problem> {
    principal.may_read()?;
    let mut tx = api.database.read().await?;
    let found = rows::get(&mut tx, &alert).await?.ok_or_else(unknown)?.alert;
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = params.limit()?;
    let before: i64 = decode_cursor(&params)?.unwrap_or(i64::MAX);
    let mut items = Vec::new();
    for told in rows::history(&mut tx, &alert, before, limit + 1).await? {
        items.push(ChangeView::of(&mut tx, &found, &told, &principal).await?);
    }
    Ok(Json(Page::of(items, limit, ChangeView::number)))
}

/// Send a test to an alert's web hook: a message of type `alert.test`, at any hour, tried three times. Its result is
/// `last_test` of the alert.
#[utoipa::path(
    post, path = "/api/v1/alerts/{alert}/test", tag = "alerts", operation_id = "test_alert",
    params(("alert" = String, Path, description = "The alert's id")),
    responses(
        (status = 202, description = "It will be sent", body = TestView),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "There is no such alert", body = Problem),
        (status = 409, description = "The alert has no web hook", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn test(
    principal: Principal,
    Extracted(api): Extracted<Api>,
    Path(alert): Path<String>,
) -> Result<(StatusCode, Json<TestView>), Problem> {
    principal.may_operate()?;
    let now = api.clock.now();
    let mut tx = api.database.write().await?;
    let stored = rows::get(&mut tx, &alert).await?.ok_or_else(unknown)?;
    let Some(hook) = &stored.alert.hook else {
        return Err(Problem::conflict("this alert has no web hook").hint(Some("PATCH it with one")));
    };
    let known = Known::load(&mut tx).await?;
    let column = stored.alert.definition.column(&known)?;
    let (_, is_calibrated) = zone_and_calibration(&mut tx, &stored.alert.sensor, now).await?;
    let mark = uuid::Uuid::now_v7().to_string();
    let notice = message::of_test(&stored.alert, &mark, &column.name(), column.unit(is_calibrated), now);
    antiphon_notify::tell(&mut tx, hook, &notice, now).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(TestView { id: notice.id })))
}
