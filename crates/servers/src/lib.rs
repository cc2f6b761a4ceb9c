//! Real servers for tests, a browser, and a proxy that makes faults.
//!
//! `X::start` gives a server of one's own on free ports of 127.0.0.1, with its data in a temporary folder, ready to be
//! used, killed and restarted. `X::shared` gives one that the whole test run shares, of which each test takes a private
//! space: a database, a virtual host, a bucket. However the test process ends, nothing of it stays behind: see
//! `process`.
//!
//! What goes wrong here is a fault of the machine, not of what is tested: functions panic, with the server's own log.
#![allow(clippy::expect_used, clippy::panic, reason = "support of tests: a server that does not work ends the test")]

use std::net::SocketAddr;
use std::path::PathBuf;

mod aws_api;
mod browser;
mod http;
mod icecast;
mod object_store;
mod ports;
mod postgres;
mod process;
mod proxy;
mod rabbitmq;
mod tls;

pub use aws_api::AwsApi;
pub use browser::{Browser, Look, Tab, axe, axe_folder};
pub use icecast::Icecast;
pub use object_store::{Bucket, Identity, ObjectStore};
pub use postgres::{Database, Durability, Postgres};
pub use proxy::{Fault, Proxy};
pub use rabbitmq::{RabbitMq, VirtualHost};

/// The user name of every server's administrator.
pub const ADMIN: &str = "antiphon-admin";

/// The administrator's password: the servers listen on 127.0.0.1 only and live as long as a test.
pub const ADMIN_PASSWORD: &str = "not-a-secret";

/// The address in a URL (or a bare `HOST:PORT`) that `cargo xtask test` left in a variable.
fn address_from(variable: &str) -> Option<SocketAddr> {
    let value = std::env::var(variable).ok()?;
    let authority = value.split_once("://").map_or(&*value, |(_, rest)| rest);
    let authority = authority.split('/').next()?;
    let address = authority.rsplit('@').next()?;
    Some(address.parse().unwrap_or_else(|_| panic!("{variable} holds no address: {value}")))
}

/// Where `cargo xtask test` and `cargo xtask servers` install the servers that come as Python wheels.
#[must_use]
pub fn wheels_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers"))
}

/// Where they install what `examples/python-worker` needs, a virtual environment of its own.
#[must_use]
pub fn python_worker_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python-worker"))
}

/// Where they install what `examples/notebook` needs, and what reads tables in tests; a virtual environment of its own.
#[must_use]
pub fn notebook_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/notebook"))
}

/// A program out of a wheel.
fn wheel_program(name: &str) -> PathBuf {
    let path = wheels_folder().join("bin").join(name);
    assert!(path.is_file(), "{} is not there: run `cargo xtask servers` once", path.display());
    path
}
