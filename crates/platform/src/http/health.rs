//! Health: `/livez` (the process), `/readyz` (what it depends on), `/metrics`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::{BoxFuture, join_all};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::telemetry::Metrics;

/// How long one check may take before it counts as failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer is given again: checks touch the disk, and anybody may ask.
const KEPT: Duration = Duration::from_millis(500);

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Named checks of everything that a process depends on. Cheap to clone.
#[derive(Clone, Default)]
pub struct Checks {
    checks: Vec<(String, Check)>,
    last: Arc<Mutex<Option<(Instant, Readiness)>>>,
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// `ok` or `unavailable`.
    pub status: &'static str,
    /// Every check, in a fixed order.
    pub checks: Vec<CheckResult>,
}

/// One check of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CheckResult {
    /// What was checked, such as `database`.
    pub name: String,
    /// `ok` or `unavailable`.
    pub status: &'static str,
    /// What is wrong, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Checks {
    /// Adds a check called `name`; its error says what is wrong and what to do.
    pub fn add<F>(&mut self, name: &str, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.push((name.to_owned(), Arc::new(move || Box::pin(check()))));
    }

    /// Runs all checks at once, unless that was done half a second ago.
    pub async fn run(&self) -> Readiness {
        let mut last = self.last.lock().await;
        if let Some((at, readiness)) = &*last
            && at.elapsed() < KEPT
        {
            return readiness.clone();
        }
        let readiness = self.run_now().await;
        *last = Some((Instant::now(), readiness.clone()));
        readiness
    }

    /// Runs all checks at once.
    pub async fn run_now(&self) -> Readiness {
        let checks = join_all(self.checks.iter().map(|(name, check)| run_check(name, check))).await;
        let ready = checks.iter().all(|check| check.status == "ok");
        Readiness { status: if ready { "ok" } else { "unavailable" }, checks }
    }
}

async fn run_check(name: &str, check: &Check) -> CheckResult {
    let outcome = match tokio::time::timeout(CHECK_TIMEOUT, check()).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
    };
    let status = if outcome.is_ok() { "ok" } else { "unavailable" };
    CheckResult { name: name.to_owned(), status, detail: outcome.err() }
}

/// The routes `/livez`, `/readyz`, `/api/health` and `/metrics`, none of which asks for a key.
pub fn routes(checks: Checks, metrics: Metrics) -> Router {
    let ready = {
        let checks = checks.clone();
        move || async move { answer(&checks).await }
    };
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready.clone()))
        .route("/api/health", get(ready))
        .route("/metrics", get(move || async move { exposition(&metrics) }))
}

/// The paths of [`routes`].
pub const PATHS: [&str; 4] = ["/livez", "/readyz", "/api/health", "/metrics"];

async fn answer(checks: &Checks) -> Response {
    let readiness = checks.run().await;
    let status = if readiness.status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = (status, axum::Json(readiness)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn exposition(metrics: &Metrics) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_failed_check_makes_it_unavailable_and_says_why() {
        let mut checks = Checks::default();
        checks.add("database", || async { Ok(()) });
        assert_eq!(checks.run().await.status, "ok");
        let mut checks = Checks::default();
        checks.add("database", || async { Ok(()) });
        checks.add("queue", || async { Err(String::from("the disk is full; free some space")) });
        let readiness = checks.run().await;
        assert_eq!(readiness.status, "unavailable");
        assert_eq!(readiness.checks[1].detail.as_deref(), Some("the disk is full; free some space"));
        assert_eq!(answer(&checks).await.status(), 503);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_has_failed() {
        let mut checks = Checks::default();
        checks.add("queue", std::future::pending);
        assert_eq!(checks.run().await.checks[0].status, "unavailable");
    }
}
