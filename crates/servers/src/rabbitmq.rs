//! RabbitMQ with management, Prometheus and MQTT, from Debian's package.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::segment;
use crate::ports::{Port, reserve};
use crate::process::Process;
use crate::{ADMIN, ADMIN_PASSWORD};

/// A RabbitMQ server.
pub struct RabbitMq {
    address: SocketAddr,
    management: SocketAddr,
    mqtt: SocketAddr,
    /// None when `cargo xtask test` started it.
    own: Option<Own>,
}

struct Own {
    process: Process,
    ports: Ports,
}

struct Ports {
    amqp: Port,
    management: Port,
    mqtt: Port,
    tls: Port,
    prometheus: Port,
    distribution: Port,
    name_server: Port,
}

/// A virtual host of one's own on a server; deleted with this.
pub struct VirtualHost<'a> {
    server: &'a RabbitMq,
    name: String,
}

impl RabbitMq {
    /// Starts a server; it is ready when this returns.
    #[must_use]
    pub fn start() -> Self {
        let process = Process::new("rabbitmq", None);
        let ports = Ports {
            amqp: reserve(),
            management: reserve(),
            mqtt: reserve(),
            tls: reserve(),
            prometheus: reserve(),
            distribution: reserve(),
            name_server: reserve(),
        };
        let certificate = crate::tls::make(&process);
        process.write(
            "rabbitmq.conf",
            &format!(
                "listeners.tcp.1 = 127.0.0.1:{}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\n\
                 mqtt.listeners.tcp.1 = 127.0.0.1:{}\nprometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {}\n\
                 default_user = {ADMIN}\ndefault_pass = {ADMIN_PASSWORD}\nloopback_users = none\n\
                 vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n\
                 listeners.ssl.1 = 127.0.0.1:{}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
                 ssl_options.keyfile = {}\nssl_options.verify = verify_none\n",
                ports.amqp.number,
                ports.management.number,
                ports.mqtt.number,
                ports.prometheus.number,
                ports.tls.number,
                certificate.authority.display(),
                certificate.certificate.display(),
                certificate.key.display()
            ),
        );
        process.write("enabled_plugins", "[rabbitmq_management,rabbitmq_prometheus,rabbitmq_mqtt].\n");
        process.write("environment", "");
        let at = |port: &Port| SocketAddr::from(([127, 0, 0, 1], port.number));
        let server = Self {
            address: at(&ports.amqp),
            management: at(&ports.management),
            mqtt: at(&ports.mqtt),
            own: Some(Own { process, ports }),
        };
        server.restart();
        server
    }

    /// The server that this test process, or the whole run of `cargo xtask test`, shares.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RabbitMq> = OnceLock::new();
        SHARED.get_or_init(|| {
            let given = crate::address_from("TEST_AMQP_URL")
                .zip(crate::address_from("TEST_AMQP_MANAGEMENT_URL"))
                .zip(crate::address_from("TEST_MQTT_ADDRESS"));
            match given {
                Some(((address, management), mqtt)) => Self { address, management, mqtt, own: None },
                None => Self::start(),
            }
        })
    }

    /// Its administrator's URL, of the virtual host `/`.
    #[must_use]
    pub fn url(&self) -> String {
        url(ADMIN, ADMIN_PASSWORD, self.address, "/")
    }

    /// Where it takes AMQP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it takes MQTT.
    #[must_use]
    pub fn mqtt_address(&self) -> SocketAddr {
        self.mqtt
    }

    /// The base URL of its management, without a slash at the end.
    #[must_use]
    pub fn management_url(&self) -> String {
        format!("http://{}", self.management)
    }

    /// A new, empty virtual host.
    pub fn vhost(&self) -> VirtualHost<'_> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        self.manage("PUT", &format!("vhosts/{}", segment(&name)), Some(&json!({})));
        let vhost = VirtualHost { server: self, name };
        vhost.permit(ADMIN, ".*", ".*", ".*");
        vhost
    }

    /// Makes an account without any right (again, with another password, if it is there).
    pub fn user(&self, name: &str, password: &str) {
        let body = json!({ "password": password, "tags": "" });
        self.manage("PUT", &format!("users/{}", segment(name)), Some(&body));
    }

    /// Removes an account.
    pub fn remove_user(&self, name: &str) {
        self.manage("DELETE", &format!("users/{}", segment(name)), None);
    }

    /// The names of an account's open connections.
    #[must_use]
    pub fn connections(&self, user: &str) -> BTreeSet<String> {
        let listed = self.manage("GET", &format!("connections/username/{}", segment(user)), None);
        let name = |connection: &Value| connection["name"].as_str().map(str::to_owned);
        listed.as_array().into_iter().flatten().filter_map(name).collect()
    }

    /// Closes every connection of an account, as an operator does after its password was changed.
    pub fn close_connections(&self, user: &str) {
        self.manage("DELETE", &format!("connections/username/{}", segment(user)), None);
    }

    /// A request to the management interface below `/api/`; the status and the JSON answer (null without one).
    ///
    /// # Errors
    /// What the HTTP client says, if the server does not answer.
    pub fn management(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value), ureq::Error> {
        let url = format!("{}/api/{path}", self.management_url());
        let (status, answer) = crate::http::request(method, &url, Some((ADMIN, ADMIN_PASSWORD)), body)?;
        Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
    }

    /// Like [`RabbitMq::management`]; panics if it is refused.
    pub fn manage(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) =
            self.management(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// Whether the server answers its own clients now: the node runs, and takes AMQP and MQTT.
    #[must_use]
    pub fn answers(&self) -> bool {
        // A node that is still booting answers pages before it takes clients.
        matches!(self.management("GET", "health/checks/local-alarms", None), Ok((200, _)))
            && TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok()
            && TcpStream::connect_timeout(&self.mqtt, Duration::from_secs(1)).is_ok()
    }

    /// Where it takes AMQP by TLS.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.own().ports.tls.number))
    }

    /// The certificate, in PEM, that a client must trust for TLS.
    #[must_use]
    pub fn authority(&self) -> String {
        self.own().process.read("authority.pem")
    }

    /// The name of its folder below the temporary folder, which its processes carry in `ANTIPHON_TEST_SERVER`.
    #[must_use]
    pub fn mark(&self) -> String {
        self.own().process.mark().to_owned()
    }

    /// SIGKILL for all of its processes, Erlang's name server too; returns when they are gone.
    pub fn kill(&self) {
        self.own().process.kill();
    }

    /// Starts the killed server again on the same data and ports; returns when it answers.
    pub fn restart(&self) {
        self.restart_in_background();
        self.own().process.wait_until(|| self.answers());
    }

    /// Like [`RabbitMq::restart`], but returns at once.
    pub fn restart_in_background(&self) {
        let mut server = self.command("rabbitmq-server");
        self.own().process.launch(&mut server);
    }

    /// Runs `rabbitmqctl` with `words`.
    pub fn control(&self, words: &[&str]) {
        self.own().process.run(self.command("rabbitmqctl").args(words));
    }

    /// Ends the server in order.
    pub fn stop(self) {
        if let Some(own) = &self.own {
            own.process.run(self.command("rabbitmqctl").arg("stop"));
        }
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("the shared server belongs to all tests: start one of your own")
    }

    /// A program of the package with this node's surroundings.
    fn command(&self, name: &str) -> Command {
        let Own { process, ports } = self.own();
        let folder = process.folder();
        let mut command = process.command(program(name));
        command
            .env("HOME", folder)
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("environment"))
            .env("RABBITMQ_NODENAME", format!("test-{}@localhost", ports.amqp.number))
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder.join("logs"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env("RABBITMQ_DIST_PORT", ports.distribution.number.to_string())
            .env("ERL_EPMD_PORT", ports.name_server.number.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
            );
        command
    }
}

impl VirtualHost<'_> {
    /// Its administrator's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.server.address)
    }

    /// The administrator's URL by way of another address, such as a proxy's.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        url(ADMIN, ADMIN_PASSWORD, address, &self.name)
    }

    /// The administrator's URL for TLS, by way of another address, such as that of a proxy before
    /// [`RabbitMq::tls_address`].
    #[must_use]
    pub fn tls_url_at(&self, address: SocketAddr) -> String {
        self.url_at(address).replacen("amqp:", "amqps:", 1)
    }

    /// The URL of another account.
    #[must_use]
    pub fn url_of(&self, user: &str, password: &str) -> String {
        url(user, password, self.server.address, &self.name)
    }

    /// The virtual host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives an account rights in this virtual host: regular expressions of what it may configure, write and read.
    pub fn permit(&self, user: &str, configure: &str, write: &str, read: &str) {
        let body = json!({ "configure": configure, "write": write, "read": read });
        self.server.manage("PUT", &format!("permissions/{}/{}", segment(&self.name), segment(user)), Some(&body));
    }

    /// Limits the routing keys that an account may use on a topic exchange, by regular expressions.
    pub fn permit_topics(&self, user: &str, exchange: &str, write: &str, read: &str) {
        let body = json!({ "exchange": exchange, "write": write, "read": read });
        let path = format!("topic-permissions/{}/{}", segment(&self.name), segment(user));
        self.server.manage("PUT", &path, Some(&body));
    }

    /// What the management says of a queue; none if there is no such queue.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<Value> {
        let path = format!("queues/{}/{}", segment(&self.name), segment(name));
        match self.server.management("GET", &path, None) {
            Ok((200, queue)) => Some(queue),
            _ => None,
        }
    }
}

impl Drop for VirtualHost<'_> {
    fn drop(&mut self) {
        let _ = self.server.management("DELETE", &format!("vhosts/{}", segment(&self.name)), None);
    }
}

fn url(user: &str, password: &str, address: SocketAddr, vhost: &str) -> String {
    format!("amqp://{}:{}@{address}/{}", segment(user), segment(password), segment(vhost))
}

/// A program of the package, past the wrapper that insists on the package's own user.
fn program(name: &str) -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/rabbitmq/lib").into_iter().flatten().flatten();
    installed
        .map(|entry| entry.path().join("sbin").join(name))
        .find(|path| path.is_file())
        .expect("RabbitMQ is not installed: run `cargo xtask servers` once")
}
