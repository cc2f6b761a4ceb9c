//! The blob port's law, run against the embedded engine.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use antiphon_platform::blobs::folder::FolderBlobs;
use antiphon_platform::blobs::{Access, Blobs, contract};
use antiphon_platform::disk;

macro_rules! cases {
    ($($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let folder = tempfile::tempdir().unwrap();
            contract::$case(open(folder.path())).await;
            let unfinished = std::fs::read_dir(folder.path().join("unfinished~")).unwrap();
            let left = unfinished.filter(|entry| entry.as_ref().unwrap().path().extension().unwrap() == "tmp");
            assert_eq!(left.count(), 0, "a temporary file is left");
        })*
    };
}

antiphon_platform::blobs_contract_cases!(cases);

#[tokio::test]
async fn link_cases_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!contract::link_gives_the_bytes(open(folder.path())).await);
    assert!(!contract::link_expires(open(folder.path())).await);
    assert!(!contract::changed_link_is_refused(open(folder.path())).await);
    println!("skipped: link_gives_the_bytes, link_expires, changed_link_is_refused: a folder has no links");
}

fn open(folder: &Path) -> Arc<dyn Blobs> {
    Arc::new(FolderBlobs::open(disk::local(), folder, Access::Write).unwrap())
}

const KILLED: &str = "ANTIPHON_TEST_KILLED_FOLDER";

/// The process that [`puts_survive_kill_9`] starts and kills; alone it has no folder and nothing to do.
#[tokio::test]
async fn process_to_kill() {
    let Some(folder) = std::env::var_os(KILLED) else { return };
    contract::put_until_killed(open(folder.as_ref()), |seed| println!("stored {seed}")).await;
}

#[tokio::test]
async fn puts_survive_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_to_kill", "--nocapture"])
        .env(KILLED, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut numbers =
        lines.map_while(Result::ok).filter_map(|line| Some(line.split_once("stored ")?.1.parse().unwrap()));
    let acknowledged = numbers.nth(12).expect("it stores until it is killed");
    child.kill().unwrap();
    child.wait().unwrap();
    contract::put_survives_a_kill(open(folder.path()), acknowledged).await;
}
