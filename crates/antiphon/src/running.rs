//! Where commands find the server that runs on a data folder: one process at a time says so.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use antiphon_platform::disk::{self, FileLock};

/// The file in `DATA/run` that holds the address of the running server, as `http://ADDR:PORT`.
pub const ADDRESS_FILE: &str = "server";

/// The right to be the server that commands beside it find. One process of a data folder has it, until it ends,
/// however it ends.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    _lock: FileLock,
}

/// The address of this process's server, written for commands beside it; removed when dropped.
#[derive(Debug)]
pub struct Announcement(Claim);

impl Claim {
    /// Takes the right in the folder `run`; `None` while another process has it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn take(run: &Path) -> io::Result<Option<Self>> {
        let lock = disk::lock_file(&run.join("server.lock"))?;
        Ok(lock.map(|lock| Self { path: run.join(ADDRESS_FILE), _lock: lock }))
    }

    /// Writes `address` for commands to find.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn announce(self, address: SocketAddr) -> io::Result<Announcement> {
        disk::write_atomic(&disk::LocalDisk, &self.path, format!("http://{}", reachable(address)).as_bytes())?;
        Ok(Announcement(self))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // The lock is still held, so it is nobody else's. What a killed process leaves leads nowhere.
        let _ = std::fs::remove_file(&self.0.path);
    }
}

/// The address of the server that runs on the data folder `data`, if one does.
#[must_use]
pub fn address(data: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data.join("run").join(ADDRESS_FILE)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Who listens on all addresses is reached by the loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_announced_at_a_time_and_as_long_as_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        std::fs::create_dir(&run).unwrap();
        assert_eq!(address(folder.path()), None);
        let first = Claim::take(&run).unwrap().unwrap().announce("0.0.0.0:80".parse().unwrap()).unwrap();
        assert_eq!(address(folder.path()).as_deref(), Some("http://127.0.0.1:80"));
        assert!(Claim::take(&run).unwrap().is_none(), "two claim to be the server");
        assert_eq!(address(folder.path()).as_deref(), Some("http://127.0.0.1:80"));
        drop(first);
        assert_eq!(address(folder.path()), None);
        let second = Claim::take(&run).unwrap().unwrap().announce("[::1]:81".parse().unwrap()).unwrap();
        assert_eq!(address(folder.path()).as_deref(), Some("http://[::1]:81"));
        drop(second);
    }
}
