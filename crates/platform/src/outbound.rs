//! Requests to addresses that people name: streams, web hooks. Nobody may make this process reach into its own network.
//!
//! A name is resolved once, what it resolves to is checked, and the connection goes to exactly that address; a redirect
//! begins anew. Private, loopback, link-local and other special addresses are refused unless they are allowed by name or
//! by range.

mod address;
mod icy;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

pub use address::{Allow, AllowError, is_public};
use icy::Icy;

/// How long looking a name up, connecting, and waiting for the head of an answer may take each.
const PATIENCE: Duration = Duration::from_secs(10);

/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// Addresses of one name that are tried.
const ADDRESSES: usize = 3;

/// The largest head of an answer, in bytes.
const HEAD_LIMIT: usize = 64 * 1024;

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// No address of this kind is fetched.
    #[error("{0}")]
    Address(String),
    /// The address may not be reached.
    #[error(
        "{host} is {address}, a private or special address, which is refused; allow the host or its range to reach it"
    )]
    Refused {
        /// What was asked for.
        host: String,
        /// What it leads to.
        address: IpAddr,
    },
    /// Nobody answers there, or not as HTTP.
    #[error("{0}")]
    Unreachable(String),
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    BrokeOff(String),
}

/// Fetches over HTTP and HTTPS. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    allow: Arc<Allow>,
    tls: Arc<OnceCell<TlsConnector>>,
}

/// An answer whose body is still to be read.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Where it came from, after redirects.
    pub url: Url,
    body: Incoming,
    connection: AbortHandle,
}

impl Drop for Response {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Response {
    /// The next bytes of the body; `None` at its end. Cancel-safe.
    ///
    /// # Errors
    /// [`OutboundError::BrokeOff`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| OutboundError::BrokeOff(error.to_string()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// All of the body, if it has at most `limit` bytes and comes within 10 s.
    ///
    /// # Errors
    /// [`OutboundError::BrokeOff`], also for more bytes and more time.
    pub async fn whole(mut self, limit: usize) -> Result<Vec<u8>, OutboundError> {
        let reading = async {
            let mut all = Vec::new();
            while let Some(chunk) = self.chunk().await? {
                if all.len() + chunk.len() > limit {
                    return Err(OutboundError::BrokeOff(format!("it has more than {limit} bytes")));
                }
                all.extend_from_slice(&chunk);
            }
            Ok(all)
        };
        timeout(PATIENCE, reading)
            .await
            .unwrap_or_else(|_| Err(OutboundError::BrokeOff(format!("it took longer than {} s", PATIENCE.as_secs()))))
    }
}

impl Outbound {
    /// Reaches public addresses, and those that `allow` names.
    #[must_use]
    pub fn new(allow: Allow) -> Self {
        Self { allow: Arc::new(allow), tls: Arc::default() }
    }

    /// The addresses of a host that may be reached, in the order of the resolver.
    ///
    /// # Errors
    /// [`OutboundError::Refused`] if it has none, [`OutboundError::Unreachable`] if it is not known.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, OutboundError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let unknown = |why: &dyn fmt::Display| OutboundError::Unreachable(format!("{bare} cannot be looked up: {why}"));
        let found = timeout(PATIENCE, tokio::net::lookup_host((bare, port)))
            .await
            .map_err(|_| unknown(&"no answer in time"))?
            .map_err(|error| unknown(&error))?;
        let (mut permitted, mut refused) = (Vec::new(), None);
        for address in found {
            if self.allow.permits(bare, address.ip()) {
                permitted.push(address);
            } else {
                refused = Some(address.ip());
            }
        }
        match (permitted.is_empty(), refused) {
            (false, _) => Ok(permitted),
            (true, Some(address)) => Err(OutboundError::Refused { host: bare.to_owned(), address }),
            (true, None) => Err(unknown(&"it has no address")),
        }
    }

    /// Asks for `url`, following redirects. A user name and password in the address are sent to its own host only.
    ///
    /// # Errors
    /// An [`OutboundError`]; any status is an answer.
    pub async fn get(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Response, OutboundError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            let response = self.get_once(&url, headers).await?;
            let moved = response.status.is_redirection() && response.status != StatusCode::NOT_MODIFIED;
            let target = response.headers.get(header::LOCATION).and_then(|target| target.to_str().ok());
            match target.filter(|_| moved) {
                None => return Ok(response),
                Some(target) => {
                    url = url
                        .join(target)
                        .map_err(|_| OutboundError::Unreachable(String::from("it redirects to no address")))?;
                }
            }
        }
        Err(OutboundError::Unreachable(format!("it redirects more than {REDIRECTS} times")))
    }

    async fn get_once(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Response, OutboundError> {
        let host = url.host_str().ok_or_else(no_host)?;
        self.send(url, request(Method::GET, url, host, headers, Empty::new())?, PATIENCE).await
    }

    /// Sends `body` to `url`, once: a redirect is an answer like any other, for what is sent is meant for this address.
    ///
    /// # Errors
    /// An [`OutboundError`]; any status is an answer.
    pub async fn post(&self, url: &Url, headers: &[(&str, &str)], body: Bytes) -> Result<Response, OutboundError> {
        let host = url.host_str().ok_or_else(no_host)?;
        self.send(url, request(Method::POST, url, host, headers, Full::new(body))?, PATIENCE).await
    }

    /// Sends a request as it is, on a connection of its own to where `url` leads; a redirect is an answer like any other.
    /// The head of the answer may take `patience`, sending the request included.
    ///
    /// # Errors
    /// An [`OutboundError`]; any status is an answer.
    pub async fn send<B>(&self, url: &Url, request: Request<B>, patience: Duration) -> Result<Response, OutboundError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let is_tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(OutboundError::Address(format!("{other}: is not fetched; http: and https: are"))),
        };
        let host = url.host_str().ok_or_else(no_host)?;
        let port = url.port_or_known_default().unwrap_or(80);
        let stream = self.connect(host, port).await?;
        if is_tls {
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                .map_err(|_| OutboundError::Address(format!("{host} is no name that a certificate can hold")))?;
            let connecting = self.tls().await?.connect(name, stream);
            let stream = within("TLS", connecting).await?;
            return exchange(stream, request, url, patience).await;
        }
        exchange(stream, request, url, patience).await
    }

    /// Connects to the first address of a host that answers.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, OutboundError> {
        let mut failure = None;
        for address in self.resolve(host, port).await?.into_iter().take(ADDRESSES) {
            match within("the connection", TcpStream::connect(address)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| OutboundError::Unreachable(format!("{host} has no address"))))
    }

    async fn tls(&self) -> Result<TlsConnector, OutboundError> {
        let connector = self.tls.get_or_try_init(|| async {
            let unusable =
                |error: &dyn fmt::Display| OutboundError::Unreachable(format!("TLS cannot be used: {error}"));
            let roots = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
            let found = roots.await.map_err(|error| unusable(&error))?;
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(unusable(&"this machine has no root certificates; install ca-certificates"));
            }
            let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| unusable(&error))?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Ok(TlsConnector::from(Arc::new(config)))
        });
        connector.await.cloned()
    }
}

/// An address as it may be shown: without user, password and query, which may be secret.
#[must_use]
pub fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn request<B>(
    method: Method,
    url: &Url,
    host: &str,
    headers: &[(&str, &str)],
    body: B,
) -> Result<Request<B>, OutboundError> {
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("antiphon/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !url.username().is_empty() {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pair = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
        if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))) {
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
    }
    request.body(body).map_err(|error| OutboundError::Address(format!("the address cannot be asked for: {error}")))
}

/// One request on a connection of its own.
async fn exchange<S, B>(
    stream: S,
    request: Request<B>,
    url: &Url,
    patience: Duration,
) -> Result<Response, OutboundError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let unreachable = |error: hyper::Error| OutboundError::Unreachable(format!("no answer: {error}"));
    let io = TokioIo::new(Icy::new(stream));
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(io).await.map_err(unreachable)?;
    let connection = tokio::spawn(connection).abort_handle();
    let answer = timeout(patience, sender.send_request(request)).await;
    let answer = answer.map_err(|_| late("the answer", patience)).and_then(|answer| answer.map_err(unreachable));
    match answer {
        Ok(answer) => {
            let (parts, body) = answer.into_parts();
            Ok(Response { status: parts.status, headers: parts.headers, url: url.clone(), body, connection })
        }
        Err(error) => {
            connection.abort();
            Err(error)
        }
    }
}

async fn within<T>(what: &str, work: impl Future<Output = io::Result<T>>) -> Result<T, OutboundError> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|error| OutboundError::Unreachable(format!("{what} failed: {error}"))),
        Err(_) => Err(late(what, PATIENCE)),
    }
}

fn late(what: &str, patience: Duration) -> OutboundError {
    OutboundError::Unreachable(format!("{what} took longer than {} s", patience.as_secs()))
}

fn no_host() -> OutboundError {
    OutboundError::Address(String::from("the address has no host"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives `answers` to one connection each; its port, and what it was asked.
    async fn server(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                asked.push(String::from_utf8(head).unwrap());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (port, asked)
    }

    fn local() -> Outbound {
        Outbound::new(Allow::parse(&[String::from("127.0.0.0/8")]).unwrap())
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[tokio::test]
    async fn an_old_radio_server_is_understood() {
        let (port, asked) = server(vec![String::from("ICY 200 OK\r\nicy-metaint:16\r\n\r\nsound")]).await;
        let outbound = local();
        let answer = outbound
            .get(&url(&format!("http://me:se%20cret@127.0.0.1:{port}/live?x=1")), &[("icy-metadata", "1")])
            .await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, &answer.headers["icy-metaint"]), (StatusCode::OK, &HeaderValue::from(16)));
        assert_eq!(answer.whole(100).await.unwrap(), b"sound");
        let asked = asked.await.unwrap().remove(0).to_lowercase();
        assert!(asked.starts_with("get /live?x=1 http/1.1\r\n") && asked.contains("icy-metadata: 1"), "{asked}");
        assert!(asked.contains(&format!("basic {}", STANDARD.encode("me:se cret")).to_lowercase()), "{asked}");
    }

    #[tokio::test]
    async fn a_redirect_is_followed_and_checked_again() {
        let (there, _) = server(vec![String::from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]).await;
        let moved = |to: String| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        let (here, _) = server(vec![
            moved(format!("http://127.0.0.1:{there}/b")),
            moved(String::from("http://169.254.169.254/latest/meta-data")),
            moved(String::from("file:///etc/passwd")),
        ])
        .await;
        let start = url(&format!("http://127.0.0.1:{here}/a"));
        let outbound = local();
        let answer = outbound.get(&start, &[]).await.unwrap();
        assert_eq!(answer.url.path(), "/b");
        assert_eq!(answer.whole(2).await.unwrap(), b"ok");
        assert!(matches!(outbound.get(&start, &[]).await, Err(OutboundError::Refused { .. })));
        assert!(matches!(outbound.get(&start, &[]).await, Err(OutboundError::Address(_))));
    }

    #[tokio::test]
    async fn what_is_sent_arrives_whole_and_is_sent_nowhere_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            while !text.ends_with("{\"a\":1}") {
                let mut some = [0; 256];
                let count = stream.read(&mut some).await.unwrap();
                assert_ne!(count, 0, "{text}");
                text.push_str(std::str::from_utf8(&some[..count]).unwrap());
            }
            let moved = format!("HTTP/1.1 307 Moved\r\nLocation: http://{here}/b\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(moved.as_bytes()).await.unwrap();
            text
        });
        let target = url(&format!("http://{here}/hook?x=1"));
        let answer = local().post(&target, &[("webhook-id", "a/1")], Bytes::from_static(b"{\"a\":1}")).await.unwrap();
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
        let text = asked.await.unwrap().to_lowercase();
        assert!(text.starts_with("post /hook?x=1 http/1.1\r\n"), "{text}");
        assert!(text.contains("content-length: 7\r\n") && text.contains("webhook-id: a/1\r\n"), "{text}");
        assert!(matches!(
            Outbound::new(Allow::default()).post(&target, &[], Bytes::new()).await,
            Err(OutboundError::Refused { .. })
        ));
    }

    #[tokio::test]
    async fn private_addresses_are_refused_by_number_and_by_name() {
        let outbound = Outbound::new(Allow::default());
        for host in ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "192.168.0.1", "[::ffff:127.0.0.1]", "0x7f.1"] {
            let refused = outbound.get(&url(&format!("http://{host}:9/")), &[]).await.err().unwrap();
            assert!(matches!(refused, OutboundError::Refused { .. }), "{host}: {refused}");
        }
        let by_name = Outbound::new(Allow::parse(&[String::from("localhost")]).unwrap());
        assert!(by_name.resolve("localhost", 9).await.is_ok());
        assert!(by_name.resolve("127.0.0.1", 9).await.is_err());
    }

    #[tokio::test]
    async fn too_much_is_refused() {
        let (port, _) = server(vec![String::from("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")]).await;
        let answer = local().get(&url(&format!("http://127.0.0.1:{port}/")), &[]).await.unwrap();
        assert!(answer.whole(2).await.is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(
            shown(&url("https://me:pass@radio.example.org:8443/live?token=1")),
            "https://radio.example.org:8443/live"
        );
    }
}
