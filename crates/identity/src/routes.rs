//! `/api/v1/keys`: operators manage API keys.

use antiphon_platform::clock::Clock;
use antiphon_platform::db::Database;
use antiphon_platform::http::body::JSON_LIMIT;
use antiphon_platform::http::{Page, Params, Problem, decode_cursor, read_json, time};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::keys::{self, NewKey, Role, StoredKey};
use crate::{Keys, Principal};

/// What the routes of this crate use.
#[derive(Clone)]
pub struct Api {
    /// Where keys are kept.
    pub db: Database,
    /// What checks keys in this process, to forget one at once when it is revoked.
    pub keys: Keys,
    /// Now.
    pub clock: Clock,
}

/// The routes of this crate, to be put behind [`authenticate`](crate::authenticate).
pub fn routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(revoke)).with_state(api)
}

/// What key to make.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    /// `operator` may do everything, `reader` may read. A sensor's keys are made at `/api/v1/sensors/{sensor}/keys`.
    #[schema(example = "reader")]
    role: String,
}

/// A key in a list; its secret is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KeyInfo {
    /// Names the key.
    #[schema(example = "019a8f2e-6f3c-7c52-9d6e-0f3b6f0a4b11")]
    pub id: String,
    /// `operator`, `reader` or `sensor`.
    #[schema(example = "reader")]
    pub role: &'static str,
    /// The sensor that the key belongs to, for role `sensor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<String>,
    /// When it was made, UTC.
    #[schema(example = "2026-05-01T00:00:00.000000Z")]
    pub created_at: String,
}

impl From<StoredKey> for KeyInfo {
    fn from(key: StoredKey) -> Self {
        let role = key.role.name();
        let sensor = match key.role {
            Role::Sensor(sensor) => Some(sensor),
            Role::Operator | Role::Reader => None,
        };
        Self { id: key.id, role, sensor, created_at: time::format(key.created) }
    }
}

/// Make a key; the answer is the only time that it is shown.
#[utoipa::path(
    post, path = "/api/v1/keys", tag = "keys", operation_id = "create_key", request_body = KeyRequest,
    responses(
        (status = 201, description = "The key, which is not shown again", body = NewKey),
        (status = 400, description = "Not a role that a key can have", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn create(
    principal: Principal,
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, [(header::HeaderName, &'static str); 1], axum::Json<NewKey>), Problem> {
    principal.may_operate()?;
    let request: KeyRequest = read_json(&headers, body, JSON_LIMIT).await?;
    let role = match request.role.as_str() {
        "operator" => Role::Operator,
        "reader" => Role::Reader,
        other => {
            let detail = format!("{other:?} is no role that a key can have: operator, reader");
            return Err(Problem::bad_field("role", detail)
                .hint((other == "sensor").then_some("POST /api/v1/sensors/{sensor}/keys makes a sensor's key")));
        }
    };
    let mut tx = api.db.write().await?;
    let key = keys::create_key(&mut tx, &api.clock, &role).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], axum::Json(key)))
}

/// The keys that are valid, oldest first, those of sensors included.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "keys", operation_id = "list_keys",
    params(
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<KeyInfo>),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<axum::Json<Page<KeyInfo>>, Problem> {
    principal.may_operate()?;
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = params.limit()?;
    let after: String = decode_cursor(&params)?.unwrap_or_default();
    let keys = keys::list_keys(&mut api.db.read().await?, &after, limit + 1).await?;
    let keys = keys.into_iter().map(KeyInfo::from).collect();
    Ok(axum::Json(Page::of(keys, limit, |key: &KeyInfo| key.id.clone())))
}

/// Revoke a key: it stops at once in this process, within a minute in others.
#[utoipa::path(
    delete, path = "/api/v1/keys/{key}", tag = "keys", operation_id = "revoke_key",
    params(("key" = String, Path, description = "The key's id")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "Operators only", body = Problem),
        (status = 404, description = "There is no valid key with this id", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn revoke(principal: Principal, State(api): State<Api>, Path(key): Path<String>) -> Result<StatusCode, Problem> {
    principal.may_operate()?;
    let mut tx = api.db.write().await?;
    if !keys::revoke_key(&mut tx, &api.clock, &key).await? {
        return Err(Problem::not_found("there is no valid key with this id").hint(Some("GET /api/v1/keys lists them")));
    }
    tx.commit().await?;
    api.keys.forget();
    Ok(StatusCode::NO_CONTENT)
}
