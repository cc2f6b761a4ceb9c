//! Brings a schema forward, and refuses what is not ours or newer than we are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sqlite::{self, APPLICATION_ID, Found, Mode, Open, Pool};
use super::{DbError, Migration, Statement, Value};

/// The platform's own tables.
const PLATFORM: &[Migration] = &[Migration {
    owner: "platform",
    version: 1,
    sqlite: include_str!("migrations/1.sqlite.sql"),
    postgres: include_str!("migrations/1.postgres.sql"),
}];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    owner TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (owner, version))";
const DONE: Statement =
    Statement { name: "migrations", text: "SELECT owner, max(version) FROM schema_migrations GROUP BY owner" };
const MARK: Statement =
    Statement { name: "mark", text: "INSERT INTO schema_migrations (owner, version) VALUES ($1, $2)" };

/// What must be in a database for the caller to use it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// It may be new or older: it will be brought forward.
    Nothing,
    /// All tables, for callers that cannot make them.
    Schema,
}

/// Refuses a file that is foreign or newer, and where `needs` says so one that is not there or older, without
/// changing anything.
pub(super) async fn check(
    path: &str,
    vfs: Option<&str>,
    migrations: &[Migration],
    needs: Needs,
) -> Result<(), DbError> {
    let missing = || {
        let advice = "start a role that writes (such as `antiphon up`) on this data folder first";
        DbError::Unavailable(format!("{path} is not there or older than this program: {advice}"))
    };
    let Some(found) = sqlite::look(path, vfs).await? else {
        return if needs == Needs::Schema { Err(missing()) } else { Ok(()) };
    };
    let is_new = is_new(path, &found)?;
    if is_new {
        return if needs == Needs::Schema { Err(missing()) } else { Ok(()) };
    }
    let mut open = Pool::new(path, vfs, Mode::Read).begin().await?;
    let done = done(&mut open).await?;
    refuse_newer(path, &done, migrations)?;
    let is_behind = wanted(migrations).iter().any(|(owner, version)| done.get(*owner) < Some(version));
    if needs == Needs::Schema && is_behind { Err(missing()) } else { Ok(()) }
}

/// Runs what has not run yet, all in one transaction.
pub(super) async fn run(writer: &Arc<Pool>, path: &str, migrations: &[Migration]) -> Result<(), DbError> {
    let mut open = writer.begin().await?;
    // Asked again under the lock: another process may have been here since the first look.
    let found = sqlite::found(&mut open).await?;
    if is_new(path, &found)? {
        open.script("application_id", "PRAGMA application_id = 1097757801").await?;
        open.script("schema_migrations", TABLE).await?;
    }
    let done = done(&mut open).await?;
    refuse_newer(path, &done, migrations)?;
    for migration in PLATFORM.iter().chain(migrations) {
        let version = i64::from(migration.version);
        if done.get(migration.owner).is_some_and(|latest| *latest >= version) {
            continue;
        }
        open.script(migration.owner, migration.sqlite).await?;
        open.execute(&MARK, &[Value::from(migration.owner), Value::Int(version)]).await?;
    }
    open.commit().await
}

fn is_new(path: &str, found: &Found) -> Result<bool, DbError> {
    match (found.application_id, found.tables) {
        (APPLICATION_ID, _) => Ok(false),
        (0, 0) => Ok(true),
        _ => Err(DbError::Broken(format!("{path} is a database of another program; choose another data folder"))),
    }
}

async fn done(open: &mut Open) -> Result<BTreeMap<String, i64>, DbError> {
    open.rows(&DONE, &[]).await?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The newest version that this program knows of each owner.
fn wanted(migrations: &[Migration]) -> BTreeMap<&'static str, i64> {
    let mut wanted = BTreeMap::new();
    for migration in PLATFORM.iter().chain(migrations) {
        let version = wanted.entry(migration.owner).or_insert(0);
        *version = i64::from(migration.version).max(*version);
    }
    wanted
}

fn refuse_newer(path: &str, done: &BTreeMap<String, i64>, migrations: &[Migration]) -> Result<(), DbError> {
    let wanted = wanted(migrations);
    let newer = done.iter().find(|(owner, version)| wanted.get(owner.as_str()) < Some(version));
    newer.map_or(Ok(()), |(owner, version)| {
        let known = wanted.get(owner.as_str()).copied().unwrap_or(0);
        Err(DbError::Broken(format!(
            "{path} was written by a newer version of antiphon ({owner} schema {version}, this program knows \
             {known}): use that version"
        )))
    })
}
