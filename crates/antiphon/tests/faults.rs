//! The fault test: PostgreSQL, RabbitMQ and S3 behind proxies, one process a role, a steady load, and one fault after
//! the other: networks that cut, refuse, stall, lose one side, get slow or turn bits; SIGKILL of roles; SIGKILL of
//! servers.
//!
//! Everything accepted ends `stored`; all answers are, byte for byte, those of an undisturbed run of the same set; and
//! what is sent once a fault is over is stored within ten seconds (thirty in the short form, which runs beside other tests).
//!
//! `FAULT_TEST_FAULTS` sets how many ([`SHORT`] when nothing is said), `FAULT_TEST_RATE` the recordings a second (200, or
//! what the machine can bear: what it stores at most over `FAULT_TEST_HEADROOM`, [`HEADROOM`]), `FAULT_TEST_RECOVERY` the seconds,
//! `FAULT_TEST_ONLY` a word of the faults to make (such as HalfOpen); `cargo xtask test --faults 300 fault` is the long form.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]
#![cfg(all(feature = "postgres", feature = "amqp", feature = "s3"))]

mod support;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use antiphon_servers::{Fault, Proxy};
use support::servers::Servers;
use support::steady::{HEADROOM, Steady, assert_equal};
use support::system::{Folders, System};
use support::{Numbers, parameter};

/// The faults of a run for which nothing is said.
const SHORT: u32 = 20;

const ROLES: [&str; 7] = ["api", "analyze", "analyze#2", "analyze-songs", "media", "write", "relay"];

/// One of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Server {
    Postgres,
    RabbitMq,
    Store,
}

/// What happens to the system.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The way to a server is disturbed for a while.
    Network(Server, Fault),
    /// A role's process is killed and started again.
    Role(&'static str),
    /// A server is killed, and started again after a while.
    Server(Server),
}

/// Each kind of trouble once. Their order spreads servers and kinds, so that any twenty in a row have most of them.
fn troubles() -> Vec<Trouble> {
    let slow = Fault::Throttle { bytes_per_second: 20_000 };
    let faults = [Fault::Cut, Fault::Stall, Fault::HalfOpen, slow, Fault::Corrupt { every: 3_000 }, Fault::Refuse];
    let servers = [Server::Postgres, Server::RabbitMq, Server::Store];
    let mut roles = ROLES.into_iter();
    let mut all = Vec::new();
    for (index, fault) in faults.into_iter().enumerate() {
        for server in servers {
            all.push(Trouble::Network(server, fault));
        }
        all.extend(roles.next().map(Trouble::Role));
        all.extend(servers.get(index).copied().map(Trouble::Server));
    }
    all.extend(roles.map(Trouble::Role));
    all
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(server, fault) => write!(formatter, "{server:?}: {fault:?}"),
            Self::Role(role) => write!(formatter, "SIGKILL {role}"),
            Self::Server(server) => write!(formatter, "SIGKILL {server:?}"),
        }
    }
}

impl Servers {
    fn proxy(&self, server: Server) -> &Proxy {
        match server {
            Server::Postgres => &self.to_postgres,
            Server::RabbitMq => &self.to_rabbitmq,
            Server::Store => &self.to_store,
        }
    }

    fn kill(&self, server: Server) {
        match server {
            Server::Postgres => self.postgres.kill(),
            Server::RabbitMq => self.rabbitmq.kill(),
            Server::Store => self.store.kill(),
        }
    }

    /// Returns when the server answers its own client again.
    fn restart(&self, server: Server) {
        match server {
            Server::Postgres => self.postgres.restart(),
            Server::RabbitMq => self.rabbitmq.restart(),
            Server::Store => self.store.restart(),
        }
    }
}

/// Makes a trouble, and ends it.
fn make(trouble: Trouble, servers: &Servers, system: &System, numbers: &mut Numbers) {
    match trouble {
        Trouble::Network(server, fault) => {
            servers.proxy(server).set(fault);
            hold(Duration::from_millis(200 + numbers.below(3_000)));
            servers.proxy(server).set(Fault::None);
        }
        Trouble::Role(role) => system.kill(role),
        Trouble::Server(server) => {
            servers.kill(server);
            hold(Duration::from_millis(numbers.below(2_000)));
            servers.restart(server);
        }
    }
}

/// How long a fault lasts is the fault itself.
fn hold(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

#[test]
fn nothing_accepted_is_lost_by_faults_of_networks_roles_and_servers() {
    let faults = parameter("FAULT_TEST_FAULTS", SHORT);
    let limit = parameter("FAULT_TEST_RECOVERY", if faults > SHORT { 10 } else { 30 });
    let limit = Duration::from_secs(limit.into());
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::start();
    let (database, vhost, bucket) = (servers.postgres.database(), servers.rabbitmq.vhost(), servers.store.bucket());
    let settings = servers.settings(folder.path(), (&database, &vhost, &bucket));
    let system = System::start(&folder.path().join("disturbed"), Folders::Each, &settings, &ROLES);
    let load = Steady::new(&system.operator(), &system.url());
    let rate = load.bearable(parameter("FAULT_TEST_RATE", 200), parameter("FAULT_TEST_HEADROOM", HEADROOM));

    let mut numbers = Numbers(27);
    let mut recoveries: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let ended = load.ends_with_this();
        scope.spawn(|| load.run(rate));
        // Everything works before anything fails.
        load.probe(0);
        let only = std::env::var("FAULT_TEST_ONLY").unwrap_or_default();
        let mut troubles = troubles();
        troubles.retain(|trouble| trouble.to_string().contains(&only));
        for (number, trouble) in (1..=faults).zip(troubles.into_iter().cycle()) {
            make(trouble, &servers, &system, &mut numbers);
            let took = load.probe(number);
            println!(
                "{number:4} {:7.1} s  {trouble}: recovered in {:.2} s",
                began.elapsed().as_secs_f64(),
                took.as_secs_f64()
            );
            if took > limit {
                for role in ROLES {
                    let log = system.log(role);
                    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("INFO")).collect();
                    println!("{role}:\n  {}", lines[lines.len().saturating_sub(12)..].join("\n  "));
                }
            }
            recoveries.entry(trouble.to_string()).or_default().push(took);
            hold(Duration::from_millis(numbers.below(300)));
        }
        drop(ended);
    });
    let lasted = began.elapsed();
    load.wait_until_all_stored();

    // The same set, undisturbed, on embedded engines, in another order.
    let system = System::start(&folder.path().join("calm"), Folders::Shared, &[], &["up"]);
    let calm = Steady::new(&system.operator(), &system.url());
    calm.repeat(&load);
    calm.wait_until_all_stored();
    let answers = assert_equal(&load, &calm);

    println!(
        "{faults} faults in {:.0} s, {} recordings accepted ({:.0} a second), all stored, {answers} answers equal",
        lasted.as_secs_f64(),
        load.accepted(),
        load.accepted() as f64 / lasted.as_secs_f64()
    );
    let mut slow = Vec::new();
    for (trouble, mut times) in recoveries {
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "recovery {:5.2} s median {:5.2} s worst of {:2}  {trouble}",
            median.as_secs_f64(),
            worst.as_secs_f64(),
            times.len()
        );
        if worst > limit {
            slow.push(trouble);
        }
    }
    assert!(slow.is_empty(), "recovery took more than {limit:?}: {slow:?}");
}
