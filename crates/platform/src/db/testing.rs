//! A fresh database of every engine, for the tests of what is built on the port.

use super::{Database, Migration};

/// A database that goes with this.
pub(crate) struct Space {
    pub(crate) database: Database,
    _guard: Guard,
}

enum Guard {
    Folder {
        _folder: tempfile::TempDir,
    },
    #[cfg(feature = "postgres")]
    Server {
        _database: antiphon_servers::Database<'static>,
    },
}

/// One of each engine.
pub(crate) async fn every_engine(migrations: &[Migration]) -> Vec<Space> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("db").display());
    let database = Database::open(url, migrations).await.unwrap();
    let file = Space { database, _guard: Guard::Folder { _folder: folder } };
    #[cfg(feature = "postgres")]
    {
        let space = antiphon_servers::Postgres::shared().database();
        let database = Database::open(space.url(), migrations).await.unwrap();
        vec![file, Space { database, _guard: Guard::Server { _database: space } }]
    }
    #[cfg(not(feature = "postgres"))]
    {
        eprintln!("skipped on PostgreSQL: built without the feature `postgres`");
        vec![file]
    }
}
