//! What holds for every route: counted, logged, never a panic, never an error without a problem document.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{Problem, nearest};

/// The most of a foreign error text that goes into a problem's detail, in bytes.
const DETAIL_LIMIT: usize = 1_024;

/// What [`finish`] needs to know.
#[derive(Clone, Debug, Default)]
pub struct Finish {
    /// Every route's path, as `/api/v1/sensors/{sensor}`, for hints.
    pub routes: Vec<String>,
    /// Origins that browsers may call from; empty: none.
    pub cors_origins: Vec<HeaderValue>,
}

/// Puts around a router what holds for all of its routes; to be called last, once.
pub fn finish(router: Router, settings: Finish) -> Router {
    let routes: Arc<[String]> = settings.routes.into();
    let mut router = router.fallback(|| async { StatusCode::NOT_FOUND }).layer(compression());
    if !settings.cors_origins.is_empty() {
        router = router.layer(cors(settings.cors_origins));
    }
    router
        .layer(from_fn(move |request: Request, next: Next| {
            let routes = Arc::clone(&routes);
            async move { as_problem(request, next, &routes).await }
        }))
        .layer(from_fn(catch_panic))
        .layer(from_fn(observe))
}

/// Puts around the routes of pages, and not around what answers where they have none, what holds for all of them; what they
/// refuse stays the page that it is.
pub fn finish_pages(router: Router) -> Router {
    router.route_layer(compression()).route_layer(from_fn(catch_panic)).route_layer(from_fn(observe))
}

fn compression() -> CompressionLayer<impl Predicate + Send + Sync + 'static> {
    CompressionLayer::new().compress_when(
        DefaultPredicate::new()
            .and(NotForContentType::const_new("audio/"))
            .and(NotForContentType::const_new("application/octet-stream"))
            // Its columns are compressed already.
            .and(NotForContentType::const_new("application/vnd.apache.parquet")),
    )
}

/// The caller's W3C trace context (`traceparent`), or an empty text if there is none that is well formed.
#[must_use]
pub fn trace_context(headers: &HeaderMap) -> String {
    let text = headers.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    match parts[..] {
        [version @ "00", trace, span, flags]
            if hex(version, 2) && hex(trace, 32) && some(trace) && hex(span, 16) && some(span) && hex(flags, 2) =>
        {
            text.to_owned()
        }
        _ => String::new(),
    }
}

fn cors(origins: Vec<HeaderValue>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            header::RANGE,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            header::CONTENT_RANGE,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
        ])
}

async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_label(request.method());
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| String::from("none"), |p| p.as_str().to_owned());
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    metrics::counter!("http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("http_request_seconds", "route" => route).record(elapsed);
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if response.status().is_server_error() {
        tracing::warn!(method, path, status, milliseconds, "request failed");
    } else {
        tracing::debug!(method, path, status, milliseconds, "request");
    }
    let headers = response.headers_mut();
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

/// Methods are free text on the wire; a label must not be.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

async fn catch_panic(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("a panic without words");
            tracing::error!(path, panic = text, "a handler panicked");
            Problem::internal().into_response()
        }
    }
}

/// Turns every error that is not a problem document yet into one: unknown routes, methods that a route does not
/// have, and what extractors refuse.
async fn as_problem(request: Request, next: Next, routes: &[String]) -> Response {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error()) || kind.contains("json") {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, DETAIL_LIMIT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let problem = match status {
        StatusCode::NOT_FOUND if text.is_empty() => {
            Problem::not_found(format!("there is no route {path}")).hint(nearest_route(&path, routes))
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let detail = format!("{path} does not take {method}; the header Allow says what it takes");
            Problem::new(status, "method-not-allowed", detail)
        }
        // Our contract knows no 422: a field that cannot be is a bad request.
        StatusCode::UNPROCESSABLE_ENTITY => Problem::bad_request("bad-request", text),
        _ if text.is_empty() => {
            Problem::new(status, "error", status.canonical_reason().unwrap_or("error").to_lowercase())
        }
        _ => Problem::new(status, "error", text),
    };
    let mut answer = problem.into_response();
    for (name, value) in &parts.headers {
        if !matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH | header::CONTENT_ENCODING) {
            answer.headers_mut().entry(name).or_insert(value.clone());
        }
    }
    if method == Method::HEAD {
        *answer.body_mut() = Body::empty();
    }
    answer
}

/// The route that a path was most likely meant for, with the path's own names in it.
fn nearest_route(path: &str, routes: &[String]) -> Option<String> {
    let segments: Vec<&str> = path.split('/').collect();
    let meant = routes.iter().map(|route| {
        let filled = route.split('/').enumerate().map(|(index, part)| match segments.get(index) {
            Some(segment) if part.starts_with('{') && !segment.is_empty() => *segment,
            _ => part,
        });
        filled.collect::<Vec<&str>>().join("/")
    });
    let meant: Vec<String> = meant.collect();
    nearest(path, meant.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use axum::extract::Path;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    fn router() -> Router {
        let routes = vec![String::from("/api/v1/sensors"), String::from("/api/v1/sensors/{sensor}/features")];
        let router = Router::new()
            .route(
                "/api/v1/sensors/{sensor}/features",
                get(|Path(number): Path<u32>| async move { number.to_string() }),
            )
            .route(
                "/panics",
                get(|| async {
                    if true {
                        panic!("oh no: secret")
                    }
                }),
            )
            .route("/long", get(|| async { "a".repeat(10_000) }));
        let cors_origins = vec![HeaderValue::from_static("https://example.org")];
        finish(router, Finish { routes, cors_origins })
    }

    async fn send(request: http::request::Builder) -> (Response, serde_json::Value) {
        let response = router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 100_000).await.unwrap();
        let value = serde_json::from_slice(&bytes).unwrap_or(serde_json::Value::Null);
        (Response::from_parts(parts, Body::empty()), value)
    }

    #[tokio::test]
    async fn an_unknown_route_is_a_problem_with_the_nearest_as_hint() {
        let (response, value) = send(Request::get("/api/v1/sensors/roof/feature")).await;
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(value["hint"], "/api/v1/sensors/roof/features");
        assert_eq!(send(Request::get("/zzz/zzz/zzz/zzz")).await.1.get("hint"), None);
    }

    #[tokio::test]
    async fn a_method_that_is_not_there_is_a_problem_with_allow() {
        let (response, value) = send(Request::delete("/long")).await;
        assert_eq!((response.status().as_u16(), value["status"].as_u64()), (405, Some(405)));
        assert!(response.headers()["allow"].to_str().unwrap().contains("GET"));
    }

    #[tokio::test]
    async fn what_an_extractor_refuses_is_a_problem() {
        let (response, value) = send(Request::get("/api/v1/sensors/roof/features")).await;
        assert_eq!((response.status().as_u16(), value["status"].as_u64()), (400, Some(400)));
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_and_tells_nothing() {
        let (response, value) = send(Request::get("/panics")).await;
        assert_eq!((response.status().as_u16(), value["status"].as_u64()), (500, Some(500)));
        assert!(!value.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn long_answers_are_compressed_for_those_who_ask() {
        let (response, _) = send(Request::get("/long").header("accept-encoding", "gzip")).await;
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let (response, _) = send(Request::get("/long")).await;
        assert!(response.headers().get("content-encoding").is_none());
    }

    #[tokio::test]
    async fn only_listed_origins_are_allowed() {
        let (response, _) = send(Request::get("/long").header("origin", "https://example.org")).await;
        assert_eq!(response.headers()["access-control-allow-origin"], "https://example.org");
        let (response, _) = send(Request::get("/long").header("origin", "https://example.com")).await;
        assert!(response.headers().get("access-control-allow-origin").is_none());
    }

    #[test]
    fn only_well_formed_trace_contexts_are_passed_on() {
        let of = |text: &str| {
            trace_context(&HeaderMap::from_iter([(
                HeaderName::from_static("traceparent"),
                HeaderValue::from_str(text).unwrap(),
            )]))
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(good), good);
        for bad in [
            "",
            "00-0-0-0",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(bad), "", "{bad}");
        }
        assert_eq!(trace_context(&HeaderMap::new()), "");
    }
}
