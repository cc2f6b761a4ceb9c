//! `/api/v1/alerts`: making, reading, changing, testing and deleting alerts.

use antiphon_identity::Principal;
use antiphon_notify::{Delivery, NewHook, State};
use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::db::{Database, DbError, ReadTransaction, WriteTransaction};
use antiphon_platform::http::{Json as JsonBody, Page, Params, Problem, decode_cursor, time};
use axum::Json;
use axum::extract::{Path, RawQuery, State as Extracted};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::definition::{AlertChange, NewAlert};
use super::machine::{Side, Standing};
use super::message::{self, notice_id};
use super::quiet::QuietHours;
use super::rows::{self, Alert, Stored, Told};
use crate::descriptors::Known;
use crate::sensors;
use crate::store::{self, SourceKind};

/// Most alerts of one sensor: all of them are looked at whenever it sends.
const MOST: i64 = 100;

/// What these routes use.
#[derive(Clone)]
pub struct Api {
    /// Where alerts are.
    pub database: Database,
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

/// What became of a notice.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DeliveryView {
    /// The header `webhook-id` that it is sent with.
    id: String,
    /// `waiting`, `arrived` (the receiver answered 2xx) or `given-up`.
    #[schema(example = "arrived")]
    state: &'static str,
    /// How often it was sent.
    attempts: u32,
    /// HTTP status of the last answer.
    status: Option<u32>,
    /// What went wrong the last time, in words.
    problem: Option<String>,
    /// When it arrived or was given up; while it waits, when it is sent next. Null before it was taken up.
    at: Option<String>,
}

impl DeliveryView {
    fn of(id: &str, found: Option<Delivery>) -> Self {
        let Some(found) = found else {
            let id = id.to_owned();
            return Self { id, state: "waiting", attempts: 0, status: None, problem: None, at: None };
        };
        let state = match found.state {
            State::Waiting => "waiting",
            State::Arrived => "arrived",
            State::GivenUp => "given-up",
        };
        let at = Some(time::format(found.at));
        Self { id: found.id, state, attempts: found.attempts, status: found.status, problem: found.problem, at }
    }
}

/// An alert, and where it stands.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AlertView {
    /// Its id.
    id: String,
    /// The sensor that it looks at.
    #[schema(example = "roof")]
    sensor: String,
    /// What people call it.
    name: Option<String>,
    /// One column of values by the second.
    #[schema(example = "level.a")]
    feature: String,
    /// One of the feature's stats; null: its default one.
    stat: Option<String>,
    /// On which side of the threshold a value is beyond it.
    side: Side,
    /// In the feature's unit.
    threshold: f64,
    /// How far behind the threshold a value must be to count as back.
    hysteresis: f64,
    /// For how many seconds values must be beyond.
    seconds: u32,
    /// For how many seconds they must be back.
    off_seconds: u32,
    /// When nothing is sent, by the clock of the sensor's time zone.
    quiet: Vec<QuietHours>,
    /// Where changes are sent, without path and query, which may be secret.
    #[schema(example = "https://example.org")]
    webhook: Option<String>,
    /// Whether it looks at anything.
    enabled: bool,
    /// `on` or `off`.
    #[schema(example = "off")]
    state: &'static str,
    /// How often that changed.
    changes: i64,
    /// When it was made, UTC.
    created_at: String,
    /// The newest test of its web hook.
    last_test: Option<DeliveryView>,
}

/// An alert, with the secret of a web hook that was just made.
#[derive(Clone, Serialize, utoipa::ToSchema)]
struct NewAlertView {
    /// The alert.
    #[serde(flatten)]
    alert: AlertView,
    /// What the web hook is signed with, `whsec_` and base64 (Standard Webhooks); it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// A change of state.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ChangeView {
    /// 1 for the first.
    number: i64,
    /// `on` or `off`.
    #[schema(example = "on")]
    state: &'static str,
    /// The beginning of what led to it, UTC.
    began: String,
    /// When the duration was over.
    at: String,
    /// When it was told.
    told_at: String,
    /// Whether it came from audio older than what had been looked at.
    late: bool,
    /// The value of the last second.
    value: f64,
    /// What became of its notice; null if the alert had no web hook.
    delivery: Option<DeliveryView>,
}

/// A test that was sent.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct TestView {
    /// The header `webhook-id` that it is sent with; `last_test` of the alert says what became of it.
    id: String,
}

async fn view(tx: &mut ReadTransaction, stored: Stored) -> Result<AlertView, DbError> {
    let Stored { alert, is_enabled, created_at } = stored;
    let (mut webhook, mut last_test) = (None, None);
    if let Some(hook) = &alert.hook {
        webhook = antiphon_notify::told_to(tx, hook).await?;
        last_test = antiphon_notify::last_test(tx, hook).await?;
    }
    let definition = alert.definition;
    Ok(AlertView {
        id: alert.id,
        sensor: alert.sensor,
        name: definition.name,
        feature: definition.feature,
        stat: definition.stat,
        side: definition.side,
        threshold: definition.threshold,
        hysteresis: definition.hysteresis,
        seconds: definition.seconds,
        off_seconds: definition.off_seconds,
        quiet: definition.quiet,
        webhook,
        enabled: is_enabled,
        state: state_of(alert.standing.is_on),
        changes: alert.number,
        created_at: time::format(created_at),
        last_test: last_test.map(|found| DeliveryView::of("", Some(found))),
    })
}

fn state_of(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

fn unknown() -> Problem {
    Problem::not_found("there is no such alert").hint(Some("GET /api/v1/alerts lists them"))
}

/// Makes the web hook that is asked for.
async fn hook(tx: &mut WriteTransaction, webhook: Option<&str>, now: Micros) -> Result<Option<NewHook>, Problem> {
    let Some(webhook) = webhook else { return Ok(None) };
    let url = antiphon_notify::check_address("webhook", webhook)?;
    Ok(Some(antiphon_notify::make(tx, &url, now).await?))
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
    let (definition, _) = request.definition(&known)?;
    if sensors::find(&mut tx, &sensor).await?.is_none_or(|found| found.deleted_at.is_some()) {
        drop(tx);
        let unknown = sensors::unknown(&api.database.reader(), &sensor).await;
        return Err(Problem::bad_field("sensor", unknown.detail).hint(unknown.hint));
    }
    if rows::count(&mut tx, &sensor).await? >= MOST {
        return Err(Problem::conflict(format!("the sensor {sensor} has {MOST} alerts already")).field("sensor"));
    }
    let made = hook(&mut tx, webhook.as_deref(), now).await?;
    let (standing, seen) = from_now(&mut tx, &sensor, false, now).await?;
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
    let alert = view(&mut tx, stored).await?;
    tx.commit().await?;
    let headers =
        [(header::LOCATION, format!("/api/v1/alerts/{}", alert.id)), (header::CACHE_CONTROL, String::from("no-store"))];
    let secret = made.map(|made| made.secret.text());
    Ok((StatusCode::CREATED, headers, Json(NewAlertView { alert, secret })))
}

/// Alerts, oldest first, of all sensors or of one.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "alerts", operation_id = "list_alerts",
    params(
        ("sensor" = Option<String>, Query, description = "Only those of this sensor"),
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
    let params = Params::parse(query.as_deref(), &["sensor", "limit", "cursor"])?;
    let limit = params.limit()?;
    let after: String = decode_cursor(&params)?.unwrap_or_default();
    let mut tx = api.database.read().await?;
    let found = rows::list(&mut tx, &after, params.get("sensor"), limit + 1).await?;
    let mut items = Vec::with_capacity(found.len());
    for stored in found {
        items.push(view(&mut tx, stored).await?);
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
    Ok(Json(view(&mut tx, stored).await?))
}

/// Change an alert. It goes on from its state, and looks at nothing that was before the change.
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
    (stored.alert.definition, _) = request.apply(&stored.alert.definition, &known)?;
    let mut made = None;
    if let Some(webhook) = webhook {
        made = hook(&mut tx, webhook.as_deref(), now).await?;
        if let Some(old) = stored.alert.hook.take() {
            antiphon_notify::remove(&mut tx, &old).await?;
        }
        stored.alert.hook = made.as_ref().map(|made| made.hook.clone());
    }
    stored.is_enabled = enabled.unwrap_or(stored.is_enabled);
    let is_on = stored.alert.standing.is_on;
    let decided = stored.alert.standing.floor;
    let (standing, seen) = from_now(&mut tx, &stored.alert.sensor, is_on, now).await?;
    // A sensor whose clock is ahead may have been told of already at times that are yet to come.
    stored.alert.standing = Standing { floor: standing.floor.max(decided), ..standing };
    stored.alert.seen = seen;
    rows::update(&mut tx, &stored).await?;
    let alert = view(&mut tx, stored).await?;
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
    if let Some(hook) = &stored.alert.hook {
        antiphon_notify::remove(&mut tx, hook).await?;
    }
    rows::delete(&mut tx, &alert).await?;
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
    rows::get(&mut tx, &alert).await?.ok_or_else(unknown)?;
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = params.limit()?;
    let before: i64 = decode_cursor(&params)?.unwrap_or(i64::MAX);
    let mut items = Vec::new();
    for told in rows::history(&mut tx, &alert, before, limit + 1).await? {
        let id = notice_id(&alert, told.number);
        let delivery = match told.is_sent {
            true => Some(DeliveryView::of(&id, antiphon_notify::delivery(&mut tx, &id).await?)),
            false => None,
        };
        items.push(change_view(&told, delivery));
    }
    Ok(Json(Page::of(items, limit, |change| change.number)))
}

fn change_view(told: &Told, delivery: Option<DeliveryView>) -> ChangeView {
    ChangeView {
        number: told.number,
        state: state_of(told.change.is_on),
        began: time::format(told.change.began * SECOND),
        at: time::format((told.change.last + 1) * SECOND),
        told_at: time::format(told.told_at),
        late: told.is_late,
        value: told.change.value,
        delivery,
    }
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
    let sensor = sensors::find(&mut tx, &stored.alert.sensor).await?;
    let is_calibrated = sensor.is_some_and(|sensor| sensor.plans.at(now).calibration.is_some());
    let mark = uuid::Uuid::now_v7().to_string();
    let notice = message::of_test(&stored.alert, &mark, &column.name(), column.unit(is_calibrated), now);
    antiphon_notify::tell(&mut tx, hook, &notice, now).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(TestView { id: notice.id })))
}
