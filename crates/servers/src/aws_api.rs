//! AWS Secrets Manager and Systems Manager, emulated by moto, from its Python wheel.

use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::ports::{Port, reserve};
use crate::process::Process;

/// An emulation of AWS services. It keeps everything in memory: a restart forgets.
pub struct AwsApi {
    address: SocketAddr,
    /// None when `cargo xtask test` started it.
    own: Option<(Process, Port)>,
}

impl AwsApi {
    /// Starts a server; it is ready when this returns.
    #[must_use]
    pub fn start() -> Self {
        let port = reserve();
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let server = Self { address, own: Some((Process::new("aws", None), port)) };
        server.restart();
        server
    }

    /// The server that this test process, or the whole run of `cargo xtask test`, shares.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<AwsApi> = OnceLock::new();
        SHARED.get_or_init(|| match crate::address_from("TEST_AWS_URL") {
            Some(address) => Self { address, own: None },
            None => Self::start(),
        })
    }

    /// Its URL; it takes any credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Starts the killed server again, empty, on the same port; returns when it answers.
    pub fn restart(&self) {
        let process = self.process();
        let mut server = process.command(crate::wheel_program("moto_server"));
        process.launch(server.args(["--host", "127.0.0.1", "--port", &self.address.port().to_string()]));
        let page = format!("{}/moto-api/", self.url());
        process.wait_until(|| matches!(crate::http::request("GET", &page, None, None), Ok((200, _))));
    }

    fn process(&self) -> &Process {
        let (process, _) = self.own.as_ref().expect("the shared server belongs to all tests: start one of your own");
        process
    }
}
