//! An S3 server: SeaweedFS, from its Python wheel. It checks signatures, which emulators do not.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::ports::{Port, reserve};
use crate::process::Process;
use crate::{ADMIN, ADMIN_PASSWORD};

/// A server that speaks S3.
pub struct ObjectStore {
    address: SocketAddr,
    /// None when `cargo xtask test` started it.
    own: Option<Own>,
}

struct Own {
    process: Process,
    ports: Vec<Port>,
}

impl Drop for Own {
    /// The server leaves its sockets in a folder that no option names.
    fn drop(&mut self) {
        for port in &self.ports {
            for service in ["s3", "s3-grpc", "master-grpc", "volume-grpc", "filer", "filer-grpc"] {
                let _ = std::fs::remove_file(format!("/tmp/seaweedfs-{service}-{}.sock", port.number));
            }
        }
    }
}

/// A bucket's name of one's own on a server.
pub struct Bucket<'a> {
    server: &'a ObjectStore,
    name: String,
}

/// One account of the server: its keys, and what it may do, in SeaweedFS' words (`Read:BUCKET`, `Write:BUCKET/PREFIX*`).
#[derive(Clone, Debug)]
pub struct Identity {
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// What it may do: `Admin`, `Read`, `Write`, `List`, `Tagging`, each alone or of one bucket or prefix.
    pub actions: Vec<String>,
}

impl ObjectStore {
    /// Starts a server; it is ready when this returns.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server that knows more accounts than its administrator.
    #[must_use]
    pub fn start_with(identities: &[Identity]) -> Self {
        let process = Process::new("s3", None);
        let admin = Identity {
            access_key: ADMIN.to_owned(),
            secret_key: ADMIN_PASSWORD.to_owned(),
            actions: ["Admin", "Read", "Write", "List", "Tagging"].map(str::to_owned).to_vec(),
        };
        let identities: Vec<Value> = std::iter::once(&admin)
            .chain(identities)
            .map(|identity| {
                json!({
                    "name": identity.access_key,
                    "credentials": [{ "accessKey": identity.access_key, "secretKey": identity.secret_key }],
                    "actions": identity.actions,
                })
            })
            .collect();
        crate::tls::make(&process);
        process.write("s3.json", &json!({ "identities": identities }).to_string());
        let ports: Vec<Port> = (0..9).map(|_| reserve()).collect();
        let server =
            Self { address: SocketAddr::from(([127, 0, 0, 1], ports[0].number)), own: Some(Own { process, ports }) };
        server.restart();
        server
    }

    /// The server that this test process, or the whole run of `cargo xtask test`, shares.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ObjectStore> = OnceLock::new();
        SHARED.get_or_init(|| match crate::address_from("TEST_S3_URL") {
            Some(address) => Self { address, own: None },
            None => Self::start(),
        })
    }

    /// Its URL, without credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new, empty bucket.
    pub fn bucket(&self) -> Bucket<'_> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let (status, answer) = self.signed("PUT", &name, "");
        assert!(status == 200, "no bucket {name}: {status} {answer}");
        Bucket { server: self, name }
    }

    /// Whether a bucket is there.
    #[must_use]
    pub fn has_bucket(&self, name: &str) -> bool {
        self.signed("GET", name, "").0 == 200
    }

    /// Whether the server answers its own client now: it takes an object. It lists buckets long before.
    #[must_use]
    pub fn answers(&self) -> bool {
        matches!(self.signed("PUT", "readiness", ""), (200 | 409, _))
            && self.signed("PUT", "readiness/object", "some bytes").0 == 200
    }

    /// Where it listens for TLS.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.own().ports.last().expect("there are nine").number))
    }

    /// The certificate, in PEM, that a client must trust for TLS.
    #[must_use]
    pub fn authority(&self) -> String {
        self.own().process.read("authority.pem")
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&self) {
        self.own().process.kill();
    }

    /// Starts the killed server again on the same data and ports; returns when it answers.
    pub fn restart(&self) {
        self.restart_in_background();
        self.own().process.wait_until(|| self.answers());
    }

    /// Like [`ObjectStore::restart`], but returns at once.
    pub fn restart_in_background(&self) {
        let Own { process, ports } = self.own();
        let data = process.folder().join("data");
        std::fs::create_dir_all(&data).expect("the folder can be written");
        let mut server = process.command(crate::wheel_program("weed"));
        server.env("HOME", process.folder());
        server.args(["-logtostderr=true", "-v=0", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
        server.args(["-volume.max=5000", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]);
        // Every bucket has volumes of its own, seven at first: with many buckets they run out.
        server.env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
        // It elects itself; with the default of ten seconds each restart takes twenty.
        server.arg("-master.electionTimeout=1s");
        // Without the zeros it opens two fixed ports more.
        server.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        let flags = [
            "s3.port",
            "s3.port.grpc",
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port.https",
        ];
        for (flag, port) in flags.iter().zip(ports) {
            server.arg(format!("-{flag}={}", port.number));
        }
        server.arg(format!("-dir={}", data.display()));
        server.arg(format!("-s3.config={}", process.folder().join("s3.json").display()));
        server.arg(format!("-s3.cert.file={}", process.folder().join("server.pem").display()));
        server.arg(format!("-s3.key.file={}", process.folder().join("server.key").display()));
        process.launch(&mut server);
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("the shared server belongs to all tests: start one of your own")
    }

    /// A request of the administrator, signed by curl; status 0 without an answer.
    fn signed(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let url = format!("http://{}/{path}", self.address);
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "5", "--write-out", "\n%{http_code}", "--request", method, &url])
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{ADMIN}:{ADMIN_PASSWORD}")])
            .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--data-binary", body])
            .output()
            .expect("curl runs");
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = answer.rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap_or(0), body.to_owned())
    }
}

impl Bucket<'_> {
    /// The bucket's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's URL, without credentials.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.server.url()
    }

    /// The administrator's URL of the bucket.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.server.address)
    }

    /// The administrator's URL by way of another address, such as a proxy's.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        self.url_of(ADMIN, ADMIN_PASSWORD, address)
    }

    /// The administrator's URL for TLS, by way of another address, such as that of a proxy before
    /// [`ObjectStore::tls_address`].
    #[must_use]
    pub fn tls_url_at(&self, address: SocketAddr) -> String {
        self.url_at(address).replacen("endpoint=http:", "endpoint=https:", 1)
    }

    /// The URL of another account, by way of `address`.
    #[must_use]
    pub fn url_of(&self, access_key: &str, secret_key: &str, address: SocketAddr) -> String {
        format!("s3://{access_key}:{secret_key}@{}?endpoint=http://{address}&region=us-east-1", self.name)
    }
}
