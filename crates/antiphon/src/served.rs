//! What a listener serves: its health while connections are opened, everything once they are.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use antiphon_platform::http::health::{self, Checks};
use antiphon_platform::http::{Finish, Problem, finish};
use antiphon_platform::telemetry::Metrics;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use tower::ServiceExt;

use crate::wiring::Waiting;

/// What is served now. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Served(Arc<RwLock<Router>>);

impl Served {
    /// Health, and 503 for everything else, while a start waits for what is not there yet.
    #[must_use]
    pub fn starting(waiting: Waiting, metrics: Metrics) -> Self {
        let mut checks = Checks::default();
        checks.add("start", move || std::future::ready(waiting.health().and(Err(String::from("starting")))));
        let refuse = || async { Problem::unavailable("the server is starting; /readyz says what it waits for") };
        let routes = health::routes(checks, metrics).route("/", any(refuse)).route("/{*path}", any(refuse));
        Self(Arc::new(RwLock::new(bare(routes))))
    }

    /// Serves something else from now on, also on connections that are open.
    pub fn replace(&self, router: Router) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = router;
    }

    /// A router that always serves what is served now.
    pub fn router(&self) -> Router {
        let served = self.clone();
        Router::new().fallback(move |request: Request| {
            let now = served.0.read().unwrap_or_else(PoisonError::into_inner).clone();
            async move { answer(now, request).await }
        })
    }
}

async fn answer(router: Router, request: Request) -> Response {
    let Ok(response) = router.oneshot(request).await.map_err(|never: Infallible| never);
    response
}

/// Routes with what holds for all servers, and no more.
pub fn bare(routes: Router) -> Router {
    finish(routes, Finish { routes: health::PATHS.map(String::from).to_vec(), cors_origins: Vec::new() })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn health_is_told_before_anything_else_is_served() {
        let served = Served::starting(Waiting::default(), Metrics::detached());
        let router = served.router();
        let status = async |path: &str| {
            let response = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            (response.status().as_u16(), response.headers().contains_key("retry-after"))
        };
        assert_eq!(status("/livez").await, (200, false));
        assert_eq!(status("/readyz").await, (503, true));
        assert_eq!(status("/api/v1/sensors").await, (503, true));
        served.replace(Router::new().route("/api/v1/sensors", get(|| async { "[]" })));
        assert_eq!(status("/api/v1/sensors").await, (200, false));
    }
}
