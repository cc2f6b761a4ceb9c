//! The role table: what each role does, and what it may open. Wiring opens connections from it, and nothing else;
//! deployment files and documentation are generated from it or checked against it (`antiphon roles --json`).

use std::process::ExitCode;

use antiphon_analysis::topics::{ANALYZE, ANALYZE_SONGS, LONG_RECORDINGS, MEDIA, RECORDINGS, RESULTS, SONGS, WRITE};
use antiphon_platform::queue::{Access as QueueAccess, Group, Topic};
use serde::Serialize;

use crate::cli::Globals;
use crate::commands::output::print_line;

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
const EVERY_TOPIC: &[Topic] = &[RECORDINGS, LONG_RECORDINGS, SONGS, RESULTS];
const EVERY_GROUP: &[Group] = &antiphon_analysis::topics::ALL;

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
    },
    Role {
        name: "query",
        does: "the GETs of sensors, songs, recordings and features, audio apart; stateless",
        listens: true,
        database: Access::Read,
        blobs: Access::None,
        publish: NO_TOPICS,
        consume: NO_GROUPS,
        consume_dead: NO_GROUPS,
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
    },
    Role {
        name: "write",
        does: "stores results in batches, keeps cells and spans, takes dead letters into the database",
        listens: false,
        database: Access::Write,
        blobs: Access::None,
        publish: NO_TOPICS,
        consume: &[WRITE],
        consume_dead: EVERY_GROUP,
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
    },
    Role {
        name: "job",
        does: "runs one scheduled job once and ends: `antiphon run job NAME`",
        listens: false,
        database: Access::Write,
        blobs: Access::Write,
        publish: EVERY_TOPIC,
        consume: NO_GROUPS,
        consume_dead: NO_GROUPS,
    },
    Role {
        name: "schedule",
        does: "runs every job at its time",
        listens: false,
        database: Access::Write,
        blobs: Access::Write,
        publish: EVERY_TOPIC,
        consume: NO_GROUPS,
        consume_dead: NO_GROUPS,
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
    pub fn of(roles: &[&'static Role]) -> Self {
        Self {
            database: roles.iter().map(|role| role.database).max().unwrap_or(Access::None),
            blobs: roles.iter().map(|role| role.blobs).max().unwrap_or(Access::None),
            queue: roles.iter().any(|role| role.uses_queue()),
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
    after_help = "Examples:\n  antiphon roles\n  antiphon roles --json | jq '.[] | select(.database == \"none\") | .name'"
)]
pub struct Arguments {}

/// Shows the table.
///
/// # Errors
/// When standard output is closed.
pub fn run(_: Arguments, globals: &Globals) -> anyhow::Result<ExitCode> {
    if globals.json {
        print_line(&serde_json::to_string_pretty(ROLES)?)?;
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
        for group in EVERY_GROUP {
            let consumers = ROLES.iter().filter(|role| role.consume.contains(group)).count();
            let undertakers = ROLES.iter().filter(|role| role.consume_dead.contains(group)).count();
            assert_eq!((consumers, undertakers), (1, 1), "{}", group.name);
        }
    }

    #[test]
    fn every_topic_of_a_group_has_a_publisher() {
        for group in EVERY_GROUP {
            assert!(ROLES.iter().any(|role| role.publish.contains(&group.topic)), "{}", group.name);
            assert!(EVERY_TOPIC.contains(&group.topic));
        }
    }

    #[test]
    fn roles_keep_to_the_design() {
        let analyze = find("analyze").unwrap();
        assert_eq!((analyze.database, analyze.blobs), (Access::None, Access::None));
        let query = find("query").unwrap();
        assert_eq!((query.database, query.blobs, query.uses_queue()), (Access::Read, Access::None, false));
        let permitted = Permitted::of(&[analyze, query]);
        assert_eq!((permitted.database, permitted.blobs, permitted.queue), (Access::Read, Access::None, true));
        assert!(of_up().all(|role| role.name != "job"));
    }
}
