//! The database port's law, run against the embedded engine.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use antiphon_platform::db::contract::{self, Fixture};
use antiphon_platform::db::{Database, DbError, Reader};

macro_rules! cases {
    ($($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let folder = tempfile::tempdir().unwrap();
            contract::$case(&fixture(folder.path())).await;
        })*
    };
}

antiphon_platform::db_contract_cases!(cases);

fn fixture(folder: &std::path::Path) -> Fixture {
    Fixture { url: format!("sqlite:{}", folder.join("antiphon.db").display()) }
}

const KILLED: &str = "ANTIPHON_TEST_KILLED_FOLDER";

/// The process that [`commits_survive_kill_9`] starts and kills; alone it has no folder and nothing to do.
#[tokio::test]
async fn process_to_kill() {
    let Some(folder) = std::env::var_os(KILLED) else { return };
    contract::write_until_killed(&fixture(folder.as_ref()), |id| println!("committed {id}")).await;
}

#[tokio::test]
async fn commits_survive_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = -1;
    for round in 1..=3 {
        std::fs::create_dir(folder.path().join(round.to_string())).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process_to_kill", "--nocapture"])
            .env(KILLED, folder.path().join(round.to_string()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            let Some((_, id)) = line.split_once("committed ") else { continue };
            acknowledged = id.parse().unwrap();
            if acknowledged >= 10 * round {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(acknowledged >= 10 * round, "the process ended on its own");
        contract::committed_survives_a_kill(&fixture(&folder.path().join(round.to_string())), acknowledged).await;
    }
}

#[tokio::test]
async fn foreign_files_are_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("antiphon.db");
    let url = format!("sqlite:{}", path.display());
    let text = b"these are somebody's notes, long enough to be taken for a header; ".repeat(20);
    std::fs::write(&path, &text).unwrap();
    for refused in [Database::open(&url, &[]).await.err(), Reader::open(&url, &[]).await.err()] {
        assert!(matches!(refused, Some(DbError::Broken(_))), "{refused:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), text);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made beside it");
}

#[tokio::test]
async fn database_of_another_program_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("antiphon.db");
    let url = format!("sqlite:{}", path.display());
    drop(Database::open(&url, contract::MIGRATIONS).await.unwrap());
    // SQLite writes the checkpoint when the last connection closes, in a thread of its own.
    while folder.path().join("antiphon.db-wal").exists() {
        tokio::task::yield_now().await;
    }
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[68..72].copy_from_slice(b"GPKG");
    std::fs::write(&path, &bytes).unwrap();
    let refused = Database::open(&url, contract::MIGRATIONS).await.err();
    assert!(matches!(&refused, Some(DbError::Broken(words)) if words.contains("another program")), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn folder_that_is_not_there_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("missing/antiphon.db").display());
    let refused = Database::open(&url, &[]).await.err();
    assert!(matches!(refused, Some(DbError::Unavailable(_))), "{refused:?}");
}
