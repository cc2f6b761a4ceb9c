//! Icecast, from Debian's package: what a radio station streams from.

use std::net::SocketAddr;
use std::path::Path;

use crate::ADMIN_PASSWORD;
use crate::ports::{Port, reserve};
use crate::process::Process;

/// An Icecast server.
pub struct Icecast {
    address: SocketAddr,
    process: Process,
    _port: Port,
}

impl Icecast {
    /// Starts a server; it is ready when this returns.
    #[must_use]
    pub fn start() -> Self {
        assert!(Path::new("/usr/bin/icecast2").is_file(), "Icecast is not installed: run `cargo xtask servers` once");
        let port = reserve();
        // It refuses to run as root.
        let process = Process::new("icecast", Some("nobody"));
        let folder = process.folder().display();
        process.write(
            "icecast.xml",
            &format!(
                "<icecast>\n\
                 <limits><clients>50</clients><sources>10</sources><source-timeout>5</source-timeout></limits>\n\
                 <authentication><source-password>{ADMIN_PASSWORD}</source-password>\
                 <admin-user>admin</admin-user><admin-password>{ADMIN_PASSWORD}</admin-password></authentication>\n\
                 <hostname>localhost</hostname>\n\
                 <listen-socket><port>{}</port><bind-address>127.0.0.1</bind-address></listen-socket>\n\
                 <paths><basedir>{folder}</basedir><logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot>\
                 <adminroot>/usr/share/icecast2/admin</adminroot></paths>\n\
                 <logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>2</loglevel></logging>\n\
                 </icecast>\n",
                port.number
            ),
        );
        let server = Self { address: SocketAddr::from(([127, 0, 0, 1], port.number)), process, _port: port };
        server.restart();
        server
    }

    /// Its URL; a stream's is this and `/MOUNT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where ffmpeg sends a stream to: `ffmpeg ... -f mp3 URL`.
    #[must_use]
    pub fn source_url(&self, mount: &str) -> String {
        format!("icecast://source:{ADMIN_PASSWORD}@{}/{mount}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a stream is being sent to `mount` now.
    #[must_use]
    pub fn streams(&self, mount: &str) -> bool {
        let page = crate::http::request("GET", &format!("{}/status-json.xsl", self.url()), None, None);
        page.is_ok_and(|(_, body)| String::from_utf8_lossy(&body).contains(&format!("/{mount}\"")))
    }

    /// Sets what the stream at `mount` says that it plays.
    pub fn set_title(&self, mount: &str, title: &str) {
        let (mount, title) = (crate::http::segment(mount), crate::http::segment(title));
        let url = format!("{}/admin/metadata?mount=/{mount}&mode=updinfo&charset=UTF-8&song={title}", self.url());
        let (status, _) = crate::http::request("GET", &url, Some(("source", ADMIN_PASSWORD)), None)
            .unwrap_or_else(|error| panic!("no answer to a new title: {error}"));
        assert_eq!(status, 200, "the title was refused");
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Starts the killed server again on the same port; returns when it answers.
    pub fn restart(&self) {
        let mut server = self.process.command("/usr/bin/icecast2");
        self.process.launch(server.arg("-c").arg(self.process.folder().join("icecast.xml")));
        let page = format!("{}/status-json.xsl", self.url());
        self.process.wait_until(|| matches!(crate::http::request("GET", &page, None, None), Ok((200, _))));
    }
}
