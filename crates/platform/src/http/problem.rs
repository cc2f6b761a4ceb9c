//! Refused requests, as RFC 9457 problem details.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::blobs::BlobError;
use crate::db::DbError;
use crate::queue::QueueError;

/// How long a client should wait before it tries again when something of ours is not usable, in seconds.
const RETRY_SECONDS: u32 = 5;

/// Bytes of a MiB, in which people read limits.
const MIB: u64 = 1024 * 1024;

/// A refused request, as RFC 9457 problem details.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// A stable URI reference that names the kind of problem, such as `/problems/unknown-parameter`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// The parameter or field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do, or the nearest valid name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Seconds after which trying again makes sense, for `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<u32>,
    /// Further headers of the answer.
    #[serde(skip)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of a status with a stable kind (the last segment of `type`).
    #[must_use]
    pub fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{kind}"),
            title: status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            hint: None,
            retry_after: None,
            headers: Vec::new(),
        }
    }

    /// 400: the request is wrong in a way of its own kind, such as `bad-parameter`.
    #[must_use]
    pub fn bad_request(kind: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, detail)
    }

    /// 400 for one parameter or field with a value that cannot be.
    #[must_use]
    pub fn bad_field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::bad_request("bad-parameter", detail).field(field)
    }

    /// 401: no key, or one that we do not know.
    #[must_use]
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"antiphon\""))
    }

    /// 403: a valid key that may not do this.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404: there is no such thing.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 409: it is there already, or in a state that forbids this.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 410: it was there, and will not be again.
    #[must_use]
    pub fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "gone", detail)
    }

    /// 413: the body is over its limit, in bytes.
    #[must_use]
    pub fn too_large(limit: u64) -> Self {
        let detail = match limit / MIB {
            0 => format!("the body may have at most {limit} bytes"),
            whole if limit.is_multiple_of(MIB) => format!("the body may have at most {whole} MiB ({limit} bytes)"),
            _ => format!("the body may have at most {:.1} MiB ({limit} bytes)", limit as f64 / MIB as f64),
        };
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    /// 415: the body is nothing that we can read.
    #[must_use]
    pub fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
    }

    /// 429: slower, please; `retry_after` in seconds.
    #[must_use]
    pub fn too_many(detail: impl Into<String>, retry_after: u32) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail);
        problem.retry_after = Some(retry_after);
        problem
    }

    /// 500: a fault of ours. The cause belongs into the log, not into the answer.
    #[must_use]
    pub fn internal() -> Self {
        let detail = "the server failed on this request; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// 503: something of ours is not usable now; trying again later is safe.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        problem.retry_after = Some(RETRY_SECONDS);
        problem
    }

    /// Names the parameter or field that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Adds what to do, or the nearest valid name.
    #[must_use]
    pub fn hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(_) | DbError::Broken(_) => {
                tracing::warn!(%error, "request refused: database");
                Self::unavailable("the database cannot be used now")
            }
            DbError::Conflict(_) => Self::conflict("it exists already, or belongs to something that does not"),
            DbError::Statement { .. } => {
                tracing::error!(%error, "request failed: database");
                Self::internal()
            }
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Unavailable(_) | QueueError::Broken(_) => {
                tracing::warn!(%error, "request refused: queue");
                Self::unavailable("the queue cannot be used now")
            }
            QueueError::TooLarge { limit, .. } => Self::too_large(limit as u64),
            QueueError::NotPermitted(_) => {
                tracing::error!(%error, "request failed: queue");
                Self::internal()
            }
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::NotFound(_) => Self::not_found("the audio is not kept here any more"),
            BlobError::Unavailable(_) => {
                tracing::warn!(%error, "request refused: blobs");
                Self::unavailable("the blob store cannot be used now")
            }
            BlobError::Source(reason) => Self::bad_request("broken-upload", format!("the upload broke off: {reason}")),
            BlobError::Key(_) | BlobError::Damaged(_) | BlobError::NotPermitted => {
                tracing::error!(%error, "request failed: blobs");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_in_words_of_people_too() {
        let cases = [
            (100, "at most 100 bytes"),
            (16 * MIB, "at most 16 MiB (16777216 bytes)"),
            (2_000_000, "at most 1.9 MiB (2000000 bytes)"),
        ];
        for (limit, expected) in cases {
            let detail = Problem::too_large(limit).detail;
            assert!(detail.ends_with(expected), "{detail}");
        }
    }

    #[tokio::test]
    async fn a_problem_is_a_problem_document_with_its_headers() {
        let response = Problem::unauthorized("no key").field("authorization").into_response();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["type"], "/problems/unauthorized");
        assert_eq!(value["status"], 401);
        assert_eq!(value["field"], "authorization");
        assert!(value.get("hint").is_none());
    }

    #[test]
    fn what_is_not_usable_says_when_to_come_back() {
        let problem = Problem::from(QueueError::Unavailable(String::from("disk full")));
        assert_eq!(problem.status, 503);
        assert!(problem.retry_after.is_some_and(|seconds| (1..=5).contains(&seconds)));
        assert_eq!(Problem::from(DbError::Unavailable(String::from("locked"))).status, 503);
    }

    #[test]
    fn faults_of_ours_tell_nothing_of_our_inside() {
        let error = DbError::Statement { statement: String::from("a.sql"), message: String::from("no column x") };
        let problem = Problem::from(error);
        assert_eq!(problem.status, 500);
        assert!(!problem.detail.contains("column"));
    }
}
