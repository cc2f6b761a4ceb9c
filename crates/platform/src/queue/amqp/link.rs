//! One connection to the broker: made, watched, and made again when it ends.
//!
//! An engine has two, as RabbitMQ advises: one that sends and one that takes. A broker that is short of memory or disk
//! stops to read from connections that publish; consumers must go on acking then, for they are what makes room.

use std::net::Shutdown;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_rs::{Runtime, Tokio};
use futures::StreamExt as _;
use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::guard::{Guarded, GuardedReactor, Heard, Kit, Raw};
use crate::address::{Address, Freshness};
use crate::queue::QueueError;

/// How long a connection may take until it can be used, name look-up and TLS included.
const CONNECT: Duration = Duration::from_secs(4);

/// Seconds by which each side promises to be heard; both send twice as often.
const HEARTBEAT: u16 = 3;

/// A broker that is silent for so many times that long is gone: it left out three signs of life. The client would wait for
/// 2 to 3 times, which together with connecting again is longer than anybody should wait.
const SILENT: f64 = 5.0 / 3.0;

/// Waits between attempts to connect: doubled from the first to the last.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// As the last of [`WAITS`], after the broker refused the account: nobody mends that in a second.
const REFUSED: Duration = Duration::from_secs(3);

/// How often a connection is looked at that says nothing.
const LOOK: Duration = Duration::from_millis(500);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Publishes.
    Send,
    /// Consumes, declares, looks.
    Take,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Take => "take",
        }
    }
}

/// Keeps one connection. It is first made when it is first asked for.
pub(super) struct Link {
    shared: Arc<Shared>,
    keeper: OnceLock<AbortHandle>,
}

struct Shared {
    address: Address,
    purpose: Purpose,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    /// Not there, and why.
    Away(String),
    There(Arc<Live>),
    Closed,
}

/// A connection that was made, and may have ended since.
pub(super) struct Live {
    connection: Connection,
    socket: Socket,
    heard: Heard,
    /// Why the broker takes nothing now.
    blocked: Mutex<Option<String>>,
    suspected: Notify,
}

/// The socket under a connection, so that one that does not answer can be ended.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<std::net::TcpStream>>>);

/// Why there is no connection.
struct Failure {
    reason: String,
    /// The broker does not accept the account.
    refused: bool,
}

impl Link {
    pub(super) fn new(address: Address, purpose: Purpose) -> Self {
        let state = watch::Sender::new(State::Away(String::from("not connected yet")));
        Self { shared: Arc::new(Shared { address, purpose, state }), keeper: OnceLock::new() }
    }

    /// The connection, if it is there before `deadline`.
    pub(super) async fn live(&self, deadline: Instant) -> Result<Arc<Live>, QueueError> {
        self.keeper.get_or_init(|| tokio::spawn(keep(Arc::clone(&self.shared))).abort_handle());
        let mut state = self.shared.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                State::There(live) if live.connection.status().connected() => return Ok(Arc::clone(live)),
                State::There(live) => live.suspect(),
                State::Away(_) => {}
                State::Closed => return Err(closed()),
            }
            if !matches!(tokio::time::timeout_at(deadline, state.changed()).await, Ok(Ok(()))) {
                return Err(QueueError::Unavailable(self.trouble()));
            }
        }
    }

    /// Why there is no connection.
    fn trouble(&self) -> String {
        match &*self.shared.state.borrow() {
            State::Away(reason) => reason.clone(),
            State::There(_) => String::from("the connection to the broker has just ended"),
            State::Closed => String::from("the queue is closed"),
        }
    }

    /// Ends the connection in order, if it answers.
    pub(super) async fn close(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
        if let State::There(live) = self.shared.state.send_replace(State::Closed) {
            let ended = live.connection.close(200, "closed".into());
            if tokio::time::timeout(Duration::from_secs(2), ended).await.is_err() {
                live.socket.end();
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

impl Live {
    /// A new channel.
    pub(super) async fn channel(&self, deadline: Instant) -> Result<Channel, QueueError> {
        let channel = tokio::time::timeout_at(deadline, self.connection.create_channel()).await;
        let channel = channel.map_err(|_| QueueError::Unavailable(self.slow()))?;
        channel.map_err(|error| {
            self.suspect();
            QueueError::Unavailable(describe(&error))
        })
    }

    /// Why the broker takes nothing now, if so.
    pub(super) fn blocked(&self) -> Option<String> {
        let reason = self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reason.map(|reason| format!("the broker takes no messages now: {reason}"))
    }

    /// What to say when an answer did not come in time.
    pub(super) fn slow(&self) -> String {
        self.blocked().unwrap_or_else(|| String::from("the broker did not answer in time"))
    }

    /// Something went wrong on it: have its keeper look whether it has ended.
    pub(super) fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Waits until the connection has ended; why.
    async fn ended(&self) -> String {
        let mut events = std::pin::pin!(self.connection.events_listener());
        let mut reason = String::from("the connection to the broker ended");
        let heartbeat = f64::from(self.connection.configuration().heartbeat());
        let mut silent_since: Option<Instant> = None;
        loop {
            if !self.connection.status().connected() {
                return reason;
            }
            let is_silent = heartbeat > 0.0 && self.heard.silence().as_secs_f64() > heartbeat * SILENT;
            // Not at the first look: a process that itself stood still reads what has come meanwhile before the next one.
            let since = *silent_since.get_or_insert_with(Instant::now);
            if !is_silent {
                silent_since = None;
            } else if since.elapsed() >= LOOK / 2 {
                self.socket.end();
                return format!("nothing was heard of the broker for {:.1} s", self.heard.silence().as_secs_f64());
            }
            let event = tokio::select! {
                event = events.next() => event,
                () = self.suspected.notified() => continue,
                () = tokio::time::sleep(LOOK) => continue,
            };
            match event {
                Some(Event::ConnectionBlocked(why)) => {
                    tracing::warn!(reason = why, "the broker takes no messages now");
                    *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!("the broker takes messages again");
                    *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                Some(Event::Error(error)) => reason = describe(&error),
                Some(_) => {}
                None => return reason,
            }
        }
    }
}

impl Socket {
    /// Ends the connection without a word: whoever reads or writes it notices.
    fn end(&self) {
        if let Some(socket) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.socket.end();
    }
}

/// Makes the connection, and makes it again whenever it has ended.
async fn keep(shared: Arc<Shared>) {
    let purpose = shared.purpose.word();
    let mut wait = WAITS[0];
    let mut freshness = Freshness::Cached;
    let mut said = String::new();
    loop {
        let failure = match connect(&shared.address, freshness, shared.purpose).await {
            Ok(live) => {
                let live = Arc::new(live);
                let since = Instant::now();
                shared.state.send_replace(State::There(Arc::clone(&live)));
                metrics::counter!("antiphon_queue_connections_total", "for" => purpose).increment(1);
                metrics::gauge!("antiphon_queue_connected", "for" => purpose).set(1.0);
                tracing::debug!(purpose, "connected to the broker");
                let reason = live.ended().await;
                metrics::gauge!("antiphon_queue_connected", "for" => purpose).set(0.0);
                (freshness, said) = (Freshness::Cached, String::new());
                if since.elapsed() > WAITS[1] {
                    wait = WAITS[0];
                }
                Failure { reason, refused: false }
            }
            Err(failure) => failure,
        };
        if failure.reason != said {
            tracing::warn!(purpose, reason = failure.reason, "no connection to the broker; trying again");
            said.clone_from(&failure.reason);
        }
        shared.state.send_replace(State::Away(failure.reason));
        if failure.refused && freshness == Freshness::Cached {
            // The credentials may have been rotated: ask for those of now before waiting.
            freshness = Freshness::Now;
            continue;
        }
        freshness = if failure.refused { Freshness::Now } else { Freshness::Cached };
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(if failure.refused { REFUSED } else { WAITS[1] });
    }
}

async fn connect(address: &Address, freshness: Freshness, purpose: Purpose) -> Result<Live, Failure> {
    let failed = |reason| Failure { reason, refused: false };
    let url = address.current(freshness).await.map_err(|error| failed(error.to_string()))?;
    let Target { uri, tls } = target(url.reveal()).map_err(failed)?;
    let place = format!("{}:{}", uri.authority.host, uri.authority.port);
    let tokio = Tokio::current();
    let runtime = Runtime::new(Kit::new(tokio.clone(), GuardedReactor(tokio.clone())));
    let reactor = Runtime::new(tokio);
    let name = format!("antiphon {} {}", std::process::id(), purpose.word());
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let socket = Socket::default();
    let opened = socket.clone();
    let heard = Heard::now();
    let hearing = heard.clone();
    let connecting = Connection::connector(
        uri,
        runtime,
        async move |uri: AMQPUri, _| {
            let host = (uri.authority.host.as_str(), uri.authority.port);
            let addresses: Vec<_> = tokio::net::lookup_host(host).await?.collect();
            let stream = tokio::time::timeout(CONNECT, Raw::connect(&reactor, addresses));
            let stream = stream.await.map_err(std::io::Error::from)??;
            if let Raw::Plain(plain) = &stream {
                let copy = std::os::fd::AsFd::as_fd(plain.get_ref()).try_clone_to_owned()?;
                *opened.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy.into());
            }
            let stream = match &tls {
                None => stream,
                Some(tls) => stream.into_rustls(tls, &uri.authority.host).await?,
            };
            Ok(AsyncTcpStream::Plain(Guarded::new(stream, hearing.clone())))
        },
        properties,
    );
    let connected = tokio::time::timeout(CONNECT, connecting).await;
    let connected = connected.unwrap_or_else(|_| {
        let reason = format!("no answer within {} s", CONNECT.as_secs());
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, reason).into())
    });
    match connected {
        Ok(connection) => Ok(Live { connection, socket, heard, blocked: Mutex::default(), suspected: Notify::new() }),
        Err(error) => {
            // Whatever still waits on the socket must not wait for ever.
            socket.end();
            let refused =
                matches!(error.kind(), ErrorKind::ProtocolError(error) if [403, 530].contains(&error.get_id()));
            Err(Failure { reason: format!("the broker at {place}: {}", describe(&error)), refused })
        }
    }
}

/// Where to connect to.
struct Target {
    uri: AMQPUri,
    /// None without TLS.
    tls: Option<RustlsConnector>,
}

/// Reads `amqp://USER:PASSWORD@HOST:PORT/VHOST` or `amqps://`, the latter with an optional parameter `cacert`: the path
/// of a PEM file with the authorities to trust in place of the system's.
fn target(url: &str) -> Result<Target, String> {
    // Errors of the parsers are not passed on, for they may quote what they could not read.
    let shape = || String::from("the queue's address is no amqp://USER:PASSWORD@HOST:PORT/VHOST");
    let parsed = url::Url::parse(url).map_err(|_| shape())?;
    let mut uri: AMQPUri = url.parse().map_err(|_| shape())?;
    if let Some(host) = parsed.host_str() {
        // Brackets belong to the URL, not to an IPv6 address.
        uri.authority.host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    let tls = match uri.scheme {
        lapin::uri::AMQPScheme::AMQP => None,
        lapin::uri::AMQPScheme::AMQPS => {
            let path = parsed.query_pairs().find(|(key, _)| key == "cacert").map(|(_, path)| path.into_owned());
            Some(trust(path.as_deref())?)
        }
    };
    Ok(Target { uri, tls })
}

/// TLS that trusts the authorities in the PEM file at `path`, or the system's.
fn trust(path: Option<&str>) -> Result<RustlsConnector, String> {
    let config = match path {
        None => RustlsConnectorConfig::new_with_native_certs()
            .map_err(|error| format!("the system's certificates: {error}; name some with ?cacert=PATH"))?,
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = certificates.map_err(|error| format!("cacert {path}: {error}"))?;
            if certificates.is_empty() {
                return Err(format!("cacert {path}: it has no certificate"));
            }
            RustlsConnectorConfig::default().with_parsable_certificates(certificates)
        }
    };
    config.connector_with_no_client_auth().map_err(|error| error.to_string())
}

/// What a client's error says, without its preamble.
pub(super) fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// The AMQP reply code of an error that the broker sent.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

pub(super) fn closed() -> QueueError {
    QueueError::Unavailable(String::from("the queue is closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_never_quoted() {
        let Ok(Target { uri, tls }) = target("amqp://worker:pa%2Fss@[::1]:5673/my%2Fhost") else {
            panic!("an address")
        };
        assert_eq!((uri.authority.host.as_str(), uri.authority.port, uri.vhost.as_str()), ("::1", 5673, "my/host"));
        assert_eq!(uri.authority.userinfo.password, "pa/ss");
        assert_eq!((uri.query.heartbeat, tls.is_none()), (Some(HEARTBEAT), true));
        for url in ["amqps://worker:secret@broker/?cacert=/nowhere.pem", "http://worker:secret@broker/", "secret", ""] {
            let error = target(url).map(drop).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
