//! Request bodies: bounded in size and time, and refused as problems.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::{Problem, nearest};
use crate::blobs::{BlobError, ByteStream};

/// The largest body that [`Json`] reads, in bytes; for larger ones there is [`read_json`].
pub const JSON_LIMIT: usize = 256 * 1024;

/// How long a sender may fall silent in the middle of a body.
const SILENCE: Duration = Duration::from_secs(30);

/// A JSON body of at most [`JSON_LIMIT`] bytes as `T`; everything else is a [`Problem`] of 400, 413 or 415.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        read_json(&parts.headers, body, JSON_LIMIT).await.map(Self)
    }
}

/// Reads a JSON body of at most `limit` bytes.
///
/// # Errors
/// 415 for another content type (none is taken as JSON), 413 over the limit, 400 for an empty body, what is no
/// JSON, and a field that is unknown, missing or wrong, which is named.
pub async fn read_json<T: DeserializeOwned>(headers: &HeaderMap, body: Body, limit: usize) -> Result<T, Problem> {
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_lowercase();
        if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
            let problem = Problem::unsupported(format!("this route reads JSON, not {kind:?}"));
            return Err(problem.hint(Some("send Content-Type: application/json")));
        }
    }
    parse_json(&read_body(headers, body, limit).await?)
}

/// Reads JSON that is in memory.
///
/// # Errors
/// 400 for nothing, what is no JSON, and a field that is unknown, missing or wrong, which is named.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::bad_request("empty-body", "the body is empty; this route reads a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        json_problem(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| json_problem(".", &error))?;
    Ok(value)
}

fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::bad_request("not-json", format!("the body is not JSON: {error}"));
    }
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let path = if path == "." || path == "?" { "" } else { path };
    // serde says "unknown field `x`, expected one of `a`, `b`" and "missing field `x`", at the path of the parent.
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let named = ["unknown field", "missing field", "duplicate field"].iter().any(|start| message.starts_with(start));
    let child = if named { quoted.first().copied().unwrap_or_default() } else { "" };
    let field = match (path, child) {
        (path, "") => path.to_owned(),
        ("", child) => child.to_owned(),
        (path, child) if path == child || path.ends_with(&format!(".{child}")) => path.to_owned(),
        (path, child) => format!("{path}.{child}"),
    };
    let mut problem = Problem::bad_request("bad-field", message);
    if message.starts_with("unknown") {
        problem = problem.hint(nearest(child_of(&quoted), quoted.iter().skip(1).copied()));
    }
    if field.is_empty() { problem } else { problem.field(field) }
}

fn child_of<'a>(quoted: &[&'a str]) -> &'a str {
    quoted.first().copied().unwrap_or_default()
}

/// Reads a body of at most `limit` bytes into memory.
///
/// # Errors
/// 413 before reading when `Content-Length` is over the limit, or as soon as more than that has come; 400 when it
/// breaks off; 408 when the sender falls silent for 30 s.
pub async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let announced = refuse_announced(headers, limit as u64)?;
    let mut stream = body.into_data_stream();
    // A first guess only: what is announced but never sent should not cost memory.
    let mut bytes = BytesMut::with_capacity(usize::try_from(announced.unwrap_or(0)).unwrap_or(0).min(1024 * 1024));
    while let Some(chunk) = next_chunk(&mut stream).await {
        let chunk = chunk?;
        if bytes.len() + chunk.len() > limit {
            return Err(Problem::too_large(limit as u64));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// A body on its way into the blob store, at most `limit` bytes of it.
///
/// The store only learns that its source failed; who is to blame is asked of [`UploadBody::problem`].
pub struct UploadBody {
    fault: Arc<Mutex<Option<Problem>>>,
}

impl UploadBody {
    /// The bytes of `body` as a stream for [`crate::blobs::Blobs::put`], and the other end of it.
    ///
    /// # Errors
    /// 413 when `Content-Length` is over the limit.
    pub fn stream(headers: &HeaderMap, body: Body, limit: u64) -> Result<(ByteStream, Self), Problem> {
        refuse_announced(headers, limit)?;
        let fault = Arc::new(Mutex::new(None));
        let state = (body.into_data_stream(), 0_u64, Some(Arc::clone(&fault)));
        let stream = futures::stream::unfold(state, move |(mut stream, read, fault)| async move {
            let fault = fault?;
            let chunk = next_chunk(&mut stream).await?.and_then(|chunk| {
                let read = read + chunk.len() as u64;
                if read > limit { Err(Problem::too_large(limit)) } else { Ok((chunk, read)) }
            });
            match chunk {
                Ok((chunk, read)) => Some((Ok(chunk), (stream, read, Some(fault)))),
                Err(problem) => {
                    let reason = problem.detail.clone();
                    *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
                    Some((Err(BlobError::Source(reason)), (stream, read, None)))
                }
            }
        });
        Ok((Box::pin(stream), Self { fault }))
    }

    /// What the sender did wrong, if a put failed because of it.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The announced length, or 413 when it is over the limit.
fn refuse_announced(headers: &HeaderMap, limit: u64) -> Result<Option<u64>, Problem> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    match announced {
        Some(length) if length > limit => Err(Problem::too_large(limit)),
        announced => Ok(announced),
    }
}

async fn next_chunk(stream: &mut axum::body::BodyDataStream) -> Option<Result<Bytes, Problem>> {
    match tokio::time::timeout(SILENCE, stream.next()).await {
        Ok(chunk) => chunk.map(|chunk| chunk.map_err(|error| broken_off(&error))),
        Err(_) => {
            let detail = format!("nothing came for {} s in the middle of the body", SILENCE.as_secs());
            Some(Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail)))
        }
    }
}

fn broken_off(error: &axum::Error) -> Problem {
    Problem::bad_request("broken-upload", format!("the body broke off: {error}"))
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Place {
        id: String,
        latitude: Option<f64>,
        inner: Option<Inner>,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        depth: u8,
    }

    async fn place(body: &'static str) -> Result<Place, Problem> {
        read_json(&HeaderMap::new(), Body::from(body), 1_000).await
    }

    #[tokio::test]
    async fn wrong_fields_are_named() {
        let cases = [
            (r#"{"id":3}"#, Some("id")),
            (r#"{"latitude":1.0}"#, Some("id")),
            (r#"{"id":"a","latitude":"north"}"#, Some("latitude")),
            (r#"{"id":"a","lattitude":1.0}"#, Some("lattitude")),
            (r#"{"id":"a","id":"b"}"#, Some("id")),
            (r#"{"id":"a","inner":{"depth":300}}"#, Some("inner.depth")),
            (r#"{"id":"a","inner":{"dept":3}}"#, Some("inner.dept")),
            (r#"{"id":"a","inner":{}}"#, Some("inner.depth")),
            ("{", None),
            ("[]x", None),
            ("", None),
            (r#"{"id":"a"} {"id":"b"}"#, None),
        ];
        for (body, field) in cases {
            let problem = place(body).await.unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (400, field), "{body}: {problem:?}");
        }
        assert_eq!(place(r#"{"id":"a","lattitude":1.0}"#).await.unwrap_err().hint.as_deref(), Some("latitude"));
        assert_eq!(place(r#"{"id":"a"}"#).await.unwrap().id, "a");
    }

    #[tokio::test]
    async fn deep_nesting_is_refused_not_followed() {
        let body = "[".repeat(900);
        let error = read_json::<serde_json::Value>(&HeaderMap::new(), Body::from(body), 1_000).await.unwrap_err();
        assert_eq!(error.status, 400);
    }

    #[tokio::test]
    async fn another_content_type_is_415() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let problem = read_json::<Place>(&headers, Body::from("{}"), 1_000).await.unwrap_err();
        assert_eq!(problem.status, 415);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        assert!(read_json::<Place>(&headers, Body::from(r#"{"id":"a"}"#), 1_000).await.is_ok());
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_is_refused_before_reading() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(11));
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read_body(&headers, never, 10).await.unwrap_err().status, 413);
    }

    #[tokio::test]
    async fn a_body_without_length_is_refused_at_the_limit() {
        let endless =
            || Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 100]))));
        assert_eq!(read_body(&HeaderMap::new(), endless(), 1_000).await.unwrap_err().status, 413);
        let (mut stream, upload) = UploadBody::stream(&HeaderMap::new(), endless(), 1_000).unwrap();
        let mut read = 0;
        let error = loop {
            match stream.next().await.unwrap() {
                Ok(chunk) => read += chunk.len(),
                Err(error) => break error,
            }
        };
        assert_eq!(read, 1_000);
        assert!(matches!(error, BlobError::Source(_)));
        assert!(stream.next().await.is_none());
        assert_eq!(upload.problem().unwrap().status, 413);
    }

    #[tokio::test]
    async fn exactly_the_limit_is_taken() {
        assert_eq!(read_body(&HeaderMap::new(), Body::from(vec![1; 10]), 10).await.unwrap().len(), 10);
        assert_eq!(read_body(&HeaderMap::new(), Body::from(vec![1; 11]), 10).await.unwrap_err().status, 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_falls_silent_is_cut() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read_body(&HeaderMap::new(), silent, 10).await.unwrap_err().status, 408);
    }
}
