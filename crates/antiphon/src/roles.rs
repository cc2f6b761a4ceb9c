//! The role table: what each role does, and what it may open. Wiring opens connections from it, and nothing else;
//! deployment files and documentation are generated from it or checked against it (`antiphon roles --json`).

pub mod grants;
pub mod tables;

use std::process::ExitCode;

use antiphon_analysis::sensors::check_id;
use antiphon_analysis::topics::{
    ADMIT, ANALYZE, ANALYZE_SONGS, DESCRIPTORS, INBOX, KEEP_DESCRIPTORS, LONG_RECORDINGS, MEDIA, RECORDINGS, RESULTS,
    SONGS, WRITE,
};
use antiphon_notify::{NOTICES, NOTIFY};
use antiphon_platform::http::nearest;
use antiphon_platform::queue::{Access as QueueAccess, Group, Topic};
use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use crate::cli::Globals;
use crate::commands::output::print_line;
use crate::wiring::{DATABASE, Port, QUEUE};
use grants::Names;
use tables::Rights;

/// A role: a name, what it starts, and what it may open.
#[derive(Debug, Serialize)]
pub struct Role {
    /// How it is called on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub does: &'static str,
    /// Whether it serves HTTP requests of others (health and metrics apart).
    pub listens: bool,
    /// What it may do with the database.
    pub database: Access,
    /// What it may do with blobs.
    pub blobs: Access,
    /// Topics that it may publish to.
    #[serde(serialize_with = "topic_names")]
    pub publish: &'static [Topic],
    /// Groups that it may consume; publishing to the group's own delay and dead queues is part of that.
    #[serde(serialize_with = "group_names")]
    pub consume: &'static [Group],
    /// Groups whose dead queues it may consume.
    #[serde(serialize_with = "group_names")]
    pub consume_dead: &'static [Group],
    /// What it does with which tables.
    #[serde(skip)]
    pub tables: &'static [Rights],
}

/// What a role may do with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Not even open it.
    None,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

impl Access {
    fn words(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::Read => "read",
            Self::Write => "read, write",
        }
    }
}

const NO_TOPICS: &[Topic] = &[];
const NO_GROUPS: &[Group] = &[];
const NO_TABLES: &[Rights] = &[];
/// Every topic.
pub const EVERY_TOPIC: &[Topic] = &[INBOX, RECORDINGS, LONG_RECORDINGS, SONGS, RESULTS, DESCRIPTORS, NOTICES];

/// Every role that `antiphon run` starts, `job` included.
pub const ROLES: &[Role] = &[
    Role {
        name: "api",
        does: "HTTP API of all capabilities",
        listens: true,
        database: Access::Write,
        blobs: Access::Write,
        publish: &[RECORDINGS, LONG_RECORDINGS],
        consume: NO_GROUPS,
        consume_dead: NO_GROUPS,
        tables: tables::OF_API,
    },
    Role {
        name: "query",
        does: "the GETs of sensors, songs, recordings and features, audio and covers apart; stateless",
        listens: true,
        database: Access::Read,
        blobs: Access::None,
        publish: NO_TOPICS,
        consume: NO_GROUPS,
        consume_dead: NO_GROUPS,
        tables: tables::OF_QUERY,
    },
    Role {
        name: "web",
        does: "the pages, of what the API says over HTTP; passes on what is the API's",
        listens: true,
        database: Access::None,
        blobs: Access::None,
        publish: NO_TOPICS,
        consume: NO_GROUPS,
        consume_dead: NO_GROUPS,
        tables: NO_TABLES,
    },
    Role {
        name: "analyze",
        does: "algorithm workers for sensor audio; the message holds all that they need",
        listens: false,
        database: Access::None,
        blobs: Access::None,
        publish: &[RESULTS],
        consume: &[ANALYZE],
        consume_dead: NO_GROUPS,
        tables: NO_TABLES,
    },
    Role {
        name: "analyze-songs",
        does: "algorithm workers for whole files",
        listens: false,
        database: Access::None,
        blobs: Access::Read,
        publish: &[RESULTS],
        consume: &[ANALYZE_SONGS],
        consume_dead: NO_GROUPS,
        tables: NO_TABLES,
    },
    Role {
        name: "media",
        does: "cuts long recordings into pieces with lead-in",
        listens: false,
        database: Access::Read,
        blobs: Access::Write,
        publish: &[RECORDINGS],
        consume: &[MEDIA],
        consume_dead: NO_GROUPS,
        tables: tables::OF_MEDIA,
    },
    Role {
        name: "write",
        does: "stores results in batches, keeps cells and spans, looks for alerts, takes dead letters into the database",
        listens: false,
        database: Access::Write,
        blobs: Access::None,
        publish: NO_TOPICS,
        consume: &[WRITE, KEEP_DESCRIPTORS],
        consume_dead: &antiphon_analysis::topics::ALL_AND_FOREIGN,
        tables: tables::OF_WRITE,
    },
    Role {
        name: "admit",
        does: "checks what sensors publish to the broker themselves, and makes recordings of it",
        listens: false,
        database: Access::Write,
        blobs: Access::None,
        publish: &[RECORDINGS, LONG_RECORDINGS],
        consume: &[ADMIT],
        consume_dead: NO_GROUPS,
        tables: tables::OF_ADMIT,
    },
    Role {
        name: "receive",
        does: "pulls radio and other streams, and publishes pieces of them as a sensor would",
        listens: false,
        database: Access::None,
        blobs: Access::None,
        publish: &[INBOX],
        consume: NO_GROUPS,
        consume_dead: NO_GROUPS,
        tables: NO_TABLES,
    },
    Role {
        name: "notify",
        does: "sends notices as signed web hooks, to public and permitted addresses",
        listens: false,
        database: Access::Write,
        blobs: Access::None,
        publish: NO_TOPICS,
        consume: &[NOTIFY],
        consume_dead: NO_GROUPS,
        tables: tables::OF_NOTIFY,
    },
    Role {
        name: "relay",
        does: "publishes what transactions left in the outbox",
        listens: false,
        database: Access::Write,
        blobs: Access::None,
        publish: EVERY_TOPIC,
        consume: NO_GROUPS,
        consume_dead: NO_GROUPS,
        tables: tables::OF_RELAY,
    },
    Role {
        name: "job",
        does: "runs one scheduled job once and ends: `antiphon run job NAME`",
        listens: false,
        database: Access::Write,
        blobs: Access::Write,
        publish: NO_TOPICS,
        consume: NO_GROUPS,
        consume_dead: NO_GROUPS,
        tables: tables::OF_JOBS,
    },
    Role {
        name: "schedule",
        does: "runs every job at its time",
        listens: false,
        database: Access::Write,
        blobs: Access::Write,
        publish: NO_TOPICS,
        consume: NO_GROUPS,
        consume_dead: NO_GROUPS,
        tables: tables::OF_JOBS,
    },
];

/// The role called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Role> {
    ROLES.iter().find(|role| role.name == name)
}

/// The roles of `antiphon up`: all that run for ever. `query` is part of `api`, which serves its routes too.
pub fn of_up() -> impl Iterator<Item = &'static Role> {
    ROLES.iter().filter(|role| !matches!(role.name, "job" | "query"))
}

/// What several roles in one process may open together.
#[derive(Debug)]
pub struct Permitted {
    /// The most that one of them may do with the database.
    pub database: Access,
    /// The most that one of them may do with blobs.
    pub blobs: Access,
    /// Whether one of them may open the queue.
    pub queue: bool,
}

impl Permitted {
    /// The union over `roles`.
    #[must_use]
    pub fn of(roles: &[&Role]) -> Self {
        Self {
            database: roles.iter().map(|role| role.database).max().unwrap_or(Access::None),
            blobs: roles.iter().map(|role| role.blobs).max().unwrap_or(Access::None),
            queue: roles.iter().any(|role| role.uses_queue()),
        }
    }

    /// Whether what is behind a port may be opened at all.
    #[must_use]
    pub fn permits(&self, port: &Port) -> bool {
        match *port {
            DATABASE => self.database != Access::None,
            QUEUE => self.queue,
            _ => self.blobs != Access::None,
        }
    }
}

impl Role {
    /// Whether it may open the queue at all.
    #[must_use]
    pub fn uses_queue(&self) -> bool {
        !(self.publish.is_empty() && self.consume.is_empty() && self.consume_dead.is_empty())
    }

    /// What its handle of the queue may do.
    #[must_use]
    pub fn queue_access(&self) -> QueueAccess {
        QueueAccess { publish: self.publish.to_vec(), consume: self.consume.to_vec(), dead: self.consume_dead.to_vec() }
    }
}

/// What can be said after `antiphon roles`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  antiphon roles\n  antiphon roles --json | jq '.[] | select(.database == \"none\") | .name'\n  \
                  antiphon roles --grants write --on postgresql | psql \"$OWNER_URL\"\n  \
                  antiphon roles --grants analyze --on rabbitmq --vhost audio | sh\n  \
                  antiphon roles --grants sensor:roof --on rabbitmq | sh"
)]
pub struct Arguments {
    /// Print what an account of these roles needs, ready to be run; `sensor:ID` is a sensor that publishes to the broker.
    #[arg(long, value_name = "ROLE", num_args = 1..)]
    grants: Vec<String>,
    /// Only what is for this server.
    #[arg(long, requires = "grants")]
    on: Option<Server>,
    #[command(flatten)]
    names: Names,
}

/// A server that accounts are made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Server {
    /// SQL for the owner of the schema.
    Postgresql,
    /// Commands of rabbitmqctl.
    Rabbitmq,
    /// A policy.
    S3,
}

/// Shows the table, or what its roles need.
///
/// # Errors
/// For a role that there is not; when standard output is closed.
pub fn run(arguments: Arguments, globals: &Globals) -> anyhow::Result<ExitCode> {
    if !arguments.grants.is_empty() {
        return show_grants(&arguments);
    }
    if globals.json {
        let with_grants = |role: &Role| -> anyhow::Result<Value> {
            let mut shown = serde_json::to_value(role)?;
            shown["grants"] = grants::of(role, &arguments.names);
            Ok(shown)
        };
        let table: anyhow::Result<Vec<Value>> = ROLES.iter().map(with_grants).collect();
        print_line(&serde_json::to_string_pretty(&table?)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for role in ROLES {
        print_line(&format!("{}: {}", role.name, role.does))?;
        print_line(&format!("    database {}; blobs {}", role.database.words(), role.blobs.words()))?;
        let names = [
            ("publishes", role.publish.iter().map(|topic| topic.0).collect::<Vec<_>>()),
            ("consumes", role.consume.iter().map(|group| group.name).collect()),
            ("takes dead letters of", role.consume_dead.iter().map(|group| group.name).collect()),
        ];
        for (what, names) in names.iter().filter(|(_, names)| !names.is_empty()) {
            print_line(&format!("    {what} {}", names.join(", ")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_grants(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { grants: asked, on, names } = arguments;
    let (sql, rabbitmqctl, policy) = match &asked[..] {
        [only] if only.starts_with("sensor:") => {
            let sensor = only.trim_start_matches("sensor:");
            check_id(sensor).map_err(|problem| anyhow::anyhow!("{only}: {}", problem.detail))?;
            (None, Some(grants::rabbitmqctl_of_sensor(sensor, names)), None)
        }
        _ => {
            let roles: anyhow::Result<Vec<&Role>> = asked.iter().map(|name| named(name)).collect();
            let roles = roles?;
            let policy = grants::policy(&roles, &names.bucket);
            let policy = policy.map(|policy| serde_json::to_string_pretty(&policy)).transpose()?;
            (grants::sql(&roles, names), grants::rabbitmqctl(&roles, names), policy)
        }
    };
    let servers = [
        (Server::Postgresql, "-- PostgreSQL, as the owner of the schema:", sql),
        (Server::Rabbitmq, "# RabbitMQ:", rabbitmqctl),
        (Server::S3, "# S3, the policy of the account:", policy),
    ];
    for (server, title, text) in servers {
        match (on, text) {
            (None, Some(text)) => print_line(&format!("{title}\n{text}\n"))?,
            (Some(on), Some(text)) if *on == server => print_line(&text)?,
            (Some(on), None) if *on == server => {
                eprintln!("{} may not open it, and needs no account", asked.join(", "))
            }
            _ => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The role called `name`.
///
/// # Errors
/// When there is none, with the nearest.
pub fn named(name: &str) -> anyhow::Result<&'static Role> {
    find(name).with_context(|| {
        let near = nearest(name, ROLES.iter().map(|role| role.name));
        let hint = near.map(|near| format!(", the nearest is {near:?}")).unwrap_or_default();
        format!("there is no role {name:?}{hint}; `antiphon roles` lists them")
    })
}

fn topic_names<S: serde::Serializer>(topics: &&'static [Topic], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(topics.iter().map(|topic| topic.0))
}

fn group_names<S: serde::Serializer>(groups: &&'static [Group], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(groups.iter().map(|group| group.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_one_role_that_consumes_it_and_one_that_takes_its_dead() {
        for group in &antiphon_analysis::topics::ALL {
            let consumers = ROLES.iter().filter(|role| role.consume.contains(group)).count();
            let undertakers = ROLES.iter().filter(|role| role.consume_dead.contains(group)).count();
            assert_eq!((consumers, undertakers), (1, 1), "{}", group.name);
        }
    }

    #[test]
    fn every_topic_of_a_group_has_a_publisher() {
        for group in &antiphon_analysis::topics::ALL {
            assert!(ROLES.iter().any(|role| role.publish.contains(&group.topic)), "{}", group.name);
            assert!(EVERY_TOPIC.contains(&group.topic));
        }
    }

    #[test]
    fn roles_keep_to_the_design() {
        let analyze = find("analyze").unwrap();
        assert_eq!((analyze.database, analyze.blobs), (Access::None, Access::None));
        let web = find("web").unwrap();
        assert_eq!((web.database, web.blobs, web.uses_queue()), (Access::None, Access::None, false));
        let query = find("query").unwrap();
        assert_eq!((query.database, query.blobs, query.uses_queue()), (Access::Read, Access::None, false));
        let permitted = Permitted::of(&[analyze, query]);
        assert_eq!((permitted.database, permitted.blobs, permitted.queue), (Access::Read, Access::None, true));
        assert!(of_up().all(|role| role.name != "job"));
    }
}
