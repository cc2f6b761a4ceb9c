//! A TCP proxy that makes the faults of networks.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::ports::{Port, reserve};

/// What happens to connections, those that are open and those to come, until another fault is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: bytes pass.
    None,
    /// Connections are reset, new ones right after they were accepted.
    Cut,
    /// Connections are reset and nobody listens.
    Refuse,
    /// No byte passes and no connection ends; the bytes pass once the fault is over.
    Stall,
    /// The target is gone without a word: what the client sends is swallowed, nothing comes back, nothing ends. A
    /// connection that met this stays so for good, as one whose other side lost its power.
    HalfOpen,
    /// So many bytes a second pass, in each direction of each connection.
    Throttle {
        /// At least 1.
        bytes_per_second: u32,
    },
    /// In each direction of each connection, one bit of each so many bytes is turned.
    Corrupt {
        /// At least 1.
        every: u32,
    },
    /// Each piece of at most 16 KiB arrives so much later.
    Delay(Duration),
}

/// A proxy before one server.
pub struct Proxy {
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    port: Port,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    fault: Fault,
    /// Rises with each fault, and when the proxy ends.
    generation: u64,
    ended: bool,
    connections: Vec<Weak<Connection>>,
}

struct Connection {
    client: TcpStream,
    /// None if the fault was [`Fault::HalfOpen`] when the client came.
    server: Option<TcpStream>,
    half_open: Mutex<bool>,
}

impl Proxy {
    /// A proxy before `target`, without a fault.
    #[must_use]
    pub fn start(target: SocketAddr) -> Self {
        let state = State { fault: Fault::None, generation: 0, ended: false, connections: Vec::new() };
        let shared = Arc::new(Shared { target, port: reserve(), state: Mutex::new(state), changed: Condvar::new() });
        let listener = shared.listen();
        let acceptor = Arc::clone(&shared);
        std::thread::spawn(move || accept(&acceptor, listener));
        Self { shared }
    }

    /// Where clients reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address()
    }

    /// Sets the fault of all connections, open and to come.
    pub fn set(&self, fault: Fault) {
        self.shared.set(fault, false);
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state().connections.iter().filter(|connection| connection.strong_count() > 0).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.set(Fault::Cut, true);
    }
}

impl Shared {
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.number))
    }

    fn listen(&self) -> TcpListener {
        let listener = TcpListener::bind(self.address()).expect("the port is reserved");
        listener.set_nonblocking(true).expect("a listener can");
        listener
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    fn set(&self, fault: Fault, ended: bool) {
        let mut state = self.state();
        state.fault = fault;
        state.ended = ended;
        state.generation += 1;
        state.connections.retain(|connection| connection.strong_count() > 0);
        for connection in state.connections.iter().filter_map(Weak::upgrade) {
            match fault {
                Fault::Cut | Fault::Refuse => connection.reset(),
                Fault::HalfOpen => connection.lose_server(),
                _ => {}
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until another fault was set than that of `generation`, at most for `time`.
    fn wait(&self, generation: u64, time: Duration) {
        let unchanged = |state: &mut State| state.generation == generation;
        drop(self.changed.wait_timeout_while(self.state(), time, unchanged).expect("no holder panics"));
    }
}

impl Connection {
    /// Ends both sides at once, without the order of a usual end.
    fn reset(&self) {
        for side in std::iter::once(&self.client).chain(&self.server) {
            let _ = rustix::net::sockopt::set_socket_linger(side, Some(Duration::ZERO));
            let _ = side.shutdown(Shutdown::Both);
        }
    }

    /// Ends the server's side only; the client is told nothing.
    fn lose_server(&self) {
        *self.half_open.lock().expect("no holder panics") = true;
        if let Some(server) = &self.server {
            let _ = server.shutdown(Shutdown::Both);
        }
    }

    fn is_half_open(&self) -> bool {
        *self.half_open.lock().expect("no holder panics")
    }
}

/// Takes connections until the proxy ends.
fn accept(shared: &Arc<Shared>, listener: TcpListener) {
    let mut listener = Some(listener);
    loop {
        let (fault, generation, ended) = {
            let state = shared.state();
            (state.fault, state.generation, state.ended)
        };
        if ended {
            return;
        }
        if fault == Fault::Refuse {
            listener = None;
            shared.wait(generation, Duration::from_secs(3600));
            continue;
        }
        let listening = listener.get_or_insert_with(|| shared.listen());
        match listening.accept() {
            Ok((client, _)) => open(shared, client),
            Err(_) => shared.wait(generation, Duration::from_millis(5)),
        }
    }
}

/// Joins a new client with the target, as the fault allows.
fn open(shared: &Arc<Shared>, client: TcpStream) {
    let _ = client.set_nonblocking(false);
    let _ = client.set_nodelay(true);
    let mut state = shared.state();
    if matches!(state.fault, Fault::Cut | Fault::Refuse) {
        Connection { client, server: None, half_open: Mutex::new(false) }.reset();
        return;
    }
    let half_open = state.fault == Fault::HalfOpen;
    let server = if half_open {
        None
    } else {
        match TcpStream::connect_timeout(&shared.target, Duration::from_secs(1)) {
            Ok(server) => {
                let _ = server.set_nodelay(true);
                Some(server)
            }
            Err(_) => {
                Connection { client, server: None, half_open: Mutex::new(false) }.reset();
                return;
            }
        }
    };
    let connection = Arc::new(Connection { client, server, half_open: Mutex::new(half_open) });
    state.connections.retain(|connection| connection.strong_count() > 0);
    state.connections.push(Arc::downgrade(&connection));
    drop(state);
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (shared, connection) = (Arc::clone(shared), Arc::clone(&connection));
        std::thread::spawn(move || pump(&shared, &connection, direction));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// Passes one direction's bytes on until it ends.
fn pump(shared: &Shared, connection: &Connection, direction: Direction) {
    let (from, to) = match (direction, &connection.server) {
        (Direction::ToServer, server) => (&connection.client, server.as_ref()),
        (Direction::ToClient, Some(server)) => (server, Some(&connection.client)),
        (Direction::ToClient, None) => return,
    };
    let mut buffer = [0; 16 * 1024];
    let mut passed = 0_u64;
    loop {
        let (mut reader, limit) = (from, limit(shared.state().fault));
        let count = match reader.read(&mut buffer[..limit]) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let piece = &mut buffer[..count];
        hold(shared, piece, &mut passed);
        if connection.is_half_open() {
            // The client's bytes go nowhere; the server's side has ended.
            continue;
        }
        let Some(mut writer) = to else { continue };
        if writer.write_all(piece).is_err() {
            break;
        }
    }
    if !connection.is_half_open()
        && let Some(to) = to
    {
        let _ = to.shutdown(Shutdown::Write);
    }
}

/// How much to take at once, so that a slow connection is slow evenly.
fn limit(fault: Fault) -> usize {
    match fault {
        Fault::Throttle { bytes_per_second } => (bytes_per_second as usize / 20).clamp(1, 16 * 1024),
        _ => 16 * 1024,
    }
}

/// Does to a piece what the fault asks for; returns when it may pass.
fn hold(shared: &Shared, piece: &mut [u8], passed: &mut u64) {
    let came = Instant::now();
    loop {
        let (fault, generation) = {
            let state = shared.state();
            (state.fault, state.generation)
        };
        let due = match fault {
            Fault::None | Fault::Cut | Fault::Refuse | Fault::HalfOpen => return,
            Fault::Stall => came + Duration::from_secs(86_400),
            Fault::Throttle { bytes_per_second } => {
                came + Duration::from_secs_f64(piece.len() as f64 / f64::from(bytes_per_second))
            }
            Fault::Delay(time) => came + time,
            Fault::Corrupt { every } => {
                for byte in piece {
                    *passed += 1;
                    if passed.is_multiple_of(u64::from(every)) {
                        *byte ^= 0x10;
                    }
                }
                return;
            }
        };
        match due.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => shared.wait(generation, left),
            _ => return,
        }
    }
}
