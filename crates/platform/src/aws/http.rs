//! HTTP/1.1 over rustls in which every wait is bounded, and answers that refuse are cut down to their code and message.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http_body::{Body, Frame, SizeHint};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector as TcpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use rustls::ClientConfig;
use tokio::time::{Instant, Sleep, sleep};

/// A connection that nobody used for so long is closed: servers and balancers close theirs soon after, without a word.
const IDLE_CONNECTION: Duration = Duration::from_secs(15);

/// The most of a refusing answer that is read, in bytes.
const REFUSAL: usize = 64 * 1024;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// A connection, with TLS.
    pub connect: Duration,
    /// The head of an answer, after the request was sent.
    pub answer: Duration,
    /// The same for a request with a body, sending it included.
    pub upload: Duration,
    /// The next bytes of an answer.
    pub bytes: Duration,
}

impl Waits {
    /// Waits that follow from the longest for an answer: three times that for an upload of one part.
    pub(crate) fn of_answer(answer: Duration) -> Self {
        Self { connect: answer.min(Duration::from_secs(5)), answer, upload: answer * 3, bytes: answer }
    }
}

/// Makes HTTP clients with these waits and the machine's root certificates.
#[derive(Clone)]
pub(crate) struct Connector {
    waits: Waits,
    tls: Arc<ClientConfig>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.waits.fmt(formatter)
    }
}

impl Connector {
    /// Reads the machine's root certificates; without any, only `http://` can be reached.
    pub(crate) fn new(waits: Waits) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        #[expect(clippy::expect_used, reason = "this provider has what TLS 1.2 and 1.3 need")]
        let builder = || {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
            builder.with_safe_default_protocol_versions().expect("TLS 1.2 and 1.3")
        };
        let tls = match builder().with_native_roots() {
            Ok(builder) => builder.with_no_client_auth(),
            Err(error) => {
                tracing::warn!(%error, "no root certificates: https fails until they are installed or SSL_CERT_FILE set");
                builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
            }
        };
        Self { waits, tls: Arc::new(tls) }
    }

    /// A client that waits for a connection for `connect`.
    fn client_within(&self, connect: Duration) -> HttpClient {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(IDLE_CONNECTION));
        tcp.set_connect_timeout(Some(connect));
        let tls = HttpsConnectorBuilder::new().with_tls_config(ClientConfig::clone(&self.tls));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .build(tls.https_or_http().enable_http1().wrap_connector(tcp));
        HttpClient::new(Service { client, waits: self.waits })
    }

    /// A client.
    pub(crate) fn client(&self) -> HttpClient {
        self.client_within(self.waits.connect)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // Of all options only this one differs between clients: the metadata service of a machine that has none would
        // otherwise be waited for in vain.
        let metadata = options.get_config_value(&ClientConfigKey::ConnectTimeout).is_some_and(|wait| wait == METADATA);
        let connect = if metadata { self.waits.connect.min(Duration::from_secs(1)) } else { self.waits.connect };
        Ok(self.client_within(connect))
    }
}

/// How `object_store` writes the bound that it sets for the metadata service.
const METADATA: &str = "1s";

struct Service {
    client: legacy::Client<HttpsConnector<TcpConnector>, HttpRequestBody>,
    waits: Waits,
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Service")
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {} ms", .0.as_millis())]
struct Late(Duration);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let wait = if request.body().content_length() > 0 { self.waits.upload } else { self.waits.answer };
        let answered = tokio::time::timeout(wait, self.client.request(request)).await;
        let answer = answered
            .map_err(|_| HttpError::new(HttpErrorKind::Timeout, Late(wait)))?
            .map_err(|error| HttpError::new(kind_of(&error), error))?;
        let (parts, body) = answer.into_parts();
        let paced = HttpResponseBody::new(Paced::new(body, self.waits.bytes));
        let refused = parts.status.is_client_error() || parts.status.is_server_error();
        let body = if refused { summary(paced).await.into() } else { paced };
        Ok(HttpResponse::from_parts(parts, body))
    }
}

fn kind_of(error: &legacy::Error) -> HttpErrorKind {
    if error.is_connect() {
        return HttpErrorKind::Connect;
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        match error.downcast_ref::<hyper::Error>() {
            Some(error) if error.is_incomplete_message() || error.is_closed() => return HttpErrorKind::Request,
            _ => cause = error.source(),
        }
    }
    HttpErrorKind::Interrupted
}

/// What of a refusing answer may be shown: `CODE: MESSAGE` of S3's XML or the JSON of the other services, else nothing.
async fn summary(body: HttpResponseBody) -> String {
    let mut text = Vec::new();
    let mut pieces = body.bytes_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        text.extend_from_slice(&piece);
        if text.len() > REFUSAL {
            return String::new();
        }
    }
    let text = String::from_utf8_lossy(&text);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    let (code, message) = match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(json) => {
            let field = |name: &str| json.get(name)?.as_str().map(str::to_owned);
            let code = field("__type").or_else(|| field("code"));
            // Namespaced in some services: `com.amazonaws.secretsmanager#ResourceNotFoundException`.
            let code = code.map(|code| code.rsplit('#').next().unwrap_or_default().to_owned());
            (code, field("message").or_else(|| field("Message")))
        }
        Err(_) => (element("Code"), element("Message")),
    };
    let Some(code) = code else { return String::new() };
    let summary = format!("{code}: {}", message.unwrap_or_default());
    summary.chars().filter(|letter| !letter.is_control()).take(300).collect()
}

/// A body whose every piece must come in time. The clock runs only while somebody waits for one: a slow reader is not a
/// slow server.
struct Paced {
    body: hyper::body::Incoming,
    wait: Duration,
    late: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Paced {
    fn new(body: hyper::body::Incoming, wait: Duration) -> Self {
        Self { body, wait, late: Box::pin(sleep(wait)), waiting: false }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let paced = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut paced.body).poll_frame(context) {
            paced.waiting = false;
            let interrupted = |error| HttpError::new(HttpErrorKind::Interrupted, error);
            return Poll::Ready(frame.map(|frame| frame.map_err(interrupted)));
        }
        if !paced.waiting {
            paced.waiting = true;
            paced.late.as_mut().reset(Instant::now() + paced.wait);
        }
        ready!(paced.late.as_mut().poll(context));
        Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, Late(paced.wait)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
