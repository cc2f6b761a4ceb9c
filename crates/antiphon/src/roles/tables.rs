//! What each role does with which tables: what its account on PostgreSQL needs, and no more.
//!
//! A test holds this against the schema and against every statement of the program; another one runs each role with an
//! account that has exactly this.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// What may be done with the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Right {
    /// Read them; also needed to find those that are changed or removed.
    Select,
    /// Add some.
    Insert,
    /// Change them.
    Update,
    /// Remove them.
    Delete,
}

impl Right {
    /// As SQL says it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

use Right::{Delete, Insert, Select, Update};

/// Tables and what is done with them.
pub type Rights = &'static [(&'static str, &'static [Right])];

/// Rights by table.
pub type ByTable = BTreeMap<&'static str, BTreeSet<Right>>;

/// Who opens the database at all looks whether its schema is the one that the program knows.
const OPEN: Rights = &[("schema_migrations", &[Select])];

/// The GETs: of sensors, songs, recordings and features, and whose key asks.
const READ: Rights = &[
    ("annotations", &[Select]),
    ("api_keys", &[Select]),
    ("arrivals", &[Select]),
    ("blocks", &[Select]),
    ("cells", &[Select]),
    ("changes", &[Select]),
    ("descriptors", &[Select]),
    ("frozen_days", &[Select]),
    ("layers", &[Select]),
    ("recordings", &[Select]),
    ("results", &[Select]),
    ("sensors", &[Select]),
    ("songs", &[Select]),
    ("source_layers", &[Select]),
    ("sources", &[Select]),
    ("spans", &[Select]),
    ("stale", &[Select]),
    ("stored_days", &[Select]),
    ("summaries", &[Select]),
];

/// The row `accepted` of a recording. What is left of a deleted sensor under its id makes room.
const ACCEPT: Rights = &[
    ("recordings", &[Select, Insert, Delete]),
    ("results", &[Select, Delete]),
    ("sensors", &[Select]),
    ("sources", &[Select, Insert]),
    ("staged_results", &[Select, Delete]),
];

/// The routes that change something.
const MANAGE: Rights = &[
    ("api_keys", &[Select, Insert, Update]),
    ("covers", &[Select, Insert, Delete]),
    ("dead_letters", &[Select, Delete]),
    ("loose_blobs", &[Select, Insert, Update, Delete]),
    ("outbox", &[Insert]),
    ("recordings", &[Update]),
    ("sensors", &[Insert, Update, Delete]),
    ("song_plans", &[Select, Insert]),
    ("songs", &[Insert, Update, Delete]),
    ("sources", &[Update]),
    ("stale", &[Delete]),
];

/// Results, what follows from them, and dead letters.
const STORE: Rights = &[
    ("annotations", &[Select, Insert, Update, Delete]),
    ("arrivals", &[Select, Insert, Update]),
    ("blocks", &[Select, Insert, Update, Delete]),
    ("cells", &[Select, Insert, Update, Delete]),
    ("changes", &[Select, Insert]),
    ("dead_letters", &[Select, Insert]),
    ("descriptors", &[Select, Insert]),
    ("frozen_days", &[Select]),
    ("layers", &[Select, Insert]),
    ("recordings", &[Update]),
    ("results", &[Select, Insert, Update, Delete]),
    ("songs", &[Select, Update]),
    ("source_layers", &[Select, Insert]),
    ("sources", &[Update]),
    ("spans", &[Select, Insert, Update, Delete]),
    ("staged_results", &[Select, Insert, Delete]),
    ("stale", &[Select, Insert, Update, Delete]),
    ("stored_days", &[Select, Insert, Update]),
    ("summaries", &[Select, Insert, Update, Delete]),
];

/// Alerts and their web hooks, as people set them.
const MANAGE_ALERTS: Rights = &[
    ("alert_changes", &[Select, Delete]),
    ("alerts", &[Select, Insert, Update, Delete]),
    ("deliveries", &[Select, Delete]),
    ("webhooks", &[Select, Insert, Delete]),
];

/// Where alerts stand, and what is told.
const LOOK: Rights = &[("alert_changes", &[Insert]), ("alerts", &[Select, Update]), ("outbox", &[Insert])];

/// Notices on their way.
const NOTIFY: Rights = &[("deliveries", &[Select, Insert, Update]), ("webhooks", &[Select])];

/// The outbox, emptied.
const RELAY: Rights = &[("outbox", &[Select, Delete])];

/// Jobs: their leases, what they let go of, and what they queue again.
const JOBS: Rights = &[
    ("alert_changes", &[Select, Delete]),
    ("alerts", &[Select]),
    ("annotations", &[Select, Delete]),
    ("arrivals", &[Select, Delete]),
    ("blocks", &[Select, Delete]),
    ("cells", &[Select, Insert, Update, Delete]),
    ("changes", &[Select, Delete]),
    ("dead_letters", &[Select, Delete]),
    ("deliveries", &[Select, Delete]),
    ("descriptors", &[Select]),
    ("frozen_days", &[Select, Insert, Update, Delete]),
    ("jobs", &[Select, Insert, Update]),
    ("layers", &[Select]),
    ("loose_blobs", &[Select, Update, Delete]),
    ("outbox", &[Insert]),
    ("reanalyses", &[Select, Insert, Update, Delete]),
    ("recordings", &[Select, Update, Delete]),
    ("results", &[Select, Delete]),
    ("sensors", &[Select]),
    ("song_plans", &[Select, Insert]),
    ("songs", &[Select]),
    ("source_layers", &[Select, Delete]),
    ("sources", &[Select, Update, Delete]),
    ("spans", &[Select, Delete]),
    ("staged_results", &[Select, Delete]),
    ("stale", &[Select, Update, Delete]),
    ("stored_days", &[Select, Delete]),
    ("summaries", &[Select, Delete]),
];

/// What the role `api` does.
pub const OF_API: &[Rights] = &[OPEN, READ, ACCEPT, MANAGE, MANAGE_ALERTS];
/// What the role `query` does.
pub const OF_QUERY: &[Rights] = &[OPEN, READ];
/// What the role `admit` does.
pub const OF_ADMIT: &[Rights] = &[OPEN, ACCEPT];
/// What the role `media` does.
pub const OF_MEDIA: &[Rights] = &[OPEN, &[("recordings", &[Select]), ("sources", &[Select])]];
/// What the role `write` does.
pub const OF_WRITE: &[Rights] = &[OPEN, ACCEPT, STORE, LOOK];
/// What the role `notify` does.
pub const OF_NOTIFY: &[Rights] = &[OPEN, NOTIFY];
/// What the role `relay` does.
pub const OF_RELAY: &[Rights] = &[OPEN, RELAY];
/// What jobs do.
pub const OF_JOBS: &[Rights] = &[OPEN, JOBS];

/// All of `lists`, each table once.
#[must_use]
pub fn together(lists: impl IntoIterator<Item = Rights>) -> ByTable {
    let mut tables = ByTable::new();
    for (table, rights) in lists.into_iter().flatten() {
        tables.entry(table).or_default().extend(*rights);
    }
    tables
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::roles::ROLES;
    use crate::wiring::migrations;

    /// Every file of the workspace's sources with an extension.
    fn sources(extension: &str) -> Vec<(PathBuf, String)> {
        let mut folders: Vec<PathBuf> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .unwrap()
            .map(|entry| entry.unwrap().path().join("src"))
            .filter(|path| path.is_dir())
            .collect();
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|is| is == extension) {
                    found.push((path.clone(), fs::read_to_string(path).unwrap()));
                }
            }
        }
        found
    }

    fn tables_of_the_schema() -> BTreeSet<String> {
        let all = migrations().iter().map(|migration| migration.postgres.to_lowercase()).collect::<String>();
        let platform = ["jobs", "outbox", "schema_migrations"].map(String::from);
        let made = all.split("create table ").skip(1).map(|text| text.split_whitespace().next().unwrap().to_owned());
        made.filter(|name| !name.contains('%')).chain(platform).collect()
    }

    /// What the statements of the program do with tables: (table, right).
    fn done() -> BTreeSet<(String, Right)> {
        let tables = tables_of_the_schema();
        let mut done = BTreeSet::from([(String::from("schema_migrations"), Select)]);
        for (path, text) in sources("sql") {
            let is_in = |script: &str| script.contains(text.trim());
            let makes_tables = migrations().iter().any(|step| is_in(step.sqlite) || is_in(step.postgres));
            if makes_tables || path.to_string_lossy().contains("/migrations/") || text.contains("create table") {
                continue;
            }
            let text: String =
                text.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join(" ");
            let text = text.to_lowercase().replace(['(', ')', ',', ';'], " ");
            let words: Vec<&str> = text.split_whitespace().collect();
            for pair in words.windows(3) {
                let right = match (pair[0], pair[1]) {
                    ("insert", "into") => Insert,
                    ("delete", "from") => Delete,
                    _ => continue,
                };
                done.insert((pair[2].to_owned(), right));
            }
            for pair in words.windows(2) {
                let right = match pair[0] {
                    "update" => Update,
                    "from" | "join" | "using" => Select,
                    _ => continue,
                };
                done.insert((pair[1].to_owned(), right));
            }
            // `on conflict (...) do update` changes the table that is inserted into.
            if text.contains("do update") {
                let into = words.windows(3).filter(|words| words[0] == "insert").map(|words| words[2].to_owned());
                done.extend(into.collect::<Vec<_>>().into_iter().map(|table| (table, Update)));
            }
        }
        for (_, text) in sources("rs") {
            for bulk in text.split("Bulk {").skip(1) {
                let Some(table) = bulk.split("table: \"").nth(1).and_then(|rest| rest.split('"').next()) else {
                    continue;
                };
                done.insert((table.to_owned(), Insert));
                let own = bulk.split('}').next().unwrap();
                if own.contains("Replace") {
                    done.insert((table.to_owned(), Update));
                }
            }
        }
        done.retain(|(table, _)| tables.contains(table));
        done
    }

    #[test]
    fn what_the_program_does_some_role_may_and_what_a_role_may_the_program_does() {
        let done = done();
        assert!(done.len() > 40, "{done:?}");
        let may: BTreeSet<(String, Right)> = ROLES
            .iter()
            .flat_map(|role| together(role.tables.iter().copied()))
            .flat_map(|(table, rights)| rights.into_iter().map(move |right| (table.to_owned(), right)))
            .collect();
        let nobody_may: Vec<_> = done.difference(&may).collect();
        assert!(nobody_may.is_empty(), "no role may do what a statement does: {nobody_may:?}");
        let nobody_does: Vec<_> = may.difference(&done).collect();
        assert!(nobody_does.is_empty(), "a role may do what no statement does: {nobody_does:?}");
    }

    #[test]
    fn rights_fit_what_the_role_may_open() {
        for role in ROLES {
            let tables = together(role.tables.iter().copied());
            let writes = tables.values().flatten().any(|right| *right != Select);
            assert_eq!(!tables.is_empty(), role.database != crate::roles::Access::None, "{}", role.name);
            assert_eq!(writes, role.database == crate::roles::Access::Write, "{}", role.name);
        }
    }
}
