//! Where commands find the server that runs on a data folder.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use antiphon_platform::disk;

/// The file in `DATA/run` that holds the address of the running server, as `http://ADDR:PORT`.
pub const ADDRESS_FILE: &str = "server";

/// The address of this process's server, written for commands beside it; removed when dropped.
#[derive(Debug)]
pub struct Announcement {
    path: PathBuf,
    text: String,
}

impl Announcement {
    /// Writes `address` into the folder `run`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(run: &Path, address: SocketAddr) -> io::Result<Self> {
        let path = run.join(ADDRESS_FILE);
        let text = format!("http://{}", reachable(address));
        disk::write_atomic(&disk::LocalDisk, &path, text.as_bytes())?;
        Ok(Self { path, text })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Another process on the same data folder may have written its own since.
        if std::fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = std::fs::remove_file(&self.path);
        }
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
    fn an_address_is_there_as_long_as_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        std::fs::create_dir(&run).unwrap();
        assert_eq!(address(folder.path()), None);
        let first = Announcement::make(&run, "0.0.0.0:80".parse().unwrap()).unwrap();
        assert_eq!(address(folder.path()).as_deref(), Some("http://127.0.0.1:80"));
        let second = Announcement::make(&run, "[::1]:81".parse().unwrap()).unwrap();
        drop(first);
        assert_eq!(address(folder.path()).as_deref(), Some("http://[::1]:81"));
        drop(second);
        assert_eq!(address(folder.path()), None);
    }
}
