//! Ports that stay ours while a server is down.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that Linux gives to outgoing connections, so that none of them takes a port while its server restarts.
const FIRST: u16 = 10_240;
const COUNT: u16 = 22_000;

/// A free TCP port of 127.0.0.1, kept for its holder against all processes that reserve ports this way.
#[derive(Debug)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// A name in the kernel's abstract name space, free again as soon as the process ends, however it ends.
    _claim: UnixListener,
}

/// Reserves a port that nobody listens on.
pub fn reserve() -> Port {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes begin at different places, so that they seldom try the same ports.
    let origin = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from(origin.wrapping_add(step) % u32::from(COUNT)).expect("below COUNT");
        let number = FIRST + offset;
        let name = SocketAddr::from_abstract_name(format!("antiphon-test-port-{number}")).expect("a short name");
        let Ok(claim) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", number)).is_ok() {
            return Port { number, _claim: claim };
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_given_once() {
        let ports: Vec<Port> = (0..50).map(|_| reserve()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(|port| port.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
    }
}
