//! Whether the account on PostgreSQL has the rights that roles need: the server is asked, nothing is changed.

use antiphon_platform::db::{Reader, Statement};
use antiphon_platform::sql;
use anyhow::{Result, bail};

use crate::roles::{Role, grants};

const ACCOUNT: Statement = sql!("sql/account.postgres.sql");
const MAY_TABLE: Statement = sql!("sql/may_table.postgres.sql");
const MAY_CALL: Statement = sql!("sql/may_call.postgres.sql");
const MAY_MAKE_TEMPORARY: Statement = sql!("sql/may_make_temporary.postgres.sql");

/// Checks every right of the roles.
///
/// # Errors
/// Those of the database; which rights are missing, and what grants them.
pub async fn check_database(reader: &Reader, roles: &[&'static Role]) -> Result<()> {
    let mut read = reader.read().await?;
    let mut missing = Vec::new();
    let tables = grants::tables(roles);
    for (table, rights) in &tables {
        for right in rights {
            let row = read.row(&MAY_TABLE, &[(*table).into(), right.words().into()]).await?;
            if !row.map(|row| row.get(0)).transpose()?.unwrap_or(false) {
                missing.push(format!("{} on {table}", right.words()));
            }
        }
    }
    for function in grants::functions(&tables) {
        let row = read.row(&MAY_CALL, &[function.into()]).await?;
        if !row.map(|row| row.get(0)).transpose()?.unwrap_or(false) {
            missing.push(format!("EXECUTE on {function}"));
        }
    }
    if grants::makes_temporary_tables(&tables) {
        let row = read.row(&MAY_MAKE_TEMPORARY, &[]).await?;
        if !row.map(|row| row.get(0)).transpose()?.unwrap_or(false) {
            missing.push(String::from("TEMPORARY on the database"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let account: String = read.row(&ACCOUNT, &[]).await?.map(|row| row.get(0)).transpose()?.unwrap_or_default();
    let names: Vec<&str> = roles.iter().map(|role| role.name).collect();
    let command = format!("antiphon roles --grants {} --on postgresql --account {account}", names.join(" "));
    bail!("the account {account} lacks {}; `{command}` prints what the schema's owner runs", missing.join(", "))
}
