//! The server: HTTP/1.1 over TCP, everything bounded, stopped gracefully.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, Request};
use futures::StreamExt;
use http::request::Parts;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long a client may take to send its headers, and a kept connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const HEAD_LIMIT: usize = 64 * 1024;
/// What is read and thrown away of a refused upload, so that its sender gets to read the refusal: bytes and time.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(5);

/// How many connections may be open at once, unless a setting says otherwise.
pub const CONNECTIONS: usize = 1_024;

/// Where a request came from: the peer of its TCP connection. Absent only where there is no connection, in tests
/// that call a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub Option<SocketAddr>);

impl ClientAddress {
    /// Whether it came from this host by a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.0.is_some_and(|address| address.ip().to_canonical().is_loopback())
    }

    /// What limits per address count by: the IPv4 address, or the /64 of an IPv6 address, which is one customer.
    #[must_use]
    pub fn limit_key(&self) -> String {
        match self.0.map(|address| address.ip().to_canonical()) {
            None => String::from("none"),
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}

/// Fires when the server has been told to stop: answers that would never end (live events) end then.
#[derive(Clone, Debug, Default)]
pub struct Stopping(pub CancellationToken);

impl<S: Send + Sync> FromRequestParts<S> for Stopping {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Serves `router` on `listener`, at most `connections` at once, until `stop` fires; then no connection is
/// accepted any more, and those under way have `grace` to end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: usize,
    grace: Duration,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEAD_LIMIT);
    loop {
        // Waiting for a permit before accepting leaves the excess in the kernel's backlog, which is bounded too.
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely; trying again at once would only burn the CPU.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot turn off Nagle's algorithm");
        }
        let service = connection_service(address, router.clone(), stop.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        let open = metrics::gauge!("http_connections");
        open.increment(1);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %address, "connection ended early");
            }
            open.decrement(1);
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way after {} ms and are cut", grace.as_millis());
    }
}

fn connection_service(
    address: SocketAddr,
    router: Router,
    stop: CancellationToken,
) -> impl hyper::service::Service<
    http::Request<hyper::body::Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future: Send,
> + Send {
    hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (parts, body) = request.into_parts();
        let expects = parts.headers.contains_key(http::header::EXPECT);
        let body = Lingering { body: Some(Body::new(body)), unasked: expects };
        let mut request = Request::from_parts(parts, Body::new(body));
        request.extensions_mut().insert(ClientAddress(Some(address)));
        request.extensions_mut().insert(Stopping(stop.clone()));
        router.clone().oneshot(request)
    })
}

/// A request body that, when it is dropped before its end, is read on for a while in the background.
///
/// A connection that is closed while its peer still sends is reset, and the peer may then never see the answer
/// that told it why (413, 401, ...). nginx calls this lingering close.
struct Lingering {
    body: Option<Body>,
    /// The sender waits for "100 Continue" before it sends anything: then there is nothing to read on, and
    /// reading would ask it to send.
    unasked: bool,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        self.unasked = false;
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !self.unasked && !body.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut read = 0;
            let mut chunks = body.into_data_stream();
            let drain = async {
                while let Some(Ok(chunk)) = chunks.next().await {
                    read += chunk.len();
                    if read > LINGER_BYTES {
                        break;
                    }
                }
            };
            // Whether it ended or was cut makes no difference: the answer has been given.
            let _ = tokio::time::timeout(LINGER_TIME, drain).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::http::{Problem, read_body};

    async fn start(router: Router) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, 16, Duration::from_secs(8), stop.clone()));
        (address, stop, served)
    }

    #[tokio::test]
    async fn a_refused_upload_still_reads_its_refusal() {
        let router = Router::new().route(
            "/",
            post(|headers: http::HeaderMap, body: Body| async move {
                read_body(&headers, body, 1_000)
                    .await
                    .map(|_| ())
                    .map_err(|problem| Problem { retry_after: None, ..problem })
            }),
        );
        let (address, stop, served) = start(router).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 20000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // A plain client writes everything before it reads; the kernel's buffers are smaller than this.
        stream.write_all(&vec![0; 20_000_000]).await.expect("the server reads on although it has refused");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        stop.cancel();
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_sender_that_waits_for_continue_is_refused_without_being_asked_to_send() {
        let router = Router::new().route("/", post(|| async { Problem::unauthorized("no key") }));
        let (address, stop, served) = start(router).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 20000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        stop.cancel();
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_lets_requests_under_way_finish_and_ends_live_answers() {
        let (entered, mut waits) = tokio::sync::mpsc::channel::<()>(1);
        let router = Router::new().route(
            "/",
            get(move |Stopping(stopping): Stopping| async move {
                entered.send(()).await.unwrap();
                stopping.cancelled().await;
                "the end"
            }),
        );
        let (address, stop, served) = start(router).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        waits.recv().await.unwrap();
        stop.cancel();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("the end"), "{answer}");
        served.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
    }

    #[test]
    fn addresses_of_one_ipv6_customer_count_together() {
        let key = |text: &str| ClientAddress(Some(text.parse().unwrap())).limit_key();
        assert_eq!(key("[2001:db8:1:2:3::4]:80"), key("[2001:db8:1:2:ffff::1]:80"));
        assert_eq!(key("[::ffff:10.0.0.1]:80"), key("10.0.0.1:81"));
        assert!(ClientAddress(Some("[::ffff:127.0.0.1]:80".parse().unwrap())).is_loopback());
    }
}
