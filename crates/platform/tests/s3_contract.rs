//! The blob port's law, run against a real S3 server (SeaweedFS).

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use antiphon_platform::blobs::s3::S3Blobs;
use antiphon_platform::blobs::{Access, Blobs, contract};
use antiphon_servers::ObjectStore;

macro_rules! cases {
    ($($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            contract::$case(open(&space()).await).await;
        })*
    };
}

antiphon_platform::blobs_contract_cases!(cases);

#[tokio::test]
async fn links_give_the_bytes() {
    assert!(contract::link_gives_the_bytes(open(&space()).await).await, "S3 has links");
}

#[tokio::test]
async fn links_expire() {
    assert!(contract::link_expires(open(&space()).await).await, "S3 has links");
}

#[tokio::test]
async fn changed_links_are_refused() {
    assert!(contract::changed_link_is_refused(open(&space()).await).await, "S3 has links");
}

/// The URL of a new bucket.
fn space() -> String {
    ObjectStore::shared().bucket().url()
}

async fn open(url: &str) -> Arc<dyn Blobs> {
    Arc::new(S3Blobs::open(url, Access::Write).await.unwrap())
}

const KILLED: &str = "ANTIPHON_TEST_KILLED_BUCKET";

/// The process that [`puts_survive_kill_9`] starts and kills; alone it has no bucket and nothing to do.
#[tokio::test]
async fn process_to_kill() {
    let Ok(url) = std::env::var(KILLED) else { return };
    contract::put_until_killed(open(&url).await, |seed| println!("stored {seed}")).await;
}

#[tokio::test]
async fn puts_survive_kill_9() {
    let url = space();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_to_kill", "--nocapture"])
        .env(KILLED, &url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut numbers =
        lines.map_while(Result::ok).filter_map(|line| Some(line.split_once("stored ")?.1.parse().unwrap()));
    let acknowledged = numbers.nth(12).expect("it stores until it is killed");
    child.kill().unwrap();
    child.wait().unwrap();
    contract::put_survives_a_kill(open(&url).await, acknowledged).await;
}
