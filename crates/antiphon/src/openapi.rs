//! `/api/v1/openapi.json` and `/docs`: the description of the API, made of the handlers' own.

use antiphon_platform::http::{Problem, reference};
use anyhow::{Context, Result};
use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{HeaderValue, header};
use serde_json::{Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, License, OpenApi};
use utoipa::{PartialSchema, ToSchema};

/// The paths of [`routes`].
pub const PATHS: [&str; 2] = ["/api/v1/openapi.json", "/docs"];

const ABOUT: &str = "An open, self-hosted audio platform: sensors and files in, features out by time range.\n\n\
    Every request carries `Authorization: Bearer KEY`, but for health, metrics and this description. Keys have a role: \
    `operator` (everything), `reader` (GET), or one sensor (may add recordings to that sensor and read its own).\n\n\
    Errors are `application/problem+json` (RFC 9457). Times in requests are RFC 3339 with an offset, up to microseconds; \
    in answers UTC with six digits. Lists are `{\"items\":[...],\"next\":null|CURSOR}`.\n\n\
    202 for a recording means that it is durable: it survives a crash of everything and takes effect once. 503, or no answer: \
    it was stored at most once, and sending it again is always safe.";

/// Adds to the handlers' descriptions what holds for all of them.
#[must_use]
pub fn complete(mut document: OpenApi) -> OpenApi {
    let mut info = Info::new("Antiphon", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    info.license = Some(License::new("MIT OR Apache-2.0"));
    document.info = info;
    let mut components = document.components.take().unwrap_or_else(|| ComponentsBuilder::new().build());
    components.schemas.entry(Problem::name().into_owned()).or_insert_with(Problem::schema);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key")).build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document.components = Some(components);
    document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    document
}

/// The two routes; neither asks for a key.
///
/// # Errors
/// When the document is no JSON, which would be a mistake in a schema.
pub fn routes(document: &OpenApi) -> Result<Router> {
    let mut value = serde_json::to_value(document).context("the OpenAPI document is no JSON")?;
    describe_answers(&mut value);
    describe_common(&mut value);
    let json = serde_json::to_string(&value)?;
    let page = reference::page(&value);
    let json = move || async move { ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json) };
    Ok(Router::new().route(PATHS[0], get(json)).route(PATHS[1], get(move || async move { page.into_response() })))
}

/// The routes that belong to no capability, none of which asks for a key.
const COMMON: [(&str, &str, &str, &str); 6] = [
    ("/livez", "Whether the process is up", "text/plain", "It is"),
    ("/readyz", "Whether every dependency is usable", "application/json", "All of them"),
    ("/api/health", "The same as /readyz", "application/json", "All of them"),
    ("/metrics", "Figures for Prometheus", "text/plain", "In Prometheus' text format"),
    (PATHS[0], "This description", "application/json", "OpenAPI 3.1"),
    (PATHS[1], "This description, for people", "text/html", "One page that needs nothing else"),
];

fn describe_common(document: &mut Value) {
    for (path, summary, media, answer) in COMMON {
        let kind = if media == "application/json" { "object" } else { "string" };
        let content = json!({ media: { "schema": { "type": kind } } });
        let mut responses = json!({ "200": { "description": answer, "content": content } });
        if path == "/readyz" || path == "/api/health" {
            let detail = "One of them is not; the body says which, and what to do";
            responses["503"] = json!({ "description": detail, "content": content });
        }
        document["paths"][path] = json!({ "get": {
            "tags": ["operation"], "summary": summary, "operationId": format!("get{}", path.replace(['/', '.'], "_")),
            "security": [], "responses": responses } });
    }
}

/// What holds for every operation of a capability: any key may be asked to slow down, errors are sent as
/// `application/problem+json` whatever a handler's description says, and every answer has some description.
fn describe_answers(document: &mut Value) {
    let problem = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else { return };
    let operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(|path| path.values_mut());
    for responses in operations.filter_map(|operation| operation.get_mut("responses")?.as_object_mut()) {
        responses
            .entry("429")
            .or_insert_with(|| json!({ "description": "Too many requests; `Retry-After` says when to go on" }));
        for (status, response) in responses {
            if response.get("description").is_none() {
                let code = status.parse().ok().and_then(|status: u16| http::StatusCode::from_u16(status).ok());
                response["description"] = json!(code.and_then(|code| code.canonical_reason()).unwrap_or("The answer"));
            }
            if status.starts_with(['4', '5']) {
                response["content"] = problem.clone();
            }
        }
    }
}
