//! The API as the pages see it: requests and answers, here or elsewhere.

use std::time::Duration;

use antiphon_platform::http::Problem;
use antiphon_platform::outbound::{Allow, Outbound};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::de::DeserializeOwned;
use tower::ServiceExt;
use url::Url;

use crate::failure::Failure;
use crate::visitor::Visitor;

/// The largest answer that a page is made of, in bytes.
const ANSWER_LIMIT: usize = 32 << 20;

/// How long an answer may take to begin: longer than any `wait`. An upload that is passed on takes its time.
const PATIENCE: Duration = Duration::from_secs(45);
const UPLOAD_PATIENCE: Duration = Duration::from_secs(3_600);

/// Marks what was passed on once: an API that leads back here would be asked without end.
const PASSED: HeaderName = HeaderName::from_static("antiphon-web");

/// What belongs to one connection, and is not passed on (RFC 9110, 7.6.1), and the length, which the body tells.
const OF_THE_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
];

/// What is no address of an API.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address of an API, such as http://api:8470")]
pub struct ApiError(String);

/// Where the API is. Cheap to clone.
#[derive(Clone)]
pub enum Api {
    /// In this process.
    Here(Router),
    /// On a server.
    There(Server),
}

/// An API on a server.
#[derive(Clone)]
pub struct Server {
    url: Url,
    outbound: Outbound,
}

impl Api {
    /// The API at an address such as `http://api:8470`.
    ///
    /// # Errors
    /// [`ApiError`] for what is none.
    pub fn at(address: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError(address.to_owned());
        let url = Url::parse(address).map_err(|_| wrong())?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")).ok_or_else(wrong)?;
        // An operator named it, so it may be in a private network.
        let allow = Allow::parse(&[host.to_owned()]).map_err(|_| wrong())?;
        Ok(Self::There(Server { outbound: Outbound::new(allow), url }))
    }

    /// Sends a request; whatever comes back is an answer.
    async fn send(&self, request: Request) -> Result<Response, Failure> {
        match self {
            Self::Here(router) => {
                let Ok(response) = router.clone().oneshot(request).await;
                Ok(response)
            }
            Self::There(server) => server.send(request).await,
        }
    }

    /// Sends a visitor's request with his key.
    pub async fn ask(
        &self,
        visitor: &Visitor,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response, Failure> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| Failure::bug("a page asked for what is no path"))?;
        request.headers_mut().extend(headers.iter().cloned());
        if let Some(value) = visitor.authorization() {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        request.extensions_mut().insert(visitor.address);
        request.extensions_mut().insert(visitor.stopping.clone());
        self.send(request).await
    }

    /// The body of an answer that is no refusal.
    pub async fn bytes(&self, visitor: &Visitor, method: Method, path: &str) -> Result<Bytes, Failure> {
        let response = self.ask(visitor, method, path, &[]).await?;
        let status = response.status();
        let body = read(response).await?;
        if status.is_success() { Ok(body) } else { Err(Failure::refused(status, &body)) }
    }

    /// What a GET gives, as `T`.
    pub async fn get<T: DeserializeOwned>(&self, visitor: &Visitor, path: &str) -> Result<T, Failure> {
        let body = self.bytes(visitor, Method::GET, path).await?;
        serde_json::from_slice(&body).map_err(|error| {
            tracing::error!(path, %error, "the API answered what the pages do not understand");
            Failure::bug("the API answered what this version of the pages does not understand")
        })
    }
}

async fn read(response: Response) -> Result<Bytes, Failure> {
    let mut all = BytesMut::new();
    let mut pieces = response.into_body().into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Failure::away(format!("its answer broke off: {error}")))?;
        if all.len() + piece.len() > ANSWER_LIMIT {
            return Err(Failure::bug("the API's answer is larger than a page can show; ask for less"));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

impl Server {
    async fn send(&self, request: Request) -> Result<Response, Failure> {
        let (mut parts, body) = request.into_parts();
        OF_THE_CONNECTION.iter().for_each(|name| {
            parts.headers.remove(name);
        });
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", self.url.host_str().unwrap_or_default());
        let host = HeaderValue::from_str(&host).map_err(|_| Failure::bug("the API's address is no host"))?;
        parts.headers.insert(header::HOST, host);
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        parts.headers.insert(PASSED, HeaderValue::from_static("1"));
        let base = self.url.path().trim_end_matches('/');
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("{base}{path}");
        parts.uri = uri.parse().map_err(|_| Failure::bug("the request is no path of the API"))?;
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        let patience = if reads { PATIENCE } else { UPLOAD_PATIENCE };
        let sent = self.outbound.send(&self.url, Request::from_parts(parts, body), patience).await;
        let mut answer = sent.map_err(|error| Failure::away(error.to_string()))?;
        let (status, mut headers) = (answer.status, std::mem::take(&mut answer.headers));
        for name in &OF_THE_CONNECTION {
            headers.remove(name);
        }
        let pieces = futures::stream::try_unfold(answer, |mut answer| async move {
            Ok::<_, antiphon_platform::outbound::OutboundError>(answer.chunk().await?.map(|piece| (piece, answer)))
        });
        let mut response = Response::new(Body::from_stream(pieces.into_stream()));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}

/// Everything that begins as a path of the API is passed on to it.
pub fn pass_on(api: Api) -> Router {
    let passed = any(pass);
    Router::new().route("/api/{*path}", passed.clone()).route("/docs", passed).with_state(api)
}

async fn pass(State(api): State<Api>, request: Request) -> Response {
    if request.headers().contains_key(&PASSED) {
        let detail = "web.api leads back to a server without an API; set it to where role api listens";
        return Problem::new(StatusCode::LOOP_DETECTED, "no-api", detail).into_response();
    }
    api.send(request).await.unwrap_or_else(|failure| failure.problem().into_response())
}

/// Whether the caller would rather see a page than a document for programs.
pub fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.trim_start().starts_with("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_an_api_is_one_of_http() {
        assert!(Api::at("http://api:8470").is_ok() && Api::at("https://audio.example.org/base").is_ok());
        for wrong in ["", "api:8470", "ftp://api", "http://"] {
            assert!(Api::at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn browsers_are_told_from_programs() {
        let of = |accept: &'static str| {
            wants_page(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert!(of("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(!of("*/*") && !of("application/json"));
    }
}
