//! The operator's first key: made on first start, shown once.

use std::fs;
use std::io::IsTerminal;
use std::path::Path;

use antiphon_identity::{Role, create_key, has_operator};
use antiphon_platform::clock::Clock;
use antiphon_platform::db::Database;
use anyhow::{Context, Result};

use crate::data_folder;

/// Where the key is kept when nobody looks at a terminal.
const FILE: &str = "operator.key";

/// Makes an operator's key unless there is one. It is shown on a terminal's standard error, else written to
/// `DATA/operator.key`; it never goes through the log. A process without a data folder has no place to leave a key, and
/// makes none: it says how an operator does.
///
/// # Errors
/// When the database or the file cannot be written.
pub async fn ensure_key(database: &Database, clock: &Clock, data: Option<&Path>) -> Result<()> {
    if has_operator(&mut database.read().await?).await? {
        return Ok(());
    }
    let Some(data) = data else {
        tracing::warn!(
            "there is no operator's key yet; make one where the database can be written: \
             antiphon key create --role operator --in-database"
        );
        return Ok(());
    };
    let mut tx = database.write().await.context("cannot make the operator's key")?;
    // Looked at again, for another process may have made one since; this transaction is the only one now.
    if has_operator(&mut tx).await? {
        return Ok(());
    }
    let made = create_key(&mut tx, clock, &Role::Operator).await.context("cannot make the operator's key")?;
    if std::io::stderr().is_terminal() {
        tx.commit().await?;
        eprintln!("operator key: {}", made.key);
        return Ok(());
    }
    // Written first: a key that is in the file and not in the database is replaced by the next start; one that
    // is in the database and nowhere else would be lost.
    let path = data.join(FILE);
    data_folder::write_private(&path, &made.key).with_context(|| format!("cannot write {}", path.display()))?;
    if let Err(error) = tx.commit().await {
        let _ = fs::remove_file(&path);
        return Err(error).context("cannot make the operator's key");
    }
    tracing::info!(file = %path.display(), "made an operator's key");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_first_start_makes_a_key_and_the_second_none() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("db").display());
        let database = Database::open(&url, antiphon_identity::MIGRATIONS).await.unwrap();
        let clock = Clock::manual(1);
        ensure_key(&database, &clock, None).await.unwrap();
        assert!(!has_operator(&mut database.read().await.unwrap()).await.unwrap(), "made a key that nobody has");
        ensure_key(&database, &clock, Some(folder.path())).await.unwrap();
        let path = folder.path().join(FILE);
        if std::io::stderr().is_terminal() {
            assert!(!path.exists());
            return;
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        ensure_key(&database, &clock, Some(folder.path())).await.unwrap();
        assert!(!path.exists());
    }
}
