//! The routes and the core, on stores filled with real values.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod live;
mod noise;
mod pages;
mod purity;
mod sources;
mod summaries;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::{HeaderMap, Request as HttpRequest, StatusCode, header};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::plan::{History, sensor_default};
use crate::store::Retention;
use crate::store::tests::{MAY, Made, Store};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::Engine;
use antiphon_platform::http::time;

const ROOF: &str = "/api/v1/sensors/roof";

async fn filled(made: &[Made]) -> Store {
    filled_on(Engine::Sqlite, made).await
}

async fn filled_on(engine: Engine, made: &[Made]) -> Store {
    let store = Store::on(engine).await;
    let plan = History::new(sensor_default(), None).to_text();
    let retention = Retention::default().to_text();
    store
        .execute(format!(
            "insert into sensors (id, plan, plan_version, retention, created_at) values ('roof', '{plan}', 1, '{retention}', 0)"
        ))
        .await;
    for made in made {
        store.apply(&made.messages()).await;
    }
    store
}

fn routes(store: &Store, principal: Principal, is_public: bool) -> Router {
    let api = Api::new(store.db.reader(), store.clock.clone(), is_public);
    router(api).split_for_parts().0.layer(axum::Extension(principal))
}

async fn send(router: &Router, path: &str, headers: &[(header::HeaderName, &str)]) -> Response {
    let mut request = HttpRequest::get(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 28).await.unwrap().to_vec()).unwrap()
}

async fn get(store: &Store, path: &str) -> Value {
    let response = send(&routes(store, Principal::Reader, false), path, &[]).await;
    let status = response.status();
    let text = text(response).await;
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn refused(store: &Store, path: &str) -> Value {
    let response = send(&routes(store, Principal::Reader, false), path, &[]).await;
    assert!(response.status().is_client_error(), "{path}: {}", response.status());
    serde_json::from_str(&text(response).await).unwrap()
}

fn range(from: Micros, to: Micros) -> String {
    format!("from={}&to={}", time::format(from), time::format(to))
}

/// 10 s at the minute's start, 10.5 s that begin in the middle of second 20.
fn two() -> [Made; 2] {
    [Made::new(MAY, 10 * SECOND, 1), Made::new(MAY + 20_500_000, 10_500_000, 2)]
}
