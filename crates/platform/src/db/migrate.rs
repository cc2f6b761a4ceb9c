//! Brings a schema forward, and refuses what is not ours or newer than we are.

use std::collections::BTreeMap;

use super::engine::{Found, Open, Place, Pool};
use super::{DbError, Migration, Statement, Value};

/// The platform's own tables.
const PLATFORM: &[Migration] = &[Migration {
    owner: "platform",
    version: 1,
    sqlite: include_str!("migrations/1.sqlite.sql"),
    postgres: include_str!("migrations/1.postgres.sql"),
}];

const TABLE: Statement = Statement {
    name: "schema_migrations",
    text: "CREATE TABLE IF NOT EXISTS schema_migrations (
        owner TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (owner, version))",
};
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

/// Refuses a database that is foreign or newer, and where `needs` says so one that is not there or older, without
/// changing anything.
pub(super) async fn check(place: &Place, reader: &Pool, migrations: &[Migration], needs: Needs) -> Result<(), DbError> {
    if place.exists() {
        let mut open = reader.begin().await?;
        if is_ours(place, &mut open).await? && !is_behind(place, &mut open, migrations).await? {
            return Ok(());
        }
    }
    match needs {
        Needs::Nothing => Ok(()),
        Needs::Schema => Err(DbError::Unavailable(format!(
            "{} is not there or older than this program: start a role that writes (such as `antiphon up`) on it first",
            place.name()
        ))),
    }
}

/// Runs what has not run yet, a transaction each. A database that lacks nothing is not written to.
pub(super) async fn run(place: &Place, writer: &Pool, migrations: &[Migration]) -> Result<(), DbError> {
    loop {
        // Asked under the write lock: another process may be at it too.
        let mut open = writer.begin().await?;
        if !is_ours(place, &mut open).await? {
            open.mark().await?;
            open.execute(&TABLE, &[]).await?;
        }
        let done = done(&mut open).await?;
        refuse_newer(place, &done, migrations)?;
        let is_missing = |migration: &&Migration| done.get(migration.owner) < Some(&i64::from(migration.version));
        let Some(next) = PLATFORM.iter().chain(migrations).find(is_missing) else { return Ok(()) };
        open.migrate(next).await?;
        open.execute(&MARK, &[Value::from(next.owner), Value::Int(i64::from(next.version))]).await?;
        open.commit().await?;
    }
}

/// Whether it is a database of ours; false if it is new.
async fn is_ours(place: &Place, open: &mut Open) -> Result<bool, DbError> {
    match open.found().await? {
        Found::Ours => Ok(true),
        Found::New => Ok(false),
        Found::Foreign => {
            Err(DbError::Broken(format!("{} is a database of another program; choose another one", place.name())))
        }
    }
}

async fn is_behind(place: &Place, open: &mut Open, migrations: &[Migration]) -> Result<bool, DbError> {
    let done = done(open).await?;
    refuse_newer(place, &done, migrations)?;
    Ok(wanted(migrations).iter().any(|(owner, version)| done.get(*owner) < Some(version)))
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

fn refuse_newer(place: &Place, done: &BTreeMap<String, i64>, migrations: &[Migration]) -> Result<(), DbError> {
    let wanted = wanted(migrations);
    let newer = done.iter().find(|(owner, version)| wanted.get(owner.as_str()) < Some(version));
    newer.map_or(Ok(()), |(owner, version)| {
        let known = wanted.get(owner.as_str()).copied().unwrap_or(0);
        Err(DbError::Broken(format!(
            "{} was written by a newer version of antiphon ({owner} schema {version}, this program knows {known}): \
             use that version",
            place.name()
        )))
    })
}
